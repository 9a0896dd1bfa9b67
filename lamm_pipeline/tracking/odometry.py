"""Stereo visual odometry: how the camera moved from one frame to the next, from the left images and a depth map.

1. Of each frame corners with known depth are chosen, spread over the image (`sight_of`, once a frame).
2. They are followed into the next image at half size (pyramidal Lucas-Kanade, kept where following them back returns to the start), and
   RANSAC finds the motion that most of them agree on.
3. The patch around each corner is drawn as the camera would see it after that motion, every pixel by its own depth, and shifted until it
   fits the later image at full size. So also what is near is found again, which moves far and changes its size: it tells the translation.
4. The motion is fitted to all patches (`motion_fit.py`), and steps 3 and 4 are done again from there.

Most of what is seen is taken to stand still; what moves by itself is an outlier. OpenCV's RANSAC starts from a fixed seed, so the same
images always give the same motion.

Sources: Nister et al., "Visual Odometry", CVPR 2004; Geiger et al., "StereoScan", IV 2011 (bucketed features); Baker and Matthews,
"Lucas-Kanade 20 Years On", IJCV 2004 (inverse compositional alignment); Forster et al., "SVO", ICRA 2014 (patches aligned after warping).
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.geometry.camera import RectifiedCamera
from lamm_pipeline.tracking.motion_fit import Motion, fit_motion

Floats = NDArray[np.float32]

MAX_DEPTH_M = 200.0
_CORNERS_PER_CELL = 4
_CELLS = (6, 16)
_QUALITY = 0.02
_PLAIN = 1e-5
_APART_PX = 5
_WINDOW_PX = 11
_LEVELS = 3
_STOP = (cv2.TERM_CRITERIA_COUNT + cv2.TERM_CRITERIA_EPS, 10, 0.05)
_RETURN_PX = 1.0
_RANSAC_PX = 2.5
_RANSAC_ITERATIONS = 200
_CONFIDENCE = 0.999
_MIN_AGREEING = 12
_ROUNDS = 2
_PATCH_PX = 11
_STEPS = 5
_SETTLED_PX = 0.1
_LARGEST_SHIFT_PX = 6.0
_UNLIKE = 0.5
_NEAREST_M = 0.3
_MIN_INLIERS = 25
_MIN_INLIER_SHARE = 0.25
_MARGIN_PX = _PATCH_PX // 2 + 1
_CENTRE = _PATCH_PX * _PATCH_PX // 2


@dataclass(frozen=True)
class Sight:
    """What is kept of a frame to find the motion from the frame before and to the one after. N corners, P pixels in a patch.

    Attributes:
        image: `(H, W)` uint8, grey.
        half: the same at half size.
        points: `(3, N, P)` float32, camera coordinates of each patch's pixels, metres.
        brightness: `(N, P)` float32, of the patches, mean 0.
        steps: `(N, 2, P)` float32; times a difference in brightness it is the shift (columns, rows) that would explain it.
    """

    image: NDArray[np.uint8]
    half: NDArray[np.uint8]
    points: Floats
    brightness: Floats
    steps: Floats


def sight_of(image: NDArray[np.uint8], depth: NDArray[np.floating] | None, camera: RectifiedCamera) -> Sight:
    """Choose what to follow in a frame.

    Args:
        image: `(H, W)` grey left image.
        depth: `(H, W)` metres; anything not finite or not positive is unknown. None: the frame can only be the later one of a pair.
        camera: rectified left camera.
    """
    half = np.asarray(cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    corners = np.zeros((0, 2), dtype=np.intp) if depth is None else _corners(half, depth)
    reach = np.arange(_PATCH_PX) - _PATCH_PX // 2
    columns = corners[:, :1] + np.tile(reach, _PATCH_PX)
    rows = corners[:, 1:] + np.repeat(reach, _PATCH_PX)
    z = np.ones(columns.shape, dtype=np.float32) if depth is None else depth[rows, columns].astype(np.float32)
    with np.errstate(invalid="ignore"):
        z = np.where((z > 0.0) & (z < np.inf), z, z[:, _CENTRE, None])
    x = (columns - camera.cx).astype(np.float32) / np.float32(camera.fx) * z
    y = (rows - camera.cy).astype(np.float32) / np.float32(camera.fy) * z
    brightness, steps = _patches(image[rows, columns])
    return Sight(image, half, np.stack([x, y, z]), brightness, steps)


def camera_motion(earlier: Sight, later: Sight, camera: RectifiedCamera) -> Motion | None:
    """Find the camera's motion between two frames.

    Args:
        earlier: of the first frame, made with its depth.
        later: of the second frame.
        camera: rectified left camera of both.

    Returns:
        The motion, or None when too few patches agree on one.
    """
    points = earlier.points[:, :, _CENTRE].T.astype(np.float64)
    start = _first_guess(earlier, later, points, camera)
    if start is None:
        return None
    motion: Motion | None = Motion(*start, len(points), 1.0)
    for _ in range(_ROUNDS):
        if motion is None:
            return None
        pixels, good = _found_again(earlier, later.image, motion, camera)
        motion = fit_motion(points[good], pixels[good], camera, motion) if good.sum() >= _MIN_INLIERS else None
    enough = motion is not None and motion.inliers >= _MIN_INLIERS and motion.inlier_share >= _MIN_INLIER_SHARE
    return motion if enough else None


def _corners(half: NDArray[np.uint8], depth: NDArray[np.floating]) -> NDArray[np.intp]:
    """`(N, 2)` columns and rows of corners with known depth, in the full image: the strongest of each cell of a grid."""
    height, width = half.shape
    sampled = depth[: 2 * height : 2, : 2 * width : 2]
    strength = np.zeros(half.shape, dtype=np.float32)
    cv2.cornerMinEigenVal(half, 3, strength)
    with np.errstate(invalid="ignore"):
        known = (sampled > 0.0) & (sampled < MAX_DEPTH_M)
    strength[~known] = 0.0
    largest = cv2.dilate(strength, np.ones((_APART_PX, _APART_PX), np.uint8))
    margin = _MARGIN_PX // 2 + 1
    inside = np.zeros(half.shape, dtype=bool)
    inside[margin:-margin, margin:-margin] = True
    rows, columns = np.nonzero((strength == largest) & (strength > _PLAIN) & inside)
    found = strength[rows, columns]
    cells = rows * _CELLS[0] // height * _CELLS[1] + columns * _CELLS[1] // width
    order = np.lexsort((-found, cells))
    rows, columns, found, cells = rows[order], columns[order], found[order], cells[order]
    best = np.searchsorted(cells, cells)
    # the quality is relative to the best of the cell, so that grass and asphalt are not left out beside strong edges
    chosen = (np.arange(len(cells)) - best < _CORNERS_PER_CELL) & (found > _QUALITY * found[best])
    return np.column_stack([columns[chosen], rows[chosen]]) * 2


def _patches(pixels: NDArray[np.uint8]) -> tuple[Floats, Floats]:
    """`brightness` and `steps` of a `Sight`."""
    brightness = pixels.astype(np.float32)
    square = brightness.reshape(-1, _PATCH_PX, _PATCH_PX)
    gradients = np.zeros((2, *square.shape), dtype=np.float32)
    gradients[0, :, :, 1:-1] = (square[:, :, 2:] - square[:, :, :-2]) / 2.0
    gradients[1, :, 1:-1] = (square[:, 2:] - square[:, :-2]) / 2.0
    gx, gy = gradients.reshape(2, *brightness.shape)
    gx -= gx.mean(axis=1, keepdims=True)
    gy -= gy.mean(axis=1, keepdims=True)
    xx, yy, xy = ((a * b).sum(axis=1)[:, None] for a, b in ((gx, gx), (gy, gy), (gx, gy)))
    steps = np.stack([yy * gx - xy * gy, xx * gy - xy * gx], axis=1) / np.maximum(xx * yy - xy * xy, 1e-3)[:, None]
    return brightness - brightness.mean(axis=1, keepdims=True), steps


def _first_guess(
    earlier: Sight, later: Sight, points: NDArray[np.float64], camera: RectifiedCamera
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Rotation and translation of the motion, as in `Motion`."""
    if len(points) < _MIN_AGREEING:
        return None
    corners = points[:, :2] / points[:, 2:] * (camera.fx, camera.fy) + (camera.cx, camera.cy)
    # pixel centres: column 2 n of the full image lies a quarter of a pixel left of column n of the half one
    start = ((corners - 0.5) / 2.0).astype(np.float32)
    end, there = _followed(earlier.half, later.half, start)
    back, again = _followed(later.half, earlier.half, end)
    good = there & again & (np.linalg.norm(back - start, axis=1) < _RETURN_PX)
    pixels = end[good].astype(np.float64) * 2.0 + 0.5
    if len(pixels) < _MIN_AGREEING:
        return None
    found, turn, shift, inliers = cv2.solvePnPRansac(
        points[good],
        pixels,
        camera.matrix,
        None,
        iterationsCount=_RANSAC_ITERATIONS,
        reprojectionError=_RANSAC_PX,
        confidence=_CONFIDENCE,
        flags=cv2.SOLVEPNP_AP3P,
    )
    if not found or inliers is None or len(inliers) < max(_MIN_AGREEING, _MIN_INLIER_SHARE * len(pixels)):
        return None
    rotation = np.asarray(cv2.Rodrigues(turn)[0], dtype=np.float64).T
    return rotation, -rotation @ np.asarray(shift, dtype=np.float64).ravel()


