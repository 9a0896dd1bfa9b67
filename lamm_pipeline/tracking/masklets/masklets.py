"""`masklets.json`: the masklets of a recording, each in a line, with what is to be said about them as a whole. Owns the format."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lamm_pipeline.errors import InputError
from lamm_pipeline.storage import framewise_json

FILE_NAME = "masklets.json"
KEY = "masklets"


@dataclass(frozen=True)
class Masklet:
    """One object over time.

    Attributes:
        masklet_id: 1, 2, ...; never used twice in a recording.
        level: of the candidates that it was found in.
        class_id: what most of the candidates on it say, weighted by score; None where none says any.
        first_frame, last_frame: frame indices in the recording.
        frames: frames that it has a mask in.
        missing: frames between the first and the last that it has none in.
        prompts: frames in which a candidate prompted it.
        supports: frames in which a candidate lay on it without prompting it.
        class_votes: by class id, the sum of the scores (1 where a candidate has none).
        class_flips: how often a candidate on it had another class than the one before.
    """

    masklet_id: int
    level: int
    class_id: str | None
    first_frame: int
    last_frame: int
    frames: int
    missing: int
    prompts: int
    supports: int
    class_votes: Mapping[str, float]
    class_flips: int


@dataclass
class MaskletBuilder:
    """Counts one masklet, frame by frame."""

    masklet_id: int
    level: int
    first_position: int
    first_frame: int
    last_position: int = 0
    last_frame: int = 0
    frames: int = 0
    prompts: int = 0
    supports: int = 0
    votes: dict[str, float] = field(default_factory=dict)
    flips: int = 0
    _said: str | None = None

    def see(self, position: int, frame_index: int) -> None:
        """It has a mask in a frame."""
        self.last_position, self.last_frame = position, frame_index
        self.frames += 1

    def hear(self, class_id: str | None, score: float | None) -> None:
        """A candidate of a class lies on it."""
        if class_id is None:
            return
        self.votes[class_id] = self.votes.get(class_id, 0.0) + (1.0 if score is None else score)
        self.flips += self._said is not None and self._said != class_id
        self._said = class_id

    def result(self) -> Masklet:
        """What is known of it."""
        votes = {name: round(score, 6) for name, score in sorted(self.votes.items())}
        return Masklet(
            masklet_id=self.masklet_id,
            level=self.level,
            class_id=max(votes, key=lambda name: votes[name]) if votes else None,
            first_frame=self.first_frame,
            last_frame=self.last_frame,
            frames=self.frames,
            missing=self.last_position - self.first_position + 1 - self.frames,
            prompts=self.prompts,
            supports=self.supports,
            class_votes=votes,
            class_flips=self.flips,
        )


def write(path: Path, head: Mapping[str, Any], masklets: Sequence[Masklet]) -> None:
    """Write the file.

    Args:
        path: of the file.
        head: what stands before the masklets.
        masklets: in the order of their ids.
    """
    framewise_json.write(path, head, KEY, ((str(each.masklet_id), _to_json(each)) for each in masklets))


def read(path: Path) -> Iterator[Masklet]:
    """Stream the masklets.

    Raises:
        InputError: the file is missing, damaged, or lacks keys of this format.
    """
    for name, stored in framewise_json.read_frames(path, KEY):
        try:
            yield Masklet(masklet_id=int(name), **stored)
        except (TypeError, ValueError) as error:
            raise InputError(f"Masklet {name} of {path} is not as this version writes it ({error}); run 'masklets' again.") from error


def read_head(path: Path) -> dict[str, Any]:
    """Everything in the file but the masklets.

    Raises:
        InputError: the file is missing or damaged.
    """
    return framewise_json.read_head(path, KEY)


def _to_json(masklet: Masklet) -> dict[str, Any]:
    return {name: value for name, value in asdict(masklet).items() if name != "masklet_id"}
