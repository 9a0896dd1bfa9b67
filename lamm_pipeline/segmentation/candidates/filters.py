"""Which candidates are kept, which level they belong to, and what is proposed where nothing is."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.geometry import rle
from lamm_pipeline.geometry.packed_mask import Mask
from lamm_pipeline.segmentation.candidates.mask_candidates import MaskCandidate
from lamm_pipeline.segmentation.candidates.settings import CandidateSettings
from lamm_pipeline.segmentation.depth_masks import pixel_box

Levels = Mapping[int, tuple[MaskCandidate, ...]]

TOO_SMALL = "smaller than min_area"
UNSTABLE = "less stable than min_stability"
WITHIN_SHARE = 0.9
"""A candidate of which this much lies within a larger one is a part of it, and belongs to a finer level."""


@dataclass(frozen=True)
class Filtered:
    """What is left of the candidates of a frame.

    Attributes:
        by_level: best first.
        refused: how many were not kept, by reason.
    """

    by_level: Levels
    refused: Mapping[str, int]


def filter_candidates(by_level: Levels, settings: CandidateSettings, frame_id: str, width: int, height: int) -> Filtered:
    """Drop what is too small or unstable, and fill large gaps of the coarsest level.

    Args:
        by_level: all that was proposed for the frame.
        settings: of the stage.
        frame_id: of the frame; gaps are named after it.
        width: pixels of the image.
        height: pixels of the image.
    """
    refused: Counter[str] = Counter()
    kept: dict[int, tuple[MaskCandidate, ...]] = {}
    for level in sorted(by_level):
        reasons = [_reason(each, settings) for each in by_level[level]]
        refused.update(reason for reason in reasons if reason is not None)
        kept[level] = tuple(each for each, reason in zip(by_level[level], reasons, strict=True) if reason is None)
    if settings.gap_fill and kept:
        coarsest = min(kept)
        kept[coarsest] += gaps(kept[coarsest], settings.fill_area, frame_id, width, height)
    return Filtered(kept, dict(sorted(refused.items())))


def gaps(candidates: Sequence[MaskCandidate], fill_area: int, frame_id: str, width: int, height: int) -> tuple[MaskCandidate, ...]:
    """Propose the connected regions that no candidate covers, largest first.

    Args:
        candidates: of the frame; one without a mask covers its box.
        fill_area: smallest region, pixels.
        frame_id: of the frame.
        width: pixels of the image.
        height: pixels of the image.
    """
    free = np.ones((height, width), np.uint8)
    for each in candidates:
        free[_pixels(each, width, height)] = 0
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(free, connectivity=4)
    areas = statistics[:, cv2.CC_STAT_AREA]
    large = [label for label in range(1, count) if areas[label] >= fill_area]
    found = []
    for number, label in enumerate(sorted(large, key=lambda each: (-int(areas[each]), each))):
        x, y = int(statistics[label, cv2.CC_STAT_LEFT]), int(statistics[label, cv2.CC_STAT_TOP])
        x2, y2 = x + int(statistics[label, cv2.CC_STAT_WIDTH]), y + int(statistics[label, cv2.CC_STAT_HEIGHT])
        box_xyxy = (float(x), float(y), float(x2), float(y2))
        region = rle.encode(labels == label)
        found.append(MaskCandidate(f"{frame_id}:gap{number}", None, None, None, box_xyxy, region, int(areas[label]), "gap_fill"))
    return tuple(found)


def by_nesting(candidates: Sequence[MaskCandidate], levels: Sequence[int], width: int, height: int) -> dict[int, tuple[MaskCandidate, ...]]:
    """Give each candidate a level: what lies within no other the coarsest, parts of those the next, and all deeper ones the finest.

    Args:
        candidates: of a frame, best first.
        levels: ascending, at least one.
        width: pixels of the image.
        height: pixels of the image.
    """
    depth = [0] * len(candidates)
    if len(levels) > 1:
        masks = [each.mask_rle or rle.encode(_pixels(each, width, height)) for each in candidates]
        within: NDArray[np.float64] = rle.containment(masks)
        largest_first = sorted(range(len(candidates)), key=lambda number: (-rle.area(masks[number]), number))
        for position, inner in enumerate(largest_first):
            around = [depth[outer] + 1 for outer in largest_first[:position] if within[inner, outer] >= WITHIN_SHARE]
            depth[inner] = max(around, default=0)
    finest = len(levels) - 1
    return {
        level: tuple(each for each, deep in zip(candidates, depth, strict=True) if min(deep, finest) == place)
        for place, level in enumerate(levels)
    }


def _reason(candidate: MaskCandidate, settings: CandidateSettings) -> str | None:
    if candidate.area < settings.min_area:
        return TOO_SMALL
    if candidate.stability is not None and candidate.stability < settings.min_stability:
        return UNSTABLE
    return None


def _pixels(candidate: MaskCandidate, width: int, height: int) -> Mask:
    if candidate.mask_rle is not None:
        return rle.decode(candidate.mask_rle)
    covered = np.zeros((height, width), bool)
    left, top, right, bottom = pixel_box(np.array(candidate.box_xyxy), width, height)
    covered[top:bottom, left:right] = True
    return covered
