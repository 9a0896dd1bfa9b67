"""The assets `tracks`, `masklets` and `identities`: identity over time, from boxes in space, from masks, and from both."""

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

import cv2
import dagster as dg
import numpy as np

from lamm_pipeline import partitions
from lamm_pipeline.extraction import frame_registry
from lamm_pipeline.orchestration.config import StageConfig, science
from lamm_pipeline.orchestration.failures import IO_RETRIES, sentences_as_failures
from lamm_pipeline.orchestration.metadata import table, thumbnail
from lamm_pipeline.orchestration.placement import model_placement
from lamm_pipeline.orchestration.produce import produce, result
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.reconstruction import frame_boxes
from lamm_pipeline.segmentation.candidates import mask_candidates as candidates_tree
from lamm_pipeline.segmentation.candidates.settings import CandidateSettings
from lamm_pipeline.settings import Settings
from lamm_pipeline.storage.artifacts import Artifact
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline.streaming import Progress
from lamm_pipeline.tracking import checks
from lamm_pipeline.tracking import tracks as tracks_file
from lamm_pipeline.tracking.frame_views import FrameViews
from lamm_pipeline.tracking.identities import FILE_NAME as IDENTITIES_FILE
from lamm_pipeline.tracking.identities import IdentitySettings, link_identities
from lamm_pipeline.tracking.masklets import manifest, masklet_table
from lamm_pipeline.tracking.masklets import masklets as masklets_file
from lamm_pipeline.tracking.masklets.backends import make_propagator
from lamm_pipeline.tracking.masklets.quality import Quality, measure
from lamm_pipeline.tracking.masklets.registry_video import RegistryVideo
from lamm_pipeline.tracking.masklets.settings import OPERATIONAL_FIELDS, MaskletSettings
from lamm_pipeline.tracking.masklets.timings import Timings
from lamm_pipeline.tracking.masklets.track_masklets import track_masklets
from lamm_pipeline.tracking.settings import TrackingSettings
from lamm_pipeline.tracking.track import track_boxes

CODE_VERSION = "3"
MASKLETS_CODE_VERSION = "1"
IDENTITIES_CODE_VERSION = "1"
_PLACEMENT = model_placement(Settings.from_environment())


class TracksConfig(TrackingSettings, StageConfig):
    """How boxes become tracks."""


@dg.asset(
    partitions_def=partitions.recordings,
    deps=["frames", "boxes_3d"],
    group_name="tracking",
    code_version=CODE_VERSION,
    retry_policy=IO_RETRIES,
    check_specs=[checks.TRACKS_CONSISTENT],
    description="Identities over time: ByteTrack on the 3D boxes in world coordinates (stereo odometry), boxes refined over each track.",
)
def tracks(context: dg.AssetExecutionContext, config: TracksConfig, workspace: Workspace) -> dg.MaterializeResult:
    """Track the 3D boxes of a recording."""
    with sentences_as_failures():
        inputs = workspace.recording_artifacts(context.partition_key, "boxes_3d", *(["frames"] if config.odometry else []))
        boxes = inputs["boxes_3d"]
        names = {each.id: each.name for each in workspace.ontology.classes}
        sizes = {each.id: each.size_prior for each in workspace.ontology.classes}

        def work(draft: Draft, progress: Progress) -> Mapping[str, Any]:
            views = None
            if config.odometry:
                frames = inputs["frames"]
                views = FrameViews.of(frame_registry.read(frames.file(frame_registry.FILE_NAME)), frames.folder)
            found = track_boxes(
                boxes.file(frame_boxes.FILE_NAME),
                config,
                draft,
                recording=context.partition_key,
                class_names=names,
                size_priors=sizes,
                views=views,
                workers=config.workers,
                progress=progress,
            )
            return {"frames": found.total_frames, "tracks": len(found.tracks), "statistics": found.statistics()}

        artifact = produce(
            context,
            workspace,
            work,
            config=config,
            code_version=CODE_VERSION,
            inputs=inputs,
            files={"ontology": workspace.ontology.digest},
        )
        found = tracks_file.read(artifact.file(tracks_file.TRACKS_FILE))
        statistics = artifact.counts["statistics"]
        rows = [
            {
                "track": track.track_id,
                "class": track.class_id,
                "from": track.start_frame,
                "to": track.end_frame,
                "detections": len(track.points),
            }
            for track in sorted(found.tracks, key=lambda each: -len(each.points))
        ]
        return result(
            artifact,
            {
                "tracks": artifact.counts["tracks"],
                "mean_length": statistics["avg_length"],
                "longest": statistics["max_length"],
                "tracked_detections": statistics["tracked_detections"],
                "untracked": table([{"reason": reason, "count": count} for reason, count in statistics["untracked_detections"].items()]),
                "by_class": table([{"class": name, "tracks": count} for name, count in statistics["class_distribution"].items()]),
                "longest_tracks": table(rows),
            },
            [checks.tracks_consistent(found)],
        )


class MaskletsConfig(MaskletSettings, StageConfig):
    """What is followed from frame to frame, and by what."""

    OPERATIONAL = OPERATIONAL_FIELDS


