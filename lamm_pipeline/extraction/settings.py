"""What can be set about extraction. Every field changes the frames that come out, so all of them belong to the artifact's version."""

from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lamm_pipeline.recordings.open_recording import Backend


class StereoQuality(StrEnum):
    """How large the images are that the matcher sees."""

    full = "full"
    half = "half"


class DepthFormat(StrEnum):
    """How a depth map lies on disk."""

    npy = "npy"
    png16 = "png16"


class MatcherName(StrEnum):
    """What makes depth of a pair."""

    sgbm = "sgbm"
    zed = "zed"


class ZedDepthMode(StrEnum):
    """Depth modes of the ZED SDK; `neural_light` needs SDK 5."""

    performance = "performance"
    quality = "quality"
    ultra = "ultra"
    neural_light = "neural_light"
    neural = "neural"
    neural_plus = "neural_plus"


class StereoSettings(BaseModel):
    """Depth from the pair."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    matcher: MatcherName = Field(
        default=MatcherName.sgbm,
        description="sgbm: semi-global matching, on any machine. zed: the ZED SDK's depth and its rectified images; needs SDK and GPU, and "
        "falls back to sgbm without them.",
    )
    zed_depth_mode: ZedDepthMode = Field(default=ZedDepthMode.neural, description="Depth mode of matcher zed.")
    quality: StereoQuality = Field(
        default=StereoQuality.full, description="full: match at full size. half: match at half size, about six times faster and coarser."
    )
    min_depth_m: float = Field(default=0.3, ge=0.05, le=100, description="Nearer depth becomes unknown, metres.")
    max_depth_m: float = Field(default=100.0, gt=0.3, le=1000, description="Farther depth becomes unknown, metres.")
    max_disparity: int | None = Field(
        default=None,
        ge=16,
        le=2048,
        description="Largest disparity searched, pixels; nothing nearer than fx * baseline / it is found. Empty: a tenth of the width.",
    )

    @model_validator(mode="after")
    def _range_is_not_empty(self) -> Self:
        if self.min_depth_m >= self.max_depth_m:
            raise ValueError(f"min_depth_m = {self.min_depth_m:g} must be below max_depth_m = {self.max_depth_m:g}")
        return self


class FrameSettings(BaseModel):
    """Which frames are extracted, and what is made of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reader: Backend = Field(
        default=Backend.auto,
        description="native: this package's own reader. zed: the ZED SDK, falling back to native without it. auto: native, unless "
        "stereo.matcher is zed or only the ZED SDK can read the recording.",
    )
    frame_skip: int = Field(default=1, ge=1, le=100_000, description="Take every Nth frame of the recording.")
    start_frame: int = Field(default=0, ge=0, description="First frame index.")
    end_frame: int | None = Field(default=None, ge=1, description="Frame index to stop before. Empty: to the end.")
    target_fps: float | None = Field(
        default=None,
        gt=0,
        le=1000,
        description="Take the frames nearest in time to this rate, at most the recording's own. Empty: all frames that frame_skip leaves.",
    )
    rectify: bool = Field(
        default=True, description="Rectify the images when a calibration is there. Without it there is neither depth nor cloud."
    )
    depth: bool = Field(default=True, description="Compute depth maps. Needs rectified images.")
    depth_format: DepthFormat = Field(
        default=DepthFormat.npy,
        description="npy: float32 metres. png16: KITTI's 16-bit PNG, 256 steps a metre, at most 255.99 m, a quarter of the size or less; "
        "farther values become unknown and are counted.",
    )
    point_cloud: bool = Field(default=True, description="Write a point cloud a frame. Needs depth.")
    cloud_azimuth_step_deg: float = Field(
        default=0.2, ge=0.02, le=5, description="Horizontal spacing of the points, degrees; a 64-beam LiDAR has about 0.2."
    )
    cloud_elevation_step_deg: float = Field(
        default=0.4, ge=0.02, le=5, description="Vertical spacing of the points, degrees; a 64-beam LiDAR has about 0.4."
    )
    sensors: bool = Field(default=True, description="Write IMU and other sensor values a frame.")
    stereo: StereoSettings = Field(default_factory=StereoSettings, description="Depth from the pair.")
    enable_diversity_filter: bool = Field(
        default=False, description="Drop still and repeated frames at once. They stay listed with the reason, and nothing is renumbered."
    )
    similarity_threshold: float = Field(
        default=0.85, ge=0, le=1, description="A frame whose similarity to a kept one is above this is repeated."
    )
    motion_threshold: float = Field(default=0.02, ge=0, le=1, description="A frame whose motion score is below this is still.")
    max_bad_share: float = Field(default=0.2, ge=0, le=1, description="Share of frames that may fail before the recording is refused.")

    @model_validator(mode="after")
    def _range_is_not_empty(self) -> Self:
        if self.end_frame is not None and self.end_frame <= self.start_frame:
            raise ValueError(f"end_frame = {self.end_frame} must be above start_frame = {self.start_frame}")
        return self

    @model_validator(mode="after")
    def _zed_depth_has_its_images(self) -> Self:
        if self.stereo.matcher is MatcherName.zed and self.reader is Backend.native:
            raise ValueError("stereo.matcher = zed needs the images of the ZED SDK: set reader to zed or auto")
        if self.stereo.matcher is MatcherName.zed and not (self.rectify and self.depth):
            raise ValueError("stereo.matcher = zed delivers rectified images with depth: leave rectify and depth on")
        return self
