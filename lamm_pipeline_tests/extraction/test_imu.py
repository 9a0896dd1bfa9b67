"""Sensor values as JSON and as oxts lines."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from lamm_pipeline.extraction.imu import OXTS_FIELDS, oxts_line, write_oxts, write_sensor_json
from lamm_pipeline.recordings.reader import SensorSample
from lamm_pipeline_tests.extraction.fake_reader import sensor_sample


def oxts(sample: SensorSample) -> dict[str, float]:
    return dict(zip(OXTS_FIELDS, map(float, oxts_line(sample).split()), strict=True))


@pytest.mark.requirement("EXT-10")
def test_a_level_camera_at_rest_reads_gravity_upwards_in_vehicle_axes() -> None:
    values = oxts(sensor_sample(1))
    assert len(OXTS_FIELDS) == 30
    assert (values["ax"], values["ay"], values["az"]) == (0, 0, 9.81)
    assert (values["wx"], values["wy"], values["wz"]) == (0.3, -0.1, -0.2)  # forward, left, up of image axes (0.1, 0.2, 0.3)
    assert (values["roll"], values["pitch"], values["yaw"]) == (0, 0, 0)
    assert all(math.isnan(values[name]) for name in ("lat", "lon", "alt", "vf", "vn", "pos_accuracy", "vel_accuracy"))
    assert (values["navstat"], values["numsats"], values["orimode"]) == (0, 0, 0)


@pytest.mark.requirement("EXT-10")
@pytest.mark.parametrize(
    ("axis", "angle", "name", "expected"),
    [
        ([1, 0, 0], -0.45, "pitch", 0.45),  # about image x by a negative angle: the camera looks down; KITTI: front down is positive
        ([0, 0, 1], 0.2, "roll", 0.2),  # about the view direction, clockwise seen from behind: left side up
        ([0, 1, 0], 0.3, "yaw", -0.3),  # about the downward axis: to the right, KITTI's yaw is anticlockwise
    ],
)
def test_roll_pitch_and_yaw_have_kittis_signs(axis: list[int], angle: float, name: str, expected: float) -> None:
    quaternion = Rotation.from_rotvec(np.array(axis) * angle).as_quat()
    values = oxts(replace(sensor_sample(1), orientation_xyzw=tuple(quaternion)))
    for other in ("roll", "pitch", "yaw"):
        assert values[other] == pytest.approx(expected if other == name else 0, abs=1e-9)


@pytest.mark.requirement("EXT-10")
def test_levelled_acceleration_of_a_tilted_camera_at_rest_points_straight_up() -> None:
    """The values of a real recording: camera pitched down by 26 degrees."""
    tilt = Rotation.from_quat([-0.225, 0.020, 0.011, 0.974])
    gravity = tilt.inv().apply([0, -9.795, 0])
    assert gravity[1:] == pytest.approx([-8.8, -4.3], abs=0.1)
    values = oxts(replace(sensor_sample(1), orientation_xyzw=tuple(tilt.as_quat()), linear_acceleration=tuple(gravity)))
    assert values["pitch"] == pytest.approx(math.radians(26), abs=0.01)
    assert (values["af"], values["al"], values["au"]) == pytest.approx((0, 0, 9.795), abs=1e-6)


def test_without_an_orientation_angles_are_unknown() -> None:
    values = oxts(replace(sensor_sample(1), orientation_xyzw=(0.0, 0.0, 0.0, 0.0)))
    assert math.isnan(values["roll"])
    assert math.isnan(values["af"])
    assert values["az"] == 9.81


@pytest.mark.requirement("EXT-10")
def test_the_json_has_every_field_and_null_for_sensors_that_are_not_there(tmp_path: Path) -> None:
    sample = replace(sensor_sample(5), magnetic_field_ut=(1.0, math.nan, 3.0))
    write_sensor_json(tmp_path / "a.json", sample)
    write_oxts(tmp_path / "a.txt", sample)
    stored = json.loads((tmp_path / "a.json").read_text())
    assert set(stored) == set(SensorSample.__dataclass_fields__)
    assert stored["magnetic_field_ut"] == [1.0, None, 3.0]
    assert stored["pressure_hpa"] == 1013.0
    assert stored["barometer_temperature_c"] is None
    assert (tmp_path / "a.txt").read_text() == oxts_line(sample) + "\n"
