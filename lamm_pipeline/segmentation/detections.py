"""`detections.json`: the objects of every frame, with their masks.

The keys are those of the format's first tool (`total_frames`, `total_detections`, `frames` by frame id), with ours beside them. One frame a
line, so that long recordings stream. No timings are in it (`inference_time_ms` of the first tool): equal inputs give equal bytes.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lamm_pipeline.errors import InputError
from lamm_pipeline.storage import framewise_json

FILE_NAME = "detections/detections.json"
MASKS_FOLDER = "detections/masks"
FRAMES_KEY = "frames"


@dataclass(frozen=True)
class Detection:
    """One object in one frame.

    Attributes:
        detection_id: `<frame id>:<n>`.
        class_id: of the ontology.
        class_name: for people.
        confidence: in 0..1, None where the back end has none.
        box_xyxy: pixels of the left image.
        mask_rle: COCO RLE, `{"size": [H, W], "counts": text}`. It may go somewhat beyond the box, as back ends outline objects by other
            means than they find them.
        area: pixels in the mask.
        centroid: mean x and y of the mask's pixels.
        distance_m: median depth around the mask's centre, None where too little is known.
        mask_source: how the mask was made: `depth`, `box`, or the name of a model.
        mask: PNG of the mask relative to the artifact's folder, None when not written.
    """

    detection_id: str
    class_id: str
    class_name: str
    confidence: float | None
    box_xyxy: tuple[float, float, float, float]
    mask_rle: dict[str, Any]
    area: int
    centroid: tuple[float, float]
    distance_m: float | None
    mask_source: str
    mask: str | None = None


@dataclass(frozen=True)
class FailedFrame:
    """A frame that a stage could not work on. It is missing among the stage's frames: not looked at is not the same as empty."""

    frame_id: str
    reason: str


@dataclass(frozen=True)
class FrameDetections:
    """The objects of one frame; a frame without objects is listed too, one that failed is not.

    Attributes:
        frame_id: `<recording>:<frame index, 6 digits>`.
        frame_index: frame index in the recording.
        timestamp_ns: Unix time of the image.
        width, height: pixels of the image.
        detections: best first.
    """

    frame_id: str
    frame_index: int
    timestamp_ns: int
    width: int
    height: int
    detections: tuple[Detection, ...]


def write(path: Path, head: Mapping[str, Any], frames: Iterable[FrameDetections]) -> None:
    """Write the file, streaming `frames`.

    Args:
        path: of the file; its folder is made.
        head: what stands before the frames, `total_frames` and `total_detections` among it.
        frames: in the order of the recording.
    """
    framewise_json.write(path, head, FRAMES_KEY, ((frame.frame_id, frame_to_json(frame)) for frame in frames))


def read(path: Path, only: Collection[str] | None = None) -> Iterator[FrameDetections]:
    """Stream the frames of the file in its order.

    Args:
        path: of the file.
        only: ids of the frames that are wanted, None for all.

    Raises:
        InputError: the file is missing, damaged, or lacks keys of this format.
    """
    for frame_id, stored in framewise_json.read_frames(path, FRAMES_KEY, only):
        try:
            frame = frame_from_json(frame_id, stored)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"Frame {frame_id} of {path} is not as this version writes it ({error!r}); run the detections again."
            ) from error
        yield frame


def read_head(path: Path) -> dict[str, Any]:
    """Everything in the file but the frames.

    Raises:
        InputError: the file is missing or damaged.
    """
    return framewise_json.read_head(path, FRAMES_KEY)


def frame_to_json(frame: FrameDetections) -> dict[str, Any]:
    """The frame as it stands in the file, without its id."""
    return {
        "frame_index": frame.frame_index,
        "timestamp_ns": frame.timestamp_ns,
        "width": frame.width,
        "height": frame.height,
        "detection_count": len(frame.detections),
        "detections": [_detection_to_json(detection) for detection in frame.detections],
    }


def frame_from_json(frame_id: str, stored: Mapping[str, Any]) -> FrameDetections:
    """The inverse of `frame_to_json`."""
    return FrameDetections(
        frame_id=frame_id,
        frame_index=stored["frame_index"],
        timestamp_ns=stored["timestamp_ns"],
        width=stored["width"],
        height=stored["height"],
        detections=tuple(_detection_from_json(detection) for detection in stored["detections"]),
    )


def _detection_to_json(detection: Detection) -> dict[str, Any]:
    return {
        "detection_id": detection.detection_id,
        "class_id": detection.class_id,
        "class_name": detection.class_name,
        "confidence": detection.confidence,
        "bbox": list(detection.box_xyxy),
        "area": detection.area,
        "centroid": list(detection.centroid),
        "distance": detection.distance_m,
        "mask_source": detection.mask_source,
        "mask": detection.mask,
        "mask_rle": detection.mask_rle,
    }


def _detection_from_json(stored: Mapping[str, Any]) -> Detection:
    x1, y1, x2, y2 = stored["bbox"]
    x, y = stored["centroid"]
    return Detection(
        detection_id=stored["detection_id"],
        class_id=stored["class_id"],
        class_name=stored["class_name"],
        confidence=stored["confidence"],
        box_xyxy=(x1, y1, x2, y2),
        mask_rle=stored["mask_rle"],
        area=stored["area"],
        centroid=(x, y),
        distance_m=stored.get("distance"),
        mask_source=stored["mask_source"],
        mask=stored.get("mask"),
    )
