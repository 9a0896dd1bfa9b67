"""Fit an upright box to the points of one object.

A camera sees an object's near faces only, so the extents of the points say little about its size and nothing about where its far side
is. `prior` therefore takes the class's typical size where the points do not show a larger one, and anchors the box at the near faces; the
yaw is the one whose near faces lie best on the points and whose projection has the width of the 2D box. `pca` and `aabb` are the plain
methods, kept for comparison and for classes where they do better.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.geometry.box_3d import Box3D
from lamm_pipeline.geometry.boxes_3d import BoxXyxy, wrap_angle
from lamm_pipeline.geometry.camera import RectifiedCamera
from lamm_pipeline.geometry.ground_plane import GroundPlane
from lamm_pipeline.ontology.ontology import SizePrior
from lamm_pipeline.reconstruction.object_points import depth_sigma_m, thin
from lamm_pipeline.reconstruction.settings import BoxMethod

_SMALLEST_M = 0.05
# the nearest points are where the faces are; for the size, strays at the rims matter more
_FACE_PERCENTILE = 2.0
_SIZE_PERCENTILE = 5.0
# normal noise has this many standard deviations between the two percentiles of the size
_SMEAR_SIGMAS = 3.3
_YAW_STEPS = 45
_YAW_REFINEMENT = 17
_SEARCH_POINTS = 600
# a point this far from the visible faces is a stray, and counts no more the farther it is
_STRAY_M = 0.6
_IMAGE_WEIGHT = 0.2
_IMAGE_ERROR_PX = 200.0
# below this ratio of length to width the points cannot tell the yaw
_MIN_ELONGATION = 1.3
_BORDER_PX = 2.0
_FLOATING_FACTOR = 1.25
_NEAR_M = 0.5


@dataclass(frozen=True)
class ObjectView:
    """What is known about one object in one frame.

    Attributes:
        points: `(N, 3)` cleaned points in camera coordinates, metres.
        box_xyxy: the 2D box, pixels.
        camera: rectified left camera.
        ground: plane the object stands on, None when unknown.
        prior: sizes of its class, None when they vary without bounds.
        typical_size: where in the prior's range an object is assumed whose size is not seen.
        hidden_left, hidden_right: whether something nearer adjoins that edge of the 2D box, behind which the object may go on.
    """

    points: NDArray[np.float64]
    box_xyxy: BoxXyxy
    camera: RectifiedCamera
    ground: GroundPlane | None
    prior: SizePrior | None
    typical_size: float
    hidden_left: bool = False
    hidden_right: bool = False


@dataclass(frozen=True)
class BoxFit:
    """A fitted box.

    Attributes:
        box: its size lies within the prior.
        size_ratio: product over the axes of measured size / size within the prior; 1 when the measured size suits the class.
    """

    box: Box3D
    size_ratio: float


def fit_box(view: ObjectView, method: BoxMethod) -> BoxFit:
    """Fit a box.

    Args:
        view: the object; it must have points.
        method: how.
    """
    if method is BoxMethod.pca:
        return _fit_pca(view)
    if method is BoxMethod.aabb:
        return _fit_extents(view, -math.pi / 2.0)
    return _fit_prior(view)


def rounded(fit: BoxFit) -> BoxFit:
    """The same box to a tenth of a millimetre, and its yaw to 1e-6 towards zero, so that it stays within (-pi, pi]."""
    box = fit.box
    x, y, z, length, width, height = (round(value, 4) for value in (box.x, box.y, box.z, box.length, box.width, box.height))
    return BoxFit(Box3D(x, y, z, length, width, height, math.trunc(box.rotation_y * 1e6) / 1e6), fit.size_ratio)


def _fit_pca(view: ObjectView) -> BoxFit:
    """The sources' method: yaw of the main axis in the ground plane, extents min to max, centre at the centroid and mid-height."""
    flat = view.points[:, [0, 2]]
    _, axes = np.linalg.eigh(np.cov((flat - flat.mean(axis=0)).T))
    x, z = axes[:, 1]
    return _fit_extents(view, _heading_away(math.atan2(-z, x)), at_centroid=True)


