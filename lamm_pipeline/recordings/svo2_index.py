"""The index of an SVO2 file: where each frame's payload lies and from which frames decoding can start.

Made in one pass over the file that decompresses chunks but decodes no video. It holds a few integers a frame and a few a chunk, so its size
hardly depends on the recording's length. The lists in `svo_footer` are only compared with what was found.
"""

import re
from array import array
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np

from lamm_pipeline.errors import InputError
from lamm_pipeline.recordings import svo2_format as fmt
from lamm_pipeline.recordings.mcap_blocks import MAGIC, Block, DataSection, Message, messages, read_summary

VIDEO, FRAME_SENSORS, SENSORS, OTHER = 1, 2, 4, 8
"""What a block contains, as bits of `Svo2Index.contents`."""

_KEY, _AFTER_LOSS, _MALFORMED = 1, 2, 4
_FOOTER_FRAMES = re.compile(rb'/side_by_side"\s*:\s*\[([^\]]*)\]')
_SERIAL = re.compile(r"Camera_SN(\d+)/")


class UnreadableVideo(InputError):  # noqa: N818 - reads as what it says
    """The file may well be a sound recording, but not one that this package can read; the ZED SDK may."""


@dataclass
class Positions:
    """Stamp and place of the messages of one topic, in file order."""

    timestamps_ns: "array[int]" = field(default_factory=lambda: array("q"))
    blocks: "array[int]" = field(default_factory=lambda: array("l"))
    starts: "array[int]" = field(default_factory=lambda: array("q"))
    sizes: "array[int]" = field(default_factory=lambda: array("q"))

    def __len__(self) -> int:
        return len(self.timestamps_ns)

    def append(self, timestamp_ns: int, block: int, start: int, size: int) -> None:
        """Add one message."""
        self.timestamps_ns.append(timestamp_ns)
        self.blocks.append(block)
        self.starts.append(start)
        self.sizes.append(size)


@dataclass
class Svo2Index:
    """What one pass over the file found. Made by `read_index`, not changed afterwards.

    Attributes:
        contents: for each block, what it contains (bits `VIDEO`, `FRAME_SENSORS`, `SENSORS`, `OTHER`).
        frames: the video payloads.
        frame_sensors: the sensor messages stored with the frames.
        sensor_count: messages at the sensor's own rate, first to last over `sensor_span_ns`.
        sensors_in_order: their stamps never go back.
        extra_topics: topics we do not know, with their number of messages.
        width, height: pixels of both eyes side by side, from the frame trailers.
        payload_bytes: all video payloads together.
        complete: the file ends as it should; False for a recording that was cut off.
        damaged_blocks: chunks that are cut or fail their checksum.
        footer_frames: length of the frame list in `svo_footer`, None without a footer.
        footer_agrees: that list equals the stamps found.
        metadata: our own marks, empty in files written by cameras.
    """

    header: dict[str, Any] = field(default_factory=dict)
    camera: fmt.CameraHeader | None = None
    topics: dict[int, str] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)
    contents: bytearray = field(default_factory=bytearray)
    frames: Positions = field(default_factory=Positions)
    flags: bytearray = field(default_factory=bytearray)
    frame_sensors: Positions = field(default_factory=Positions)
    sensor_count: int = 0
    sensor_first_ns: int = 0
    sensor_last_ns: int = 0
    sensors_in_order: bool = True
    extra_topics: dict[str, int] = field(default_factory=dict)
    codec: fmt.Codec | None = None
    width: int = 0
    height: int = 0
    serial: int = 0
    payload_bytes: int = 0
    complete: bool = False
    damaged_blocks: int = 0
    footer_frames: int | None = None
    footer_agrees: bool = False
    metadata: dict[str, str] = field(default_factory=dict)

    def is_key(self, frame: int) -> bool:
        """Decoding can start at this frame."""
        return bool(self.flags[frame] & _KEY)

    def is_after_loss(self, frame: int) -> bool:
        """Frames before this one are missing because a chunk is damaged."""
        return bool(self.flags[frame] & _AFTER_LOSS)

    def is_malformed(self, frame: int) -> bool:
        """The message holds no whole payload."""
        return bool(self.flags[frame] & _MALFORMED)


