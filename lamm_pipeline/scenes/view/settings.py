"""How large a scene view may become, and how much of a frame it shows where there is room."""

from pydantic import BaseModel, ConfigDict, Field


class SceneViewSettings(BaseModel):
    """The finest picture that is wanted; where it does not fit into the file, `thinning.py` makes it coarser."""

    model_config = ConfigDict(frozen=True)

    max_megabytes: float = Field(20.0, ge=0.5, le=500.0, description="Largest file, in megabytes: browsers load it as a whole.")
    points_per_frame: int = Field(20_000, ge=100, le=500_000, description="Most points of a frame's cloud.")
    image_width: int = Field(960, ge=64, le=4096, description="Widest camera image, in pixels.")
    jpeg_quality: int = Field(80, ge=10, le=100, description="Best quality of the camera images.")
