"""Which candidates are new: not those that lie on what is followed in their frame already."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.geometry.boxes_2d import box_of_mask, iou_matrix
from lamm_pipeline.tracking.masklets.propagation import Mask

Box = tuple[float, float, float, float]

NO_BOX: Box = (0.0, 0.0, 0.0, 0.0)
LONGEST_SIDE = 256
"""Masks are compared at this size at most, so that a window of them fits into memory."""


def compact(mask: Mask) -> Mask:
    """The mask with at most 256 pixels on its longest side, every pixel that of the nearest."""
    height, width = mask.shape
    share = LONGEST_SIDE / max(height, width)
    if share >= 1.0:
        return mask
    size = (max(round(width * share), 1), max(round(height * share), 1))
    return np.asarray(cv2.resize(mask.view(np.uint8), size, interpolation=cv2.INTER_NEAREST), np.uint8).view(np.bool_)


@dataclass
class _Known:
    """Everything followed in one frame, by position in the lists."""

    ids: list[int]
    masks: list[NDArray[np.bool_]]
    boxes_xyxy: list[Box]


class DedupStore:
    """The masks that are followed, by frame.

    Args:
        iou: a mask that overlaps more than this with a known one is seen already; exactly this much is not.
    """

    def __init__(self, iou: float) -> None:
        self._iou = iou
        self._frames: dict[int, _Known] = {}

    def add(self, frame: int, object_id: int, mask: Mask) -> None:
        """Join a mask to those known in a frame."""
        known = self._frames.setdefault(frame, _Known([], [], []))
        known.ids.append(object_id)
        known.masks.append(compact(mask).ravel())
        known.boxes_xyxy.append(box_of_mask(mask) or NO_BOX)

    def forget(self, frame: int, object_id: int) -> None:
        """Take the masks of an object out of a frame."""
        known = self._frames.get(frame)
        if known is not None:
            kept = [n for n, each in enumerate(known.ids) if each != object_id]
            known.ids, known.masks, known.boxes_xyxy = (
                [known.ids[n] for n in kept],
                [known.masks[n] for n in kept],
                [known.boxes_xyxy[n] for n in kept],
            )

    def seen(self, frame: int, mask: Mask | None, box_xyxy: NDArray[np.float64]) -> int | None:
        """The object that covers a candidate most, if it covers it by more than the limit.

        Args:
            frame: of the candidate.
            mask: `(H, W)`; None for a candidate that is only a box: then boxes are compared, because the box of a thing is not its mask.
            box_xyxy: `(4,)` pixels.
        """
        known = self._frames.get(frame)
        if known is None or not known.ids:
            return None
        overlap = iou_matrix(box_xyxy, known.boxes_xyxy)[0] if mask is None else _mask_iou(compact(mask).ravel(), known.masks)
        best = int(overlap.argmax())
        return known.ids[best] if overlap[best] > self._iou else None


def _mask_iou(mask: NDArray[np.bool_], others: list[NDArray[np.bool_]]) -> NDArray[np.float64]:
    stacked = np.stack(others)
    shared = (stacked & mask).sum(axis=1)
    union = (stacked | mask).sum(axis=1)
    return np.asarray(np.divide(shared, union, out=np.zeros(len(others)), where=union > 0), np.float64)
