"""A recording in memory: a textured wall with a nearer board before it, of known disparity, behind the protocol of readers."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.geometry.camera import CameraModel, StereoCalibration
from lamm_pipeline.recordings.reader import BadFrame, RecordingInfo, SensorSample, StereoFrame

Image = NDArray[np.uint8]

WIDTH, HEIGHT = 320, 192
FOCAL = 200.0
BASELINE = 0.12
WALL, BOARD = 6, 16  # disparities, pixels
START_NS = 1_700_000_000_000_000_000


def calibration(width: int = WIDTH, height: int = HEIGHT) -> StereoCalibration:
    """Images that are rectified already."""
    eye = CameraModel(FOCAL, FOCAL, width / 2, height / 2)
    return StereoCalibration(7, width, height, eye, eye, (0.0, 0.0, 0.0), (-BASELINE, 0.0, 0.0), "SN7.conf")


def board_columns(number: int, width: int = WIDTH) -> slice:
    """Where the board is in the left image of scene `number`; it moves."""
    start = (120 + 6 * number % 60) * width // WIDTH
    return slice(start, start + width // 4)


BOARD_ROWS = slice(60, 140)


def scene(number: int, width: int = WIDTH, height: int = HEIGHT) -> tuple[Image, Image]:
    """Left and right image; equal numbers give equal images."""
    random = np.random.default_rng(number)
    wall = _texture(random, width + WALL, height)
    board = _texture(random, width, height)
    left, right = wall[:, :width].copy(), wall[:, WALL:].copy()
    columns = board_columns(number, width)
    left[BOARD_ROWS, columns] = board[BOARD_ROWS, columns]
    right[BOARD_ROWS, columns.start - BOARD : columns.stop - BOARD] = board[BOARD_ROWS, columns]
    return left, right


def _texture(random: np.random.Generator, width: int, height: int) -> Image:
    coarse = cv2.resize(random.integers(0, 256, (height // 16, width // 16 + 1, 3), dtype=np.uint8), (width, height))
    fine = random.integers(0, 80, (height, width, 3), dtype=np.uint8)
    return np.asarray(coarse // 2 + fine, np.uint8)


def sensor_sample(timestamp_ns: int) -> SensorSample:
    """At rest and level."""
    return SensorSample(
        timestamp_ns=timestamp_ns,
        angular_velocity=(0.1, 0.2, 0.3),
        linear_acceleration=(0.0, -9.81, 0.0),
        orientation_xyzw=(0.0, 0.0, 0.0, 1.0),
        imu_temperature_c=30.0,
        magnetic_field_ut=None,
        pressure_hpa=1013.0,
        barometer_temperature_c=None,
        left_temperature_c=None,
        right_temperature_c=None,
    )


@dataclass(frozen=True)
class FakeFrame:
    index: int
    timestamp_ns: int
    render: Callable[[int], tuple[Image, Image]]
    converted: list[int]

    def images(self) -> tuple[Image, Image]:
        self.converted.append(self.index)
        return self.render(self.index)


@dataclass
class FakeReader:
    """See the module. `bad` frames do not decode, `missing` ones are not delivered, `unreadable` ones fail when converted.

    Attributes:
        scenes: number of the scene of each frame; None = every frame its own.
        fail_at: frame index at which reading itself stops with an OSError, as when the process is killed.
        converted: indices whose images were asked for, in order.
        delivered: indices handed out, in order.
    """

    count: int = 6
    interval_ns: int = 100_000_000
    width: int = WIDTH
    height: int = HEIGHT
    scenes: tuple[int, ...] | None = None
    bad: frozenset[int] = frozenset()
    missing: frozenset[int] = frozenset()
    without_sensors: frozenset[int] = frozenset()
    wrong_size: frozenset[int] = frozenset()
    fail_at: int | None = None
    source_names: tuple[str, ...] = ()
    converted: list[int] = field(default_factory=list)
    delivered: list[int] = field(default_factory=list)

    @property
    def info(self) -> RecordingInfo:
        stamps = tuple(START_NS + index * self.interval_ns for index in range(self.count))
        fps = 1e9 / self.interval_ns
        return RecordingInfo(7, "ZED 2i", 1, 1, self.width, self.height, fps, "h264", stamps, (0,), {}, True, self.source_names)

    def frames(self, start: int = 0, stop: int | None = None, step: int = 1) -> Iterator[StereoFrame | BadFrame]:
        stamps = self.info.frame_timestamps_ns
        for index in range(start, self.count if stop is None else min(stop, self.count), step):
            if index == self.fail_at:
                raise OSError("the disk is gone")
            if index in self.missing:
                continue
            self.delivered.append(index)
            if index in self.bad:
                yield BadFrame(index, stamps[index], "no key frame before it")
            else:
                yield FakeFrame(index, stamps[index], self._render, self.converted)

    def frame_sensors(self) -> Iterator[SensorSample]:
        for index, stamp in enumerate(self.info.frame_timestamps_ns):
            if index not in self.without_sensors:
                yield sensor_sample(stamp)

    def sensors(self) -> Iterator[SensorSample]:
        return self.frame_sensors()

    def __enter__(self) -> "FakeReader":
        return self

    def __exit__(self, *exc: object) -> None:
        return None

    def _render(self, index: int) -> tuple[Image, Image]:
        left, right = scene(index if self.scenes is None else self.scenes[index], self.width, self.height)
        return (left[:-1], right) if index in self.wrong_size else (left, right)
