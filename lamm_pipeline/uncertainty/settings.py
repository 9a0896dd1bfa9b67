"""What decides the uncertainty of frames."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

OPERATIONAL_FIELDS = frozenset({"backend"})
"""The back end that is used, not the one asked for, is part of a version."""


class Backend(StrEnum):
    """What computes the scores; names equal values."""

    auto = "auto"
    numpy = "numpy"
    torch = "torch"


class UncertaintySettings(BaseModel):
    """Settings of `frame_uncertainty`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    derive_labels: bool = Field(
        True,
        description="Score evaluations with the classes `ground` and `obstacle` against points in 3D boxes and on the ground plane, where "
        "no other truth is given.",
    )
    keep_points: bool = Field(True, description="Keep scores and classes of every point, for the 3D view: 12 bytes a point.")
    max_bad_share: float = Field(
        0.1, ge=0.0, le=1.0, description="Largest share of an evaluation's frames that may be bad; with more it is not scored at all."
    )
    backend: Backend = Field(
        Backend.auto, description="`numpy`, or `torch` on LAMM_DEVICE; `auto`: torch with LAMM_DEVICE=cuda where it is installed."
    )
