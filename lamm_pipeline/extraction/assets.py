"""The assets `frames` and `diversity_metrics`."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import dagster as dg
import numpy as np
from pydantic import Field

from lamm_pipeline import partitions
from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction import diversity, frame_registry
from lamm_pipeline.extraction.checks import RECTIFICATION, rectification, require_space
from lamm_pipeline.extraction.depth_map import read_depth
from lamm_pipeline.extraction.extract import extract_frames
from lamm_pipeline.extraction.frame_source import frame_source
from lamm_pipeline.extraction.row_offset import row_offset
from lamm_pipeline.extraction.settings import FrameSettings, StereoSettings
from lamm_pipeline.orchestration.config import StageConfig, science
from lamm_pipeline.orchestration.failures import IO_RETRIES, sentences_as_failures
from lamm_pipeline.orchestration.metadata import table, thumbnail
from lamm_pipeline.orchestration.produce import produce, result
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.recordings.assets import FILE_NAME as RECORDING_FILE
from lamm_pipeline.recordings.assets import current_digest
from lamm_pipeline.storage.artifacts import Artifact
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline.streaming import Progress

FRAMES_VERSION = "3"
METRICS_VERSION = "2"


class StereoConfig(StereoSettings, dg.Config):
    """Depth from the pair."""


class FramesConfig(FrameSettings, StageConfig):
    """Which frames are extracted, and what is made of them."""

    OPERATIONAL = frozenset({"calibration_file"})

    stereo: StereoConfig = Field(StereoConfig(), description="Depth from the pair.")
    calibration_file: str | None = Field(
        None, description="Path of the camera's SN<serial>.conf. Empty: beside the recording, LAMM_CALIBRATION_DIR, the SDK's folder."
    )


@dg.asset(
    partitions_def=partitions.recordings,
    deps=["recording"],
    group_name="extraction",
    code_version=FRAMES_VERSION,
    retry_policy=IO_RETRIES,
    pool="io",
    kinds={"opencv"},
    check_specs=[RECTIFICATION],
    description="Rectified image pairs, depth, point clouds and sensor values of every frame kept, listed in frame_registry.json.",
)
def frames(context: dg.AssetExecutionContext, config: FramesConfig, workspace: Workspace) -> dg.MaterializeResult:
    """Extract the frames of a recording."""
    with sentences_as_failures():
        recording = workspace.recording_artifact(context.partition_key, "recording")
        facts = json.loads(recording.file(RECORDING_FILE).read_text())
        row = workspace.catalog.recordings.get(context.partition_key)
        if current_digest(workspace, row) != facts["digest"]:
            raise InputError(f"The file of recording {row.key!r} has changed since it was read. Materialize `recording` again first.")
        source = frame_source(
            Path(row.path),
            facts,
            config,
            calibration_file=Path(config.calibration_file) if config.calibration_file else None,
            calibration_folder=workspace.settings.calibration_folder,
        )
        for remark in source.remarks:
            context.log.warning(remark)
        require_space(Path(workspace.root), facts, config)

        def work(draft: Draft, progress: Progress) -> Mapping[str, Any]:
            with source.open() as reader:
                registry = extract_frames(
                    reader,
                    source.calibration,
                    source.settings,
                    draft,
                    recording=row.key,
                    svo2_file=Path(row.path).name,
                    svo2_hash=facts["digest"],
                    lineage={"dataset_id": row.dataset_id, "original_unix_timestamp": facts["filename_timestamp_ns"]},
                    workers=config.workers,
                    progress=progress,
                    matcher=source.matcher,
                )
            return _counts(registry, draft.directory)

        artifact = produce(
            context,
            workspace,
            work,
            config=config,
            code_version=FRAMES_VERSION,
            inputs={"recording": recording},
            files=source.digests,
            settings=science(config) | source.science,
        )
        return result(
            artifact,
            {**artifact.counts, "first_frame": _preview(artifact), "failed": table(_failed(artifact))},
            [rectification(artifact.counts)],
        )


@dg.asset(
    partitions_def=partitions.recordings,
    deps=["frames"],
    group_name="extraction",
    code_version=METRICS_VERSION,
    retry_policy=IO_RETRIES,
    pool="io",
    kinds={"parquet"},
    description="Image hashes and motion of every frame, so that diversity can be re-thresholded without touching pixels.",
)
def diversity_metrics(context: dg.AssetExecutionContext, config: StageConfig, workspace: Workspace) -> dg.MaterializeResult:
    """Compute the diversity metrics of a recording's frames."""
    with sentences_as_failures():
        source = workspace.recording_artifact(context.partition_key, "frames")
        registry = frame_registry.read(source.file(frame_registry.FILE_NAME))

        def work(draft: Draft, progress: Progress) -> Mapping[str, Any]:
            metrics = diversity.diversity_metrics(registry, source.folder, draft, progress, workers=config.workers)
            return {
                "frames": len(metrics.frame_ids),
                "mean_motion": round(float(np.mean(metrics.motion)), 6) if len(metrics.motion) else 0.0,
                "failed_frames": [asdict(failed) for failed in metrics.failed_frames],
            }

        artifact = produce(context, workspace, work, config=config, code_version=METRICS_VERSION, inputs={"frames": source})
        failed = artifact.counts["failed_frames"]
        return result(artifact, {**artifact.counts, "failed_frames": len(failed), "failed": table(failed)})


def _counts(registry: frame_registry.FrameRegistry, folder: Path) -> dict[str, Any]:
    ratios = [frame.valid_depth_ratio for frame in registry.frames if frame.valid_depth_ratio is not None]
    return {
        "total_frames": registry.total_frames,
        "extracted_frames": registry.extracted_frames,
        "failed_frames": len(registry.failed_frames),
        "frames_removed_by_diversity": registry.frames_removed_by_diversity,
        "rectified": registry.rectified,
        "depth_out_of_range": sum(frame.depth_out_of_range for frame in registry.frames),
        "valid_depth_ratio": round(float(np.mean(ratios)), 4) if ratios else None,
        "row_offset_px": row_offset(registry, folder) if registry.rectified else None,
    }


def _failed(artifact: Artifact) -> list[dict[str, Any]]:
    registry = frame_registry.read(artifact.file(frame_registry.FILE_NAME))
    return [{"frame": failed.index, "reason": failed.reason} for failed in registry.failed_frames]


def _preview(artifact: Artifact) -> dg.MetadataValue[Any]:
    """The middle frame with its depth map beside it."""
    registry = frame_registry.read(artifact.file(frame_registry.FILE_NAME))
    selected = registry.selected_frames
    if not selected:
        return dg.MetadataValue.text("no frames")
    frame = selected[len(selected) // 2]
    image = cv2.imread(str(artifact.file(str(frame.image_left))), cv2.IMREAD_COLOR)
    pictures = [np.asarray(image, np.uint8)]
    depth = None
    if registry.camera is not None and frame.depth is not None:
        artifact.file(frame.depth)
        depth = read_depth(artifact.file(frame_registry.FILE_NAME).parent, frame, registry.camera)
    if depth is not None:
        inverse = 1.0 / depth
        scaled = np.nan_to_num(255 * inverse / max(float(np.nanpercentile(inverse, 98)), 1e-6)).clip(0, 255).astype(np.uint8)
        pictures.append(np.asarray(cv2.applyColorMap(scaled, cv2.COLORMAP_TURBO), np.uint8))
    return thumbnail(np.vstack(pictures), f"{frame.frame_id}: left image and inverse depth")
