"""Small frames with bright squares, a registry of them, and a segmenter that finds them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.extraction.frame_registry import FrameRecord, FrameRegistry
from lamm_pipeline.geometry.camera import RectifiedCamera
from lamm_pipeline.segmentation import detections
from lamm_pipeline.segmentation.depth_masks import MaskCrop
from lamm_pipeline.segmentation.detections import Detection, FrameDetections
from lamm_pipeline.segmentation.segmenter import RawDetection, Segmentation
from lamm_pipeline_tests.extraction.frame_records import frame_record

WIDTH, HEIGHT = 80, 60

CAMERA = RectifiedCamera(WIDTH, HEIGHT, 70.0, 70.0, 40.0, 30.0, 0.12)


class BrightSquares:
    """A back end that outlines what is brighter than 200, and reports nothing in a frame without it."""

    def __init__(self) -> None:
        self.seen = 0

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"backend": "bright squares"}

    def segment(self, image_bgr: NDArray[np.uint8], depth: NDArray[np.float32] | None, camera: RectifiedCamera | None) -> Segmentation:
        self.seen += 1
        rows, columns = np.nonzero(image_bgr[:, :, 0] > 200)
        if len(rows) == 0:
            return Segmentation((), {"too dark": 1})
        x, y = int(columns.min()), int(rows.min())
        pixels = image_bgr[y : rows.max() + 1, x : columns.max() + 1, 0] > 200
        box = np.array([x, y, x + pixels.shape[1], y + pixels.shape[0]], dtype=np.float64)
        source = "box" if depth is None or camera is None else "depth"
        return Segmentation((RawDetection("car", 1 / 3, box, MaskCrop(x, y, pixels), source),), {})


class KilledError(Exception):
    """Stands for the end of the process."""


def frame(index: int, *, depth: bool = True, selected: bool = True) -> FrameRecord:
    return frame_record(
        "drive",
        index,
        1_700_000_000_000_000_000 + index,
        image_left=f"image_left/{index:06d}.png" if selected else None,
        depth=f"depth/{index:06d}.npy" if depth and selected else None,
        selected=selected,
        drop_reason=None if selected else "duplicate",
    )


def registry(frames: list[FrameRecord], camera: RectifiedCamera | None = CAMERA) -> FrameRegistry:
    return FrameRegistry(
        "drive", "drive.svo2", "00", 100, len(frames), (), {}, {}, camera is not None, camera, WIDTH, HEIGHT, tuple(frames)
    )


def write_files(folder: Path, frames: list[FrameRecord]) -> None:
    """Frame n shows a bright square with its corner at (n, 10), 6 m away; every fifth frame is dark."""
    (folder / "image_left").mkdir(parents=True)
    (folder / "depth").mkdir()
    for each in frames:
        index = each.svo2_frame_index
        image = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
        if index % 5:
            image[10:30, index : index + 20] = 255
        if each.image_left is not None:
            cv2.imwrite(str(folder / each.image_left), image)
        if each.depth is not None:
            np.save(folder / each.depth, np.where(image[:, :, 0] > 0, np.float32(6.0), np.float32(np.nan)))


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def write_detections(path: Path, frames: Sequence[FrameRecord], objects: Callable[[FrameRecord], Sequence[Detection]]) -> Path:
    detections.write(
        path,
        {"total_frames": len(frames)},
        (FrameDetections(each.frame_id, each.svo2_frame_index, each.timestamp_ns, WIDTH, HEIGHT, tuple(objects(each))) for each in frames),
    )
    return path
