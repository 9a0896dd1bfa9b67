"""`annotation_stats.json`: what the models found of each class in a recording, for people who choose filters."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lamm_pipeline.segmentation.detections import FrameDetections

FILE_NAME = "annotation_stats.json"


@dataclass
class _Class:
    frames: int = 0
    most_in_a_frame: int = 0
    confidence: list[float] = field(default_factory=list)
    without_confidence: int = 0
    width_px: list[float] = field(default_factory=list)
    height_px: list[float] = field(default_factory=list)
    area_px: list[float] = field(default_factory=list)
    distance_m: list[float] = field(default_factory=list)


def annotation_stats(frames: Iterable[FrameDetections]) -> dict[str, Any]:
    """Count the detections of a recording by class.

    Args:
        frames: the frames that the models have looked at.

    Returns:
        `frames`, `frames_with_annotations`, `annotations`, and by class: `annotations`, `frames` with at least one, `most_in_a_frame`,
        `confidence` (of those that have one), `without_confidence`, `width_px` and `height_px` of the boxes, `area_px` of the masks,
        `distance_m` (of those that have one). Each of these five tells `mean`, `min`, `median`, `max`; all None where nothing is known.
    """
    classes: dict[str, _Class] = {}
    total = filled = annotations = 0
    for frame in frames:
        total += 1
        filled += bool(frame.detections)
        annotations += len(frame.detections)
        here: dict[str, int] = {}
        for each in frame.detections:
            known = classes.setdefault(each.class_id, _Class())
            here[each.class_id] = here.get(each.class_id, 0) + 1
            x1, y1, x2, y2 = each.box_xyxy
            known.width_px.append(x2 - x1)
            known.height_px.append(y2 - y1)
            known.area_px.append(each.area)
            if each.confidence is None:
                known.without_confidence += 1
            else:
                known.confidence.append(each.confidence)
            if each.distance_m is not None:
                known.distance_m.append(each.distance_m)
        for class_id, count in here.items():
            classes[class_id].frames += 1
            classes[class_id].most_in_a_frame = max(classes[class_id].most_in_a_frame, count)
    return {
        "frames": total,
        "frames_with_annotations": filled,
        "annotations": annotations,
        "classes": {class_id: _to_json(known) for class_id, known in sorted(classes.items())},
    }


def _to_json(known: _Class) -> dict[str, Any]:
    return {
        "annotations": len(known.area_px),
        "frames": known.frames,
        "most_in_a_frame": known.most_in_a_frame,
        "confidence": _spread(known.confidence, 4),
        "without_confidence": known.without_confidence,
        "width_px": _spread(known.width_px, 1),
        "height_px": _spread(known.height_px, 1),
        "area_px": _spread(known.area_px, 1),
        "distance_m": _spread(known.distance_m, 2),
    }


def _spread(values: Sequence[float], decimals: int) -> dict[str, float | None]:
    if not values:
        return dict.fromkeys(("mean", "min", "median", "max"))
    found = {"mean": np.mean(values), "min": np.min(values), "median": np.median(values), "max": np.max(values)}
    return {name: round(float(value), decimals) for name, value in found.items()}
