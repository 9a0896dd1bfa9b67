"""Look at an image through overlapping tiles and merge what the detector says about each.

The embedded network sees 300x300 pixels, so far objects vanish when a wide image is squashed to it. Tiles keep them: large tiles, squares
as high as the image, for the middle distance, and smaller ones along the horizon for what is far. What is near fills the height of the
image, and squashed to a square it no longer looks like itself; so there are also squares larger than the image is high, grey above and
below it. Sides change by about two thirds a step, because the network finds an object only within a range of sizes in its view. Sizes are
shares of the image height, so that a profile means the same at 1242x375 and at 1280x720:

| profile | looks | at 1242x375 | at 1280x720 |
| --- | --- | --- | --- |
| `full` | the whole image, squashed | 1 | 1 |
| `fast` | and large tiles, at least half overlapping | 7 | 4 |
| `accurate` | and tiles of 0.67 and 0.45 of the height along the horizon, 1.5 and 2.25 of it, and the image unsquashed | 34 | 17 |
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.geometry.boxes_2d import ios_matrix, iou_matrix
from lamm_pipeline.segmentation.settings import TileProfile

LARGE_TILE_HEIGHT, LARGE_TILE_STEP = 1.0, 0.5
SMALL_TILE_HEIGHTS, SMALL_TILE_STEP = (0.67, 0.45), 0.6
OVERSIZE_HEIGHTS = (1.5, 2.25)
GREY = 128
"""What is seen beyond the image: the middle of the network's range."""
# What stands far away on the ground lies just below the horizon, which a level camera has in the middle.
SMALL_TILE_CENTRE = 0.55
# A box that ends within this many pixels of a tile's inner border is taken to go on behind it.
BORDER_PX = 3.0
CUT_BOX_WEIGHT = 0.5
CONTAINED_IOS = 0.7


