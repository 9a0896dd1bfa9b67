"""Byte layouts inside an SVO2 file: the header struct, the framing of video messages, and what a video payload is.

Pure functions on bytes; nothing here reads a file. Everything is little-endian. Fields whose meaning is unknown are written the way cameras
write them and never relied on when reading. The sensor struct is in `svo2_sensors.py`.
"""

import base64
import json
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Codec = Literal["h264", "hevc", "jpeg"]

LIBRARY = "libmcap stereolabs"
HEADER_TOPIC = "svo_header"
FOOTER_TOPIC = "svo_footer"
VIDEO_SUFFIX = "/side_by_side"
FRAME_SENSORS_SUFFIX = "/integrated_sensors"
SENSORS_SUFFIX = "/sensors"
METADATA_NAME = "lamm_pipeline"
"""Name of the MCAP metadata record that marks files which no camera wrote."""

MODEL_NAMES = {1: "ZED", 2: "ZED Mini", 3: "ZED 2", 4: "ZED 2i", 5: "ZED X", 6: "ZED X Mini"}
COMPRESSION_IDS: dict[Codec, int] = {"jpeg": 2, "h264": 4, "hevc": 8}
IDENTITY_4X4 = (1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0)

_HEADER = struct.Struct("<9I16fI4III")
_TRAILER = struct.Struct("<IIIiiiQIiiIQ")
_SIZES = struct.Struct("<II")
_KEY_FRAME = 3
_MAX_STRIPS = 16
_JPEG_START = b"\xff\xd8\xff"
_START_CODE = b"\x00\x00\x01"
_H264_SEI = 6
_HEVC_PARAMETER_SETS = (b"\x40\x01", b"\x42\x01", b"\x44\x01")
"""Both header bytes: by its type alone, 0x41 would be a parameter set too, yet it begins the predicted pictures of H.264."""


@dataclass(frozen=True)
class CameraHeader:
    """The 128-byte struct of `svo_header`.

    Attributes:
        width: pixels of one eye in most files, of both eyes in some: a hint only.
        height: pixels.
        compression: 2 JPEG strips, 4 H.264, 8 H.265.
        strip_count: JPEG strips a frame (4 is also written with H.264).
        imu_transform: 4x4 row-major, rotation and translation in millimetres between camera and IMU.
        model_id: see `MODEL_NAMES`.
    """

    width: int
    height: int
    serial: int
    fps: int
    compression: int
    strip_count: int
    sensors_firmware: int
    camera_firmware: int
    imu_transform: tuple[float, ...]
    model_id: int

    @property
    def model(self) -> str:
        """Camera model as text, `unknown` for an id we do not know."""
        return MODEL_NAMES.get(self.model_id, "unknown")

    def pack(self) -> bytes:
        """The 128 bytes of the struct."""
        return _HEADER.pack(
            self.width,
            self.height,
            self.serial,
            self.fps,
            0,
            self.compression,
            self.strip_count,
            self.sensors_firmware,
            self.camera_firmware,
            *self.imu_transform,
            self.model_id,
            *(0, 0, 0, 0, 1, 0),
        )

    @classmethod
    def unpack(cls, data: bytes) -> "CameraHeader":
        """Read the struct; a shorter one is filled up with zeros as long as size, serial and rate are there.

        Raises:
            ValueError: fewer than 16 bytes.
        """
        if len(data) < 16:
            raise ValueError(f"the header struct has {len(data)} bytes instead of {_HEADER.size}")
        f = _HEADER.unpack(data[: _HEADER.size].ljust(_HEADER.size, b"\0"))
        return cls(f[0], f[1], f[2], f[3], f[5], f[6], f[7], f[8], tuple(f[9:25]), f[25])


def parse_header_message(data: bytes) -> tuple[dict[str, Any], CameraHeader]:
    """Read the `svo_header` message: the JSON as it stands, and the struct in it. Keys are found in any case.

    Raises:
        ValueError: not a JSON object, or no usable `header` key.
    """
    value = json.loads(data)
    encoded = header_value(value, "header") if isinstance(value, dict) else None
    struct_bytes = base64.b64decode(encoded) if isinstance(encoded, str) else b""
    return value, CameraHeader.unpack(struct_bytes)


def header_value(header: dict[str, Any], key: str) -> Any:
    """Value of `key` in the header JSON, whatever its case; None when absent."""
    return next((value for name, value in header.items() if name.lower() == key.lower()), None)


@dataclass(frozen=True)
class FrameTrailer:
    """The 56 bytes behind each video payload.

    Attributes:
        width: pixels of both eyes side by side.
        key_frame_index, key_frame_timestamp_ns: of the last key frame at or before this frame.
    """

    width: int
    height: int
    hevc: bool
    timestamp_ns: int
    payload_size: int
    is_key: bool
    key_frame_index: int
    frame_index: int
    key_frame_timestamp_ns: int


