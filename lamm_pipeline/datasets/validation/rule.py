"""What a rule of validation is: an object that is shown one frame after the other and then says whether the rule holds."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Protocol

from lamm_pipeline.datasets.splits.split_table import SplitSample
from lamm_pipeline.datasets.validation.masks import MaskFacts, look_at_masks
from lamm_pipeline.datasets.validation.settings import MaskCheck, RuleName

Number = int | float

TOGETHER = 32
"""Frames whose masks are decoded together; more of them are not faster."""


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
class Group:
    """Frames whose masks are looked at together, once a rule wants to know of one."""

    frames: Sequence[SplitSample]
    mask_check: MaskCheck

    @cached_property
    def masks(self) -> list[tuple[MaskFacts | None, ...]]:
        """What the masks of each frame are like."""
        return look_at_masks([each.sample for each in self.frames], decode=self.mask_check is MaskCheck.full)


@dataclass(frozen=True)
class Seen:
    """A frame as rules see it; what several rules want to know of its masks is found out once."""

    group: Group
    place: int

    @property
    def frame(self) -> SplitSample:
        """The frame."""
        return self.group.frames[self.place]

    @property
    def masks(self) -> tuple[MaskFacts | None, ...]:
        """What the masks are like, annotation by annotation; None for those that have none."""
        return self.group.masks[self.place]


def seen(frames: Iterable[SplitSample], mask_check: MaskCheck) -> Iterator[Seen]:
    """Frames as rules see them."""
    stream = iter(frames)
    while frames_together := list(islice(stream, TOGETHER)):
        group = Group(frames_together, mask_check)
        yield from (Seen(group, place) for place in range(len(frames_together)))


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
