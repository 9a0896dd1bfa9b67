"""Reads SVO2 recordings without the ZED SDK. `open_svo2` is the way in; the result is a `RecordingReader`."""

import json
from array import array
from collections.abc import Collection, Iterator, Sequence
from functools import cached_property
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple

from lamm_pipeline.errors import InputError
from lamm_pipeline.recordings import svo2_index, svo2_sensors
from lamm_pipeline.recordings.color import FULL_RANGE_BT601, ColorConversion
from lamm_pipeline.recordings.mcap_blocks import BlockStore, messages
from lamm_pipeline.recordings.reader import BadFrame, RecordingInfo, SensorSample, StereoFrame
from lamm_pipeline.recordings.svo2_format import SENSORS_SUFFIX, CameraHeader, Codec
from lamm_pipeline.recordings.svo2_index import Positions, Svo2Index
from lamm_pipeline.recordings.svo2_video import EyeSize, StoredFrame, StripPicture, VideoPicture, decode, read_strips


class RawMessage(NamedTuple):
    """A message of a channel this package does not know, as it stands in the file."""

    topic: str
    log_time_ns: int
    data: bytes


def open_svo2(path: Path, *, color: ColorConversion = FULL_RANGE_BT601) -> "Svo2Reader":
    """Open a recording and build its index: one pass over the file, no video is decoded.

    Args:
        path: an SVO2 file, complete or cut off.
        color: how YUV becomes BGR.

    Returns:
        A reader; use it in a `with` block.

    Raises:
        InputError: no such file, not an SVO2 recording, no frame in it, or a codec that cannot be read.
    """
    file = svo2_index.open_file(path)
    try:
        return Svo2Reader(path, file, svo2_index.read_index(path, file), color)
    except BaseException:
        file.close()
        raise


