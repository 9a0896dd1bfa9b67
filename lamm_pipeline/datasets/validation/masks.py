"""What one mask is like. However damaged it is, this says so and goes on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lamm_pipeline.errors import InputError
from lamm_pipeline.geometry import rle
from lamm_pipeline.sample_table import Annotation

BoxXyxy = tuple[float, float, float, float]


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


def look_at_masks(annotations: Sequence[Annotation], width: int, height: int, *, decode: bool) -> tuple[MaskFacts | None, ...]:
    """`look_at_mask` for each annotation of a frame; sound masks are decoded together."""
    masks = {n: each.mask_rle for n, each in enumerate(annotations) if each.mask_rle is not None}
    sized = {n: mask_rle for n, mask_rle in masks.items() if list(mask_rle["size"]) == [height, width]} if decode else {}
    try:
        covered = dict(zip(sized, (int(np.count_nonzero(mask)) for mask in rle.decode_all(list(sized.values()))), strict=True))
    except InputError:
        covered = {}  # which one is damaged is found out one by one
    return tuple(look_at_mask(each, width, height, decode=decode, covered=covered.get(n)) for n, each in enumerate(annotations))


def look_at_mask(annotation: Annotation, width: int, height: int, *, decode: bool, covered: int | None = None) -> MaskFacts | None:
    """Find out what an annotation's mask is like.

    Args:
        annotation: whose mask.
        width: of the image, pixels.
        height: of the image, pixels.
        decode: write every pixel and count them; else the area is read off the runs.
        covered: how many pixels it has, where it was decoded already.

    Returns:
        None when the annotation has no mask and nothing is known to be wrong with one.
    """
    mask_rle, problem = annotation.mask_rle, annotation.mask_problem
    if mask_rle is None or problem is not None:
        return None if problem is None else MaskFacts("encoding", problem)
    if list(mask_rle["size"]) != [height, width]:
        return MaskFacts("size", f"the mask's size {list(mask_rle['size'])} is not the image's [{height}, {width}] (rows, columns)")
    try:
        if covered is None:
            covered = int(np.count_nonzero(rle.decode(mask_rle))) if decode else rle.area(mask_rle)
        box_xyxy = rle.box_xyxy(mask_rle)
    except InputError as error:
        return MaskFacts("encoding", str(error))
    if covered == 0:
        return MaskFacts("empty", "the mask has no pixels")
    detail = "" if covered == annotation.area else f"the mask covers {covered} pixels, the annotation says {annotation.area}"
    return MaskFacts("area" if detail else None, detail, box_xyxy)
