"""What a rule of validation is: an object that is shown one frame after the other and then says whether the rule holds."""

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Protocol

from lamm_pipeline.datasets.splits.split_table import PlacedSample
from lamm_pipeline.datasets.validation.masks import MaskFacts, look_at_masks
from lamm_pipeline.datasets.validation.settings import MaskCheck, RuleName
from lamm_pipeline.sample_table import Sample
from lamm_pipeline.streaming import map_ordered_in_processes

Number = int | float

TOGETHER = 16
"""Frames whose masks are decoded together; more of them are hardly faster."""


@dataclass(frozen=True)
class Failure:
    """One thing that a rule objects to.

    Attributes:
        frame_id: None where it is about no single frame.
        detection_id: None where it is about no single annotation.
        detail: what is wrong, in words.
    """

    frame_id: str | None
    detection_id: str | None
    detail: str

    @property
    def subject(self) -> str:
        """The most exact id there is, else what is wrong."""
        return self.detection_id or self.frame_id or self.detail


@dataclass(frozen=True)
class Verdict:
    """What a rule says when it has seen all frames.

    Attributes:
        passed: whether it holds.
        sentence: for people.
        counts: the numbers behind it.
    """

    passed: bool
    sentence: str
    counts: Mapping[str, Number] = field(default_factory=dict)


@dataclass(frozen=True)
class Seen:
    """A frame as rules see it; what several rules want to know of its masks is found out once.

    Attributes:
        sample: the frame.
        split: that it is in, None for none.
        masks: what the masks are like, annotation by annotation; None for those that have none.
    """

    sample: Sample
    split: str | None
    masks: tuple[MaskFacts | None, ...]


def seen(frames: Iterable[PlacedSample], mask_check: MaskCheck, total: int = 0) -> Generator[Seen, None, None]:
    """Frames as rules see them; close it where it may not be read to its end.

    Args:
        frames: consumed lazily.
        mask_check: how masks are looked at.
        total: how many frames there are; with many of them, several processes decode.
    """
    decode = mask_check is MaskCheck.full
    stream = iter(frames)
    waiting: deque[list[PlacedSample]] = deque()

    def groups() -> Iterator[list[Sample]]:
        while group := list(islice(stream, TOGETHER)):
            waiting.append(group)
            yield [each.sample for each in group]

    look = partial(look_at_masks, decode=decode)
    with closing(map_ordered_in_processes(look, groups(), total=total // TOGETHER if decode else 0)) as looked_at:
        for _, masks in looked_at:
            for frame, facts in zip(waiting.popleft(), masks, strict=True):
                yield Seen(frame.sample, frame.split, facts)


class Rule(Protocol):
    """One rule. Frames are shown to it in the version's order; it keeps counts, not frames."""

    @property
    def name(self) -> RuleName:
        """Its name."""
        ...

    @property
    def advice(self) -> str:
        """What to do when it does not hold."""
        ...

    def look(self, seen: Seen) -> Iterable[Failure]:
        """Look at one frame and tell what is wrong with it."""
        ...

    def finish(self) -> Iterable[Failure]:
        """Tell what shows only when all frames were seen."""
        ...

    def verdict(self, failures: int) -> Verdict:
        """Whether the rule holds, given how many failures it has told of."""
        ...


def share(part: int, whole: int) -> str:
    """`1.5%`."""
    return f"{100 * part / whole if whole else 0.0:.1f}%"
