"""KITTI's two words on how much of an object is seen: `truncated` and `occluded`, estimated from the fitted box."""

import cv2
import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.geometry.box_3d import Box3D
from lamm_pipeline.geometry.boxes_3d import BoxXyxy, corners, image_outline
from lamm_pipeline.geometry.camera import RectifiedCamera
from lamm_pipeline.reconstruction.object_points import known

VISIBLE, PARTLY, LARGELY, UNKNOWN = 0, 1, 2, 3

_BORDER_PX = 2.0
_PARTLY_SHARE = 0.1
_LARGELY_SHARE = 0.5
_MIN_KNOWN_SHARE = 0.2
# depth this much before the nearest corner belongs to something else; the second part grows with the error of stereo
_CLEARANCE_M = 0.3
_CLEARANCE_SHARE = 0.03
_DRAWING_LIMIT_PX = 20_000.0
_MIN_BESIDE_PX = 4
_BESIDE_SHARE = 0.1
_BESIDE_NEARER_SHARE = 0.1
# the ground in front of an object is nearer as well, but only in the lowest rows
_BESIDE_HIDDEN_SHARE = 0.5


def truncated_share(box: Box3D, box_xyxy: BoxXyxy, camera: RectifiedCamera) -> float:
    """Share of the projected box that lies outside the image, 0..1.

    Args:
        box: in camera coordinates.
        box_xyxy: the 2D box; where it does not touch the image border, the object is whole, whatever the 3D box says.
        camera: rectified left camera.
    """
    x1, y1, x2, y2 = box_xyxy
    far_x, far_y = camera.width - 1 - _BORDER_PX, camera.height - 1 - _BORDER_PX
    if x1 > _BORDER_PX and y1 > _BORDER_PX and x2 < far_x and y2 < far_y:
        return 0.0
    outline = image_outline(box, camera.projection_left)
    if len(outline) == 0:
        return 1.0
    # what is beside the camera projects to infinity; how far beyond the border no longer matters then
    span = np.array([camera.width, camera.height], dtype=np.float64)
    outline = np.clip(outline, -span, 2.0 * span)
    whole = _area(outline)
    if whole <= 0.0:
        return 0.0
    frame = np.array([[0, 0], [camera.width - 1, 0], [camera.width - 1, camera.height - 1], [0, camera.height - 1]], dtype=np.float32)
    inside, _ = cv2.intersectConvexConvex(outline.astype(np.float32), frame)
    return float(np.clip(1.0 - inside / whole, 0.0, 1.0))


def occlusion_level(box: Box3D, depth: NDArray[np.floating], camera: RectifiedCamera) -> int:
    """KITTI's occlusion level from what the depth map shows in front of the box.

    Args:
        box: in camera coordinates.
        depth: `(H, W)` metres.
        camera: rectified left camera of the depth map.

    Returns:
        0 visible (less than a tenth of the projected box is covered), 1 partly, 2 largely (more than half), 3 unknown: too little depth is
        known there.
    """
    measured = _depths(box, depth, camera)
    if measured is None:
        return UNKNOWN
    covered = float((measured < _reach(box)[0]).mean())
    if covered < _PARTLY_SHARE:
        return VISIBLE
    return PARTLY if covered < _LARGELY_SHARE else LARGELY


def occupied_share(box: Box3D, depth: NDArray[np.floating], camera: RectifiedCamera) -> float:
    """How much of what is not hidden of a box's place is filled by something, and not seen through.

    Args:
        box: in camera coordinates.
        depth: `(H, W)` metres.
        camera: rectified left camera of the depth map.

    Returns:
        Share of the depths in the projected box that lie in the box and not behind it, those of what is before it left out; 0 where all is
        hidden or too little is known.
    """
    measured = _depths(box, depth, camera)
    if measured is None:
        return 0.0
    nearest, farthest = _reach(box)
    reached = measured[measured >= nearest]
    return float((reached <= farthest).mean()) if len(reached) else 0.0


def hidden_edges(box_xyxy: BoxXyxy, distance_m: float, depth: NDArray[np.floating]) -> tuple[bool, bool]:
    """Whether something nearer adjoins the left and the right edge of a 2D box, so that the object may go on behind it.

    Args:
        box_xyxy: pixels.
        distance_m: of the object's visible surface.
        depth: `(H, W)` metres.
    """
    x1, y1, x2, y2 = (round(value) for value in box_xyxy)
    reach = max(_MIN_BESIDE_PX, round(_BESIDE_SHARE * (x2 - x1)))
    rows = slice(max(y1, 0), max(y2, 1))
    hidden = []
    for columns in (slice(max(x1 - reach, 0), max(x1, 0)), slice(max(x2, 0), max(x2 + reach, 0))):
        beside = depth[rows, columns]
        measured = beside[known(beside)]
        nearer = measured < distance_m * (1.0 - _BESIDE_NEARER_SHARE) - _CLEARANCE_M
        hidden.append(measured.size >= _MIN_BESIDE_PX**2 and float(nearer.mean()) > _BESIDE_HIDDEN_SHARE)
    return hidden[0], hidden[1]


def _depths(box: Box3D, depth: NDArray[np.floating], camera: RectifiedCamera) -> NDArray[np.floating] | None:
    """What is measured within the outline of a box, None when that is too little."""
    outline = np.clip(image_outline(box, camera.projection_left), -_DRAWING_LIMIT_PX, _DRAWING_LIMIT_PX)
    if len(outline) == 0:
        return None
    low = np.maximum(np.floor(outline.min(axis=0)), 0).astype(int)
    high = np.minimum(np.ceil(outline.max(axis=0)) + 1, [depth.shape[1], depth.shape[0]]).astype(int)
    if (high <= low).any():
        return None
    crop = depth[low[1] : high[1], low[0] : high[0]]
    silhouette = np.zeros(crop.shape, dtype=np.uint8)
    cv2.fillConvexPoly(silhouette, np.round(outline - low).astype(np.int32), 1)
    inside = silhouette.astype(bool)
    measured = inside & known(crop)
    if measured.sum() < max(1.0, _MIN_KNOWN_SHARE * inside.sum()):
        return None
    return crop[measured]


def _reach(box: Box3D) -> tuple[float, float]:
    """Nearest and farthest depth that may belong to what is in a box."""
    z = corners(box)[:, 2]
    nearest, farthest = float(z.min()), float(z.max())
    return nearest - _CLEARANCE_M - _CLEARANCE_SHARE * nearest, farthest + _CLEARANCE_M + _CLEARANCE_SHARE * nearest


def _area(polygon: NDArray[np.float64]) -> float:
    x, y = polygon[:, 0], polygon[:, 1]
    return abs(float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))) / 2.0
