"""Which frames of a recording are extracted: range, skip and target rate."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction.settings import FrameSettings
from lamm_pipeline.recordings.reader import BadFrame, RecordingReader, StereoFrame


def frame_indices(timestamps_ns: Sequence[int], settings: FrameSettings) -> list[int]:
    """Frame indices to extract, ascending.

    Every `frame_skip`-th frame of `[start_frame, end_frame)`; of these, with `target_fps`, the ones nearest to the times `i / fps` after
    the first, each once. A rate at or above that of the stamps leaves them all.

    Raises:
        InputError: no frame is left.
    """
    stop = len(timestamps_ns) if settings.end_frame is None else min(settings.end_frame, len(timestamps_ns))
    candidates = list(range(settings.start_frame, stop, settings.frame_skip))
    if not candidates:
        raise InputError(
            f"No frame to extract: the recording has {len(timestamps_ns)} frames and start_frame is {settings.start_frame}; "
            "choose a range inside the recording."
        )
    if settings.target_fps is None or len(candidates) == 1:
        return candidates
    stamps = np.array([timestamps_ns[index] for index in candidates], np.int64)
    order = np.argsort(stamps, kind="stable")
    times = stamps[order]
    interval = float(np.median(np.diff(times)))
    if interval <= 0 or settings.target_fps >= 1e9 / interval:
        return candidates
    step = 1e9 / settings.target_fps
    targets = times[0] + np.rint(np.arange(math.floor((times[-1] - times[0]) / step + 1e-6) + 1) * step).astype(np.int64)
    right = np.clip(np.searchsorted(times, targets), 1, len(times) - 1)
    nearest = np.where(targets - times[right - 1] <= times[right] - targets, right - 1, right)
    return sorted({candidates[place] for place in order[nearest]})


def planned_frames(reader: RecordingReader, indices: Sequence[int]) -> Iterator[StereoFrame | BadFrame]:
    """Yield exactly the frames of `indices` (ascending); one that the reader does not deliver becomes a `BadFrame`."""
    if not indices:
        return
    step = math.gcd(*(later - earlier for earlier, later in pairwise(indices))) or 1
    wanted = iter(indices)
    index = next(wanted, None)
    for frame in reader.frames(indices[0], indices[-1] + 1, step):
        while index is not None and index < frame.index:
            yield _missing(reader, index)
            index = next(wanted, None)
        if index == frame.index:
            yield frame
            index = next(wanted, None)
    while index is not None:
        yield _missing(reader, index)
        index = next(wanted, None)


def _missing(reader: RecordingReader, index: int) -> BadFrame:
    return BadFrame(index, reader.info.frame_timestamps_ns[index], "the recording's index lists the frame, but it is not in the file")
