"""Animated GIFs of video: one palette for all frames, half a second a frame, endless.

Pillow chooses the colours, FFmpeg's encoder writes the file: of each frame only the part that changed, with what stays transparent in it.
Pillow's own writer would join equal frames into one that lasts longer. FFmpeg's filters palettegen and paletteuse choose colours by how
they look (in OkLab, since FFmpeg 6); in red, green and blue they come out less faithful than what is done here.

Memory does not grow with the number of frames.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial import cKDTree

FRAME_MS = 500
PALETTE_FRAMES = 6
"""As many frames, spread over the sequence, tell nearly as much about its colours as all do."""

ImageRgb = NDArray[np.uint8]

_ENTRIES = 256
_PALETTE_PIXELS = 400_000
_SEED = 0
_TICK = Fraction(FRAME_MS, 1000)


class GifQuality(StrEnum):
    """How faithful the colours are, and how long that takes."""

    standard = "standard"
    high = "high"


_REFINING = {GifQuality.standard: (10_000, 6), GifQuality.high: (50_000, 12)}
"""Pixels looked at and rounds."""


@dataclass(frozen=True)
class Palette:
    """The colours of all frames of a GIF.

    Attributes:
        colors_rgb: `(N, 3)` uint8, N up to 255: one entry of the file's 256 stays for what is transparent.
        quality: how pixels find their colour: `high` the nearest, `standard` one that is near, several times faster.
    """

    colors_rgb: NDArray[np.uint8]
    quality: GifQuality

    def indices(self, image_rgb: ImageRgb) -> NDArray[np.uint8]:
        """Number of the colour of each pixel, `(H, W)`."""
        if self.quality is GifQuality.standard:
            return np.asarray(Image.fromarray(image_rgb).quantize(palette=self._as_image, dither=Image.Dither.NONE), np.uint8)
        codes, where = np.unique(image_rgb.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32), return_inverse=True)
        colors = np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=-1)
        nearest: NDArray[np.uint8] = self._tree.query(colors)[1].astype(np.uint8)
        return nearest[where].reshape(image_rgb.shape[:2])

    @cached_property
    def _tree(self) -> cKDTree:
        return cKDTree(self.colors_rgb)

    @cached_property
    def _as_image(self) -> Image.Image:
        """The palette as Pillow wants it; missing entries repeat the first, so that no pixel takes them. Pillow remembers lookups in it."""
        filled = np.concatenate([self.colors_rgb, np.repeat(self.colors_rgb[:1], _ENTRIES - len(self.colors_rgb), axis=0)])
        image = Image.new("P", (1, 1))
        image.putpalette(filled.tobytes())
        return image


def choose_palette(
    images_rgb: Sequence[ImageRgb], quality: GifQuality = GifQuality.standard, always: Sequence[tuple[int, int, int]] = ()
) -> Palette:
    """The palette for frames like these.

    Args:
        images_rgb: at least one frame, `(H, W, 3)` uint8; some of the sequence's will do, see `PALETTE_FRAMES`.
        quality: the space of colours is cut at medians, then each colour moves to the mean of the pixels nearest to it, a few times
            (k-means); for `high` more often and by more pixels.
        always: colours to have exactly, red, green, blue.
    """
    pixels = np.concatenate([image.reshape(-1, 3) for image in images_rgb])
    pixels = pixels[:: -(-len(pixels) // _PALETTE_PIXELS)]
    free = _ENTRIES - 1 - len(always)
    cut = Image.fromarray(pixels[None]).quantize(free, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).getpalette()
    colors = np.array(cut, np.float64).reshape(-1, 3)[:free]
    colors = _refined(colors, pixels, *_REFINING[quality])
    fixed = np.array(always, np.uint8).reshape(-1, 3)
    return Palette(np.concatenate([fixed, np.rint(colors).astype(np.uint8)]), quality)


class GifWriter:
    """Writes a GIF frame by frame. Close it at the end, or use it as a context manager.

    Args:
        path: of the file.
        width, height: of every frame.
        palette: see `choose_palette`.
    """

    def __init__(self, path: Path, width: int, height: int, palette: Palette) -> None:
        self.frames = 0
        self._palette = palette
        self._table = np.zeros((_ENTRIES, 4), np.uint8)  # alpha, red, green, blue; the rest is transparent
        self._table[: len(palette.colors_rgb)] = np.insert(palette.colors_rgb, 0, 255, axis=1)
        self._file: Any = av.open(str(path), "w", format="gif", options={"loop": "0", "final_delay": str(FRAME_MS // 10)})
        self._stream: Any = self._file.add_stream("gif", rate=1 / _TICK)
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "pal8"
        self._stream.codec_context.time_base = _TICK

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def add(self, image_rgb: ImageRgb) -> None:
        """Add a frame, `(height, width, 3)` uint8."""
        picture: Any = (self._palette.indices(image_rgb), self._table)  # the annotations of PyAV do not know pairs
        frame = av.VideoFrame.from_ndarray(picture, "pal8")
        frame.pts, frame.time_base = self.frames, _TICK
        self._file.mux(self._stream.encode(frame))
        self.frames += 1

    def close(self) -> None:
        """Write what is left; does nothing the second time."""
        if self._file is not None:
            file, self._file = self._file, None
            with file:
                if self.frames:
                    file.mux(self._stream.encode(None))


def write_gif(path: Path, images_rgb: Sequence[ImageRgb], quality: GifQuality = GifQuality.standard) -> None:
    """Write frames that are in memory, all of one size, at least one."""
    height, width = images_rgb[0].shape[:2]
    with GifWriter(path, width, height, choose_palette([images_rgb[n] for n in spread(len(images_rgb), PALETTE_FRAMES)], quality)) as gif:
        for image in images_rgb:
            gif.add(image)


def spread(count: int, wanted: int) -> Iterable[int]:
    """At most `wanted` of the numbers below `count`, evenly spread, the first and the last among them, ascending."""
    return dict.fromkeys(round(n) for n in np.linspace(0, count - 1, min(count, wanted)).tolist())


def _refined(colors: NDArray[np.float64], pixels: NDArray[np.uint8], looked_at: int, rounds: int) -> NDArray[np.float64]:
    """Lloyd's algorithm for k-means on a sample of the pixels, `(M, 3)`, from `colors`, `(N, 3)`. A colour without pixels stays."""
    sample = pixels[np.random.default_rng(_SEED).permutation(len(pixels))[:looked_at]].astype(np.float64)
    for _ in range(rounds):
        nearest = cKDTree(colors).query(sample)[1]
        counts = np.bincount(nearest, minlength=len(colors))[:, None]
        sums = np.stack([np.bincount(nearest, sample[:, channel], len(colors)) for channel in range(3)], axis=1)
        colors = np.where(counts > 0, sums / np.maximum(counts, 1), colors)
    return colors
