"""What can be set about masklets."""

from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lamm_pipeline.segmentation.settings import Variant

OPERATIONAL_FIELDS = frozenset({"variant", "weights"})
"""Settings that change the result only through what the back end's identity says of them."""

WINDOW = 64
"""Frames a window where none is set: of a model's video memory this is what has to fit; of `flow` the most between two checkpoints."""


class MaskletBackend(StrEnum):
    """What follows masks; names equal values."""

    flow = "flow"
    sam2 = "sam2"


class PromptMode(StrEnum):
    """How a candidate is shown to the back end; names equal values."""

    all_mask = "all_mask"
    all_box = "all_box"
    long_tail_box = "long_tail_box"


class MaskletSettings(BaseModel):
    """Settings of the asset `masklets`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    backend: MaskletBackend = Field(
        MaskletBackend.flow,
        description="What follows masks from frame to frame: `flow` is optical flow, with depth where there is depth, without weights; "
        "`sam2` is SAM2's video model.",
    )
    variant: Variant = Field(Variant.tiny, description="Which SAM2.1 model the back end `sam2` uses: tiny, small, base or large.")
    weights: str | None = Field(
        None, description="Weights of the back end `sam2`: the checkpoint file, its folder, or its id on the Hugging Face hub."
    )
    levels: list[int] = Field([], description="Levels of candidates to follow, one after the other; empty means all that there are.")
    prompt_mode: PromptMode = Field(
        PromptMode.all_mask,
        description="What of a candidate is the prompt: `all_mask` its mask (its box if it has none), `all_box` its box, `long_tail_box` "
        "the box of small candidates and the mask of the others.",
    )
    long_tail_area: int | None = Field(
        None,
        ge=1,
        description="Candidates with fewer pixels are small, for `long_tail_box`. Empty: three times the candidates' min_area, else 1500.",
    )
    dedup_iou: float = Field(
        0.6, ge=0.0, le=1.0, description="A candidate that overlaps more than this (IoU) with what is followed already is not new."
    )
    match_iou: float = Field(
        0.3,
        ge=0.0,
        le=1.0,
        description="Least overlap (IoU) by which a candidate speaks for a followed object and corrects it, for back ends that drift, and "
        "by which an object found at the beginning of a window is one of the window before.",
    )
    max_propagate: int | None = Field(
        None, ge=0, description="Most frames that an object is followed from its prompt in each direction. Empty: as far as it is seen."
    )
    window: int | None = Field(
        None,
        ge=2,
        le=10_000,
        description=f"Frames that are worked on at once; memory grows with it, not with the recording. Empty: {WINDOW} for models, and the "
        "frames from one prompt frame to the next for `flow`.",
    )
    overlap: int = Field(8, ge=1, le=1000, description="Frames that two windows share, for models and where a window is set.")
    max_unsupported: int | None = Field(
        None,
        ge=1,
        description="An object that this many looked-at frames in a row show no candidate for ends, and is cut back to the last frame that "
        "showed one. Empty: 10 for `flow`; models decide themselves when an object is gone.",
    )
    min_support: int | None = Field(
        None,
        ge=1,
        description="A masklet that fewer looked-at frames show a candidate for is left out, unless it was in fewer looked-at frames at "
        "all: false candidates rarely last. Empty: 3 for `flow`, as for tracks; 1, which keeps all, for models.",
    )
    mask_scale_ratio: float = Field(
        1.0, gt=0.0, le=1.0, description="Size of the masks in the archives as a share of the frame; the table has them whole."
    )
    render_previews: bool = Field(True, description="Draw candidates and masklets side by side.")
    preview_stride: int = Field(1, ge=1, le=10_000, description="Draw at most every n-th frame.")
    preview_max: int = Field(
        12, ge=0, le=1000, description="Most pictures a level, evenly spread, first and last among them; 0 = no limit."
    )

    @model_validator(mode="after")
    def _windows_advance(self) -> Self:
        if self.window is not None and self.overlap >= self.window:
            raise ValueError(f"overlap ({self.overlap}) must be smaller than window ({self.window}), or no window begins after another")
        if len(self.levels) != len(set(self.levels)):
            raise ValueError("a level is named twice in levels")
        return self
