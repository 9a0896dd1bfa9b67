"""The truth about a frame: depth, instance masks and KITTI labels, in the rectified left camera.

Labels are KITTI's: the 2D box encloses the whole cuboid, cut to the image, whether something hides it or not; `occluded` tells how much
of its part inside the image is visible, `truncated` how much of it is outside. Objects of which nothing can be made out are not labelled.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.geometry.box_3d import Box3D
from lamm_pipeline.geometry.boxes_3d import alpha, image_outline, projected_box_xyxy
from lamm_pipeline.reconstruction.kitti_labels import KittiObject
from lamm_pipeline.sample.motion import CameraPose
from lamm_pipeline.sample.ray_cast import View, Window, cast, meets, view, windows
from lamm_pipeline.sample.rig import EyeRays, Rig
from lamm_pipeline.sample.scene import ACTORS, NOT_AN_OBJECT, Surface

OCCLUSION_LEVELS = (0.9, 0.5)
"""Visible shares from which an object counts as fully (0) and as partly visible (1); below it is largely occluded (2)."""
SMALLEST_VISIBLE_SHARE = 0.05
SMALLEST_VISIBLE_PX = 40


@dataclass(frozen=True)
class FrameTruth:
    """What is true of one picture.

    Attributes:
        depth: `(H, W)` float32 metres along the optical axis, NaN in the sky.
        instances: `(H, W)` uint8, track id + 1, 0 elsewhere.
        objects: labels with track ids, in the order of the ids.
    """

    depth: NDArray[np.float32]
    instances: NDArray[np.uint8]
    objects: tuple[KittiObject, ...]


def frame_truth(rig: Rig, surfaces: Sequence[Surface], boxes: dict[int, Box3D], pose: CameraPose) -> FrameTruth:
    """Work out the truth of a frame.

    Args:
        rig: the camera.
        surfaces: the scene.
        boxes: the actors in the rectified left camera, by track id.
        pose: of the rectified left camera.
    """
    rays = rig.rectified_left
    seen = view(surfaces, pose, 0.0)
    parts = windows(seen, rays)
    hits = cast(rays.x, rays.y, seen, parts)
    # the last entry of each table is for rays that meet nothing, whose surface is -1
    infinite = np.array([s.is_sky for s in seen.surfaces] + [True])[hits.surface]
    depth = np.full(hits.surface.shape, np.nan, dtype=np.float32)
    np.divide(np.float32(1.0), hits.inverse_depth, out=depth, where=~infinite)
    instances = np.array([s.track_id + 1 for s in seen.surfaces] + [NOT_AN_OBJECT + 1], dtype=np.uint8)[hits.surface]
    visible = np.bincount(instances.ravel(), minlength=len(ACTORS) + 1)
    labels = []
    for actor in ACTORS:
        whole = _pixels_in_image(rays, seen, parts, actor.track_id)
        label = _label(rig, boxes[actor.track_id], actor.kitti_type, actor.track_id, int(visible[actor.track_id + 1]), whole)
        if label is not None:
            labels.append(label)
    return FrameTruth(depth, instances, tuple(labels))


def truncation_level(truncated: float) -> int:
    """KITTI's level of truncation in tracking labels for a share: 0 none, 1 up to half, 2 more."""
    return 0 if truncated == 0.0 else 1 if truncated <= 0.5 else 2


def _pixels_in_image(rays: EyeRays, seen: View, parts: Sequence[Window | None], track_id: int) -> int:
    """Pixels that the object would cover if nothing stood before it."""
    covered = np.zeros(rays.x.shape, dtype=np.bool_)
    for n, (surface, part) in enumerate(zip(seen.surfaces, parts, strict=True)):
        if surface.track_id == track_id and part is not None:
            covered[part] |= meets(rays.x[part], rays.y[part], seen, n)[1]
    return int(np.count_nonzero(covered))


def _label(rig: Rig, box: Box3D, kitti_type: str, track_id: int, visible: int, whole: int) -> KittiObject | None:
    camera = rig.camera
    box_xyxy = projected_box_xyxy(box, camera.projection_left, camera.width, camera.height)
    if box_xyxy is None or visible < max(SMALLEST_VISIBLE_PX, SMALLEST_VISIBLE_SHARE * whole):
        return None
    outline = image_outline(box, camera.projection_left)
    inside = outline.min() >= 0.0 and outline[:, 0].max() <= camera.width - 1 and outline[:, 1].max() <= camera.height - 1
    truncated = 0.0 if inside else float(np.clip(1.0 - whole / cv2.contourArea(outline.astype(np.float32)), 0.0, 1.0))
    share = visible / whole
    occluded = 0 if share >= OCCLUSION_LEVELS[0] else 1 if share >= OCCLUSION_LEVELS[1] else 2
    return KittiObject(kitti_type, truncated, occluded, alpha(box), box_xyxy, box, None, track_id)
