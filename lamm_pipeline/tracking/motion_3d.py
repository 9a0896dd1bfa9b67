"""Boxes in space that move at constant velocity, seen by a camera that may move itself.

The state is `x, y, z, yaw, length, width, height, vx, vy, vz`: centre of the box (not of its bottom face), metres, radians, metres per
second. It is in world coordinates where the camera's motion is known, and else in the camera frame of the current image, with velocities
relative to the camera. Time is in seconds, from the stamps.

A detected position is uncertain mostly along the line of sight, in proportion to the distance; size and heading are averaged over the
track. Source of the state and of the heading's correction: Weng et al., "3D Multi-Object Tracking: A Baseline and New Evaluation Metrics"
(AB3DMOT), IROS 2020.
"""

import math
from collections.abc import Sequence

import cv2
import numpy as np

from lamm_pipeline.geometry.box_3d import Box3D
from lamm_pipeline.geometry.boxes_3d import corners, iou_3d_matrix, iou_bev_matrix, wrap_angle
from lamm_pipeline.tracking import kalman
from lamm_pipeline.tracking.byte_track import Array
from lamm_pipeline.tracking.settings import Similarity, TrackingSettings

MEASURED = 7
STATE = 10
YAW = 3
VERTICAL_SHARE = 0.2
"""Objects on the ground hardly move up and down: vertical speed and acceleration are this share of the horizontal ones."""
FAST_LENGTH_M = 4.0
SLOWEST_SHARE = 0.1
"""Over ground, the initial uncertainty of the speed is in full that of things this long, and less for shorter ones, down to this share."""
YAW_NOISE = 0.3
YAW_RATE = 0.5
SIZE_NOISE_M = 0.5
SIZE_DRIFT_M = 0.02


class SpaceBoxMotion:
    """`MotionModel` of boxes measured as `x, y, z, yaw, length, width, height` (see `measurement`)."""

    def __init__(self, settings: TrackingSettings) -> None:
        self._settings = settings
        self.over_ground = False
        """Whether coordinates are the world's, so that speeds are those over ground."""
        self.camera_position: Array = np.zeros(3)
        """Where the camera is in the coordinates of the measurements, metres; they are least certain along the line from there."""

    def start(self, measurements: Array) -> tuple[Array, Array]:
        """See `MotionModel.start`; the velocity is unknown and starts at 0."""
        means = np.hstack([measurements, np.zeros((len(measurements), 3))])
        covariances = np.zeros((len(measurements), STATE, STATE))
        covariances[:, :MEASURED, :MEASURED] = self._noise(measurements)
        # small things are slow: people do not drive. Relative to a moving camera nothing is
        share = np.clip(measurements[:, 4] / FAST_LENGTH_M, SLOWEST_SHARE, 1.0) if self.over_ground else np.ones(len(measurements))
        speed = self._settings.initial_speed_m_s * share
        covariances[:, range(7, 10), range(7, 10)] = np.square(speed[:, None] * [1.0, VERTICAL_SHARE, 1.0])
        return means, covariances

    def predict(self, means: Array, covariances: Array, dt: float) -> tuple[Array, Array]:
        """See `MotionModel.predict`; the acceleration is white noise, constant during `dt`."""
        transition = np.eye(STATE)
        transition[range(3), range(7, 10)] = dt
        acceleration = self._settings.acceleration_m_s2
        noise = np.diag([0.0] * 3 + [(YAW_RATE * dt) ** 2] + [SIZE_DRIFT_M**2 * dt] * 3 + [0.0] * 3)
        for axis, deviation in enumerate((acceleration, VERTICAL_SHARE * acceleration, acceleration)):
            effect = np.zeros(STATE)
            effect[axis], effect[7 + axis] = dt * dt / 2.0, dt
            noise += deviation**2 * np.outer(effect, effect)
        return kalman.predict(means, covariances, transition, noise)

    def update(self, means: Array, covariances: Array, measurements: Array) -> tuple[Array, Array]:
        """See `MotionModel.update`; a heading that points the other way is turned round, front and rear are easily mistaken."""
        innovations = measurements - means[:, :MEASURED]
        turn = np.remainder(innovations[:, YAW] + math.pi / 2.0, math.pi) - math.pi / 2.0
        innovations[:, YAW] = turn
        return kalman.update(means, covariances, innovations, self._noise(measurements))

    def similarity(self, means: Array, covariances: Array, measurements: Array) -> Array:
        """Similarity as set, 0 for pairs outside the gate.

        The gate is `gate_m` plus `gate_sigmas` standard deviations of the predicted position in its least certain direction. That grows
        with the time since the track was seen, most for a track whose velocity is not known yet, and with the distance from the camera.
        `center_distance` is 1 for equal centres and 0 at the gate.
        """
        settings = self._settings
        apart = np.linalg.norm(means[:, None, :3] - measurements[None, :, :3], axis=2)
        uncertainty = np.sqrt(np.linalg.eigvalsh(covariances[:, :3, :3])[:, -1])
        gate = (settings.gate_m + settings.gate_sigmas * uncertainty)[:, None]
        near = apart <= gate
        if settings.similarity is Similarity.center_distance:
            return np.asarray(np.where(near, 1.0 - apart / gate, 0.0))
        tracked, detected = [box_of(mean) for mean in means], [box_of(row) for row in measurements]
        rows, columns = np.nonzero(near)
        similarity: Array = np.zeros(apart.shape)
        giou = generalized_iou([tracked[n] for n in rows], [detected[n] for n in columns], volume=settings.similarity is Similarity.giou_3d)
        similarity[rows, columns] = (1.0 + giou) / 2.0
        return similarity

    def _noise(self, measurements: Array) -> Array:
        """`(T, 7, 7)` covariances of measurements: a sphere, drawn out along the line of sight."""
        settings = self._settings
        noise = np.zeros((len(measurements), MEASURED, MEASURED))
        position = measurements[:, :3] - self.camera_position
        noise[:, :3, :3] = settings.position_noise_m**2 * np.eye(3) + settings.range_noise**2 * position[:, :, None] * position[:, None, :]
        noise[:, range(3, 7), range(3, 7)] = np.square([YAW_NOISE] + [SIZE_NOISE_M] * 3)
        return noise


