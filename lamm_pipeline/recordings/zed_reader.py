"""Reads recordings through the ZED SDK. `open_zed` is the way in; the result is a `RecordingReader`.

Either the raw images come out, which this package rectifies like those of its own reader, or, with `ZedOptions.rectified`, the ones the SDK
has rectified: its depth belongs to those. The SDK tells neither codec nor key frames nor stamps beforehand, so opening takes one pass over
the recording without depth. Every pass has a camera of its own.
"""

import math
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.errors import InputError
from lamm_pipeline.recordings.reader import BadFrame, RecordingInfo, SensorSample, StereoFrame
from lamm_pipeline.recordings.svo2_reader import open_svo2
from lamm_pipeline.recordings.zed_probe import ZedOpening, probe
from lamm_pipeline.recordings.zed_sdk import (
    ATTEMPTS,
    Sdk,
    ZedOptions,
    code_name,
    is_corrupted,
    is_end,
    load_sdk,
    opened,
    refusal,
    succeeded,
)

Image = NDArray[np.uint8]
Depth = NDArray[np.float32]

CODEC = "zed_sdk"
"""What `RecordingInfo.codec` says: the SDK decodes and does not tell."""

SEEK_FRAMES = 60
"""A jump costs decoding from a key frame; nearer frames are reached by reading on."""

IMU_NUMBERS = 10


@dataclass(frozen=True)
class ZedFrame:
    """A stereo pair as the SDK delivered it, in memory of its own.

    Attributes:
        index, timestamp_ns: see `StereoFrame`.
        left_bgra, right_bgra: `(H, W, 4)` uint8.
        depth: `(H, W)` float32, metres, as the SDK says it: NaN = unknown or occluded, +inf = too far, -inf = too near. None = not asked.
    """

    index: int
    timestamp_ns: int
    left_bgra: Image
    right_bgra: Image
    depth: Depth | None

    def images(self) -> tuple[Image, Image]:
        """See `StereoFrame.images`."""
        left, right = (np.asarray(cv2.cvtColor(image, cv2.COLOR_BGRA2BGR), np.uint8) for image in (self.left_bgra, self.right_bgra))
        return left, right


def open_zed(path: Path, options: ZedOptions | None = None) -> "ZedReader":
    """Open a recording with the ZED SDK: tried in another process first, then one pass for stamps and sensor values.

    Raises:
        ZedUnavailable: the SDK cannot be used here, or cannot decode this video.
        InputError: it refuses the file, hangs or crashes on it, or finds no frame.
    """
    options = options or ZedOptions()
    sdk = load_sdk()
    return ZedReader(path, sdk, options, probe(path, options))


