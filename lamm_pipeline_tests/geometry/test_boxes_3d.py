"""Operations on oriented 3D boxes, against hand-computed values, a raster, and KITTI's own labels."""

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from lamm_pipeline.geometry.box_3d import Box3D
from lamm_pipeline.geometry.boxes_3d import (
    alpha,
    corners,
    image_outline,
    iou_3d,
    iou_3d_matrix,
    iou_bev,
    iou_bev_matrix,
    project_edges,
    project_points,
    projected_box_xyxy,
    transform,
    wrap_angle,
)

PROJECTION = np.array([[700.0, 0.0, 600.0, 0.0], [0.0, 700.0, 200.0, 0.0], [0.0, 0.0, 1.0, 0.0]])
WIDTH, HEIGHT = 1200, 400

angles = st.floats(-math.pi, math.pi)
boxes = st.builds(
    Box3D,
    x=st.floats(-3, 3),
    y=st.floats(0, 3),
    z=st.floats(8, 14),
    length=st.floats(0.3, 6),
    width=st.floats(0.3, 3),
    height=st.floats(0.3, 3),
    rotation_y=angles,
)


def box(*, x=0.0, y=1.6, z=10.0, length=4.0, width=2.0, height=1.5, rotation_y=0.0) -> Box3D:
    return Box3D(x, y, z, length, width, height, rotation_y)


@pytest.mark.requirement("AV-18")
def test_corners_stand_on_the_bottom_centre_and_length_points_along_x_at_yaw_zero():
    points = corners(box(x=1.0))
    assert np.allclose(points[:4, 1], 1.6)
    assert np.allclose(points[4:, 1], 0.1)
    assert np.allclose(points.min(axis=0), [-1.0, 0.1, 9.0])
    assert np.allclose(points.max(axis=0), [3.0, 1.6, 11.0])


@pytest.mark.requirement("AV-18")
def test_a_quarter_turn_about_y_points_the_front_towards_the_camera():
    front = corners(box(rotation_y=math.pi / 2))[:2].mean(axis=0)
    assert np.allclose(front, [0.0, 1.6, 8.0])


@pytest.mark.requirement("AV-18")
def test_alpha_is_yaw_minus_bearing():
    assert alpha(box(x=10.0, z=10.0, rotation_y=0.3)) == pytest.approx(0.3 - math.pi / 4)
    assert alpha(box(x=-10.0, z=10.0, rotation_y=3.0)) == pytest.approx(3.0 + math.pi / 4 - 2 * math.pi)


@given(st.floats(-100, 100))
def test_wrapped_angles_point_the_same_way_within_half_a_turn(angle):
    wrapped = wrap_angle(angle)
    assert -math.pi < wrapped <= math.pi
    assert math.cos(wrapped) == pytest.approx(math.cos(angle), abs=1e-9)
    assert math.sin(wrapped) == pytest.approx(math.sin(angle), abs=1e-9)


def test_overlaps_known_by_hand():
    assert iou_bev(box(), box(x=2.0)) == pytest.approx(1 / 3)
    assert iou_bev(box(), box(rotation_y=math.pi / 2)) == pytest.approx(4 / 12)
    square = box(length=2.0, width=2.0)
    octagon = 8 * (math.sqrt(2) - 1)
    assert iou_bev(square, box(length=2.0, width=2.0, rotation_y=math.pi / 4)) == pytest.approx(octagon / (8 - octagon))
    assert iou_bev(box(), box(length=1.0, width=1.0, rotation_y=0.4)) == pytest.approx(1 / 8)
    assert iou_3d(box(), box(y=2.35)) == pytest.approx(1 / 3)
    assert iou_3d(box(), box(y=3.2)) == 0.0
    assert iou_bev(box(), box(x=4.0)) == pytest.approx(0.0, abs=1e-6)


