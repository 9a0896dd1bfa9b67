"""The files of one frame: what is computed from a decoded pair, and how it lies on disk.

Per frame there are `image_left/000000.png`, `image_right/000000.png`, and, where they can be had, `depth/000000.npy` (float32 metres, NaN =
unknown; or `.png`, see `depth_map.py`), `velodyne/000000.bin` (float32 x, y, z, intensity), `sensors/000000.json` and `oxts/000000.txt`.
Where the matcher says why a pixel has no depth there is `depth_reason/000000.png`, one byte a pixel (`DepthReason`).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction.depth_map import SUFFIXES, write_depth
from lamm_pipeline.extraction.frame_registry import FailedFrame, FrameRecord
from lamm_pipeline.extraction.imu import write_oxts, write_sensor_json
from lamm_pipeline.extraction.point_cloud import Cloud, point_cloud
from lamm_pipeline.extraction.rectify import Rectifier
from lamm_pipeline.extraction.settings import DepthFormat, FrameSettings
from lamm_pipeline.extraction.stereo import FrameMatcher, StereoMatcher
from lamm_pipeline.recordings.reader import BadFrame, SensorSample, StereoFrame

Image = NDArray[np.uint8]

FOLDERS = ("image_left", "image_right", "depth", "depth_reason", "velodyne", "sensors", "oxts")

# Bytes for each pixel of one eye, measured on street scenes at 1280x720 and 1242x375 (PNG as OpenCV writes it by default).
PNG_BYTES_PER_PIXEL = 1.65
DEPTH_BYTES_PER_PIXEL = {DepthFormat.npy: 4.0, DepthFormat.png16: 0.75}
CLOUD_BYTES_PER_POINT = 16
# What a ZED camera (86 degrees wide) and KITTI's (81) see, whatever their number of pixels.
FIELD_WIDTH_DEGREES = 90.0
SENSOR_AND_LIST_BYTES = 3_000


class DepthReason(IntEnum):
    """Why a pixel has no depth; values of `depth_reason/*.png`."""

    measured = 0
    occluded = 1
    too_far = 2
    too_near = 3


def depth_reason(depth: NDArray[np.float32]) -> Image:
    """The reasons that a matcher's sentinels stand for.

    Args:
        depth: `(H, W)` float32; NaN (or no positive number) = unknown or occluded, +inf = too far, -inf = too near.

    Returns:
        `(H, W)` uint8, see `DepthReason`.
    """
    reason = np.full(depth.shape, DepthReason.occluded, np.uint8)
    reason[np.isfinite(depth) & (depth > 0.0)] = DepthReason.measured
    reason[np.isposinf(depth)] = DepthReason.too_far
    reason[np.isneginf(depth)] = DepthReason.too_near
    return reason


@dataclass(frozen=True)
class FrameTask:
    """A frame to work on, with the sensor sample of its moment."""

    frame: StereoFrame | BadFrame
    sensors: SensorSample | None


@dataclass(frozen=True)
class Pair:
    """A decoded and, where possible, rectified pair.

    Attributes:
        frame: what it was made of; kept only for matchers that look at it.
    """

    index: int
    timestamp_ns: int
    sensors: SensorSample | None
    left: Image
    right: Image
    frame: StereoFrame | None = None


class FrameWriter:
    """Makes and writes the files of frames. Safe to use from several threads.

    Args:
        folder: the artifact's folder.
        recording: key of the recording, for frame ids.
        svo2_file: name of its file.
        size: width and height that every image must have.
        source_names: names of the packed images, one a frame of the file, or empty.
        settings: what to make.
        rectifier: None = images stay raw.
        matcher: None = no depth.
    """

    def __init__(
        self,
        folder: Path,
        *,
        recording: str,
        svo2_file: str,
        size: tuple[int, int],
        source_names: tuple[str, ...],
        settings: FrameSettings,
        rectifier: Rectifier | None,
        matcher: StereoMatcher | FrameMatcher | None,
    ) -> None:
        self._folder = folder
        self._recording = recording
        self._svo2_file = svo2_file
        self._size = size
        self._source_names = source_names
        self._settings = settings
        self._rectifier = rectifier
        self._matcher = matcher if rectifier is not None else None
        for name in FOLDERS:
            if self._wants(name):
                (folder / name).mkdir(parents=True, exist_ok=True)

    def prepare(self, task: FrameTask) -> Pair | FailedFrame:
        """Convert and rectify the images of a frame."""
        frame = task.frame
        if isinstance(frame, BadFrame):
            return FailedFrame(frame.index, frame.reason)

        def pair() -> Pair:
            left, right = frame.images()
            for image in (left, right):
                if image.shape != (self._size[1], self._size[0], 3):
                    raise ValueError(f"the image has shape {image.shape} instead of {self._size[0]}x{self._size[1]} in colour")
            if self._rectifier is not None:
                left, right = self._rectifier.rectify(left, right)
            kept = frame if isinstance(self._matcher, FrameMatcher) else None
            return Pair(frame.index, frame.timestamp_ns, task.sensors, left, right, kept)

        return _guarded(frame.index, pair)

    def write(self, pair: Pair) -> FrameRecord | FailedFrame:
        """Compute depth and cloud of a pair and write all files of the frame."""
        return _guarded(pair.index, lambda: self._write(pair))

    def frame_id(self, index: int) -> str:
        """Id of the frame at `index` of the file."""
        return f"{self._recording}:{index:06d}"

    def dropped(self, index: int, timestamp_ns: int, reason: str) -> FrameRecord:
        """The record of a frame that the diversity filter dropped: listed, no files."""
        return self._record(index, timestamp_ns, {}, None, reason)

    def _write(self, pair: Pair) -> FrameRecord:
        stem = f"{pair.index:06d}"
        unstored = 0
        measured = self._measured(pair)
        # Whatever a matcher says about the kind of ignorance (infinities, zero), the file knows one: NaN.
        depth = None if measured is None else np.where(np.isfinite(measured) & (measured > 0.0), measured, np.float32(np.nan))
        cloud = self._cloud(pair, depth)
        files = {"image_left": self._png("image_left", stem, pair.left), "image_right": self._png("image_right", stem, pair.right)}
        if depth is not None:
            files["depth"] = f"depth/{stem}{SUFFIXES[self._settings.depth_format]}"
            unstored = write_depth(self._folder / files["depth"], depth)
        if measured is not None and isinstance(self._matcher, FrameMatcher):
            self._png("depth_reason", stem, depth_reason(measured))
        if cloud is not None:
            files["point_cloud"] = f"velodyne/{stem}.bin"
            self._write_bytes(files["point_cloud"], cloud.tobytes())
        if pair.sensors is not None and self._settings.sensors:
            files |= {"sensor_json": f"sensors/{stem}.json", "imu": f"oxts/{stem}.txt"}
            write_sensor_json(self._folder / files["sensor_json"], pair.sensors)
            write_oxts(self._folder / files["imu"], pair.sensors)
        ratio = None if depth is None else (int(np.count_nonzero(np.isfinite(depth))) - unstored) / depth.size
        return replace(self._record(pair.index, pair.timestamp_ns, files, ratio, None), depth_out_of_range=unstored)

    def _wants(self, name: str) -> bool:
        depth = self._matcher is not None
        reasons = isinstance(self._matcher, FrameMatcher)
        wanted = {"depth": depth, "depth_reason": reasons, "velodyne": depth and self._settings.point_cloud}
        return wanted.get(name, self._settings.sensors if name in ("sensors", "oxts") else True)

    def _measured(self, pair: Pair) -> NDArray[np.float32] | None:
        """Depth as the matcher says it, with sentinels."""
        if self._matcher is None or self._rectifier is None:
            return None
        if not isinstance(self._matcher, FrameMatcher):
            return self._matcher.depth(pair.left, pair.right, self._rectifier.camera).astype(np.float32, copy=False)
        if pair.frame is None:
            raise TypeError("a pair for a FrameMatcher needs its frame")
        return self._matcher.frame_depth(pair.frame)

    def _cloud(self, pair: Pair, depth: NDArray[np.float32] | None) -> Cloud | None:
        if depth is None or self._rectifier is None or not self._settings.point_cloud:
            return None
        return point_cloud(
            depth,
            pair.left,
            self._rectifier.camera,
            azimuth_step_deg=self._settings.cloud_azimuth_step_deg,
            elevation_step_deg=self._settings.cloud_elevation_step_deg,
        )

    def _png(self, name: str, stem: str, image: Image) -> str:
        relative = f"{name}/{stem}.png"
        # No parameters: naming a compression level makes OpenCV twice as slow.
        self._write_bytes(relative, cv2.imencode(".png", image)[1].tobytes())
        return relative

    def _write_bytes(self, relative: str, data: bytes | memoryview) -> None:
        # By Python: when the disk is full OpenCV may say nothing, and NumPy does not say which file and why.
        (self._folder / relative).write_bytes(data)

    def _record(
        self, index: int, timestamp_ns: int, files: dict[str, str], valid_depth_ratio: float | None, drop_reason: str | None
    ) -> FrameRecord:
        return FrameRecord(
            frame_id=self.frame_id(index),
            sequence_index=-1,
            svo2_frame_index=index,
            svo2_file=self._svo2_file,
            timestamp_ns=timestamp_ns,
            filename_base=f"{index:06d}",
            image_left=files.get("image_left"),
            image_right=files.get("image_right"),
            depth=files.get("depth"),
            point_cloud=files.get("point_cloud"),
            imu=files.get("imu"),
            sensor_json=files.get("sensor_json"),
            source_name=self._source_names[index] if index < len(self._source_names) else None,
            valid_depth_ratio=valid_depth_ratio,
            selected=drop_reason is None,
            drop_reason=drop_reason,
        )


def estimate_bytes_per_frame(width: int, height: int, settings: FrameSettings, *, rectified: bool = True) -> int:
    """Disk space of one extracted frame, from measured averages.

    Args:
        width: pixels of one eye.
        height: pixels of one eye.
        settings: what is written.
        rectified: False when there is no calibration, hence no depth and no cloud.
    """
    pixels = width * height
    depth = rectified and settings.rectify and settings.depth
    total = 2 * PNG_BYTES_PER_PIXEL * pixels + SENSOR_AND_LIST_BYTES
    if depth:
        total += DEPTH_BYTES_PER_PIXEL[settings.depth_format] * pixels
    if depth and settings.point_cloud:
        cell = settings.cloud_azimuth_step_deg * settings.cloud_elevation_step_deg
        total += CLOUD_BYTES_PER_POINT * min(pixels, FIELD_WIDTH_DEGREES**2 * height / width / cell)
    return round(total)


Result = TypeVar("Result")


def _guarded(index: int, work: Callable[[], Result]) -> Result | FailedFrame:
    """A frame that cannot be used is a result; faults of the machine (OSError) are not and go on."""
    try:
        return work()
    except (InputError, ValueError, cv2.error) as error:
        return FailedFrame(index, " ".join(str(error).split()))
