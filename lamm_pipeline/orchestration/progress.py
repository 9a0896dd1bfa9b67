"""Progress of long work: a line in Dagster's log now and then, with rate and time left, and a bar in a terminal."""

import sys
import time
from collections.abc import Callable
from typing import Any

LOG_EVERY_S = 15.0
BAR_EVERY_S = 0.2
BAR_WIDTH = 30


class StageProgress:
    """A `Progress` that logs at most every 15 seconds and draws a bar when standard error is a terminal."""

    def __init__(self, log: Callable[[str], None], name: str, unit: str = "frames") -> None:
        self._log = log
        self._name = name
        self._unit = unit
        self._first: int | None = None
        self._done = 0
        self._started = self._logged = time.monotonic()
        self._drawn = 0.0

    def __call__(self, done: int, total: int | None) -> None:
        """Tell that `done` of `total` units are done."""
        now = time.monotonic()
        if self._first is None:
            self._first = done - 1
        self._done = done
        if now - self._logged >= LOG_EVERY_S:
            self._logged = now
            self._log(self._sentence(done, total, now))
        if now - self._drawn >= BAR_EVERY_S or done == total:
            self._drawn = now
            if sys.stderr.isatty():
                self._draw(done, total, now)

    def rate(self, now: float | None = None) -> float:
        """Units per second since the work began or was resumed."""
        elapsed = (now or time.monotonic()) - self._started
        return (self._done - (self._first or 0)) / elapsed if elapsed > 0 else 0.0

    def summary(self) -> dict[str, Any]:
        """Units done in this run, and their rate; for `run.json`."""
        return {"units": self._done - (self._first or 0), "unit": self._unit, "units_per_second": round(self.rate(), 2)}

    def _sentence(self, done: int, total: int | None, now: float) -> str:
        of = "" if total is None else f" of {total}"
        return f"{self._name}: {done}{of} {self._unit}, {self.rate(now):.1f} {self._unit}/s{self._left(done, total, now)}"

    def _left(self, done: int, total: int | None, now: float) -> str:
        rate = self.rate(now)
        return f", {(total - done) / rate:.0f} s left" if total is not None and rate > 0 else ""

    def _draw(self, done: int, total: int | None, now: float) -> None:
        share = done / total if total else 0.0
        bar = "#" * round(share * BAR_WIDTH)
        end = "\n" if done == total else ""
        sys.stderr.write(f"\r{self._name:>16} [{bar:<{BAR_WIDTH}}] {self._sentence(done, total, now).split(': ')[1]}   {end}")
        sys.stderr.flush()
