"""Which rectangle of the scene each ray meets first, and how far away: exact, by one homography a rectangle.

A point of a rectangle is `corner + u * right + v * down`; with the eye as origin it lies on the ray `t * (x, y, 1)`. So the inverse of the
matrix `[right down corner]` maps `(x, y, 1)` to `(u, v, 1) / t`: position on the rectangle and inverse depth, both affine in the ray.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.sample.motion import CameraPose
from lamm_pipeline.sample.rig import EyeRays
from lamm_pipeline.sample.scene import Surface

Array = NDArray[np.float32]
Window = tuple[slice, slice]

NOTHING = -1

_COARSE_PX = 8
_NEAR_M = 0.05


@dataclass(frozen=True)
class View:
    """The rectangles that face one eye.

    Attributes:
        surfaces: the rectangles, `S` of them.
        homographies: `(S, 3, 3)` from `(x, y, 1)` to `(u, v, 1) / t`, metres.
        corners: `(S, 4, 3)` corners relative to the eye, rectified axes.
        eye: `(3,)` world position of the eye.
        pose: pose of the rectified left camera.
    """

    surfaces: tuple[Surface, ...]
    homographies: Array
    corners: NDArray[np.float64]
    eye: NDArray[np.float64]
    pose: CameraPose


@dataclass(frozen=True)
class Hits:
    """What rays meet.

    Attributes:
        surface: index into the view's surfaces, `NOTHING` where a ray meets none.
        inverse_depth: 1 / metres along the rectified optical axis, 0 where a ray meets nothing.
    """

    surface: NDArray[np.int16]
    inverse_depth: Array


def view(surfaces: Sequence[Surface], pose: CameraPose, offset_m: float) -> View:
    """Bring the rectangles that face an eye into its axes.

    Args:
        surfaces: all rectangles.
        pose: of the rectified left camera.
        offset_m: how far to its right the eye is.
    """
    eye = pose.position + pose.rotation @ np.array([offset_m, 0.0, 0.0])
    facing = tuple(s for s in surfaces if float(np.cross(s.right, s.down) @ (s.corner - eye)) > 1e-9)
    matrices = np.stack([pose.rotation.T @ np.column_stack([s.right, s.down, s.corner - eye]) for s in facing])
    sides = np.array([[s.width, s.height] for s in facing])
    share = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    uv1 = np.concatenate([share[None] * sides[:, None], np.ones((len(facing), 4, 1))], axis=2)
    corners = uv1 @ matrices.transpose(0, 2, 1)
    return View(facing, np.linalg.inv(matrices).astype(np.float32), corners, eye, pose)


def windows(seen: View, rays: EyeRays) -> list[Window | None]:
    """For each rectangle a part of the image that contains it (None: it is outside), so that small ones cost little."""
    x, y = rays.x[::_COARSE_PX, ::_COARSE_PX], rays.y[::_COARSE_PX, ::_COARSE_PX]
    margin = 2.0 * _COARSE_PX * float(max(np.abs(rays.x_du).max(), np.abs(rays.y_dv).max()))
    return [_window(corners, x, y, margin) for corners in seen.corners]


def cast(x: Array, y: Array, seen: View, parts: Sequence[Window | None] | None = None) -> Hits:
    """Nearest rectangle of every ray.

    Args:
        x: first components of rays `(x, y, 1)` in rectified axes, any two-dimensional shape.
        y: second components.
        seen: the rectangles.
        parts: where in the image each rectangle can be; None searches everywhere.
    """
    surface = np.full(x.shape, NOTHING, dtype=np.int16)
    nearest: Array = np.zeros(x.shape, dtype=np.float32)
    for n in range(len(seen.surfaces)):
        part = (slice(None), slice(None)) if parts is None else parts[n]
        if part is None:
            continue
        inverse, inside = meets(x[part], y[part], seen, n)
        closer = inside & (inverse > nearest[part])
        np.copyto(nearest[part], inverse, where=closer)
        np.copyto(surface[part], np.int16(n), where=closer)
    return Hits(surface, nearest)


def meets(x: Array, y: Array, seen: View, n: int) -> tuple[Array, NDArray[np.bool_]]:
    """Inverse depth of the plane of rectangle `n` along rays, and whether the rays meet the rectangle itself."""
    h, surface = seen.homographies[n], seen.surfaces[n]
    inverse = h[2, 0] * x + h[2, 1] * y + h[2, 2]
    u = h[0, 0] * x + h[0, 1] * y + h[0, 2]
    v = h[1, 0] * x + h[1, 1] * y + h[1, 2]
    inside = (inverse > 0) & (u >= 0) & (v >= 0) & (u <= np.float32(surface.width) * inverse) & (v <= np.float32(surface.height) * inverse)
    return inverse, inside


def _window(corners: NDArray[np.float64], x: Array, y: Array, margin: float) -> Window | None:
    outline = _in_front(corners)
    if len(outline) == 0:
        return None
    directions = outline[:, :2] / outline[:, 2:]
    low, high = directions.min(axis=0) - margin, directions.max(axis=0) + margin
    inside = (x >= low[0]) & (x <= high[0]) & (y >= low[1]) & (y <= high[1])
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if len(rows) == 0:
        return None
    first_row, last_row, first_column, last_column = (int(i) for i in (rows[0], rows[-1], columns[0], columns[-1]))
    return (
        slice(max(0, first_row - 1) * _COARSE_PX, (last_row + 2) * _COARSE_PX),
        slice(max(0, first_column - 1) * _COARSE_PX, (last_column + 2) * _COARSE_PX),
    )


def _in_front(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """`(K, 3)` corners of the part of a polygon that lies in front of the eye."""
    kept = []
    for before, corner in zip(np.roll(corners, 1, axis=0), corners, strict=True):
        if (before[2] < _NEAR_M) != (corner[2] < _NEAR_M):
            kept.append(before + (corner - before) * (_NEAR_M - before[2]) / (corner[2] - before[2]))
        if corner[2] >= _NEAR_M:
            kept.append(corner)
    return np.array(kept).reshape(-1, 3)
