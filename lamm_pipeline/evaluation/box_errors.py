"""How far off the 3D boxes are: errors of matched pairs, in all and by distance, and AP by 3D overlap."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.evaluation.inputs import Frame
from lamm_pipeline.evaluation.matching import (
    Scope,
    Verdict,
    average_precision,
    match,
    space_similarity,
)
from lamm_pipeline.geometry.box_3d import Box3D
from lamm_pipeline.geometry.boxes_3d import iou_3d, iou_bev, wrap_angle

AP_THRESHOLDS = (0.25, 0.5, 0.7)
RANGES_M = ((0.0, 10.0), (10.0, 20.0), (20.0, 40.0), (40.0, math.inf))

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PairError:
    """One predicted box against the true one; metres and radians.

    Attributes:
        distance_m: true distance of the centre from the camera.
        distance_error_m: difference of the two distances, without sign.
        center_error_m: distance between the centres.
        yaw_error: difference of the headings, 0..pi.
        axis_error: the same, front and rear not told apart, 0..pi/2.
        iou_3d: overlap of the volumes.
        iou_bev: overlap seen from above.
    """

    distance_m: float
    distance_error_m: float
    center_error_m: float
    yaw_error: float
    axis_error: float
    iou_3d: float
    iou_bev: float


def pair_error(true: Box3D, predicted: Box3D) -> PairError:
    """Compare two boxes."""
    center, other = _center(true), _center(predicted)
    distance = float(np.linalg.norm(center))
    yaw = abs(wrap_angle(predicted.rotation_y - true.rotation_y))
    return PairError(
        distance_m=distance,
        distance_error_m=abs(float(np.linalg.norm(other)) - distance),
        center_error_m=float(np.linalg.norm(other - center)),
        yaw_error=yaw,
        axis_error=min(yaw, math.pi - yaw),
        iou_3d=iou_3d(true, predicted),
        iou_bev=iou_bev(true, predicted),
    )


def score_boxes(frames: Sequence[Frame], verdicts: Sequence[Verdict], scope: Scope) -> dict[str, Any]:
    """The numbers of the report's `boxes_3d` for one scope.

    Args:
        frames: truth and result.
        verdicts: their matching by 2D overlap; errors are those of its pairs.
        scope: what was matched.

    Returns:
        Medians, means and 90th percentiles; NaN where there is nothing to measure.
    """
    pairs = [(frame.truth[t], frame.result[n]) for frame, verdict in zip(frames, verdicts, strict=True) for t, n in verdict.matches]
    errors = [pair_error(true.box, predicted.box) for true, predicted in pairs if predicted.has_box_3d]
    missed = [
        float(np.linalg.norm(_center(frame.truth[t].box))) for frame, verdict in zip(frames, verdicts, strict=True) for t in verdict.missed
    ]
    distances = [float(np.linalg.norm(_center(true.box))) for true, _ in pairs] + missed
    similarity = [space_similarity(frame.truth, frame.result) for frame in frames]
    ap = {}
    for threshold in AP_THRESHOLDS:
        in_space = [
            match(frame, scope, overlap, threshold, verdict.excused)
            for frame, overlap, verdict in zip(frames, similarity, verdicts, strict=True)
        ]
        ap[f"{threshold:g}"] = average_precision(frames, in_space)
    by_range = {}
    for near, far in RANGES_M:
        inside = [error for error in errors if near <= error.distance_m < far]
        truth = sum(near <= distance < far for distance in distances)
        recall = len(inside) / truth if truth else float("nan")
        by_range[f"{near:g}-{far:g}" if math.isfinite(far) else f"{near:g}+"] = {"truth": truth, "recall": recall} | _summary(inside)
    return _summary(errors) | {"pairs_without_box_3d": len(pairs) - len(errors), "ap_3d": ap, "by_range": by_range}


def _summary(errors: Sequence[PairError]) -> dict[str, Any]:
    distance = np.array([error.distance_error_m for error in errors])
    percent = np.array([100.0 * error.distance_error_m / error.distance_m for error in errors if error.distance_m > 0.0])
    center = np.array([error.center_error_m for error in errors])
    return {
        "pairs": len(errors),
        "distance_error_m": _median_p90(distance) | {"median_percent": _quantile(percent, 0.5)},
        "center_error_m": _median_p90(center),
        "yaw_error_deg": _median_p90(np.degrees([error.yaw_error for error in errors])),
        "axis_error_deg": _median_p90(np.degrees([error.axis_error for error in errors])),
        "iou_3d": _median_mean(np.array([error.iou_3d for error in errors])),
        "iou_bev": _median_mean(np.array([error.iou_bev for error in errors])),
    }


def _median_p90(values: Array) -> dict[str, float]:
    return {"median": _quantile(values, 0.5), "p90": _quantile(values, 0.9)}


def _median_mean(values: Array) -> dict[str, float]:
    return {"median": _quantile(values, 0.5), "mean": float(values.mean()) if len(values) else float("nan")}


def _quantile(values: Array, share: float) -> float:
    return float(np.quantile(values, share)) if len(values) else float("nan")


def _center(box: Box3D) -> Array:
    return np.array([box.x, box.y - box.height / 2.0, box.z])
