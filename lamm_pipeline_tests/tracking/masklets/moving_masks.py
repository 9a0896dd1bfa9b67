"""A small world of rectangles that move a known way, candidates that show them, and a back end that knows how they move."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.geometry import rle
from lamm_pipeline.segmentation.candidates.mask_candidates import FrameCandidates, MaskCandidate
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline.tracking.masklets import masklet_table
from lamm_pipeline.tracking.masklets.masklet_table import MaskletRow
from lamm_pipeline.tracking.masklets.propagation import Mask, Prompt, Video
from lamm_pipeline.tracking.masklets.registry_video import VideoFrame
from lamm_pipeline.tracking.masklets.settings import MaskletSettings
from lamm_pipeline.tracking.masklets.track_masklets import MaskletSummary, track_masklets

WIDTH, HEIGHT = 60, 40


def rectangle(x: int, y: int, width: int = 10, height: int = 10) -> Mask:
    mask = np.zeros((HEIGHT, WIDTH), np.bool_)
    mask[max(y, 0) : max(y + height, 0), max(x, 0) : max(x + width, 0)] = True
    return mask


def candidate(mask: Mask, name: str, class_id: str | None = "car", score: float | None = 0.5, *, boxed: bool = False) -> MaskCandidate:
    rows, columns = np.nonzero(mask)
    box = (float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1)) if len(rows) else (0.0, 0.0, 0.0, 0.0)
    return MaskCandidate(name, class_id, score, None, box, None if boxed else rle.encode(mask), int(mask.sum()), "external")


def listed(index: int, *masks: Mask | MaskCandidate, **settings: Any) -> FrameCandidates:
    """The candidates of a frame, named by their number."""
    made = tuple(
        each if isinstance(each, MaskCandidate) else candidate(each, f"drive:{index:06d}:{n}", **settings) for n, each in enumerate(masks)
    )
    return FrameCandidates(f"drive:{index:06d}", index, index, made)


@dataclass
class Frames:
    """A video of grey frames; `missing` cannot be read."""

    count: int
    missing: frozenset[int] = frozenset()
    asked: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return self.count

    @property
    def size(self) -> tuple[int, int]:
        return WIDTH, HEIGHT

    def image(self, index: int) -> NDArray[np.uint8] | None:
        self.asked.append(index)
        return None if index in self.missing else np.full((HEIGHT, WIDTH, 3), 90, np.uint8)

    def depth(self, index: int) -> None:  # noqa: ARG002 - a Video has it
        return None

    @property
    def names(self) -> list[VideoFrame]:
        return [VideoFrame(f"drive:{n:06d}", n, n * 100_000_000, f"{n:06d}.png") for n in range(self.count)]


@dataclass
class Shifts:
    """A back end that moves every mask by the same shift a frame; what leaves the image is not seen any more.

    Attributes:
        dx, dy: pixels a frame.
        corrects: as `Propagator`.
        blind: sees nothing in frames that cannot be read.
        calls: every propagation: start, object ids, direction, limit.
        opened: every window: first frame, one after the last.
    """

    dx: int = 2
    dy: int = 0
    corrects: bool = False
    blind: bool = False
    calls: list[tuple[int, list[int], bool, int | None]] = field(default_factory=list)
    opened: list[tuple[int, int]] = field(default_factory=list)

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"name": "shifts"}

    def session(self, video: Video, first: int, end: int) -> AbstractContextManager["Session"]:
        self.opened.append((first, end))
        return nullcontext(Session(self, video, first, end))


@dataclass
class Session:
    parent: Shifts
    video: Video
    first: int
    end: int

    def propagate(
        self, start: int, prompts: Mapping[int, Prompt], *, reverse: bool = False, limit: int | None = None
    ) -> Iterator[tuple[int, Mapping[int, Mask]]]:
        assert prompts
        self.parent.calls.append((start, sorted(prompts), reverse, limit))
        frames = range(start, self.first - 1, -1) if reverse else range(start, self.end)
        for frame in frames:
            if limit is not None and abs(frame - start) > limit:
                return
            if self.video.image(frame) is None and self.parent.blind:
                yield frame, {}
                continue
            yield frame, {key: mask for key, prompt in prompts.items() if (mask := self.moved(prompt, frame - start)).any()}

    def moved(self, prompt: Prompt, steps: int) -> Mask:
        if prompt.mask is not None:
            rows, columns = np.nonzero(prompt.mask)
        else:
            assert prompt.box_xyxy is not None
            x1, y1, x2, y2 = prompt.box_xyxy
            rows, columns = (each.ravel() for each in np.mgrid[y1:y2, x1:x2])
        rows, columns = rows + steps * self.parent.dy, columns + steps * self.parent.dx
        inside = (rows >= 0) & (rows < HEIGHT) & (columns >= 0) & (columns < WIDTH)
        mask = np.zeros((HEIGHT, WIDTH), np.bool_)
        mask[rows[inside], columns[inside]] = True
        return mask


def follow(
    folder: Path,
    frames: int | Frames,
    candidates: Mapping[int, list[FrameCandidates]] | list[FrameCandidates],
    propagator: Any = None,
    **settings: Any,
) -> tuple[MaskletSummary, list[MaskletRow]]:
    """Run the stage; returns the summary and the rows of the table."""
    video = Frames(frames) if isinstance(frames, int) else frames
    by_level = candidates if isinstance(candidates, Mapping) else {1: candidates}
    sources = {level: (lambda listed=listed: iter(listed)) for level, listed in by_level.items()}
    draft = Draft.open(folder)
    chosen = MaskletSettings(**{"render_previews": False, "overlap": 1, "min_support": 1} | settings)
    summary = track_masklets(sources, video, video.names, propagator or Shifts(), chosen, draft, recording="drive")
    draft.finish()
    return summary, list(masklet_table.read(folder / masklet_table.FILE_NAME))


def places(rows: list[MaskletRow]) -> dict[int, dict[int, int]]:
    """Left edge by masklet and frame."""
    found: dict[int, dict[int, int]] = {}
    for row in rows:
        found.setdefault(row.masklet_id, {})[row.frame_index] = row.x1
    return found
