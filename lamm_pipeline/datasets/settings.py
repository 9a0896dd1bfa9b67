"""What a person chooses when making a dataset version: filters, split, formats. Plain models with bounds and help texts."""

from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from lamm_pipeline.curation.near_duplicates import MAX_RADIUS, RADIUS
from lamm_pipeline.datasets.validation.settings import ValidationLevel, ValidationSettings

RATIO_TOLERANCE = 1e-3


class EmptyFrames(StrEnum):
    """What becomes of frames on which no annotation is left."""

    auto = "auto"
    drop = "drop"
    keep_as_negative = "keep_as_negative"
    error = "error"


class OnConflict(StrEnum):
    """What is taken where several sources of a version have the same frame."""

    keep_first = "keep_first"
    keep_last = "keep_last"
    error = "error"


class SplitStrategy(StrEnum):
    """How frames get into train, val and test."""

    auto = "auto"
    recording = "recording"
    temporal = "temporal"
    blocks = "blocks"
    stratified = "stratified"
    random = "random"


class StratifiedGroup(StrEnum):
    """What a stratified split keeps together."""

    auto = "auto"
    recording = "recording"
    block = "block"
    frame = "frame"


class BalanceBy(StrEnum):
    """What the ratios of a split over whole recordings count."""

    frames = "frames"
    recordings = "recordings"


class ExportFormat(StrEnum):
    """Formats a version is written in."""

    kitti = "kitti"
    coco = "coco"
    huggingface = "huggingface"
    llava = "llava"
    sam2 = "sam2"


class BoxSource(StrEnum):
    """Whose 3D boxes a version has."""

    frame = "frame"
    track = "track"


class FilterSettings(BaseModel):
    """Which frames and annotations get into a dataset version."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    include_classes: list[str] = Field(default=[], description="Class ids to keep; empty keeps all classes of the ontology.")
    excluded_classes: list[str] = Field(default=[], description="Class ids to leave out.")
    min_score: float | None = Field(
        default=None, ge=0.0, le=1.0, description="Leave out annotations with a lower score. Annotations without any score stay."
    )
    excluded_frame_ids: list[str] = Field(default=[], description="Frames to leave out, by id (`<recording>:<frame index>`).")
    excluded_detection_ids: list[str] = Field(default=[], description="Annotations to leave out, by id (`<frame id>:<n>`).")
    min_track_length: int = Field(
        default=1, ge=1, le=100_000, description="Leave out annotations whose track is seen on fewer frames; 1 asks for no track at all."
    )
    empty_frames: EmptyFrames = Field(
        default=EmptyFrames.auto,
        description="Analysed frames without annotations: drop them, keep them as negatives, or let validation fail (error). auto: error "
        "with strict validation, drop with lenient.",
    )

    @model_validator(mode="after")
    def _no_class_both_ways(self) -> Self:
        both = sorted(set(self.include_classes) & set(self.excluded_classes))
        if both:
            raise ValueError(f"the classes {', '.join(both)} are both included and excluded; name each once")
        return self


class SplitSettings(BaseModel):
    """How the frames of a version are divided into train, val and test."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    strategy: SplitStrategy = Field(
        default=SplitStrategy.auto,
        description="recording: whole recordings, leak-free. temporal: whole recordings by their first stamp, the earliest in train and "
        "the latest in test. blocks: contiguous blocks of each recording with a guard gap between them. stratified: each class in the "
        "ratios of the splits, by groups. random: single frames, so that neighbours get into different splits. "
        "auto: recording when there are enough recordings to fill every split, else blocks.",
    )
    group: StratifiedGroup = Field(
        default=StratifiedGroup.auto,
        description="What stratified keeps together. recording: recordings. block: short blocks of frames, with a guard gap where the "
        "split changes. Both keep near-duplicates together too. frame: nothing, which gives exact counts and lets neighbours get into "
        "different splits. auto: recording, with fewer than three recordings block.",
    )
    near_duplicate_radius: int = Field(
        default=RADIUS,
        ge=0,
        le=MAX_RADIUS,
        description="Bits of the image hash, of 64, in which frames may differ that stratified keeps out of different splits.",
    )
    train_ratio: float = Field(default=0.7, ge=0.0, le=1.0, description="Share of train; the three ratios sum to 1.")
    val_ratio: float = Field(default=0.2, ge=0.0, le=1.0, description="Share of val.")
    test_ratio: float = Field(default=0.1, ge=0.0, le=1.0, description="Share of test.")
    seed: int = Field(default=42, ge=0, le=2**32 - 1, description="Decides what goes where; the same seed gives the same split.")
    balance_by: BalanceBy = Field(
        default=BalanceBy.frames, description="What the ratios mean for whole recordings: shares of the frames, or of the recordings."
    )
    guard_frames: int = Field(
        default=10,
        ge=1,
        le=10_000,
        description="Extracted frames, kept or not, that lie at least between two blocks of a recording, so that no split holds "
        "neighbours of another. At 30 frames a second, of which every tenth was extracted, 10 are more than three seconds. "
        "With strategy auto, and stratified with group auto, short recordings get a smaller gap, which is reported.",
    )

    @model_validator(mode="after")
    def _ratios_sum_to_one(self) -> Self:
        total = self.train_ratio + self.val_ratio + self.test_ratio
        if abs(total - 1.0) > RATIO_TOLERANCE:
            raise ValueError(f"train_ratio, val_ratio and test_ratio sum to {total:g}; they must sum to 1")
        return self

    @property
    def ratios(self) -> dict[str, float]:
        """The three ratios by split, in the order train, val, test."""
        return {"train": self.train_ratio, "val": self.val_ratio, "test": self.test_ratio}


