"""What decides the 3D boxes."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class BoxMethod(StrEnum):
    """How a box is fitted to an object's points; names equal values."""

    prior = "prior"
    pca = "pca"
    aabb = "aabb"


class BoxSettings(BaseModel):
    """Settings of `boxes_3d`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bbox_method: BoxMethod = Field(
        BoxMethod.prior,
        description="`prior`: a box of class-typical size anchored at the visible faces (most accurate). `pca`: principal axes and extents "
        "of the points. `aabb`: extents along the camera's axes.",
    )
    min_points: int = Field(100, ge=10, le=100_000, description="Objects with fewer depth points get no box.")
    outlier_neighbors: int = Field(20, ge=1, le=200, description="Neighbours that statistical outlier removal looks at.")
    outlier_sigma: float = Field(
        2.0,
        gt=0.0,
        le=10.0,
        description="Points farther from their neighbours than this many standard deviations above the mean are outliers.",
    )
    mask_erosion: float = Field(
        0.03, ge=0.0, le=0.2, description="Rim taken off a mask before its depth is read, as a share of the square root of its area."
    )
    ground_clearance_m: float = Field(
        0.1, ge=0.0, le=1.0, description="Points lower than this above the ground plane belong to the ground, metres."
    )
    typical_size: float = Field(
        0.25,
        ge=0.0,
        le=1.0,
        description="Where in its class's range of sizes an object is assumed whose size is not fully seen: 0 smallest, 1 largest.",
    )
    max_distance_m: float = Field(100.0, gt=0.0, le=500.0, description="Objects farther away get no box, metres.")
    max_bad_share: float = Field(
        0.2, ge=0.0, le=1.0, description="Largest share of frames whose depth map may be missing or damaged before the stage fails."
    )
    min_projected_iou: float = Field(
        0.2, ge=0.0, le=1.0, description="The projected 3D box must overlap the 2D box at least this much, or it is refused."
    )
