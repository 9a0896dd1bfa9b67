"""The assets `detections` and `mask_candidates`."""

from collections.abc import Mapping
from typing import Any

import cv2
import dagster as dg
import numpy as np

from lamm_pipeline import partitions
from lamm_pipeline.extraction import frame_registry
from lamm_pipeline.geometry.drawing import distinct_color, draw_box, draw_mask
from lamm_pipeline.ontology.ontology import Ontology
from lamm_pipeline.orchestration.config import StageConfig, science
from lamm_pipeline.orchestration.failures import IO_RETRIES, sentences_as_failures
from lamm_pipeline.orchestration.metadata import review_url, table, thumbnail
from lamm_pipeline.orchestration.placement import model_placement
from lamm_pipeline.orchestration.produce import produce, result
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.segmentation import detections as detections_file
from lamm_pipeline.segmentation.backends import make_segmenter
from lamm_pipeline.segmentation.candidates import mask_candidates as candidates_tree
from lamm_pipeline.segmentation.candidates.mask_candidates import FrameCandidates
from lamm_pipeline.segmentation.candidates.propose import propose_candidates
from lamm_pipeline.segmentation.candidates.settings import OPERATIONAL_FIELDS as CANDIDATES_OPERATIONAL
from lamm_pipeline.segmentation.candidates.settings import CandidateSettings, CandidateSource
from lamm_pipeline.segmentation.candidates.sources import make_proposer
from lamm_pipeline.segmentation.segment_frames import read_image, segment_frames
from lamm_pipeline.segmentation.settings import OPERATIONAL_FIELDS, SegmentationSettings
from lamm_pipeline.settings import Settings
from lamm_pipeline.storage.artifacts import Artifact
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline.streaming import Progress

CODE_VERSION = "2"
CANDIDATES_CODE_VERSION = "1"
_PLACEMENT = model_placement(Settings.from_environment())


class DetectionsConfig(SegmentationSettings, StageConfig):
    """What to look for in each frame and how hard."""

    OPERATIONAL = OPERATIONAL_FIELDS


@dg.asset(
    partitions_def=partitions.recordings,
    deps=["frames"],
    group_name="segmentation",
    code_version=CODE_VERSION,
    retry_policy=IO_RETRIES,
    pool=_PLACEMENT.pool,
    op_tags=_PLACEMENT.op_tags,
    description="Boxes, masks, classes and scores of the objects in every frame.",
)
def detections(context: dg.AssetExecutionContext, config: DetectionsConfig, workspace: Workspace) -> dg.MaterializeResult:
    """Find and outline the objects of a recording."""
    with sentences_as_failures():
        frames = workspace.recording_artifact(context.partition_key, "frames")
        registry = frame_registry.read(frames.file(frame_registry.FILE_NAME))
        segmenter = make_segmenter(config, workspace.ontology)

        def work(draft: Draft, progress: Progress) -> Mapping[str, Any]:
            summary = segment_frames(
                registry, frames.folder, segmenter, workspace.ontology, config, draft, workers=config.workers, progress=progress
            )
            return {
                "frames": summary.total_frames,
                "detections": summary.total_detections,
                "frames_with_detections": summary.frames_with_detections,
                "failed_frames": [{"frame": failed.frame_id, "reason": failed.reason} for failed in summary.failed_frames],
                "by_class": dict(summary.by_class),
                "by_mask_source": dict(summary.by_mask_source),
                "refused": dict(summary.refused),
                "mean_confidence": summary.mean_confidence,
                **summary.report,
            }

        artifact = produce(
            context,
            workspace,
            work,
            config=config,
            code_version=CODE_VERSION,
            inputs={"frames": frames},
            files={"ontology": workspace.ontology.digest},
            settings={**science(config), "segmenter": dict(segmenter.identity)},
        )
        counts = artifact.counts
        return result(
            artifact,
            {
                "frames": counts["frames"],
                "detections": counts["detections"],
                "frames_with_detections": counts["frames_with_detections"],
                "mean_confidence": counts["mean_confidence"],
                "failed_frames": len(counts["failed_frames"]),
                "by_class": table([{"class": name, "detections": count} for name, count in counts["by_class"].items()]),
                "refused": table([{"reason": reason, "candidates": count} for reason, count in counts["refused"].items()]),
                "failed": table(counts["failed_frames"]),
                **({"predictions": dg.MetadataValue.json(counts["predictions"])} if "predictions" in counts else {}),
                "fullest_frame": _preview(artifact, frames, workspace.ontology),
                "review": review_url(workspace.settings, context.partition_key),
            },
        )


