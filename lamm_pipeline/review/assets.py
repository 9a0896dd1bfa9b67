"""The asset `sequence_annotations`."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
from pydantic import Field

from lamm_pipeline import partitions
from lamm_pipeline.orchestration.config import StageConfig
from lamm_pipeline.orchestration.failures import IO_RETRIES, sentences_as_failures
from lamm_pipeline.orchestration.metadata import table
from lamm_pipeline.orchestration.produce import produce, result
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.review import sequence_annotations as sequences_file
from lamm_pipeline.review.annotate import annotate, sequence_inputs
from lamm_pipeline.review.deciding import decisions_now
from lamm_pipeline.review.labelling_status import processing_stage
from lamm_pipeline.review.sequence_annotations import SequenceAnnotations
from lamm_pipeline.review.sequence_comparison import compare
from lamm_pipeline.review.sequence_settings import SequenceOverrides, SequenceSettings
from lamm_pipeline.storage.artifacts import Artifact, ArtifactKey, Identity
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline.streaming import Progress

SEQUENCES_CODE_VERSION = "1"


class OverridesConfig(SequenceOverrides, dg.Config):
    """What is different for one recording."""


class SequenceAnnotationsConfig(SequenceSettings, StageConfig):
    """What makes boxes of several frames to one thing to review."""

    per_recording: dict[str, OverridesConfig] = Field({}, description="What is different for single recordings, by recording key.")


@dg.asset(
    partitions_def=partitions.recordings,
    deps=["frames", "detections", "tracks"],
    group_name="review",
    code_version=SEQUENCES_CODE_VERSION,
    retry_policy=IO_RETRIES,
    output_required=False,
    description="What is to be reviewed: each object once for the whole time it is seen, from clusters of boxes, tracks or masklets.",
)
def sequence_annotations(
    context: dg.AssetExecutionContext, config: SequenceAnnotationsConfig, workspace: Workspace
) -> Iterator[dg.MaterializeResult]:
    """Make the sequence annotations of a recording."""
    with sentences_as_failures():
        recording = context.partition_key
        parameters = config.parameters(config.per_recording.get(recording))
        inputs = sequence_inputs(workspace.store, recording, parameters.source)
        before = workspace.store.current(ArtifactKey("recordings", recording, "sequence_annotations"))
        if config.dry_run:
            planned = annotate(recording, inputs, parameters, context.log.debug)
            told = {"dry_run": True, **_numbers(planned), **_changes(before, planned)}
            context.log_event(dg.AssetObservation(asset_key=context.asset_key, partition=recording, metadata=told))
            return
        versions = {name: artifact.version for name, artifact in inputs.items()}
        wanted = Identity("sequence_annotations", SEQUENCES_CODE_VERSION, parameters.to_json(), versions, {}).version
        decided = len(decisions_now(workspace.store, workspace.catalog, recording).state.sequences)
        if before is not None and before.version != wanted and decided and not config.force:
            sentence = (
                f"People have decided on {decided} sequence annotations of {recording!r}, so version {before.version} stays. With `force` "
                f"version {wanted} takes its place; the decisions go to what overlaps theirs, and those that find nothing are listed."
            )
            context.log.warning(sentence)
            yield result(before, {"skipped": sentence, **_numbers(_read(before))})
            return

        def work(draft: Draft, _: Progress) -> Mapping[str, Any]:
            found = annotate(recording, inputs, parameters, context.log.debug)
            sequences_file.write(draft.directory / sequences_file.FILE_NAME, found)
            return {**found.summary, "reason": found.reason}

        artifact = produce(
            context,
            workspace,
            work,
            config=config,
            code_version=SEQUENCES_CODE_VERSION,
            inputs=inputs,
            settings=parameters.to_json(),
        )
        found = _read(artifact)
        if found.reason is not None:
            context.log.warning(found.reason)
        lost = decisions_now(workspace.store, workspace.catalog, recording).lost if decided else ()
        yield result(
            artifact,
            {
                **_numbers(found),
                **_changes(before, found),
                "processing_stage": processing_stage(workspace.catalog.labelling(recording).status),
                "decisions": decided,
                "decisions_lost": table([{"subject": each.decision.subject, "reason": each.reason} for each in lost]),
            },
        )


def _read(artifact: Artifact) -> SequenceAnnotations:
    return sequences_file.read(artifact.file(sequences_file.FILE_NAME))


def _numbers(found: SequenceAnnotations) -> dict[str, Any]:
    """What is told of sequence annotations, published or planned."""
    longest = sorted(found.sequences, key=lambda each: (-len(each.boxes), each.sequence_id))
    rows = [
        {"sequence": each.sequence_id, "class": each.class_id, "from": each.first_frame, "to": each.last_frame, "frames": len(each.boxes)}
        for each in longest
    ]
    reason = {} if found.reason is None else {"reason": found.reason}
    return {
        "sequences": len(found.sequences),
        "boxes": found.summary["sequence_boxes"],
        "longest": len(longest[0].boxes) if longest else 0,
        **reason,
        **found.derived(),
        "summary": table([{"what": name, "count": count} for name, count in found.summary.items()]),
        "longest_sequences": table(rows),
    }


def _changes(before: Artifact | None, after: SequenceAnnotations) -> dict[str, Any]:
    """What differs from the version that was in force."""
    if before is None:
        return {}
    found = compare(_read(before), after)
    return {"compared_with": before.version, "changes": dg.MetadataValue.json({**found.counts(), "parameters": found.parameters})}
