"""Stereo visual odometry: how the camera moved from one frame to the next, from the left images and a depth map.

Corners of the earlier image are followed into the later one (pyramidal Lucas-Kanade, kept only where following them back returns to the
start), placed in space by the earlier depth map, and the motion that projects them onto where they went is found by RANSAC and refined on
its inliers. What is near moves far and changes its size, and is lost at first; so the later image is then warped by the motion found and
the earlier depth to look like the earlier one, and all corners are followed again. Most of what is seen is taken to stand still; what
moves by itself is an outlier. OpenCV's RANSAC starts from a fixed seed, so the same images always give the same motion.

Sources: Nister et al., "Visual Odometry", CVPR 2004; Geiger et al., "StereoScan", IV 2011 (bucketed features).
"""

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.geometry.camera import RectifiedCamera

Array = NDArray[np.float64]

MAX_DEPTH_M = 200.0
_FEATURES_PER_CELL = 6
_CELLS = (5, 12)
_QUALITY = 0.05
_MIN_DISTANCE_PX = 7
_WINDOW_PX = 15
_LEVELS = 4
_RETURN_PX = 0.7
_ROUNDS = 1
_NEAR_M = 0.5
_FAR_M = 1e4
_REPROJECTION_PX = 1.5
_ITERATIONS = 500
_CONFIDENCE = 0.999
_MIN_INLIERS = 25
_MIN_INLIER_SHARE = 0.25


@dataclass(frozen=True)
class Motion:
    """Motion of the camera between two frames.

    Attributes:
        rotation: `(3, 3)`.
        translation: `(3,)` metres; a point of the later camera frame is `rotation @ p + translation` in the earlier one.
        inliers: number of features that agree.
        inlier_share: share of the followed features that agree.
    """

    rotation: Array
    translation: Array
    inliers: int
    inlier_share: float

    @property
    def matrix(self) -> Array:
        """`(4, 4)` homogeneous form."""
        result = np.eye(4)
        result[:3, :3], result[:3, 3] = self.rotation, self.translation
        return result


def camera_motion(
    earlier: NDArray[np.uint8], earlier_depth: NDArray[np.floating], later: NDArray[np.uint8], camera: RectifiedCamera
) -> Motion | None:
    """Find the camera's motion between two frames.

    Args:
        earlier: `(H, W)` grey left image.
        earlier_depth: `(H, W)` metres; anything not finite or not positive is unknown.
        later: `(H, W)` grey left image.
        camera: rectified left camera of both.

    Returns:
        The motion, or None when too few features agree on one.
    """
    corners = _corners(earlier, earlier_depth)
    columns, rows = np.round(corners).astype(int).T
    z = earlier_depth[rows, columns].astype(np.float64)
    points = np.column_stack([(corners[:, 0] - camera.cx) / camera.fx * z, (corners[:, 1] - camera.cy) / camera.fy * z, z])
    end, good = _followed(earlier, later, corners)
    motion = _solve(points[good], end[good].astype(np.float64), camera)
    for _ in range(_ROUNDS):
        if motion is None:
            return None
        where = _where_seen(earlier_depth, motion, camera)
        warped = cv2.remap(later, where[..., 0], where[..., 1], cv2.INTER_LINEAR)
        end, good = _followed(earlier, np.asarray(warped, dtype=np.uint8), corners)
        good &= (end >= 0.0).all(axis=1) & (end <= [camera.width - 1, camera.height - 1]).all(axis=1)
        pixels = cv2.remap(where, end[good, None, 0], end[good, None, 1], cv2.INTER_LINEAR)
        motion = _solve(points[good], np.asarray(pixels, dtype=np.float64).reshape(-1, 2), camera)
    return motion


