"""The windows in which a video is worked on: what is in memory at once, and what is final after each."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Window:
    """Frames that are worked on at once.

    Attributes:
        start: its first frame.
        end: one after its last.
        final: one after the last that no later window touches; the frames from there to `end` are the overlap with the next window.
    """

    start: int
    end: int
    final: int


def even_windows(frames: int, length: int, overlap: int) -> list[Window]:
    """Windows of one length, each beginning `overlap` frames before the end of the one before.

    Args:
        frames: of the video.
        length: of a window; the last may be shorter, but has more than the overlap.
        overlap: at least 1 and below `length`.
    """
    starts = list(range(0, max(frames - overlap, 1), length - overlap)) if frames else []
    return [Window(start, min(start + length, frames), starts[n + 1] if n + 1 < len(starts) else frames) for n, start in enumerate(starts)]


def windows_between(prompt_frames: Sequence[int], frames: int, longest: int) -> list[Window]:
    """Windows from each prompt frame to the next, which both have: so that every prompt frame begins a window.

    Args:
        prompt_frames: ascending, of the video.
        frames: of the video.
        longest: a window has at most this many frames (at least 2); where prompt frames are farther apart, more windows begin.
    """
    starts: list[int] = []
    for begin, end in zip([0, *prompt_frames], [*prompt_frames, frames], strict=True):
        starts.extend(range(begin, end, longest - 1))
    finals = [*starts[1:], frames]
    return [Window(start, min(final + 1, frames), final) for start, final in zip(starts, finals[: len(starts)], strict=True)]