def _fit_extents(view: ObjectView, yaw: float, *, at_centroid: bool = False) -> BoxFit:
    along, across = _into_axes(view.points[:, 0], view.points[:, 2], yaw)
    y = view.points[:, 1]
    raw = (float(np.ptp(along)), float(np.ptp(across)), float(np.ptp(y)))
    length, width, height = _within(view.prior, raw)
    middle = (along.mean(), across.mean()) if at_centroid else (_mid_range(along), _mid_range(across))
    x, z = _place(float(middle[0]), float(middle[1]), yaw)
    box = Box3D(x=x, y=_mid_range(y) + height / 2.0, z=z, length=length, width=width, height=height, rotation_y=yaw)
    return BoxFit(box, math.prod(a / b for a, b in zip(raw, (length, width, height), strict=True)))


def _fit_prior(view: ObjectView) -> BoxFit:
    pose = _best_pose(view)
    x, z = _place(pose.along, pose.across, pose.yaw)
    reach = (abs(math.sin(pose.yaw)) * pose.length + abs(math.cos(pose.yaw)) * pose.width) / 2.0
    # the highest row belongs to the nearest edge of a roof above the camera, to the farthest of one below it
    bottom, raw_height = _bottom_and_height(view, x, z, z - reach if view.box_xyxy[1] < view.camera.cy else z + reach)
    (height,) = _clamped(((raw_height, None if view.prior is None else view.prior.height),))
    box = Box3D(x=x, y=bottom, z=z, length=pose.length, width=pose.width, height=height, rotation_y=_heading_away(pose.yaw))
    # unseen length or width is no contradiction to the class, only too much of it is
    excess = max(1.0, pose.raw_length / pose.length) * max(1.0, pose.raw_width / pose.width)
    return BoxFit(box, excess * max(raw_height, _SMALLEST_M) / height)


@dataclass(frozen=True)
class _Pose:
    """Centre in the axes of the box (see `_into_axes`), size, and what the points measure along the axes."""

    yaw: float
    along: float
    across: float
    length: float
    width: float
    raw_length: float
    raw_width: float


def _best_pose(view: ObjectView) -> _Pose:
    prior = view.prior
    points = thin(view.points, _SEARCH_POINTS)
    if prior is not None and not is_elongated(prior, view.typical_size):
        x, z = np.median(points[:, 0]), np.median(points[:, 2])
        return _search(view, points, np.array([math.atan2(x, z) - math.pi / 2.0]))
    step = math.pi / _YAW_STEPS
    coarse = _search(view, points, np.linspace(0.0, math.pi, _YAW_STEPS, endpoint=False))
    return _search(view, points, np.linspace(coarse.yaw - step, coarse.yaw + step, _YAW_REFINEMENT))


def _search(view: ObjectView, points: NDArray[np.float64], yaws: NDArray[np.float64]) -> _Pose:
    """The best of the given yaws, all judged at once: rows are yaws, columns points."""
    along, across = _into_axes(points[:, 0], points[:, 2], yaws[:, None])
    prior = view.prior
    bearing = math.atan2(float(np.median(points[:, 0])), float(np.median(points[:, 2])))
    smear = _SMEAR_SIGMAS * depth_sigma_m(float(np.median(points[:, 2])), view.camera)
    a = _Axis.fit(along, smear * np.abs(np.sin(bearing - yaws)), None if prior is None else prior.length, view.typical_size)
    b = _Axis.fit(across, smear * np.abs(np.cos(bearing - yaws)), None if prior is None else prior.width, view.typical_size)
    beyond = np.hypot(a.beyond(along), b.beyond(across))
    misfit = np.maximum(np.minimum(a.from_face(along), b.from_face(across)), beyond)
    cost = np.minimum(misfit, _STRAY_M).mean(axis=1) + _IMAGE_WEIGHT * _image_error_m(view, points, yaws, a, b)
    best = int(np.argmin(cost))
    return _Pose(
        yaw=float(yaws[best]),
        along=float(a.centre[best]),
        across=float(b.centre[best]),
        length=float(a.size[best]),
        width=float(b.size[best]),
        raw_length=float(a.raw[best]),
        raw_width=float(b.raw[best]),
    )


