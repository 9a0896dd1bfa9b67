"""Axis-aligned boxes in an image: IoU, suppression, conversions.

`xyxy` is `x1, y1, x2, y2` and `xywh` is `x, y, width, height` with the top left corner first, both in pixels. Coordinates are continuous:
an area is `(x2 - x1) * (y2 - y1)`, with no "+ 1".
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Boxes = NDArray[np.float64]


def xyxy_to_xywh(boxes_xyxy: ArrayLike) -> Boxes:
    """Convert corners to corner and size.

    Args:
        boxes_xyxy: `(..., 4)`.

    Returns:
        `(..., 4)` boxes as x, y, width, height.
    """
    boxes = np.asarray(boxes_xyxy, dtype=np.float64)
    return np.concatenate([boxes[..., :2], boxes[..., 2:] - boxes[..., :2]], axis=-1)


def xywh_to_xyxy(boxes_xywh: ArrayLike) -> Boxes:
    """Convert corner and size to corners.

    Args:
        boxes_xywh: `(..., 4)`.

    Returns:
        `(..., 4)` boxes as x1, y1, x2, y2.
    """
    boxes = np.asarray(boxes_xywh, dtype=np.float64)
    return np.concatenate([boxes[..., :2], boxes[..., :2] + boxes[..., 2:]], axis=-1)


def clip_xyxy(boxes_xyxy: ArrayLike, width: int, height: int) -> Boxes:
    """Cut boxes at the border of an image; what lies outside becomes a box without area.

    Args:
        boxes_xyxy: `(..., 4)`.
        width: image width, pixels.
        height: image height, pixels.

    Returns:
        `(..., 4)` boxes within `[0, width] x [0, height]`.
    """
    boxes = np.asarray(boxes_xyxy, dtype=np.float64)
    return np.clip(boxes, 0.0, np.array([width, height, width, height], dtype=np.float64))


def box_of_mask(mask: NDArray[np.bool_]) -> tuple[float, float, float, float] | None:
    """The smallest box around a mask's pixels.

    Args:
        mask: `(H, W)`.

    Returns:
        x1, y1, x2, y2, or None when the mask has no pixels.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def area_xyxy(boxes_xyxy: ArrayLike) -> NDArray[np.float64]:
    """Areas of boxes in square pixels; boxes with corners in the wrong order have area 0.

    Args:
        boxes_xyxy: `(..., 4)`.

    Returns:
        `(...)` areas.
    """
    boxes = np.asarray(boxes_xyxy, dtype=np.float64)
    size = np.maximum(boxes[..., 2:] - boxes[..., :2], 0.0)
    product: NDArray[np.float64] = size[..., 0] * size[..., 1]
    return product


def intersection_matrix(a_xyxy: ArrayLike, b_xyxy: ArrayLike) -> NDArray[np.float64]:
    """Areas that each box of `a` shares with each box of `b`.

    Args:
        a_xyxy: `(N, 4)`.
        b_xyxy: `(M, 4)`.

    Returns:
        `(N, M)` square pixels.
    """
    a, b = _rows(a_xyxy).T[:, :, None], _rows(b_xyxy).T[:, None, :]  # a plane for each coordinate: twice as fast as pairs of coordinates
    width, height = (np.minimum(a[end], b[end]) - np.maximum(a[end - 2], b[end - 2]) for end in (2, 3))
    product: NDArray[np.float64] = np.maximum(width, 0.0) * np.maximum(height, 0.0)
    return product


def iou_matrix(a_xyxy: ArrayLike, b_xyxy: ArrayLike) -> NDArray[np.float64]:
    """Intersection over union of each box of `a` with each box of `b`.

    Args:
        a_xyxy: `(N, 4)`.
        b_xyxy: `(M, 4)`.

    Returns:
        `(N, M)` in 0..1; 0 where the union has no area.
    """
    shared = intersection_matrix(a_xyxy, b_xyxy)
    union = area_xyxy(_rows(a_xyxy))[:, None] + area_xyxy(_rows(b_xyxy))[None, :] - shared
    return _ratio(shared, union)


def ios_matrix(a_xyxy: ArrayLike, b_xyxy: ArrayLike) -> NDArray[np.float64]:
    """Intersection over the smaller of the two boxes: 1 when one contains the other.

    Args:
        a_xyxy: `(N, 4)`.
        b_xyxy: `(M, 4)`.

    Returns:
        `(N, M)` in 0..1; 0 where the smaller box has no area.
    """
    shared = intersection_matrix(a_xyxy, b_xyxy)
    return _ratio(shared, np.minimum(area_xyxy(_rows(a_xyxy))[:, None], area_xyxy(_rows(b_xyxy))[None, :]))


def nms(boxes_xyxy: ArrayLike, scores: ArrayLike, iou_threshold: float, groups: ArrayLike | None = None) -> NDArray[np.intp]:
    """Greedy non-maximum suppression.

    A box is suppressed by a better one when their IoU is strictly greater than the threshold and both are of the same group. Equal scores
    keep the order of the input.

    Args:
        boxes_xyxy: `(N, 4)`.
        scores: `(N,)`.
        iou_threshold: in 0..1.
        groups: `(N,)` integers; boxes of different groups do not suppress each other. None means one group.

    Returns:
        Indices of the boxes that stay, best score first.
    """
    boxes = _rows(boxes_xyxy)
    order = np.argsort(-np.asarray(scores, dtype=np.float64), kind="stable")
    overlapping = iou_matrix(boxes, boxes) > iou_threshold
    if groups is not None:
        group = np.asarray(groups)
        overlapping &= group[:, None] == group[None, :]
    suppressed = np.zeros(len(boxes), dtype=bool)
    kept: list[int] = []
    for index in order:
        if suppressed[index]:
            continue
        kept.append(int(index))
        suppressed |= overlapping[index]
    return np.array(kept, dtype=np.intp)


def _rows(boxes: ArrayLike) -> Boxes:
    return np.asarray(boxes, dtype=np.float64).reshape(-1, 4)


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0.0)
