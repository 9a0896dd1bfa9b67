"""The 3D boxes of a recording (`boxes_3d.json`): for every detection either a box, or the reason why it has none."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lamm_pipeline.errors import InputError
from lamm_pipeline.geometry.box_3d import Box3D
from lamm_pipeline.geometry.boxes_3d import BoxXyxy
from lamm_pipeline.segmentation.detections import FailedFrame
from lamm_pipeline.storage import framewise_json

FILE_NAME = "boxes_3d.json"
_FRAMES = "frames"


@dataclass(frozen=True)
class ObjectBox:
    """A detection with its place in space.

    Attributes:
        detection_id: of the detection it was made from.
        class_id: id in the ontology.
        kitti_type: type in KITTI labels.
        score: confidence of the detection, lowered where the measured size does not suit the class; None when the detection has none.
        box: rectified left-camera frame.
        alpha: KITTI's observation angle.
        box_xyxy: the detection's 2D box, pixels in the left image.
        truncated: share of the projected box outside the image, 0..1.
        occluded: 0 visible, 1 partly, 2 largely occluded, 3 unknown.
        distance_m: depth of the object's visible surface.
        points: number of depth points the box was fitted to.
        method: how it was fitted (`prior`, `pca`, `aabb`).
        hidden_left, hidden_right: whether something nearer adjoins that edge of the 2D box, behind which the object may go on.
    """

    detection_id: str
    class_id: str
    kitti_type: str
    score: float | None
    box: Box3D
    alpha: float
    box_xyxy: BoxXyxy
    truncated: float
    occluded: int
    distance_m: float
    points: int
    method: str
    hidden_left: bool = False
    hidden_right: bool = False


@dataclass(frozen=True)
class RefusedBox:
    """A detection that got no box, and why; `reason` is one of the short fixed texts of `reconstruct.REASONS`."""

    detection_id: str
    class_id: str
    reason: str


@dataclass(frozen=True)
class FrameBoxes:
    """One frame; `len(boxes) + len(refused)` is its number of detections."""

    frame_id: str
    frame_index: int
    timestamp_ns: int
    boxes: tuple[ObjectBox, ...]
    refused: tuple[RefusedBox, ...]


def write(path: Path, frames: Iterable[FrameBoxes], failed: Sequence[FailedFrame] = ()) -> None:
    """Write `boxes_3d.json`, streaming; the totals stand at the end.

    Args:
        path: of the file.
        frames: in the order of the recording.
        failed: frames without reliable boxes, with their reasons. Those whose detection failed are not among `frames`; those whose depth
            is damaged are, with all their detections refused.
    """
    totals = {"total_frames": 0, "total_boxes": 0, "total_refused": 0}

    def entries() -> Iterator[tuple[str, dict[str, Any]]]:
        for frame in frames:
            totals["total_frames"] += 1
            totals["total_boxes"] += len(frame.boxes)
            totals["total_refused"] += len(frame.refused)
            yield frame.frame_id, to_json(frame)

    head = {
        "coordinates": "KITTI: bottom centre, rectified left camera, x right, y down, z forward",
        "failed_frames": [{"frame_id": each.frame_id, "reason": each.reason} for each in failed],
    }
    framewise_json.write(path, head, _FRAMES, entries(), totals)


def read(path: Path) -> Iterator[FrameBoxes]:
    """Stream the frames of `boxes_3d.json`.

    Raises:
        InputError: the file is missing or not of this kind.
    """
    for frame_id, entry in framewise_json.read_frames(path, _FRAMES):
        try:
            yield from_json(frame_id, entry)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path}: frame {frame_id} is not as reconstruction writes it ({error!r}). Run the stage again.") from error


def to_json(frame: FrameBoxes) -> dict[str, Any]:
    """One frame as JSON values, without its id."""
    return {
        "frame_index": frame.frame_index,
        "timestamp_ns": frame.timestamp_ns,
        "boxes": [_box_to_json(item) for item in frame.boxes],
        "refused": [{"detection_id": each.detection_id, "class_id": each.class_id, "reason": each.reason} for each in frame.refused],
    }


def from_json(frame_id: str, entry: Mapping[str, Any]) -> FrameBoxes:
    """The inverse of `to_json`."""
    return FrameBoxes(
        frame_id=frame_id,
        frame_index=int(entry["frame_index"]),
        timestamp_ns=int(entry["timestamp_ns"]),
        boxes=tuple(_box_from_json(item) for item in entry["boxes"]),
        refused=tuple(RefusedBox(item["detection_id"], item["class_id"], item["reason"]) for item in entry["refused"]),
    )


def _box_to_json(item: ObjectBox) -> dict[str, Any]:
    box = item.box
    return {
        "detection_id": item.detection_id,
        "class_id": item.class_id,
        "kitti_type": item.kitti_type,
        "score": item.score,
        "location": [box.x, box.y, box.z],
        "dimensions": {"length": box.length, "width": box.width, "height": box.height},
        "rotation_y": box.rotation_y,
        "alpha": item.alpha,
        "bbox": list(item.box_xyxy),
        "truncated": item.truncated,
        "occluded": item.occluded,
        "distance": item.distance_m,
        "points": item.points,
        "method": item.method,
        "hidden_left": item.hidden_left,
        "hidden_right": item.hidden_right,
    }


def _box_from_json(item: Mapping[str, Any]) -> ObjectBox:
    x, y, z = (float(value) for value in item["location"])
    size = item["dimensions"]
    x1, y1, x2, y2 = (float(value) for value in item["bbox"])
    return ObjectBox(
        detection_id=item["detection_id"],
        class_id=item["class_id"],
        kitti_type=item["kitti_type"],
        score=None if item["score"] is None else float(item["score"]),
        box=Box3D(x, y, z, float(size["length"]), float(size["width"]), float(size["height"]), float(item["rotation_y"])),
        alpha=float(item["alpha"]),
        box_xyxy=(x1, y1, x2, y2),
        truncated=float(item["truncated"]),
        occluded=int(item["occluded"]),
        distance_m=float(item["distance"]),
        points=int(item["points"]),
        method=item["method"],
        hidden_left=bool(item["hidden_left"]),
        hidden_right=bool(item["hidden_right"]),
    )
