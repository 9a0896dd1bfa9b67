"""How well a rectification fits: the height by which matching points of both eyes differ."""

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.extraction.frame_registry import FrameRegistry

Image = NDArray[np.uint8]

FRAMES = 5
CORNERS = 400
MIN_MATCHES = 20

_QUALITY = 0.01
_APART_PX = 8
_WINDOW = (21, 21)
_LEVELS = 5  # halvings: disparities of a tenth of the width are followed
_RETURN_PX = 0.5


def row_offset(registry: FrameRegistry, folder: Path) -> float | None:
    """Median row offset of a few frames spread over a recording.

    Args:
        registry: of the frames, with rectified images.
        folder: where their images lie.

    Returns:
        Pixels, rounded to three decimals; None when too few points match to tell.
    """
    frames = registry.selected_frames
    places = sorted({round(place) for place in np.linspace(0, len(frames) - 1, min(FRAMES, len(frames)))})
    pairs = ((frames[place].image_left, frames[place].image_right) for place in places)
    return median_row_offset((_grey(folder / left), _grey(folder / right)) for left, right in pairs if left and right)


def median_row_offset(pairs: Iterable[tuple[Image, Image]]) -> float | None:
    """Median of `|y_left - y_right|` over matching points of all pairs.

    Args:
        pairs: left and right image, each `(H, W)` uint8.

    Returns:
        Pixels, rounded to three decimals; None with fewer than `MIN_MATCHES` matches.
    """
    offsets = [offset for left, right in pairs for offset in _offsets(left, right)]
    return round(float(np.median(offsets)), 3) if len(offsets) >= MIN_MATCHES else None


def _offsets(left: Image, right: Image) -> list[float]:
    """Of corners that optical flow follows into the right image and back to where they were.

    As exact as matched SIFT features (within 0.1 px on street scenes and OpenCV's aloe, up to 25 rows apart), in an eighth of the time.
    """
    corners = cv2.goodFeaturesToTrack(left, CORNERS, _QUALITY, _APART_PX)
    if corners is None:
        return []
    start = np.asarray(corners, np.float32).reshape(-1, 2)
    there, found = _followed(left, right, start)
    back, found_back = _followed(right, left, there)
    good = found & found_back & (np.linalg.norm(back - start, axis=1) < _RETURN_PX)
    offsets: list[float] = np.abs(there - start)[good, 1].tolist()
    return offsets


def _followed(image: Image, other: Image, start: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    end, found, _ = cv2.calcOpticalFlowPyrLK(image, other, start, np.empty(0, np.float32), winSize=_WINDOW, maxLevel=_LEVELS)
    return np.asarray(end, np.float32), found.ravel() > 0


def _grey(path: Path) -> Image:
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise OSError(f"{path} was just written and cannot be read")
    return np.asarray(image, np.uint8)