def pack_video_message(payload: bytes, trailer: FrameTrailer) -> bytes:
    """A `side_by_side` message: sizes, payload, trailer. Padding is written as zeros."""
    tail = _TRAILER.pack(
        trailer.width,
        trailer.height,
        0,
        int(trailer.hevc),
        2,
        0,
        trailer.timestamp_ns,
        len(payload),
        _KEY_FRAME if trailer.is_key else 0,
        trailer.key_frame_index,
        trailer.frame_index,
        trailer.key_frame_timestamp_ns,
    )
    return _SIZES.pack(4 + len(payload) + len(tail), len(payload)) + payload + tail


def split_video_message(data: bytes, start: int, end: int) -> tuple[int, int, FrameTrailer | None] | None:
    """Find payload and trailer of the `side_by_side` message `data[start:end]`.

    Returns:
        `(payload start, payload end, trailer)`; the trailer is None when its bytes are missing; None when there is no whole payload.
    """
    if end - start < _SIZES.size:
        return None
    _, size = _SIZES.unpack_from(data, start)
    first = start + _SIZES.size
    last = first + size
    if size == 0 or last > end:
        return None
    if end - last < _TRAILER.size:
        return first, last, None
    f = _TRAILER.unpack_from(data, last)
    return first, last, FrameTrailer(f[0], f[1], f[3] == 1, f[6], f[7], f[8] == _KEY_FRAME, f[9], f[10], f[11])


def sniff_codec(data: bytes, start: int, end: int) -> Codec | Literal["lossless"] | None:
    """What the payload `data[start:end]` is, judged by its own bytes.

    Returns:
        None when it does not tell, as with a predicted picture without parameter sets.
    """
    if not _is_annex_b(data, start):
        head = data[start : min(end, start + 8 * _MAX_STRIPS + 4)]
        if _JPEG_START in head:
            return "jpeg"
        return "lossless" if b"\x89PNG" in head or b"\x28\xb5\x2f\xfd" in head else None
    for nal in _nal_units(data, start, end, limit=4):
        if data[nal : nal + 2] in _HEVC_PARAMETER_SETS:
            return "hevc"
        if data[nal] & 0x1F in (7, 8):
            return "h264"
    return None


def starts_decoding(codec: Codec, data: bytes, start: int, end: int) -> bool:
    """Whether a decoder can start at this payload: an H.264 IDR, an H.265 random access point, any JPEG."""
    if codec == "jpeg":
        return True
    for nal in _nal_units(data, start, end, limit=8):
        if codec == "h264":
            kind = data[nal] & 0x1F
            if 1 <= kind <= 5:
                return kind == 5
        else:
            kind = (data[nal] >> 1) & 0x3F
            if kind < 32:
                return 16 <= kind <= 23
    return False


def without_h264_sei(payload: bytes) -> bytes:
    """The access unit without SEI units: cameras write none, x264 writes its version and options into the first one."""
    starts = [match.start() for match in re.finditer(rb"\x00?\x00\x00\x01", payload)]
    units = [payload[a:b] for a, b in zip(starts, [*starts[1:], len(payload)], strict=True)]
    return b"".join(unit for unit in units if unit[unit.index(b"\x01") + 1] & 0x1F != _H264_SEI)


def pack_strips(strips: Sequence[bytes]) -> bytes:
    """A JPEG payload: a table of 64-bit sizes, then the images back to back."""
    return struct.pack(f"<{len(strips)}Q", *map(len, strips)) + b"".join(strips)


def split_strips(payload: bytes) -> list[bytes]:
    """The JPEG images of a payload, by the size table or, where that does not add up, by their start markers.

    Raises:
        ValueError: no JPEG image in it.
    """
    for count in range(1, _MAX_STRIPS + 1):
        table = 8 * count
        if payload[table : table + 3] != _JPEG_START:
            continue
        sizes = struct.unpack_from(f"<{count}Q", payload)
        if sum(sizes) + table == len(payload):
            ends = [table + sum(sizes[: k + 1]) for k in range(count)]
            return [payload[stop - size : stop] for size, stop in zip(sizes, ends, strict=True)]
    starts = [match.start() for match in re.finditer(re.escape(_JPEG_START), payload)]
    if not starts:
        raise ValueError("its payload holds no JPEG image")
    return [payload[a:b] for a, b in zip(starts, [*starts[1:], len(payload)], strict=True)]


def jpeg_size(image: bytes) -> tuple[int, int]:
    """`(width, height)` from the frame header of a JPEG, without decoding it.

    Raises:
        ValueError: no frame header, or the image is cut off.
    """
    position = 2
    while position + 9 <= len(image) and image[position] == 0xFF:
        marker = image[position + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            if b"\xff\xd9" not in image[-16:]:
                raise ValueError("a JPEG strip has no end")
            height, width = struct.unpack_from(">HH", image, position + 5)
            return width, height
        position += 2 + int(struct.unpack_from(">H", image, position + 2)[0])
    raise ValueError("a JPEG strip has no frame header")


def _is_annex_b(data: bytes, start: int) -> bool:
    return data.startswith((_START_CODE, b"\x00" + _START_CODE), start)


def _nal_units(data: bytes, start: int, end: int, limit: int) -> Iterator[int]:
    """Positions of the header bytes of the first `limit` NAL units in `data[start:end]`."""
    position = start
    for _ in range(limit):
        found = data.find(_START_CODE, position, end)
        if found < 0 or found + 3 >= end:
            return
        position = found + 3
        yield position