def read_index(path: Path, file: BufferedReader) -> Svo2Index:
    """Walk the file once.

    Raises:
        InputError: not an SVO2 file, no frame in it, or a codec that cannot be read.
    """
    size = path.stat().st_size
    _check_magic(path, file, size)
    index = Svo2Index()
    summary = read_summary(file, size)
    if summary is not None:
        index.topics.update(summary.topics)
    section = DataSection(file, size, summary.chunk_offsets if summary is not None else ())
    indexer = _Indexer(path, index)
    for block, data in section:
        indexer.add(block, data)
    index.complete = section.complete
    index.metadata = section.metadata.get(fmt.METADATA_NAME, {})
    return indexer.finish()


def frame_count(path: Path) -> int:
    """Number of frames of a file. Reads only the summary at its end when there is one, else walks the file.

    Raises:
        InputError: not an SVO2 file, or no frame in it.
    """
    with open_file(path) as file:
        size = path.stat().st_size
        _check_magic(path, file, size)
        summary = read_summary(file, size)
        if summary is not None and fmt.HEADER_TOPIC in summary.topics.values():
            for channel, topic in summary.topics.items():
                if topic.endswith(fmt.VIDEO_SUFFIX) and summary.message_counts.get(channel):
                    return summary.message_counts[channel]
        return len(read_index(path, file).frames)


