"""Point clouds from depth, in the axes of a KITTI Velodyne: x forward, y left, z up."""

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.geometry.camera import RectifiedCamera

Cloud = NDArray[np.float32]

# x_velodyne = z_camera, y_velodyne = -x_camera, z_velodyne = -y_camera.
CAMERA_TO_VELODYNE: NDArray[np.float64] = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])


def camera_to_velodyne(points: NDArray[np.floating]) -> NDArray[np.floating]:
    """Points `(N, 3)` of the rectified left camera (x right, y down, z forward) in velodyne axes, same origin, same unit."""
    return np.stack([points[:, 2], -points[:, 0], -points[:, 1]], axis=1)


def velodyne_to_camera(points: NDArray[np.floating]) -> NDArray[np.floating]:
    """Inverse of `camera_to_velodyne`."""
    return np.stack([-points[:, 1], -points[:, 2], points[:, 0]], axis=1)


def point_cloud(
    depth: NDArray[np.float32],
    left_bgr: NDArray[np.uint8],
    camera: RectifiedCamera,
    *,
    azimuth_step_deg: float = 0.2,
    elevation_step_deg: float = 0.4,
) -> Cloud:
    """Cloud of a depth map, thinned to the density of a LiDAR.

    The view is divided into a grid of equal angles, and each cell keeps the pixel of median depth (the lower one of two): a LiDAR's beam
    also returns one surface, and the nearest pixel would favour the matcher's outliers.

    Args:
        depth: `(H, W)` float32, metres, not finite = unknown.
        left_bgr: `(H, W, 3)` uint8, the image depth belongs to.
        camera: its camera.
        azimuth_step_deg: width of a cell.
        elevation_step_deg: height of a cell.

    Returns:
        `(N, 4)` float32: x, y, z in velodyne axes, metres, and intensity = red / 255. Only finite values; ordered by grid cell.
    """
    known = np.where(np.isfinite(depth), depth, np.float32(np.inf)).ravel()
    grid = _angular_grid(camera, azimuth_step_deg, elevation_step_deg)
    median = np.empty(grid.cells, np.float32)
    pixel = np.empty(grid.cells, np.int64)
    for block in grid.blocks:
        values = known.take(block.pixels)
        middle = np.maximum(np.isfinite(values).sum(axis=1) - 1, 0) // 2
        chosen = np.take_along_axis(np.sort(values, axis=1), middle[:, None], axis=1)
        median[block.cells] = chosen[:, 0]
        pixel[block.cells] = np.take_along_axis(block.pixels, np.argmax(values == chosen, axis=1)[:, None], axis=1)[:, 0]
    seen = np.isfinite(median)
    median, pixel = median[seen], pixel[seen]
    v, u = np.divmod(pixel, camera.width)
    z = median.astype(np.float64)
    in_camera = np.stack([(u - camera.cx) * z / camera.fx, (v - camera.cy) * z / camera.fy, z], axis=1)
    red = left_bgr.reshape(-1, 3)[pixel, 2] / 255.0
    return np.ascontiguousarray(np.column_stack([camera_to_velodyne(in_camera), red]), dtype=np.float32)


@dataclass(frozen=True)
class _Block:
    """Cells with equally many pixels: `(n,)` numbers of the cells and `(n, pixels of a cell)` flat indices of their pixels."""

    cells: NDArray[np.int64]
    pixels: NDArray[np.int64]


@dataclass(frozen=True)
class _Grid:
    """All cells that have a pixel, numbered by row and column of the grid."""

    cells: int
    blocks: tuple[_Block, ...]


@functools.lru_cache(maxsize=4)
def _angular_grid(camera: RectifiedCamera, azimuth_step_deg: float, elevation_step_deg: float) -> _Grid:
    """The grid depends on the camera alone, so it is made once a recording."""
    x = (np.arange(camera.width) - camera.cx) / camera.fx
    y = (np.arange(camera.height) - camera.cy) / camera.fy
    azimuth = np.broadcast_to(np.arctan(x), (camera.height, camera.width))
    elevation = np.arctan2(-y[:, None], np.hypot(1.0, x)[None, :])
    column = np.floor(-azimuth / math.radians(azimuth_step_deg)).astype(np.int64)
    row = np.floor(-elevation / math.radians(elevation_step_deg)).astype(np.int64)
    cell = ((row - row.min()) * (column.max() - column.min() + 1) + (column - column.min())).ravel()
    order = np.argsort(cell, kind="stable")
    _, start, count = np.unique(cell[order], return_index=True, return_counts=True)
    blocks = []
    for size in np.unique(count):
        cells = np.flatnonzero(count == size)
        blocks.append(_Block(cells, order[start[cells][:, None] + np.arange(size)]))
    return _Grid(len(count), tuple(blocks))