class Svo2Reader:
    """An open SVO2 file; a `RecordingReader`.

    Several passes may run side by side. Video is decoded on the thread that consumes `frames`, images are converted on the thread that
    calls `images()`.

    Attributes:
        path: the file.
        index: what the pass over the file found.
        skipped_sensor_messages: sensor messages met so far that were damaged or held no IMU data.
    """

    def __init__(self, path: Path, file: BufferedReader, index: Svo2Index, color: ColorConversion) -> None:
        self.path = path
        self.index = index
        self.skipped_sensor_messages = 0
        self._file = file
        self._blocks = BlockStore(file, index.blocks)
        self._color = color
        self._eye = _eye_size(path, index)

    def __enter__(self) -> "Svo2Reader":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def camera(self) -> CameraHeader:
        """The header struct."""
        if self.index.camera is None:
            raise InputError(f"{self.path} has no svo_header: it is not an SVO2 recording.")
        return self.index.camera

    @property
    def codec(self) -> Codec:
        """Codec of the video."""
        if self.index.codec is None:
            raise InputError(f"{self.path} holds video of an unknown codec.")
        return self.index.codec

    @cached_property
    def info(self) -> RecordingInfo:
        """Facts about the file."""
        index = self.index
        return RecordingInfo(
            serial=index.serial,
            model=self.camera.model,
            camera_firmware=self.camera.camera_firmware,
            sensors_firmware=self.camera.sensors_firmware,
            width=self._eye.width,
            height=self._eye.height,
            nominal_fps=float(self.camera.fps),
            codec=self.codec,
            frame_timestamps_ns=tuple(index.frames.timestamps_ns),
            key_frames=tuple(frame for frame in range(len(index.frames)) if index.is_key(frame)),
            header=index.header,
            synthetic=index.metadata.get("synthetic") == "true",
            source_names=_source_names(self.path, index),
        )

    def frames(self, start: int = 0, stop: int | None = None, step: int = 1) -> Iterator[StereoFrame | BadFrame]:
        """Yield frames `start, start+step, ...` below `stop` (None: all), decoding no more than they need.

        Decoding begins at the key frame at or before `start`, and jumps to the key frame before each wanted frame where that saves work.
        """
        count = len(self.index.frames)
        if start < 0 or step < 1:
            raise ValueError(f"start must be >= 0 and step >= 1, not {start} and {step}")
        return self._read(range(start, count if stop is None else min(stop, count), step))

    def key_frames(self) -> Iterator[StereoFrame | BadFrame]:
        """Yield only the frames at which decoding can start; nothing else is decoded."""
        return self._read(self.info.key_frames)

    def frame_sensors(self) -> Iterator[SensorSample]:
        """Yield the sample stored with each frame, stamped with the frame's time, in frame order.

        A frame without a (sound) sample has none here, so match by `timestamp_ns`, not by position.
        """
        positions = self.index.frame_sensors
        for number, timestamp_ns in enumerate(positions.timestamps_ns):
            sample = svo2_sensors.unpack_message(self._message(positions, number), timestamp_ns)
            if sample is None:
                self.skipped_sensor_messages += 1
            else:
                yield sample

    def sensors(self) -> Iterator[SensorSample]:
        """Yield every IMU sample at the sensor's own rate, in time order."""
        found = self._sensor_messages() if self.index.sensors_in_order else self._sorted_sensor_messages()
        for data in found:
            sample = svo2_sensors.unpack_message(data)
            if sample is None:
                self.skipped_sensor_messages += 1
            else:
                yield sample

    def raw_messages(self, topics: Collection[str] | None = None) -> Iterator[RawMessage]:
        """Yield messages as they stand, in file order.

        Args:
            topics: which; None means those this package does not know (data that users or GNSS receivers added), see `index.extra_topics`.
        """
        wanted = set(self.index.extra_topics if topics is None else topics)
        ids = {channel: topic for channel, topic in self.index.topics.items() if topic in wanted}
        for number in range(len(self.index.blocks)):
            if topics is None and not self.index.contents[number] & svo2_index.OTHER:
                continue
            data = self._blocks.block(number)
            for message in messages(data):
                if message.channel_id in ids:
                    yield RawMessage(ids[message.channel_id], message.log_time, data[message.start : message.end])

    def _read(self, wanted: Sequence[int]) -> Iterator[StereoFrame | BadFrame]:
        stamps = self.index.frames.timestamps_ns
        codec = self.codec
        if codec == "jpeg":
            yield from map(self._read_strips, wanted)
            return
        size = (self.index.width, self.index.height)
        for index, result in decode(codec, wanted, self.info.key_frames, self._packet):
            if isinstance(result, str):
                yield BadFrame(index, stamps[index], result)
            elif (result.width, result.height) != size:
                yield BadFrame(index, stamps[index], f"it is {result.width}x{result.height} instead of {size[0]}x{size[1]}")
            else:
                yield VideoPicture(index, stamps[index], result, self._eye, self._color)

    def _read_strips(self, index: int) -> StereoFrame | BadFrame:
        stamp = self.index.frames.timestamps_ns[index]
        payload = self._packet(index).payload
        if payload is None:
            return BadFrame(index, stamp, "its message holds no whole picture")
        try:
            strips = read_strips(payload, self.index.width, self.index.height)
        except ValueError as error:
            return BadFrame(index, stamp, str(error))
        return StripPicture(index, stamp, strips, self._eye, self._color)

    def _packet(self, index: int) -> StoredFrame:
        payload = None if self.index.is_malformed(index) else self._message(self.index.frames, index)
        return StoredFrame(index, payload, self.index.is_after_loss(index))

    def _message(self, positions: Positions, number: int) -> bytes:
        start = positions.starts[number]
        return self._blocks.block(positions.blocks[number])[start : start + positions.sizes[number]]

    def _sensor_messages(self) -> Iterator[bytes]:
        for number, contents in enumerate(self.index.contents):
            if contents & svo2_index.SENSORS:
                data = self._blocks.block(number)
                for message in messages(data):
                    if self._is_sensor(message.channel_id):
                        yield data[message.start : message.end]

    def _sorted_sensor_messages(self) -> Iterator[bytes]:
        """For files whose sensor messages are out of order: three integers a message, sorted by stamp."""
        positions = Positions()
        for number, contents in enumerate(self.index.contents):
            if contents & svo2_index.SENSORS:
                for message in messages(self._blocks.block(number)):
                    if self._is_sensor(message.channel_id):
                        positions.append(message.log_time, number, message.start, message.end - message.start)
        order = array("l", sorted(range(len(positions)), key=positions.timestamps_ns.__getitem__))
        for number in order:
            yield self._message(positions, number)

    def _is_sensor(self, channel_id: int) -> bool:
        return self.index.topics.get(channel_id, "").endswith(SENSORS_SUFFIX)


def _eye_size(path: Path, index: Svo2Index) -> EyeSize:
    """Size of one eye: half the video's width, less the padding that our own writer noted."""
    stored = EyeSize(index.width // 2, index.height)
    try:
        eye = EyeSize(int(index.metadata.get("width", stored.width)), int(index.metadata.get("height", stored.height)))
    except ValueError as error:
        raise InputError(f"{path} has an image size in its metadata that is not a number: the file is damaged, pack it again.") from error
    if not (0 < eye.width <= stored.width and 0 < eye.height <= stored.height):
        raise InputError(
            f"{path} has images of {stored.width}x{stored.height}, yet its metadata says {eye.width}x{eye.height}: pack it again."
        )
    return eye


def _source_names(path: Path, index: Svo2Index) -> tuple[str, ...]:
    text = index.metadata.get("source_names")
    if text is None:
        return ()
    try:
        names = json.loads(text)
    except ValueError as error:
        raise InputError(f"{path} has a list of source names that cannot be read: the file is damaged, pack it again.") from error
    return tuple(str(name) for name in names[: len(index.frames)])
