"""Between the camera's YUV and BGR images.

ZED cameras deliver full-range BT.601 and say so nowhere in the stream, so the conversion is a choice of ours, not of the decoder.
Chroma is upsampled by repetition, the way video players do.
"""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

_BT709 = np.array([[1.0, 0.0, 1.8556], [1.0, -0.468124, -0.187324], [1.0, 1.5748, 0.0]])
"""Rows B, G, R; columns Y, Cr, Cb (ITU-R BT.709)."""


_LEVELS = np.arange(256, dtype=np.float64)
_LIMITED_LUMA: Image = np.clip(np.rint((_LEVELS - 16) * 255 / 219), 0, 255).astype(np.uint8)
_LIMITED_CHROMA: Image = np.clip(np.rint((_LEVELS - 128) * 255 / 224 + 128), 0, 255).astype(np.uint8)
"""Look-up tables from limited to full range."""


@dataclass(frozen=True)
class ColorConversion:
    """How YUV becomes BGR: the matrix, and whether luma spans 0..255 (`full`) or 16..235 (`limited`)."""

    matrix: Literal["bt601", "bt709"] = "bt601"
    range: Literal["full", "limited"] = "full"


FULL_RANGE_BT601 = ColorConversion()


def yuv_to_bgr(y: Image, u: Image, v: Image, color: ColorConversion = FULL_RANGE_BT601) -> Image:
    """Convert planes to one BGR image.

    Args:
        y: `(H, W)`.
        u: `(H', W')` with any subsampling.
        v: like `u`.
        color: matrix and range.

    Returns:
        `(H, W, 3)` uint8.
    """
    planes = [y, v, u]
    if color.range == "limited":
        planes = [_LIMITED_LUMA[y], _LIMITED_CHROMA[v], _LIMITED_CHROMA[u]]
    size = (y.shape[1], y.shape[0])
    ycrcb = cv2.merge([plane if plane.shape == y.shape else cv2.resize(plane, size, interpolation=cv2.INTER_NEAREST) for plane in planes])
    if color.matrix == "bt601":
        return np.asarray(cv2.cvtColor(ycrcb, cv2.COLOR_YCrCb2BGR), np.uint8)
    offset = -128 * _BT709[:, 1:].sum(axis=1, keepdims=True)
    return np.asarray(cv2.transform(ycrcb, np.hstack([_BT709, offset])), np.uint8)


def bgr_to_yuv(image: Image, subsampling: Literal["420", "422"]) -> tuple[Image, Image, Image]:
    """Convert a BGR image to full-range BT.601 planes; chroma is averaged.

    Args:
        image: `(H, W, 3)` uint8; W even, and H even for 4:2:0.
        subsampling: `420` halves chroma both ways, `422` only horizontally.

    Returns:
        Planes Y, U, V.
    """
    height, width = image.shape[:2]
    y, v, u = cv2.split(cv2.cvtColor(image, cv2.COLOR_BGR2YCrCb))
    size = (width // 2, height // 2 if subsampling == "420" else height)
    halves = [np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), np.uint8) for plane in (u, v)]
    return np.asarray(y, np.uint8), halves[0], halves[1]
