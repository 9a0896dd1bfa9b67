"""Operations on oriented 3D boxes: corners, projection into an image, rotated overlap, alpha, rigid motion.

All boxes are KITTI's (`box_3d.Box3D`): bottom centre, rectified left-camera frame (x right, y down, z forward), metres and radians.
The bird's-eye view is the (x, z) plane. Source: KITTI object development kit (`readme.txt`, `computeBox3D.m`).
"""

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.geometry.box_3d import Box3D

NEAR_M = 0.1
"""Nothing nearer than this is projected: a camera sees nothing there, and the image position runs away to infinity."""

BoxXyxy = tuple[float, float, float, float]

_EDGES = np.array([[0, 1], [1, 2], [2, 3], [3, 0], [4, 5], [5, 6], [6, 7], [7, 4], [0, 4], [1, 5], [2, 6], [3, 7]])
# Identical edges would be counted twice or not at all in the overlap; growing one box by this much keeps all edges distinct.
_GROWTH_M = 1e-9
_CHUNK_PAIRS = 65536


def wrap_angle(angle: float) -> float:
    """The same angle in (-pi, pi]."""
    wrapped = math.remainder(angle, 2.0 * math.pi)
    return math.pi if wrapped <= -math.pi else wrapped


def alpha(box: Box3D) -> float:
    """KITTI's observation angle `rotation_y - atan2(x, z)`, in (-pi, pi]."""
    return wrap_angle(box.rotation_y - math.atan2(box.x, box.z))


def transform(box: Box3D, yaw: float, translation: tuple[float, float, float]) -> Box3D:
    """Move a box by `p' = R_y(yaw) p + translation`.

    Args:
        box: the box.
        yaw: rotation about +y (the sense of `rotation_y`), radians.
        translation: metres.
    """
    c, s = math.cos(yaw), math.sin(yaw)
    tx, ty, tz = translation
    return Box3D(
        x=c * box.x + s * box.z + tx,
        y=box.y + ty,
        z=-s * box.x + c * box.z + tz,
        length=box.length,
        width=box.width,
        height=box.height,
        rotation_y=wrap_angle(box.rotation_y + yaw),
    )


def corners(box: Box3D) -> NDArray[np.float64]:
    """`(8, 3)` corners in the order of KITTI's devkit: four of the bottom face, then the four above them, starting at (+length, +width)."""
    half_length, half_width = box.length / 2.0, box.width / 2.0
    along = np.array([half_length, half_length, -half_length, -half_length] * 2)
    across = np.array([half_width, -half_width, -half_width, half_width] * 2)
    up = np.array([0.0] * 4 + [-box.height] * 4)
    c, s = math.cos(box.rotation_y), math.sin(box.rotation_y)
    return np.column_stack([c * along + s * across + box.x, up + box.y, -s * along + c * across + box.z])


def project_points(points: NDArray[np.floating], projection: NDArray[np.floating]) -> NDArray[np.float64]:
    """Project points in front of the camera into the image.

    Args:
        points: `(N, 3)` camera coordinates, metres.
        projection: `(3, 4)` matrix such as KITTI's P2.

    Returns:
        `(N, 3)`: x and y in pixels, and the depth along the optical axis in metres. Where that is not positive x and y mean nothing.
    """
    image = np.asarray(points, dtype=np.float64) @ projection[:, :3].T + projection[:, 3]
    depth = image[:, 2:]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.hstack([image[:, :2] / depth, depth])


def project_edges(box: Box3D, projection: NDArray[np.floating], near_m: float = NEAR_M) -> NDArray[np.float64]:
    """The box's edges in the image, for drawing; what lies behind the near plane is cut off.

    Args:
        box: the box.
        projection: `(3, 4)` matrix.
        near_m: depth of the near plane, metres.

    Returns:
        `(K, 2, 2)` pixels, K <= 12: start and end of every edge that is at least partly in front of the near plane.
    """
    image = corners(box) @ projection[:, :3].T + projection[:, 3]
    start, end = image[_EDGES[:, 0]], image[_EDGES[:, 1]]
    visible = (start[:, 2] >= near_m) | (end[:, 2] >= near_m)
    start, end = start[visible], end[visible]
    return np.stack([_cut_at(start, end, near_m), _cut_at(end, start, near_m)], axis=1)


