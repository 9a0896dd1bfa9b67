"""Reading the depth maps of extracted frames, for the stages that come after."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction.frame_registry import FrameRecord
from lamm_pipeline.geometry.camera import RectifiedCamera


def read_depth(folder: Path, frame: FrameRecord, camera: RectifiedCamera) -> NDArray[np.float32] | None:
    """Depth map of a frame.

    Args:
        folder: of the frames.
        frame: whose depth.
        camera: of the recording; its size is that of the map.

    Returns:
        `(H, W)` float32, metres, NaN = unknown; None when extraction made none for this frame.

    Raises:
        InputError: the file is missing or damaged, not of the camera's size, or no floating point numbers: whole numbers would be
            millimetres, which do not fit 16 bits beyond 65.5 m. The sentence names the file relative to `folder`.
    """
    if frame.depth is None:
        return None
    try:
        with (folder / frame.depth).open("rb") as file:
            depth: NDArray[np.floating] = np.lib.format.read_array(file, allow_pickle=False)
    except (FileNotFoundError, ValueError):
        raise InputError(f"the depth {frame.depth} is missing or damaged") from None
    if depth.shape != (camera.height, camera.width) or not np.issubdtype(depth.dtype, np.floating):
        expected = (camera.height, camera.width)
        raise InputError(f"the depth {frame.depth} is {depth.dtype} of shape {depth.shape}, expected floating point metres of {expected}")
    return depth.astype(np.float32, copy=False)
