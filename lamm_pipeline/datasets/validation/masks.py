"""What one mask is like. However damaged it is, this says so and goes on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.errors import InputError
from lamm_pipeline.geometry import rle
from lamm_pipeline.sample_table import Annotation, Sample

BoxXyxy = tuple[float, float, float, float]
Decoded = tuple[int, BoxXyxy]
"""How many pixels a mask covers, and the box around them."""


@dataclass(frozen=True)
class MaskFacts:
    """What was found out about a mask.

    Attributes:
        problem: one of `encoding`, `size`, `empty`, `area`; None for a sound mask.
        detail: the problem in words.
        box_xyxy: around its pixels, None where there are none or nobody can tell.
    """

    problem: str | None
    detail: str = ""
    box_xyxy: BoxXyxy | None = None


def look_at_masks(samples: Sequence[Sample], *, decode: bool) -> list[tuple[MaskFacts | None, ...]]:
    """`look_at_mask` for each annotation of each of several frames, whose masks are decoded together."""
    masks = {
        (place, number): annotation.mask_rle
        for place, sample in enumerate(samples)
        for number, annotation in enumerate(sample.annotations)
        if decode and annotation.mask_rle is not None and list(annotation.mask_rle["size"]) == [sample.height, sample.width]
    }
    decoded = dict(zip(masks, _decoded(list(masks.values())), strict=True))
    return [
        tuple(
            look_at_mask(each, sample.width, sample.height, decode=decode, decoded=decoded.get((place, number)))
            for number, each in enumerate(sample.annotations)
        )
        for place, sample in enumerate(samples)
    ]


def look_at_mask(annotation: Annotation, width: int, height: int, *, decode: bool, decoded: Decoded | None = None) -> MaskFacts | None:
    """Find out what an annotation's mask is like.

    Args:
        annotation: whose mask.
        width: of the image, pixels.
        height: of the image, pixels.
        decode: write every pixel and count them; else the area is read off the runs.
        decoded: what came of it, where that was done already.

    Returns:
        None when the annotation has no mask and nothing is known to be wrong with one.
    """
    mask_rle, problem = annotation.mask_rle, annotation.mask_problem
    if mask_rle is None or problem is not None:
        return None if problem is None else MaskFacts("encoding", problem)
    if list(mask_rle["size"]) != [height, width]:
        return MaskFacts("size", f"the mask's size {list(mask_rle['size'])} is not the image's [{height}, {width}] (rows, columns)")
    try:
        covered, box_xyxy = decoded or (_pixels(rle.decode(mask_rle)) if decode else rle.area(mask_rle), rle.box_xyxy(mask_rle))
    except InputError as error:
        return MaskFacts("encoding", str(error))
    if covered == 0:
        return MaskFacts("empty", "the mask has no pixels")
    detail = "" if covered == annotation.area else f"the mask covers {covered} pixels, the annotation says {annotation.area}"
    return MaskFacts("area" if detail else None, detail, box_xyxy)


def _decoded(mask_rles: Sequence[Mapping[str, Any]]) -> list[Decoded | None]:
    """Pixels and boxes of masks, each of them decoded; None for damaged ones, which are found by halving."""
    try:
        pixels = [_pixels(mask) for mask in rle.decode_all(mask_rles)]
    except InputError:
        half = len(mask_rles) // 2
        return [*_decoded(mask_rles[:half]), *_decoded(mask_rles[half:])] if half else [None]
    return list(zip(pixels, rle.boxes_xyxy(mask_rles), strict=True))


def _pixels(mask: NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(mask))
