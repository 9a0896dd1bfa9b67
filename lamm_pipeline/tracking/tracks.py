"""Tracks of one recording and their file, `tracks.json`. Owns the format.

    {
    "recording": "drive",
    "total_frames": 300,
    "total_tracks": 2,
    "statistics": {"total": 2, "active": 1, "avg_length": 61.5, "max_length": 120, "min_length": 3, "class_distribution": {"car": 2}, ...},
    "tracks": [
    {"track_id": 1, "class_id": "car", "class_name": "Car", "start_frame": 0, "end_frame": 119, "trajectory": [{...}, ...], ...},
    ...
    ]
    }

One track a line. Frames are numbered by the recording's own frame index; gaps stay.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lamm_pipeline.errors import InputError
from lamm_pipeline.geometry.box_3d import Box3D

TRACKS_FILE = "tracks.json"


@dataclass(frozen=True, slots=True)
class TrackPoint:
    """A track in one frame in which it was detected.

    Attributes:
        frame_id: `<recording>:<frame index>`.
        frame_index: index in the recording.
        timestamp_ns: Unix time of the image.
        detection_id: the detection it comes from.
        class_id: class of that detection.
        kitti_type: its type in KITTI labels.
        score: of the detection, None when it has none.
        box_xyxy: of the detection, pixels in the left rectified image.
        box: as detected, rectified left camera.
        filtered_box: the track's estimate after this detection: steadier in place, size and heading.
        velocity_m_s: x, y, z along the axes of this frame's camera: over ground where the camera's motion is known, else relative to the
            camera; None where the track has only one detection so far.
        refined_box: what all frames of the track say together, in this frame's camera coordinates; None where tracks were not refined.
    """

    frame_id: str
    frame_index: int
    timestamp_ns: int
    detection_id: str
    class_id: str
    kitti_type: str
    score: float | None
    box_xyxy: tuple[float, float, float, float]
    box: Box3D
    filtered_box: Box3D
    velocity_m_s: tuple[float, float, float] | None
    refined_box: Box3D | None = None


@dataclass(frozen=True, slots=True)
class FilledPoint:
    """A track in a frame in which it was not detected, although the object was in view.

    Attributes:
        frame_id, frame_index, timestamp_ns: of the frame.
        box_xyxy: from the detections around the frame, pixels in the left rectified image.
        refined_box: rectified left camera.
    """

    frame_id: str
    frame_index: int
    timestamp_ns: int
    box_xyxy: tuple[float, float, float, float]
    refined_box: Box3D


@dataclass(frozen=True)
class Track:
    """One object over time.

    Attributes:
        track_id: 1, 2, ...; never used twice in a recording.
        class_id: the class most of its detections have, weighted by score.
        class_name: for people.
        points: in frame order, at least one; frames without a detection of the object have none.
        active: True when the track was still being followed at the end of the recording.
        filled: frames without a detection in which the object was in view, in frame order: between its detections, and before the first and
            after the last one of what stands still.
        static: whether the object stands still; None where tracks were not refined.
    """

    track_id: int
    class_id: str
    class_name: str
    points: tuple[TrackPoint, ...]
    active: bool = False
    filled: tuple[FilledPoint, ...] = ()
    static: bool | None = None

    @property
    def kitti_type(self) -> str:
        """The KITTI type of the track's class: that of its detections of this class."""
        return next((point.kitti_type for point in self.points if point.class_id == self.class_id), self.points[0].kitti_type)

    @property
    def start_frame(self) -> int:
        """Frame index of the first point."""
        return self.points[0].frame_index

    @property
    def end_frame(self) -> int:
        """Frame index of the last point."""
        return self.points[-1].frame_index

    def refined(self) -> list[tuple[int, tuple[float, float, float, float], Box3D]]:
        """Frame index, 2D box and refined box of every frame the track has one for, the interpolated ones included, in frame order."""
        found = [(point.frame_index, point.box_xyxy, point.refined_box) for point in self.points if point.refined_box is not None]
        return sorted(
            [*found, *((point.frame_index, point.box_xyxy, point.refined_box) for point in self.filled)], key=lambda each: each[0]
        )

    @property
    def avg_confidence(self) -> float | None:
        """Mean score of the points that have one."""
        scores = [point.score for point in self.points if point.score is not None]
        return sum(scores) / len(scores) if scores else None


@dataclass(frozen=True)
class TrackSet:
    """All tracks of a recording, sorted by track id.

    Attributes:
        recording: recording key.
        total_frames: frames the tracker saw, those without detections included.
        tracks: confirmed tracks.
        untracked: detections that are in no track, counted by reason.
    """

    recording: str
    total_frames: int
    tracks: tuple[Track, ...]
    untracked: Mapping[str, int] = field(default_factory=dict)

    def statistics(self) -> dict[str, Any]:
        """Numbers about the tracks; lengths count detections, None where there are no tracks."""
        lengths = [len(track.points) for track in self.tracks]
        scoreless = sum(point.score is None for track in self.tracks for point in track.points)
        return {
            "total": len(self.tracks),
            "active": sum(track.active for track in self.tracks),
            "avg_length": sum(lengths) / len(lengths) if lengths else None,
            "max_length": max(lengths, default=None),
            "min_length": min(lengths, default=None),
            "class_distribution": dict(sorted(Counter(track.class_id for track in self.tracks).items())),
            "tracked_detections": sum(lengths),
            "tracked_without_score": scoreless,
            "filled_frames": sum(len(track.filled) for track in self.tracks),
            "static": sum(track.static is True for track in self.tracks),
            "untracked_detections": dict(sorted(self.untracked.items())),
        }


