"""What decides which differences between tags are told, and what is proposed."""

from pydantic import BaseModel, ConfigDict, Field


class HotspotSettings(BaseModel):
    """Settings of `uncertainty_hotspots`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_scenes: int = Field(
        5, ge=2, le=10_000, description="Least number of scenes with a tag, and of scenes without it, for which they are compared."
    )
    confidence: float = Field(0.95, ge=0.5, lt=1.0, description="Confidence of the intervals of means and differences.")
    alpha: float = Field(
        0.05, gt=0.0, le=0.5, description="Largest probability with which chance alone leads to any insight at all, over all comparisons."
    )
    resamples: int = Field(2_000, ge=100, le=100_000, description="Resamples of the scenes for a confidence interval.")
    permutations: int = Field(9_999, ge=99, le=1_000_000, description="Permutations of the scenes for a test.")
    seed: int = Field(42, ge=0, le=2**32 - 1, description="Of resamples and permutations; the same seed gives the same numbers.")
    proposals: int = Field(20, ge=0, le=1_000, description="Frames to propose for curation.")
    proposals_per_scene: int = Field(2, ge=1, le=100, description="Most frames of one scene among the proposals.")
    min_gap_frames: int = Field(30, ge=1, le=1_000_000, description="Frames of one scene that are nearer than this are not both proposed.")
    different_bits: int = Field(
        16,
        ge=1,
        le=64,
        description="Bits of 64 in which the hash of an image has to differ from those of all proposed ones to count in full; one that "
        "differs in fewer counts as much less.",
    )
