"""Fit one upright box to what several views show of an object that stands still.

Each view has the object's visible points and the left and right edge of its 2D box. Seen from above, a box is right where the points of
every view lie on the sides that this view's camera sees, none lies outside, and its corners appear at the edges. The faces hidden from one
place are seen from another, so the size follows as far as it was seen; what never was stays near the class's typical size.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.reconstruction.object_points import thin

Array = NDArray[np.float64]

HEADINGS = 12
"""Headings tried at first, over half a turn: boxes look the same from both ends."""
_SHIFT_M, _TURN, _STRETCH_M = 0.4, math.radians(8.0), 0.3
_FINEST = 1.0 / 32.0
_MOST_ROUNDS = 60
# points of all views together: few tell which of many headings are worth a closer look, some more where the sides are
_ROUGH_POINTS, _FINE_POINTS = 500, 2000
# views share what hides the object and what stereo gets wrong on it, so a small difference of costs tells nothing
_CLEARLY_BETTER = 0.9
# a point this far from the visible sides, in widths of the object, is a stray and counts no more the farther it is
_STRAY_WIDTHS = 0.35
# bonnets, windows and rounded corners lie inside the box, only noise lies outside
_OUTSIDE = 2.0
# an edge of a detected box is less certain than a point, and some hold things that belong to something else
_EDGE_WEIGHT = 0.2
# a range of sizes holds nearly all objects of a class: four standard deviations; one off costs as much as points 5 cm off in one view
_SIZE_RANGE_SIGMAS = 4.0
_SIZE_COST_M = 0.05


@dataclass(frozen=True)
class SurfaceView:
    """One view, from above: coordinates are x and z of a frame all views share, bearings are `atan2(x, z)` as seen from the camera.

    Attributes:
        points: `(N, 2)` on the object, at least one.
        camera: `(2,)`.
        left, right: bearings of the edges of the 2D box.
        open_left, open_right: whether the object may go on beyond that edge, behind something nearer or outside the image.
        noise_m: standard error of a point's distance.
        weight: of the view among the others.
    """

    points: Array
    camera: Array
    left: float
    right: float
    open_left: bool
    open_right: bool
    noise_m: float
    weight: float = 1.0


@dataclass(frozen=True)
class Footprint:
    """A box seen from above: centre, KITTI's rotation_y, length and width."""

    x: float
    z: float
    yaw: float
    length: float
    width: float


def fit_footprint(
    views: Sequence[SurfaceView], start: Footprint, lengths: tuple[float, float], widths: tuple[float, float], typical: tuple[float, float]
) -> Footprint:
    """Find the box that suits all views best.

    Args:
        views: at least one.
        start: where to begin; a heading more than 45 degrees away is taken only where it is clearly better.
        lengths: smallest and largest length of the class.
        widths: the same for the width.
        typical: length and width of the class.

    Returns:
        Its heading is one of the two that the box has.
    """
    problem = _Problem(_thinned(views, _ROUGH_POINTS), lengths, widths, typical)
    boxes = problem.within(_turned(start, views))
    scale, narrowed = 1.0, False
    alike = np.abs(np.remainder(boxes[:, 2] - start.yaw + math.pi / 2.0, math.pi) - math.pi / 2.0) < math.pi / 4.0
    for _ in range(_MOST_ROUNDS):
        candidates = problem.within(_neighbours(boxes, scale).reshape(-1, 5))
        costs = problem.costs(candidates).reshape(len(boxes), -1)
        best = costs.argmin(axis=1)
        boxes = candidates.reshape(len(boxes), -1, 5)[np.arange(len(boxes)), best]
        if (best == 0).all():
            if scale <= _FINEST:
                break
            scale /= 2.0
            if not narrowed:
                # go on with the best of the headings like the one it began with, and the best of the others
                boxes, narrowed = boxes[_cheapest(costs.min(axis=1), alike)], True
                problem = _Problem(_thinned(views, _FINE_POINTS), lengths, widths, typical)
    if not narrowed:
        # the rounds ran out before the search settled, such as in a smear of depth far away
        boxes = boxes[_cheapest(costs.min(axis=1), alike)]
    near, other = problem.costs(boxes)
    x, z, yaw, length, width = (float(value) for value in boxes[int(other < _CLEARLY_BETTER * near)])
    return Footprint(x, z, yaw, length, width)


