"""The five forms in which exports write masks, as COCO's compressed runs at the size of the image.

| form | written as |
| --- | --- |
| compressed | `{"size": [H, W], "counts": "text"}`: taken as it is, its runs are left to the validation |
| uncompressed | `{"size": [H, W], "counts": [numbers]}` |
| bare columns | `"120 4 ..."`: run lengths, zeros first, down the columns, without a size |
| bare rows | the same along the rows, as the SAM2 Demo Export Tool writes it |
| packed | `{"packed_bits_b64": "...", "shape": [h, w]}`, see `geometry/packed_mask.py` |

The size of a bare list is told by its sum: the pixels of the image, else the square grid of the model's decoder, which is scaled up.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from lamm_pipeline.errors import InputError
from lamm_pipeline.geometry import packed_mask, rle

Size = tuple[int, int]
"""Rows and columns."""

MAX_GRID = 2048
_BARE = re.compile(r"[0-9]+(?:\s+[0-9]+)*", re.ASCII)
_COMPRESSED = re.compile(r"[0-o]+", re.ASCII)
_MAX_DIGITS = 12


def to_coco(value: Any, size: Size, *, by_rows: bool) -> dict[str, Any]:
    """A mask in any of the forms as `{"size": [H, W], "counts": text}`.

    Args:
        value: as JSON has it.
        size: of the image.
        by_rows: whether the runs of a bare list go along the rows.

    Raises:
        InputError: it is none of the forms, or does not fit the image; the sentence says why.
    """
    if isinstance(value, str):
        return _from_bare(value, size, by_rows=by_rows)
    if isinstance(value, Mapping) and packed_mask.BITS_JSON in value:
        return _from_packed(value, size)
    if not isinstance(value, Mapping) or "counts" not in value:
        raise InputError("The mask is in no form that is known.")
    if value.get("size") != list(size):
        raise InputError(f"The mask has the size {_short(value.get('size'))}, its image {list(size)} (rows, columns).")
    counts = value["counts"]
    if isinstance(counts, str):
        if _COMPRESSED.fullmatch(counts) is None:
            raise InputError("The runs of the mask are no text of COCO's.")
        return {"size": list(size), "counts": counts}
    if not isinstance(counts, list):
        raise InputError("The runs of the mask are neither text nor a list.")
    return _from_columns(_checked(counts), size)


def _from_bare(text: str, size: Size, *, by_rows: bool) -> dict[str, Any]:
    if _BARE.fullmatch(text.strip()) is None:
        raise InputError("The mask is a text, but no list of run lengths.")
    words = text.split()
    if max(map(len, words)) > _MAX_DIGITS:
        raise InputError("A run of the mask is too long a number.")
    counts = [int(word) for word in words]
    total = sum(counts)
    if total == size[0] * size[1]:
        return rle.encode(_decoded(counts, size, by_rows=True)) if by_rows else _from_columns(counts, size)
    side = math.isqrt(total)
    if side * side != total or not 0 < side <= MAX_GRID:
        raise InputError(f"The runs of the mask sum up to {total} pixels: neither the {size[0] * size[1]} of its image nor a square grid.")
    return rle.encode(packed_mask.resize(_decoded(counts, (side, side), by_rows=by_rows), size))


def _from_packed(value: Mapping[str, Any], size: Size) -> dict[str, Any]:
    try:
        mask = packed_mask.unpack(value)
        full = packed_mask.full_shape(packed_mask.from_json(value), size)
    except (ValueError, TypeError, OverflowError):
        raise InputError("The mask has a shape that makes no sense.") from None
    if full != size:
        raise InputError(f"The mask was made for an image of {full[0]} x {full[1]} pixels, its image has {size[0]} x {size[1]}.")
    return rle.encode(packed_mask.resize(mask, size))


def _checked(counts: list[Any]) -> list[int]:
    if not all(isinstance(run, int) and not isinstance(run, bool) and 0 <= run < 10**_MAX_DIGITS for run in counts):
        raise InputError("The run lengths of the mask are not whole numbers of 0 or more.")
    return counts


def _from_columns(counts: list[int], size: Size) -> dict[str, Any]:
    total = sum(counts)
    if total != size[0] * size[1]:
        raise InputError(f"The runs of the mask sum up to {total} pixels, its image has {size[0] * size[1]}.")
    runs = coco_mask.frPyObjects({"size": list(size), "counts": counts}, *size)
    return {"size": list(size), "counts": runs["counts"].decode("ascii")}


def _decoded(counts: list[int], size: Size, *, by_rows: bool) -> NDArray[np.bool_]:
    """The mask of run lengths that sum up to the size."""
    pixels = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return pixels.reshape(size, order="C" if by_rows else "F")


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 50 else text[:47] + "..."