@dataclass(frozen=True)
class _Axis:
    """One horizontal axis of the box for each of Y yaws; the camera is at 0.

    Attributes:
        centre: `(Y,)` of the box.
        size: `(Y,)` of the box.
        raw: `(Y,)` extent of the points, for classes with a prior less what depth noise adds.
        face: `(Y,)` position of the face that looks at the camera, NaN where the camera is between the two faces and sees neither.
    """

    centre: NDArray[np.float64]
    size: NDArray[np.float64]
    raw: NDArray[np.float64]
    face: NDArray[np.float64]

    @classmethod
    def fit(
        cls, values: NDArray[np.float64], smear: NDArray[np.float64], limits: tuple[float, float] | None, typical_size: float
    ) -> "_Axis":
        wanted = (_FACE_PERCENTILE, _SIZE_PERCENTILE, 50.0, 100.0 - _SIZE_PERCENTILE, 100.0 - _FACE_PERCENTILE)
        low, first, middle, last, high = _row_percentiles(values, wanted)
        if limits is None:
            raw = high - low
            size = np.maximum(raw, _SMALLEST_M)
        else:
            raw = np.sqrt(np.maximum((last - first) ** 2 - smear**2, 0.0)) / (1.0 - _SIZE_PERCENTILE / 50.0)
            size = np.clip(np.maximum(raw, typical(limits, typical_size)), *limits)
        sides_seen = (low < 0.0) & (high > 0.0)
        ahead = low >= 0.0
        # depth noise smears a small object over more than its size; still its surface lies before its centre
        near = np.where(ahead, np.maximum(low, middle - size / 2.0), np.minimum(high, middle + size / 2.0))
        centre = np.where(sides_seen, (low + high) / 2.0, near + np.where(ahead, size, -size) / 2.0)
        return cls(centre=centre, size=size, raw=raw, face=np.where(sides_seen, np.nan, near))

    def from_face(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Distance of points from the visible face, infinite where none is visible."""
        return np.asarray(np.nan_to_num(np.abs(values - self.face[:, None]), nan=np.inf))

    def beyond(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """How far points are outside the box along this axis."""
        return np.asarray(np.maximum(np.abs(values - self.centre[:, None]) - self.size[:, None] / 2.0, 0.0))


def _image_error_m(view: ObjectView, points: NDArray[np.float64], yaws: NDArray[np.float64], a: _Axis, b: _Axis) -> NDArray[np.float64]:
    """`(Y,)` by how much the left and right edges of the projected box miss those of the 2D box, in metres at the object."""
    camera = view.camera
    along = a.centre + np.array([[0.5], [0.5], [-0.5], [-0.5]]) * a.size
    across = b.centre + np.array([[0.5], [-0.5], [-0.5], [0.5]]) * b.size
    x, z = _from_axes(along, across, yaws)
    columns = x / np.maximum(z, _NEAR_M) * camera.fx + camera.cx
    left = np.clip(columns.min(axis=0), 0.0, camera.width - 1.0)
    right = np.clip(columns.max(axis=0), 0.0, camera.width - 1.0)
    beyond_left, beyond_right = view.box_xyxy[0] - left, right - view.box_xyxy[2]
    misses = [
        np.maximum(-beyond, 0.0) if hidden else np.abs(beyond)
        for beyond, hidden in ((beyond_left, view.hidden_left), (beyond_right, view.hidden_right))
    ]
    error_px = np.minimum(misses[0], _IMAGE_ERROR_PX) + np.minimum(misses[1], _IMAGE_ERROR_PX)
    return np.asarray(error_px * float(np.median(points[:, 2])) / camera.fx)


def _bottom_and_height(view: ObjectView, x: float, z: float, z_top: float) -> tuple[float, float]:
    """Camera y of the bottom, and the measured height.

    The top comes from the 2D box at the depth `z_top`, because erosion takes the top rows of the points. The bottom is the ground, unless
    the object would be too high then: it hangs or stands on something else.
    """
    camera, prior = view.camera, view.prior
    _, y1, _, y2 = view.box_xyxy
    top = float(np.percentile(view.points[:, 1], 1.0)) if y1 < _BORDER_PX else (y1 - camera.cy) / camera.fy * z_top
    lowest_seen = max(
        float(np.percentile(view.points[:, 1], 99.0)), (y2 - camera.cy) / camera.fy * float(np.percentile(view.points[:, 2], 5.0))
    )
    if view.ground is not None:
        ground = view.ground.y_at(x, z)
        allowed = (lowest_seen - top if prior is None else prior.height[1]) * _FLOATING_FACTOR
        if ground - top <= allowed:
            return ground, ground - top
    return lowest_seen, lowest_seen - top


def _into_axes(
    x: NDArray[np.float64], z: NDArray[np.float64], yaw: float | NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coordinates along the length and the width of a box with this `rotation_y`; the camera stays the origin."""
    c, s = np.cos(yaw), np.sin(yaw)
    return np.asarray(c * x - s * z), np.asarray(s * x + c * z)


def _from_axes(
    along: NDArray[np.float64], across: NDArray[np.float64], yaw: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The inverse of `_into_axes`."""
    c, s = np.cos(yaw), np.sin(yaw)
    return c * along + s * across, -s * along + c * across


def _place(along: float, across: float, yaw: float) -> tuple[float, float]:
    """`_from_axes` of one position."""
    x, z = _from_axes(np.array(along), np.array(across), np.array(yaw))
    return float(x), float(z)


def _heading_away(yaw: float) -> float:
    """Of the two directions that a box can face, the one away from the camera's side: rotation_y in (-pi, 0]."""
    wrapped = wrap_angle(yaw)
    return wrapped if wrapped <= 0.0 else wrap_angle(wrapped - math.pi)


def is_elongated(prior: SizePrior, typical_size: float) -> bool:
    """Whether objects of this size are so much longer than wide that their points tell the heading."""
    return typical(prior.length, typical_size) >= _MIN_ELONGATION * typical(prior.width, typical_size)


def typical(limits: tuple[float, float], typical_size: float) -> float:
    """The size at this share of a class's range."""
    return limits[0] + typical_size * (limits[1] - limits[0])


def _row_percentiles(values: NDArray[np.float64], percents: Sequence[float]) -> NDArray[np.float64]:
    """What `np.percentile` of each row gives, `(P, R)` for `(R, N)`; sorting the rows once is several times faster for many percentages."""
    ranked = np.sort(values, axis=1)
    positions = np.array(percents) / 100.0 * (values.shape[1] - 1)
    below = np.floor(positions).astype(np.intp)
    first, second, share = ranked[:, below], ranked[:, np.minimum(below + 1, values.shape[1] - 1)], positions - below
    # from the nearer neighbour, as NumPy does, so that the last digit is the same too
    between = np.where(share < 0.5, first + (second - first) * share, second - (second - first) * (1.0 - share))
    return np.asarray(between.T)


def _within(prior: SizePrior | None, raw: tuple[float, float, float]) -> tuple[float, float, float]:
    limits = (None, None, None) if prior is None else (prior.length, prior.width, prior.height)
    length, width, height = _clamped(tuple(zip(raw, limits, strict=True)))
    return length, width, height


def _clamped(sizes: tuple[tuple[float, tuple[float, float] | None], ...]) -> tuple[float, ...]:
    return tuple(max(_SMALLEST_M, raw if limits is None else min(max(raw, limits[0]), limits[1])) for raw, limits in sizes)


def _mid_range(values: NDArray[np.float64]) -> float:
    return float(values.min() + values.max()) / 2.0
