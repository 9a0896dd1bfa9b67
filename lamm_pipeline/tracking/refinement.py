"""Tracks seen as a whole: boxes refined over time, and what has too little support left out.

A recording is over when this runs, so every track is judged by all of its detections. Constants of a scene (how far, how often, how sure)
are settings; nothing here knows a road or its direction.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lamm_pipeline.geometry.boxes_2d import iou_matrix
from lamm_pipeline.geometry.camera import RectifiedCamera
from lamm_pipeline.ontology.ontology import SizePrior
from lamm_pipeline.reconstruction import surface_points
from lamm_pipeline.reconstruction.object_points import depth_sigma_m
from lamm_pipeline.reconstruction.surface_fit import SurfaceView
from lamm_pipeline.tracking.camera_path import Pose, to_camera, to_world
from lamm_pipeline.tracking.frame_views import FrameViews
from lamm_pipeline.tracking.pooling import Observation, pool
from lamm_pipeline.tracking.settings import TrackingSettings
from lamm_pipeline.tracking.tracks import Track, TrackPoint, TrackSet
from lamm_pipeline.tracking.unseen_frames import RefinedTrack, SeenFrame, fill, rounded, seconds, shared_part

LITTLE_EVIDENCE = "track with less evidence than min_evidence"
RARELY_SEEN = "track detected in too small a share of its frames"
TOO_FAR = "track never nearer than max_range_m"
OFF_THE_GROUND = "track not on the ground"
SAME_OBJECT = "track of an object that a better track has"

_BORDER_PX = 2.0
_SUREST = 0.99


@dataclass(frozen=True)
class Evidence:
    """What is known of a detection besides its track point.

    Attributes:
        truncated: share outside the image.
        occluded: KITTI's level, 0..3.
        above_ground_m: height of the underside of its box above the ground, None without a plane.
        number: position of the box in its frame's list.
        hidden_left, hidden_right: whether the object may go on behind something nearer at that edge of its 2D box.
    """

    truncated: float
    occluded: int
    above_ground_m: float | None
    number: int
    hidden_left: bool
    hidden_right: bool


@dataclass(frozen=True)
class TrackedObjects:
    """What is known of the objects besides their boxes.

    Attributes:
        boxes_folder: of the 3D boxes, where their points lie; there may be none.
        size_priors: by class id.
    """

    boxes_folder: Path
    size_priors: Mapping[str, SizePrior | None]


def refine_tracks(
    found: TrackSet,
    evidence: Mapping[str, Evidence],
    frames: Sequence[SeenFrame],
    settings: TrackingSettings,
    views: FrameViews,
    objects: TrackedObjects,
) -> TrackSet:
    """Refine the tracks of a recording.

    Args:
        found: as the tracker left them.
        evidence: by detection id.
        frames: all frames the tracker saw, in order.
        settings: see `TrackingSettings`.
        views: tell where a filled box can be seen.
        objects: what is known of the objects besides their boxes.

    Returns:
        The supported tracks with refined boxes; the detections of the others are counted as untracked.
    """
    by_index = {frame.frame_index: frame for frame in frames}
    dropped: Counter[str] = Counter(found.untracked)
    supported: list[RefinedTrack] = []
    for track in found.tracks:
        each = _refined(track, evidence, by_index, settings, views.camera, objects)
        reason = _lacks_support(each.track, evidence, by_index, settings)
        if reason is None:
            supported.append(each)
        else:
            dropped[reason] += len(track.points)
    kept = _without_duplicates(supported, settings)
    dropped[SAME_OBJECT] += sum(len(each.track.points) for each in supported) - sum(len(each.track.points) for each in kept)
    filled = fill(kept, frames, settings, views)
    tracks = tuple(replace(each.track, filled=filled[each.track.track_id]) for each in kept)
    return TrackSet(found.recording, found.total_frames, tracks, +dropped)


def _lacks_support(
    track: Track, evidence: Mapping[str, Evidence], by_index: Mapping[int, SeenFrame], settings: TrackingSettings
) -> str | None:
    """Why a refined track is not believed, None when it is."""
    span = sum(track.start_frame <= index <= track.end_frame for index in by_index)
    heights = [known for point in track.points if (known := evidence[point.detection_id].above_ground_m) is not None]
    verdicts = (
        (LITTLE_EVIDENCE, _evidence(track, span, settings) < settings.min_evidence),
        (RARELY_SEEN, len(track.points) < settings.min_support_share * span),
        (TOO_FAR, min(point.box.z for point in track.points) > settings.max_range_m),
        (OFF_THE_GROUND, bool(heights) and abs(float(np.median(heights))) > settings.max_off_ground_m),
    )
    return next((reason for reason, holds in verdicts if holds), None)


def _evidence(track: Track, span: int, settings: TrackingSettings) -> float:
    """How sure a refined track is: log of the odds that it is an object, not a chain of false detections.

    Each detection counts by its score: its log-odds over those of `even_score`. For a track that moves each frame of its span counts as
    well, by how much more often objects are found again there than chains of false detections (Sittler's track score: "An Optimal Data
    Association Problem in Surveillance Theory", 1964), since unrelated detections rarely fit one motion. What stands still is found again
    because it looks the same again, be it an object or a hedge.

    Args:
        track: with what is known of its motion.
        span: frames from its first to its last.
        settings: see `TrackingSettings`.
    """
    scores = [settings.default_score if point.score is None else point.score for point in track.points]
    even = _log_odds(settings.even_score)
    by_score = sum(_log_odds(score) - even for score in np.clip(scores, 1.0 - _SUREST, _SUREST).tolist())
    if track.static:
        return by_score
    true, false = settings.found_again, settings.false_found_again
    again, missed = len(track.points) - 1, span - len(track.points)
    return by_score + again * math.log(true / false) + missed * math.log((1.0 - true) / (1.0 - false))


def _log_odds(probability: float) -> float:
    return math.log(probability / (1.0 - probability))


def _refined(
    track: Track,
    evidence: Mapping[str, Evidence],
    by_index: Mapping[int, SeenFrame],
    settings: TrackingSettings,
    camera: RectifiedCamera,
    objects: TrackedObjects,
) -> RefinedTrack:
    times = _times(track, by_index, settings)
    observations = []
    for point, time_s in zip(track.points, times, strict=True):
        pose, known = by_index[point.frame_index].pose, evidence[point.detection_id]
        score = settings.default_score if point.score is None else point.score
        typical = point.class_id == track.class_id
        surface = _surface(point, known, pose, camera, objects)
        box = to_world(point.box, pose)
        observations.append(Observation(time_s, box, pose[:3, 3], score, known.truncated, known.occluded, typical, surface))
    pooled = pool(observations, settings, objects.size_priors.get(track.class_id))
    points = tuple(
        replace(point, refined_box=rounded(to_camera(box, by_index[point.frame_index].pose)))
        for point, box in zip(track.points, pooled.boxes, strict=True)
    )
    return RefinedTrack(replace(track, points=points, static=pooled.static), pooled, times)


def _surface(point: TrackPoint, known: Evidence, pose: Pose, camera: RectifiedCamera, objects: TrackedObjects) -> SurfaceView | None:
    """What a detection shows of its object, seen from above, in world coordinates."""
    rows = surface_points.read(objects.boxes_folder, point.frame_index)
    points = None if rows is None else rows[rows[:, 0] == known.number, 1:].astype(np.float64)
    if points is None or len(points) == 0:
        return None
    x1, _, x2, _ = point.box_xyxy
    ahead = math.atan2(pose[0, 2], pose[2, 2])
    return SurfaceView(
        points=(points @ pose[:3, :3].T + pose[:3, 3])[:, [0, 2]],
        camera=pose[[0, 2], 3],
        left=ahead + math.atan((x1 - camera.cx) / camera.fx),
        right=ahead + math.atan((x2 - camera.cx) / camera.fx),
        open_left=known.hidden_left or x1 <= _BORDER_PX,
        open_right=known.hidden_right or x2 >= camera.width - 1 - _BORDER_PX,
        noise_m=depth_sigma_m(float(np.median(points[:, 2])), camera),
    )


def _times(track: Track, by_index: Mapping[int, SeenFrame], settings: TrackingSettings) -> tuple[float, ...]:
    return tuple(seconds(by_index[track.start_frame], by_index[point.frame_index], settings) for point in track.points)


def _without_duplicates(supported: Sequence[RefinedTrack], settings: TrackingSettings) -> list[RefinedTrack]:
    """No two things stand in one place, and none is of two classes: of tracks that are one object the best supported stays."""
    kept: list[RefinedTrack] = []
    for each in sorted(supported, key=lambda one: (-_support(one.track), one.track.track_id)):
        group = settings.group_of(each.track.class_id)
        if not any(
            _same_place(each.track, other.track, settings.merge_overlap)
            if settings.group_of(other.track.class_id) == group
            else _same_view(each.track, other.track, settings.merge_iou)
            for other in kept
        ):
            kept.append(each)
    return sorted(kept, key=lambda one: one.track.track_id)


def _support(track: Track) -> float:
    return sum(1.0 if point.score is None else point.score for point in track.points)


def _same_place(track: Track, other: Track, limit: float) -> bool:
    boxes = {point.frame_index: point.refined_box for point in other.points}
    shares = []
    for point in track.points:
        box = boxes.get(point.frame_index)
        if box is not None and point.refined_box is not None:
            shares.append(shared_part(point.refined_box, box))
    return bool(shares) and float(np.median(shares)) > limit


def _same_view(track: Track, other: Track, limit: float) -> bool:
    """Whether the detections of a track are those of another in the image, in most of its frames."""
    boxes = {point.frame_index: point.box_xyxy for point in other.points}
    overlaps = [
        iou_matrix([point.box_xyxy], [boxes[point.frame_index]])[0, 0] if point.frame_index in boxes else 0.0 for point in track.points
    ]
    return float(np.median(overlaps)) > limit
