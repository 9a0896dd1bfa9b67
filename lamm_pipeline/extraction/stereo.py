"""Depth from a rectified pair: the protocol of matchers and the one that needs no learned model.

Why these settings, measured on Middlebury motorcycle (741x500) and OpenCV's aloe (1282x1110), wrong by more than 1 px among the matched:

| variant | motorcycle | aloe | time |
| --- | --- | --- | --- |
| 3WAY, block 3, uniqueness 15, padded | 6.8 % | 5.8 % | 1 |
| block 5 | 7.2 % | 5.2 % | 1.1 |
| not padded | same errors, but 6 to 12 % of the image without depth | | 0.9 |
| second matching from the right eye | 5.7 % | 4.9 % | 2.1 |
| half size | 13.5 % | 7.8 % | 0.15 |

The left-right consistency test inside the matcher (`disp12MaxDiff`) is therefore the only one: a second matching doubles the time of the
slowest step of extraction for one point less.
"""

import math
import threading
from typing import Any, Protocol, runtime_checkable

import cv2
import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.extraction.settings import StereoQuality, StereoSettings
from lamm_pipeline.geometry.camera import RectifiedCamera
from lamm_pipeline.recordings.reader import StereoFrame

Image = NDArray[np.uint8]
Depth = NDArray[np.float32]

# Nearer things have larger disparities, and time grows with the range searched; a tenth of the width is 0.5 m for a ZED 2i at 1280x720.
DEFAULT_DISPARITY_SHARE = 0.1
DISPARITY_STEP = 16  # SGBM searches multiples of it
SUBPIXELS = 16  # and answers in sixteenths of a pixel
BLOCK_SIZE = 3
SMOOTHNESS_SMALL = 8 * BLOCK_SIZE**2
SMOOTHNESS_LARGE = 32 * BLOCK_SIZE**2
LEFT_RIGHT_TOLERANCE = 1
UNIQUENESS_PERCENT = 15
PREFILTER_CAP = 31
SPECKLE_RANGE = 1


class StereoMatcher(Protocol):
    """Estimates depth from a rectified pair. May be called from several threads at once."""

    @property
    def identity(self) -> dict[str, Any]:
        """What determines the result beside the images: goes into the version of the artifact."""
        ...

    def depth(self, left_bgr: Image, right_bgr: Image, camera: RectifiedCamera) -> Depth:
        """Depth of the left image.

        Args:
            left_bgr: `(H, W, 3)` uint8, rectified.
            right_bgr: the same of the right eye.
            camera: the rectified pair.

        Returns:
            `(H, W)` float32, metres along the optical axis, NaN = unknown.
        """
        ...


@runtime_checkable
class FrameMatcher(Protocol):
    """Depth that comes with a frame: its reader has matched the pair itself. May be called from several threads at once."""

    @property
    def identity(self) -> dict[str, Any]:
        """What determines the result beside the recording: goes into the version of the artifact."""
        ...

    def frame_depth(self, frame: StereoFrame) -> Depth:
        """Depth of the frame's left image, rectified.

        Returns:
            `(H, W)` float32, metres along the optical axis, NaN = unknown or occluded, +inf = too far, -inf = too near.
        """
        ...


