from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageSequence
from skimage import data

from lamm_pipeline.review.gif_encoder import GifQuality, GifWriter, choose_palette, spread, write_gif
from lamm_pipeline_tests.review.gif_blocks import read_gif

GREEN = (0, 255, 0)
QUALITIES = list(GifQuality)


def clip(frames: int, width: int = 160, height: int = 90) -> list[NDArray[np.uint8]]:
    """A camera that moves over a photograph."""
    photograph = data.astronaut()
    return [np.ascontiguousarray(photograph[60 : 60 + height, 100 + 2 * n : 100 + 2 * n + width]) for n in range(frames)]


def shown(path: Path) -> list[NDArray[np.uint8]]:
    with Image.open(path) as gif:
        return [np.asarray(each.convert("RGB")) for each in ImageSequence.Iterator(gif)]


def psnr(path: Path, images: list[NDArray[np.uint8]]) -> float:
    seen = shown(path)
    assert len(seen) == len(images)
    error = np.mean([np.mean((a.astype(float) - b) ** 2) for a, b in zip(seen, images, strict=True)])
    return float(10 * np.log10(255**2 / error))


@pytest.mark.requirement("GIF-03", "GIF-04", "GIF-05", "AV-12")
@pytest.mark.parametrize("quality", QUALITIES)
def test_a_gif_plays_half_a_second_a_frame_for_ever_with_at_most_256_colours(tmp_path: Path, quality: GifQuality) -> None:
    write_gif(tmp_path / "a.gif", clip(7), quality)
    gif = read_gif(tmp_path / "a.gif")
    assert gif.signature == b"GIF89a"
    assert (gif.width, gif.height) == (160, 90)
    assert gif.loops == 0
    assert [each.delay_ms for each in gif.frames] == [500] * 7
    assert 0 < gif.global_colors <= 256
    assert all(each.local_colors == 0 for each in gif.frames), "one palette for all"
    with Image.open(tmp_path / "a.gif") as pillow:
        assert (pillow.n_frames, pillow.info["loop"], pillow.info["duration"]) == (7, 0, 500)


@pytest.mark.requirement("GIF-03")
@pytest.mark.parametrize("frames", [1, 4])
def test_equal_frames_stay_as_many_as_they_were(tmp_path: Path, frames: int) -> None:
    write_gif(tmp_path / "a.gif", clip(1) * frames)
    assert [each.delay_ms for each in read_gif(tmp_path / "a.gif").frames] == [500] * frames


@pytest.mark.requirement("GIF-04")
def test_the_colours_are_near_those_of_the_frames_and_nearer_in_high_quality(tmp_path: Path) -> None:
    images = clip(12)
    for quality in QUALITIES:
        write_gif(tmp_path / f"{quality}.gif", images, quality)
    standard, high = (psnr(tmp_path / f"{quality}.gif", images) for quality in (GifQuality.standard, GifQuality.high))
    assert standard > 33
    assert high > standard + 1.5


@pytest.mark.requirement("GIF-05")
def test_what_stays_is_transparent_or_left_out(tmp_path: Path) -> None:
    images = [clip(1)[0].copy() for _ in range(3)]
    for number, image in enumerate(images):
        image[20:30, 10 * number : 10 * number + 10] = 255
    write_gif(tmp_path / "a.gif", images)
    gif = read_gif(tmp_path / "a.gif")
    assert gif.frames[0].box == (0, 0, 160, 90)
    assert [each.box for each in gif.frames[1:]] == [(0, 20, 20, 30), (10, 20, 30, 30)]
    assert all(each.transparent_index is not None for each in gif.frames[1:])
    seen = shown(tmp_path / "a.gif")
    assert (seen[2][40:] == seen[0][40:]).all()
    assert (seen[2][20:30, 20:30] > 240).all()


@pytest.mark.parametrize("quality", QUALITIES)
def test_the_same_frames_give_the_same_bytes(tmp_path: Path, quality: GifQuality) -> None:
    for name in ("a", "b"):
        write_gif(tmp_path / f"{name}.gif", clip(5), quality)
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()


@pytest.mark.parametrize("quality", QUALITIES)
def test_few_colours_and_those_asked_for_come_back_exactly(tmp_path: Path, quality: GifQuality) -> None:
    image = np.zeros((20, 31, 3), np.uint8)
    image[5:10] = (255, 255, 255)
    image[12] = GREEN
    image[15, 3] = (200, 10, 10)
    with GifWriter(tmp_path / "a.gif", 31, 20, choose_palette([image], quality, [GREEN])) as gif:
        gif.add(image)
    assert gif.frames == 1
    assert (shown(tmp_path / "a.gif")[0] == image).all()


@pytest.mark.parametrize("quality", QUALITIES)
@pytest.mark.parametrize("size", [(1, 1), (3, 1), (37, 23)])
def test_odd_and_tiny_sizes_are_written(tmp_path: Path, quality: GifQuality, size: tuple[int, int]) -> None:
    width, height = size
    write_gif(tmp_path / "a.gif", clip(2, width, height), quality)
    assert [each.shape for each in shown(tmp_path / "a.gif")] == [(height, width, 3)] * 2


def test_a_palette_never_has_more_entries_than_fit_beside_the_transparent_one() -> None:
    palette = choose_palette(clip(3), always=[GREEN])
    assert palette.colors_rgb.shape == (255, 3)
    assert tuple(palette.colors_rgb[0]) == GREEN


def test_numbers_are_spread_from_the_first_to_the_last() -> None:
    assert list(spread(10, 4)) == [0, 3, 6, 9]
    assert list(spread(3, 6)) == [0, 1, 2]
    assert list(spread(5, 1)) == [0]
