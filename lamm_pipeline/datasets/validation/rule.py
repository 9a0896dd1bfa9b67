"""What a rule of validation is: an object that is shown one frame after the other and then says whether the rule holds."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from lamm_pipeline.datasets.splits.split_table import SplitSample
from lamm_pipeline.datasets.validation.masks import MaskFacts, look_at_masks
from lamm_pipeline.datasets.validation.settings import MaskCheck, RuleName

Number = int | float


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
    """A frame as rules see it; what several rules want to know of its masks is found out once."""

    frame: SplitSample
    mask_check: MaskCheck

    @cached_property
    def masks(self) -> tuple[MaskFacts | None, ...]:
        """What the masks are like, annotation by annotation; None for those that have none."""
        sample = self.frame.sample
        return look_at_masks(sample.annotations, sample.width, sample.height, decode=self.mask_check is MaskCheck.full)


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
