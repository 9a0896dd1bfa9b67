"""What a person chooses when an annotation export is imported."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class RunOrder(StrEnum):
    """In which order the runs of a mask without a size go over its pixels."""

    auto = "auto"
    columns = "columns"
    rows = "rows"


RAISE_THE_LIMIT = (
    "If you trust where it comes from, raise the limit: `lamm import --limit NAME=NUMBER`, or the config of annotation_export."
)


class ZipLimits(BaseModel):
    """What a ZIP may hold at most; beyond it is refused, before anything of it is written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_members: int = Field(default=1_000_000, ge=1, description="Most files in the ZIP.")
    max_total_gb: float = Field(default=200.0, gt=0.0, description="Most gigabytes that all files take unpacked.")
    max_file_mb: float = Field(default=256.0, gt=0.0, description="Most megabytes that one image takes unpacked.")
    max_annotations_mb: float = Field(default=8192.0, gt=0.0, description="Most megabytes that annotations.json takes unpacked.")
    max_entry_mb: float = Field(
        default=32.0, gt=0.0, description="Most megabytes of JSON that are read at once: the entry of a frame, and metadata.json."
    )
    max_ratio: float = Field(
        default=200.0, ge=1.0, description="How many times larger than packed a file may be unpacked, when it is larger than a megabyte."
    )
    max_megapixels: float = Field(default=100.0, gt=0.0, description="Most million pixels of an image; larger ones are not decoded.")


class ImportSettings(BaseModel):
    """How an annotation export is read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    class_map: dict[str, str] = Field(
        default={},
        description="Class of a label, by label, where the ontology does not tell; small and capital letters alike.",
    )
    video: str | None = Field(
        default=None,
        min_length=1,
        description="Name of the video that the export is of; it becomes the `recording` of the frames. Empty: the export says it.",
    )
    run_order: RunOrder = Field(
        default=RunOrder.auto,
        description="Order of the runs in masks that are bare lists. auto: rows, as the SAM2 Demo Export Tool writes them, unless the "
        "export says that another tool wrote it; then columns.",
    )
    from_recording: str | None = Field(
        default=None, description="Take the images from the extracted frames of this recording, by frame index, not from the ZIP."
    )
    images_folder: str | None = Field(
        default=None,
        description="Take the images from this folder, files named by frame index (000012.png, frame_000012.jpg), not from the ZIP.",
    )
