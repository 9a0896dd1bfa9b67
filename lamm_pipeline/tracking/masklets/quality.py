"""How good masklets are, as far as they say themselves, without ground truth."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from lamm_pipeline.tracking.masklets import masklet_table, masklets


@dataclass(frozen=True)
class Quality:
    """What checks look at.

    Attributes:
        masklets: of all levels.
        repeated: sentences about ids that are in one frame twice, or in two levels.
        broken: masklets with frames missing between their first and their last.
        flipped: masklets whose candidates change class along the way.
        frames_with_candidates: frames, counted for each level, that have candidates that can be followed.
        covered: how many of them have masklets.
    """

    masklets: int
    repeated: tuple[str, ...]
    broken: int
    flipped: int
    frames_with_candidates: int
    covered: int

    @property
    def coverage(self) -> float:
        """Share of the frames with candidates that have masklets; 1 where no frame has candidates."""
        return self.covered / self.frames_with_candidates if self.frames_with_candidates else 1.0


def measure(folder: Path) -> Quality:
    """Measure the files of an artifact `masklets`.

    Raises:
        InputError: one of them is missing or damaged.
    """
    found = list(masklets.read(folder / masklets.FILE_NAME))
    coverage = masklets.read_head(folder / masklets.FILE_NAME)["coverage"].values()
    return Quality(
        masklets=len(found),
        repeated=tuple(_repeated(folder / masklet_table.FILE_NAME)),
        broken=sum(each.missing > 0 for each in found),
        flipped=sum(each.class_flips > 0 for each in found),
        frames_with_candidates=sum(each["frames_with_candidates"] for each in coverage),
        covered=sum(each["of_these_with_masklets"] for each in coverage),
    )


def _repeated(path: Path) -> list[str]:
    """What no tracker may do, as sentences."""
    problems: list[str] = []
    levels: dict[int, int] = {}
    for level, frame_index, rows in masklet_table.read_frames(path):
        counts = Counter(row.masklet_id for row in rows)
        problems += [f"Masklet {key} has {count} masks in frame {frame_index}." for key, count in counts.items() if count > 1]
        for key in counts:
            if levels.setdefault(key, level) != level:
                problems.append(f"Masklet {key} is in the levels {levels[key]} and {level}.")
                levels[key] = level
    return problems
