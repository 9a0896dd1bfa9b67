"""The frames of a recording as a video: read from the artifact when they are asked for, without a copy."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction.depth_map import read_depth
from lamm_pipeline.extraction.frame_registry import FrameRecord, FrameRegistry

KEPT = 2
"""Frames that stay in memory: where two windows meet a frame is read twice."""


@dataclass(frozen=True)
class VideoFrame:
    """What a frame of a video is called.

    Attributes:
        frame_id: `<recording>:<frame index, 6 digits>`.
        frame_index: index in the recording.
        timestamp_ns: Unix time of the image.
        name: file name of the image.
    """

    frame_id: str
    frame_index: int
    timestamp_ns: int
    name: str

    @classmethod
    def of(cls, record: FrameRecord) -> "VideoFrame":
        """The name of an extracted frame."""
        name = Path(record.image_left).name if record.image_left else f"{record.filename_base}.png"
        return cls(record.frame_id, record.svo2_frame_index, record.timestamp_ns, name)


class RegistryVideo:
    """A `Video` of the left images and depth maps of a recording's selected frames.

    Args:
        registry: of the frames.
        folder: the artifact folder of the frames.
    """

    def __init__(self, registry: FrameRegistry, folder: Path) -> None:
        self._registry = registry
        self._folder = folder
        self._records: Sequence[FrameRecord] = registry.selected_frames
        self.frames = tuple(VideoFrame.of(record) for record in self._records)
        self._image = lru_cache(KEPT)(self._read_image)
        self._depth = lru_cache(KEPT)(self._read_depth)

    def __len__(self) -> int:
        return len(self._records)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self._registry.width, self._registry.height

    def image(self, index: int) -> NDArray[np.uint8] | None:
        """`(H, W, 3)` BGR, not to be written to; None where it is missing, damaged or of another size."""
        return self._image(index)

    def depth(self, index: int) -> NDArray[np.float32] | None:
        """`(H, W)` metres, NaN = unknown, not to be written to; None where there is none or it is damaged."""
        return self._depth(index)

    def _read_image(self, index: int) -> NDArray[np.uint8] | None:
        name = self._records[index].image_left
        image = None if name is None else cv2.imread(str(self._folder / name), cv2.IMREAD_COLOR)
        if image is None or image.shape[:2] != (self._registry.height, self._registry.width):
            return None
        return np.asarray(image, np.uint8)

    def _read_depth(self, index: int) -> NDArray[np.float32] | None:
        camera = self._registry.camera
        try:
            return None if camera is None else read_depth(self._folder, self._records[index], camera)
        except InputError:
            return None
