"""Encodes stereo pairs the way ZED cameras store them: one packet a frame, no B-frames, parameter sets in band, full-range BT.601.

The number of encoder threads is fixed, so that the same images give the same bytes on every machine with the same encoder.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, Protocol

import cv2
import numpy as np
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from lamm_pipeline.recordings import svo2_format as fmt
from lamm_pipeline.recordings.color import Image, bgr_to_yuv

STRIPS = 4
_THREADS = 4
_MAX_RATE = 1_000_000


@dataclass(frozen=True)
class EncodedFrame:
    """One payload; frames come out in the order they went in."""

    payload: bytes
    is_key: bool


class Encoder(Protocol):
    """Turns side-by-side images into payloads, at once or some frames later."""

    def encode(self, both: Image) -> Iterator[EncodedFrame]:
        """Take the next image `(H, 2 W, 3)` BGR; yield the payloads that are ready."""
        ...

    def flush(self) -> Iterator[EncodedFrame]:
        """Yield the payloads that are left."""
        ...


def make_encoder(codec: fmt.Codec, width: int, height: int, fps: float, *, crf: float, jpeg_quality: int, preset: str, gop: int) -> Encoder:
    """An encoder for images of `width` (both eyes) times `height` pixels."""
    if codec == "jpeg":
        return _StripEncoder(jpeg_quality)
    return _VideoEncoder(codec, width, height, fps, crf=crf, preset=preset, gop=gop)


class _VideoEncoder:
    """H.264 by x264 or H.265 by x265."""

    def __init__(self, codec: Literal["h264", "hevc"], width: int, height: int, fps: float, *, crf: float, preset: str, gop: int) -> None:
        self._codec = codec
        context = VideoCodecContext.create("libx264" if codec == "h264" else "libx265", "w")
        context.width, context.height, context.pix_fmt = width, height, "yuv420p"
        context.framerate = Fraction(fps).limit_denominator(_MAX_RATE)
        context.time_base = 1 / context.framerate
        context.gop_size, context.max_b_frames = gop, 0
        context.thread_count = _THREADS
        keys = f"bframes=0:keyint={gop}:min-keyint={gop}:scenecut=0:repeat-headers=1:annexb=1"
        if codec == "h264":
            context.options = {"preset": preset, "tune": "zerolatency", "crf": str(crf), "x264-params": keys}
        else:
            quiet = f"{keys}:info=0:log-level=error:frame-threads=1:pools={_THREADS}:open-gop=0"
            context.options = {"preset": preset, "tune": "zerolatency", "crf": str(crf), "x265-params": quiet}
        self._context = context
        self._count = 0

    def encode(self, both: Image) -> Iterator[EncodedFrame]:
        planes = np.concatenate([plane.ravel() for plane in bgr_to_yuv(both, "420")])
        picture = VideoFrame.from_ndarray(planes.reshape(-1, both.shape[1]), format="yuv420p")
        picture.pts = self._count
        self._count += 1
        yield from map(self._frame, self._context.encode(picture))

    def flush(self) -> Iterator[EncodedFrame]:
        if self._count:
            yield from map(self._frame, self._context.encode(None))

    def _frame(self, packet: "Packet[VideoStream]") -> EncodedFrame:
        payload = bytes(packet)
        return EncodedFrame(fmt.without_h264_sei(payload) if self._codec == "h264" and packet.is_keyframe else payload, packet.is_keyframe)


class _StripEncoder:
    """JPEG strips: the YUYV bytes of the picture as four grey images."""

    def __init__(self, quality: int) -> None:
        self._options: list[int] = [cv2.IMWRITE_JPEG_QUALITY, quality]

    def encode(self, both: Image) -> Iterator[EncodedFrame]:
        y, u, v = bgr_to_yuv(both, "422")
        height, width = y.shape
        yuyv = np.empty((height, width, 2), np.uint8)
        yuyv[:, :, 0], yuyv[:, 0::2, 1], yuyv[:, 1::2, 1] = y, u, v
        strips = np.array_split(yuyv.reshape(height, 2 * width), STRIPS)
        images = [cv2.imencode(".jpg", strip, self._options)[1].tobytes() for strip in strips]
        yield EncodedFrame(fmt.pack_strips(images), is_key=True)

    def flush(self) -> Iterator[EncodedFrame]:
        yield from ()