def write(path: Path, track_set: TrackSet) -> None:
    """Write `tracks.json`, one track a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    head = {
        "recording": track_set.recording,
        "total_frames": track_set.total_frames,
        "total_tracks": len(track_set.tracks),
        "statistics": track_set.statistics(),
    }
    with path.open("w", encoding="utf-8") as file:
        file.write("{\n")
        file.writelines(f"{json.dumps(name)}: {_json(value)},\n" for name, value in head.items())
        file.write('"tracks": [')
        separator = "\n"
        for track in track_set.tracks:
            file.write(f"{separator}{_json(_track_to_json(track))}")
            separator = ",\n"
        file.write("\n]\n}\n")


def read(path: Path) -> TrackSet:
    """Read `tracks.json`.

    Raises:
        InputError: the file is missing or is not one of tracks.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        statistics = content["statistics"]
        tracks = tuple(_track_from_json(track) for track in content["tracks"])
        return TrackSet(content["recording"], content["total_frames"], tracks, statistics["untracked_detections"])
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing. Run the stage 'tracks' first.") from error
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise InputError(f"{path} is not a file of tracks ({error!r}). Run the stage 'tracks' again.") from error


def find_inconsistencies(track_set: TrackSet) -> list[str]:
    """What no tracker may do, as sentences: an id used twice, two boxes of a track in a frame, time running back, a shared detection."""
    problems: list[str] = []
    counts = Counter(track.track_id for track in track_set.tracks)
    problems += [f"Track id {track_id} is used by {count} tracks." for track_id, count in counts.items() if count > 1]
    owners: dict[str, int] = {}
    for track in track_set.tracks:
        if not track.points:
            problems.append(f"Track {track.track_id} has no points.")
        for before, after in zip(track.points, track.points[1:], strict=False):
            if after.frame_index <= before.frame_index:
                problems.append(f"Track {track.track_id} goes from frame {before.frame_index} to frame {after.frame_index}.")
        for point in track.points:
            if owners.setdefault(point.detection_id, track.track_id) != track.track_id:
                problems.append(f"Detection {point.detection_id} is in the tracks {owners[point.detection_id]} and {track.track_id}.")
    return problems


def point_to_json(point: TrackPoint) -> dict[str, Any]:
    """The point as it stands in the file."""
    return {name: getattr(point, name) for name in _PLAIN} | {
        "box_xyxy": list(point.box_xyxy),
        "box": asdict(point.box),
        "filtered_box": asdict(point.filtered_box),
        "velocity_m_s": None if point.velocity_m_s is None else list(point.velocity_m_s),
        "refined_box": None if point.refined_box is None else asdict(point.refined_box),
    }


def point_from_json(value: Mapping[str, Any]) -> TrackPoint:
    """The inverse of `point_to_json`."""
    x1, y1, x2, y2 = value["box_xyxy"]
    return TrackPoint(
        **{name: value[name] for name in _PLAIN},
        box_xyxy=(x1, y1, x2, y2),
        box=Box3D(**value["box"]),
        filtered_box=Box3D(**value["filtered_box"]),
        velocity_m_s=None
        if value["velocity_m_s"] is None
        else (value["velocity_m_s"][0], value["velocity_m_s"][1], value["velocity_m_s"][2]),
        refined_box=None if value["refined_box"] is None else Box3D(**value["refined_box"]),
    )


_FRAME = ("frame_id", "frame_index", "timestamp_ns")
_PLAIN = ("frame_id", "frame_index", "timestamp_ns", "detection_id", "class_id", "kitti_type", "score")


def _track_to_json(track: Track) -> dict[str, Any]:
    return {
        "track_id": track.track_id,
        "class_id": track.class_id,
        "class_name": track.class_name,
        "start_frame": track.start_frame,
        "end_frame": track.end_frame,
        "avg_confidence": track.avg_confidence,
        "active": track.active,
        "static": track.static,
        "trajectory": [point_to_json(point) for point in track.points],
        "interpolated": [
            {name: getattr(point, name) for name in _FRAME} | {"box_xyxy": list(point.box_xyxy), "refined_box": asdict(point.refined_box)}
            for point in track.filled
        ],
    }


def _track_from_json(value: Mapping[str, Any]) -> Track:
    points = tuple(point_from_json(point) for point in value["trajectory"])
    filled = []
    for point in value["interpolated"]:
        x1, y1, x2, y2 = point["box_xyxy"]
        frame = {name: point[name] for name in _FRAME}
        filled.append(FilledPoint(**frame, box_xyxy=(x1, y1, x2, y2), refined_box=Box3D(**point["refined_box"])))
    return Track(value["track_id"], value["class_id"], value["class_name"], points, value["active"], tuple(filled), value["static"])


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
