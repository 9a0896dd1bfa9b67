"""From a mask and a depth map to the points of one object."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from lamm_pipeline.geometry.camera import RectifiedCamera
from lamm_pipeline.geometry.ground_plane import GroundPlane
from lamm_pipeline.ontology.ontology import SizePrior

DISPARITY_NOISE_PX = 0.5
"""Assumed error of a stereo match; it grows to metres with the square of the distance."""

MAX_EROSION_PX = 8
"""So far from its rim erosion looks at a mask."""

_MIN_ERODED_SHARE = 0.3
_LEAF_POINTS = 24
_MIN_CLUSTERED = 20
_GAP_SHARE, _MIN_GAP_M = 0.12, 0.2
# cells with fewer points than this share of the mean are strays, which would bridge gaps
_STRAY_SHARE = 0.1
_TOP_SHARE, _LOWER_SHARE = 0.3, 0.5
_STRIPS = 8
# people are narrower at the top, so that their boxes show there what is behind them
_MIN_OCCLUDED_LENGTH_M = 2.0
_MIN_STRIP_POINTS = 5
_MIN_STRIPS = 4
# from the grille of a car to its windscreen it is about this share of the typical length
_SLOPE_SHARE = 0.4
# what shows above an occluder are the windows, which lean in over the body by at most this share of the length
_LEANING_SHARE = 0.1
# and a bonnet or a rear window shows points in between, which a wall in front does not
_MAX_BETWEEN = 0.05
_BETWEEN = (0.3, 0.7)


def erode(mask: NDArray[np.bool_], share: float) -> NDArray[np.bool_]:
    """Take the rim off a mask, where depth bleeds over from what is behind ("flying pixels").

    Args:
        mask: `(H, W)`.
        share: width of the rim as a share of the square root of the mask's area, at most 8 pixels.

    Returns:
        `(H, W)`; the mask itself where less than 30 % of it would be left.
    """
    area = int(mask.sum())
    radius = min(MAX_EROSION_PX, round(share * area**0.5))
    if radius < 1:
        return mask
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    # the image border is no rim of the object
    eroded: NDArray[np.bool_] = cv2.erode(mask.astype(np.uint8), kernel, borderType=cv2.BORDER_REPLICATE) > 0
    return eroded if eroded.sum() >= _MIN_ERODED_SHARE * area else mask


def known(depth: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Which depth values are measurements: not NaN, not the sentinels +inf (too far) and -inf (too near), and in front of the camera."""
    measured: NDArray[np.bool_] = np.isfinite(depth) & (depth > 0.0)
    return measured


def on_grid(mask: NDArray[np.bool_], limit: int) -> NDArray[np.bool_]:
    """The pixels of a mask that lie on every n-th row and column, so that about `limit` are left of a larger one.

    A box is not told better by more points, and what is done with them takes time in proportion.
    """
    step = math.ceil(math.sqrt(int(mask.sum()) / limit))
    if step <= 1:
        return mask
    kept = np.zeros_like(mask)
    kept[::step, ::step] = mask[::step, ::step]
    return kept


def back_project(
    depth: NDArray[np.floating], mask: NDArray[np.bool_], camera: RectifiedCamera, corner: tuple[int, int] = (0, 0)
) -> NDArray[np.float64]:
    """Points of the masked pixels with known depth.

    Args:
        depth: `(H, W)` metres, a depth map or a part of one.
        mask: `(H, W)`.
        camera: rectified left camera of the depth map.
        corner: column and row of the part's first pixel.

    Returns:
        `(N, 3)` camera coordinates, row by row.
    """
    v, u = np.nonzero(mask & known(depth))
    z = depth[v, u].astype(np.float64)
    u, v = u + corner[0], v + corner[1]
    return np.column_stack([(u - camera.cx) / camera.fx * z, (v - camera.cy) / camera.fy * z, z])