class SgbmMatcher:
    """Semi-global matching on grey images (OpenCV's three-path variant).

    The caller sets OpenCV to one thread (`cv2.setNumThreads(1)`) and runs frames in parallel: threads inside the matcher bring next to
    nothing.
    """

    def __init__(self, settings: StereoSettings) -> None:
        self._settings = settings
        self._engines = threading.local()  # cv2.StereoSGBM keeps buffers, so no two threads may share one

    @property
    def identity(self) -> dict[str, Any]:
        """Algorithm and settings."""
        settings = self._settings.model_dump(mode="json", exclude={"matcher", "zed_depth_mode"})
        return {"matcher": "sgbm_3way", "revision": 1, **settings}

    def depth(self, left_bgr: Image, right_bgr: Image, camera: RectifiedCamera) -> Depth:
        """See `StereoMatcher.depth`."""
        disparities = disparity_range(camera, self._settings)
        disparity = self.disparity(_grey(left_bgr), _grey(right_bgr), disparities)
        with np.errstate(divide="ignore", invalid="ignore"):
            depth = np.float32(camera.fx * camera.baseline_m) / disparity
        depth[~((depth >= self._settings.min_depth_m) & (depth <= self._settings.max_depth_m))] = np.nan
        return depth

    def disparity(self, left: Image, right: Image, disparities: int) -> NDArray[np.float32]:
        """Disparity of grey images.

        Args:
            left: `(H, W)` uint8.
            right: the same.
            disparities: size of the range searched from 0, pixels of the full image.

        Returns:
            `(H, W)` float32, pixels of the full image, NaN = unknown.
        """
        if self._settings.quality is StereoQuality.full:
            return self._match(left, right, _round_up(disparities), speckle_pixels=100)
        height, width = left.shape
        half = ((width + 1) // 2, (height + 1) // 2)
        small = [np.asarray(cv2.resize(image, half, interpolation=cv2.INTER_AREA), np.uint8) for image in (left, right)]
        scale = width / half[0]
        matched = self._match(small[0], small[1], _round_up(math.ceil(disparities / scale)), speckle_pixels=50)
        # Nearest, so that no value is invented between an object and what is behind it.
        return np.asarray(cv2.resize(matched, (width, height), interpolation=cv2.INTER_NEAREST) * np.float32(scale), np.float32)

    def _match(self, left: Image, right: Image, disparities: int, speckle_pixels: int) -> NDArray[np.float32]:
        # SGBM gives nothing for the first `disparities` columns; with columns put before them it does.
        padded = [cv2.copyMakeBorder(image, 0, 0, disparities, 0, cv2.BORDER_REPLICATE) for image in (left, right)]
        sixteenths = np.asarray(self._engine(disparities, speckle_pixels).compute(*padded), np.int16)[:, disparities:]
        disparity = sixteenths.astype(np.float32) / np.float32(SUBPIXELS)
        outside_right_image = disparity > np.arange(disparity.shape[1], dtype=np.float32)
        disparity[(disparity <= 0) | outside_right_image] = np.nan
        return disparity

    def _engine(self, disparities: int, speckle_pixels: int) -> Any:
        key = (disparities, speckle_pixels)
        if getattr(self._engines, "key", None) != key:
            self._engines.engine = cv2.StereoSGBM_create(  # type: ignore[attr-defined, unused-ignore]
                minDisparity=0,
                numDisparities=disparities,
                blockSize=BLOCK_SIZE,
                P1=SMOOTHNESS_SMALL,
                P2=SMOOTHNESS_LARGE,
                disp12MaxDiff=LEFT_RIGHT_TOLERANCE,
                preFilterCap=PREFILTER_CAP,
                uniquenessRatio=UNIQUENESS_PERCENT,
                speckleWindowSize=speckle_pixels,
                speckleRange=SPECKLE_RANGE,
                mode=cv2.STEREO_SGBM_MODE_SGBM_3WAY,
            )
            self._engines.key = key
        return self._engines.engine


def disparity_range(camera: RectifiedCamera, settings: StereoSettings) -> int:
    """Number of disparities to search: down to `min_depth_m`, but not beyond `max_disparity` pixels (None: a tenth of the width).

    Returns:
        A multiple of 16.
    """
    wanted = math.ceil(camera.fx * camera.baseline_m / settings.min_depth_m) + 1
    limit = settings.max_disparity if settings.max_disparity is not None else math.ceil(camera.width * DEFAULT_DISPARITY_SHARE)
    return _round_up(min(wanted, limit))


def _round_up(disparities: int) -> int:
    return max(1, math.ceil(disparities / DISPARITY_STEP)) * DISPARITY_STEP


def _grey(image: Image) -> Image:
    return image if image.ndim == 2 else np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)
