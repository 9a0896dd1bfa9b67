"""The asset `tracks`."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from lamm_pipeline import partitions
from lamm_pipeline.extraction import frame_registry
from lamm_pipeline.orchestration.config import StageConfig
from lamm_pipeline.orchestration.failures import IO_RETRIES, sentences_as_failures
from lamm_pipeline.orchestration.metadata import table
from lamm_pipeline.orchestration.produce import produce, result
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.reconstruction import frame_boxes
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline.streaming import Progress
from lamm_pipeline.tracking import checks
from lamm_pipeline.tracking import tracks as tracks_file
from lamm_pipeline.tracking.frame_views import FrameViews
from lamm_pipeline.tracking.settings import TrackingSettings
from lamm_pipeline.tracking.track import track_boxes

CODE_VERSION = "3"


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
        boxes = workspace.recording_artifact(context.partition_key, "boxes_3d")
        inputs = {"boxes_3d": boxes}
        if config.odometry:
            inputs["frames"] = workspace.recording_artifact(context.partition_key, "frames")
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
