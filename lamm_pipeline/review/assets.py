"""The assets `sequence_annotations` and `review_gifs`."""

from collections.abc import Iterator, Mapping
from typing import Any

import cv2
import dagster as dg
import numpy as np
from PIL import Image, ImageSequence
from pydantic import Field

from lamm_pipeline import partitions
from lamm_pipeline.extraction import frame_registry
from lamm_pipeline.orchestration.config import StageConfig, science
from lamm_pipeline.orchestration.failures import IO_RETRIES, sentences_as_failures
from lamm_pipeline.orchestration.instance import ACTOR_TAG
from lamm_pipeline.orchestration.metadata import THUMBNAIL_WIDTH, review_url, table, thumbnail
from lamm_pipeline.orchestration.produce import produce, result
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.review import gifs
from lamm_pipeline.review import sequence_annotations as sequences_file
from lamm_pipeline.review.annotate import INPUTS, annotate
from lamm_pipeline.review.deciding import decisions_now
from lamm_pipeline.review.gif_settings import OPERATIONAL_FIELDS as GIFS_OPERATIONAL
from lamm_pipeline.review.gif_settings import GifSettings
from lamm_pipeline.review.gifs import SequenceGifs
from lamm_pipeline.review.labelling_status import LabellingStatus, advanced, processing_stage
from lamm_pipeline.review.sequence_annotations import SequenceAnnotations
from lamm_pipeline.review.sequence_comparison import compare
from lamm_pipeline.review.sequence_settings import SequenceOverrides, SequenceSettings
from lamm_pipeline.settings import actor
from lamm_pipeline.storage.artifacts import Artifact, ArtifactKey, Identity
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline.streaming import Progress

SEQUENCES_CODE_VERSION = "1"
GIFS_CODE_VERSION = "1"


class OverridesConfig(SequenceOverrides, dg.Config):
    """What is different for one recording."""


class SequenceAnnotationsConfig(SequenceSettings, StageConfig):
    """What makes boxes of several frames to one thing to review."""

    per_recording: dict[str, OverridesConfig] = Field({}, description="What is different for single recordings, by recording key.")


@dg.asset(
    partitions_def=partitions.recordings,
    deps=["frames", "detections", "tracks", "masklets"],
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
        inputs = workspace.recording_artifacts(recording, *INPUTS[parameters.source])
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
                "processing_stage": processing_stage(workspace.catalog.labelling.of(recording).status),
                "decisions": decided,
                "decisions_lost": table([{"subject": each.decision.subject, "reason": each.reason} for each in lost]),
                "review": review_url(workspace.settings, recording),
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


class ReviewGifsConfig(GifSettings, StageConfig):
    """Which GIFs are made for people who review, and how."""

    OPERATIONAL = GIFS_OPERATIONAL | {"dry_run", "update_stage"}

    dry_run: bool = Field(False, description="Tell what would be made, as an observation, and make nothing.")
    update_stage: bool = Field(
        False, description="Note in the catalog that the recording is ready to be annotated, if at least one GIF was made."
    )


@dg.asset(
    partitions_def=partitions.recordings,
    deps=["frames", "sequence_annotations"],
    group_name="review",
    code_version=GIFS_CODE_VERSION,
    retry_policy=IO_RETRIES,
    output_required=False,
    description="Two GIFs of each sequence annotation: whole frames with the box in green, and the part of them around it.",
)
def review_gifs(context: dg.AssetExecutionContext, config: ReviewGifsConfig, workspace: Workspace) -> Iterator[dg.MaterializeResult]:
    """Show the sequence annotations of a recording as GIFs."""
    with sentences_as_failures():
        frames, annotated = (workspace.recording_artifact(context.partition_key, name) for name in ("frames", "sequence_annotations"))
        registry = frame_registry.read(frames.file(frame_registry.FILE_NAME))
        annotations = sequences_file.read(annotated.file(sequences_file.FILE_NAME))
        sequences = gifs.chosen(annotations, config.annotation_ids)
        if config.dry_run:
            plan = gifs.planned(registry, sequences, config, frames.manifest.files.__contains__)
            told: dict[str, Any] = {"dry_run": True, "sequences": len(plan), "planned": table(plan)}
            context.log_event(dg.AssetObservation(asset_key=context.asset_key, partition=context.partition_key, metadata=told))
            return

        def work(draft: Draft, progress: Progress) -> Mapping[str, Any]:
            return gifs.make_review_gifs(registry, frames.file, sequences, config, draft, progress=progress, tell=context.log.debug)

        everything = len(sequences) == len(annotations.sequences)
        artifact = produce(
            context,
            workspace,
            work,
            config=config,
            code_version=GIFS_CODE_VERSION,
            inputs={"frames": frames, "sequence_annotations": annotated},
            settings={**science(config), "annotation_ids": [] if everything else [each.sequence_id for each in sequences]},
        )
        counts = artifact.counts
        if config.update_stage and counts["gifs"]:
            status = advanced(workspace.catalog.labelling.of(context.partition_key).status, LabellingStatus.in_progress)
            workspace.catalog.labelling.set([context.partition_key], actor(context.run.tags.get(ACTOR_TAG)), status=status)
        made = gifs.read(artifact.file(gifs.FILE_NAME))
        yield result(
            artifact,
            {
                "sequences": counts["sequences"],
                "gifs": counts["gifs"],
                "frames": counts["frames"],
                "thinned_frames": counts["thinned_frames"],
                "skipped_images": counts["skipped_images"],
                "without_gifs": table(counts["without_gifs"]),
                "skipped": table(
                    [{"sequence": each.sequence_id, **vars(image)} for each in made.values() for image in each.skipped_images]
                ),
                "made": table([_gifs_row(each) for each in made.values() if each.reason is None]),
                "reason": annotations.reason or "none: there is something to review",
                "preview": _gifs_preview(artifact, made),
                "review": review_url(workspace.settings, context.partition_key),
            },
        )


def _gifs_row(made: SequenceGifs) -> dict[str, Any]:
    return {"sequence": made.sequence_id, "frames": made.frames, "kB": round(made.size / 1e3), "main": made.main, "crop": made.crop}


def _gifs_preview(artifact: Artifact, made: Mapping[str, SequenceGifs]) -> dg.MetadataValue[Any]:
    """First, middle and last picture of the longest main GIF, side by side; a GIF itself is too large for metadata."""
    longest = max(made.values(), key=lambda each: each.frames, default=None)
    if longest is None or longest.main is None:
        return dg.MetadataValue.text("no GIFs")
    shown = sorted({0, longest.frames // 2, longest.frames - 1})
    with Image.open(artifact.file(longest.main)) as gif:
        pictures = [np.asarray(each.convert("RGB"))[:, :, ::-1] for n, each in enumerate(ImageSequence.Iterator(gif)) if n in shown]
    height, width = pictures[0].shape[:2]
    wide = THUMBNAIL_WIDTH // len(shown)
    small = [cv2.resize(each, (wide, max(1, round(height * wide / width))), interpolation=cv2.INTER_AREA) for each in pictures]
    return thumbnail(np.hstack(small).astype(np.uint8), f"{longest.sequence_id}: {longest.frames} frames")
