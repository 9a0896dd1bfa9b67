"""The sensor samples of the synthetic recording: IMU at 400 Hz and one sample with each frame, consistent with the camera's motion."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from lamm_pipeline.recordings.reader import SensorSample
from lamm_pipeline.sample.motion import IMU_RATE_HZ, SceneClock, imu_samples

START_NS = 1_717_243_200_000_000_000
"""Stamp of the first frame: 2024-06-01 12:00 UTC, the same for every sample, so that the same settings give the same file."""

LEAD_S = 0.3
"""The IMU starts this long before the first frame, as in recordings of real cameras."""

FRAME_IMU_LEAD_NS = 2_500_000
"""The sample stored with a frame was taken this long before it, as in recordings of real cameras."""

_IMU_STEP_NS = 1_000_000_000 // IMU_RATE_HZ
_MAGNETIC_FIELD_UT = np.array([0.0, 43.0, 20.0])
_PRESSURE_HPA = 1013.25
_IMU_TEMPERATURE_C = 33.0
_BAROMETER_TEMPERATURE_C = 34.0
_LEFT_TEMPERATURE_C = 32.5
_RIGHT_TEMPERATURE_C = 33.5


def frame_stamp_ns(frame: int, fps: float) -> int:
    """Unix time of a frame, nanoseconds."""
    return START_NS + round(frame * 1e9 / fps)


def imu_between(after_ns: int | None, until_ns: int, clock: SceneClock, to_rectified: NDArray[np.float64], seed: int) -> list[SensorSample]:
    """Samples of the 400 Hz stream in `(after_ns, until_ns]`.

    Args:
        after_ns: Unix time; None begins at the start of the stream.
        until_ns: Unix time.
        clock: the scene's clock.
        to_rectified: `(3, 3)` raw to rectified left camera.
        seed: of the noise.
    """
    start = START_NS - round(LEAD_S * 1e9)
    first = 0 if after_ns is None else (after_ns - start) // _IMU_STEP_NS + 1
    last = (until_ns - start) // _IMU_STEP_NS
    stamps = [start + n * _IMU_STEP_NS for n in range(first, last + 1)]
    return _samples(stamps, clock, to_rectified, np.random.default_rng([seed, 2, first]))


def imu_at(stamp_ns: int, clock: SceneClock, to_rectified: NDArray[np.float64], seed: int) -> SensorSample:
    """A single sample at any time, such as the one stored with a frame."""
    return _samples([stamp_ns], clock, to_rectified, np.random.default_rng([seed, 3, stamp_ns]))[0]


def _samples(stamps: list[int], clock: SceneClock, to_rectified: NDArray[np.float64], rng: np.random.Generator) -> list[SensorSample]:
    if not stamps:
        return []
    seconds = (np.array(stamps, dtype=np.int64) - START_NS) / 1e9
    measured = imu_samples(clock, seconds, to_rectified, rng)
    field = Rotation.from_quat(measured.orientation_xyzw).inv().apply(_MAGNETIC_FIELD_UT)
    columns = (measured.angular_velocity, measured.specific_force, measured.orientation_xyzw, field)
    return [
        SensorSample(
            timestamp_ns=stamp,
            angular_velocity=tuple(angular_velocity),
            linear_acceleration=tuple(specific_force),
            orientation_xyzw=tuple(orientation),
            imu_temperature_c=_IMU_TEMPERATURE_C,
            magnetic_field_ut=tuple(magnetic_field),
            pressure_hpa=_PRESSURE_HPA,
            barometer_temperature_c=_BAROMETER_TEMPERATURE_C,
            left_temperature_c=_LEFT_TEMPERATURE_C,
            right_temperature_c=_RIGHT_TEMPERATURE_C,
        )
        for stamp, angular_velocity, specific_force, orientation, magnetic_field in zip(
            stamps, *(column.tolist() for column in columns), strict=True
        )
    ]
