"""The asset `boxes_3d`."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import cv2
import dagster as dg
import numpy as np

from lamm_pipeline import partitions
from lamm_pipeline.extraction import frame_registry
from lamm_pipeline.geometry.drawing import draw_box_3d
from lamm_pipeline.ontology.ontology import Ontology
from lamm_pipeline.orchestration.config import StageConfig
from lamm_pipeline.orchestration.failures import IO_RETRIES, sentences_as_failures
from lamm_pipeline.orchestration.metadata import table, thumbnail
from lamm_pipeline.orchestration.produce import produce, result
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.reconstruction import checks, frame_boxes
from lamm_pipeline.reconstruction.reconstruct import reconstruct
from lamm_pipeline.reconstruction.settings import BoxSettings
from lamm_pipeline.segmentation import detections as detections_file
from lamm_pipeline.storage.artifacts import Artifact
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline.streaming import Progress

CODE_VERSION = "4"


class Boxes3DConfig(BoxSettings, StageConfig):
    """What decides the 3D boxes."""


@dg.asset(
    partitions_def=partitions.recordings,
    deps=["frames", "detections"],
    group_name="reconstruction",
    code_version=CODE_VERSION,
    retry_policy=IO_RETRIES,
    check_specs=[checks.KITTI_GRAMMAR],
    description="Oriented 3D boxes from masks and depth, as boxes_3d.json and KITTI labels; every detection without one has its reason.",
)
def boxes_3d(context: dg.AssetExecutionContext, config: Boxes3DConfig, workspace: Workspace) -> dg.MaterializeResult:
    """Rebuild the 3D boxes of a recording."""
    with sentences_as_failures():
        inputs = workspace.recording_artifacts(context.partition_key, "frames", "detections")
        frames, detections = inputs["frames"], inputs["detections"]
        registry = frame_registry.read(frames.file(frame_registry.FILE_NAME))

        def work(draft: Draft, progress: Progress) -> Mapping[str, Any]:
            summary = reconstruct(
                registry,
                frames.folder,
                detections.file(detections_file.FILE_NAME),
                workspace.ontology,
                config,
                draft,
                workers=config.workers,
                progress=progress,
            )
            return asdict(summary)

        artifact = produce(
            context,
            workspace,
            work,
            config=config,
            code_version=CODE_VERSION,
            inputs=inputs,
            files={"ontology": workspace.ontology.digest},
        )
        counts = artifact.counts
        return result(
            artifact,
            {
                "boxes": counts["boxes"],
                "detections": counts["detections"],
                "refused": counts["refused"],
                "failed_frames": len(counts["failed_frames"]),
                "frames_without_ground": counts["frames_without_ground"],
                "by_class": table([{"class": name, "boxes": count} for name, count in counts["boxes_by_class"].items()]),
                "reasons": table([{"reason": reason, "detections": count} for reason, count in counts["refused_by_reason"].items()]),
                "failed": table(counts["failed_frames"]),
                "fullest_frame": _preview(artifact, frames, workspace.ontology),
            },
            [checks.kitti_grammar(artifact.folder)],
        )


def _preview(artifact: Artifact, frames: Artifact, ontology: Ontology) -> dg.MetadataValue[Any]:
    """The frame with most boxes, drawn."""
    registry = frame_registry.read(frames.file(frame_registry.FILE_NAME))
    fullest = max(frame_boxes.read(artifact.file(frame_boxes.FILE_NAME)), key=lambda each: len(each.boxes), default=None)
    if fullest is None or registry.camera is None:
        return dg.MetadataValue.text("no frames")
    image = np.asarray(cv2.imread(str(frames.file(f"image_left/{fullest.frame_index:06d}.png")), cv2.IMREAD_COLOR), np.uint8)
    for item in fullest.boxes:
        draw_box_3d(image, item.box, registry.camera.projection_left, ontology.by_id(item.class_id).color_rgb)
    return thumbnail(image, f"{fullest.frame_id}: {len(fullest.boxes)} boxes")
