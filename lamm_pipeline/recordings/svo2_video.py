"""Decodes the video of an SVO2 file: H.264 and H.265 through PyAV, JPEG strips through OpenCV.

Decoding is done twice over only where a file is damaged. The ordinary way uses several threads and stops at the first sign of trouble; the
careful way uses one thread, which tells exactly which picture is at fault, up to the next key frame.
"""

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
from av.error import FFmpegError
from av.packet import Packet as AvPacket
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from lamm_pipeline.errors import InputError
from lamm_pipeline.recordings import svo2_format as fmt
from lamm_pipeline.recordings.color import ColorConversion, Image, yuv_to_bgr

_PLANAR = ("yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p")
_NO_PICTURE = "the decoder made no picture of it"
_CORRUPT = "parts of the picture are damaged"
_MALFORMED = "its message holds no whole picture"


class StoredFrame(NamedTuple):
    """One frame as it stands in the file. `payload` is None for a malformed message; `after_loss`: those right before it are missing."""

    number: int
    payload: bytes | None
    after_loss: bool


@dataclass(frozen=True)
class EyeSize:
    """Pixels of one eye to deliver; the video may hold a few more at the bottom and the right."""

    width: int
    height: int


@dataclass(frozen=True)
class VideoPicture:
    """A decoded stereo pair; its planes stay as the decoder made them until `images`."""

    index: int
    timestamp_ns: int
    picture: VideoFrame
    eye: EyeSize
    color: ColorConversion

    def images(self) -> tuple[Image, Image]:
        """Left and right image, each `(H, W, 3)` uint8 BGR."""
        picture = self.picture if self.picture.format.name in _PLANAR else self.picture.reformat(format="yuv444p")
        y, u, v = (_plane(picture, number) for number in range(3))
        return split_eyes(yuv_to_bgr(y, u, v, self.color), self.eye)


@dataclass(frozen=True)
class StripPicture:
    """A stereo pair stored as JPEG strips, decoded by `images`."""

    index: int
    timestamp_ns: int
    strips: tuple[bytes, ...]
    eye: EyeSize
    color: ColorConversion

    def images(self) -> tuple[Image, Image]:
        """Left and right image, each `(H, W, 3)` uint8 BGR.

        Raises:
            InputError: a strip cannot be decoded.
        """
        rows = [cv2.imdecode(np.frombuffer(strip, np.uint8), cv2.IMREAD_GRAYSCALE) for strip in self.strips]
        decoded = [np.asarray(row, np.uint8) for row in rows if row is not None]
        if len(decoded) != len(rows):
            raise InputError(f"frame {self.index} has a JPEG strip that cannot be decoded: the recording is damaged there.")
        yuyv = np.vstack(decoded).reshape(sum(len(strip) for strip in decoded), -1, 2)
        y, u, v = (np.ascontiguousarray(part) for part in (yuyv[:, :, 0], yuyv[:, 0::2, 1], yuyv[:, 1::2, 1]))
        return split_eyes(yuv_to_bgr(y, u, v, self.color), self.eye)


def split_eyes(both: Image, eye: EyeSize) -> tuple[Image, Image]:
    """Cut the left and the right eye out of a side-by-side image, without padding."""
    middle = both.shape[1] // 2
    left = np.ascontiguousarray(both[: eye.height, : eye.width])
    return left, np.ascontiguousarray(both[: eye.height, middle : middle + eye.width])


def read_strips(payload: bytes, width: int, height: int) -> tuple[bytes, ...]:
    """The JPEG strips of a payload, checked against the size of the picture without decoding them.

    Args:
        payload: a video payload.
        width: pixels of both eyes.
        height: pixels.

    Raises:
        ValueError: strips are missing, cut off or of another size.
    """
    strips = fmt.split_strips(payload)
    sizes = [fmt.jpeg_size(strip) for strip in strips]
    rows = sum(strip_height for _, strip_height in sizes)
    if rows != height or any(strip_width != 2 * width for strip_width, _ in sizes):
        raise ValueError(f"its JPEG strips are {sizes[0][0]}x{rows} in all instead of {2 * width}x{height}")
    return tuple(strips)


def decode(
    codec: Literal["h264", "hevc"], wanted: Sequence[int], key_frames: Sequence[int], packet: Callable[[int], StoredFrame]
) -> Iterator[tuple[int, VideoFrame | str]]:
    """Decode the wanted frames and no more than they need.

    Decoding of each frame begins at the key frame at or before it, unless it goes on from the frame before. A frame that cannot be decoded
    comes as the reason why. Behind a damaged frame those up to the next key frame are given up too, since they are predicted from it; when
    there is no further key frame in the file (recordings with intra refresh have none), what the decoder makes of them is delivered.

    Args:
        codec: which decoder.
        wanted: frame indices, increasing.
        key_frames: all frames at which decoding can start, increasing.
        packet: gives the stored frame of an index.

    Yields:
        `(index, picture or reason)` for each wanted frame, in order.
    """
    done = 0
    while done < len(wanted):
        for index, result in _decode_packets(
            _decoder(codec, careful=False), _packets(_feed_order(wanted[done:], key_frames), packet), stop_at_loss=True
        ):
            if isinstance(result, str):
                break
            if index == wanted[done]:
                yield index, result
                done += 1
                if done == len(wanted):
                    return
        else:
            return
        following = bisect_right(key_frames, wanted[done])
        limit = key_frames[following] if following < len(key_frames) else None
        group = wanted[done:] if limit is None else wanted[done : bisect_left(wanted, limit)]
        yield from _decode_carefully(codec, group, _packets(_feed_order(group, key_frames), packet), heals=limit is None)
        done += len(group)


