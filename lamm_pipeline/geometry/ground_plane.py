"""The ground as a plane in camera coordinates, fitted to the lower half of a depth map.

On a plane the inverse depth is affine in pixel coordinates, and stereo noise is uniform in disparity, not in metres. So the plane is
searched in (u, v, inverse depth), where one threshold in disparity pixels is right at every distance.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.geometry.camera import RectifiedCamera

MAX_TILT = math.radians(25.0)
CAMERA_HEIGHT_M = (0.2, 6.0)
_MAX_SAMPLES = 5000
_MIN_SAMPLES = 200
_SCORED_SAMPLES = 1000
_HYPOTHESES = 300
# as many as the processor's cache holds
_SCORED_AT_ONCE = 20
_MIN_INLIER_SHARE = 0.15
_TOLERANCE_PX = 1.0
_TOLERANCE_RELATIVE = 0.03
_REFITS = 3
_SEED = 20110926


@dataclass(frozen=True)
class GroundPlane:
    """The plane `normal . p + offset = 0` in camera coordinates (x right, y down, z forward), metres.

    Attributes:
        normal: unit vector that points up (its y is negative).
        offset: distance of the camera from the plane, so the camera's height above the ground.
        inlier_share: share of the sampled depth values in the lower half of the image that lie on the plane.
    """

    normal: tuple[float, float, float]
    offset: float
    inlier_share: float

    def height_above(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Height of points above the ground.

        Args:
            points: `(..., 3)` camera coordinates, metres.

        Returns:
            `(...)` metres, negative below the ground.
        """
        above: NDArray[np.float64] = np.asarray(points, dtype=np.float64) @ np.array(self.normal) + self.offset
        return above

    def y_at(self, x: float, z: float) -> float:
        """The camera y coordinate (metres, down) of the ground at `(x, z)`."""
        nx, ny, nz = self.normal
        return -(nx * x + nz * z + self.offset) / ny


def fit_ground_plane(depth: NDArray[np.floating], camera: RectifiedCamera) -> GroundPlane | None:
    """Fit the ground plane by RANSAC with a fixed seed, then least squares on its inliers.

    A hypothesis gains from points on it and loses from points below it, because nothing is seen below the ground: that keeps table tops
    and rows of car roofs from winning. The same depth map always gives the same plane.

    Args:
        depth: `(H, W)` metres; anything not finite or not positive is unknown.
        camera: the rectified camera of the depth map.

    Returns:
        The plane, or None when no plane with a tilt below 25 degrees and a camera height of 0.2 to 6 m has enough support.
    """
    samples = _sample_lower_half(depth, camera)
    if len(samples) < _MIN_SAMPLES:
        return None
    rays, inverse = samples[:, :3], samples[:, 3]
    focal_baseline = camera.fx * camera.baseline_m
    rng = np.random.default_rng(_SEED)
    triples = rng.integers(0, len(samples), size=(_HYPOTHESES, 3))
    matrices = rays[triples]
    solvable = np.abs(np.linalg.det(matrices)) > 1e-6
    if not solvable.any():
        return None
    hypotheses = np.linalg.solve(matrices[solvable], inverse[triples[solvable]][..., None])[..., 0]
    hypotheses = hypotheses[_plausible(hypotheses)]
    if len(hypotheses) == 0:
        return None
    scored = samples[rng.permutation(len(samples))[:_SCORED_SAMPLES]]
    parts = np.split(hypotheses, range(_SCORED_AT_ONCE, len(hypotheses), _SCORED_AT_ONCE))
    scores = np.concatenate([_scores(part, scored, focal_baseline) for part in parts])
    best: NDArray[np.float64] = hypotheses[int(np.argmax(scores))]
    return _refit(best, rays, inverse, focal_baseline)


def _scores(hypotheses: NDArray[np.float64], samples: NDArray[np.float64], focal_baseline: float) -> NDArray[np.float64]:
    """What each plane gains from the samples on it, less the number of those below it."""
    x, y, _, inverse = samples.T
    residual = inverse - hypotheses[:, :1] * x - hypotheses[:, 1:2] * y - hypotheses[:, 2:]
    tolerances = residual * (focal_baseline / _tolerance_px(inverse, focal_baseline))
    gain = np.maximum(1.0 - np.square(tolerances), 0.0).sum(axis=1)
    return np.asarray(gain - (tolerances < -2.0).sum(axis=1))


def _refit(
    hypothesis: NDArray[np.float64], rays: NDArray[np.float64], inverse: NDArray[np.float64], focal_baseline: float
) -> GroundPlane | None:
    tolerance_px = _tolerance_px(inverse, focal_baseline)
    plane: NDArray[np.floating] = hypothesis
    inliers = np.zeros(len(rays), dtype=bool)
    for _ in range(_REFITS):
        inliers = np.abs(inverse - rays @ plane) * focal_baseline < tolerance_px
        if inliers.sum() < 3:
            return None
        weighted = rays[inliers] / np.square(tolerance_px[inliers, None])
        plane = np.linalg.lstsq(weighted.T @ rays[inliers], weighted.T @ inverse[inliers], rcond=None)[0]
    share = float(inliers.mean())
    if share < _MIN_INLIER_SHARE or not bool(_plausible(plane[None])[0]):
        return None
    # inverse depth = plane . ray and p = ray / inverse depth, so plane . p = 1
    offset = 1.0 / float(np.linalg.norm(plane))
    normal = -plane * offset
    return GroundPlane(normal=(float(normal[0]), float(normal[1]), float(normal[2])), offset=offset, inlier_share=share)


def _tolerance_px(inverse: NDArray[np.float64], focal_baseline: float) -> NDArray[np.float64]:
    """Near the camera the unevenness of real ground exceeds the matching error, so the tolerance also grows with the disparity."""
    return np.asarray(np.maximum(_TOLERANCE_PX, _TOLERANCE_RELATIVE * inverse * focal_baseline))


def _plausible(planes: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Which of `(N, 3)` planes `m . p = 1` are below the camera, level enough, and at a possible height."""
    norm = np.linalg.norm(planes, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        height = 1.0 / norm
        down = planes[:, 1] / norm
    low, high = CAMERA_HEIGHT_M
    return np.asarray((down > math.cos(MAX_TILT)) & (height >= low) & (height <= high))


def _sample_lower_half(depth: NDArray[np.floating], camera: RectifiedCamera) -> NDArray[np.float64]:
    """Rows `(ray x, ray y, 1, inverse depth)` on a regular grid over the lower half of the image."""
    height, width = depth.shape
    step = max(1, math.ceil(math.sqrt(height / 2 * width / _MAX_SAMPLES)))
    v, u = np.mgrid[height // 2 : height : step, 0:width:step]
    z = depth[v, u].astype(np.float64)
    known = np.isfinite(z) & (z > 0.0)
    z, u, v = z[known], u[known], v[known]
    return np.column_stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones_like(z), 1.0 / z])
