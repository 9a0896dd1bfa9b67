"""How candidates become prompts."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.geometry import rle
from lamm_pipeline.geometry.boxes_2d import box_of_mask, clip_xyxy
from lamm_pipeline.segmentation.candidates.mask_candidates import MaskCandidate
from lamm_pipeline.tracking.masklets.propagation import Mask, Prompt
from lamm_pipeline.tracking.masklets.settings import PromptMode

LONG_TAIL_AREA = 1500
EMPTY_MASK = "its mask is empty"
EMPTY_BOX = "its box lies outside the frame or has no area"


@dataclass(frozen=True)
class Proposal:
    """A candidate in the frame's own pixels.

    Attributes:
        candidate: as proposed.
        mask: `(H, W)` of the frame; None for a candidate that is only a box.
        box_xyxy: `(4,)` within the frame; of the mask where there is one.
        resized: whether the candidate's mask had another size than the frame.
    """

    candidate: MaskCandidate
    mask: Mask | None
    box_xyxy: NDArray[np.float64]
    resized: bool = False

    def prompt(self, mode: PromptMode, long_tail_area: int) -> Prompt:
        """What the back end is shown.

        Args:
            mode: mask or box.
            long_tail_area: below so many pixels a candidate is small, for `PromptMode.long_tail_box`.
        """
        small = mode is PromptMode.long_tail_box and self.candidate.area < long_tail_area
        if self.mask is None or small or mode is PromptMode.all_box:
            return Prompt(box_xyxy=np.rint(self.box_xyxy).astype(np.int64))
        return Prompt(mask=self.mask)


def propose(candidate: MaskCandidate, width: int, height: int) -> Proposal | str:
    """Bring a candidate into the frame, or say why it cannot be followed.

    Args:
        candidate: its mask may have another size than the frame: it is brought to the frame's (nearest pixel).
        width: of the frame.
        height: of the frame.

    Raises:
        InputError: the mask's runs do not fill its size.
    """
    if candidate.mask_rle is None:
        box_xyxy = clip_xyxy(candidate.box_xyxy, width, height)
        x1, y1, x2, y2 = np.rint(box_xyxy)
        return Proposal(candidate, None, box_xyxy) if x2 > x1 and y2 > y1 else EMPTY_BOX
    mask = rle.decode(candidate.mask_rle)
    resized = mask.shape != (height, width)
    if resized:
        mask = np.asarray(cv2.resize(mask.view(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST), np.uint8).view(np.bool_)
    found_xyxy = box_of_mask(mask)
    return EMPTY_MASK if found_xyxy is None else Proposal(candidate, mask, np.array(found_xyxy, np.float64), resized)


def long_tail_area(wanted: int | None, min_area: int | None) -> int:
    """Below how many pixels a candidate is small: as wanted, else three times the least area of candidates, else 1500."""
    if wanted is not None:
        return wanted
    return 3 * min_area if min_area else LONG_TAIL_AREA
