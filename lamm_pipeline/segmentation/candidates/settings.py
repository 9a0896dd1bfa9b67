"""Settings of the `mask_candidates` stage.

All but `OPERATIONAL_FIELDS` are part of the artifact's version; of the model and the files that those name, the digests are.
"""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from lamm_pipeline.segmentation.settings import Variant


class CandidateSource(StrEnum):
    """Where candidates come from."""

    detections = "detections"
    sam2 = "sam2"
    external = "external"


OPERATIONAL_FIELDS = frozenset({"variant", "weights", "external", "gpu_memory_share"})
"""Settings that do not change the result, or only through what the source's identity says of them."""


class CandidateSettings(BaseModel):
    """What is proposed as an object in a frame, before masks are followed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: CandidateSource = Field(
        CandidateSource.detections,
        description="What proposes: `detections` the asset of that name, `sam2` SAM2's automatic masks (everything in the picture, without "
        "classes), `external` a tree `level_*/filtered/filtered.json` made elsewhere.",
    )
    external: str | None = Field(None, description="Folder of the source `external`, the one that `level_*` lie in.")
    levels: list[int] = Field(
        [],
        max_length=8,
        description="Levels, coarse to fine, such as 2, 4, 6; each is followed on its own. Candidates within others go to finer levels. "
        "Empty means one level, 1, and of `external` all there are.",
    )
    every: int = Field(1, ge=1, le=1000, description="Candidates for every N-th frame only; masks are followed through the others.")
    min_area: int = Field(300, ge=1, description="Smallest candidate, pixels.")
    min_stability: float = Field(
        0.9, ge=0.0, le=1.0, description="How little a mask may change with its threshold. Sources that do not say pass."
    )
    gap_fill: bool = Field(False, description="Also propose, in the coarsest level, large regions that no candidate covers.")
    fill_area: int = Field(5000, ge=1, description="Smallest region of `gap_fill`, pixels.")
    packed_masks: bool = Field(
        False, description="Also write masks in the packed form that other tools read; about 150 KB a mask at 1280x720."
    )
    mask_scale_ratio: float = Field(1.0, gt=0.0, le=1.0, description="Scale of the packed masks, of width and height.")
    variant: Variant = Field(Variant.tiny, description="Which SAM2.1 model the source `sam2` uses: tiny, small, base or large.")
    weights: str | None = Field(
        None, description="Weights of the source `sam2`: the checkpoint file, its folder, or its id on the Hugging Face hub."
    )
    points_per_side: int = Field(32, ge=1, le=128, description="How many points the source `sam2` tries along each side of the image.")
    mask_quality: float = Field(
        0.8, ge=0.0, le=1.0, description="Smallest quality that SAM2 itself expects of a mask of the source `sam2` (IoU)."
    )
    gpu_memory_share: float = Field(
        0.9,
        gt=0.0,
        le=1.0,
        description="Share of the GPU's memory that the source `sam2` may take; it then asks about fewer points at once.",
    )
    max_bad_share: float = Field(
        0.2, ge=0.0, le=1.0, description="Largest share of frames without any proposal made for them before the stage fails."
    )