def _preview(artifact: Artifact, frames: Artifact, ontology: Ontology) -> dg.MetadataValue[Any]:
    """The frame with most objects, with masks and boxes drawn."""
    fullest = max(detections_file.read(artifact.file(detections_file.FILE_NAME)), key=lambda each: len(each.detections), default=None)
    if fullest is None:
        return dg.MetadataValue.text("no frames")
    image = np.asarray(cv2.imread(str(frames.file(f"image_left/{fullest.frame_index:06d}.png")), cv2.IMREAD_COLOR), np.uint8)
    for found in fullest.detections:
        color = ontology.by_id(found.class_id).color_rgb
        draw_mask(image, found.mask_rle, color)
        draw_box(image, found.box_xyxy, color, f"{found.class_id} {found.confidence or 0:.2f}")
    return thumbnail(image, f"{fullest.frame_id}: {len(fullest.detections)} detections")


class MaskCandidatesConfig(CandidateSettings, StageConfig):
    """What is proposed as an object in a frame, before masks are followed."""

    OPERATIONAL = CANDIDATES_OPERATIONAL


@dg.asset(
    partitions_def=partitions.recordings,
    deps=["frames", "detections"],
    group_name="segmentation",
    code_version=CANDIDATES_CODE_VERSION,
    retry_policy=IO_RETRIES,
    pool=_PLACEMENT.pool,
    op_tags=_PLACEMENT.op_tags,
    description="What may be an object in every frame: detections, SAM2's automatic masks, or a tree made elsewhere; prompts of masklets.",
)
def mask_candidates(context: dg.AssetExecutionContext, config: MaskCandidatesConfig, workspace: Workspace) -> dg.MaterializeResult:
    """Propose objects for the masklets of a recording."""
    with sentences_as_failures():
        read = ["frames", "detections"] if config.source is CandidateSource.detections else ["frames"]
        inputs = workspace.recording_artifacts(context.partition_key, *read)
        frames, found = inputs["frames"], inputs.get("detections")
        registry = frame_registry.read(frames.file(frame_registry.FILE_NAME))
        proposer = make_proposer(config, frames.folder, None if found is None else found.file(detections_file.FILE_NAME))

        def work(draft: Draft, progress: Progress) -> Mapping[str, Any]:
            return propose_candidates(registry, proposer, config, draft, workers=config.workers, progress=progress).to_json()

        artifact = produce(
            context,
            workspace,
            work,
            config=config,
            code_version=CANDIDATES_CODE_VERSION,
            inputs=inputs,
            settings={**science(config), "proposer": dict(proposer.identity)},
        )
        counts = artifact.counts
        return result(
            artifact,
            {
                "frames": counts["frames"],
                "candidates": counts["candidates"],
                "frames_with_candidates": counts["frames_with_candidates"],
                "failed_frames": len(counts["failed_frames"]),
                "by_level": table([{"level": int(level), "candidates": count} for level, count in counts["by_level"].items()]),
                "by_source": table([{"source": name, "candidates": count} for name, count in counts["by_source"].items()]),
                "refused": table([{"reason": reason, "candidates": count} for reason, count in counts["refused"].items()]),
                "failed": table(counts["failed_frames"]),
                **({"external": dg.MetadataValue.json(counts["external"])} if "external" in counts else {}),
                "fullest_frame": _candidates_preview(artifact, frames),
            },
        )


def _candidates_preview(artifact: Artifact, frames: Artifact) -> dg.MetadataValue[Any]:
    """The frame with most candidates in the coarsest level, with masks and boxes drawn."""
    level, folder = next(iter(candidates_tree.read(artifact.folder).items()))
    fullest: FrameCandidates | None = max(candidates_tree.read_level(folder), key=lambda each: len(each.candidates), default=None)
    if fullest is None:
        return dg.MetadataValue.text("no frames")
    image = read_image(frames.file(f"image_left/{fullest.frame_index:06d}.png"))
    if image is None:
        return dg.MetadataValue.text(f"the image of {fullest.frame_id} is missing or damaged")
    for number, candidate in enumerate(fullest.candidates):
        if candidate.mask_rle is not None:
            draw_mask(image, candidate.mask_rle, distinct_color(number))
        draw_box(image, candidate.box_xyxy, distinct_color(number), candidate.class_id or candidate.source)
    return thumbnail(image, f"{fullest.frame_id}, level {level}: {len(fullest.candidates)} candidates")
