"""Review GIFs against imageio, whose writer is the usual one: 60 frames of 320x180 of a fixed camera with people, boxes drawn in."""

import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import imageio.v2 as imageio
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from lamm_pipeline.review.gif_encoder import FRAME_MS, GifQuality, write_gif
from lamm_pipeline_tests.benchmarks.harness import Means, Row, take_turns

WIDTH, HEIGHT = 320, 180
BOUNDS_DB = {GifQuality.standard: 34.5, GifQuality.high: 37.0}
TIME, SIZE = 0.1, 0.35  # of imageio's, in standard quality


def run(means: Means) -> list[Row]:
    images = _clip(means.real("vtest") / "vtest.avi", 6 if means.tiny else 60)
    paths = {name: means.folder / f"{name}.gif" for name in (*GifQuality, "imageio")}
    variants: dict[str, Callable[[], object]] = {name: partial(write_gif, paths[name], images, name) for name in GifQuality}
    variants["imageio"] = partial(imageio.mimsave, paths["imageio"], images, duration=FRAME_MS, loop=0)
    took = take_turns(variants, 1 if means.tiny else 7)
    sizes = {name: path.stat().st_size / 1e6 for name, path in paths.items()}
    rows = [Row("imageio: PSNR, dB", _psnr(paths["imageio"], images))]
    for quality, bound in BOUNDS_DB.items():
        usual = quality is GifQuality.standard
        ratio = statistics.median(a.cpu / b.cpu for a, b in zip(took[quality].rounds, took["imageio"].rounds, strict=True))
        ours, theirs = (took[name].median.cpu for name in (quality, "imageio"))
        note = "reference: imageio"
        rows += [
            Row(f"{quality}: PSNR, dB", _psnr(paths[quality], images), bound, at_least=1.0, note="reference: least wanted"),
            Row(f"{quality}: CPU seconds", ours, theirs, at_most=TIME if usual else None, paired=ratio, note=note),
            Row(f"{quality}: MB", sizes[quality], sizes["imageio"], at_most=SIZE if usual else None, note=note),
        ]
    return rows


def _clip(path: Path, frames: int) -> list[NDArray[np.uint8]]:
    """The first frames, shrunk, RGB, with two boxes that walk."""
    video = cv2.VideoCapture(str(path))
    images = []
    for number in range(frames):
        image = cv2.resize(video.read()[1], (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        for x, y, width, height in ((40 + 2 * number, 60, 40, 70), (250 - 2 * number, 30, 30, 60)):
            cv2.rectangle(image, (x, y), (x + width, y + height), (0, 255, 0), 3)
        images.append(np.ascontiguousarray(image[:, :, ::-1], np.uint8))
    return images


def _psnr(path: Path, images: list[NDArray[np.uint8]]) -> float:
    """Of all frames together, red, green and blue, as Pillow shows them."""
    with Image.open(path) as gif:
        shown = [np.asarray(each.convert("RGB"), np.float64) for each in ImageSequence.Iterator(gif)]
    error = np.mean([np.mean((a - b) ** 2) for a, b in zip(shown, images, strict=True)])
    return float(10 * np.log10(255**2 / error))