def _cheapest(costs: Array, alike: NDArray[np.bool_]) -> list[int]:
    """Positions of the best of the boxes whose heading is like the one it began with, and of the best of the others."""
    return [int(np.where(group, costs, np.inf).argmin()) for group in (alike, ~alike)]


def _thinned(views: Sequence[SurfaceView], most: int) -> list[SurfaceView]:
    """The views with at most about `most` points in all, at least one each."""
    return [replace(view, points=thin(view.points, max(1, most // len(views)))) for view in views]


def _neighbours(boxes: Array, scale: float) -> Array:
    """The boxes themselves first, then moved along their axes, turned, and with one side moved; `(K, 15, 5)` for `(K, 5)`."""
    shift_m, turn, stretch_m = (scale * step for step in (_SHIFT_M, _TURN, _STRETCH_M))
    # along, across, yaw, length, width
    moves = [(0.0, 0.0, 0.0, 0.0, 0.0)]
    for sign in (1.0, -1.0):
        moves += [(sign * shift_m, 0.0, 0.0, 0.0, 0.0), (0.0, sign * shift_m, 0.0, 0.0, 0.0), (0.0, 0.0, sign * turn, 0.0, 0.0)]
        for side in (0.5, -0.5):
            moves += [(side * stretch_m, 0.0, 0.0, sign * stretch_m, 0.0), (0.0, side * stretch_m, 0.0, 0.0, sign * stretch_m)]
    along, across, *others = np.array(moves).T
    c, s = np.cos(boxes[:, [2]]), np.sin(boxes[:, [2]])
    steps = np.stack(
        [c * along + s * across, -s * along + c * across, *(np.broadcast_to(other, (len(boxes), len(moves))) for other in others)]
    )
    return np.asarray(boxes[:, None, :] + np.moveaxis(steps, 0, 2))


def _turned(start: Footprint, views: Sequence[SurfaceView]) -> Array:
    """The box at all headings, its near side where it is; `(HEADINGS, 5)`."""
    yaws = start.yaw + np.arange(HEADINGS) * math.pi / HEADINGS
    camera = np.mean([view.camera for view in views], axis=0)
    away = np.array([start.x, start.z]) - camera
    away /= max(float(np.linalg.norm(away)), 1e-9)
    depths = _reach(away, yaws, start) - _reach(away, np.array([start.yaw]), start)
    return np.column_stack(
        [start.x + depths * away[0], start.z + depths * away[1], yaws, np.full(HEADINGS, start.length), np.full(HEADINGS, start.width)]
    )


def _reach(direction: Array, yaws: Array, box: Footprint) -> Array:
    """How far the box reaches from its centre in a direction."""
    c, s = np.cos(yaws), np.sin(yaws)
    along, across = np.abs(c * direction[0] - s * direction[1]), np.abs(s * direction[0] + c * direction[1])
    # to the border of a rectangle along a ray, not to its farthest corner
    return np.asarray(np.minimum(box.length / 2.0 / np.maximum(along, 1e-9), box.width / 2.0 / np.maximum(across, 1e-9)))


class _Problem:
    """The views in arrays, and what a box costs: metres, the mean over points of how far they are off, and the same for edges and size."""

    def __init__(
        self, views: Sequence[SurfaceView], lengths: tuple[float, float], widths: tuple[float, float], typical: tuple[float, float]
    ) -> None:
        weights = np.array([view.weight for view in views])
        self._share = weights / weights.sum()
        # sizes count as much as one view does
        self._size_share = float(weights.mean() / weights.sum())
        self._points = np.concatenate([view.points for view in views])
        self._view = np.repeat(np.arange(len(views)), [len(view.points) for view in views])
        self._point_share = np.concatenate(
            [np.full(len(view.points), share / len(view.points)) for view, share in zip(views, self._share, strict=True)]
        )
        self._cameras = np.array([view.camera for view in views])
        self._left, self._right = (np.array([getattr(view, side) for view in views]) for side in ("left", "right"))
        self._open_left, self._open_right = (np.array([getattr(view, side) for view in views]) for side in ("open_left", "open_right"))
        self._low, self._high = np.array([lengths[0], widths[0]]), np.array([lengths[1], widths[1]])
        self._typical = np.array(typical)
        self._stray = np.hypot(_STRAY_WIDTHS * typical[1], 2.0 * np.array([view.noise_m for view in views]))

    def within(self, boxes: Array) -> Array:
        """The boxes with sizes of the class."""
        return np.column_stack([boxes[:, :3], np.clip(boxes[:, 3:], self._low, self._high)])

    def costs(self, boxes: Array) -> Array:
        """`(K,)` for `(K, 5)` boxes."""
        x, z, yaw = (boxes[:, [n]] for n in range(3))
        c, s = np.cos(yaw), np.sin(yaw)
        halves = boxes[:, 3:] / 2.0
        seen_from = self._into(self._cameras, x, z, c, s)
        off: Array = np.full((1, 1), np.inf)
        outside: Array = np.zeros((1, 1))
        for axis, values in enumerate(self._into(self._points, x, z, c, s)):
            half = halves[:, [axis]]
            camera = seen_from[axis]
            face = np.where(np.abs(camera) > half, np.sign(camera) * half, np.nan)[:, self._view]
            off = np.fmin(off, np.abs(values - face))
            outside = outside + np.square(_OUTSIDE * np.maximum(np.abs(values) - half, 0.0))
        misfit = np.minimum(np.maximum(off, np.sqrt(outside)), self._stray[self._view])
        sizes = np.square((boxes[:, 3:] - self._typical) / np.maximum((self._high - self._low) / _SIZE_RANGE_SIGMAS, 1e-9)).sum(axis=1)
        edges = self._edge_errors(x, z, c, s, halves) @ self._share
        return np.asarray(misfit @ self._point_share + _EDGE_WEIGHT * edges + _SIZE_COST_M * self._size_share * sizes)

    def _edge_errors(self, x: Array, z: Array, c: Array, s: Array, halves: Array) -> Array:
        """`(K, V)` metres by which the corners miss the edges; beyond an open edge nothing is missed."""
        along = halves[:, [0]] * np.array([1.0, 1.0, -1.0, -1.0])
        across = halves[:, [1]] * np.array([1.0, -1.0, -1.0, 1.0])
        corner_x = (x + c * along + s * across)[:, None, :] - self._cameras[None, :, [0]]
        corner_z = (z - s * along + c * across)[:, None, :] - self._cameras[None, :, [1]]
        distance = np.hypot(x - self._cameras[:, 0], z - self._cameras[:, 1])
        middle = np.arctan2(x - self._cameras[:, 0], z - self._cameras[:, 1])
        turned = _wrapped(np.arctan2(corner_x, corner_z) - middle[:, :, None])
        left = _wrapped(middle + turned.min(axis=2) - self._left)
        right = _wrapped(self._right - middle - turned.max(axis=2))
        errors = [
            np.where(is_open, np.maximum(short, 0.0), np.abs(short))
            for short, is_open in ((left, self._open_left), (right, self._open_right))
        ]
        return np.asarray(sum(np.minimum(error * distance, self._stray) for error in errors))

    @staticmethod
    def _into(places: Array, x: Array, z: Array, c: Array, s: Array) -> tuple[Array, Array]:
        """`(K, N)` coordinates along the length and the width of the boxes."""
        dx, dz = places[:, 0] - x, places[:, 1] - z
        return np.asarray(c * dx - s * dz), np.asarray(s * dx + c * dz)


def _wrapped(angles: Array) -> Array:
    return np.asarray(np.remainder(angles + math.pi, math.tau) - math.pi)