@dg.asset(
    partitions_def=partitions.recordings,
    deps=["frames", "mask_candidates"],
    group_name="tracking",
    code_version=MASKLETS_CODE_VERSION,
    retry_policy=IO_RETRIES,
    pool=_PLACEMENT.pool,
    op_tags=_PLACEMENT.op_tags,
    check_specs=list(checks.MASKLET_CHECKS),
    description="Identities over time from masks: candidates followed through the video by optical flow or by SAM2.",
)
def masklets(context: dg.AssetExecutionContext, config: MaskletsConfig, workspace: Workspace) -> dg.MaterializeResult:
    """Follow the mask candidates of a recording."""
    with sentences_as_failures():
        inputs = workspace.recording_artifacts(context.partition_key, "frames", "mask_candidates")
        frames, candidates = inputs["frames"], inputs["mask_candidates"]
        propagator = make_propagator(config)
        timings = Timings()

        def work(draft: Draft, progress: Progress) -> Mapping[str, Any]:
            video = RegistryVideo(frame_registry.read(frames.file(frame_registry.FILE_NAME)), frames.folder)
            sources = candidates_tree.read(candidates.folder)
            summary = track_masklets(
                {level: partial(candidates_tree.read_level, folder) for level, folder in sources.items()},
                video,
                video.frames,
                propagator,
                config,
                draft,
                recording=context.partition_key,
                min_area=CandidateSettings.model_validate(
                    {name: value for name, value in candidates.manifest.identity.config.items() if name in CandidateSettings.model_fields}
                ).min_area,
                progress=progress,
                say=context.log.info,
                timings=timings,
            )
            return {"frames": summary.frames, "masklets": summary.masklets, "masks": summary.masks}

        artifact = produce(
            context,
            workspace,
            work,
            config=config,
            code_version=MASKLETS_CODE_VERSION,
            inputs=inputs,
            settings={**science(config), "propagator": dict(propagator.identity)},
        )
        found = measure(artifact.folder)
        told = manifest.read(artifact.file(manifest.FILE_NAME))
        return result(artifact, _masklets_metadata(artifact, found, told, timings), checks.masklet_checks(found))


def _masklets_metadata(artifact: Artifact, found: Quality, told: Mapping[str, Any], timings: Timings) -> dict[str, Any]:
    longest = sorted(masklets_file.read(artifact.file(masklets_file.FILE_NAME)), key=lambda each: (-each.frames, each.masklet_id))
    rows = [
        {
            "masklet": each.masklet_id,
            "level": each.level,
            "class": each.class_id,
            "from": each.first_frame,
            "to": each.last_frame,
            "frames": each.frames,
            "missing": each.missing,
            "prompts": each.prompts,
            "class_flips": each.class_flips,
        }
        for each in longest
    ]
    levels = [{name: value for name, value in level["statistics"].items() if name != "dedup"} for level in told["levels"].values()]
    fates = [
        {"level": level["level"], "candidates": fate, "count": count}
        for level in told["levels"].values()
        for fate, count in level["statistics"]["dedup"].items()
    ]
    warnings = [{name: each[name] for name in ("level", "code", "message")} for each in told["warnings"]]
    return {
        "masklets": artifact.counts["masklets"],
        "masks": artifact.counts["masks"],
        "mean_length": round(artifact.counts["masks"] / max(1, artifact.counts["masklets"]), 2),
        "broken": found.broken,
        "class_flips": found.flipped,
        "coverage": round(found.coverage, 4),
        "longest_masklets": table(rows),
        "levels": table(levels),
        "candidates": table(fates),
        "warnings": table(warnings),
        "timings": table([{"stage": stage, "seconds": round(seconds, 2)} for stage, seconds in timings.items()]),
        "preview": _masklets_preview(artifact, told),
    }


def _masklets_preview(artifact: Artifact, told: Mapping[str, Any]) -> dg.MetadataValue[Any]:
    """The middle one of the pictures: candidates beside masklets."""
    names = [name for level in told["levels"].values() for name in level["previews"]]
    if not names:
        return dg.MetadataValue.text("no pictures were drawn")
    name = names[len(names) // 2]
    return thumbnail(np.asarray(cv2.imread(str(artifact.folder / name), cv2.IMREAD_COLOR), np.uint8), f"{name}: candidates and masklets")


class IdentitiesConfig(IdentitySettings, StageConfig):
    """How masklets are linked to tracks."""


@dg.asset(
    partitions_def=partitions.recordings,
    deps=["tracks", "masklets"],
    group_name="tracking",
    code_version=IDENTITIES_CODE_VERSION,
    retry_policy=IO_RETRIES,
    description="Which masklet is which track, frame by frame, whose id counts, and why.",
)
def identities(context: dg.AssetExecutionContext, config: IdentitiesConfig, workspace: Workspace) -> dg.MaterializeResult:
    """Link the masklets of a recording to its tracks."""
    with sentences_as_failures():
        found_in_force = workspace.recording_artifacts(context.partition_key, "frames", "tracks", "masklets")
        inputs = {name: found_in_force[name] for name in ("tracks", "masklets")}

        def work(draft: Draft, progress: Progress) -> Mapping[str, Any]:
            found = tracks_file.read(inputs["tracks"].file(tracks_file.TRACKS_FILE))
            table_path = inputs["masklets"].file(masklet_table.FILE_NAME)
            linked = link_identities(table_path, found, config, draft.directory / IDENTITIES_FILE)
            progress(found.total_frames, found.total_frames)
            return asdict(linked)

        artifact = produce(context, workspace, work, config=config, code_version=IDENTITIES_CODE_VERSION, inputs=inputs)
        return result(artifact, {name: artifact.counts[name] for name in artifact.counts})
