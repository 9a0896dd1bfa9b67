"""The stage `tracks`: 3D boxes of all frames in, identities over time out."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.errors import InputError
from lamm_pipeline.geometry.boxes_3d import iou_bev_matrix
from lamm_pipeline.ontology.ontology import SizePrior
from lamm_pipeline.reconstruction import frame_boxes
from lamm_pipeline.reconstruction.frame_boxes import FrameBoxes, ObjectBox
from lamm_pipeline.storage.draft import CHECKPOINT_EVERY, Draft, RecordLog
from lamm_pipeline.streaming import Progress, no_progress
from lamm_pipeline.tracking import camera_path, tracks
from lamm_pipeline.tracking.byte_track import ByteTracker, LiveTrack
from lamm_pipeline.tracking.camera_path import Pose, to_camera, to_world
from lamm_pipeline.tracking.frame_views import FrameView, FrameViews
from lamm_pipeline.tracking.motion_3d import MEASURED, SpaceBoxMotion, box_of, measurement
from lamm_pipeline.tracking.refinement import Evidence, TrackedObjects, refine_tracks
from lamm_pipeline.tracking.settings import TrackingSettings
from lamm_pipeline.tracking.tracks import Track, TrackPoint, TrackSet, point_from_json, point_to_json
from lamm_pipeline.tracking.unseen_frames import SeenFrame

LOW_SCORE = "score not above low_score"
DUPLICATE = "in the same place as a better box"
NO_TRACK = "no track near enough and score too low to start one"
SHORT_TRACK = "track shorter than min_hits"


def track_boxes(
    boxes_path: Path,
    settings: TrackingSettings,
    draft: Draft,
    *,
    recording: str,
    class_names: Mapping[str, str] | None = None,
    size_priors: Mapping[str, SizePrior | None] | None = None,
    views: FrameViews | None = None,
    workers: int | None = None,
    progress: Progress = no_progress,
) -> TrackSet:
    """Track the 3D boxes of a recording and write `tracks.json` into the draft.

    A track also has the detections from before it was confirmed: the whole recording is known when the file is written. With `views` the
    camera's motion is found first (`poses.txt`), tracks live in world coordinates, and are refined over time (`refinement.py`).

    Args:
        boxes_path: `boxes_3d.json`, frames in time order; frames without boxes and missing frames move the tracks on as well.
        settings: thresholds, gates, motion.
        draft: continued from its last checkpoint; the result is the same to the byte.
        recording: recording key.
        class_names: names for people by class id; the id itself where there is none.
        size_priors: sizes by class id; boxes of classes without one are averaged only.
        views: images and depth of the recording; None to track relative to the camera, without refinement.
        workers: threads that look at images.
        progress: told after every frame.

    Returns:
        What was written.

    Raises:
        InputError: the frames are not in order, or a file is unreadable.
    """
    run = _Run(settings, draft.state, over_ground=views is not None)
    log = draft.log("points.jsonl")
    poses = draft.log("poses.jsonl")

    for frame, view in _views_from(boxes_path, run.done, views, workers):
        log.append({"points": run.step(frame, view)})
        name = {"frame_id": frame.frame_id, "frame_index": frame.frame_index, "timestamp_ns": frame.timestamp_ns}
        poses.append({"frame": name, "pose": run.pose.ravel().tolist()})
        progress(run.done, None)
        if run.done % CHECKPOINT_EVERY == 0:
            draft.checkpoint(run.state())
    result = _collect(log, run, recording, class_names or {})
    if views is not None:
        seen = [SeenFrame(**entry["frame"], pose=np.array(entry["pose"]).reshape(4, 4)) for entry in poses]
        objects = TrackedObjects(boxes_path.parent, size_priors or {})
        result = refine_tracks(result, _evidence(log, run), seen, settings, views, objects)
        camera_path.write(draft.directory / camera_path.POSES_FILE, {frame.frame_index: frame.pose for frame in seen})
    tracks.write(draft.directory / tracks.TRACKS_FILE, result)
    return result


class _Run:
    """The tracker with what it needs to go on after an interruption."""

    def __init__(self, settings: TrackingSettings, state: Mapping[str, Any], *, over_ground: bool) -> None:
        self.settings = settings
        self._space = SpaceBoxMotion(settings)
        self._space.over_ground = over_ground
        self.tracker = ByteTracker(settings.rules, self._space)
        self.done: int = state.get("done", 0)
        self.ids: dict[int, int] = {int(serial): track_id for serial, track_id in state.get("ids", {}).items()}
        self._groups: dict[str, int] = dict(state.get("groups", {}))
        self._last: tuple[int, int] | None = tuple(state["last"]) if state.get("last") else None
        self.pose: Pose = np.array(state["pose"]) if state else np.eye(4)
        self._motion: Pose = np.array(state["motion"]) if state else np.eye(4)
        if state:
            self.tracker.restore(state["tracker"])

    def state(self) -> dict[str, Any]:
        ids = {str(serial): track_id for serial, track_id in self.ids.items()}
        camera = {"pose": self.pose.tolist(), "motion": self._motion.tolist()}
        return {"done": self.done, "ids": ids, "groups": self._groups, "last": self._last, "tracker": self.tracker.to_json()} | camera

    def step(self, frame: FrameBoxes, view: FrameView) -> list[dict[str, Any]]:
        """Process one frame; returns a row for each of its detections."""
        dt = self._elapsed(frame)
        self._move_camera(view)
        scores = np.array([self._score(each) for each in frame.boxes], dtype=np.float64)
        groups = np.array([self._group(each.class_id) for each in frame.boxes], dtype=np.int64)
        alone = _without_duplicates(frame.boxes, scores, groups, self.settings.duplicate_iou_bev)
        measurements = np.array([measurement(to_world(frame.boxes[n].box, self.pose)) for n in alone]).reshape(-1, MEASURED)
        owners: list[LiveTrack | None] = [None] * len(frame.boxes)
        for n, owner in zip(alone, self.tracker.update(measurements, scores[alone], groups[alone], dt), strict=True):
            owners[n] = owner
        self.ids |= {owner.serial: owner.track_id for owner in owners if owner is not None and owner.track_id}
        self.done += 1
        self._last = (frame.frame_index, frame.timestamp_ns)
        return [{"untracked": DUPLICATE} if n not in alone else self._row(frame, n, owner, view) for n, owner in enumerate(owners)]

    def _move_camera(self, view: FrameView) -> None:
        """Add the motion since the frame before; where the images do not tell it, the camera goes on as it did."""
        if view.motion is not None:
            self._motion = view.motion
        if self.done:
            self.pose = self.pose @ self._motion
        self._space.camera_position = self.pose[:3, 3]

    def _elapsed(self, frame: FrameBoxes) -> float:
        """Seconds since the frame before; from the frame indices where there are no stamps."""
        if self._last is None:
            return 0.0
        index, timestamp_ns = self._last
        if frame.frame_index <= index:
            raise InputError(f"Frame {frame.frame_id} comes after frame {index} in the 3D boxes; write the frames in order.")
        if timestamp_ns and frame.timestamp_ns:
            return max(frame.timestamp_ns - timestamp_ns, 0) / 1e9
        return (frame.frame_index - index) / self.settings.nominal_fps

    def _score(self, box: ObjectBox) -> float:
        return self.settings.default_score if box.score is None else box.score

    def _group(self, class_id: str) -> int:
        """Number of the class group, given out in the order of first appearance."""
        return self._groups.setdefault(self.settings.group_of(class_id), len(self._groups))

    def _row(self, frame: FrameBoxes, number: int, owner: LiveTrack | None, view: FrameView) -> dict[str, Any]:
        box = frame.boxes[number]
        if owner is None:
            return {"untracked": NO_TRACK if self._score(box) > self.settings.low_score else LOW_SCORE}
        vx, vy, vz = (float(value) for value in self.pose[:3, :3].T @ owner.mean[MEASURED:])
        point = TrackPoint(
            frame_id=frame.frame_id,
            frame_index=frame.frame_index,
            timestamp_ns=frame.timestamp_ns,
            detection_id=box.detection_id,
            class_id=box.class_id,
            kitti_type=box.kitti_type,
            score=box.score,
            box_xyxy=box.box_xyxy,
            box=box.box,
            filtered_box=to_camera(box_of(owner.mean), self.pose),
            velocity_m_s=None if owner.hits == 1 else (vx, vy, vz),
        )
        evidence = Evidence(
            truncated=box.truncated,
            occluded=box.occluded,
            above_ground_m=view.above_ground_m(box.box),
            number=number,
            hidden_left=box.hidden_left,
            hidden_right=box.hidden_right,
        )
        return {"serial": owner.serial, "point": point_to_json(point), "evidence": asdict(evidence)}


def _without_duplicates(
    boxes: Sequence[ObjectBox], scores: NDArray[np.float64], groups: NDArray[np.int64], threshold: float
) -> NDArray[np.intp]:
    """Positions of the boxes to track: no two things stand in one place, so of boxes that overlap seen from above the best is kept."""
    overlapping = iou_bev_matrix([each.box for each in boxes], [each.box for each in boxes]) > threshold
    overlapping &= groups[:, None] == groups[None, :]
    dropped = np.zeros(len(boxes), dtype=bool)
    for n in np.argsort(-scores, kind="stable"):
        if not dropped[n]:
            overlapping[n, n] = False
            dropped |= overlapping[n]
    return np.flatnonzero(~dropped)


def _views_from(boxes_path: Path, done: int, views: FrameViews | None, workers: int | None) -> Iterator[tuple[FrameBoxes, FrameView]]:
    """The frames from number `done` on, with what is seen in them."""
    frames = frame_boxes.read(boxes_path)
    if views is None:
        return ((frame, FrameView()) for frame in islice(frames, done, None))
    return views.look(islice(frames, max(done - 1, 0), None), continued=done > 0, workers=workers)


def _evidence(log: RecordLog, run: _Run) -> dict[str, Evidence]:
    """What refinement has to know about each tracked detection, by its id."""
    return {
        row["point"]["detection_id"]: Evidence(**row["evidence"])
        for record in log
        for row in record["points"]
        if row.get("serial") in run.ids
    }


def _collect(log: RecordLog, run: _Run, recording: str, class_names: Mapping[str, str]) -> TrackSet:
    points: dict[int, list[TrackPoint]] = defaultdict(list)
    untracked: Counter[str] = Counter()
    for record in log:
        for row in record["points"]:
            if "untracked" in row:
                untracked[row["untracked"]] += 1
            elif row["serial"] not in run.ids:
                untracked[SHORT_TRACK] += 1
            else:
                points[run.ids[row["serial"]]].append(point_from_json(row["point"]))
    active = {track.track_id for track in run.tracker.tracks}
    found: list[Track] = []
    for track_id in sorted(points):
        class_id = _main_class(points[track_id], run.settings.default_score)
        found.append(Track(track_id, class_id, class_names.get(class_id, class_id), tuple(points[track_id]), track_id in active))
    return TrackSet(recording, run.done, tuple(found), untracked)


def _main_class(points: list[TrackPoint], default_score: float) -> str:
    weights: dict[str, float] = defaultdict(float)
    for point in points:
        weights[point.class_id] += default_score if point.score is None else point.score
    return min(weights, key=lambda class_id: (-weights[class_id], class_id))
