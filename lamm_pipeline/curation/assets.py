"""The assets `annotation_stats` and `selection`."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from lamm_pipeline import partitions
from lamm_pipeline.curation import selecting
from lamm_pipeline.curation.annotation_stats import FILE_NAME as STATS_FILE
from lamm_pipeline.curation.annotation_stats import annotation_stats as count_annotations
from lamm_pipeline.curation.checks import NOTHING_VANISHES, nothing_vanishes
from lamm_pipeline.curation.settings import SelectionSettings
from lamm_pipeline.orchestration.config import StageConfig
from lamm_pipeline.orchestration.failures import IO_RETRIES, sentences_as_failures
from lamm_pipeline.orchestration.metadata import table
from lamm_pipeline.orchestration.produce import produce, result
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.segmentation import detections as detections_file
from lamm_pipeline.storage.artifacts import Artifact
from lamm_pipeline.storage.atomic import write_json
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline.streaming import Progress

STATS_CODE_VERSION = "1"
GROUP = "curation"


@dg.asset(
    partitions_def=partitions.recordings,
    deps=["detections"],
    group_name=GROUP,
    code_version=STATS_CODE_VERSION,
    retry_policy=IO_RETRIES,
    description="What the models found of each class: annotations, frames, confidence, sizes, distance.",
)
def annotation_stats(context: dg.AssetExecutionContext, config: StageConfig, workspace: Workspace) -> dg.MaterializeResult:
    """Count the detections of a recording."""
    with sentences_as_failures():
        source = workspace.recording_artifact(context.partition_key, "detections")

        def work(draft: Draft, progress: Progress) -> Mapping[str, Any]:
            stats = count_annotations(detections_file.read(source.file(detections_file.FILE_NAME)))
            write_json(draft.directory / STATS_FILE, stats)
            progress(stats["frames"], stats["frames"])
            return stats

        artifact = produce(context, workspace, work, config=config, code_version=STATS_CODE_VERSION, inputs={"detections": source})
        counts = artifact.counts
        return result(
            artifact,
            {
                **{name: counts[name] for name in ("frames", "frames_with_annotations", "annotations")},
                "classes": table([_class_row(class_id, known) for class_id, known in counts["classes"].items()]),
            },
        )


class SelectionConfig(SelectionSettings, StageConfig):
    """Which frames and annotations of a recording are for datasets."""


@dg.asset(
    partitions_def=partitions.recordings,
    deps=["frames", "detections", "diversity_metrics", "sequence_annotations"],
    group_name=GROUP,
    code_version=selecting.CODE_VERSION,
    retry_policy=IO_RETRIES,
    check_specs=[NOTHING_VANISHES],
    description="Which frames and annotations of a recording are for datasets, and why the others are not: exclusions, score, diversity "
    "and what people decided. No image is read.",
)
def selection(context: dg.AssetExecutionContext, config: SelectionConfig, workspace: Workspace) -> dg.MaterializeResult:
    """Curate a recording."""
    with sentences_as_failures():
        settings = SelectionSettings(**{name: getattr(config, name) for name in SelectionSettings.model_fields})
        planned = selecting.plan(workspace.store, workspace.catalog, workspace.ontology, context.partition_key, settings)
        artifact = produce(
            context,
            workspace,
            planned.make,
            config=config,
            code_version=selecting.CODE_VERSION,
            inputs=planned.inputs,
            files=planned.files,
            settings=planned.settings.model_dump(mode="json"),
        )
        for each in planned.lost:
            context.log.warning(f"Decision {each.decision.id} about {each.decision.subject} is lost: {each.reason}")
        return result(artifact, _told(artifact.counts, planned), [nothing_vanishes(planned, artifact)])


def refreshed(artifact: Artifact, planned: selecting.SelectionPlan) -> dg.AssetMaterialization:
    """What Dagster is told of a selection that was renewed for a dataset version, outside of a run of its own."""
    told = result(artifact, _told(artifact.counts, planned))
    return dg.AssetMaterialization(
        selecting.ASSET, partition=planned.recording, metadata=told.metadata, tags={"dagster/data_version": artifact.version}
    )


def _told(counts: Mapping[str, Any], planned: selecting.SelectionPlan) -> dict[str, Any]:
    drops = [{"what": "frame", "reason": reason, "count": count} for reason, count in counts["dropped_frames"].items()]
    drops += [{"what": "annotation", "reason": reason, "count": count} for reason, count in counts["dropped_annotations"].items()]
    lost = [{"decision": each.decision.id, "subject": each.decision.subject, "reason": each.reason} for each in planned.lost]
    return {
        **{f"frames_{state}": count for state, count in counts["states"].items()},
        "annotations": counts["filtered"]["annotations"],
        "original_frames": counts["original"]["frames"],
        "original_annotations": counts["original"]["annotations"],
        "reduction_percentage": counts["reduction_percentage"],
        "decisions": counts["decisions"],
        "decisions_lost": table(lost),
        "dropped": table(drops),
        "classes": table([{"class": class_id, **numbers} for class_id, numbers in counts["classes"].items()]),
        "reviewed": table([{"what": name, "count": count} for name, count in counts["reviewed"].items()]),
        "unmatched_exclusions": table([{"what": what, "id": each} for what, ids in counts["unmatched_exclusions"].items() for each in ids]),
    }


def _class_row(class_id: str, known: Mapping[str, Any]) -> dict[str, Any]:
    spread = {f"{which}_confidence": known["confidence"][which] for which in ("mean", "min", "max")}
    sizes = {name: known[name]["median"] for name in ("width_px", "height_px", "area_px", "distance_m")}
    return {"class": class_id, "annotations": known["annotations"], "frames": known["frames"], **spread, **sizes}
