"""KITTI's `calib.txt`: projections, rectification and the axes of the cloud."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction.point_cloud import CAMERA_TO_VELODYNE
from lamm_pipeline.geometry.camera import RectifiedCamera
from lamm_pipeline.storage.atomic import write_text

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class KittiCalibration:
    """The matrices of a `calib.txt`; what the file lacks is None.

    Attributes:
        projections: `(3, 4)` projections by name, `P0` .. `P3`, from the rectified camera frame to pixels.
        rectification: `(3, 3)`, R0_rect.
        velodyne_to_camera: `(3, 4)`, Tr_velo_to_cam.
        imu_to_velodyne: `(3, 4)`, Tr_imu_to_velo.
    """

    projections: dict[str, Matrix]
    rectification: Matrix | None
    velodyne_to_camera: Matrix | None
    imu_to_velodyne: Matrix | None

    def camera(self, width: int, height: int, pair: tuple[str, str] | None = None) -> RectifiedCamera:
        """The rectified pair of a file.

        Args:
            width: pixels of the images, which the file does not tell.
            height: pixels of the images.
            pair: names of the left and right projection; None: the colour pair P2, P3 where there is one, else P0, P1.

        Raises:
            InputError: the pair is not in the file, or is no rectified pair.
        """
        names = pair or (("P2", "P3") if {"P2", "P3"} <= self.projections.keys() else ("P0", "P1"))
        if not set(names) <= self.projections.keys():
            raise InputError(f"The calibration has no pair {names[0]}, {names[1]}, only {', '.join(sorted(self.projections))}.")
        left, right = (self.projections[name] for name in names)
        baseline_m = float(left[0, 3] - right[0, 3]) / float(left[0, 0])
        if not np.allclose(left[:, :3], right[:, :3], rtol=1e-6) or baseline_m <= 0:
            raise InputError(f"{names[0]} and {names[1]} are no rectified pair with {names[1]} to the right; check the calibration.")
        fx, fy, cx, cy = (float(value) for value in (left[0, 0], left[1, 1], left[0, 2], left[1, 2]))
        return RectifiedCamera(width, height, fx, fy, cx, cy, baseline_m)


def write_calib(path: Path, camera: RectifiedCamera) -> None:
    """Write the calibration of a rectified pair.

    P0 = P2 is the left eye, P1 = P3 the right one. Images and cloud share the origin, the left eye, so R0_rect is the identity and
    Tr_velo_to_cam the exchange of axes alone. The oxts files are in velodyne axes, hence Tr_imu_to_velo is the identity; the few
    centimetres between the left eye and the IMU are not modelled.
    """
    no_shift = np.zeros((3, 1))
    left, right = camera.projection_left, camera.projection_right
    rows = {
        "P0": left,
        "P1": right,
        "P2": left,
        "P3": right,
        "R0_rect": np.eye(3),
        "Tr_velo_to_cam": np.hstack([CAMERA_TO_VELODYNE.T, no_shift]),
        "Tr_imu_to_velo": np.hstack([np.eye(3), no_shift]),
    }
    write_text(path, "".join(f"{name}: {' '.join(f'{value:.12e}' for value in matrix.ravel() + 0.0)}\n" for name, matrix in rows.items()))


def read_calib(path: Path) -> KittiCalibration:
    """Read the `calib.txt` of KITTI's object, tracking and odometry sets, or two bare lines of twelve numbers (P0, P1).

    Raises:
        InputError: not such a file.
    """
    matrices: dict[str, Matrix] = {}
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    for number, line in enumerate(lines):
        words = line.split()
        # The tracking set writes some names without a colon, and odometry calls the cloud's matrix Tr.
        named = words[0].endswith(":") or words[0][0].isalpha()
        name = words[0].rstrip(":") if named else f"P{number}"
        try:
            values = np.array([float(word) for word in words[named:]])
        except ValueError:
            values = np.empty(0)
        if values.size not in (9, 12) or not np.isfinite(values).all():
            raise InputError(f"{path}, line {number + 1}: expected 9 or 12 numbers for {name}; the file is no KITTI calib.txt.")
        matrices[name] = values.reshape(3, -1)
    projections = {name: matrix for name, matrix in matrices.items() if name in ("P0", "P1", "P2", "P3") and matrix.shape == (3, 4)}
    if not projections:
        raise InputError(f"{path} holds no projection P0 to P3; it is no KITTI calib.txt.")
    return KittiCalibration(
        projections=projections,
        rectification=_first(matrices, "R0_rect", "R_rect"),
        velodyne_to_camera=_first(matrices, "Tr_velo_to_cam", "Tr_velo_cam", "Tr"),
        imu_to_velodyne=_first(matrices, "Tr_imu_to_velo", "Tr_imu_velo"),
    )


def _first(matrices: dict[str, Matrix], *names: str) -> Matrix | None:
    return next((matrices[name] for name in names if name in matrices), None)