def test_boxes_without_extent_overlap_nothing():
    flat = box(length=0.0, width=0.0, height=0.0)
    assert iou_bev(flat, flat) == 0.0
    assert iou_3d(flat, box()) == 0.0
    assert iou_3d_matrix([], [box()]).shape == (0, 1)


@given(boxes, boxes)
def test_overlap_is_symmetric_and_between_zero_and_one(a, b):
    assert iou_bev(a, b) == pytest.approx(iou_bev(b, a), abs=1e-6)
    assert iou_3d(a, b) == pytest.approx(iou_3d(b, a), abs=1e-6)
    assert 0.0 <= iou_3d(a, b) <= iou_bev(a, b) + 1e-9 <= 1.0 + 1e-9


@given(boxes)
def test_a_box_and_the_same_box_turned_by_pi_overlap_completely(a):
    turned = Box3D(a.x, a.y, a.z, a.length, a.width, a.height, wrap_angle(a.rotation_y + math.pi))
    swapped = Box3D(a.x, a.y, a.z, a.width, a.length, a.height, wrap_angle(a.rotation_y + math.pi / 2))
    for same in (a, turned, swapped):
        assert iou_bev(a, same) == pytest.approx(1.0, abs=1e-6)
        assert iou_3d(a, same) == pytest.approx(1.0, abs=1e-6)


@given(boxes, boxes, angles, st.floats(-50, 50), st.floats(-50, 50))
def test_overlap_does_not_change_when_both_boxes_move_together(a, b, yaw, dx, dz):
    moved = [transform(item, yaw, (dx, 0.5, dz)) for item in (a, b)]
    assert iou_3d(*moved) == pytest.approx(iou_3d(a, b), abs=1e-6)


@given(boxes, angles, st.floats(-50, 50), st.floats(-50, 50))
def test_a_moved_box_has_the_moved_corners(a, yaw, dx, dz):
    c, s = math.cos(yaw), math.sin(yaw)
    rotation = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    assert np.allclose(corners(transform(a, yaw, (dx, -1.0, dz))), corners(a) @ rotation.T + [dx, -1.0, dz], atol=1e-9)


@settings(max_examples=25)
@given(boxes, boxes)
def test_bird_eye_overlap_agrees_with_a_raster(a, b):
    scale, size = 60.0, 1500
    drawn = []
    for item in (a, b):
        points = (corners(item)[:4, [0, 2]] - [0.0, 11.0]) * scale + size / 2
        canvas = np.zeros((size, size), np.uint8)
        cv2.fillPoly(canvas, [np.round(points * 16).astype(np.int32)], 1, shift=4)
        drawn.append(canvas.astype(bool))
    raster = (drawn[0] & drawn[1]).sum() / (drawn[0] | drawn[1]).sum()
    assert iou_bev(a, b) == pytest.approx(raster, abs=0.05)


def test_matrices_hold_the_pairwise_values_also_beyond_one_chunk():
    rng = np.random.default_rng(3)
    many = [Box3D(x, 1.6, z, 4, 2, 1.5, ry) for x, z, ry in rng.uniform([-2, 9, -3], [2, 12, 3], (300, 3))]
    matrix_bev, matrix_3d = iou_bev_matrix(many, many), iou_3d_matrix(many, many)
    assert matrix_bev.shape == (300, 300)
    for i, j in ((0, 0), (3, 250), (299, 1), (150, 151)):
        assert matrix_bev[i, j] == pytest.approx(iou_bev(many[i], many[j]))
        assert matrix_3d[i, j] == pytest.approx(iou_3d(many[i], many[j]))


@pytest.mark.requirement("AV-18")
def test_a_box_in_front_projects_to_the_hull_of_its_corners():
    target = box(x=1.0, rotation_y=0.5)
    pixels = project_points(corners(target), PROJECTION)
    expected = (*pixels[:, :2].min(axis=0), *pixels[:, :2].max(axis=0))
    assert projected_box_xyxy(target, PROJECTION, WIDTH, HEIGHT) == pytest.approx(expected)
    assert project_edges(target, PROJECTION).shape == (12, 2, 2)
    assert len(image_outline(target, PROJECTION)) == 6


