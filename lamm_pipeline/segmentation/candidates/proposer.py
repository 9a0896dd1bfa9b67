"""What every source of mask candidates offers. `sources.py` makes them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from lamm_pipeline.extraction.frame_registry import FrameRecord, FrameRegistry
from lamm_pipeline.segmentation.candidates.mask_candidates import MaskCandidate


@dataclass(frozen=True)
class Proposal:
    """What a source proposes for one frame.

    Attributes:
        by_level: candidates, best first; every level of the source is there.
        refused: how many the source itself had to leave out or change, by reason.
        failure: why the source could not look at the frame; None when it could.
    """

    by_level: Mapping[int, tuple[MaskCandidate, ...]]
    refused: Mapping[str, int] = field(default_factory=dict)
    failure: str | None = None


class Proposer(Protocol):
    """A source of mask candidates."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """All that decides the result (name, digests of weights or files, thresholds), ready for JSON; part of the artifact's version."""
        ...

    @property
    def levels(self) -> tuple[int, ...]:
        """Levels that it proposes for, ascending, at least one."""
        ...

    def begin(self, registry: FrameRegistry) -> Mapping[str, Any]:
        """Prepare for a recording. Called once, before its first frame.

        Returns:
            What there is to say about the recording besides its candidates, ready for JSON; mostly nothing.

        Raises:
            InputError: there is nothing for this recording.
        """
        ...

    def knows(self, frame: FrameRecord) -> bool:
        """Whether it has anything to say about a frame, be it that there is nothing; the others are no candidates' frames."""
        ...

    def proposals(self, frames: Sequence[FrameRecord]) -> Iterator[Callable[[], Proposal]]:
        """For each frame, in order, what makes its proposal; it is called on any thread, several at once."""
        ...
