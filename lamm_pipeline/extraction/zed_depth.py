"""Depth of the ZED SDK: it comes with the frames of its reader, since the SDK matches only what it has rectified itself."""

from typing import Any

from lamm_pipeline.extraction.settings import StereoSettings
from lamm_pipeline.extraction.stereo import Depth
from lamm_pipeline.recordings.reader import StereoFrame
from lamm_pipeline.recordings.zed_reader import ZedFrame


class ZedMatcher:
    """A `FrameMatcher` over the frames of a `ZedReader` that was opened with a depth mode and rectified images."""

    def __init__(self, settings: StereoSettings, sdk_version: str) -> None:
        self._settings = settings
        self._sdk_version = sdk_version

    @property
    def identity(self) -> dict[str, Any]:
        """SDK and settings."""
        settings = self._settings.model_dump(mode="json", include={"zed_depth_mode", "min_depth_m", "max_depth_m"})
        return {"matcher": "zed", "revision": 1, "sdk_version": self._sdk_version, **settings}

    def frame_depth(self, frame: StereoFrame) -> Depth:
        """See `FrameMatcher.frame_depth`."""
        if not isinstance(frame, ZedFrame) or frame.depth is None:
            raise TypeError("the depth of the ZED SDK needs frames of its reader, opened with a depth mode")
        return frame.depth
