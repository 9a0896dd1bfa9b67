"""Frames in which a track was not detected, although its object was in view: between its detections, and before and after them.

Between two detections an object is taken to be where its refined box is, unless something stands before it. Before the first and after the
last one only what stands still is, and only as long as depth shows it: nobody knows when it came or left, but where it is not, depth sees
what is behind its place.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.geometry.box_3d import Box3D
from lamm_pipeline.geometry.boxes_3d import BoxXyxy, iou_bev, projected_box_xyxy
from lamm_pipeline.reconstruction.visibility import PARTLY, occlusion_level, occupied_share
from lamm_pipeline.tracking.camera_path import Pose, to_camera
from lamm_pipeline.tracking.frame_views import FrameViews
from lamm_pipeline.tracking.pooling import PooledTrack
from lamm_pipeline.tracking.settings import TrackingSettings
from lamm_pipeline.tracking.tracks import FilledPoint, Track, TrackPoint

_MIN_SIDE_PX = 4.0
_BORDER_PX = 2.0
_MIN_OCCUPIED_SHARE = 0.5


@dataclass(frozen=True)
class SeenFrame:
    """A frame the tracker saw, with the camera's pose."""

    frame_id: str
    frame_index: int
    timestamp_ns: int
    pose: Pose


@dataclass(frozen=True)
class RefinedTrack:
    """A track with what all its frames say of its object.

    Attributes:
        track: its points have refined boxes.
        pooled: the object.
        times: of the points, seconds since the first.
    """

    track: Track
    pooled: PooledTrack
    times: tuple[float, ...]


def fill(
    kept: Sequence[RefinedTrack], frames: Sequence[SeenFrame], settings: TrackingSettings, views: FrameViews
) -> Mapping[int, tuple[FilledPoint, ...]]:
    """Find the frames in which tracks were not detected although their objects were in view.

    Args:
        kept: no two of one object.
        frames: all frames the tracker saw, in order.
        settings: how long tracks may go on, and what makes two boxes one object.
        views: tell where a box can be seen.

    Returns:
        By track id, in frame order.
    """
    filled = _between_detections(kept, frames, settings, views)
    places = _places(kept, filled, settings)
    positions = {frame.frame_index: position for position, frame in enumerate(frames)}
    for each in kept:
        for ahead in (False, True):
            onward = _onward(each.track, frames, positions, ahead=ahead)
            for point in _extension(each, onward, places, settings, views):
                filled[each.track.track_id].append(point)
                places[point.frame_index].append((settings.group_of(each.track.class_id), point.refined_box))
    return {track_id: tuple(sorted(points, key=lambda point: point.frame_index)) for track_id, points in filled.items()}


def seconds(start: SeenFrame, frame: SeenFrame, settings: TrackingSettings) -> float:
    """Time from one frame to another; from the frame indices where there are no stamps."""
    if start.timestamp_ns and frame.timestamp_ns:
        return (frame.timestamp_ns - start.timestamp_ns) / 1e9
    return (frame.frame_index - start.frame_index) / settings.nominal_fps


def shared_part(a: Box3D, b: Box3D) -> float:
    """Part of the smaller box's ground that both cover."""
    iou = iou_bev(a, b)
    areas = a.length * a.width, b.length * b.width
    return iou * sum(areas) / (1.0 + iou) / min(areas)


def rounded(box: Box3D) -> Box3D:
    """A box as `tracks.json` has it: to 0.1 mm and a millionth of a radian."""
    x, y, z, length, width, height = (round(value, 4) for value in (box.x, box.y, box.z, box.length, box.width, box.height))
    return Box3D(x, y, z, length, width, height, np.trunc(box.rotation_y * 1e6).item() / 1e6)


def _between_detections(
    kept: Sequence[RefinedTrack], frames: Sequence[SeenFrame], settings: TrackingSettings, views: FrameViews
) -> dict[int, list[FilledPoint]]:
    """Frames between detections in which a refined box is in view, by track id."""
    by_index = {frame.frame_index: frame for frame in frames}
    filled: dict[int, list[FilledPoint]] = {each.track.track_id: [] for each in kept}
    for frame in frames:
        missing = [
            each
            for each in kept
            if each.track.start_frame < frame.frame_index < each.track.end_frame
            and all(point.frame_index != frame.frame_index for point in each.track.points)
        ]
        depth = views.depth(frame.frame_id) if missing else None
        if depth is None:
            continue
        for each in missing:
            point = _point(each, frame, seconds(by_index[each.track.start_frame], frame, settings), views)
            if point is not None and occlusion_level(point.refined_box, depth, views.camera) <= PARTLY:
                filled[each.track.track_id].append(point)
    return filled


