"""The camera's motion from points in space and the pixels that show them one frame later: robust weighted least squares.

Two errors are told apart. Where a pixel was found is uncertain by a fraction of a pixel; and a point's disparity, which placed it in space,
is uncertain too, which moves its image the more the farther it is from where the camera heads to. An error of disparity that all points
share (the cameras' alignment is never perfect) would make every translation too long or too short, because far points outnumber near ones;
so it is fitted along with the motion, and kept near zero where the images do not tell.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.geometry.camera import RectifiedCamera

Array = NDArray[np.float64]

_PIXEL_NOISE_PX = 0.2
_DISPARITY_NOISE_PX = 0.5
_OFFSET_PX = 0.5
_SMALLEST_DISPARITY_PX = 0.1
_OUTLIER_SIGMAS = (6.0, 3.0, 2.0, 2.0, 2.0)
_NEAREST_M = 1e-3


@dataclass(frozen=True)
class Motion:
    """Motion of the camera between two frames.

    Attributes:
        rotation: `(3, 3)`.
        translation: `(3,)` metres; a point of the later camera frame is `rotation @ p + translation` in the earlier one.
        inliers: number of points that agree.
        inlier_share: share of the points found again that agree.
        disparity_offset_px: what all disparities lack, as far as this motion tells.
    """

    rotation: Array
    translation: Array
    inliers: int
    inlier_share: float
    disparity_offset_px: float = 0.0

    @property
    def matrix(self) -> Array:
        """`(4, 4)` homogeneous form."""
        result = np.eye(4)
        result[:3, :3], result[:3, 3] = self.rotation, self.translation
        return result


def fit_motion(points: Array, pixels: Array, camera: RectifiedCamera, start: Motion) -> Motion:
    """Fit the motion by Gauss-Newton steps with Geman and McClure's weights, under which outliers count next to nothing.

    Args:
        points: `(N, 3)` in the earlier camera frame, from stereo.
        pixels: `(N, 2)` where the later frame shows them.
        camera: rectified left camera of both frames.
        start: near the motion.
    """
    focal_baseline = camera.fx * camera.baseline_m
    disparity, rays = focal_baseline / points[:, 2], points / points[:, 2:]
    # from the earlier frame to the later one, the other way round than in `Motion`
    turn, shift, offset = start.rotation.T, -start.rotation.T @ start.translation, 0.0
    deviation = np.zeros(len(points))
    for outlier_sigmas in _OUTLIER_SIGMAS:
        shifted = np.maximum(disparity + offset, _SMALLEST_DISPARITY_PX)
        moved = (rays * (focal_baseline / shifted)[:, None]) @ turn.T + shift
        residual, jacobian = _linearised(moved, shift, shifted, pixels, camera)
        variance = _PIXEL_NOISE_PX**2 + (_DISPARITY_NOISE_PX * jacobian[:, :, 6]) ** 2
        deviation = (residual**2 / variance).sum(axis=1) / outlier_sigmas**2
        weights = 1.0 / variance / np.square(1.0 + deviation)[:, None]
        weighted = (jacobian * weights[:, :, None]).reshape(-1, 7)
        normal, right = weighted.T @ jacobian.reshape(-1, 7), weighted.T @ residual.ravel()
        normal[6, 6] += 1.0 / _OFFSET_PX**2
        right[6] += offset / _OFFSET_PX**2
        step = -np.linalg.lstsq(normal, right, rcond=None)[0]
        turned = np.asarray(cv2.Rodrigues(step[:3])[0], dtype=np.float64)
        turn, shift, offset = turned @ turn, turned @ shift + step[3:6], offset + float(step[6])
    inliers = int((deviation < 2.0).sum())
    return Motion(turn.T, -turn.T @ shift, inliers, inliers / len(points), offset)


def _linearised(moved: Array, shift: Array, disparity: Array, pixels: Array, camera: RectifiedCamera) -> tuple[Array, Array]:
    """`(N, 2)` pixels off, and `(N, 2, 7)` their derivatives by a further rotation, translation, and an offset of all disparities."""
    inverse = 1.0 / np.maximum(moved[:, 2], _NEAREST_M)
    x, y = moved[:, 0] * inverse, moved[:, 1] * inverse
    residual = np.column_stack([camera.fx * x + camera.cx, camera.fy * y + camera.cy]) - pixels
    # a larger disparity draws a point towards the earlier camera, which is at `shift`
    nearer = (shift - moved) / disparity[:, None]
    zero = np.zeros(len(moved))
    columns = [-x * y, 1.0 + x * x, -y, inverse, zero, -x * inverse, (nearer[:, 0] - x * nearer[:, 2]) * inverse]
    rows = [-1.0 - y * y, x * y, x, zero, inverse, -y * inverse, (nearer[:, 1] - y * nearer[:, 2]) * inverse]
    return residual, np.stack([camera.fx * np.column_stack(columns), camera.fy * np.column_stack(rows)], axis=1)
