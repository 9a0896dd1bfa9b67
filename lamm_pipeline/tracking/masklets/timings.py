"""Where time goes: durations by stage that can be added up, merged and told. They are for logs and `run.json`, never for outputs."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Timings:
    """Seconds by stage, in the order in which the stages were first named. Parts of a stage are named `stage.part`."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    def add(self, stage: str, seconds: float) -> None:
        """Count seconds to a stage; less than none counts as none."""
        self._seconds[stage] = self._seconds.get(stage, 0.0) + max(0.0, seconds)

    @contextmanager
    def track(self, stage: str) -> Iterator[None]:
        """Count the time within the context, also when it ends with an error."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.add(stage, time.perf_counter() - started)

    def total(self, stage: str) -> float:
        """Seconds of one stage, 0 when it was never named."""
        return self._seconds.get(stage, 0.0)

    def total_prefix(self, prefix: str) -> float:
        """Seconds of all stages whose names begin so."""
        return sum(seconds for stage, seconds in self._seconds.items() if stage.startswith(prefix))

    def total_all(self) -> float:
        """Seconds of all stages."""
        return sum(self._seconds.values())

    def items(self) -> list[tuple[str, float]]:
        """Stages and seconds, in the order in which the stages were first named."""
        return list(self._seconds.items())

    def merge(self, other: "Timings") -> None:
        """Add the seconds of another, such as of one level."""
        for stage, seconds in other.items():
            self.add(stage, seconds)

    def format_breakdown(self) -> str:
        """All stages in a line: `track=1.5h, archives=0.20m`; `none` without any."""
        return ", ".join(f"{stage}={format_duration(seconds)}" for stage, seconds in self._seconds.items()) or "none"


def format_duration(seconds: float) -> str:
    """A duration in minutes, from an hour on in hours: `0.50m`, `12.3m`, `1.5h`; less than a millisecond is `0m`."""
    if seconds < 1e-3:
        return "0m"
    if seconds < 60.0:
        return f"{seconds / 60.0:.2f}m"
    if seconds < 3600.0:
        return f"{seconds / 60.0:.1f}m"
    return f"{seconds / 3600.0:.1f}h"


def progress_line(stage: str, done: int, total: int, frame_index: int) -> str:
    """One line of progress for logs, with the index in the recording of the frame done last.

    Args:
        stage: what is going on, such as `masklets, level 2`.
        done: frames done.
        total: of how many.
        frame_index: of the frame done last, in the recording.
    """
    share = done / total if total else 1.0
    return f"{stage}: {done} of {total} frames ({share:.1%}), frame {frame_index:06d}"
