"""Fewer frames by time: which frames of a recording come nearest to a rate."""

from bisect import bisect_left
from collections.abc import Sequence
from enum import StrEnum
from itertools import pairwise
from statistics import median

FULL_RATE = 29.5
"""Frames a second from which a recording counts as one of 30 or more; cameras of 29.97 do."""


class FrameRate(StrEnum):
    """Frames a second to keep. `all` keeps every frame; `auto` means 5 for recordings of 30 or more, else 1."""

    all = "all"
    auto = "auto"
    half = "0.5"
    one = "1"
    two = "2"
    five = "5"
    ten = "10"
    fifteen = "15"
    thirty = "30"


def measured_fps(frame_indices: Sequence[int], timestamps_ns: Sequence[int | None]) -> float | None:
    """Frames a second of a recording, from indices and stamps of some of its frames; None where too few have stamps.

    The median over neighbours: gaps in the recording make no difference.
    """
    stamped = [(index, stamp) for index, stamp in zip(frame_indices, timestamps_ns, strict=True) if stamp is not None]
    rates = [
        (later[0] - earlier[0]) * 1e9 / (later[1] - earlier[1])
        for earlier, later in pairwise(stamped)
        if later[0] > earlier[0] and later[1] > earlier[1]
    ]
    if not rates:
        return None
    rate = median(rates)
    return round(rate, 3) if rate >= 1.0 else float(f"{rate:.4g}")  # pictures may be taken hours apart


def wanted_fps(rate: FrameRate, source_fps: float | None) -> float | None:
    """Frames a second that a setting asks for, never more than the source has; None for every frame."""
    if rate is FrameRate.all or source_fps is None:
        return None
    target = (5.0 if source_fps >= FULL_RATE else 1.0) if rate is FrameRate.auto else float(rate)
    return min(target, source_fps)


def sampled(frame_indices: Sequence[int], source_fps: float, target_fps: float) -> list[int]:
    """The frames nearest to the times i / target_fps.

    Args:
        frame_indices: of the frames there are, ascending; frame n is n / source_fps seconds into the recording.
        source_fps: of the recording.
        target_fps: wanted; more than the source has means all frames.

    Returns:
        Frame indices, ascending, each once. A time that has no frame within half a step has none: what was not annotated is not replaced
        by something from another time.
    """
    if not frame_indices:
        return []
    target_fps = min(target_fps, source_fps)
    last, step = frame_indices[-1], source_fps / target_fps
    chosen: dict[int, None] = {}
    number = 0
    while number * step < last + 1:  # below the duration
        wanted = min(int(number * step + 0.5), last)
        nearest = _nearest(frame_indices, wanted)
        if abs(nearest - wanted) <= step / 2:
            chosen[nearest] = None
        number += 1
    return list(chosen)


def _nearest(ascending: Sequence[int], value: int) -> int:
    """The number nearest to a value, the smaller of two."""
    place = bisect_left(ascending, value)
    around = ascending[max(0, place - 1) : place + 1]
    return min(around, key=lambda each: (abs(each - value), each))