@dataclass(frozen=True)
class Tile:
    """A window in whole pixels, columns `x .. x + width`, rows `y .. y + height`; it may reach beyond the image."""

    x: int
    y: int
    width: int
    height: int

    def pixels(self, image_bgr: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """What the window shows of an `(H, W, 3)` image, grey beyond it."""
        height, width = image_bgr.shape[:2]
        left, top = max(self.x, 0), max(self.y, 0)
        right, bottom = min(self.x + self.width, width), min(self.y + self.height, height)
        seen = image_bgr[top:bottom, left:right]
        if seen.shape[:2] == (self.height, self.width):
            return seen
        window: NDArray[np.uint8] = np.full((self.height, self.width, 3), GREY, dtype=np.uint8)
        window[top - self.y : bottom - self.y, left - self.x : right - self.x] = seen
        return window


@dataclass(frozen=True)
class Candidates:
    """Boxes of all tiles in image coordinates.

    Attributes:
        boxes_xyxy: `(N, 4)` float64, pixels of the whole image.
        scores: `(N,)` float64.
        labels: `(N,)` integers, carried along.
        groups: `(N,)` integers; only boxes of one group compete.
        cut: `(N,)` bool, whether the box ends at a border of its tile inside the image.
    """

    boxes_xyxy: NDArray[np.float64]
    scores: NDArray[np.float64]
    labels: NDArray[np.intp]
    groups: NDArray[np.intp]
    cut: NDArray[np.bool_]


def tile_layout(width: int, height: int, profile: TileProfile) -> tuple[Tile, ...]:
    """Lay tiles over an image, the whole image first.

    Args:
        width: image width, pixels.
        height: image height, pixels.
        profile: how many.
    """
    tiles = [Tile(0, 0, width, height)]
    if profile is not TileProfile.full:
        tiles += _row(width, height, LARGE_TILE_HEIGHT, LARGE_TILE_STEP)
    if profile is TileProfile.accurate:
        for tile_height in SMALL_TILE_HEIGHTS:
            tiles += _row(width, height, tile_height, SMALL_TILE_STEP)
        for tile_height in OVERSIZE_HEIGHTS:
            if tile_height * height < width:
                tiles += _oversize_row(width, height, round(tile_height * height))
        tiles += _oversize_row(width, height, max(width, height))
    return tuple(dict.fromkeys(tiles))


def cut_by_tile(boxes_xyxy: NDArray[np.float64], tile: Tile, width: int, height: int) -> NDArray[np.bool_]:
    """Tell which boxes end at a border of their tile that is not a border of the image.

    Args:
        boxes_xyxy: `(N, 4)`, image coordinates.
        tile: where they were found.
        width: image width, pixels.
        height: image height, pixels.

    Returns:
        `(N,)`.
    """
    x1, y1, x2, y2 = boxes_xyxy.T
    right, bottom = tile.x + tile.width, tile.y + tile.height
    cut: NDArray[np.bool_] = np.zeros(len(boxes_xyxy), dtype=bool)
    cut |= (x1 <= tile.x + BORDER_PX) & (tile.x > 0)
    cut |= (y1 <= tile.y + BORDER_PX) & (tile.y > 0)
    cut |= (x2 >= right - BORDER_PX) & (right < width)
    cut |= (y2 >= bottom - BORDER_PX) & (bottom < height)
    return cut


def merge(candidates: Candidates, score_threshold: float, nms_iou: float) -> Candidates:
    """Make one box of the boxes that the tiles have of one object.

    Boxes cut by a tile count half, so a fuller one is preferred. The best box of a group suppresses those that overlap it by more than
    `nms_iou`, and the cut ones that lie in it by more than 0.7 of their area. It becomes the score-weighted mean of itself and the uncut
    boxes it suppresses for their overlap (weighted boxes fusion, Solovyev et al. 2021).

    Args:
        candidates: of all tiles.
        score_threshold: smallest score that stays, after the weighting.
        nms_iou: see above.

    Returns:
        The boxes that stay, best score first.
    """
    boxes, cut = candidates.boxes_xyxy, candidates.cut
    scores = candidates.scores * np.where(cut, CUT_BOX_WEIGHT, 1.0)
    same_group = candidates.groups[:, None] == candidates.groups[None, :]
    alike = same_group & (iou_matrix(boxes, boxes) > nms_iou)
    contained = same_group & (ios_matrix(boxes, boxes) > CONTAINED_IOS)
    suppressed = scores < score_threshold
    kept: list[int] = []
    merged: list[NDArray[np.float64]] = []
    for index in np.argsort(-scores, kind="stable"):
        if suppressed[index]:
            continue
        members = alike[index] & ~suppressed & ~cut
        members[index] = True
        weights = scores[members]
        merged.append((boxes[members] * weights[:, None]).sum(axis=0) / weights.sum())
        kept.append(int(index))
        suppressed |= alike[index] | (contained[index] & cut)
        suppressed[index] = True
    rows = np.array(kept, dtype=np.intp)
    return Candidates(np.reshape(merged, (-1, 4)), scores[rows], candidates.labels[rows], candidates.groups[rows], cut[rows])


def concatenate(parts: Sequence[Candidates]) -> Candidates:
    """Join the candidates of several tiles."""
    return Candidates(
        np.concatenate([part.boxes_xyxy for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.groups for part in parts]),
        np.concatenate([part.cut for part in parts]),
    )


def _row(width: int, height: int, tile_height: float, step: float) -> list[Tile]:
    """Squares side by side over the whole width, at most `step` of their side apart, along the horizon."""
    side = min(round(tile_height * height), width, height)
    count = 1 + math.ceil((width - side) / (side * step))
    top = min(max(round(SMALL_TILE_CENTRE * height - side / 2), 0), height - side)
    return [Tile(round(left), top, side, side) for left in np.linspace(0, width - side, count)]


def _oversize_row(width: int, height: int, side: int) -> list[Tile]:
    """Squares higher than the image, side by side over its width, centred on its height."""
    count = 1 + math.ceil(max(width - side, 0) / (side * SMALL_TILE_STEP))
    first = min(width - side, 0) // 2
    return [Tile(round(left), (height - side) // 2, side, side) for left in np.linspace(first, max(width - side, first), count)]