def _followed(image: NDArray[np.uint8], other: NDArray[np.uint8], start: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Where in the other image the pixels are, and which of them were found."""
    size = (_WINDOW_PX, _WINDOW_PX)
    end, found, _ = cv2.calcOpticalFlowPyrLK(image, other, start, np.empty(0, np.float32), winSize=size, maxLevel=_LEVELS, criteria=_STOP)
    return np.asarray(end, dtype=np.float32), found.ravel() > 0


def _found_again(
    earlier: Sight, later: NDArray[np.uint8], motion: Motion, camera: RectifiedCamera
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """`(N, 2)` pixels of the later image that show the corners, and which of them can be trusted."""
    turn = motion.rotation.T
    x, y, z = earlier.points
    forward = zip(turn.astype(np.float32), (-turn @ motion.translation).astype(np.float32), strict=True)
    right, down, ahead = (row[0] * x + row[1] * y + row[2] * z + step for row, step in forward)
    ahead = np.maximum(ahead, np.float32(_NEAREST_M))
    columns = right / ahead * np.float32(camera.fx) + np.float32(camera.cx)
    rows = down / ahead * np.float32(camera.fy) + np.float32(camera.cy)
    shift = np.zeros((len(columns), 2), dtype=np.float32)
    step, unlike = shift, earlier.brightness
    for _ in range(_STEPS):
        seen = np.asarray(cv2.remap(later, columns + shift[:, :1], rows + shift[:, 1:], cv2.INTER_LINEAR), dtype=np.float32)
        unlike = seen - seen.mean(axis=1, keepdims=True) - earlier.brightness
        step = (earlier.steps @ unlike[:, :, None])[:, :, 0]
        shift = shift - step
    pixels = np.column_stack([columns[:, _CENTRE], rows[:, _CENTRE]]) + shift
    height, width = later.shape
    good = (np.abs(step) < _SETTLED_PX).all(axis=1) & (np.abs(shift) < _LARGEST_SHIFT_PX).all(axis=1)
    good &= np.square(unlike).sum(axis=1) < _UNLIKE * np.square(earlier.brightness).sum(axis=1)
    good &= (pixels > _MARGIN_PX).all(axis=1) & (pixels < (width - 1 - _MARGIN_PX, height - 1 - _MARGIN_PX)).all(axis=1)
    return pixels.astype(np.float64), good
