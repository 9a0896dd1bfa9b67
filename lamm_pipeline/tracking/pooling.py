"""What all frames of a track say about its object together: whether it moves, how large it is, where it stands and where it looks.

Boxes are in world coordinates. A detection is trusted the less the farther away it was, and hardly at all where the image border or
something in front cut it off, because then its near faces, which the box hangs on, are not the object's.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.geometry.box_3d import Box3D
from lamm_pipeline.geometry.boxes_3d import wrap_angle
from lamm_pipeline.ontology.ontology import SizePrior
from lamm_pipeline.reconstruction.box_fit import is_elongated, typical
from lamm_pipeline.reconstruction.surface_fit import Footprint, SurfaceView, fit_footprint
from lamm_pipeline.tracking.settings import TrackingSettings

Array = NDArray[np.float64]

_CUT_WEIGHT = 0.02
_OCCLUDED_WEIGHT = (1.0, 0.7, 0.3, 0.5)
_TRUNCATED = 0.05
_STILL_SIGMAS = 3.0
# the far side of a box is guessed from its class, so its centre may be off by about this share of its size
_CENTRE_SHARE = 0.25
_ROUNDS = 5
_HUBER = 1.5
_MOVING_HEADING_M_S = 1.0
# more views of one object add time, not certainty
_MOST_VIEWS = 40


@dataclass(frozen=True)
class Observation:
    """One detection of a track.

    Attributes:
        time_s: since the track's first detection.
        box: in world coordinates.
        camera: `(3,)` position of the camera in the world.
        score: 0..1.
        truncated: share outside the image.
        occluded: KITTI's level, 0..3.
        typical: whether it has the track's class; the sizes of another class do not count.
        surface: what is seen of the object, in world coordinates; its `weight` is not used. None where that is not known.
    """

    time_s: float
    box: Box3D
    camera: Array
    score: float
    truncated: float
    occluded: int
    typical: bool = True
    surface: SurfaceView | None = None


@dataclass(frozen=True)
class PooledTrack:
    """The object of a track.

    Attributes:
        static: whether it stands still.
        boxes: one for each observation, in world coordinates; the same box for all when it stands still.
    """

    static: bool
    boxes: tuple[Box3D, ...]

    def at(self, times: Sequence[float], time_s: float) -> Box3D:
        """The box at a time within the track's span: the one of a static object, or between those of the neighbouring observations.

        Args:
            times: of the observations.
            time_s: within them.
        """
        later = min(max(int(np.searchsorted(np.asarray(times), time_s)), 1), len(self.boxes) - 1) if len(self.boxes) > 1 else 0
        a, b = self.boxes[max(later - 1, 0)], self.boxes[later]
        span = times[later] - times[max(later - 1, 0)]
        share = min(max((time_s - times[max(later - 1, 0)]) / span, 0.0), 1.0) if span > 0.0 else 0.0
        if self.static or share == 0.0:
            return a
        x, y, z = ((1.0 - share) * p + share * q for p, q in ((a.x, b.x), (a.y, b.y), (a.z, b.z)))
        return replace(a, x=x, y=y, z=z, rotation_y=wrap_angle(a.rotation_y + share * wrap_angle(b.rotation_y - a.rotation_y)))


def pool(observations: Sequence[Observation], settings: TrackingSettings, prior: SizePrior | None = None) -> PooledTrack:
    """Refine the boxes of a track.

    Args:
        observations: in time order, at least one.
        settings: noise of positions, length of the window of a moving object.
        prior: sizes of the track's class; None where they vary without bounds or are not known.
    """
    weights = _trust(observations, settings)
    length, width, height = _size(observations, weights)
    positions = np.array([_anchored(each, length, width) for each in observations])
    times = np.array([each.time_s for each in observations])
    paths = [_line_at(time_s, times, positions, weights * _window(times - time_s, settings))[0] for time_s in times]
    static = len(observations) < settings.min_hits or not _moves(observations, positions, np.array(paths), weights, settings)
    axis = _axis_yaw(observations, weights)
    if static:
        x, y, z = _robust_mean(positions, weights)
        box = _fitted(Box3D(x, y, z, length, width, height, axis), observations, settings, prior)
        return PooledTrack(True, (replace(box, rotation_y=_facing(box.rotation_y, observations, weights)),) * len(observations))
    boxes = []
    for time_s in times:
        near = weights * _window(times - time_s, settings)
        (x, y, z), (vx, _, vz) = _line_at(time_s, times, positions, near)
        moving = math.hypot(vx, vz) > _MOVING_HEADING_M_S
        yaw = math.atan2(-vz, vx) if moving else _facing(_axis_yaw(observations, near), observations, near)
        boxes.append(Box3D(float(x), float(y), float(z), length, width, height, wrap_angle(yaw)))
    return PooledTrack(False, tuple(boxes))


def _fitted(box: Box3D, observations: Sequence[Observation], settings: TrackingSettings, prior: SizePrior | None) -> Box3D:
    """The box that suits what all frames show of an object that stands still; the given one where they show nothing of its heading."""
    if prior is None or not is_elongated(prior, settings.typical_size):
        return box
    known = [n for n, each in enumerate(observations) if each.surface is not None]
    views = []
    for n in np.unique(np.linspace(0, len(known) - 1, min(len(known), _MOST_VIEWS)).round().astype(int)) if known else ():
        each = observations[known[n]]
        if each.surface is not None:
            views.append(replace(each.surface, weight=each.score * _OCCLUDED_WEIGHT[each.occluded] / _sigma(each, settings) ** 2))
    if not views:
        return box
    start = Footprint(box.x, box.z, box.rotation_y, box.length, box.width)
    sizes = typical(prior.length, settings.typical_size), typical(prior.width, settings.typical_size)
    fit = fit_footprint(views, start, prior.length, prior.width, sizes)
    return replace(box, x=fit.x, z=fit.z, length=fit.length, width=fit.width, rotation_y=fit.yaw)


def _trust(observations: Sequence[Observation], settings: TrackingSettings) -> Array:
    """Weight of each observation."""
    sigma = np.array([_sigma(each, settings) for each in observations])
    seen = np.array([_CUT_WEIGHT if each.truncated > _TRUNCATED else _OCCLUDED_WEIGHT[each.occluded] for each in observations])
    return np.asarray(seen * np.array([each.score for each in observations]) / sigma**2)


def _sigma(observation: Observation, settings: TrackingSettings) -> float:
    """Standard deviation of the position of an object seen whole, metres."""
    apart = float(np.linalg.norm((observation.box.x, observation.box.y, observation.box.z) - observation.camera))
    return math.hypot(settings.position_noise_m, settings.range_noise * apart)


def _size(observations: Sequence[Observation], weights: Array) -> tuple[float, float, float]:
    weights = weights * np.array([1.0 if each.typical else 1e-6 for each in observations])
    sizes = np.array([(each.box.length, each.box.width, each.box.height) for each in observations])
    length, width, height = (_weighted_median(column, weights) for column in sizes.T)
    return length, width, height


def _anchored(observation: Observation, length: float, width: float) -> tuple[float, float, float]:
    """Bottom centre of the box with another size: the faces the camera sees stay where they are."""
    box = observation.box
    dx, dz = observation.camera[0] - box.x, observation.camera[2] - box.z
    c, s = math.cos(box.rotation_y), math.sin(box.rotation_y)
    along, across = c * dx - s * dz, s * dx + c * dz
    shift_along = math.copysign(1.0, along) * (box.length - length) / 2.0 if abs(along) > box.length / 2.0 else 0.0
    shift_across = math.copysign(1.0, across) * (box.width - width) / 2.0 if abs(across) > box.width / 2.0 else 0.0
    return box.x + c * shift_along + s * shift_across, box.y, box.z - s * shift_along + c * shift_across


def _moves(observations: Sequence[Observation], positions: Array, path: Array, weights: Array, settings: TrackingSettings) -> bool:
    """Whether the smoothed path is longer than what makes a thing that stands still seem to move.

    That is twofold. Noise that differs from frame to frame shows in the differences of neighbouring positions (as in von Neumann's ratio
    test), whatever the motion, and smoothing leaves its part in proportion to the number of frames in the window. And a bias that stays
    changes with the view: distances are off by a share of themselves, and which faces are seen moves the centre by a share of the size.
    """
    times = np.array([each.time_s for each in observations])
    cameras = np.array([each.camera for each in observations])
    trust = weights / weights.max()
    steps = np.square(np.diff(positions[:, [0, 2]], axis=0)).sum(axis=1) / 2.0
    shared = np.minimum(trust[1:], trust[:-1])
    noise = float(np.average(steps, weights=shared)) if shared.sum() > 0.0 else math.inf
    window = trust * _window(times[:, None] - times[None, :], settings)
    remaining = noise / np.maximum(window.sum(axis=1), 1e-9)
    offset = path[:, [0, 2]] - cameras[:, [0, 2]]
    distance, bearing = np.linalg.norm(offset, axis=1), np.arctan2(offset[:, 0], offset[:, 1])
    turned = np.abs(np.remainder(bearing[:, None] - bearing[None, :] + math.pi, math.tau) - math.pi)
    size = max(max(each.box.length, each.box.width) for each in observations)
    bias = settings.range_noise * np.abs(distance[:, None] - distance[None, :]) + _CENTRE_SHARE * size * np.minimum(turned, 1.0)
    apart = np.linalg.norm(path[:, None, [0, 2]] - path[None, :, [0, 2]], axis=2)
    return bool((apart > bias + _STILL_SIGMAS * np.sqrt(remaining[:, None] + remaining[None, :])).any())


def _window(apart_s: Array, settings: TrackingSettings) -> Array:
    """Weights of observations this far from the moment in time."""
    return np.asarray(np.exp(-0.5 * (apart_s / settings.smoothing_s) ** 2))


def _line_at(time_s: float, times: Array, positions: Array, weights: Array) -> tuple[Array, Array]:
    """Position and velocity at a time of the weighted least-squares line."""
    centre = np.average(times, weights=weights)
    mean = np.average(positions, axis=0, weights=weights)
    spread = float((weights * (times - centre) ** 2).sum())
    if spread <= 1e-12 * weights.sum():
        return mean, np.zeros(3)
    velocity = (weights[:, None] * (times - centre)[:, None] * (positions - mean)).sum(axis=0) / spread
    return mean + (time_s - centre) * velocity, velocity


def _robust_mean(positions: Array, weights: Array) -> tuple[float, float, float]:
    """Weighted mean with Huber's weights, from the weighted median on."""
    centre = np.array([_weighted_median(column, weights) for column in positions.T])
    for _ in range(_ROUNDS):
        residual = np.linalg.norm(positions - centre, axis=1)
        scale = max(_weighted_median(residual, weights), 1e-3)
        robust = weights * np.minimum(1.0, _HUBER * scale / np.maximum(residual, 1e-9))
        centre = np.average(positions, axis=0, weights=robust)
    return float(centre[0]), float(centre[1]), float(centre[2])