def image_outline(box: Box3D, projection: NDArray[np.floating], near_m: float = NEAR_M) -> NDArray[np.float64]:
    """Convex outline of the box in the image plane, not cut to any image.

    Args:
        box: the box.
        projection: `(3, 4)` matrix.
        near_m: depth of the near plane, metres; the part of the box behind it is cut off first.

    Returns:
        `(K, 2)` pixels, K = 0 when the whole box is behind the near plane.
    """
    ends = project_edges(box, projection, near_m).reshape(-1, 2)
    if len(ends) == 0:
        return np.zeros((0, 2))
    # single precision of cv2 is enough for pixels, but not for coordinates far outside the image: pick the hull's points by index
    hull = cv2.convexHull(ends.astype(np.float32), returnPoints=False).ravel()
    outline: NDArray[np.float64] = ends[hull]
    return outline


def projected_box_xyxy(box: Box3D, projection: NDArray[np.floating], width: int, height: int, near_m: float = NEAR_M) -> BoxXyxy | None:
    """The smallest 2D box around the visible part of the box, cut to the image as KITTI does (0 .. width - 1, 0 .. height - 1).

    Exact also when part of the box lies behind the camera or outside the image: the outline is cut, not its bounding box.

    Args:
        box: the box.
        projection: `(3, 4)` matrix.
        width: image width in pixels.
        height: image height in pixels.
        near_m: depth of the near plane, metres.

    Returns:
        `(x1, y1, x2, y2)` in pixels, or None when nothing of the box is in the image.
    """
    inside = _cut_to_image(image_outline(box, projection, near_m), width, height)
    if len(inside) == 0:
        return None
    x1, y1 = inside.min(axis=0)
    x2, y2 = inside.max(axis=0)
    return float(x1), float(y1), float(x2), float(y2)


def iou_bev(a: Box3D, b: Box3D) -> float:
    """Rotated intersection over union in the bird's-eye view."""
    return float(iou_bev_matrix([a], [b])[0, 0])


def iou_3d(a: Box3D, b: Box3D) -> float:
    """Intersection over union of the two volumes."""
    return float(iou_3d_matrix([a], [b])[0, 0])


def iou_bev_matrix(a: Sequence[Box3D], b: Sequence[Box3D]) -> NDArray[np.float64]:
    """Rotated bird's-eye IoU of every box of `a` with every box of `b`.

    Returns:
        `(len(a), len(b))`; boxes without extent have IoU 0 with everything.
    """
    left, right = _as_array(a), _as_array(b)
    overlap = _overlap_bev(left, right)
    return _ratio(overlap, (left[:, 3] * left[:, 4])[:, None] + (right[:, 3] * right[:, 4])[None, :] - overlap)


def iou_3d_matrix(a: Sequence[Box3D], b: Sequence[Box3D]) -> NDArray[np.float64]:
    """Volume IoU of every box of `a` with every box of `b`.

    Returns:
        `(len(a), len(b))`; boxes without extent have IoU 0 with everything.
    """
    left, right = _as_array(a), _as_array(b)
    bottom = np.minimum(left[:, None, 1], right[None, :, 1])
    top = np.maximum((left[:, 1] - left[:, 5])[:, None], (right[:, 1] - right[:, 5])[None, :])
    overlap = _overlap_bev(left, right) * np.clip(bottom - top, 0.0, None)
    volume_left, volume_right = left[:, 3:6].prod(axis=1), right[:, 3:6].prod(axis=1)
    return _ratio(overlap, volume_left[:, None] + volume_right[None, :] - overlap)


def _cut_at(start: NDArray[np.float64], end: NDArray[np.float64], near_m: float) -> NDArray[np.float64]:
    """`start` in pixels, moved along the edge to the near plane where it lies behind it; rows are homogeneous image coordinates."""
    step = end[:, 2] - start[:, 2]
    share = np.where(start[:, 2] < near_m, (near_m - start[:, 2]) / np.where(step == 0.0, 1.0, step), 0.0)
    point = start + share[:, None] * (end - start)
    return np.asarray(point[:, :2] / point[:, 2:])


def _cut_to_image(outline: NDArray[np.float64], width: int, height: int) -> NDArray[np.float64]:
    """Sutherland-Hodgman against the four sides of the image."""
    polygon = outline
    for axis, limit, sign in ((0, 0.0, 1.0), (0, width - 1.0, -1.0), (1, 0.0, 1.0), (1, height - 1.0, -1.0)):
        if len(polygon) == 0:
            break
        distance = sign * (polygon[:, axis] - limit)
        kept: list[NDArray[np.float64]] = []
        for n, point in enumerate(polygon):
            before = n - 1
            if (distance[before] < 0.0) != (distance[n] < 0.0):
                share = distance[before] / (distance[before] - distance[n])
                crossing = polygon[before] + share * (point - polygon[before])
                crossing[axis] = limit
                kept.append(crossing)
            if distance[n] >= 0.0:
                kept.append(point)
        polygon = np.array(kept).reshape(-1, 2)
    return polygon


