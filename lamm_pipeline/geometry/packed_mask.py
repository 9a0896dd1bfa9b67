"""Packed masks: one bit a pixel, and as JSON with the bits in base64. The form in which masks leave and enter through archives.

In memory `{"packed_bits": bytes of numpy.packbits over the rows, "shape": (h, w)}`, with `"full_resolution_shape": (H, W)` only where the
mask was made smaller; in JSON `packed_bits_b64` stands in place of `packed_bits` (section 4.5 of the specification). Files of the format's
first tool may have shapes such as `(1, h, w)`, because its model keeps a channel: they are read as `(h, w)`.
"""

import base64
import binascii
import math
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.errors import InputError

Mask = NDArray[np.bool_]
PackedMask = dict[str, Any]
Shape = tuple[int, int]

BITS, BITS_JSON, SHAPE, FULL_SHAPE = "packed_bits", "packed_bits_b64", "shape", "full_resolution_shape"


def pack(mask: NDArray[Any], scale: float = 1.0) -> PackedMask:
    """Pack a mask, made smaller first where `scale` is below 1.

    Args:
        mask: `(H, W)` or `(1, H, W)`; everything that is not zero belongs to the object.
        scale: in (0, 1], of width and height.

    Raises:
        ValueError: the scale is out of range, or the mask has no two dimensions.
    """
    plane = np.asarray(mask).reshape(_plane_shape(np.shape(mask))) != 0
    stored = downscale(plane, scale)
    packed: PackedMask = {BITS: np.packbits(stored.reshape(-1)), SHAPE: stored.shape}
    if stored.shape != plane.shape:
        packed[FULL_SHAPE] = plane.shape
    return packed


def unpack(packed: Mapping[str, Any]) -> Mask:
    """The mask at its stored size.

    Args:
        packed: with `packed_bits`, or as JSON has it.

    Returns:
        `(h, w)`.

    Raises:
        InputError: bits or shape are missing, or there are fewer bits than pixels.
    """
    whole = packed if BITS in packed else from_json(packed)
    shape = _stored_shape(whole)
    bits = np.asarray(whole[BITS], dtype=np.uint8).reshape(-1)
    if bits.size * 8 < math.prod(shape):
        raise InputError(
            f"A packed mask of {shape[0]} x {shape[1]} pixels has only {bits.size * 8} bits; the file it comes from is damaged."
        )
    return np.unpackbits(bits, count=math.prod(shape)).reshape(shape).astype(bool)


def to_json(packed: Mapping[str, Any]) -> dict[str, Any]:
    """The packed mask as JSON values."""
    bits = np.ascontiguousarray(packed[BITS], dtype=np.uint8)
    value: dict[str, Any] = {SHAPE: list(_stored_shape(packed)), BITS_JSON: base64.b64encode(bits.tobytes()).decode("ascii")}
    if FULL_SHAPE in packed:
        value[FULL_SHAPE] = [int(side) for side in packed[FULL_SHAPE]]
    return value


def from_json(value: Mapping[str, Any]) -> PackedMask:
    """The inverse of `to_json`.

    Raises:
        InputError: bits or shape are missing or not readable.
    """
    text = value.get(BITS_JSON)
    if not isinstance(text, str):
        raise InputError(f"A packed mask has no text {BITS_JSON!r}; it is not one, or the file it comes from is damaged.")
    try:
        bits = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError(f"The bits of a packed mask are not base64 ({error}); the file it comes from is damaged.") from None
    packed: PackedMask = {BITS: np.frombuffer(bits, np.uint8), SHAPE: _stored_shape(value)}
    full = _possible_full_shape(value)
    if full is not None:
        packed[FULL_SHAPE] = full
    return packed


def full_shape(packed: Mapping[str, Any], fallback: Shape | None = None) -> Shape:
    """Rows and columns that the mask had before it was made smaller.

    A stored full shape that is smaller than the mask cannot be (the first tool wrote `(1, H)` for masks with a channel) and counts as none.

    Args:
        packed: a packed mask.
        fallback: what to take where the mask does not say; None means the stored shape.
    """
    return _possible_full_shape(packed) or fallback or _stored_shape(packed)


