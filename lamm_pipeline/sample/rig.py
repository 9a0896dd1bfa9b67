"""The synthetic stereo camera: its calibration, and the rays of its pixels."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.geometry.camera import CameraModel, RectifiedCamera, StereoCalibration

_UNDISTORT_CRITERIA = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 40, 1e-9)

Plane = NDArray[np.float32]


@dataclass(frozen=True)
class EyeRays:
    """Where the pixels of one eye look, in the axes of the rectified pair.

    The ray of a pixel is `eye + t * (x, y, 1)`, so `t` is the depth in the rectified camera. Derivatives are per pixel.

    Attributes:
        x, y: `(H, W)`.
        x_du, y_du: `(H, W)` change of x and y one pixel to the right.
        x_dv, y_dv: `(H, W)` change of x and y one pixel down.
        offset_m: the eye's position along +x of the rectified left camera.
    """

    x: Plane
    y: Plane
    x_du: Plane
    y_du: Plane
    x_dv: Plane
    y_dv: Plane
    offset_m: float


@dataclass(frozen=True)
class Rig:
    """The camera as it is rendered.

    Attributes:
        calibration: what its calibration file says.
        camera: the rectified pair.
        left, right: rays of the raw eyes, with lens distortion and misalignment.
        rectified_left: rays of the rectified left camera, in which the truth is given.
        raw_to_rectified: `(3, 3)` rotation from the raw to the rectified left camera.
    """

    calibration: StereoCalibration
    camera: RectifiedCamera
    left: EyeRays
    right: EyeRays
    rectified_left: EyeRays
    raw_to_rectified: NDArray[np.float64]


def sample_calibration(serial: int, width: int, height: int) -> StereoCalibration:
    """A calibration like that of a real camera: unequal eyes, barrel distortion, and a right eye turned by fractions of a degree."""
    focal = 700.0 * width / 1280.0
    pixel = width / 1280.0
    left = CameraModel(
        fx=round(focal + 0.61 * pixel, 3),
        fy=round(focal + 0.48 * pixel, 3),
        cx=round((width - 1) / 2.0 - 6.3 * pixel, 3),
        cy=round((height - 1) / 2.0 + 4.1 * pixel, 3),
        distortion=(-0.115, 0.031, 0.0004, -0.0003, -0.005),
    )
    right = CameraModel(
        fx=round(focal - 1.27 * pixel, 3),
        fy=round(focal - 1.44 * pixel, 3),
        cx=round((width - 1) / 2.0 + 5.2 * pixel, 3),
        cy=round((height - 1) / 2.0 - 3.7 * pixel, 3),
        distortion=(-0.118, 0.033, -0.0002, 0.0005, -0.006),
    )
    return StereoCalibration(
        serial=serial,
        width=width,
        height=height,
        left=left,
        right=right,
        rotation_vector=(0.0042, 0.0061, -0.0027),
        translation_m=(-0.1199, 0.00021, -0.00034),
        source="synthetic",
    )


def build_rig(calibration: StereoCalibration) -> Rig:
    """Rectify the pair as the pipeline does (OpenCV's stereoRectify, zero disparity at infinity, no black borders) and cast its rays."""
    size = (calibration.width, calibration.height)
    rotation, _ = cv2.Rodrigues(np.array(calibration.rotation_vector).reshape(3, 1))
    left_k, right_k = calibration.left.matrix, calibration.right.matrix
    left_d, right_d = (np.array(eye.distortion).reshape(-1, 1) for eye in (calibration.left, calibration.right))
    translation = np.array(calibration.translation_m).reshape(3, 1)
    r1, r2, p1, p2, *_ = cv2.stereoRectify(
        left_k, left_d, right_k, right_d, size, rotation, translation, flags=cv2.CALIB_ZERO_DISPARITY, alpha=0, newImageSize=size
    )
    to_left, to_right = np.asarray(r1, dtype=np.float64), np.asarray(r2, dtype=np.float64)
    camera = RectifiedCamera(
        width=calibration.width,
        height=calibration.height,
        fx=float(p1[0, 0]),
        fy=float(p1[1, 1]),
        cx=float(p1[0, 2]),
        cy=float(p1[1, 2]),
        baseline_m=float(-p2[0, 3] / p2[0, 0]),
    )
    return Rig(
        calibration=calibration,
        camera=camera,
        left=_raw_rays(calibration.left, to_left, size, 0.0),
        right=_raw_rays(calibration.right, to_right, size, camera.baseline_m),
        rectified_left=_pinhole_rays(camera),
        raw_to_rectified=to_left,
    )


def _raw_rays(model: CameraModel, to_rectified: NDArray[np.float64], size: tuple[int, int], offset_m: float) -> EyeRays:
    width, height = size
    grid = np.stack(np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64)), axis=-1).reshape(-1, 1, 2)
    distortion = np.array(model.distortion).reshape(-1, 1)
    rays = cv2.undistortPoints(grid, model.matrix, distortion, R=to_rectified, criteria=_UNDISTORT_CRITERIA)
    return _with_derivatives(np.asarray(rays, dtype=np.float64).reshape(height, width, 2), offset_m)


def _pinhole_rays(camera: RectifiedCamera) -> EyeRays:
    x = (np.arange(camera.width) - camera.cx) / camera.fx
    y = (np.arange(camera.height) - camera.cy) / camera.fy
    return _with_derivatives(np.stack(np.meshgrid(x, y), axis=-1), 0.0)


def _with_derivatives(rays: NDArray[np.float64], offset_m: float) -> EyeRays:
    x, y = rays[..., 0], rays[..., 1]
    x_dv, x_du = np.gradient(x)
    y_dv, y_du = np.gradient(y)
    x32, y32, x_du32, y_du32, x_dv32, y_dv32 = (np.ascontiguousarray(plane, dtype=np.float32) for plane in (x, y, x_du, y_du, x_dv, y_dv))
    return EyeRays(x32, y32, x_du32, y_du32, x_dv32, y_dv32, offset_m)
