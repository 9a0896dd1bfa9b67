"""From mask and depth to points: rims off, ground off, strays off, and nothing else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamm_pipeline.geometry.ground_plane import fit_ground_plane
from lamm_pipeline.ontology.ontology import SizePrior
from lamm_pipeline.reconstruction.object_points import (
    back_project,
    densest_slice,
    erode,
    known,
    largest_cluster,
    thin,
    without_ground,
    without_outliers,
)
from lamm_pipeline_tests.reconstruction.scenes import CAMERA, car, render

CAR = SizePrior((3.5, 5.5), (1.5, 2.2), (1.3, 1.8))


@pytest.mark.requirement("REC-02")
def test_points_project_back_to_the_pixels_they_come_from():
    depth, masks = render([car(1.0, 12.0, 0.5)])
    points = back_project(depth, masks[0], CAMERA)
    rows, columns = np.nonzero(masks[0])
    assert np.allclose(points[:, 0] / points[:, 2] * CAMERA.fx + CAMERA.cx, columns)
    assert np.allclose(points[:, 1] / points[:, 2] * CAMERA.fy + CAMERA.cy, rows)
    assert np.allclose(points[:, 2], depth[masks[0]])


@pytest.mark.requirement("EXT-15", "REC-02")
def test_only_measured_depth_becomes_points():
    depth = np.array([[1.0, np.nan, np.inf], [-np.inf, 0.0, -1.0]], dtype=np.float32)
    assert known(depth).tolist() == [[True, False, False], [False, False, False]]
    assert len(back_project(depth, np.ones((2, 3), dtype=bool), CAMERA)) == 1


def test_erosion_takes_the_rim_but_never_most_of_the_mask():
    mask = np.zeros((200, 300), dtype=bool)
    mask[50:150, 100:200] = True
    assert not erode(mask, 0.03)[50].any()
    assert erode(mask, 0.03)[60:140, 110:190].all()
    assert np.array_equal(erode(mask, 0.0), mask)
    thread = np.zeros_like(mask)
    thread[100:103, 20:280] = True
    assert np.array_equal(erode(thread, 0.2), thread)


def test_the_image_border_is_no_rim():
    mask = np.zeros((100, 100), dtype=bool)
    mask[40:, 30:70] = True
    assert erode(mask, 0.05)[99, 40:60].all()


@given(st.integers(0, 9000), st.integers(1, 500))
def test_thinning_keeps_at_most_the_limit_evenly(count, limit):
    points = np.arange(count * 3, dtype=float).reshape(-1, 3)
    thinned = thin(points, limit)
    assert len(thinned) <= limit
    assert len(thinned) >= min(count, limit // 2)


@pytest.mark.requirement("REC-06")
def test_points_far_from_all_others_are_outliers():
    rng = np.random.default_rng(0)
    body = rng.normal(0, 0.3, (500, 3))
    strays = np.array([[5.0, 0, 0], [0, -6.0, 0], [3, 3, 3.0]])
    kept = without_outliers(np.vstack([body, strays]), 20, 2.0)
    assert not any((kept == stray).all(axis=1).any() for stray in strays)
    assert len(kept) > 440
    few = body[:10]
    assert without_outliers(few, 20, 2.0) is few


@pytest.mark.requirement("REC-02")
def test_ground_points_are_dropped_and_the_object_stays():
    depth, masks = render([car(0.0, 12.0, 0.2)])
    ground = fit_ground_plane(depth, CAMERA)
    everything = np.zeros_like(masks[0])
    everything[100:200, 200:440] = True
    points = without_ground(back_project(depth, everything & (depth < 30), CAMERA), ground, 0.1)
    assert points[:, 1].max() < 1.6
    assert 0.8 * masks[0].sum() < len(points) < 1.1 * masks[0].sum()
    assert without_ground(points, None, 0.1) is points


@pytest.mark.requirement("REC-02")
def test_a_whole_2d_box_as_mask_still_gives_the_object():
    depth, masks = render([car(0.0, 12.0, 0.2)])
    rows, columns = np.nonzero(masks[0])
    whole = np.zeros_like(masks[0])
    whole[rows.min() : rows.max(), columns.min() - 25 : columns.max() + 25] = True
    points = densest_slice(back_project(depth, whole, CAMERA), CAR, CAMERA)
    assert 0.9 * masks[0].sum() < len(points) < 1.6 * masks[0].sum()
    assert points[:, 2].max() < 20
    assert len(densest_slice(points[:0], CAR, CAMERA)) == 0


@pytest.mark.requirement("REC-02")
def test_a_hedge_a_metre_beside_a_car_is_cut_off_near_the_camera_and_kept_where_noise_is_wider_than_the_gap():
    for distance, cut in ((8.0, True), (60.0, False)):
        side = np.column_stack([np.full(200, 2.0), np.zeros(200), np.linspace(distance, distance + 4.0, 200)])
        hedge = side[:60] + np.array([1.8, 0.0, 0.0])
        kept = largest_cluster(np.concatenate([side, hedge]), CAR, CAMERA)
        assert len(kept) == (200 if cut else 260)