def _places(
    kept: Sequence[RefinedTrack], filled: Mapping[int, Sequence[FilledPoint]], settings: TrackingSettings
) -> dict[int, list[tuple[str, Box3D]]]:
    """Where tracks are in each frame: class groups and boxes by frame index."""
    places: dict[int, list[tuple[str, Box3D]]] = defaultdict(list)
    for each in kept:
        group = settings.group_of(each.track.class_id)
        for point in each.track.points:
            if point.refined_box is not None:
                places[point.frame_index].append((group, point.refined_box))
        for between in filled[each.track.track_id]:
            places[between.frame_index].append((group, between.refined_box))
    return places


def _onward(track: Track, frames: Sequence[SeenFrame], positions: Mapping[int, int], *, ahead: bool) -> Iterator[SeenFrame]:
    """The last frame with a detection and those after it, or the first one and those before it, backwards."""
    if ahead:
        return (frames[position] for position in range(positions[track.end_frame], len(frames)))
    return (frames[position] for position in range(positions[track.start_frame], -1, -1))


def _extension(
    each: RefinedTrack,
    onward: Iterator[SeenFrame],
    places: Mapping[int, Sequence[tuple[str, Box3D]]],
    settings: TrackingSettings,
    views: FrameViews,
) -> Iterator[FilledPoint]:
    """The frames after that of a detection at an end of a track in which what stands still is seen, up to the first in which it is not."""
    if not each.track.static:
        return
    group, longest_s = settings.group_of(each.track.class_id), min(settings.max_extension_s, each.times[-1])
    end = next(onward)
    for frame in onward:
        if abs(seconds(end, frame, settings)) > longest_s:
            return
        point = _point(each, frame, 0.0, views)
        if point is None or point.refined_box.z > settings.max_range_m or _at_border(point.box_xyxy, views):
            return
        if any(
            other == group and shared_part(point.refined_box, box) > settings.merge_overlap
            for other, box in places.get(frame.frame_index, ())
        ):
            return
        depth = views.depth(frame.frame_id)
        if depth is None or not _shown(point.refined_box, depth, views):
            return
        yield point


def _shown(box: Box3D, depth: NDArray[np.float32], views: FrameViews) -> bool:
    visible = occlusion_level(box, depth, views.camera) <= PARTLY
    return visible and occupied_share(box, depth, views.camera) > _MIN_OCCUPIED_SHARE


def _point(each: RefinedTrack, frame: SeenFrame, time_s: float, views: FrameViews) -> FilledPoint | None:
    """The object in a frame without a detection, None where it is out of view."""
    box = rounded(to_camera(each.pooled.at(each.times, time_s), frame.pose))
    box_xyxy = _interpolated_xyxy(each.track, box, frame.frame_index, views)
    return None if box_xyxy is None else FilledPoint(frame.frame_id, frame.frame_index, frame.timestamp_ns, box_xyxy, box)


def _interpolated_xyxy(track: Track, box: Box3D, frame_index: int, views: FrameViews) -> BoxXyxy | None:
    """The projected box, moved as the detections before and after it lie to their projections, in shares of its sides."""
    projected = _project(box, views)
    if projected is None:
        return None
    offset = np.zeros(4)
    for point, weight in _neighbours(track, frame_index):
        there = None if point.refined_box is None else _project(point.refined_box, views)
        if there is not None:
            offset += weight * (np.array(point.box_xyxy) - there) / _sides(there)
    limits = np.array([views.camera.width - 1, views.camera.height - 1] * 2)
    x1, y1, x2, y2 = np.clip(projected + offset * _sides(projected), 0.0, limits)
    if min(x2 - x1, y2 - y1) < _MIN_SIDE_PX:
        return None
    return round(float(x1), 2), round(float(y1), 2), round(float(x2), 2), round(float(y2), 2)


def _neighbours(track: Track, frame_index: int) -> list[tuple[TrackPoint, float]]:
    """The detections before and after a frame without one, with their weights there."""
    before = max((point for point in track.points if point.frame_index < frame_index), key=lambda point: point.frame_index, default=None)
    after = min((point for point in track.points if point.frame_index > frame_index), key=lambda point: point.frame_index, default=None)
    if before is None or after is None:
        return [(point, 1.0) for point in (before, after) if point is not None]
    share = (frame_index - before.frame_index) / (after.frame_index - before.frame_index)
    return [(before, 1.0 - share), (after, share)]


def _at_border(box_xyxy: BoxXyxy, views: FrameViews) -> bool:
    x1, y1, x2, y2 = box_xyxy
    far_x, far_y = views.camera.width - 1 - _BORDER_PX, views.camera.height - 1 - _BORDER_PX
    return x1 <= _BORDER_PX or y1 <= _BORDER_PX or x2 >= far_x or y2 >= far_y


def _project(box: Box3D, views: FrameViews) -> NDArray[np.float64] | None:
    camera = views.camera
    found = projected_box_xyxy(box, camera.projection_left, camera.width, camera.height)
    return None if found is None else np.array(found)


def _sides(box_xyxy: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(np.tile(box_xyxy[2:] - box_xyxy[:2], 2), 1.0)
