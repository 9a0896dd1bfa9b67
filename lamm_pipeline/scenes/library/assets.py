"""The asset `scene_library`."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import dagster as dg

from lamm_pipeline.orchestration.config import StageConfig
from lamm_pipeline.orchestration.failures import IO_RETRIES, sentences_as_failures
from lamm_pipeline.orchestration.metadata import table
from lamm_pipeline.orchestration.produce import produce, result
from lamm_pipeline.orchestration.progress import StageProgress
from lamm_pipeline.orchestration.summaries import WAITS_FOR_NOBODY
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.scenes.library.collect import collect, known, published
from lamm_pipeline.scenes.library.scene_table import CODE_VERSION, FILE_NAME, Scene, write
from lamm_pipeline.storage.atomic import digest_json
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline.streaming import Progress

NAME = "scene_library"
GROUP = "scenes"


@dg.asset(
    name=NAME,
    deps=["recording", "frames", "detections", "sequence_annotations", "selection", "lineage", "frame_uncertainty"],
    group_name=GROUP,
    code_version=CODE_VERSION,
    retry_policy=IO_RETRIES,
    automation_condition=WAITS_FOR_NOBODY,
    description="All recordings as scenes: length, place, points, labelling, tags, uncertainty, storage, datasets, previews. Read from "
    "manifests and the catalog; only what has changed is read again.",
)
def scene_library(context: dg.AssetExecutionContext, config: StageConfig, workspace: Workspace) -> dg.MaterializeResult:
    """Bring the library up to the present."""
    with sentences_as_failures():
        told = known(workspace.catalog, Path(workspace.root))
        scenes = collect(
            workspace.store,
            told,
            {} if config.force else published(workspace.store),
            draw=True,
            workers=config.workers,
            progress=StageProgress(context.log.info, NAME, "recordings"),
        )
        problems = [*told.problems, *(f"{each.scene_id}: {each.problem}" for each in scenes if each.problem)]
        for sentence in problems:
            context.log.warning(sentence)

        def work(draft: Draft, progress: Progress) -> Mapping[str, Any]:
            write(draft.directory / FILE_NAME, scenes)
            progress(len(scenes), len(scenes))
            return _numbers(scenes)

        artifact = produce(
            context,
            workspace,
            work,
            scope="summaries",
            config=config,
            code_version=CODE_VERSION,
            settings={},
            files={"scenes": digest_json([_as_json(each) for each in scenes])},
        )
        return result(
            artifact,
            {
                **artifact.counts,
                "scenes_page": dg.MetadataValue.url(f"{workspace.settings.report_url}/scenes"),
                "scenes_table": table(_top(scenes)),
                "statuses": table(_by_status(scenes)),
                "problems": table([{"problem": sentence} for sentence in problems]),
            },
        )


def _numbers(scenes: Sequence[Scene]) -> dict[str, Any]:
    return {
        "scenes": len(scenes),
        "with_uncertainty": sum(each.max_uncertainty is not None for each in scenes),
        "labelled": sum(each.status == "labelled" for each in scenes),
        "hours": round(sum(each.duration_s or 0.0 for each in scenes) / 3600, 3),
        "storage_gb": round(sum(each.storage_bytes for each in scenes) / 1e9, 3),
        "not_readable": sum(each.problem is not None for each in scenes),
    }


def _top(scenes: Sequence[Scene]) -> list[dict[str, Any]]:
    """The scenes that the models are least sure of come first, then the newest."""
    by_id = sorted(scenes, key=lambda each: each.scene_id)
    newest = sorted(by_id, key=lambda each: -math.inf if each.captured_at is None else each.captured_at.timestamp(), reverse=True)
    ranked = sorted(newest, key=lambda each: -math.inf if each.max_uncertainty is None else each.max_uncertainty, reverse=True)
    return [
        {
            "scene": each.scene_id,
            "captured": None if each.captured_at is None else f"{each.captured_at:%Y-%m-%d %H:%M}",
            "duration_s": None if each.duration_s is None else round(each.duration_s, 1),
            "frames": each.frames,
            "points": each.points,
            "annotations": each.annotations,
            "max_uncertainty": None if each.max_uncertainty is None else round(each.max_uncertainty, 4),
            "avg_uncertainty": None if each.avg_uncertainty is None else round(each.avg_uncertainty, 4),
            "measured_as": each.uncertainty_score,
            "model": each.uncertainty_model,
            "status": each.status,
            "labeler": each.labeler,
            "tags": ", ".join(each.tags),
            "gps": "no GPS" if each.gps_start_lat is None else f"{each.gps_start_lat:.5f}, {each.gps_start_lon:.5f}",
            "datasets": ", ".join(each.datasets),
            "storage_mb": round(each.storage_bytes / 1e6, 1),
        }
        for each in ranked[:50]
    ]


def _by_status(scenes: Sequence[Scene]) -> list[dict[str, Any]]:
    counts: dict[str, int] = {}
    for each in scenes:
        counts[each.status] = counts.get(each.status, 0) + 1
    return [{"status": status, "scenes": count} for status, count in sorted(counts.items())]


def _as_json(scene: Scene) -> dict[str, Any]:
    return asdict(scene) | {"captured_at": None if scene.captured_at is None else scene.captured_at.isoformat()}
