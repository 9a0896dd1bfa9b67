"""Small scenes with known depth, and the real ones that tests read from outside the project."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.geometry.camera import RectifiedCamera

CAMERA = RectifiedCamera(width=640, height=360, fx=500.0, fy=500.0, cx=320.0, cy=170.0, baseline_m=0.12)
CAMERA_HEIGHT = 1.5
KITTI_CAMERA = RectifiedCamera(1242, 375, 721.5377, 721.5377, 609.5593, 172.854, 0.53715)
KITTI_BASELINE_PX_M = 387.5744
KITTI_COLOR_SHIFT_PX_M = 44.857


def ground_depth(camera: RectifiedCamera = CAMERA, height: float = CAMERA_HEIGHT, slope: float = 0.0) -> NDArray[np.float32]:
    """Depth of a plane `height` below the camera that falls by `slope` metres a metre, up to 40 m; NaN above it."""
    rows = (np.arange(camera.height) - camera.cy) / camera.fy
    with np.errstate(divide="ignore"):
        z = np.where(rows - slope > 1e-6, height / (rows - slope), np.nan)
    z[z > 40.0] = np.nan
    return np.tile(z[:, None], (1, camera.width)).astype(np.float32)


def stand(depth: NDArray[np.float32], box_xyxy: tuple[int, int, int, int], z: float) -> NDArray[np.float32]:
    """Put a flat object at depth `z` into the pixels of a box, hiding what is behind it."""
    x1, y1, x2, y2 = box_xyxy
    part = depth[y1:y2, x1:x2]
    part[~(part < z)] = z
    return depth


def kitti_depth(folder: Path, name: str) -> NDArray[np.float32]:
    """Depth of a real pair by plain semi-global matching."""
    left, right = (cv2.imread(str(folder / eye / f"{name}.png"), cv2.IMREAD_GRAYSCALE) for eye in ("image_0", "image_1"))
    matcher = cv2.StereoSGBM_create(0, 128, 5, 200, 800, 1, 31, 10, 100, 2, cv2.STEREO_SGBM_MODE_SGBM_3WAY)
    disparity = matcher.compute(left, right).astype(np.float32) / 16.0
    with np.errstate(divide="ignore"):
        depth = np.where(disparity > 1.0, KITTI_BASELINE_PX_M / disparity, np.nan)
    return depth.astype(np.float32)


def kitti_boxes(folder: Path, name: str, types: set[str]) -> tuple[NDArray[np.float64], list[float]]:
    """2D boxes (xyxy) of well visible labelled objects, moved from the colour camera they were drawn for to the grey one, and depths."""
    boxes, depths = [], []
    for line in (folder / "label_2" / f"{name}.txt").read_text().splitlines():
        words = line.split()
        x1, y1, x2, y2 = map(float, words[4:8])
        if words[0] in types and float(words[1]) <= 0.5 and y2 - y1 >= 25:
            shift = KITTI_COLOR_SHIFT_PX_M / float(words[13])
            boxes.append((x1 - shift, y1, x2 - shift, y2))
            depths.append(float(words[13]))
    return np.array(boxes).reshape(-1, 4), depths
