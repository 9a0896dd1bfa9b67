"""Depth maps of cuboids on a ground plane, by ray casting, and detections on them."""

import math

import cv2
import numpy as np

from lamm_pipeline.geometry import rle
from lamm_pipeline.geometry.box_3d import Box3D
from lamm_pipeline.geometry.camera import RectifiedCamera
from lamm_pipeline.segmentation.detections import Detection

CAMERA = RectifiedCamera(width=640, height=240, fx=480.0, fy=480.0, cx=319.5, cy=100.0, baseline_m=0.4)
CAMERA_HEIGHT_M = 1.6
BACKGROUND_M = 90.0


def car(x: float, z: float, yaw: float, length: float = 4.1, width: float = 1.7, height: float = 1.5) -> Box3D:
    return Box3D(x, CAMERA_HEIGHT_M, z, length, width, height, yaw)


def person(x: float, z: float) -> Box3D:
    return Box3D(x, CAMERA_HEIGHT_M, z, 0.45, 0.5, 1.75, 0.0)


def render(boxes: list[Box3D], noise_px: float = 0.1, seed: int = 0) -> tuple[np.ndarray, list[np.ndarray]]:
    """Depth `(H, W)` float32 and the visible mask of each box; the noise is smooth over some pixels, as that of stereo matching is."""
    v, u = np.mgrid[0 : CAMERA.height, 0 : CAMERA.width]
    rays = np.stack([(u - CAMERA.cx) / CAMERA.fx, (v - CAMERA.cy) / CAMERA.fy, np.ones(u.shape)], axis=-1)
    with np.errstate(divide="ignore"):
        ground = np.where(rays[..., 1] > 0, CAMERA_HEIGHT_M / rays[..., 1], np.inf)
    layers = np.stack([np.minimum(ground, BACKGROUND_M)] + [_hit(rays, box) for box in boxes])
    nearest = layers.argmin(axis=0)
    depth = layers.min(axis=0)
    focal_baseline = CAMERA.fx * CAMERA.baseline_m
    noise = cv2.GaussianBlur(np.random.default_rng(seed).normal(0, 1, depth.shape), (0, 0), 2.0)
    disparity = focal_baseline / depth + noise * (noise_px / noise.std())
    depth = np.where(disparity > 0.5, focal_baseline / np.maximum(disparity, 0.5), np.nan)
    return depth.astype(np.float32), [nearest == n + 1 for n in range(len(boxes))]


def detection(mask: np.ndarray, class_id: str = "car", name: str = "scene:000000:0", confidence: float | None = 0.8) -> Detection:
    rows, columns = np.nonzero(mask)
    box = (float(columns.min()), float(rows.min()), float(columns.max()), float(rows.max()))
    centroid = (float(columns.mean()), float(rows.mean()))
    return Detection(name, class_id, class_id, confidence, box, rle.encode(mask), int(mask.sum()), centroid, None, "depth")


def _hit(rays: np.ndarray, box: Box3D) -> np.ndarray:
    """Distance along z at which each ray enters the box (slab method), infinite where it misses."""
    c, s = math.cos(box.rotation_y), math.sin(box.rotation_y)
    into = np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])
    centre = into @ np.array([box.x, box.y - box.height / 2, box.z])
    half = np.array([box.length, box.height, box.width]) / 2
    direction = rays @ into.T
    with np.errstate(divide="ignore", invalid="ignore"):
        first, second = (centre - half) / direction, (centre + half) / direction
    enter = np.minimum(first, second).max(axis=-1)
    leave = np.maximum(first, second).min(axis=-1)
    return np.where((enter < leave) & (leave > 0), np.maximum(enter, 0.01), np.inf)
