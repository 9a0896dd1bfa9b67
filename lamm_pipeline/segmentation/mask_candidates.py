"""Mask candidates: what may be an object in a frame, before anybody says that it is one and follows it."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class MaskCandidate:
    """One proposal in one frame.

    Attributes:
        candidate_id: `<frame id>:<n>`, of a detection its detection id.
        class_id: of the ontology; None where the source knows no classes.
        score: in 0..1, None where the source has none.
        stability: in 0..1, how little the mask changes with its threshold; None where the source does not say.
        box_xyxy: pixels of the left image.
        mask_rle: COCO RLE of the mask in the left image's size; None for a candidate that is only a box.
        area: pixels in the mask, or in the box.
        source: `detections`, `sam2`, `external` or `gap_fill`.
    """

    candidate_id: str
    class_id: str | None
    score: float | None
    stability: float | None
    box_xyxy: tuple[float, float, float, float]
    mask_rle: dict[str, Any] | None
    area: int
    source: str


@dataclass(frozen=True)
class FrameCandidates:
    """The candidates of one frame.

    Attributes:
        frame_id: `<recording>:<frame index, 6 digits>`.
        local_index: position among the frames that the candidates were made for, from 0.
        frame_index: index in the recording.
        candidates: best first.
    """

    frame_id: str
    local_index: int
    frame_index: int
    candidates: tuple[MaskCandidate, ...]
