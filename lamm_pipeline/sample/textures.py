"""The sample's surfaces as one filtered texture atlas, made from pictures that scikit-image's wheel carries.

All five are free of copyright: astronaut (NASA, public domain), chelsea (CC0), brick, grass and gravel (CC0). They are read from the
installed package; nothing is downloaded.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import skimage
from numpy.typing import NDArray

from lamm_pipeline.errors import InputError

Picture = NDArray[np.uint8]
Array = NDArray[np.float32]

TAPS = 3
"""Samples along the longer side of a pixel's footprint."""
ROUND_FOOTPRINT = 1.3
"""Footprints whose sides differ by less than this factor need one sample only."""

_BORDER = 2
_COARSEST_LEVEL_PX = 16
_CLOUD_GRID = 256
_SKY_SIZE = (256, 1024)
_PERSON_COLUMNS = slice(75, 315)
_PERSON_SIZE = (256, 512)
_CAT_SIZE = (448, 320)
# The perspective that scikit-image's maintainers gave to the brick picture (`skimage.data.brick` documents it): undone for a flat wall.
_BRICK_PERSPECTIVE = np.array([[0.54764, -0.00219, 0.0], [-0.12822, 0.54688, 0.0], [-0.00022, 0.0, 1.0]])
# Part of the flattened brick picture that is inside the original one and bounded by joints above and below, x1 y1 x2 y2 in its pixels.
_BRICK_CROP_XYXY = (8, 320, 1316, 1614)


@dataclass(frozen=True)
class Atlas:
    """Textures with their mip levels in one image.

    Attributes:
        image: `(H, W, 3)` uint8 BGR.
        origin: `(N, L, 2)` x and y of each texture's levels.
        size: `(N, L, 2)` width and height of each level.
        repeats: `(N,)` whether a texture continues as a tile or ends in its border.
        names: the textures' names; the position is the index used in lookups.
    """

    image: Picture
    origin: Array
    size: Array
    repeats: NDArray[np.bool_]
    names: tuple[str, ...]

    def index(self, name: str) -> int:
        """Index of a texture."""
        return self.names.index(name)

    def sample(self, texture: NDArray[np.integer], uv: Array, major: Array, minor_length: Array) -> Array:
        """Look up colours, filtered over the footprint of each pixel.

        Args:
            texture: `(H, W)` texture index, or `(1, 1)` where it is the same everywhere.
            uv: `(2, H, W)` position in pixels of the finest level.
            major: `(2, H, W)` the longer axis of the pixel's footprint, same unit.
            minor_length: `(H, W)` length of the shorter axis.

        Returns:
            `(H, W, 3)` float32 BGR, 0 to 255.
        """
        major_length = np.hypot(major[0], major[1])
        length = np.maximum(major_length / TAPS, minor_length)
        taps = TAPS if (major_length > ROUND_FOOTPRINT * minor_length).any() else 1
        levels = self.size.shape[1]
        level = np.clip(np.log2(np.maximum(length, np.float32(1e-6))), np.float32(0.0), np.float32(levels - 1.001))
        lower = level.astype(np.int32)
        share = level - lower.astype(np.float32)
        first = texture * levels + lower
        fine, coarse = (self._sample_level(first + step, np.exp2(-(lower + step).astype(np.float32)), uv, major, taps) for step in (0, 1))
        return np.asarray(cv2.blendLinear(fine, coarse, 1.0 - share, share), dtype=np.float32)

    def _sample_level(self, entry: NDArray[np.integer], scale: Array, uv: Array, major: Array, taps: int) -> Array:
        """`(H, W, 3)` mean of the taps in one level; `entry` counts levels through all textures."""
        place = []
        for axis in range(2):
            size = self.size[..., axis].ravel().take(entry)
            # how often the tile lies beside itself; textures that do not repeat never fold
            folds = np.where(self.repeats[:, None], 1.0 / self.size[..., axis], 0.0).astype(np.float32).ravel().take(entry)
            origin = self.origin[..., axis].ravel().take(entry) - np.float32(0.5)
            place.append((uv[axis] * scale, major[axis] * scale, size, folds, origin))
        total: Array = np.zeros((*entry.shape, 3), dtype=np.float32)
        for tap in range(taps):
            along = np.float32((tap + 0.5) / taps - 0.5)
            x, y = (_folded(start + along * step, size, folds) + origin for start, step, size, folds, origin in place)
            cv2.accumulate(cv2.remap(self.image, x, y, cv2.INTER_LINEAR), total)
        total *= np.float32(1.0 / taps)
        return total