def _solve(points: Array, pixels: Array, camera: RectifiedCamera) -> Motion | None:
    """The motion that projects the points onto the pixels, None when too few agree."""
    if len(points) < _MIN_INLIERS:
        return None
    found, rotation, translation, inliers = cv2.solvePnPRansac(
        points,
        pixels,
        camera.matrix,
        None,
        iterationsCount=_ITERATIONS,
        reprojectionError=_REPROJECTION_PX,
        confidence=_CONFIDENCE,
        flags=cv2.SOLVEPNP_AP3P,
    )
    if not found or inliers is None or len(inliers) < max(_MIN_INLIERS, _MIN_INLIER_SHARE * len(points)):
        return None
    agreeing = inliers.ravel()
    rotation, translation = cv2.solvePnPRefineLM(points[agreeing], pixels[agreeing], camera.matrix, None, rotation, translation)
    forward = np.asarray(cv2.Rodrigues(rotation)[0], dtype=np.float64)
    shift = np.asarray(translation, dtype=np.float64).ravel()
    return Motion(forward.T, -forward.T @ shift, len(agreeing), len(agreeing) / len(points))


def _where_seen(depth: NDArray[np.floating], motion: Motion, camera: RectifiedCamera) -> NDArray[np.float32]:
    """`(H, W, 2)`: the pixel in which the later frame sees what each pixel of the earlier one shows; unknown depth counts as far away."""
    z = np.where(np.isfinite(depth) & (depth > 0.0), depth, _FAR_M).astype(np.float32)
    turn = motion.rotation.T
    rays_x = (np.arange(camera.width, dtype=np.float32) - camera.cx) / camera.fx
    rays_y = (np.arange(camera.height, dtype=np.float32)[:, None] - camera.cy) / camera.fy
    shift = -turn @ motion.translation
    x, y, ahead = (z * (row[0] * rays_x + row[1] * rays_y + row[2]) + step for row, step in zip(turn, shift, strict=True))
    ahead = np.maximum(ahead, _NEAR_M)
    return np.stack([x / ahead * camera.fx + camera.cx, y / ahead * camera.fy + camera.cy], axis=-1).astype(np.float32)


def _corners(image: NDArray[np.uint8], depth: NDArray[np.floating]) -> NDArray[np.float32]:
    """Corners with known depth, spread over the image: the strongest of each cell of a grid."""
    with np.errstate(invalid="ignore"):
        usable = (np.isfinite(depth) & (depth > 0.0) & (depth < MAX_DEPTH_M)).astype(np.uint8)
    usable = cv2.erode(usable, np.ones((3, 3), np.uint8)).astype(np.uint8)
    rows, columns = (np.linspace(0, side, count + 1).astype(int) for side, count in zip(image.shape, _CELLS, strict=True))
    corners = [np.zeros((0, 2), dtype=np.float32)]
    for top, bottom in pairwise(rows):
        for left, right in pairwise(columns):
            # the quality is relative to the best of the cell, so that grass and asphalt are not left out beside strong edges
            cell, mask = image[top:bottom, left:right], usable[top:bottom, left:right]
            found = cv2.goodFeaturesToTrack(cell, _FEATURES_PER_CELL, _QUALITY, _MIN_DISTANCE_PX, mask=mask)
            if found is not None:
                corners.append(np.asarray(found, dtype=np.float32).reshape(-1, 2) + np.array([left, top], dtype=np.float32))
    return np.vstack(corners)


def _followed(
    earlier: NDArray[np.uint8], later: NDArray[np.uint8], start: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Where the corners went, and which of them were followed reliably."""
    if len(start) == 0:
        return start, np.zeros(0, dtype=bool)
    size = (_WINDOW_PX, _WINDOW_PX)
    end, there, _ = cv2.calcOpticalFlowPyrLK(earlier, later, start, np.empty(0, np.float32), winSize=size, maxLevel=_LEVELS)
    back, again, _ = cv2.calcOpticalFlowPyrLK(later, earlier, end, np.empty(0, np.float32), winSize=size, maxLevel=_LEVELS)
    apart = np.linalg.norm(np.asarray(back) - start, axis=1)
    return np.asarray(end, dtype=np.float32), np.asarray((there.ravel() > 0) & (again.ravel() > 0) & (apart < _RETURN_PX))
