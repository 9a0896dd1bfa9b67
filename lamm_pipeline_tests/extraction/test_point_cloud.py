"""Clouds: axes, intensity, thinning."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamm_pipeline.extraction.point_cloud import CAMERA_TO_VELODYNE, camera_to_velodyne, point_cloud, velodyne_to_camera
from lamm_pipeline.geometry.camera import RectifiedCamera

CAMERA = RectifiedCamera(1280, 720, 530.0, 530.0, 640.0, 360.0, 0.12)


def image(red: int) -> np.ndarray:
    picture = np.zeros((720, 1280, 3), np.uint8)
    picture[..., 2] = red
    return picture


@pytest.mark.requirement("EXT-03", "EXT-07")
def test_axes_are_forward_left_up() -> None:
    ahead_right_down = np.array([[1.0, 2.0, 10.0]])
    np.testing.assert_array_equal(camera_to_velodyne(ahead_right_down), [[10.0, -1.0, -2.0]])
    np.testing.assert_array_equal(camera_to_velodyne(ahead_right_down), ahead_right_down @ CAMERA_TO_VELODYNE.T)


@given(st.lists(st.tuples(*(st.floats(-1e3, 1e3, width=32),) * 3), min_size=1, max_size=20))
def test_the_two_axes_are_inverse(points: list[tuple[float, float, float]]) -> None:
    array = np.array(points)
    np.testing.assert_array_equal(velodyne_to_camera(camera_to_velodyne(array)), array)


@pytest.mark.requirement("EXT-03")
def test_every_point_is_a_pixel_with_its_depth_and_red() -> None:
    random = np.random.default_rng(0)
    depth = random.uniform(1, 90, (720, 1280)).astype(np.float32)
    depth[random.random(depth.shape) < 0.3] = np.nan
    left = random.integers(0, 256, (720, 1280, 3), dtype=np.uint8)
    cloud = point_cloud(depth, left, CAMERA)
    assert cloud.dtype == np.float32
    assert np.isfinite(cloud).all()
    x, y, z = velodyne_to_camera(cloud[:, :3].astype(np.float64)).T
    u, v = np.rint(x / z * 530 + 640).astype(int), np.rint(y / z * 530 + 360).astype(int)
    np.testing.assert_allclose(depth[v, u], z, rtol=1e-6)
    np.testing.assert_allclose(cloud[:, 3], left[v, u, 2] / np.float32(255), rtol=1e-6)
    assert len(np.unique(v * 1280 + u)) == len(cloud)


@pytest.mark.requirement("EXT-03")
def test_density_is_that_of_the_angular_grid() -> None:
    cloud = point_cloud(np.full((720, 1280), 10, np.float32), image(0), CAMERA, azimuth_step_deg=0.2, elevation_step_deg=0.4)
    azimuth = np.degrees(np.arctan2(cloud[:, 1], cloud[:, 0]))
    elevation = np.degrees(np.arctan2(cloud[:, 2], np.hypot(cloud[:, 0], cloud[:, 1])))
    cells = np.stack([np.floor(azimuth / 0.2 + 1e-4), np.floor(elevation / 0.4 + 1e-4)], axis=1)
    assert len(cloud) < 0.1 * 720 * 1280
    assert len(np.unique(cells, axis=0)) > 0.97 * len(cloud)  # float32 moves a few over a cell's border
    beam = (azimuth > 0) & (azimuth < 10) & (np.abs(elevation) < 4)
    assert beam.sum() == pytest.approx(50 * 20, rel=0.1)
    finer = point_cloud(np.full((720, 1280), 10, np.float32), image(0), CAMERA, azimuth_step_deg=0.1, elevation_step_deg=0.2)
    assert len(finer) > 2.5 * len(cloud)


def test_a_cell_keeps_its_median_so_that_single_outliers_vanish() -> None:
    depth = np.full((720, 1280), 20, np.float32)
    depth[::5, ::7] = 2.0
    cloud = point_cloud(depth, image(0), CAMERA, azimuth_step_deg=1.0, elevation_step_deg=1.0)
    assert (cloud[:, 0] == 20).all()


@pytest.mark.requirement("AV-17")
@pytest.mark.parametrize("metres", [65.6, 80.0])
def test_far_points_keep_their_distance(metres: float) -> None:
    cloud = point_cloud(np.full((720, 1280), metres, np.float32), image(255), CAMERA)
    np.testing.assert_array_equal(cloud[:, 0], np.float32(metres))
    np.testing.assert_array_equal(cloud[:, 3], 1)


def test_no_depth_gives_an_empty_cloud() -> None:
    assert point_cloud(np.full((720, 1280), np.nan, np.float32), image(0), CAMERA).shape == (0, 4)
