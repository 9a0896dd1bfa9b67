"""What a version is validated for, and how much each finding weighs."""

from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lamm_pipeline.curation.near_duplicates import MAX_RADIUS, RADIUS


class ValidationLevel(StrEnum):
    """How much a version has to fulfil."""

    lenient = "lenient"
    strict = "strict"


class MaskCheck(StrEnum):
    """How masks are looked at."""

    full = "full"
    quick = "quick"


class Severity(StrEnum):
    """What a rule that does not hold means."""

    error = "error"
    warning = "warning"
    off = "off"


class RuleName(StrEnum):
    """The rules, in the order of reports."""

    missing_annotations = "missing_annotations"
    duplicate_frames = "duplicate_frames"
    mask_integrity = "mask_integrity"
    mask_box_agreement = "mask_box_agreement"
    box_bounds = "box_bounds"
    box_3d_sanity = "box_3d_sanity"
    class_balance = "class_balance"
    class_missing_from_split = "class_missing_from_split"
    small_objects = "small_objects"
    density = "density"
    near_duplicates = "near_duplicates"


class ValidationSettings(BaseModel):
    """What a version is validated for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    level: ValidationLevel = Field(
        default=ValidationLevel.lenient,
        description="strict: frames without annotations and invalid boxes are errors. lenient: they are warnings. "
        "Broken masks are errors either way, everything else is a warning either way.",
    )
    masks: MaskCheck = Field(
        default=MaskCheck.full,
        description="full: decode every mask. quick: read sizes, areas and boxes off the runs without decoding, many times faster.",
    )
    severe_imbalance: float = Field(
        default=9.0, ge=1.0, description="The most frequent class has so many times the samples of the rarest: severe imbalance."
    )
    moderate_imbalance: float = Field(default=5.0, ge=1.0, description="The same for moderate imbalance.")
    small_object_share: float = Field(default=0.001, gt=0.0, lt=1.0, description="Objects that cover less of the image are small.")
    max_small_objects: float = Field(default=0.05, ge=0.0, le=1.0, description="Warn when more than this share of the objects is small.")
    min_density: float = Field(default=1.0, ge=0.0, description="Warn when there are fewer objects a frame on average.")
    box_tolerance_px: float = Field(
        default=1.0, ge=0.0, le=100.0, description="How far a box may reach out of its image: boxes of networks end between pixels."
    )
    min_mask_box_iou: float = Field(
        default=0.5, ge=0.0, le=1.0, description="Mask and box disagree when the box around the mask overlaps the box less (IoU)."
    )
    near_duplicate_bits: int = Field(
        default=RADIUS, ge=0, le=MAX_RADIUS, description="Frames whose 64-bit hashes differ in at most so many bits look alike."
    )
    severities: dict[str, Severity] = Field(
        default={}, description="Rules that weigh otherwise than the level says: error, warning or off, by the rule's name."
    )

    @model_validator(mode="after")
    def _thresholds_in_order(self) -> Self:
        if self.moderate_imbalance > self.severe_imbalance:
            raise ValueError(f"moderate_imbalance {self.moderate_imbalance:g} is above severe_imbalance {self.severe_imbalance:g}")
        unknown = sorted(set(self.severities) - set(RuleName))
        if unknown:
            raise ValueError(f"there is no rule {', '.join(map(repr, unknown))}; the rules are {', '.join(RuleName)}")
        return self

    def severity(self, rule: RuleName, *, empty_frames_refused: bool, empty_frames_wanted: bool) -> Severity:
        """What it means when a rule does not hold.

        Args:
            rule: the rule.
            empty_frames_refused: whether the version's filters call frames without annotations an error.
            empty_frames_wanted: whether they keep them as negatives, which is a person's word for all of them.
        """
        strict = self.level is ValidationLevel.strict
        is_error = {
            RuleName.mask_integrity: True,
            RuleName.box_bounds: strict,
            RuleName.missing_annotations: (strict and not empty_frames_wanted) or empty_frames_refused,
        }.get(rule, False)
        return self.severities.get(rule, Severity.error if is_error else Severity.warning)