def test_boxes_behind_the_camera_or_beside_the_image_project_to_nothing():
    assert projected_box_xyxy(box(z=-10.0), PROJECTION, WIDTH, HEIGHT) is None
    assert len(project_edges(box(z=-10.0), PROJECTION)) == 0
    assert projected_box_xyxy(box(x=100.0), PROJECTION, WIDTH, HEIGHT) is None


def visible_extent(target: Box3D, near_m: float) -> list[float] | None:
    """The exact 2D box by linear programming: with q = p / z and t = 1 / z box, image and near plane are all linear in (q_x, q_y, t)."""
    points = corners(target)
    centre = points.mean(axis=0)
    axes = np.array([points[0] - points[3], points[0] - points[1], points[0] - points[4]])
    reach = (axes**2).sum(axis=1) / 2
    # |axis . (p - centre)| <= reach, times t
    sides = np.vstack([sign * np.column_stack([axes[:, :2], -sign * reach - axes @ centre]) for sign in (1.0, -1.0)])
    limits = np.concatenate([-axes[:, 2], axes[:, 2]])
    bounds = [((0 - 600) / 700, (WIDTH - 1 - 600) / 700), ((0 - 200) / 700, (HEIGHT - 1 - 200) / 700), (0.0, 1 / near_m)]
    extent = []
    for objective, offset in (([1, 0, 0], 600), ([0, 1, 0], 200), ([-1, 0, 0], 600), ([0, -1, 0], 200)):
        solution = linprog(objective, A_ub=sides, b_ub=limits, bounds=bounds)
        if not solution.success:
            return None
        extent.append(sum(objective) * solution.fun * 700 + offset)
    return extent


@settings(max_examples=80)
@given(x=st.floats(-4, 4), z=st.floats(-1.5, 4), yaw=angles)
def test_a_box_partly_behind_the_camera_has_the_2d_box_of_its_visible_part(x, z, yaw):
    target = box(x=x, z=z, rotation_y=yaw)
    found = projected_box_xyxy(target, PROJECTION, WIDTH, HEIGHT)
    expected = visible_extent(target, 0.1)
    assert (found is None) == (expected is None)
    if found is not None:
        assert found == pytest.approx(expected, abs=0.01)


@pytest.mark.requirement("AV-18", "REC-04")
def test_kitti_labels_project_onto_their_own_2d_boxes(shared_data: Path):
    overlaps = []
    for name in ("000001", "000002"):
        lines = (shared_data / "kitti_object" / "calib" / f"{name}.txt").read_text().splitlines()
        p2 = next(line for line in lines if line.startswith("P2:"))
        projection = np.array(p2.split()[1:], dtype=float).reshape(3, 4)
        image = cv2.imread(str(shared_data / "kitti_object" / "image_2" / f"{name}.png"))
        for line in (shared_data / "kitti_object" / "label_2" / f"{name}.txt").read_text().splitlines():
            kind, truncated, *rest = line.split()
            if kind == "DontCare" or float(truncated) > 0:
                continue
            _, angle, x1, y1, x2, y2, h, w, length, x, y, z, yaw = map(float, rest)
            label = Box3D(x, y, z, length, w, h, yaw)
            assert alpha(label) == pytest.approx(angle, abs=0.02)
            found = projected_box_xyxy(label, projection, image.shape[1], image.shape[0])
            assert found is not None
            meet = max(0.0, min(x2, found[2]) - max(x1, found[0])) * max(0.0, min(y2, found[3]) - max(y1, found[1]))
            union = (x2 - x1) * (y2 - y1) + (found[2] - found[0]) * (found[3] - found[1]) - meet
            overlaps.append(meet / union)
    assert len(overlaps) == 5
    assert min(overlaps) > 0.6
    assert float(np.median(overlaps)) > 0.8
