import numpy as np
import pytest
from numpy.typing import NDArray

from lamm_pipeline.recordings.color import ColorConversion, bgr_to_yuv, yuv_to_bgr

WEIGHTS = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}


def by_formula(planes: list[NDArray[np.uint8]], color: ColorConversion) -> NDArray[np.float64]:
    """ITU-R BT.601 / BT.709 in floating point."""
    y, u, v = (plane.astype(np.float64) for plane in planes)
    u, v = u - 128, v - 128
    if color.range == "limited":
        y, u, v = (y - 16) * 255 / 219, u * 255 / 224, v * 255 / 224
    red_weight, blue_weight = WEIGHTS[color.matrix]
    red, blue = y + 2 * (1 - red_weight) * v, y + 2 * (1 - blue_weight) * u
    green = (y - red_weight * red - blue_weight * blue) / (1 - red_weight - blue_weight)
    return np.clip(np.stack([blue, green, red], axis=-1), 0, 255)


@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
@pytest.mark.parametrize("span", ["full", "limited"])
def test_every_conversion_is_within_two_levels_of_the_formula(matrix, span) -> None:
    low, high = ((0, 0, 0), (256, 256, 256)) if span == "full" else ((16, 16, 16), (236, 241, 241))
    rng = np.random.default_rng(0)
    planes = [rng.integers(a, b, (60, 80), dtype=np.uint8) for a, b in zip(low, high, strict=True)]
    color = ColorConversion(matrix, span)
    assert np.abs(yuv_to_bgr(*planes, color) - by_formula(planes, color)).max() <= 2


@pytest.mark.requirement("ING-10")
def test_default_keeps_the_whole_range_of_the_camera() -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    neutral = np.full((8, 8), 128, np.uint8)
    assert (yuv_to_bgr(grey, neutral, neutral) == grey[:, :, None]).all()


@pytest.mark.parametrize("subsampling", ["420", "422"])
def test_smooth_image_survives_yuv(subsampling) -> None:
    rows, columns = np.mgrid[0:64, 0:96]
    image = np.stack([rows * 2, columns * 2, rows + columns], axis=-1).astype(np.uint8)
    planes = bgr_to_yuv(image, subsampling)
    assert planes[1].shape == (32 if subsampling == "420" else 64, 48)
    assert np.abs(yuv_to_bgr(*planes).astype(int) - image).max() <= 6


def test_chroma_is_repeated_over_the_pixels_it_stands_for() -> None:
    y = np.full((2, 4), 100, np.uint8)
    u = np.array([[128, 200]], np.uint8)
    image = yuv_to_bgr(y, u, np.full((1, 2), 128, np.uint8))
    assert (image[:, :2] == 100).all()
    assert (image[:, 2:, 0] > 200).all()
