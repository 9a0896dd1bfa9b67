"""Boxes in an image that move at constant velocity: the filter of BoT-SORT without camera-motion compensation.

The state is centre x, centre y, width, height in pixels and their change per frame; noise grows with the size of the box. Time is counted
in frames. Not used by the pipeline, which tracks in space; it shows the association core against published 2D trackers, number by number.
Source: Aharon et al., "BoT-SORT: Robust Associations Multi-Pedestrian Tracking", 2022, section 3.1.
"""

import numpy as np

from lamm_pipeline.geometry.boxes_2d import iou_matrix
from lamm_pipeline.tracking import kalman
from lamm_pipeline.tracking.byte_track import Array, AssociationRules

POSITION_WEIGHT = 1.0 / 20.0
VELOCITY_WEIGHT = 1.0 / 160.0
SMALLEST_SIDE_PX = 1e-3
_SIDES = [2, 3, 2, 3]


def botsort_rules(high_score: float, *, new_track_score: float | None = None, max_lost_frames: int = 30) -> AssociationRules:
    """The thresholds of BoT-SORT and of the reference ByteTrack for a given high score; new tracks need 0.1 more by default."""
    return AssociationRules(
        high_score=high_score,
        low_score=0.1,
        new_track_score=high_score + 0.1 if new_track_score is None else new_track_score,
        min_similarity_high=0.2,
        min_similarity_low=0.5,
        min_similarity_unconfirmed=0.3,
        max_lost=max_lost_frames,
        min_hits=2,
        confirm_first_frame=True,
    )


class ImageBoxMotion:
    """`MotionModel` of boxes measured as `x1, y1, x2, y2`."""

    def start(self, measurements: Array) -> tuple[Array, Array]:
        """See `MotionModel.start`; the velocity is unknown and starts at 0."""
        means = np.concatenate([_center_size(measurements), np.zeros((len(measurements), 4))], axis=1)
        sides = means[:, _SIDES]
        return means, kalman.diagonal(np.concatenate([2.0 * POSITION_WEIGHT * sides, 10.0 * VELOCITY_WEIGHT * sides], axis=1))

    def predict(self, means: Array, covariances: Array, dt: float) -> tuple[Array, Array]:
        """See `MotionModel.predict`."""
        transition = np.eye(8) + dt * np.eye(8, k=4)
        sides = _positive(means)[:, _SIDES]
        noise = kalman.diagonal(np.concatenate([POSITION_WEIGHT * sides, VELOCITY_WEIGHT * sides], axis=1))
        means, covariances = kalman.predict(means, covariances, transition, noise)
        return _positive(means), covariances

    def update(self, means: Array, covariances: Array, measurements: Array) -> tuple[Array, Array]:
        """See `MotionModel.update`."""
        noise = kalman.diagonal(POSITION_WEIGHT * _positive(means)[:, _SIDES])
        means, covariances = kalman.update(means, covariances, _center_size(measurements) - means[:, :4], noise)
        return _positive(means), covariances

    def similarity(self, means: Array, covariances: Array, measurements: Array) -> Array:  # noqa: ARG002 - overlap alone decides here
        """IoU of predicted and measured boxes, `(T, N)`."""
        half = means[:, 2:4] / 2.0
        return iou_matrix(np.concatenate([means[:, :2] - half, means[:, :2] + half], axis=1), measurements)


def _center_size(boxes_xyxy: Array) -> Array:
    return np.concatenate([(boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2.0, boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]], axis=1)


def _positive(means: Array) -> Array:
    """The states with sides that a box can have."""
    result = means.copy()
    np.maximum(means[:, 2:4], SMALLEST_SIDE_PX, out=result[:, 2:4])
    return result
