"""What every reader of recordings offers: the protocol and its values. The readers are `svo2_reader.py` (our own) and `zed_reader.py`."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class RecordingInfo:
    """What the container says about a recording, found without decoding video.

    Attributes:
        serial: camera serial number.
        model: camera model as text, e.g. `ZED 2i`; `unknown` when the id is not known.
        camera_firmware, sensors_firmware: firmware versions, 0 when absent.
        width, height: pixels of one eye.
        nominal_fps: the rate the camera was set to; the real one is in the stamps.
        codec: `h264`, `hevc` or `jpeg`; `zed_sdk` when the ZED SDK decodes, which does not tell.
        frame_timestamps_ns: one Unix stamp a frame, in frame order.
        key_frames: frame indices from which decoding can start.
        header: the `svo_header` JSON as it stands in the file.
        synthetic: True when the file is marked as not recorded by a camera.
        source_names: names of the images the recording was packed from, one a frame, or empty.
    """

    serial: int
    model: str
    camera_firmware: int
    sensors_firmware: int
    width: int
    height: int
    nominal_fps: float
    codec: str
    frame_timestamps_ns: tuple[int, ...]
    key_frames: tuple[int, ...]
    header: dict[str, Any]
    synthetic: bool
    source_names: tuple[str, ...]

    @property
    def frame_count(self) -> int:
        """Number of frames stored in the file."""
        return len(self.frame_timestamps_ns)


class StereoFrame(Protocol):
    """One decoded stereo pair; raw, unless the reader was asked for images that are rectified already."""

    @property
    def index(self) -> int:
        """Frame index in the file, 0-based."""
        ...

    @property
    def timestamp_ns(self) -> int:
        """Unix time of the image, nanoseconds."""
        ...

    def images(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Left and right image, each `(H, W, 3)` uint8 BGR. Converts on the calling thread."""
        ...


@dataclass(frozen=True)
class BadFrame:
    """A frame that is in the file but could not be decoded."""

    index: int
    timestamp_ns: int
    reason: str


@dataclass(frozen=True)
class SensorSample:
    """One IMU sample with what the camera measures beside it, calibrated values.

    Attributes:
        timestamp_ns: Unix time.
        angular_velocity: rad/s, `(3,)`, image axes.
        linear_acceleration: m/s^2, `(3,)`, image axes, specific-force sign (at rest it points up).
        orientation_xyzw: unit quaternion, camera to gravity-aligned; only meaningful in per-frame samples.
        magnetic_field_ut: microtesla or None. pressure_hpa, *_temperature_c: None when the camera has no such sensor.
    """

    timestamp_ns: int
    angular_velocity: tuple[float, float, float]
    linear_acceleration: tuple[float, float, float]
    orientation_xyzw: tuple[float, float, float, float]
    imu_temperature_c: float | None
    magnetic_field_ut: tuple[float, float, float] | None
    pressure_hpa: float | None
    barometer_temperature_c: float | None
    left_temperature_c: float | None
    right_temperature_c: float | None


class RecordingReader(Protocol):
    """Reads one recording; a context manager. Frames stream: memory does not grow with the recording's length."""

    @property
    def info(self) -> RecordingInfo:
        """Facts about the file."""
        ...

    def frames(self, start: int = 0, stop: int | None = None, step: int = 1) -> Iterator[StereoFrame | BadFrame]:
        """Yield frames `start, start+step, ...` below `stop` (None: all), decoding no more than they need."""
        ...

    def frame_sensors(self) -> Iterator[SensorSample]:
        """Yield the sample stored with each frame (its `timestamp_ns` is the *frame's* stamp), in frame order."""
        ...

    def sensors(self) -> Iterator[SensorSample]:
        """Yield every IMU sample at the sensor's own rate, in time order."""
        ...

    def __enter__(self) -> "RecordingReader": ...

    def __exit__(self, *exc: object) -> None: ...
