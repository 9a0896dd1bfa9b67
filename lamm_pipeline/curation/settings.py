"""What a person chooses when a recording is curated. Plain models with bounds and help texts."""

from pydantic import BaseModel, ConfigDict, Field


class SelectionSettings(BaseModel):
    """Which frames and annotations of a recording are for datasets, beside what people decided."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    excluded_classes: list[str] = Field(default=[], description="Class ids to leave out; what people say an annotation is counts.")
    excluded_frame_ids: list[str] = Field(
        default=[], description="Frames to leave out, by id (`<recording>:<frame index>`); those of other recordings make no difference."
    )
    excluded_detection_ids: list[str] = Field(default=[], description="Annotations to leave out, by id (`<frame id>:<n>`).")
    min_score: float | None = Field(
        default=None,
        ge=0.0,
        le=1.0,
        description="Leave out annotations with a lower score. Those without any score stay, and those that a person has reviewed.",
    )
    diversity: bool = Field(default=False, description="Leave out frames that repeat others or on which nothing moves.")
    similarity_threshold: float = Field(
        default=0.85, ge=0.0, le=1.0, description="A frame repeats another one when their images are more similar than this."
    )
    motion_threshold: float = Field(
        default=0.02, ge=0.0, le=1.0, description="Nothing moves on a frame that differs less than this from the one before it."
    )

    def of(self, recording: str) -> "SelectionSettings":
        """The settings as far as they concern one recording, each list sorted: what decides its selection."""

        def mine(ids: list[str]) -> list[str]:
            return sorted({each for each in ids if each.startswith(f"{recording}:")})

        return self.model_copy(
            update={
                "excluded_classes": sorted(set(self.excluded_classes)),
                "excluded_frame_ids": mine(self.excluded_frame_ids),
                "excluded_detection_ids": mine(self.excluded_detection_ids),
            }
        )
