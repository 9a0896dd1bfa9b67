"""Facts about a recording, for the catalog and for people. No video is decoded."""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lamm_pipeline.recordings.frame_timing import FrameTiming, Gap, measure
from lamm_pipeline.recordings.open_recording import open_recording
from lamm_pipeline.recordings.svo2_format import header_value
from lamm_pipeline.recordings.svo2_index import frame_count
from lamm_pipeline.recordings.svo2_reader import Svo2Reader
from lamm_pipeline.recordings.zed_reader import ZedReader
from lamm_pipeline.storage.atomic import quick_digest, sha256_file

__all__ = ["GpsChannel", "RecordingMetadata", "camera_serial", "describe", "filename_timestamp_ns", "frame_count"]

LISTED_GAPS = 20
_GNSS = re.compile(r"gnss|gps|nmea", re.IGNORECASE)
_UNIX_STAMP = re.compile(r"(?<!\d)\d{10,13}(?!\d)")
_MILLISECOND_DIGITS = 13


@dataclass(frozen=True)
class GpsChannel:
    """A GNSS channel as it stands: `first` is its first message as text, or in base64 when it is not text."""

    topic: str
    message_count: int
    first: str


@dataclass(frozen=True)
class RecordingMetadata:
    """What a recording says about itself. The ZED SDK does not tell what only the container knows: that is None or empty then.

    Attributes:
        serial: camera serial number.
        model: camera model, `unknown` when its id is.
        format_version: of the SVO2 container.
        sdk_version: of the SDK that wrote it; None in older files.
        width, height: pixels of one eye.
        codec: `h264`, `hevc` or `jpeg`; `zed_sdk` when the ZED SDK has read the recording.
        nominal_fps: rate the camera was set to.
        measured_fps: from the median time between frames; None with one frame.
        duration_s: from the first stamp to the last.
        key_frame_count: frames from which decoding can start.
        bitrate_bits_s: video payload over the duration; None with one frame.
        imu_sample_count: samples at the sensor's own rate.
        imu_rate_hz: their mean rate; None with fewer than two.
        gaps: the first `LISTED_GAPS` of `gap_count`.
        dropped_frames_estimate: frames that would fit into the gaps.
        recorded_at_ns: first frame stamp, Unix time.
        filename_timestamp_ns: Unix time found in the file name; None when there is none.
        gps: GNSS channels; None when the file has none.
        extra_topics: channels this package does not know, with their number of messages.
        complete: the file ends as it should.
        quick_digest: SHA-256 over size and first and last 64 KiB.
        digest: SHA-256 of the whole file.
        synthetic: the images were rendered.
        header: the `svo_header` JSON as it stands.
    """

    serial: int
    model: str
    camera_firmware: int
    sensors_firmware: int
    format_version: str
    sdk_version: str | None
    width: int
    height: int
    codec: str
    nominal_fps: float
    measured_fps: float | None
    frame_count: int
    key_frame_count: int | None
    duration_s: float
    bitrate_bits_s: float | None
    imu_sample_count: int | None
    imu_rate_hz: float | None
    gap_count: int
    gaps: tuple[Gap, ...]
    dropped_frames_estimate: int
    recorded_at_ns: int
    filename_timestamp_ns: int | None
    gps: tuple[GpsChannel, ...] | None
    extra_topics: dict[str, int]
    complete: bool | None
    size_bytes: int
    quick_digest: str
    digest: str
    synthetic: bool
    header: dict[str, Any]


def describe(reader: Svo2Reader | ZedReader, path: Path, *, digest: str | None = None) -> RecordingMetadata:
    """Collect the facts about an open recording.

    Args:
        reader: the recording.
        path: its file.
        digest: SHA-256 of the file when it is known already; else it is computed.
    """
    info = reader.info
    timing = measure(info.frame_timestamps_ns)
    in_container = _container(reader, timing) if isinstance(reader, Svo2Reader) else _NOT_TOLD
    return RecordingMetadata(
        serial=info.serial,
        model=info.model,
        camera_firmware=info.camera_firmware,
        sensors_firmware=info.sensors_firmware,
        width=info.width,
        height=info.height,
        codec=info.codec,
        nominal_fps=info.nominal_fps,
        measured_fps=timing.fps,
        frame_count=info.frame_count,
        duration_s=timing.span_s,
        gap_count=len(timing.gaps),
        gaps=timing.gaps[:LISTED_GAPS],
        dropped_frames_estimate=timing.dropped_frames_estimate,
        recorded_at_ns=info.frame_timestamps_ns[0],
        filename_timestamp_ns=filename_timestamp_ns(path),
        size_bytes=path.stat().st_size,
        quick_digest=quick_digest(path),
        digest=sha256_file(path) if digest is None else digest,
        synthetic=info.synthetic,
        header=info.header,
        **in_container,
    )


def camera_serial(path: Path) -> int:
    """Serial number of the camera that made a recording.

    Raises:
        InputError: the file cannot be read.
    """
    with open_recording(path) as reader:
        return reader.info.serial


def filename_timestamp_ns(path: Path) -> int | None:
    """Unix time in a file's name, nanoseconds: the first run of 10 to 13 digits, 13 of them being milliseconds; None without one."""
    found = _UNIX_STAMP.search(path.stem)
    if found is None:
        return None
    digits = found.group()
    return int(digits) * (10**6 if len(digits) == _MILLISECOND_DIGITS else 10**9)


_NOT_TOLD: Mapping[str, Any] = {
    "format_version": "",
    "sdk_version": None,
    "key_frame_count": None,
    "bitrate_bits_s": None,
    "imu_sample_count": None,
    "imu_rate_hz": None,
    "gps": None,
    "extra_topics": {},
    "complete": None,
}


def _container(reader: Svo2Reader, timing: FrameTiming) -> Mapping[str, Any]:
    """What only the container knows."""
    info, index = reader.info, reader.index
    period_s = timing.period_s or 0.0
    sensor_span_s = (index.sensor_last_ns - index.sensor_first_ns) / 1e9
    sdk_version = header_value(info.header, "ZED_SDK_version")
    return {
        "format_version": str(header_value(info.header, "version") or ""),
        "sdk_version": None if sdk_version is None else str(sdk_version),
        "key_frame_count": len(info.key_frames),
        "bitrate_bits_s": 8 * index.payload_bytes / (timing.span_s + period_s) if period_s else None,
        "imu_sample_count": index.sensor_count,
        "imu_rate_hz": (index.sensor_count - 1) / sensor_span_s if sensor_span_s > 0 else None,
        "gps": _gps(reader),
        "extra_topics": dict(index.extra_topics),
        "complete": index.complete,
    }


def _gps(reader: Svo2Reader) -> tuple[GpsChannel, ...] | None:
    topics = [topic for topic in reader.index.extra_topics if _GNSS.search(topic)]
    channels = []
    for topic in topics:
        first = next(reader.raw_messages([topic])).data
        try:
            text = first.decode()
        except UnicodeDecodeError:
            text = base64.b64encode(first).decode()
        channels.append(GpsChannel(topic, reader.index.extra_topics[topic], text))
    return tuple(channels) or None
