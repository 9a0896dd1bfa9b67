"""What every benchmark subject has in common: its rows, its means, and how two ways of doing the same thing are timed.

A subject is a function from `Means` to rows. A figure counts as a ratio to something measured in the same run, because machines differ and
are shared: variants take turns, round by round. Wall time says what a user waits for; CPU time, of this process and the children it
waited for, says what the work costs, and depends less on who else uses the machine.
"""

import gc
import os
import resource
import shutil
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


class NotRunError(Exception):
    """A subject lacks something it cannot make; the sentence says what."""


@dataclass(frozen=True)
class Means:
    """What a subject may use.

    Attributes:
        folder: its own, empty.
        cache: shared by all subjects and runs, for recordings that take long to make.
        data: real recordings and ground truth, None when they are not here.
        peers: Python of the environment with the libraries to compare with, None when it is not here.
        tiny: run with next to no work, to see that the subject works; the figures mean nothing.
    """

    folder: Path
    cache: Path
    data: Path | None = None
    peers: Path | None = None
    tiny: bool = False

    def real(self, name: str) -> Path:
        """Folder of real data, or `NotRunError`."""
        if self.data is None or not (self.data / name).is_dir():
            raise NotRunError(f"no {name} here; LAMM_SHARED_DATA names the folder of real recordings")
        return self.data / name


@dataclass(frozen=True)
class Row:
    """One figure beside what it is measured by.

    Attributes:
        what: the figure, with its unit.
        ours: measured here.
        reference: of the peer or the floor; a limit where there is neither; None where the figure only informs.
        at_least: bound of `ours / reference` from below, None without.
        at_most: bound from above, None without.
        note: what the reference is, or what else to know.
        paired: the ratio, where it is not that of the two figures but the median over rounds.
    """

    what: str
    ours: float
    reference: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    note: str = ""
    paired: float | None = None

    @property
    def ratio(self) -> float | None:
        if self.paired is not None:
            return self.paired
        return self.ours / self.reference if self.reference else None

    @property
    def wanted(self) -> str:
        return " ".join(f"{sign} {bound:.2f}" for sign, bound in ((">=", self.at_least), ("<=", self.at_most)) if bound is not None)

    @property
    def met(self) -> bool | None:
        if self.ratio is None or not self.wanted:
            return None
        return (self.at_least is None or self.ratio >= self.at_least) and (self.at_most is None or self.ratio <= self.at_most)

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name != "paired"} | {"ratio": self.ratio, "met": self.met}


Subject = Callable[[Means], list[Row]]


@dataclass(frozen=True)
class Took:
    """Seconds."""

    wall: float
    cpu: float

    def __sub__(self, other: "Took") -> "Took":
        return Took(self.wall - other.wall, self.cpu - other.cpu)

    def __add__(self, other: "Took") -> "Took":
        return Took(self.wall + other.wall, self.cpu + other.cpu)


def now() -> Took:
    """The clocks; only differences mean something."""
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return Took(time.perf_counter(), sum(each.ru_utime + each.ru_stime for each in usage))


@dataclass(frozen=True)
class Turns:
    """What one variant took in each round."""

    rounds: tuple[Took, ...]

    @property
    def median(self) -> Took:
        return Took(statistics.median(each.wall for each in self.rounds), statistics.median(each.cpu for each in self.rounds))


def take_turns(
    variants: Mapping[str, Callable[[], object]], rounds: int, *, before: Callable[[], object] = lambda: None
) -> dict[str, Turns]:
    """Run every variant once a round, in an order that turns around each time; what `before` takes, ahead of each, does not count."""
    took: dict[str, list[Took]] = {name: [] for name in variants}
    for number in range(rounds):
        for name in list(variants)[:: -1 if number % 2 else 1]:
            before()
            gc.collect()
            os.sync()  # nobody is to wait for what another one wrote
            began = now()
            variants[name]()
            took[name].append(now() - began)
    return {name: Turns(tuple(each)) for name, each in took.items()}


def rates(units: int, ours: Turns, reference: Turns, *, at_least: float, note: str, one_thread: bool = False) -> list[Row]:
    """Frames a second of both. The ratio is the median of the rounds' ratios: what else a machine does changes from round to round.

    Args:
        units: frames of a round.
        ours: what they took.
        reference: what they took there.
        at_least: bound of the ratio: of wall time, which alone tells whether threads wait for each other.
        note: what the reference is.
        one_thread: the bound is that of CPU time: nobody waits, and it is the steadier one.
    """
    rows = []
    for clock, name in (("wall", "frames a second"), ("cpu", "frames a second of CPU time")):
        ratio = statistics.median(getattr(b, clock) / getattr(a, clock) for a, b in zip(ours.rounds, reference.rounds, strict=True))
        bound = at_least if one_thread == (clock == "cpu") else None
        mine, theirs = (units / getattr(each.median, clock) for each in (ours, reference))
        rows.append(Row(name, mine, theirs, at_least=bound, paired=ratio, note=note))
    return rows


def emptied(folder: Path) -> Path:
    """The folder, which is not there (any more)."""
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def print_table(subject: str, rows: Iterable[Row]) -> str:
    """The rows as a Markdown table."""
    head = ("what", "ours", "reference", "ratio", "wanted", "met", "note")
    lines = [f"## {subject}", "", f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for row in rows:
        verdict = {None: "", True: "yes", False: "**no**"}[row.met]
        cells = (row.what, _digits(row.ours), _digits(row.reference), _digits(row.ratio), row.wanted, verdict, row.note)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _digits(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) >= 100 else f"{value:.2f}"
