"""The ground plane from depth: exact on rendered planes, robust to clutter, silent where there is no ground."""

import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from lamm_pipeline.geometry.camera import RectifiedCamera
from lamm_pipeline.geometry.ground_plane import GroundPlane, fit_ground_plane

CAMERA = RectifiedCamera(width=640, height=360, fx=500.0, fy=500.0, cx=319.5, cy=150.0, baseline_m=0.2)


def render_plane(height_m: float, pitch: float = 0.0, roll: float = 0.0, far_m: float = 60.0) -> tuple[np.ndarray, np.ndarray]:
    normal = np.array([math.sin(roll), -math.cos(roll) * math.cos(pitch), -math.cos(roll) * math.sin(pitch)])
    v, u = np.mgrid[0 : CAMERA.height, 0 : CAMERA.width]
    rays = np.stack([(u - CAMERA.cx) / CAMERA.fx, (v - CAMERA.cy) / CAMERA.fy, np.ones_like(u, dtype=float)], axis=-1)
    with np.errstate(divide="ignore"):
        depth = -height_m / (rays @ normal)
    depth[(depth <= 0) | (depth > far_m)] = np.nan
    return depth.astype(np.float32), normal


@pytest.mark.requirement("REC-02")
@pytest.mark.parametrize(("height_m", "pitch", "roll"), [(1.65, 0.0, 0.0), (0.6, 0.2, -0.1), (4.0, 0.35, 0.05), (1.2, -0.05, 0.12)])
def test_a_rendered_plane_is_found_with_noise_and_holes(height_m, pitch, roll):
    depth, normal = render_plane(height_m, pitch, roll)
    rng = np.random.default_rng(1)
    focal_baseline = CAMERA.fx * CAMERA.baseline_m
    depth = (focal_baseline / (focal_baseline / depth + rng.normal(0, 0.3, depth.shape))).astype(np.float32)
    depth[rng.random(depth.shape) < 0.4] = np.nan
    plane = fit_ground_plane(depth, CAMERA)
    assert plane is not None
    assert plane.offset == pytest.approx(height_m, rel=0.02)
    assert math.degrees(math.acos(min(1.0, float(np.dot(plane.normal, normal))))) < 1.0
    assert plane.inlier_share > 0.8


def test_obstacles_over_half_of_the_ground_do_not_pull_the_plane_up():
    depth, _ = render_plane(1.65)
    depth[150:320, 60:330] = np.fmin(depth[150:320, 60:330], 6.0)
    depth[200:, 420:560] = np.fmin(depth[200:, 420:560], 3.0)
    plane = fit_ground_plane(depth, CAMERA)
    assert plane is not None
    assert plane.offset == pytest.approx(1.65, rel=0.02)


def test_a_large_table_above_the_floor_is_not_taken_for_the_floor():
    floor, _ = render_plane(1.6, 0.2)
    table, _ = render_plane(0.7, 0.2)
    depth = floor.copy()
    depth[230:, 100:540] = table[230:, 100:540]
    plane = fit_ground_plane(depth, CAMERA)
    assert plane is not None
    assert plane.offset == pytest.approx(1.6, rel=0.03)


@pytest.mark.parametrize(
    "depth",
    [
        np.full((360, 640), np.nan, np.float32),
        np.full((360, 640), np.inf, np.float32),
        np.full((360, 640), 5.0, np.float32),
        render_plane(12.0)[0],
        render_plane(1.6, pitch=0.9)[0],
    ],
    ids=["unknown", "too far", "a wall", "camera 12 m high", "looking steeply down"],
)
def test_without_a_plausible_ground_there_is_no_plane(depth):
    assert fit_ground_plane(depth, CAMERA) is None


def test_infinite_and_negative_depth_is_ignored_and_the_result_is_repeatable():
    depth, _ = render_plane(1.65)
    depth[::3] = np.inf
    depth[1::7] = -np.inf
    first = fit_ground_plane(depth, CAMERA)
    assert first is not None
    assert first == fit_ground_plane(depth, CAMERA)


def test_heights_and_the_ground_below_a_place_agree():
    plane = GroundPlane(normal=(0.0, -math.cos(0.1), math.sin(0.1)), offset=1.5, inlier_share=1.0)
    y = plane.y_at(2.0, 12.0)
    heights = plane.height_above(np.array([[2.0, y, 12.0], [0.0, 0.0, 0.0], [2.0, y + 1.0, 12.0]]))
    assert heights == pytest.approx([0.0, 1.5, -math.cos(0.1)])


@pytest.mark.requirement("REC-02")
def test_kitti_objects_stand_on_the_plane_of_real_stereo_depth(shared_data: Path):
    folder = shared_data / "kitti_raw_0039_stereo"
    camera = RectifiedCamera(1242, 375, 721.5377, 721.5377, 609.5593, 172.854, 0.53715)
    matcher = cv2.StereoSGBM_create(0, 128, 5, 200, 800, 1, 63, 10, 100, 2, cv2.STEREO_SGBM_MODE_SGBM_3WAY)
    heights = []
    for name in ("000284", "000304"):
        left, right = (cv2.imread(str(folder / side / f"{name}.png"), cv2.IMREAD_GRAYSCALE) for side in ("image_0", "image_1"))
        disparity = matcher.compute(left, right).astype(np.float32) / 16
        disparity[disparity <= 1] = np.nan
        plane = fit_ground_plane(387.5744 / disparity, camera)
        assert plane is not None
        rows = [line.split() for line in (folder / "label_2" / f"{name}.txt").read_text().splitlines()]
        heights.extend(plane.height_above(np.array(row[11:14], dtype=float)) for row in rows if row[0] != "DontCare")
    assert float(np.median(np.abs(heights))) < 0.1
