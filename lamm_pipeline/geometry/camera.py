"""Camera models of a stereo pair, before and after rectification.

Axes are the camera's: x right, y down, z forward. Lengths are metres, angles radians, image coordinates pixels.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class CameraModel:
    """Intrinsics and lens distortion of one eye.

    Attributes:
        fx, fy, cx, cy: pixels.
        distortion: OpenCV order `k1 k2 p1 p2 k3 [k4 k5 k6]` for `pinhole`, `k1 k2 k3 k4` for `fisheye`.
        lens: which of OpenCV's models the coefficients belong to.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    distortion: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0, 0.0)
    lens: Literal["pinhole", "fisheye"] = "pinhole"

    @property
    def matrix(self) -> NDArray[np.float64]:
        """`(3, 3)` camera matrix K."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])


@dataclass(frozen=True)
class StereoCalibration:
    """Factory calibration of a stereo camera at one resolution.

    A point in the right camera is `X_right = R @ X_left + T` (OpenCV's stereoCalibrate convention), so `translation_m[0]` is minus the
    baseline.

    Attributes:
        serial: camera serial number, 0 when unknown.
        width, height: pixels of one eye.
        rotation_vector: Rodrigues vector of R, radians.
        translation_m: T in metres.
        source: where it was read from, for people.
    """

    serial: int
    width: int
    height: int
    left: CameraModel
    right: CameraModel
    rotation_vector: tuple[float, float, float]
    translation_m: tuple[float, float, float]
    source: str


@dataclass(frozen=True)
class RectifiedCamera:
    """The rectified pair: both eyes are the same pinhole, the right one `baseline_m` along +x.

    `depth = fx * baseline_m / disparity` with `disparity = x_left - x_right > 0`.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    baseline_m: float

    @property
    def matrix(self) -> NDArray[np.float64]:
        """`(3, 3)` camera matrix of both eyes."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    @property
    def projection_left(self) -> NDArray[np.float64]:
        """`(3, 4)` projection of left-camera coordinates into the left image (KITTI's P2)."""
        return np.hstack([self.matrix, np.zeros((3, 1))])

    @property
    def projection_right(self) -> NDArray[np.float64]:
        """`(3, 4)` projection of left-camera coordinates into the right image (KITTI's P3)."""
        shift = np.array([[-self.fx * self.baseline_m], [0.0], [0.0]])
        return np.hstack([self.matrix, shift])