def build_atlas(seed: int, tile_px: int) -> Atlas:
    """Make all textures of the scene. The same arguments give the same textures.

    Args:
        seed: seed of all that is random in them.
        tile_px: side of the tiles of ground and walls, a power of two.

    Raises:
        InputError: scikit-image is installed without its pictures.
    """
    rng = np.random.default_rng([seed, 1])
    # sizes that halve evenly, so that every mip level lies exactly over the one before
    person = np.asarray(cv2.resize(_bundled("astronaut")[:, _PERSON_COLUMNS], _PERSON_SIZE, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    cat = np.asarray(cv2.resize(_bundled("chelsea"), _CAT_SIZE, interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
    gravel = _patchwork(_bundled("gravel")[..., 0], rng, tile_px)
    grass = _patchwork(_bundled("grass")[..., 0], rng, tile_px)
    cloth = _patchwork(_bundled("gravel")[..., 0], rng, 256, patch=64)
    textures: dict[str, tuple[Picture, bool]] = {
        "gravel": (_tinted(gravel, (52, 62, 70), (176, 186, 192)), True),
        "grass": (_tinted(grass, (22, 48, 34), (96, 186, 150)), True),
        "brick": (_tinted(_brick_wall(rng, tile_px), (44, 58, 112), (172, 184, 192)), True),
        "sky": (_sky(rng), False),
        "person": (person, False),
        "person_mirrored": (np.ascontiguousarray(person[:, ::-1]), False),
        "cat": (cat, False),
        "suit": (_tinted(cloth, (20, 50, 120), (60, 110, 225)), True),
        "fur": (_tinted(cloth, (60, 85, 115), (150, 180, 205)), True),
    }
    return _pack(textures, int(np.log2(tile_px / _COARSEST_LEVEL_PX)))


def _folded(position: Array, size: Array, folds: Array) -> Array:
    """Bring a coordinate into its level: by whole tiles where `folds` is 1 / size, held at the border where it is 0."""
    position -= size * np.floor(position * folds)
    np.maximum(position, np.float32(0.0), out=position)
    return np.minimum(position, size, out=position)


def _bundled(name: str) -> Picture:
    """A picture of scikit-image's wheel, `(H, W, 3)` BGR."""
    path = Path(skimage.__file__).parent / "data" / f"{name}.png"
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR) if path.is_file() else None
    if picture is None:
        raise InputError(f"scikit-image's picture {path} is missing or unreadable; reinstall scikit-image from its wheel")
    return np.asarray(picture, dtype=np.uint8)


def _patchwork(source: Picture, rng: np.random.Generator, tile: int, patch: int = 128) -> Picture:
    """A larger tile without seams: overlapping patches from random places, blended so that the contrast stays, with soft stains.

    Args:
        source: `(H, W)` grey picture of a statistically even material.
        rng: places of the patches.
        tile: side of the result.
        patch: distance of neighbouring patches; each is twice as large.
    """
    ramp = np.sin((np.arange(2 * patch) + 0.5) * np.pi / (2 * patch)) ** 2
    window = np.outer(ramp, ramp).astype(np.float32)
    mean = float(source.mean())
    total = np.zeros((tile, tile), dtype=np.float32)
    energy = np.zeros((tile, tile), dtype=np.float32)
    span = np.arange(2 * patch)
    for top in range(0, tile, patch):
        for left in range(0, tile, patch):
            y, x = rng.integers(0, source.shape[0] - 2 * patch + 1), rng.integers(0, source.shape[1] - 2 * patch + 1)
            piece = np.rot90(source[y : y + 2 * patch, x : x + 2 * patch], int(rng.integers(0, 4))).astype(np.float32) - mean
            place = np.ix_((top + span) % tile, (left + span) % tile)
            total[place] += piece * window
            energy[place] += window**2
    even = total / np.sqrt(energy) + mean
    return np.asarray(np.clip(even * (0.85 + 0.3 * _clouds((tile, tile), rng, finest=6)), 0, 255), dtype=np.uint8)


def _brick_wall(rng: np.random.Generator, tile: int) -> Picture:
    """The brick picture flattened and mirrored to a tile, twice in each direction, with soft stains."""
    upright = cv2.rotate(_bundled("brick")[..., 0], cv2.ROTATE_90_COUNTERCLOCKWISE)
    x1, y1, x2, y2 = _BRICK_CROP_XYXY
    flatten = np.linalg.inv(np.diag([0.5, 0.5, 1.0]) @ _BRICK_PERSPECTIVE)
    flat = cv2.warpPerspective(upright, flatten, (x2, y2), flags=cv2.INTER_LINEAR)[y1:y2, x1:x2]
    quarter = cv2.resize(flat, (tile // 4, tile // 4), interpolation=cv2.INTER_AREA)
    half = np.hstack([quarter, quarter[:, ::-1]])
    wall = np.tile(np.vstack([half, half[::-1]]), (2, 2)).astype(np.float32)
    stretched = (wall - 85.0) * 1.9
    return np.asarray(np.clip(stretched * (0.7 + 0.6 * _clouds(wall.shape, rng, finest=7)), 0, 255), dtype=np.uint8)


def _sky(rng: np.random.Generator) -> Picture:
    """Thin clouds, whiter towards the horizon."""
    height, width = _SKY_SIZE
    clouds = _clouds((height, width), rng, finest=5)[..., None]
    whiteness = np.clip(0.25 + 0.55 * clouds + 0.35 * np.linspace(0.0, 1.0, height)[:, None, None], 0.0, 1.0)
    blue, white = np.array([225.0, 170.0, 120.0]), np.array([238.0, 234.0, 228.0])
    return np.asarray(blue + (white - blue) * whiteness, dtype=np.uint8)


def _clouds(shape: tuple[int, ...], rng: np.random.Generator, finest: int) -> Array:
    """Smooth noise from 0 to 1 that continues as a tile: octaves of random grids up to `2 ** finest` cells."""
    total: Array = np.zeros((_CLOUD_GRID, _CLOUD_GRID), dtype=np.float32)
    for octave in range(1, finest + 1):
        cells = 2**octave
        total += _enlarged(rng.random((cells, cells), dtype=np.float32), (_CLOUD_GRID, _CLOUD_GRID)) / 1.6**octave
    low, high = np.quantile(total, [0.02, 0.98])
    return _enlarged(np.clip((total - low) / (high - low), 0.0, 1.0), (shape[0], shape[1]))


def _enlarged(tile: Array, shape: tuple[int, int]) -> Array:
    """Enlarge a tile by whole factors so that it still continues at its edges."""
    scale_y, scale_x = shape[0] // tile.shape[0], shape[1] // tile.shape[1]
    padded = np.pad(tile, 2, mode="wrap")
    fine = cv2.resize(padded, (padded.shape[1] * scale_x, padded.shape[0] * scale_y), interpolation=cv2.INTER_CUBIC)
    return np.asarray(fine[2 * scale_y : 2 * scale_y + shape[0], 2 * scale_x : 2 * scale_x + shape[1]])


def _tinted(grey: Picture, dark_bgr: tuple[int, int, int], light_bgr: tuple[int, int, int]) -> Picture:
    """Colour a grey picture along a line from a dark to a light colour."""
    share = np.linspace(0.0, 1.0, 256)[:, None]
    table = np.array(dark_bgr) + share * (np.array(light_bgr) - np.array(dark_bgr))
    return np.asarray(np.rint(table), dtype=np.uint8)[grey]


def _pack(textures: dict[str, tuple[Picture, bool]], levels: int) -> Atlas:
    """Lay every texture's mip levels side by side, one texture below the other, each level framed so that lookups may overstep it."""
    chains = [[picture] for picture, _ in textures.values()]
    for chain in chains:
        for _ in range(levels - 1):
            height, width = chain[-1].shape[:2]
            half = (max(1, width // 2), max(1, height // 2))
            chain.append(np.asarray(cv2.resize(chain[-1], half, interpolation=cv2.INTER_AREA), dtype=np.uint8))
    count = len(chains)
    origin, size = (np.zeros((count, levels, 2), dtype=np.float32) for _ in range(2))
    strips = []
    top = 0
    for n, (chain, (_, repeats)) in enumerate(zip(chains, textures.values(), strict=True)):
        border = cv2.BORDER_WRAP if repeats else cv2.BORDER_REPLICATE
        column, left = [], 0
        height = chain[0].shape[0] + 2 * _BORDER
        for level, picture in enumerate(chain):
            framed = cv2.copyMakeBorder(picture, _BORDER, _BORDER, _BORDER, _BORDER, border)
            origin[n, level] = left + _BORDER, top + _BORDER
            size[n, level] = picture.shape[1], picture.shape[0]
            column.append(np.pad(framed, ((0, height - framed.shape[0]), (0, 0), (0, 0))))
            left += framed.shape[1]
        strips.append(np.hstack(column))
        top += height
    width = max(strip.shape[1] for strip in strips)
    image = np.asarray(np.vstack([np.pad(strip, ((0, 0), (0, width - strip.shape[1]), (0, 0))) for strip in strips]), dtype=np.uint8)
    return Atlas(image, origin, size, np.array([repeats for _, repeats in textures.values()]), tuple(textures))
