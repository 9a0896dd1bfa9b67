"""What the stamps of a recording say about its rate: measured rate, gaps, frames that are probably missing."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

GAP_FACTOR = 1.5
_NS = 1e9


@dataclass(frozen=True)
class Gap:
    """A wait of more than `GAP_FACTOR` times the usual one, between frame `after_frame` and the next."""

    after_frame: int
    seconds: float


@dataclass(frozen=True)
class FrameTiming:
    """Rate and irregularities of a series of stamps.

    Attributes:
        period_s: median time between frames; None with fewer than two distinct stamps.
        span_s: from the first stamp to the last.
        gaps: all waits that are too long.
        dropped_frames_estimate: frames that would fit into the gaps.
        backward: frames stamped before their predecessor.
        repeated: frames with their predecessor's stamp.
    """

    period_s: float | None
    span_s: float
    gaps: tuple[Gap, ...]
    dropped_frames_estimate: int
    backward: int
    repeated: int

    @property
    def fps(self) -> float | None:
        """Measured rate."""
        return None if self.period_s is None else 1 / self.period_s


def measure(timestamps_ns: Sequence[int]) -> FrameTiming:
    """Measure the timing of frames stamped `timestamps_ns`, in frame order."""
    stamps = np.asarray(timestamps_ns, np.int64)
    waits = np.diff(stamps)
    forward = waits[waits > 0]
    backward, repeated = int((waits < 0).sum()), int((waits == 0).sum())
    span_s = float(stamps.max() - stamps.min()) / _NS if len(stamps) else 0.0
    if not len(forward):
        return FrameTiming(None, span_s, (), 0, backward, repeated)
    median = float(np.median(forward))
    long = np.flatnonzero(waits > GAP_FACTOR * median)
    gaps = tuple(Gap(int(frame), float(waits[frame]) / _NS) for frame in long)
    dropped = int((np.rint(waits[long] / median) - 1).sum())
    return FrameTiming(median / _NS, span_s, gaps, dropped, backward, repeated)