def _as_array(boxes: Sequence[Box3D]) -> NDArray[np.float64]:
    """`(N, 7)`: x, y, z, length, width, height, rotation_y."""
    rows = [(b.x, b.y, b.z, b.length, b.width, b.height, b.rotation_y) for b in boxes]
    return np.array(rows, dtype=np.float64).reshape(-1, 7)


def _ratio(overlap: NDArray[np.float64], union: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.clip(np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0.0), 0.0, 1.0)


def _overlap_bev(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """`(N, M)` areas of overlap in the (x, z) plane; only pairs whose enclosing circles meet are computed."""
    overlap = np.zeros((len(a), len(b)))
    reach = (np.hypot(a[:, 3], a[:, 4]) / 2.0)[:, None] + (np.hypot(b[:, 3], b[:, 4]) / 2.0)[None, :]
    apart = np.hypot(a[:, None, 0] - b[None, :, 0], a[:, None, 2] - b[None, :, 2])
    rows, columns = np.nonzero(apart < reach)
    for start in range(0, len(rows), _CHUNK_PAIRS):
        i, j = rows[start : start + _CHUNK_PAIRS], columns[start : start + _CHUNK_PAIRS]
        overlap[i, j] = _overlap_pairs(a[i], b[j])
    return overlap


def _overlap_pairs(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """`(K,)` areas of overlap of paired rectangles.

    Green's theorem: the outline of the overlap consists of the parts of a's edges inside b and of b's edges inside a.
    """
    origin = a[:, [0, 2]]
    quad_a = _rectangles(a, origin, 0.0)
    quad_b = _rectangles(b, origin, _GROWTH_M)
    area: NDArray[np.float64] = _area_along(quad_a, quad_b) + _area_along(quad_b, quad_a)
    return np.clip(area, 0.0, None)


def _rectangles(boxes: NDArray[np.float64], origin: NDArray[np.float64], growth: float) -> NDArray[np.float64]:
    """`(K, 4, 2)` corners (x, z) relative to `origin`, counter-clockwise in the (x, z) plane."""
    half_length, half_width = boxes[:, 3] / 2.0 + growth, boxes[:, 4] / 2.0 + growth
    along = half_length[:, None] * np.array([1.0, -1.0, -1.0, 1.0])
    across = half_width[:, None] * np.array([1.0, 1.0, -1.0, -1.0])
    c, s = np.cos(boxes[:, 6])[:, None], np.sin(boxes[:, 6])[:, None]
    x = c * along + s * across + (boxes[:, 0] - origin[:, 0])[:, None]
    z = -s * along + c * across + (boxes[:, 2] - origin[:, 1])[:, None]
    return np.stack([x, z], axis=-1)


def _area_along(edges_of: NDArray[np.float64], inside: NDArray[np.float64]) -> NDArray[np.float64]:
    """`(K,)` half the cross products along those parts of the first polygons' edges that lie inside the second (Cyrus-Beck)."""
    start = edges_of[:, :, None, :]
    step = (np.roll(edges_of, -1, axis=1) - edges_of)[:, :, None, :]
    side = np.roll(inside, -1, axis=1) - inside
    normal = np.stack([-side[..., 1], side[..., 0]], axis=-1)[:, None, :, :]
    distance = ((start - inside[:, None, :, :]) * normal).sum(axis=-1)
    slope = (step * normal).sum(axis=-1)
    parallel = np.abs(slope) < 1e-15
    crossing = -distance / np.where(parallel, 1.0, slope)
    enter = np.where(~parallel & (slope > 0.0), crossing, 0.0).max(axis=-1)
    leave = np.where(~parallel & (slope < 0.0), crossing, 1.0).min(axis=-1)
    outside = (parallel & (distance < 0.0)).any(axis=-1)
    enter, leave = np.clip(enter, 0.0, 1.0), np.clip(leave, 0.0, 1.0)
    first = edges_of + enter[..., None] * step[:, :, 0, :]
    last = edges_of + leave[..., None] * step[:, :, 0, :]
    cross = first[..., 0] * last[..., 1] - first[..., 1] * last[..., 0]
    return np.asarray(np.where((leave > enter) & ~outside, cross, 0.0).sum(axis=-1) / 2.0)
