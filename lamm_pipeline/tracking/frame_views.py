"""What tracking reads from images and depth of a frame: the camera's motion and the ground."""

from collections.abc import Iterable, Iterator
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
from lamm_pipeline.streaming import map_ordered
from lamm_pipeline.tracking.camera_path import Pose
from lamm_pipeline.tracking.odometry import Sight, camera_motion, sight_of


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


@dataclass(frozen=True)
class _Seen:
    """A frame on its own; no sight when its image is missing."""

    frame: FrameBoxes
    sight: Sight | None
    ground: GroundPlane | None


class FrameViews:
    """Images and depth maps of a recording, read frame by frame."""

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

    def look(
        self, frames: Iterable[FrameBoxes], *, continued: bool = False, workers: int | None = None
    ) -> Iterator[tuple[FrameBoxes, FrameView]]:
        """Look at frames in order, each read once: the motion since the frame before, and the ground where there are boxes to put on it.

        Args:
            frames: consumed lazily.
            continued: the first frame was looked at before and only tells the motion to the second; it is not returned.
            workers: threads; None means one a processor.
        """
        seen = (each for _, each in map_ordered(self._see, frames, workers))
        for (_, later), motion in map_ordered(self._motion, _pairs(seen, continued=continued), workers):
            yield later.frame, FrameView(motion, later.ground)

    def depth(self, frame_id: str) -> NDArray[np.float32] | None:
        """Depth map of a frame, None when there is none or it is damaged (the frame is counted as failed by the stages before)."""
        record = self._record(frame_id)
        try:
            return read_depth(self._folder, record, self.camera)
        except InputError:
            return None

    def _see(self, frame: FrameBoxes) -> _Seen:
        image, depth = self._image(frame.frame_id), self.depth(frame.frame_id)
        sight = None if image is None else sight_of(image, depth, self.camera)
        ground = fit_ground_plane(depth, self.camera) if frame.boxes and depth is not None else None
        return _Seen(frame, sight, ground)

    def _motion(self, pair: tuple[_Seen | None, _Seen]) -> Pose | None:
        earlier, later = pair
        if earlier is None or earlier.sight is None or later.sight is None:
            return None
        motion = camera_motion(earlier.sight, later.sight, self.camera)
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


def _pairs(seen: Iterator[_Seen], *, continued: bool) -> Iterator[tuple[_Seen | None, _Seen]]:
    """Each frame with the one before it, which the very first does not have."""
    before = next(seen, None) if continued else None
    for each in seen:
        yield before, each
        before = each
