"""Numbers about the masklets of one level, counted while frames go by."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class LevelStatistics:
    """What became of one level.

    Attributes:
        level: of the candidates.
        objects: masklets.
        frames: frames gone through.
        frames_with_objects: frames with at least one masklet.
        masks: of all masklets in all frames.
        most_objects: in one frame.
        mean_length, longest, shortest: frames of a masklet; 0 without masklets.
        mean_duration_s: recorded time from a masklet's first frame to its last, mean; 0 without masklets.
        broken: masklets that are missing in a frame between their first and their last.
        dedup: what became of the candidates, such as `accepted` and `covered`.
    """

    level: int
    objects: int
    frames: int
    frames_with_objects: int
    masks: int
    most_objects: int
    mean_length: float
    longest: int
    shortest: int
    mean_duration_s: float
    broken: int
    dedup: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """As it stands in manifests and tables."""
        return asdict(self) | {"dedup": dict(sorted(self.dedup.items()))}


@dataclass
class _Span:
    first_position: int
    last_position: int
    first_ns: int
    last_ns: int
    frames: int


class StatisticsBuilder:
    """Counts one level. Memory grows with the number of masklets, not with the length of the video.

    Args:
        level: of the candidates.
    """

    def __init__(self, level: int) -> None:
        self._level = level
        self._spans: dict[int, _Span] = {}
        self._frames = self._frames_with = self._most = 0

    def add(self, timestamp_ns: int, object_ids: Iterable[int]) -> None:
        """Count a frame; frames come in the order of the recording, those without masklets too.

        Args:
            timestamp_ns: of the frame.
            object_ids: the masklets in it.
        """
        present = set(object_ids)
        for number in present:
            span = self._spans.setdefault(number, _Span(self._frames, self._frames, timestamp_ns, timestamp_ns, 0))
            span.last_position, span.last_ns = self._frames, timestamp_ns
            span.frames += 1
        self._frames += 1
        self._frames_with += bool(present)
        self._most = max(self._most, len(present))

    def result(self, dedup: Mapping[str, int]) -> LevelStatistics:
        """The numbers so far.

        Args:
            dedup: what became of the candidates, counted by reason.
        """
        spans = list(self._spans.values())
        lengths = [span.frames for span in spans]
        count = max(1, len(spans))
        return LevelStatistics(
            level=self._level,
            objects=len(spans),
            frames=self._frames,
            frames_with_objects=self._frames_with,
            masks=sum(lengths),
            most_objects=self._most,
            mean_length=round(sum(lengths) / count, 3),
            longest=max(lengths, default=0),
            shortest=min(lengths, default=0),
            mean_duration_s=round(sum(span.last_ns - span.first_ns for span in spans) / count / 1e9, 3),
            broken=sum(span.last_position - span.first_position + 1 > span.frames for span in spans),
            dedup=dict(dedup),
        )