def _decode_carefully(
    codec: Literal["h264", "hevc"], wanted: Sequence[int], packets: Iterable[StoredFrame], *, heals: bool
) -> Iterator[tuple[int, VideoFrame | str]]:
    """Decode one group of pictures on one thread, naming each bad frame."""
    wanted_set = set(wanted) if not isinstance(wanted, range) else wanted
    lost: set[int] = set()
    damage: str | None = None
    for index, result in _decode_packets(_decoder(codec, careful=True), _note_losses(packets, lost), stop_at_loss=False):
        if damage is None and not heals and index in lost:
            damage = f"frames before frame {index} are missing, from which it is predicted"
        if index in wanted_set:
            yield index, result if damage is None or isinstance(result, str) else damage
        if damage is None and not heals and isinstance(result, str):
            damage = f"it is predicted from frame {index}, which is damaged"


def _note_losses(packets: Iterable[StoredFrame], lost: set[int]) -> Iterator[StoredFrame]:
    for number, item in enumerate(packets):
        if item.after_loss and number > 0:
            lost.add(item.number)
        yield item


def _decode_packets(
    context: VideoCodecContext, packets: Iterable[StoredFrame], *, stop_at_loss: bool
) -> Iterator[tuple[int, VideoFrame | str]]:
    """Feed packets and yield `(index, picture or reason)` for each, in order. Pictures are matched to packets by pts.

    With several threads a picture comes some packets later and an error belongs to an earlier one, so reasons are exact only with one.
    """
    waiting: deque[int] = deque()
    reasons: dict[int, str] = {}
    try:
        for number, item in enumerate(packets):
            waiting.append(item.number)
            if item.payload is None:
                reasons[item.number] = _MALFORMED
            elif item.after_loss and number > 0 and stop_at_loss:
                reasons[item.number] = _NO_PICTURE
            else:
                data: AvPacket[Any] = AvPacket(item.payload)
                data.pts = item.number
                yield from _match(_feed(context, data, item.number, reasons), waiting, reasons)
        yield from _match(_feed(context, None, waiting[-1] if waiting else -1, reasons), waiting, reasons)
        for index in waiting:
            yield index, reasons.pop(index, _NO_PICTURE)
    finally:
        # Freeing a decoder whose threads still work deadlocks: they need the interpreter's lock, which the destructor holds.
        context.flush_buffers()


def _feed(context: VideoCodecContext, data: "AvPacket[VideoStream] | None", index: int, reasons: dict[int, str]) -> list[VideoFrame]:
    try:
        return list(context.decode(data))
    except FFmpegError as error:
        reasons[index] = f"the decoder reports: {error.strerror}"
        return []


def _match(pictures: list[VideoFrame], waiting: deque[int], reasons: dict[int, str]) -> Iterator[tuple[int, VideoFrame | str]]:
    for picture in pictures:
        number = -1 if picture.pts is None else picture.pts
        while waiting and waiting[0] < number:
            index = waiting.popleft()
            yield index, reasons.pop(index, _NO_PICTURE)
        if waiting and waiting[0] == number:
            index = waiting.popleft()
            reasons.pop(index, None)
            yield index, _CORRUPT if picture.is_corrupt else picture


def _feed_order(wanted: Sequence[int], key_frames: Sequence[int]) -> Iterator[int]:
    """Indices of the packets to feed so that every wanted frame comes out, skipping groups of pictures without one."""
    fed = -1
    for index in wanted:
        number = bisect_right(key_frames, index)
        start = key_frames[number - 1] if number else 0
        yield from range(max(start, fed + 1), index + 1)
        fed = index


def _packets(order: Iterable[int], packet: Callable[[int], StoredFrame]) -> Iterator[StoredFrame]:
    return (packet(index) for index in order)


def _decoder(codec: Literal["h264", "hevc"], *, careful: bool) -> VideoCodecContext:
    context = VideoCodecContext.create(codec, "r")
    if careful:
        context.thread_count = 1
    else:
        context.thread_type = "FRAME" if codec == "h264" else "AUTO"
    return context


def _plane(picture: VideoFrame, number: int) -> Image:
    plane = picture.planes[number]
    return np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]