def relative_scale(packed: Mapping[str, Any]) -> float:
    """Stored size over full size, mean of rows and columns; 1.0 where the mask does not say."""
    (rows, columns), (full_rows, full_columns) = _stored_shape(packed), full_shape(packed)
    return (rows / full_rows + columns / full_columns) / 2.0


def downscale(mask: Mask, scale: float) -> Mask:
    """Make a mask smaller: a pixel is set when half or more of the pixels it stands for are (box filter).

    Args:
        mask: `(H, W)`.
        scale: in (0, 1]; sides are rounded and at least 1.

    Raises:
        ValueError: the scale is out of range.
    """
    if not 0.0 < scale <= 1.0:
        raise ValueError(f"A mask's scale lies above 0 and up to 1, not at {scale}.")
    height, width = mask.shape
    rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
    if (rows, columns) == (height, width):
        return mask
    row_edges, column_edges = _edges(height, rows), _edges(width, columns)
    counts = np.add.reduceat(np.add.reduceat(mask.astype(np.int64), row_edges[:-1], axis=0), column_edges[:-1], axis=1)
    covered: Mask = counts * 2 >= np.outer(np.diff(row_edges), np.diff(column_edges))
    return covered


def resize(mask: Mask, shape: Sequence[int]) -> Mask:
    """Scale a mask by nearest neighbour.

    Args:
        mask: `(H, W)`.
        shape: rows and columns of the result.
    """
    rows, columns = int(shape[0]), int(shape[1])
    if mask.shape == (rows, columns):
        return mask
    return cv2.resize(mask.astype(np.uint8), (columns, rows), interpolation=cv2.INTER_NEAREST_EXACT).astype(bool)


def iou(a: Mask, b: Mask) -> float:
    """Intersection over union of two masks, 0 when both are empty. Of two sizes the smaller is scaled up to the larger.

    Args:
        a: `(H, W)`.
        b: `(H, W)`, of the same view; may have another resolution.
    """
    if a.shape != b.shape:
        a, b = (resize(a, b.shape), b) if a.size < b.size else (a, resize(b, a.shape))
    union = np.count_nonzero(a | b)
    return float(np.count_nonzero(a & b) / union) if union else 0.0


def _edges(length: int, parts: int) -> NDArray[np.intp]:
    """Where the pixels of a smaller side begin in the larger one, and where the last ends."""
    edges: NDArray[np.intp] = np.floor(np.arange(parts + 1) * (length / parts) + 0.5).astype(np.intp)
    return edges


def _stored_shape(packed: Mapping[str, Any]) -> Shape:
    value = packed.get(SHAPE)
    sides = list(value) if isinstance(value, Sequence | np.ndarray) and not isinstance(value, str) else []
    if not all(isinstance(side, int | np.integer) and side > 0 for side in sides):
        sides = []
    try:
        return _plane_shape(sides)
    except ValueError:
        raise InputError(f"A packed mask has the shape {value!r} instead of rows and columns; the file it comes from is damaged.") from None


def _possible_full_shape(packed: Mapping[str, Any]) -> Shape | None:
    value = packed.get(FULL_SHAPE)
    if not isinstance(value, Sequence | np.ndarray) or isinstance(value, str) or len(value) < 2:
        return None
    rows, columns = int(value[-2]), int(value[-1])
    stored = _stored_shape(packed)
    return (rows, columns) if rows >= stored[0] and columns >= stored[1] else None


def _plane_shape(shape: Sequence[int]) -> Shape:
    """Rows and columns of an array with any number of channels of size 1."""
    sides = [int(side) for side in shape]
    while len(sides) > 2 and sides[0] == 1:
        sides = sides[1:]
    while len(sides) > 2 and sides[-1] == 1:
        sides = sides[:-1]
    if len(sides) != 2 or min(sides) < 1:
        raise ValueError(f"A mask has rows and columns, this one has the shape {tuple(shape)}.")
    return sides[0], sides[1]
