"""Walks a stage's file of frames beside the frames of its recording: all stages list them in the order of their index."""

from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar

from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction.frame_registry import FrameRecord


class Framewise(Protocol):
    """Something that is known of one frame."""

    @property
    def frame_id(self) -> str:
        """`<recording>:<frame index, 6 digits>`."""
        ...

    @property
    def frame_index(self) -> int:
        """Frame index in the recording."""
        ...


Frame = TypeVar("Frame", bound=Framewise)


class InFrameOrder(Generic[Frame]):
    """A stream of frames sorted by index, asked for ascending indices."""

    def __init__(self, frames: Iterable[Frame], recording: str, asset: str) -> None:
        self._frames = iter(frames)
        self._recording = recording
        self._asset = asset
        self._next = next(self._frames, None)

    def at(self, record: FrameRecord) -> Frame | None:
        """This frame, None when the stream leaves it out.

        Raises:
            InputError: the stream has a frame that the recording does not list.
        """
        frame = self._next
        if frame is None or frame.frame_index > record.svo2_frame_index:
            return None
        if frame.frame_index < record.svo2_frame_index or frame.frame_id != record.frame_id:
            raise self._foreign(frame)
        self._next = next(self._frames, None)
        return frame

    def finish(self) -> None:
        """Make sure that nothing is left.

        Raises:
            InputError: something is.
        """
        if self._next is not None:
            raise self._foreign(self._next)

    def _foreign(self, frame: Frame) -> InputError:
        return InputError(
            f"The {self._asset} of recording {self._recording!r} name the frame {frame.frame_id!r}, which is not among its frames or is "
            "out of order: they belong to other frames. Run that stage again and create a new dataset version."
        )
