"""How the camera of the sample moves, and what its IMU measures.

World axes: x right, y down, z forward; the ground is y = 0. The *rectified* left camera only shifts and yaws, so that an upright box stays
upright in its frame, as KITTI's labels demand. Everything is a function of the scene's own clock, which stands still during the static
stretch; pictures, labels and IMU all follow from the same pose.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

GRAVITY_M_S2 = 9.81
IMU_RATE_HZ = 400
CAMERA_HEIGHT_M = 0.8

GYRO_NOISE_RAD_S = 0.002
ACCELEROMETER_NOISE_M_S2 = 0.03

_RAMP_FRAMES = 3
_STEP_S = 1e-3

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class SceneClock:
    """Maps the recording's time to the time of the scene, which slows down, stands still and speeds up again once.

    Attributes:
        stop_s, go_s: recording time between which the scene stands still; equal values mean that it never does.
        ramp_s: how long slowing down before `stop_s`, and speeding up after `go_s`, takes.
    """

    stop_s: float
    go_s: float
    ramp_s: float

    @classmethod
    def for_static_frames(cls, static: range, fps: float) -> "SceneClock":
        """Clock that stands still from the first to the last frame of `static`."""
        if not static:
            return cls(0.0, 0.0, 0.0)
        return cls(static[0] / fps, static[-1] / fps, _RAMP_FRAMES / fps)

    def scene_time(self, time_s: Vector) -> Vector:
        """`(N,)` scene time in seconds at recording time `time_s`; its rate changes along a smoothstep, so accelerations are continuous."""
        time = np.asarray(time_s, dtype=np.float64)
        if self.ramp_s == 0.0:
            return time
        slowing = _lost_time(time - (self.stop_s - self.ramp_s), self.ramp_s)
        regained = _lost_time(time - self.go_s, self.ramp_s)
        return np.asarray(time - slowing + regained)


@dataclass(frozen=True)
class CameraPose:
    """Pose of the rectified left camera: `p_world = R_y(yaw) p_camera + position`.

    Attributes:
        position: `(3,)` metres in the world.
        yaw: rotation about +y, radians.
    """

    position: Vector
    yaw: float

    @property
    def rotation(self) -> Vector:
        """`(3, 3)` camera to world."""
        c, s = math.cos(self.yaw), math.sin(self.yaw)
        return np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])


@dataclass(frozen=True)
class ImuSamples:
    """What the IMU in the raw left camera measures, image axes.

    Attributes:
        angular_velocity: `(N, 3)` rad/s.
        specific_force: `(N, 3)` m/s^2; at rest it points up, against gravity.
        orientation_xyzw: `(N, 4)` unit quaternions, camera to world (gravity along +y).
    """

    angular_velocity: Vector
    specific_force: Vector
    orientation_xyzw: Vector


def camera_pose(clock: SceneClock, time_s: float) -> CameraPose:
    """Pose of the rectified left camera at a recording time in seconds."""
    scene_s = clock.scene_time(np.array([time_s]))
    return CameraPose(_position(scene_s)[0], float(_yaw(scene_s)[0]))


def imu_samples(clock: SceneClock, time_s: Vector, body_to_rectified: Vector, rng: np.random.Generator | None) -> ImuSamples:
    """IMU samples that are consistent with the camera's motion.

    Args:
        clock: the scene's clock.
        time_s: `(N,)` recording times, seconds.
        body_to_rectified: `(3, 3)` rotation from the raw to the rectified left camera.
        rng: source of the sensor's noise; None for ideal values.
    """
    before, now, after = (clock.scene_time(time_s + step) for step in (-_STEP_S, 0.0, _STEP_S))
    yaw_rate = (_yaw(after) - _yaw(before)) / (2.0 * _STEP_S)
    acceleration = (_position(after) - 2.0 * _position(now) + _position(before)) / _STEP_S**2
    rotation = Rotation.from_euler("y", _yaw(now)[:, None]) * Rotation.from_matrix(body_to_rectified)
    to_body = rotation.inv()
    angular_velocity = to_body.apply(np.column_stack([np.zeros_like(yaw_rate), yaw_rate, np.zeros_like(yaw_rate)]))
    specific_force = to_body.apply(acceleration - np.array([0.0, GRAVITY_M_S2, 0.0]))
    if rng is not None:
        angular_velocity = angular_velocity + rng.normal(0.0, GYRO_NOISE_RAD_S, angular_velocity.shape)
        specific_force = specific_force + rng.normal(0.0, ACCELEROMETER_NOISE_M_S2, specific_force.shape)
    return ImuSamples(np.asarray(angular_velocity), np.asarray(specific_force), np.asarray(rotation.as_quat(canonical=True)))


def _position(scene_s: Vector) -> Vector:
    """`(N, 3)` world position: 0.2 m/s forward at first and to and fro in the long run, a little sway, and the bob of a walking pace."""
    x = 0.08 * np.sin(2.0 * math.pi * scene_s / 11.0)
    y = -CAMERA_HEIGHT_M + 0.008 * np.sin(2.0 * math.pi * scene_s / 1.1)
    z = 0.8 * np.sin(2.0 * math.pi * scene_s / 25.0)
    return np.column_stack([x, y, z])


def _yaw(scene_s: Vector) -> Vector:
    return np.asarray(0.035 * np.sin(2.0 * math.pi * scene_s / 10.0))


def _lost_time(since_s: Vector, ramp_s: float) -> Vector:
    """Scene time lost `since_s` after the clock began to slow down from rate 1 to rate 0: the integral of a smoothstep."""
    share = np.clip(since_s / ramp_s, 0.0, 1.0)
    return np.asarray(ramp_s * (share**3 - share**4 / 2.0) + np.clip(since_s - ramp_s, 0.0, None))
