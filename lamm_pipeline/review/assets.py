"""The asset `review_gifs`."""

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
from lamm_pipeline.orchestration.metadata import THUMBNAIL_WIDTH, table, thumbnail
from lamm_pipeline.orchestration.produce import produce, result
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.review import gifs
from lamm_pipeline.review import sequence_annotations as annotations_file
from lamm_pipeline.review.gif_settings import OPERATIONAL_FIELDS, GifSettings
from lamm_pipeline.review.gifs import SequenceGifs
from lamm_pipeline.review.labelling_status import LabellingStatus, advanced
from lamm_pipeline.settings import actor
from lamm_pipeline.storage.artifacts import Artifact
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline.streaming import Progress

GIFS_CODE_VERSION = "1"


class ReviewGifsConfig(GifSettings, StageConfig):
    """Which GIFs are made for people who review, and how."""

    OPERATIONAL = OPERATIONAL_FIELDS | {"dry_run", "update_stage"}

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
        annotations = annotations_file.read(annotated.file(annotations_file.FILE_NAME))
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
            status = advanced(workspace.catalog.labelling(context.partition_key).status, LabellingStatus.in_progress)
            workspace.catalog.set_labelling(context.partition_key, actor(context.run.tags.get(ACTOR_TAG)), status=status)
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
