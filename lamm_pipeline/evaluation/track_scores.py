"""Scores of tracks: KITTI's protocol in the image, and identity by distance in space."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from lamm_pipeline.evaluation.inputs import Frame
from lamm_pipeline.evaluation.matching import Scope, image_similarity, in_dont_care, is_valid
from lamm_pipeline.evaluation.track_metrics import EPSILON, MATCH_THRESHOLD, TrackFrame, clear, hota, identity
from lamm_pipeline.reconstruction.kitti_labels import KittiObject

CENTER_LIMIT_M = 2.0

Array = NDArray[np.float64]


def score_tracks(frames: Sequence[Frame], scope: Scope) -> dict[str, Any]:
    """The numbers of the report's `tracks` for one scope.

    As in KITTI's benchmark, tracked boxes that match a true object which does not count, or that match nothing and lie mostly inside a
    `DontCare` region, are left out first.

    Args:
        frames: frames in order, with tracks on both sides.
        scope: what to look at.
    """
    kept = [_clean(frame, scope) for frame in frames]
    in_image = _number_ids([(truth, result, _allowed(scope, truth, result) * image_similarity(truth, result)) for truth, result in kept])
    in_space = _number_ids([(truth, result, _allowed(scope, truth, result) * _closeness(truth, result)) for truth, result in kept])
    higher, counts, who = hota(in_image), clear(in_image), identity(in_image)
    return {
        "hota": higher.hota,
        "deta": higher.detection_accuracy,
        "assa": higher.association_accuracy,
        "loca": higher.localization_accuracy,
        "mota": counts.mota,
        "motp": counts.motp,
        "idf1": who.idf1,
        "idp": who.precision,
        "idr": who.recall,
        "id_switches": counts.id_switches,
        "fragmentations": counts.fragmentations,
        "tp": counts.tp,
        "fp": counts.fp,
        "fn": counts.fn,
        "idf1_center_2m": identity(in_space).idf1,
        "truth_tracks": len({item.track_id for truth, _ in kept for item in truth}),
        "result_tracks": len({item.track_id for _, result in kept for item in result}),
    }


def _clean(frame: Frame, scope: Scope) -> tuple[list[KittiObject], list[KittiObject]]:
    """What is scored of a frame's true and tracked objects."""
    known = [item for item in frame.truth_tracks if scope.counts(item) or item.type in scope.ignored]
    tracked = [item for item in frame.result_tracks if scope.counts(item)]
    counted = [scope.counts(item) and is_valid(item) for item in known]
    similarity = _allowed(scope, known, tracked) * image_similarity(known, tracked)
    similarity[similarity < MATCH_THRESHOLD - EPSILON] = 0.0
    rows, columns = linear_sum_assignment(similarity, maximize=True)
    partner = {int(column): int(row) for row, column in zip(rows, columns, strict=True) if similarity[row, column] > EPSILON}
    outside = in_dont_care(frame.truth_tracks, tracked)
    result = [item for n, item in enumerate(tracked) if (counted[partner[n]] if n in partner else not outside[n])]
    return [item for item, counts in zip(known, counted, strict=True) if counts], result


def _allowed(scope: Scope, truth: Sequence[KittiObject], result: Sequence[KittiObject]) -> Array:
    return np.array([[float(scope.compatible(true, item)) for item in result] for true in truth]).reshape(len(truth), len(result))


def _closeness(truth: Sequence[KittiObject], result: Sequence[KittiObject]) -> Array:
    """1 for equal centres, 0.5 at `CENTER_LIMIT_M`, 0 at twice that or without a 3D box."""
    centers = [
        np.array(
            [(item.box.x, item.box.y - item.box.height / 2.0, item.box.z) if item.has_box_3d else (math.nan,) * 3 for item in items]
        ).reshape(-1, 3)
        for items in (truth, result)
    ]
    apart = np.linalg.norm(centers[0][:, None] - centers[1][None, :], axis=2)
    return np.asarray(np.clip(1.0 - np.nan_to_num(apart, nan=math.inf) / (2.0 * CENTER_LIMIT_M), 0.0, 1.0))


def _number_ids(kept: Sequence[tuple[Sequence[KittiObject], Sequence[KittiObject], Array]]) -> list[TrackFrame]:
    true_ids: dict[int | None, int] = {}
    result_ids: dict[int | None, int] = {}
    return [
        TrackFrame(
            truth=np.array([true_ids.setdefault(item.track_id, len(true_ids)) for item in truth], dtype=np.int64),
            result=np.array([result_ids.setdefault(item.track_id, len(result_ids)) for item in result], dtype=np.int64),
            similarity=similarity,
        )
        for truth, result, similarity in kept
    ]
