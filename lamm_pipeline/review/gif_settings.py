"""Settings of review GIFs. How fast they play, how often and how boxes look is the same in all, see `gif_encoder` and `gifs`."""

from pydantic import BaseModel, ConfigDict, Field

from lamm_pipeline.review.gif_encoder import GifQuality

OPERATIONAL_FIELDS = frozenset({"max_concurrent", "continue_on_error"})
"""Fields that do not change what a GIF holds, so they are no part of a version."""


class GifSettings(BaseModel):
    """Which GIFs are made, and how large and faithful they are."""

    model_config = ConfigDict(frozen=True)

    annotation_ids: list[str] = Field([], description="Sequence annotations to make GIFs of, e.g. drive:s0003; empty means all.")
    quality: GifQuality = Field(
        GifQuality.standard, description="`high` finds colours about 1.5 dB closer and takes about four times as long."
    )
    max_width: int | None = Field(640, ge=16, le=8192, description="Wider pictures are shrunk to this; empty keeps the size of the images.")
    max_frames: int | None = Field(
        60, ge=1, le=10_000, description="Longer sequences are thinned evenly to this many frames; empty keeps all."
    )
    max_concurrent: int = Field(3, ge=1, le=10, description="Sequences worked on at the same time.")
    continue_on_error: bool = Field(False, description="Go on with the other sequences where the GIFs of one cannot be made.")
