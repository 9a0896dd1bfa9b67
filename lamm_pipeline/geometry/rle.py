"""Masks as COCO's compressed run-length encoding. All work on runs is here.

pycocotools does what needs its C code: encode, measure, compare. It trusts the text it is given and reads beyond the end of one that is
cut off, so texts are looked at first. A decoded mask is written by NumPy from runs that are known to sum up, which is several times faster
too.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from lamm_pipeline.errors import InputError

# five bits each: more than any image has pixels, and sums of them fit into 64 bits
_MOST_DIGITS = 9
_DIGITS = bytes(range(48, 112))


def encode(mask: NDArray[Any]) -> dict[str, Any]:
    """Encode a mask.

    Args:
        mask: `(H, W)`; everything that is not zero belongs to the object.

    Returns:
        `{"size": [H, W], "counts": text}`, ready for JSON. Runs go down the columns, as COCO defines it.
    """
    if mask.ndim != 2:
        raise ValueError(f"A mask has two dimensions (H, W), this one has the shape {mask.shape}.")
    if mask.size == 0:
        raise ValueError(f"A mask has at least one pixel, this one has the shape {mask.shape}.")
    runs = coco_mask.encode(np.asfortranarray(mask != 0).view(np.uint8))
    return {"size": [int(side) for side in runs["size"]], "counts": runs["counts"].decode("ascii")}


def decode(mask_rle: Mapping[str, Any]) -> NDArray[np.bool_]:
    """Decode a mask.

    Args:
        mask_rle: `{"size": [H, W], "counts": text}`.

    Returns:
        `(H, W)` bool.

    Raises:
        InputError: the runs do not fill the size.
    """
    return next(decode_all([mask_rle]))


def decode_all(mask_rles: Sequence[Mapping[str, Any]]) -> Iterator[NDArray[np.bool_]]:
    """`decode` each of several masks, which is faster than one by one: their texts are read at once.

    Args:
        mask_rles: as `decode` takes them.

    Raises:
        InputError: the runs of one do not fill its size, or a text is damaged; which one, `decode` tells.
    """
    for mask_rle, lengths in zip(mask_rles, _checked_lengths(mask_rles), strict=True):
        yield np.repeat(np.arange(len(lengths)) & 1 == 1, lengths).reshape(mask_rle["size"], order="F")


def decode_segmentation(segmentation: Any, width: int, height: int) -> NDArray[np.bool_]:
    """Decode any form in which COCO files write a mask.

    Args:
        segmentation: a list of polygons `[x1, y1, x2, y2, ...]`, or runs with `counts` as text or as a list of numbers.
        width: of the image.
        height: of the image.

    Returns:
        `(height, width)` bool.

    Raises:
        InputError: it is none of these, or made for an image of another size.
    """
    if isinstance(segmentation, Mapping) and "size" in segmentation and "counts" in segmentation:
        if list(segmentation["size"]) != [height, width]:
            raise InputError(f"A mask has the size {list(segmentation['size'])}, its image {[height, width]} (rows, columns).")
        counts = segmentation["counts"]
        if not isinstance(counts, list):
            return decode(segmentation)
        if not all(isinstance(run, int) and run >= 0 for run in counts) or sum(counts) != height * width:
            raise InputError(f"The run lengths of a mask do not sum up to the {height * width} pixels of its image.")
        values = np.arange(len(counts)) % 2 == 1
        return np.repeat(values, counts).reshape((height, width), order="F")
    polygons = segmentation if isinstance(segmentation, list) else []
    if not polygons or not all(map(_is_polygon, polygons)):
        raise InputError("A mask is neither a list of polygons with three or more corners nor runs with `size` and `counts`.")
    mask: NDArray[np.bool_] = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))).astype(bool)
    return mask


def check(mask_rle: Mapping[str, Any]) -> None:
    """Check that the runs of a mask fill its size, without decoding it. `decode` does so by itself; all else here relies on it.

    Args:
        mask_rle: `{"size": [H, W], "counts": text}`.

    Raises:
        InputError: they do not.
    """
    next(_checked_lengths([mask_rle]))


def box_xyxy(mask_rle: Mapping[str, Any]) -> tuple[int, int, int, int]:
    """Corners x1, y1, x2, y2 of the mask's pixels, the second pair one beyond the last pixel, without decoding; all 0 when it is empty.

    Args:
        mask_rle: `{"size": [H, W], "counts": text}`.
    """
    return boxes_xyxy([mask_rle])[0]


def boxes_xyxy(mask_rles: Sequence[Mapping[str, Any]]) -> list[tuple[int, int, int, int]]:
    """`box_xyxy` of each of several masks, which is faster than one by one.

    Args:
        mask_rles: as `box_xyxy` takes them.
    """
    if not mask_rles:
        return []
    sides = coco_mask.toBbox([_bytes(each) for each in mask_rles]).astype(np.int64).tolist()
    return [(x, y, x + width, y + height) for x, y, width, height in sides]


def area(mask_rle: Mapping[str, Any]) -> int:
    """Number of pixels in the mask, without decoding it.

    Args:
        mask_rle: `{"size": [H, W], "counts": text}`.

    Raises:
        InputError: the text is damaged. Whether its runs sum up is not looked at.
    """
    return int(coco_mask.area(_bytes(mask_rle)))


def containment(mask_rles: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
    """How much of each mask lies within each of the others, without decoding them.

    Args:
        mask_rles: N masks of one size.

    Returns:
        `(N, N)` in 0..1: the share of the pixels of mask i that belong to mask j too; 0 for a mask without pixels.
    """
    runs = [_bytes(each) for each in mask_rles]
    if not runs:
        return np.zeros((0, 0))
    # With `iscrowd` COCO divides by the first mask's area instead of by the union.
    shares: NDArray[np.float64] = np.nan_to_num(coco_mask.iou(runs, runs, [1] * len(runs)))
    return shares


def iou_matrix(a_rle: Sequence[Mapping[str, Any]], b_rle: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
    """Intersection over union of each mask of `a` with each mask of `b`, without decoding them.

    Args:
        a_rle: N masks.
        b_rle: M masks of the same size.

    Returns:
        `(N, M)` in 0..1.
    """
    if not a_rle or not b_rle:
        return np.zeros((len(a_rle), len(b_rle)))
    found = coco_mask.iou([_bytes(each) for each in a_rle], [_bytes(each) for each in b_rle], [0] * len(b_rle))
    return np.asarray(found, dtype=np.float64)


def run_lengths(counts: str) -> NDArray[np.int64]:
    """The run lengths behind COCO's text form: zeros first, then ones, and so on.

    This is the cheap way to check that the runs of a mask sum up to `H * W` (see COCO's maskApi.c, `rleFrString`).

    Args:
        counts: the text of `counts`.

    Raises:
        InputError: the text ends in the middle of a number.
    """
    return _run_lengths([counts.encode("latin-1", "replace")])[0]


def _run_lengths(texts: Sequence[bytes]) -> list[NDArray[np.int64]]:
    """The run lengths behind each of several texts."""
    if any(text and (text[-1] - 48) & 0x20 for text in texts):
        raise InputError("The run lengths of a mask end in the middle of a number; the file it comes from is damaged.")
    digits = np.frombuffer(b"".join(texts), np.uint8).astype(np.int64) - 48
    if len(digits) == 0:
        return [np.zeros(0, dtype=np.int64) for _ in texts]
    last = ((digits & 0x20) == 0).nonzero()[0]
    first = np.concatenate([[0], last[:-1] + 1])
    digits_each = last - first + 1
    if digits_each.max() > _MOST_DIGITS:
        raise InputError("A run length of a mask is too long a number; the file it comes from is damaged.")
    shifts = 5 * (np.arange(len(digits)) - np.repeat(first, digits_each))
    joined: NDArray[np.int64] = np.add.reduceat((digits & 0x1F) << shifts, first)
    negative = (digits[last] & 0x10) != 0
    joined[negative] -= np.left_shift(np.int64(1), 5 * digits_each[negative])
    stops = last.searchsorted(list(accumulate(map(len, texts)))).tolist()
    found = [joined[start:stop] for start, stop in pairwise([0, *stops])]
    # from the fourth on, numbers are differences to the one before the last
    for lengths in found:
        for start in (1, 2):
            lengths[start::2] = lengths[start::2].cumsum()
    return found


def _is_polygon(value: Any) -> bool:
    if not isinstance(value, list) or len(value) < 6 or len(value) % 2:
        return False
    return all(isinstance(number, int | float) and np.isfinite(number) for number in value)


def _checked_lengths(mask_rles: Sequence[Mapping[str, Any]]) -> Iterator[NDArray[np.int64]]:
    """The run lengths of each mask; they fill its size."""
    texts = [_bytes(each)["counts"] for each in mask_rles]
    for mask_rle, lengths in zip(mask_rles, _run_lengths(texts), strict=True):
        height, width = (int(side) for side in mask_rle["size"])
        within = height >= 0 and width >= 0 and lengths.view(np.uint64).max(initial=0) <= height * width  # a negative one is too large
        if not within or lengths.sum() != height * width:
            raise InputError(
                f"The run lengths of a mask sum up to {lengths.sum()} pixels, its size {height} x {width} has {height * width}."
            )
        yield lengths


def _bytes(mask_rle: Mapping[str, Any]) -> dict[str, Any]:
    """The mask as pycocotools takes it.

    Raises:
        InputError: the text of its runs has other characters than such texts have, or ends in the middle of a number.
    """
    counts = mask_rle["counts"]
    if isinstance(counts, str):
        counts = counts.encode("utf-8", "replace")
    if counts.translate(None, _DIGITS):
        raise InputError("The run lengths of a mask hold characters that no such text has; the file it comes from is damaged.")
    if counts and (counts[-1] - 48) & 0x20:
        raise InputError("The run lengths of a mask end in the middle of a number; the file it comes from is damaged.")
    return {"size": [int(side) for side in mask_rle["size"]], "counts": counts}
