"""The asset `scene_view`."""

from collections.abc import Mapping
from typing import Any

import cv2
import dagster as dg
import numpy as np

from lamm_pipeline import partitions
from lamm_pipeline.extraction import frame_registry
from lamm_pipeline.orchestration.config import StageConfig
from lamm_pipeline.orchestration.failures import IO_RETRIES, sentences_as_failures
from lamm_pipeline.orchestration.metadata import THUMBNAIL_WIDTH, scene_url, table, thumbnail
from lamm_pipeline.orchestration.produce import produce, result
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.scenes.view.scene_source import FRAMES, OPTIONAL, SceneSource, usable_inputs
from lamm_pipeline.scenes.view.scene_view import write_scene
from lamm_pipeline.scenes.view.scene_writer import rerun_version
from lamm_pipeline.scenes.view.settings import SceneViewSettings
from lamm_pipeline.segmentation.segment_frames import read_image
from lamm_pipeline.storage.artifacts import Artifact
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline.streaming import Progress

CODE_VERSION = "3"


class SceneViewConfig(SceneViewSettings, StageConfig):
    """How finely a recording is shown, and how large the file may become."""


@dg.asset(
    partitions_def=partitions.recordings,
    deps=[FRAMES, *OPTIONAL],
    group_name="scenes",
    code_version=CODE_VERSION,
    retry_policy=IO_RETRIES,
    description="A recording in 3D for people: images, boxes, masks, points by class, truth, prediction and uncertainty, tracks and their "
    "trails on one timeline. Shows what there is; needs the extra `view`.",
)
def scene_view(context: dg.AssetExecutionContext, config: SceneViewConfig, workspace: Workspace) -> dg.MaterializeResult:
    """Write the scene of a recording."""
    with sentences_as_failures():
        version = rerun_version()
        recording = context.partition_key
        inputs, left_out = usable_inputs(workspace.store, recording)
        for sentence in left_out:
            context.log.warning(sentence)
        source = SceneSource(inputs, workspace.ontology)

        def work(draft: Draft, progress: Progress) -> Mapping[str, Any]:
            return write_scene(source, config, draft.directory, workers=config.workers, progress=progress)

        artifact = produce(
            context,
            workspace,
            work,
            config=config,
            code_version=CODE_VERSION,
            inputs=inputs,
            files={"ontology": workspace.ontology.digest, "rerun": version},
        )
        counts = artifact.counts
        return result(
            artifact,
            {
                "frames": counts["frames"],
                "points_per_frame": round(counts["points"] / counts["frames"]),
                "megabytes": counts["megabytes"],
                "damaged_files": len(counts["damaged_files"]),
                "thinned": table([{"what": sentence} for sentence in counts["thinned"]]),
                "missing": table([{"what": sentence} for sentence in [*left_out, *counts["missing"]]]),
                "preview": _preview(inputs[FRAMES]),
                "url": scene_url(workspace.settings, recording),
            },
        )


def _preview(frames: Artifact) -> dg.MetadataValue[Any]:
    """First, middle and last image, side by side."""
    registry = frame_registry.read(frames.file(frame_registry.FILE_NAME))
    named = [frame.image_left for frame in registry.selected_frames if frame.image_left is not None]
    places = sorted({0, len(named) // 2, len(named) - 1}) if named else []
    images = [image for image in (read_image(frames.file(named[place])) for place in places) if image is not None]
    if not images:
        return dg.MetadataValue.text("no images")
    width = THUMBNAIL_WIDTH // len(images)
    height = max(1, round(width * images[0].shape[0] / images[0].shape[1]))
    small = [cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA) for image in images]
    return thumbnail(np.hstack(small).astype(np.uint8), f"{len(named)} frames")
