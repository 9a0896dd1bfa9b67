"""Objects drawn into images, for people."""

import colorsys
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.geometry import rle
from lamm_pipeline.geometry.box_3d import Box3D
from lamm_pipeline.geometry.boxes_3d import project_edges

Image = NDArray[np.uint8]
Color = tuple[int, int, int]

MASK_OPACITY = 0.45
_COLOR_SEED = 2
_GOLDEN_SECTION = 0.618033988749895


def draw_mask(image_bgr: Image, mask_rle: Mapping[str, Any], color_rgb: Color) -> None:
    """Tint the mask's pixels of `image_bgr`, `(H, W, 3)`, in place."""
    tint(image_bgr, rle.decode(mask_rle), color_rgb)


def tint(image_bgr: Image, covered: NDArray[np.bool_], color_rgb: Color) -> None:
    """Tint the pixels of `image_bgr`, `(H, W, 3)`, that `covered`, `(H, W)`, names, in place."""
    color = np.array(color_rgb[::-1], np.float32)
    image_bgr[covered] = ((1 - MASK_OPACITY) * image_bgr[covered] + MASK_OPACITY * color).astype(np.uint8)


def draw_box(image_bgr: Image, box_xyxy: tuple[float, float, float, float], color_rgb: Color, label: str = "") -> None:
    """Draw a 2D box with a label above it, in place."""
    x1, y1, x2, y2 = (round(value) for value in box_xyxy)
    cv2.rectangle(image_bgr, (x1, y1), (x2, y2), color_rgb[::-1], 2)
    if label:
        cv2.putText(image_bgr, label, (x1, max(12, y1 - 4)), cv2.FONT_HERSHEY_SIMPLEX, 0.5, color_rgb[::-1], 1, cv2.LINE_AA)


def draw_box_3d(image_bgr: Image, box: Box3D, projection: NDArray[np.float64], color_rgb: Color) -> None:
    """Draw the edges of a 3D box, in place, cut where they reach behind the camera.

    Args:
        image_bgr: `(H, W, 3)`.
        box: in the frame that `projection` starts from.
        projection: `(3, 4)`.
        color_rgb: of the edges.
    """
    for start, end in project_edges(box, projection):
        ends = [(round(float(x)), round(float(y))) for x, y in (start, end)]
        cv2.line(image_bgr, ends[0], ends[1], color_rgb[::-1], 2, cv2.LINE_AA)


def distinct_color(number: int) -> Color:
    """A strong colour for an object without a class, red, green, blue: the same for the same number, in every picture and every run.

    Hues of following numbers lie a golden section apart, so that few objects never look alike.
    """
    shade = np.random.default_rng([_COLOR_SEED, int(number < 0), abs(number)])
    hue = (number * _GOLDEN_SECTION) % 1.0
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.65 + 0.35 * shade.random(), 0.8 + 0.2 * shade.random())
    return round(255 * red), round(255 * green), round(255 * blue)