def _axis_yaw(observations: Sequence[Observation], weights: Array) -> float:
    """The axis most headings agree on, front and rear not told apart: the heading with the smallest weighted sum of differences."""
    yaws = np.array([each.box.rotation_y for each in observations])
    apart = np.abs(np.remainder(yaws[:, None] - yaws[None, :] + math.pi / 2.0, math.pi) - math.pi / 2.0)
    best = int(np.argmin((apart * weights[None, :]).sum(axis=1)))
    offset = np.remainder(yaws - yaws[best] + math.pi / 2.0, math.pi) - math.pi / 2.0
    near = weights * (np.abs(offset) < math.radians(20.0))
    return float(yaws[best] + np.average(offset, weights=near))


def _facing(axis: float, observations: Sequence[Observation], weights: Array) -> float:
    """Of the two directions of an axis the one most detections have."""
    agreement = sum(weight * math.cos(each.box.rotation_y - axis) for each, weight in zip(observations, weights, strict=True))
    return wrap_angle(axis if agreement >= 0.0 else axis + math.pi)


def _weighted_median(values: Array, weights: Array) -> float:
    order = np.argsort(values, kind="stable")
    below = np.cumsum(weights[order])
    return float(values[order][int(np.searchsorted(below, below[-1] / 2.0))])
