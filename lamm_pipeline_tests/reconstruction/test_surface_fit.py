"""One box from what several views show of it."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from lamm_pipeline.errors import InputError
from lamm_pipeline.reconstruction import surface_points
from lamm_pipeline.reconstruction.surface_fit import Footprint, SurfaceView, fit_footprint

LENGTHS, WIDTHS, TYPICAL = (3.5, 5.5), (1.5, 2.2), (4.0, 1.7)
CAR = Footprint(-4.0, 12.0, -1.4, 4.6, 1.8)


def outline(box: Footprint) -> NDArray[np.float64]:
    """Points on all four sides."""
    share = np.linspace(-0.5, 0.5, 60)
    sides = [np.column_stack([share * box.length, np.full(60, end * box.width)]) for end in (-0.5, 0.5)]
    sides += [np.column_stack([np.full(60, end * box.length), share * box.width]) for end in (-0.5, 0.5)]
    along, across = np.concatenate(sides).T
    c, s = math.cos(box.yaw), math.sin(box.yaw)
    return np.column_stack([box.x + c * along + s * across, box.z - s * along + c * across])


def view(box: Footprint, camera_z: float, strays: int = 0) -> SurfaceView:
    """The sides turned to a camera on the z axis, with noise, and a hedge behind the car."""
    random = np.random.default_rng(round(camera_z * 10))
    points, camera = outline(box), np.array([0.0, camera_z])
    bearings = np.arctan2(*(points - camera).T)
    nearest = [np.linalg.norm(points[np.abs(bearings - one) < 0.02] - camera, axis=1).min() for one in bearings]
    seen = points[np.linalg.norm(points - camera, axis=1) < np.array(nearest) + 0.3]
    hedge = np.column_stack([random.uniform(-8.0, -6.5, strays), random.uniform(12.0, 14.0, strays)])
    noisy = np.concatenate([seen + random.normal(0.0, 0.04, seen.shape), hedge])
    return SurfaceView(noisy, camera, float(bearings.min()), float(bearings.max()), False, False, 0.1)


def axis_error(yaw: float, other: float) -> float:
    return abs((yaw - other + math.pi / 2.0) % math.pi - math.pi / 2.0)


@pytest.mark.requirement("REC-01", "TRK-02")
def test_heading_place_and_size_come_from_a_drive_past_although_the_start_is_turned_and_a_hedge_sticks_to_the_points() -> None:
    fit = fit_footprint([view(CAR, 0.8 * n, strays=15) for n in range(8)], Footprint(-4.3, 11.6, -2.0, 4.0, 2.2), LENGTHS, WIDTHS, TYPICAL)
    assert axis_error(fit.yaw, CAR.yaw) < math.radians(4.0)
    assert (fit.x, fit.z) == (pytest.approx(CAR.x, abs=0.2), pytest.approx(CAR.z, abs=0.2))
    assert (fit.length, fit.width) == (pytest.approx(CAR.length, abs=0.3), pytest.approx(CAR.width, abs=0.2))


@pytest.mark.requirement("TRK-02")
def test_a_side_that_is_never_seen_leaves_the_typical_length() -> None:
    """A car right ahead, of which only the rear shows."""
    car = Footprint(0.0, 15.0, -math.pi / 2.0, 4.9, 1.7)
    fit = fit_footprint([view(car, 0.5 * n) for n in range(4)], Footprint(0.0, 14.5, -1.5, 4.0, 1.7), LENGTHS, WIDTHS, TYPICAL)
    assert fit.length == pytest.approx(TYPICAL[0], abs=0.3)
    assert fit.z - fit.length / 2.0 == pytest.approx(car.z - car.length / 2.0, abs=0.15)


@pytest.mark.requirement("TRK-02")
def test_a_heading_far_from_the_start_is_taken_where_it_is_clearly_better() -> None:
    turned = Footprint(CAR.x, CAR.z, CAR.yaw + math.pi / 2.0, 4.0, 1.7)
    assert axis_error(fit_footprint([view(CAR, 0.8 * n) for n in range(8)], turned, LENGTHS, WIDTHS, TYPICAL).yaw, CAR.yaw) < 0.1


@pytest.mark.requirement("REC-01")
def test_points_of_each_box_are_read_back_thinned_and_a_damaged_file_is_told(tmp_path) -> None:
    random = np.random.default_rng(2)
    clouds = [random.normal(0.0, 10.0, (count, 3)) for count in (1000, 40)]
    surface_points.write(tmp_path, 7, clouds)
    surface_points.write(tmp_path, 8, [])
    rows = surface_points.read(tmp_path, 7)
    assert rows is not None
    assert np.allclose(rows[rows[:, 0] == 1, 1:], clouds[1], atol=1e-5)
    assert 50 <= (rows[:, 0] == 0).sum() <= surface_points.POINTS_PER_BOX
    assert surface_points.read(tmp_path, 8) is None
    (tmp_path / "surface_points" / "000009.npy").write_bytes(b"no array")
    with pytest.raises(InputError, match="Run boxes_3d again"):
        surface_points.read(tmp_path, 9)


@pytest.mark.requirement("TRK-02")
def test_a_smear_of_depth_far_away_in_which_the_search_does_not_settle_ends_in_a_box_of_the_class() -> None:
    points = np.random.default_rng(0).uniform([-5.5, 69.0], [-2.8, 90.0], (90, 2))
    smear = SurfaceView(points, np.array([0.0, 5.7]), -0.076, -0.042, False, False, 7.5)
    fit = fit_footprint([smear], Footprint(-4.5, 95.0, -1.7, 6.75, 2.2), (5.0, 12.0), (2.0, 2.8), (6.75, 2.2))
    assert 5.0 <= fit.length <= 12.0
    assert 2.0 <= fit.width <= 2.8
    assert 60.0 < fit.z < 110.0