class ZedReader:
    """A recording behind the ZED SDK; a `RecordingReader`.

    Attributes:
        path: the file.
        opening: what the trial in another process found.
        warnings: the SDK's warnings by name, with how often each came.
    """

    def __init__(self, path: Path, sdk: Sdk, options: ZedOptions, opening: ZedOpening) -> None:
        self.path = path
        self.opening = opening
        self.warnings: Counter[str] = Counter()
        self._sdk = sdk
        self._options = options
        self._imu = array("d")
        self._info = self._scan()

    def __enter__(self) -> "ZedReader":
        return self

    def __exit__(self, *exc: object) -> None:
        return None

    @property
    def info(self) -> RecordingInfo:
        """Facts about the file."""
        return self._info

    def frames(self, start: int = 0, stop: int | None = None, step: int = 1) -> Iterator[StereoFrame | BadFrame]:
        """Yield frames `start, start+step, ...` below `stop` (None: all); depth is computed for these only."""
        if start < 0 or step < 1:
            raise ValueError(f"start must be >= 0 and step >= 1, not {start} and {step}")
        count = self._info.frame_count
        wanted = range(start, count if stop is None else min(stop, count), step)
        if wanted:
            yield from self._read(wanted)

    def frame_sensors(self) -> Iterator[SensorSample]:
        """Yield the sample of each frame, stamped with the frame's time, in frame order.

        Magnetic field and temperatures are only there when the values are read from the container, which happens when the SDK's are all
        zero, as those of some versions are.
        """
        numbers = np.frombuffer(self._imu, np.float64).reshape(-1, IMU_NUMBERS + 1)
        if np.nan_to_num(numbers[:, :6]).any():
            for stamp, row in zip(self._info.frame_timestamps_ns, numbers, strict=True):
                if not np.isnan(row[0]):
                    yield _sample(stamp, row)
        else:
            yield from self._from_container("frame_sensors")

    def sensors(self) -> Iterator[SensorSample]:
        """Yield every IMU sample that the container holds, in time order; nothing when only the SDK can read the container."""
        yield from self._from_container("sensors")

    def _from_container(self, name: str) -> Iterator[SensorSample]:
        try:
            native = open_svo2(self.path)
        except InputError:
            return
        with native:
            yield from getattr(native, name)()

    def _scan(self) -> RecordingInfo:
        sdk = self._sdk
        stamps = array("q")
        with opened(sdk, self.path, ZedOptions(calibration_folder=self._options.calibration_folder)) as (camera, warnings):
            self.warnings.update(warnings)
            information = camera.get_camera_information()
            parameters = self._runtime(depth=False)
            while self._grab(camera, parameters) is not None:
                stamps.append(self._stamp(camera))
                self._imu.extend(self._imu_row(camera))
        if not stamps:
            raise InputError(
                f"{self.path} holds no video frame that the ZED SDK can read: the recording was stopped before the first image."
            )
        configuration = information.camera_configuration
        return RecordingInfo(
            serial=int(information.serial_number),
            model=str(information.camera_model),
            camera_firmware=int(configuration.firmware_version),
            sensors_firmware=int(information.sensors_configuration.firmware_version),
            width=int(configuration.resolution.width),
            height=int(configuration.resolution.height),
            nominal_fps=float(configuration.fps),
            codec=CODEC,
            frame_timestamps_ns=tuple(stamps),
            key_frames=(0,),
            header={},
            synthetic=False,
            source_names=(),
        )

    def _read(self, wanted: range) -> Iterator[StereoFrame | BadFrame]:
        sdk, stamps = self._sdk, self._info.frame_timestamps_ns
        mat = sdk.Mat()
        passing, measuring = self._runtime(depth=False), self._runtime(depth=self._options.depth_mode is not None)
        with opened(sdk, self.path, self._options, self.opening.calibration.serial) as (camera, _):
            position = 0
            for index in wanted:
                if index - position > SEEK_FRAMES:
                    position = _seek(sdk, camera, self.path, index)
                while position < index:
                    if self._grab(camera, passing) is None:
                        return
                    position += 1
                error = self._grab(camera, measuring)
                if error is None:
                    return
                position += 1
                stamp = self._stamp(camera)
                if is_corrupted(sdk, error):
                    yield BadFrame(index, stamps[index], "the ZED SDK says that the frame is corrupted")
                elif stamp != stamps[index]:
                    yield BadFrame(index, stamps[index], f"the ZED SDK delivered the image of another moment ({stamp}) in its place")
                else:
                    yield self._frame(camera, mat, index, stamp)

    def _frame(self, camera: Any, mat: Any, index: int, stamp: int) -> ZedFrame:
        view = self._sdk.VIEW
        views = (view.LEFT, view.RIGHT) if self._options.rectified else (view.LEFT_UNRECTIFIED, view.RIGHT_UNRECTIFIED)
        images = []
        for each in views:
            self._require(camera.retrieve_image(mat, each, self._sdk.MEM.CPU))
            images.append(np.array(mat.get_data(), np.uint8))  # the SDK's own memory changes with the next call
        depth = None
        if self._options.depth_mode is not None:
            self._require(camera.retrieve_measure(mat, self._sdk.MEASURE.DEPTH))
            depth = np.array(mat.get_data(), np.float32)
        return ZedFrame(index, stamp, images[0], images[1], depth)

    def _grab(self, camera: Any, parameters: Any) -> Any:
        """Take the next frame; the code of a call that worked, None at the end of the recording."""
        for _ in range(ATTEMPTS):
            error = camera.grab(parameters)
            if code_name(self._sdk, error) != "FAILURE":
                break
        if is_end(self._sdk, error):
            return None
        self._require(error)
        return error

    def _require(self, error: Any) -> None:
        if not succeeded(self._sdk, error):
            raise refusal(self._sdk, error, self.path, self.opening.calibration.serial)
        name = code_name(self._sdk, error)
        if name != "SUCCESS":
            self.warnings[name] += 1

    def _runtime(self, *, depth: bool) -> Any:
        parameters = self._sdk.RuntimeParameters()
        parameters.enable_depth = depth
        parameters.enable_fill_mode = False
        return parameters

    def _stamp(self, camera: Any) -> int:
        return int(camera.get_timestamp(self._sdk.TIME_REFERENCE.IMAGE).get_nanoseconds())

    def _imu_row(self, camera: Any) -> list[float]:
        """Rates (rad/s), acceleration, quaternion and pressure of the current frame; NaN where there is none."""
        data = self._sdk.SensorsData()
        none = [math.nan] * (IMU_NUMBERS + 1)
        if not succeeded(self._sdk, camera.get_sensors_data(data, self._sdk.TIME_REFERENCE.IMAGE)):
            return none
        imu = data.get_imu_data()
        if not imu.is_available:
            return none
        rates = [math.radians(value) for value in imu.get_angular_velocity()]
        orientation = imu.get_pose().get_orientation().get()
        pressure = float(data.get_barometer_data().pressure)
        return [*rates, *map(float, imu.get_linear_acceleration()), *map(float, orientation), pressure if pressure > 0 else math.nan]


def _seek(sdk: Sdk, camera: Any, path: Path, index: int) -> int:
    """Go to a frame; returns where the camera then is, which is never behind `index`."""
    error = camera.set_svo_position(index)
    if error is not None and not succeeded(sdk, error):  # before 5.4 it returns nothing
        raise refusal(sdk, error, path)
    position = int(camera.get_svo_position())
    if 0 <= position <= index:
        return position
    camera.set_svo_position(0)
    return 0


def _sample(stamp: int, row: NDArray[np.float64]) -> SensorSample:
    values = [float(value) for value in row]
    return SensorSample(
        timestamp_ns=stamp,
        angular_velocity=(values[0], values[1], values[2]),
        linear_acceleration=(values[3], values[4], values[5]),
        orientation_xyzw=(values[6], values[7], values[8], values[9]),
        imu_temperature_c=None,
        magnetic_field_ut=None,
        pressure_hpa=None if math.isnan(values[10]) else values[10],
        barometer_temperature_c=None,
        left_temperature_c=None,
        right_temperature_c=None,
    )
