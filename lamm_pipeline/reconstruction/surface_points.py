"""A sample of the points each box was fitted to, beside the boxes: `surface_points/<frame index>.npy`. Owns the format.

One `(N, 4)` float32 array a frame: the position of the box in the frame's list of boxes, and x, y, z in metres, rectified left camera.
Frames without boxes have no file.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.errors import InputError
from lamm_pipeline.reconstruction.object_points import thin

FOLDER = "surface_points"
POINTS_PER_BOX = 100
"""Enough for the outline of a box: more are no more certain, because neighbouring depth values share their errors."""


def write(folder: Path, frame_index: int, points: Sequence[NDArray[np.float64]]) -> None:
    """Write the points of a frame.

    Args:
        folder: of the stage's output.
        frame_index: of the frame.
        points: `(N, 3)` for each box of the frame; thinned to about `POINTS_PER_BOX`.
    """
    if not points:
        return
    thinned = [thin(each, POINTS_PER_BOX) for each in points]
    rows = [np.column_stack([np.full(len(each), number), each]) for number, each in enumerate(thinned)]
    path = _path(folder, frame_index)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.concatenate(rows).astype(np.float32))


def read(folder: Path, frame_index: int) -> NDArray[np.float32] | None:
    """What `write` wrote, None for a frame without a file.

    Raises:
        InputError: the file is damaged.
    """
    path = _path(folder, frame_index)
    if not path.is_file():
        return None
    try:
        rows: NDArray[np.float32] = np.load(path)
    except (ValueError, EOFError) as error:
        raise InputError(f"{path} is damaged ({error}). Run boxes_3d again.") from error
    return rows


def _path(folder: Path, frame_index: int) -> Path:
    return folder / FOLDER / f"{frame_index:06d}.npy"