def thin(points: NDArray[np.float64], limit: int) -> NDArray[np.float64]:
    """Every n-th point, so that at most `limit` are left; the same points every time."""
    return points[:: max(1, -(-len(points) // limit))]


def without_ground(points: NDArray[np.float64], ground: GroundPlane | None, clearance_m: float) -> NDArray[np.float64]:
    """Drop the points that lie on the ground; without a plane nothing is dropped."""
    return points if ground is None else points[ground.height_above(points) > clearance_m]


def without_outliers(points: NDArray[np.float64], neighbors: int, sigma: float) -> NDArray[np.float64]:
    """Statistical outlier removal: drop points whose mean distance to their neighbours is unusually large.

    Args:
        points: `(N, 3)`.
        neighbors: number of nearest neighbours.
        sigma: standard deviations above the mean of all points' mean distances.
    """
    if len(points) <= neighbors:
        return points
    # faster than a balanced tree with the default leaves, with the same answers
    distances, _ = cKDTree(points, leafsize=_LEAF_POINTS, balanced_tree=False).query(points, k=neighbors + 1)
    mean = distances[:, 1:].mean(axis=1)
    kept: NDArray[np.float64] = points[mean <= mean.mean() + sigma * mean.std()]
    return kept


def depth_sigma_m(distance_m: float, camera: RectifiedCamera) -> float:
    """Standard error of a depth value: `z^2 / (f b)` times the error of the disparity."""
    return distance_m**2 / (camera.fx * camera.baseline_m) * DISPARITY_NOISE_PX


def densest_slice(points: NDArray[np.float64], prior: SizePrior | None, camera: RectifiedCamera) -> NDArray[np.float64]:
    """Keep the densest slice of depth that an object of this class can fill.

    A mask that is too generous, or just the 2D box, also holds background and whatever stands in front; the object is where most of the
    points are.

    Args:
        points: `(N, 3)`.
        prior: sizes of the class; without them all points stay.
        camera: gives the depth noise that widens the slice.
    """
    if prior is None or len(points) == 0:
        return points
    z = np.sort(points[:, 2])
    reach = float(np.hypot(prior.length[1], prior.width[1])) + 2.0 * depth_sigma_m(float(np.median(z)), camera)
    inside = np.searchsorted(z, z + reach, side="right") - np.arange(len(z))
    start = z[int(np.argmax(inside))]
    kept: NDArray[np.float64] = points[(points[:, 2] >= start) & (points[:, 2] <= start + reach)]
    return kept


def largest_cluster(points: NDArray[np.float64], prior: SizePrior | None, camera: RectifiedCamera) -> NDArray[np.float64]:
    """Keep the largest group of points that hang together seen from above.

    What shows beside an object or through its windows stands apart from it. An object has no gaps wider than about a third of its width,
    and depth noise tears none wider than twice its standard error.

    Args:
        points: `(N, 3)`.
        prior: sizes of the class; without them all points stay.
        camera: gives the depth noise.
    """
    if prior is None or len(points) < _MIN_CLUSTERED:
        return points
    gap = max(_GAP_SHARE * prior.width[1], _MIN_GAP_M, 2.0 * depth_sigma_m(float(np.median(points[:, 2])), camera))
    # on a grid of half that distance, occupied cells at most two apart belong together
    cells = np.floor((points[:, [0, 2]] - points[:, [0, 2]].min(axis=0)) / (gap / 2.0)).astype(np.intp)
    rows, columns = (cells.max(axis=0) + 1).tolist()
    counts = np.bincount(cells[:, 0] * columns + cells[:, 1], minlength=rows * columns).reshape(rows, columns)
    occupied = (counts > _STRAY_SHARE * len(points) / int(np.count_nonzero(counts))).astype(np.uint8)
    joined = cv2.dilate(occupied, np.ones((3, 3), np.uint8))
    number, parts = cv2.connectedComponents(joined, connectivity=8)
    of_point = parts[cells[:, 0], cells[:, 1]]
    kept: NDArray[np.float64] = points[of_point == int(np.argmax(np.bincount(of_point, minlength=number)[1:])) + 1]
    return kept


def without_occluder(
    points: NDArray[np.float64], prior: SizePrior | None, typical_length_m: float, camera: RectifiedCamera
) -> NDArray[np.float64]:
    """Drop what stands before the lower part of an object: a wall, a hedge, a pillar.

    Things stand on the ground, so an occluder mostly hides the lower part, and the upper part is the object. Where the upper quarter is
    much farther away than the lower half right below it, with nothing at the distances in between, only points as far away as the upper
    part are kept: the slope of a bonnet and a windscreen is smaller, or shows.

    Args:
        points: `(N, 3)` camera coordinates.
        prior: sizes of the class; without them all points stay.
        typical_length_m: of the class.
        camera: of the points.
    """
    if prior is None or typical_length_m < _MIN_OCCLUDED_LENGTH_M or len(points) == 0:
        return points
    rows, columns, z = points[:, 1] / points[:, 2], points[:, 0] / points[:, 2], points[:, 2]
    high, low = np.percentile(rows, [1.0, 99.0])
    top, lower = rows < high + _TOP_SHARE * (low - high), rows > low - _LOWER_SHARE * (low - high)
    left, right = np.percentile(columns, [1.0, 99.0])
    strip = np.clip((columns - left) / max(right - left, 1e-9) * _STRIPS, 0, _STRIPS - 1).astype(np.int8)
    order = np.argsort(strip, kind="stable")
    steps, between, distances = [], [], []
    for members in np.split(order, np.searchsorted(strip[order], np.arange(1, _STRIPS))):
        inside = z[members]
        above, below = inside[top[members]], inside[lower[members]]
        if min(len(above), len(below)) >= _MIN_STRIP_POINTS:
            near = _middle(below)
            step = _middle(above) - near
            steps.append(step)
            between.append(float(((inside > near + _BETWEEN[0] * step) & (inside < near + _BETWEEN[1] * step)).mean()))
            distances.append(near + step)
    if len(steps) < _MIN_STRIPS:
        return points
    distance = float(np.median(distances))
    slope = _SLOPE_SHARE * typical_length_m
    if np.median(steps) <= slope + depth_sigma_m(distance, camera) or np.median(between) > _MAX_BETWEEN:
        return points
    kept: NDArray[np.float64] = points[z > distance - _LEANING_SHARE * typical_length_m]
    return kept


def _middle(values: NDArray[np.float64]) -> float:
    """Their median, of an even number the higher one of the two in the middle; a tenth of `np.median`'s time for a few values."""
    return float(np.partition(values, len(values) // 2)[len(values) // 2])
