"""How well a rectification fits: the height by which matching points of both eyes differ."""

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.extraction.frame_registry import FrameRegistry

Image = NDArray[np.uint8]

FRAMES = 5
FEATURES = 1500
BEST_OF_TWO = 0.7  # Lowe's ratio: a match must be clearly better than the next best
MIN_MATCHES = 20


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
    """Median of `|y_left - y_right|` over matching features of all pairs.

    Args:
        pairs: left and right image, each `(H, W)` uint8.

    Returns:
        Pixels, rounded to three decimals; None with fewer than `MIN_MATCHES` matches.
    """
    offsets = [offset for left, right in pairs for offset in _offsets(left, right)]
    return round(float(np.median(offsets)), 3) if len(offsets) >= MIN_MATCHES else None


def _offsets(left: Image, right: Image) -> list[float]:
    sift = cv2.SIFT_create(FEATURES)  # type: ignore[attr-defined, unused-ignore]
    (points_left, features_left), (points_right, features_right) = (sift.detectAndCompute(image, None) for image in (left, right))
    if features_left is None or features_right is None:
        return []
    found = cv2.BFMatcher(cv2.NORM_L2).knnMatch(features_left, features_right, k=2)
    clear = [both[0] for both in found if len(both) == 2 and both[0].distance < BEST_OF_TWO * both[1].distance]
    return [abs(points_left[match.queryIdx].pt[1] - points_right[match.trainIdx].pt[1]) for match in clear]


def _grey(path: Path) -> Image:
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise OSError(f"{path} was just written and cannot be read")
    return np.asarray(image, np.uint8)
