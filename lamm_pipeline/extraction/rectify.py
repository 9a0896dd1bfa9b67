"""Rectification: from the raw pair of a calibrated stereo camera to a pair whose matches lie on the same row.

The recipe is OpenCV's `stereoRectify` with zero disparity at infinity and no invalid border (`alpha = 0`), at the size of the recording.
"""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.errors import InputError
from lamm_pipeline.geometry.camera import CameraModel, RectifiedCamera, StereoCalibration

Image = NDArray[np.uint8]
Maps = tuple[NDArray[np.float32], NDArray[np.float32]]

# What counts as no difference when deciding that a pair is rectified already: far below what an image can show.
SAME_PIXELS = 1e-6
SAME_RADIANS = 1e-9
SAME_METRES = 1e-9


class Rectifier:
    """Rectifies the pairs of one calibrated camera. Safe to use from several threads.

    A calibration without distortion, rotation and difference between the eyes describes images that are rectified already; they pass
    through untouched, and the camera keeps its focal length, principal point and baseline.

    Attributes:
        camera: the rectified pair that `rectify` delivers.
        is_identity: True when images pass through untouched.
    """

    def __init__(self, calibration: StereoCalibration) -> None:
        self._size = (calibration.width, calibration.height)
        self.is_identity = _is_rectified(calibration)
        if self.is_identity:
            eye = calibration.left
            self.camera = RectifiedCamera(*self._size, eye.fx, eye.fy, eye.cx, eye.cy, -calibration.translation_m[0])
        else:
            self.camera, self._left_maps, self._right_maps = _rectification(calibration)
        camera = self.camera
        if not all(np.isfinite([camera.fx, camera.cx, camera.cy, camera.baseline_m])) or camera.fx <= 0 or camera.baseline_m <= 0:
            raise InputError(
                f"{calibration.source} leads to no usable rectification (focal length {camera.fx:g} px, baseline {camera.baseline_m:g} m); "
                "check its numbers."
            )

    def rectify(self, left: Image, right: Image) -> tuple[Image, Image]:
        """Rectify a raw pair.

        Args:
            left: `(H, W, 3)` or `(H, W)` uint8.
            right: the same.

        Returns:
            The rectified pair, same size and type.

        Raises:
            InputError: the images do not have the size of the calibration.
        """
        for image in (left, right):
            if (image.shape[1], image.shape[0]) != self._size:
                raise InputError(
                    f"An image of {image.shape[1]}x{image.shape[0]} pixels does not fit the calibration for "
                    f"{self._size[0]}x{self._size[1]}; use the calibration of the recording's own resolution."
                )
        if self.is_identity:
            return left, right
        return _remap(left, self._left_maps), _remap(right, self._right_maps)


def _is_rectified(calibration: StereoCalibration) -> bool:
    left, right = calibration.left, calibration.right
    pixels = [a - b for a, b in zip((left.fx, left.fy, left.cx, left.cy), (right.fx, right.fy, right.cx, right.cy), strict=True)]
    return (
        left.lens == right.lens == "pinhole"
        and not any(left.distortion)
        and not any(right.distortion)
        and max(map(abs, pixels)) < SAME_PIXELS
        and max(map(abs, calibration.rotation_vector)) < SAME_RADIANS
        and max(map(abs, calibration.translation_m[1:])) < SAME_METRES
    )


def _rectification(calibration: StereoCalibration) -> tuple[RectifiedCamera, Maps, Maps]:
    left, right = calibration.left, calibration.right
    if left.lens != right.lens:
        raise InputError(f"{calibration.source} gives the left eye a {left.lens} lens and the right one a {right.lens} lens; get it again.")
    size = (calibration.width, calibration.height)
    rotation = cv2.Rodrigues(_column(calibration.rotation_vector))[0]
    translation = _column(calibration.translation_m)
    eyes = (left.matrix, _column(left.distortion), right.matrix, _column(right.distortion))
    # The fisheye functions of OpenCV are a family of their own with the same meaning: balance 0 is alpha 0.
    matrices: Sequence[Any]
    if left.lens == "fisheye":
        matrices = cv2.fisheye.stereoRectify(
            *eyes, size, rotation, translation, flags=cv2.CALIB_ZERO_DISPARITY, newImageSize=size, balance=0.0, fov_scale=1.0
        )
    else:
        matrices = cv2.stereoRectify(*eyes, size, rotation, translation, flags=cv2.CALIB_ZERO_DISPARITY, alpha=0, newImageSize=size)
    r1, r2, p1, p2 = (np.asarray(matrix, np.float64) for matrix in matrices[:4])
    camera = RectifiedCamera(
        width=size[0],
        height=size[1],
        fx=float(p1[0, 0]),
        fy=float(p1[1, 1]),
        cx=float(p1[0, 2]),
        cy=float(p1[1, 2]),
        baseline_m=float(-p2[0, 3] / p2[0, 0]),
    )
    return camera, _maps(left, r1, p1, size), _maps(right, r2, p2, size)


def _maps(eye: CameraModel, rotation: NDArray[np.float64], projection: NDArray[np.float64], size: tuple[int, int]) -> Maps:
    init = cv2.fisheye.initUndistortRectifyMap if eye.lens == "fisheye" else cv2.initUndistortRectifyMap
    map_x, map_y = init(eye.matrix, _column(eye.distortion), rotation, projection[:, :3], size, cv2.CV_32FC1)
    return np.asarray(map_x, np.float32), np.asarray(map_y, np.float32)


def _column(values: tuple[float, ...]) -> NDArray[np.float64]:
    """`(n, 1)`: OpenCV 5 refuses flat vectors."""
    return np.array(values, np.float64).reshape(-1, 1)


def _remap(image: Image, maps: Maps) -> Image:
    return np.asarray(cv2.remap(image, maps[0], maps[1], cv2.INTER_LINEAR), np.uint8)
