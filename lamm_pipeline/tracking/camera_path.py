"""Where the camera was in each frame, and boxes moved between a frame's camera coordinates and the world's.

The world is the camera frame of the first image: x right, y down, z forward, metres.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.geometry.box_3d import Box3D
from lamm_pipeline.geometry.boxes_3d import wrap_angle

POSES_FILE = "poses.txt"

Pose = NDArray[np.float64]
"""`(4, 4)`: a point of the camera frame is `pose @ p` in the world."""


def to_world(box: Box3D, pose: Pose) -> Box3D:
    """The box in world coordinates; it stays upright, so of the rotation only the heading is kept."""
    x, y, z = pose[:3, :3] @ (box.x, box.y, box.z) + pose[:3, 3]
    ahead = pose[:3, :3] @ (math.cos(box.rotation_y), 0.0, -math.sin(box.rotation_y))
    return replace(box, x=float(x), y=float(y), z=float(z), rotation_y=wrap_angle(math.atan2(-ahead[2], ahead[0])))


def to_camera(box: Box3D, pose: Pose) -> Box3D:
    """The inverse of `to_world`."""
    return to_world(box, inverse(pose))


def inverse(pose: Pose) -> Pose:
    """World to camera."""
    result = np.eye(4)
    result[:3, :3] = pose[:3, :3].T
    result[:3, 3] = -pose[:3, :3].T @ pose[:3, 3]
    return result


def write(path: Path, poses: Mapping[int, Pose]) -> None:
    """Write `poses.txt` as KITTI's odometry benchmark has it, camera to world row by row, with the frame index in front.

    Args:
        path: of the file.
        poses: by frame index.
    """
    rows = (f"{index} " + " ".join(f"{value:.9e}" for value in pose[:3].ravel()) for index, pose in poses.items())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")


def read(path: Path) -> dict[int, Pose]:
    """Read what `write` wrote."""
    poses: dict[int, Pose] = {}
    for row in path.read_text(encoding="utf-8").splitlines():
        index, *values = row.split()
        pose = np.eye(4)
        pose[:3] = np.array(values, dtype=np.float64).reshape(3, 4)
        poses[int(index)] = pose
    return poses