def measurement(box: Box3D) -> tuple[float, ...]:
    """The box as `x, y, z, yaw, length, width, height`, its centre halfway up."""
    return box.x, box.y - box.height / 2.0, box.z, box.rotation_y, box.length, box.width, box.height


def box_of(state: Array) -> Box3D:
    """The box of a state or measurement, KITTI's bottom centre."""
    x, y, z, yaw, length, width, height = (float(value) for value in state[:MEASURED])
    return Box3D(x, y + height / 2.0, z, length, width, height, wrap_angle(yaw))


def generalized_iou(a: Sequence[Box3D], b: Sequence[Box3D], *, volume: bool) -> Array:
    """Generalised IoU of paired boxes: IoU minus the share of their common hull that belongs to neither (Rezatofighi et al., CVPR 2019).

    Args:
        a: K boxes.
        b: K boxes.
        volume: of the volumes (hull: prism over the ground hull); otherwise in the bird's-eye view.

    Returns:
        `(K,)` in -1..1.
    """
    result = np.zeros(len(a))
    for n, (left, right) in enumerate(zip(a, b, strict=True)):
        ground = np.vstack([corners(left)[:4, ::2], corners(right)[:4, ::2]])
        hull = float(cv2.contourArea(cv2.convexHull((ground - ground.mean(axis=0)).astype(np.float32))))
        size_left, size_right = left.length * left.width, right.length * right.width
        if volume:
            top, bottom = min(left.y - left.height, right.y - right.height), max(left.y, right.y)
            hull *= bottom - top
            size_left, size_right = size_left * left.height, size_right * right.height
        iou = float((iou_3d_matrix if volume else iou_bev_matrix)([left], [right])[0, 0])
        union = (size_left + size_right) / (1.0 + iou)
        result[n] = iou - max(hull - union, 0.0) / hull if hull > 0.0 else -1.0
    return result
