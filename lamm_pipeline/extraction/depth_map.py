"""The depth maps of extracted frames on disk, for extraction and for the stages that come after.

Two formats: `.npy`, float32 metres with NaN = unknown; and `.png`, KITTI's 16-bit depth PNG: 256 steps a metre, 0 = unknown. Sixteen bits
then end at 255.996 m. Millimetres in sixteen bits would end at 65.5 m, and what lies behind would come back as near.
"""

import io
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction.frame_registry import FrameRecord
from lamm_pipeline.extraction.settings import DepthFormat
from lamm_pipeline.geometry.camera import RectifiedCamera

STEPS_PER_M = 256
LARGEST = int(np.iinfo(np.uint16).max)
SUFFIXES = {DepthFormat.npy: ".npy", DepthFormat.png16: ".png"}


def write_depth(path: Path, depth: NDArray[np.float32]) -> int:
    """Write a depth map in the format that the suffix names.

    Args:
        path: ends in `.npy` or `.png`.
        depth: `(H, W)` float32, metres, NaN = unknown.

    Returns:
        Number of known values that the format cannot hold; they are unknown in the file.

    Raises:
        OSError: the file cannot be written.
    """
    # Written by Python: when the disk is full OpenCV may say nothing, and NumPy does not say which file and why.
    if path.suffix == SUFFIXES[DepthFormat.npy]:
        array = io.BytesIO()
        np.save(array, depth)
        path.write_bytes(array.getbuffer())
        return 0
    known = np.isfinite(depth)
    steps = np.rint(np.where(known, depth, 0.0).astype(np.float64) * STEPS_PER_M)
    fits = known & (steps >= 1) & (steps <= LARGEST)
    # No parameters: naming a compression level makes OpenCV twice as slow.
    path.write_bytes(cv2.imencode(".png", np.where(fits, steps, 0).astype(np.uint16))[1].tobytes())
    return int(np.count_nonzero(known & ~fits))


def read_depth(folder: Path, frame: FrameRecord, camera: RectifiedCamera) -> NDArray[np.float32] | None:
    """Depth map of a frame.

    Args:
        folder: of the frames.
        frame: whose depth.
        camera: of the recording; its size is that of the map.

    Returns:
        `(H, W)` float32, metres, NaN = unknown; None when extraction made none for this frame.

    Raises:
        InputError: the file is missing or damaged, not of the camera's size, or not in one of the two formats. The sentence names the
            file relative to `folder`.
    """
    if frame.depth is None:
        return None
    path = folder / frame.depth
    depth = _read_png(path) if path.suffix == SUFFIXES[DepthFormat.png16] else _read_npy(path)
    if depth is None:
        raise InputError(f"the depth {frame.depth} is missing or damaged")
    expected = (camera.height, camera.width)
    if depth.shape != expected or not np.issubdtype(depth.dtype, np.floating):
        raise InputError(f"the depth {frame.depth} is {depth.dtype} of shape {depth.shape}, expected floating point metres of {expected}")
    return depth.astype(np.float32, copy=False)


def _read_npy(path: Path) -> NDArray[np.generic] | None:
    """The array as it stands: whole numbers in it would be millimetres, which do not fit 16 bits beyond 65.5 m."""
    try:
        with path.open("rb") as file:
            array: NDArray[np.generic] = np.lib.format.read_array(file, allow_pickle=False)
            return array
    except (FileNotFoundError, ValueError):
        return None


def _read_png(path: Path) -> NDArray[np.generic] | None:
    steps = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) if path.is_file() else None
    if steps is None or steps.dtype != np.uint16 or steps.ndim != 2:
        return None
    return np.where(steps == 0, np.float32(np.nan), steps.astype(np.float32) / np.float32(STEPS_PER_M))
