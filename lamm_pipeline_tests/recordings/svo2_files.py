"""Small SVO2 files for tests: sound ones from our writer, odd ones by taking those apart and putting them together anew with `mcap`."""

import base64
import json
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mcap.reader import make_reader
from mcap.writer import CompressionType, IndexType, Writer
from numpy.typing import NDArray

from lamm_pipeline.recordings.reader import SensorSample
from lamm_pipeline.recordings.svo2_format import Codec
from lamm_pipeline.recordings.svo2_writer import Svo2Writer

SERIAL = 30001234
WIDTH, HEIGHT = 160, 96
FIRST_NS = 1_700_000_000_000_000_000
PERIOD_NS = 100_000_000
IMU_PERIOD_NS = 2_500_000
VIDEO = f"Camera_SN{SERIAL}/side_by_side"
SENSORS = f"Camera_SN{SERIAL}/sensors"
FRAME_SENSORS = f"Camera_SN{SERIAL}/integrated_sensors"

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Item:
    """One message taken out of a file, with what its channel says."""

    topic: str
    encoding: str
    schema: tuple[str, str, bytes]
    log_time: int
    data: bytes


def stereo_pair(frame: int, width: int = WIDTH, height: int = HEIGHT) -> tuple[Image, Image]:
    """A textured pair that moves by two pixels a frame; the right eye sees it six pixels further left."""
    rng = np.random.default_rng(5)
    coarse = rng.integers(30, 200, (height // 8 + 1, (width + 400) // 8 + 1), dtype=np.uint8)
    grey = cv2.resize(coarse, (width + 400, height), interpolation=cv2.INTER_CUBIC)
    scene = np.stack([grey, np.clip(grey, 10, 250), 255 - (255 - grey) // 2], axis=-1)
    start = 2 * frame % 300
    return scene[:, start : start + width].copy(), scene[:, start + 6 : start + 6 + width].copy()


def sample(timestamp_ns: int, **changes: Any) -> SensorSample:
    """A sample at rest; values depend on the stamp a little, so that samples differ."""
    wobble = (timestamp_ns // IMU_PERIOD_NS % 7) / 1000
    values = {
        "timestamp_ns": timestamp_ns,
        "angular_velocity": (0.001 + wobble, -0.002, 0.003),
        "linear_acceleration": (-0.1, -8.8 + wobble, -4.3),
        "orientation_xyzw": (-0.225, 0.02, 0.011, 0.974),
        "imu_temperature_c": 33.25,
        "magnetic_field_ut": (0.5, 1.0, 4.25),
        "pressure_hpa": 1051.0,
        "barometer_temperature_c": 34.0,
        "left_temperature_c": 32.75,
        "right_temperature_c": 33.5,
    }
    return SensorSample(**(values | changes))


def write_recording(
    path: Path,
    frames: int = 12,
    *,
    codec: Codec = "h264",
    gop: int = 4,
    imu_per_frame: int = 40,
    stamps: Sequence[int] | None = None,
    **options: Any,
) -> Path:
    """A sound recording of `stereo_pair`s at 10 Hz with IMU samples at 400 Hz between the frames."""
    times = list(stamps) if stamps is not None else [FIRST_NS + frame * PERIOD_NS for frame in range(frames)]
    with Svo2Writer(path, serial=SERIAL, width=WIDTH, height=HEIGHT, fps=10, codec=codec, gop=gop, **options) as writer:
        imu_ns = FIRST_NS - PERIOD_NS
        for frame, stamp in enumerate(times):
            writer.add_sensors(sample(imu_ns + k * IMU_PERIOD_NS) for k in range(imu_per_frame))
            imu_ns += imu_per_frame * IMU_PERIOD_NS
            writer.add_frame(*stereo_pair(frame), stamp, sample(stamp - IMU_PERIOD_NS) if imu_per_frame else None)
    return path


def items(path: Path) -> list[Item]:
    """All messages of a file in file order, read with the `mcap` package."""
    with path.open("rb") as file:
        return [
            Item(channel.topic, channel.message_encoding, (schema.name, schema.encoding, schema.data), message.log_time, message.data)
            for schema, channel, message in make_reader(file).iter_messages(log_time_order=False)
        ]


def assemble(
    path: Path,
    content: Iterable[Item],
    *,
    compression: CompressionType = CompressionType.LZ4,
    chunk_size: int = 64 * 1024,
    chunked: bool = True,
    summary: bool = True,
    metadata: dict[str, str] | None = None,
) -> Path:
    """Put messages together into a file, with the `mcap` package."""
    with path.open("wb") as file:
        writer = Writer(
            file,
            chunk_size=chunk_size,
            compression=compression,
            use_chunking=chunked,
            index_types=IndexType.ALL if summary else IndexType.NONE,
            repeat_channels=summary,
            repeat_schemas=summary,
            use_statistics=summary,
            use_summary_offsets=summary,
        )
        writer.start(profile="", library="libmcap stereolabs")
        if metadata is not None:
            writer.add_metadata("lamm_pipeline", metadata)
        channels: dict[str, int] = {}
        for item in content:
            if item.topic not in channels:
                schema = writer.register_schema(*item.schema)
                channels[item.topic] = writer.register_channel(item.topic, item.encoding, schema)
            writer.add_message(channels[item.topic], log_time=item.log_time, data=item.data, publish_time=item.log_time, sequence=1)
        writer.finish()
    return path


def rewrite(source: Path, path: Path, change: Callable[[list[Item]], list[Item]], **options: Any) -> Path:
    """A file with the messages of `source` changed by `change`."""
    return assemble(path, change(items(source)), **options)


def cut(source: Path, path: Path, size: int) -> Path:
    """The first `size` bytes of a file."""
    path.write_bytes(source.read_bytes()[:size])
    return path


def without(topic: str) -> Callable[[list[Item]], list[Item]]:
    """Leaves out a topic."""
    return lambda content: [item for item in content if item.topic != topic]


def without_frames(*frames: int) -> Callable[[list[Item]], list[Item]]:
    """Leaves out some video messages."""

    def change(content: list[Item]) -> list[Item]:
        video = [item for item in content if item.topic == VIDEO]
        gone = {id(video[frame]) for frame in frames}
        return [item for item in content if id(item) not in gone]

    return change


def with_frame(frame: int, edit: Callable[[bytes], bytes]) -> Callable[[list[Item]], list[Item]]:
    """Edits the bytes of one video message."""
    return with_frames(lambda number, data: edit(data) if number == frame else data)


def with_frames(edit: Callable[[int, bytes], bytes]) -> Callable[[list[Item]], list[Item]]:
    """Edits the bytes of every video message; `edit` is given the frame's number too."""

    def change(content: list[Item]) -> list[Item]:
        numbers = iter(range(len(content)))
        return [replace(item, data=edit(next(numbers), item.data)) if item.topic == VIDEO else item for item in content]

    return change


def with_header(edit: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[list[Item]], list[Item]]:
    """Edits the header's JSON."""

    def change(content: list[Item]) -> list[Item]:
        return [replace(i, data=json.dumps(edit(json.loads(i.data))).encode()) if i.topic == "svo_header" else i for i in content]

    return change


def with_header_field(offset: int, value: int) -> Callable[[list[Item]], list[Item]]:
    """Overwrites one 32-bit field of the header struct."""

    def edit(header: dict[str, Any]) -> dict[str, Any]:
        raw = bytearray(base64.b64decode(header["header"]))
        struct.pack_into("<I", raw, offset, value)
        return header | {"header": base64.b64encode(raw).decode()}

    return with_header(edit)


def noisy_payload(data: bytes) -> bytes:
    """A video message with its payload's second half overwritten by noise."""
    size = struct.unpack_from("<I", data, 4)[0]
    noise = np.random.default_rng(1).integers(0, 256, size - size // 2, dtype=np.uint8).tobytes()
    return data[: 8 + size // 2] + noise + data[8 + size :]


def noisy_padding(data: bytes) -> bytes:
    """A video message with noise where the trailer has padding."""
    raw = bytearray(data)
    trailer = len(raw) - 56
    raw[trailer + 0x08 : trailer + 0x0C] = b"\xde\xad\xbe\xef"
    raw[trailer + 0x14 : trailer + 0x18] = b"\xff\xff\xff\xff"
    return bytes(raw)


def payload(data: bytes) -> bytes:
    """The payload of a video message."""
    return data[8 : 8 + struct.unpack_from("<I", data, 4)[0]]
