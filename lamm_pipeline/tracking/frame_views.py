"""What tracking reads from images and depth of a frame: the camera's motion and the ground."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction.depth_map import read_depth
from lamm_pipeline.extraction.frame_registry import FrameRecord, FrameRegistry
from lamm_pipeline.geometry.box_3d import Box3D
from lamm_pipeline.geometry.camera import RectifiedCamera
from lamm_pipeline.geometry.ground_plane import GroundPlane, fit_ground_plane
from lamm_pipeline.reconstruction.frame_boxes import FrameBoxes
from lamm_pipeline.tracking.camera_path import Pose
from lamm_pipeline.tracking.odometry import camera_motion


@dataclass(frozen=True)
class FrameView:
    """One frame.

    Attributes:
        motion: camera coordinates of this frame to those of the frame before; None when the images do not tell.
        ground: plane the objects stand on, None when unknown.
    """

    motion: Pose | None = None
    ground: GroundPlane | None = None

    def above_ground_m(self, box: Box3D) -> float | None:
        """Height of the underside of a box above the ground, None without a plane."""
        return None if self.ground is None else float(self.ground.height_above(np.array([box.x, box.y, box.z])))


class FrameViews:
    """Images and depth maps of a recording, read one frame at a time. Safe to use from several threads."""

    def __init__(self, registry: FrameRegistry, folder: Path, camera: RectifiedCamera) -> None:
        self.camera = camera
        self._folder = folder
        self._records = {record.frame_id: record for record in registry.frames}

    @classmethod
    def of(cls, registry: FrameRegistry, folder: Path) -> "FrameViews | None":
        """The views of a recording; None when its frames are not rectified or have no depth."""
        if not registry.rectified or registry.camera is None or not any(record.depth for record in registry.frames):
            return None
        return cls(registry, folder, registry.camera)

    def look(self, before: FrameBoxes | None, frame: FrameBoxes) -> FrameView:
        """Motion since the frame before, and the ground plane where there are boxes to put on it."""
        depth = self.depth(frame.frame_id) if frame.boxes else None
        ground = None if depth is None else fit_ground_plane(depth, self.camera)
        return FrameView(None if before is None else self._motion(before.frame_id, frame.frame_id), ground)

    def depth(self, frame_id: str) -> NDArray[np.float32] | None:
        """Depth map of a frame, None when there is none or it is damaged (the frame is counted as failed by the stages before)."""
        record = self._record(frame_id)
        try:
            return read_depth(self._folder, record, self.camera)
        except InputError:
            return None

    def _motion(self, before: str, frame: str) -> Pose | None:
        earlier, later, depth = self._image(before), self._image(frame), self.depth(before)
        if earlier is None or later is None or depth is None:
            return None
        motion = camera_motion(earlier, depth, later, self.camera)
        return None if motion is None else motion.matrix

    def _image(self, frame_id: str) -> NDArray[np.uint8] | None:
        record = self._record(frame_id)
        image = None if record.image_left is None else cv2.imread(str(self._folder / record.image_left), cv2.IMREAD_GRAYSCALE)
        if image is None or image.shape != (self.camera.height, self.camera.width):
            return None
        return np.asarray(image, dtype=np.uint8)

    def _record(self, frame_id: str) -> FrameRecord:
        try:
            return self._records[frame_id]
        except KeyError:
            message = f"The 3D boxes name the frame {frame_id!r}, which is not among the extracted ones. Run boxes_3d again."
            raise InputError(message) from None