class DatasetSettings(BaseModel):
    """Everything that decides the content of a dataset version besides its recordings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    filters: FilterSettings = Field(default=FilterSettings(), description="Which frames and annotations get in.")
    split: SplitSettings = Field(default=SplitSettings(), description="How they are divided into train, val and test.")
    validation: ValidationSettings = Field(
        default=ValidationSettings(), description="What the version is validated for before it is exported."
    )
    formats: list[ExportFormat] = Field(
        default=[],
        validate_default=True,
        description="Formats to write: kitti, coco, huggingface, llava, sam2; empty means kitti and coco.",
    )
    on_conflict: OnConflict = Field(
        default=OnConflict.keep_first,
        description="Where a recording and imports, or several imports of one video, have the same frame: take the one that was added "
        "first, the one that was added last, or refuse (error) if they differ. What is not taken is listed.",
    )
    include_masks: bool = Field(
        default=True, description="Write a mask PNG for each annotation. COCO's segmentation is in annotations.json either way."
    )
    include_depth: bool = Field(default=True, description="Add the depth maps to KITTI.")
    include_3d_boxes: bool = Field(default=True, description="Write 3D boxes, and speak of distances in conversations.")
    box_source: BoxSource = Field(
        default=BoxSource.track,
        description="frame: 3D boxes as one frame alone gives them. track: those refined over the track, for annotations that have a "
        "refined track, and those of the frame for the others; each annotation names its source.",
    )
    include_right_images: bool = Field(default=True, description="Add the right images (image_3) to KITTI.")
    include_point_clouds: bool = Field(default=True, description="Add the point clouds (velodyne) to KITTI.")
    embed_images: bool = Field(
        default=True,
        description="Put the images' own bytes into the rows of a Hugging Face dataset. Else they lie beside them, linked where possible, "
        "and the rows have paths.",
    )
    conversation_turns: int = Field(
        default=2, ge=1, le=8, description="Questions asked about each frame for Hugging Face and LLaVA, of different kinds."
    )

    @property
    def empty_frames(self) -> EmptyFrames:
        """What becomes of empty frames, never `auto`."""
        chosen = self.filters.empty_frames
        if chosen is not EmptyFrames.auto:
            return chosen
        return EmptyFrames.error if self.validation.level is ValidationLevel.strict else EmptyFrames.drop

    @field_validator("formats")
    @classmethod
    def _each_format_once(cls, formats: list[ExportFormat]) -> list[ExportFormat]:
        if len(set(formats)) != len(formats):
            raise ValueError("a format is named twice; name each once")
        return formats or [ExportFormat.kitti, ExportFormat.coco]
