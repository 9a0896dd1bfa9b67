"""Sensor values of a frame: everything as JSON, and the line of KITTI's oxts format."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.extraction.point_cloud import CAMERA_TO_VELODYNE
from lamm_pipeline.recordings.reader import SensorSample

OXTS_FIELDS = (
    *("lat", "lon", "alt", "roll", "pitch", "yaw", "vn", "ve", "vf", "vl", "vu", "ax", "ay", "az", "af", "al", "au"),
    *("wx", "wy", "wz", "wf", "wl", "wu", "pos_accuracy", "vel_accuracy", "navstat", "numsats", "posmode", "velmode", "orimode"),
)


def write_sensor_json(path: Path, sample: SensorSample) -> None:
    """Write all values of a sample under their own names (units in `SensorSample`); null = the camera has no such sensor."""
    path.write_text(json.dumps(sensor_values(sample), indent=2, allow_nan=False) + "\n", encoding="utf-8")


def sensor_values(sample: SensorSample) -> dict[str, Any]:
    """A sample as JSON values; numbers that are not finite become null."""
    return {name: _finite(value) for name, value in asdict(sample).items()}


def write_oxts(path: Path, sample: SensorSample) -> None:
    """Write `oxts_line` as a file."""
    path.write_text(oxts_line(sample) + "\n", encoding="utf-8")


def oxts_line(sample: SensorSample) -> str:
    """The 30 values of KITTI's oxts format, axes x forward, y left, z up, at the left eye.

    - roll, pitch: from the orientation towards gravity, radians; roll > 0 left side up, pitch > 0 front down.
    - yaw: radians, anticlockwise, relative to the heading at which the camera was started: a camera without GPS knows no east.
    - ax ay az: specific force, m/s^2 (z is about 9.8 at rest); af al au: the same turned level.
    - wx wy wz: rad/s; wf wl wu: the same turned level.
    - unknown: lat, lon, alt, all velocities and both accuracies are `nan`; navstat, numsats and the modes are 0 (none).
    """
    roll, pitch, yaw = _roll_pitch_yaw(sample.orientation_xyzw)
    level = _rotation_y(pitch) @ _rotation_x(roll)
    force = CAMERA_TO_VELODYNE @ np.array(sample.linear_acceleration)
    rate = CAMERA_TO_VELODYNE @ np.array(sample.angular_velocity)
    unknown = math.nan
    values = [
        *(unknown,) * 3,
        *(roll, pitch, yaw),
        *(unknown,) * 5,
        *force,
        *(level @ force),
        *rate,
        *(level @ rate),
        *(unknown,) * 2,
    ]
    return " ".join([*(f"{value + 0.0:.9g}" for value in values), "0", "0", "0", "0", "0"])


def _roll_pitch_yaw(orientation_xyzw: tuple[float, float, float, float]) -> tuple[float, float, float]:
    """Angles of `Rz(yaw) Ry(pitch) Rx(roll)` in velodyne axes; NaN when the quaternion is none."""
    x, y, z, w = orientation_xyzw
    norm = math.sqrt(x * x + y * y + z * z + w * w)
    if not norm > 0.5:
        return math.nan, math.nan, math.nan
    # A change of axes turns the vector part of a quaternion like any vector.
    x, y, z = CAMERA_TO_VELODYNE @ np.array([x, y, z]) / norm
    w /= norm
    roll = math.atan2(2 * (w * x + y * z), 1 - 2 * (x * x + y * y))
    pitch = math.asin(max(-1.0, min(1.0, 2 * (w * y - z * x))))
    yaw = math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
    return roll, pitch, yaw


def _rotation_x(angle: float) -> NDArray[np.float64]:
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def _rotation_y(angle: float) -> NDArray[np.float64]:
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def _finite(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