def open_file(path: Path) -> BufferedReader:
    """Open a recording for reading.

    Raises:
        InputError: there is no such file.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist or is not a file: give the path of an SVO2 recording.")
    return path.open("rb")


class _Indexer:
    """Sorts the messages of each block into the index."""

    def __init__(self, path: Path, index: Svo2Index) -> None:
        self._path = path
        self._index = index
        self._lossy = False
        self._footer: bytes | None = None
        self._unknown_payload: bytes | None = None
        self._trailer_keys = bytearray()
        self._hevc_flag = False

    def add(self, block: Block, data: bytes) -> None:
        index = self._index
        number = len(index.blocks)
        contents = 0
        for message in messages(data, index.topics):
            topic = index.topics.get(message.channel_id, "")
            if topic.endswith(fmt.VIDEO_SUFFIX):
                contents |= VIDEO
                self._add_frame(data, message, number)
            elif topic.endswith(fmt.FRAME_SENSORS_SUFFIX):
                contents |= FRAME_SENSORS
                index.frame_sensors.append(message.log_time, number, message.start, message.end - message.start)
            elif topic.endswith(fmt.SENSORS_SUFFIX):
                contents |= SENSORS
                self._add_sensor(message.log_time)
            elif topic == fmt.HEADER_TOPIC:
                self._add_header(data[message.start : message.end])
            elif topic == fmt.FOOTER_TOPIC:
                self._footer = data[message.start : message.end]
            elif topic:
                contents |= OTHER
                index.extra_topics[topic] = index.extra_topics.get(topic, 0) + 1
        if contents or not block.intact:
            index.blocks.append(block)
            index.contents.append(contents)
        if not block.intact:
            index.damaged_blocks += 1
            self._lossy = True

    def finish(self) -> Svo2Index:
        index = self._index
        if index.camera is None:
            raise InputError(
                f"{self._path} is an MCAP file but holds no readable svo_header: it is not an SVO2 recording, or its beginning is lost."
            )
        if not len(index.frames):
            why = (
                "the recording was stopped before the first image"
                if index.complete
                else "the file is cut off before the end of the first one"
            )
            raise InputError(f"{self._path} holds no video frame: {why}.")
        video_topics = {topic for topic in index.topics.values() if topic.endswith(fmt.VIDEO_SUFFIX)}
        if len(video_topics) > 1:
            raise InputError(
                f"{self._path} holds {len(video_topics)} cameras ({', '.join(sorted(video_topics))}): record one file per camera."
            )
        serial = _SERIAL.search(next(iter(video_topics)))
        index.serial = int(serial.group(1)) if serial else index.camera.serial
        self._settle_codec(index.camera)
        self._settle_size(index.camera)
        if self._footer is not None:
            self._compare_footer(self._footer)
        return index

    def _add_frame(self, data: bytes, message: Message, number: int) -> None:
        index = self._index
        flags = _AFTER_LOSS if self._lossy else 0
        self._lossy = False
        split = fmt.split_video_message(data, message.start, message.end)
        if split is None:
            index.frames.append(message.log_time, number, message.start, 0)
            index.flags.append(flags | _MALFORMED)
            self._trailer_keys.append(0)
            return
        start, end, trailer = split
        index.frames.append(message.log_time, number, start, end - start)
        index.payload_bytes += end - start
        if index.codec is None:
            self._sniff(data, start, end)
        if index.codec is not None and fmt.starts_decoding(index.codec, data, start, end):
            flags |= _KEY
        index.flags.append(flags)
        sound = trailer is not None and trailer.payload_size == end - start
        self._trailer_keys.append(int(trailer is not None and sound and trailer.is_key))
        if trailer is not None and sound:
            self._hevc_flag = self._hevc_flag or trailer.hevc
            if not index.width:
                index.width, index.height = trailer.width, trailer.height

    def _add_sensor(self, timestamp_ns: int) -> None:
        index = self._index
        if index.sensor_count == 0:
            index.sensor_first_ns = timestamp_ns
        elif timestamp_ns < index.sensor_last_ns:
            index.sensors_in_order = False
        index.sensor_first_ns = min(index.sensor_first_ns, timestamp_ns)
        index.sensor_last_ns = max(index.sensor_last_ns, timestamp_ns)
        index.sensor_count += 1

    def _add_header(self, message: bytes) -> None:
        try:
            self._index.header, self._index.camera = fmt.parse_header_message(message)
        except ValueError as error:
            raise InputError(f"{self._path} has an svo_header that cannot be read ({error}): the file is damaged.") from error

    def _sniff(self, data: bytes, start: int, end: int) -> None:
        codec = fmt.sniff_codec(data, start, end)
        if codec == "lossless":
            raise UnreadableVideo(
                f"{self._path} is recorded in the LOSSLESS mode, whose layout is not public (the video begins with "
                f"{data[start : start + 8].hex(' ')}): convert it to H.264 or H.265 with ZED_SVO_Editor."
            )
        if codec is None and self._unknown_payload is None:
            self._unknown_payload = data[start : start + 8]
        self._index.codec = codec

    def _settle_codec(self, camera: fmt.CameraHeader) -> None:
        """Without parameter sets in the video, believe the header or the trailers."""
        index = self._index
        if index.codec is not None:
            return
        by_id: dict[int, fmt.Codec] = {number: codec for codec, number in fmt.COMPRESSION_IDS.items()}
        codec = by_id.get(camera.compression) or ("hevc" if self._hevc_flag else None)
        first = self._unknown_payload or b""
        if codec in (None, "jpeg") or not first.startswith((b"\0\0\1", b"\0\0\0\1")):
            raise UnreadableVideo(
                f"{self._path} holds video that is neither H.264, H.265 nor JPEG (its first bytes are {first.hex(' ') or 'missing'}): "
                "it may be encrypted or damaged; convert it with ZED_SVO_Editor."
            )
        index.codec = codec
        for frame, is_key in enumerate(self._trailer_keys):
            index.flags[frame] |= _KEY if is_key else 0

    def _settle_size(self, camera: fmt.CameraHeader) -> None:
        """Trailers tell the size; without one the header's hint, which means one eye unless it is very wide."""
        index = self._index
        if index.width >= 2 and index.height >= 1:
            return
        both_eyes = camera.width > 2.5 * camera.height
        index.width, index.height = camera.width if both_eyes else 2 * camera.width, camera.height

    def _compare_footer(self, message: bytes) -> None:
        index = self._index
        found = _FOOTER_FRAMES.search(message)
        try:
            stamps = np.array([int(text) for text in found.group(1).split(b",") if text.strip()] if found else [], np.int64)
        except (ValueError, OverflowError):
            stamps = np.zeros(0, np.int64)
        index.footer_frames = len(stamps)
        index.footer_agrees = bool(np.array_equal(stamps, np.asarray(index.frames.timestamps_ns, np.int64)))


def _check_magic(path: Path, file: BufferedReader, size: int) -> None:
    if size == 0:
        raise InputError(f"{path} is empty: the recording was never written; copy it again from the camera's computer.")
    file.seek(0)
    magic = file.read(len(MAGIC))
    if magic == MAGIC:
        return
    if MAGIC.startswith(magic):
        kind, hint = InputError, "it is cut off at its very beginning"
    else:
        kind, hint = UnreadableVideo, "an SVO version 1 file has to be converted with ZED_SVO_Editor first"
    raise kind(f"{path} is not an SVO2 recording: it begins with {magic.hex(' ')} instead of the MCAP signature ({hint}).")
