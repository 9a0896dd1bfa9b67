"""Mask candidates: what may be an object in a frame, before anybody says that it is one and follows it.

They lie in a tree with a folder for each level, a level being how finely a picture is taken apart: `level_<L>/filtered/filtered.json`,
`{"level": L, "frames": [{"frame_idx", "frame_name", "count", "items": [...]}]}`, the layout that mask trackers of the format's first tool
read (`bbox` is x, y, width, height; `stability_score`; `mask` packed, where it was asked for). Ours besides are `frame_id`, `local_index`,
`candidate_id`, `class_id`, `score`, `source` and `mask_rle`. Trees of other tools are read by `tree.py`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lamm_pipeline.errors import InputError
from lamm_pipeline.geometry import packed_mask, rle
from lamm_pipeline.storage import json_array

FRAMES_KEY = "frames"
_FILE = Path("filtered") / "filtered.json"


@dataclass(frozen=True)
class MaskCandidate:
    """One proposal in one frame.

    Attributes:
        candidate_id: `<frame id>:<n>`, of a detection its detection id.
        class_id: of the ontology; None where the source knows no classes.
        score: in 0..1, None where the source has none.
        stability: in 0..1, how little the mask changes with its threshold; None where the source does not say.
        box_xyxy: pixels of the left image.
        mask_rle: COCO RLE of the mask in the left image's size; None for a candidate that is only a box.
        area: pixels in the mask, or in the box.
        source: `detections`, `sam2`, `external` or `gap_fill`.
    """

    candidate_id: str
    class_id: str | None
    score: float | None
    stability: float | None
    box_xyxy: tuple[float, float, float, float]
    mask_rle: dict[str, Any] | None
    area: int
    source: str


@dataclass(frozen=True)
class FrameCandidates:
    """The candidates of one frame.

    Attributes:
        frame_id: `<recording>:<frame index, 6 digits>`.
        local_index: position among the frames that the candidates were made for, from 0.
        frame_index: index in the recording.
        candidates: best first.
    """

    frame_id: str
    local_index: int
    frame_index: int
    candidates: tuple[MaskCandidate, ...]


class LevelReader:
    """The candidates of one level, read a frame at a time, in their order or by frame index. Safe to use from several threads.

    Args:
        level_folder: `level_<L>` of a tree that this package wrote.

    Raises:
        InputError: the file is missing or damaged.
    """

    def __init__(self, level_folder: Path) -> None:
        self._path = level_folder / _FILE
        self._spans: dict[int, json_array.Span] = {}
        for span in json_array.spans(self._path, FRAMES_KEY):
            self._spans[self._frame(span).frame_index] = span

    @property
    def frame_indices(self) -> tuple[int, ...]:
        """Indices in the recording of the frames that candidates were made for, ascending; those without any are among them."""
        return tuple(self._spans)

    def __len__(self) -> int:
        return len(self._spans)

    def __iter__(self) -> Iterator[FrameCandidates]:
        return (self._frame(span) for span in self._spans.values())

    def at(self, frame_index: int) -> FrameCandidates | None:
        """The candidates of a frame, None where none were made for it."""
        span = self._spans.get(frame_index)
        return None if span is None else self._frame(span)

    def _frame(self, span: json_array.Span) -> FrameCandidates:
        try:
            return frame_from_json(json_array.read(self._path, span))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"A frame of {self._path} is not as this version writes it ({error!r}); make the candidates again.") from None


def read(folder: Path) -> dict[int, Path]:
    """The levels of a tree, ascending, with their folders.

    Raises:
        InputError: there are none.
    """
    named = ((re.fullmatch(r"level_(\d+)", path.parents[1].name), path.parents[1]) for path in folder.glob(f"level_*/{_FILE.as_posix()}"))
    levels = {int(match[1]): path for match, path in named if match is not None}
    if not levels:
        raise InputError(f"There is no level_<number>/{_FILE.as_posix()} in {folder}; give the folder that the levels lie in.")
    return dict(sorted(levels.items()))


def read_level(level_folder: Path) -> LevelReader:
    """The candidates of one level of a tree that this package wrote.

    Raises:
        InputError: the file is missing or damaged.
    """
    return LevelReader(level_folder)


def filtered_json(level_folder: Path) -> Path:
    """The file of a level."""
    return level_folder / _FILE


def write_level(folder: Path, level: int, frames: Iterable[Mapping[str, Any]], *, mask_scale_ratio: float = 1.0) -> Path:
    """Write one level, streaming `frames`.

    Args:
        folder: of the tree.
        level: its number.
        frames: as `frame_to_json` makes them, by ascending frame index.
        mask_scale_ratio: of the packed masks, where there are any.

    Returns:
        The file.
    """
    path = folder / f"level_{level}" / _FILE
    json_array.write(path, {"level": level, "mask_scale_ratio": mask_scale_ratio}, FRAMES_KEY, frames)
    return path


def frame_to_json(frame: FrameCandidates, *, packed: bool = False, mask_scale_ratio: float = 1.0) -> dict[str, Any]:
    """The frame as it stands in the file.

    Args:
        frame: the candidates.
        packed: also write each mask packed, which is what other tools read, and a thousand times larger.
        mask_scale_ratio: scale of the packed masks.
    """
    items = [_item(number, each) for number, each in enumerate(frame.candidates)]
    if packed:
        for item, candidate in zip(items, frame.candidates, strict=True):
            if candidate.mask_rle is not None:
                item["mask"] = packed_mask.to_json(packed_mask.pack(rle.decode(candidate.mask_rle), mask_scale_ratio))
    return {
        "frame_idx": frame.frame_index,
        "frame_name": f"{frame.frame_index:06d}.png",
        "frame_id": frame.frame_id,
        "local_index": frame.local_index,
        "count": len(items),
        "items": items,
    }


def frame_from_json(stored: Mapping[str, Any]) -> FrameCandidates:
    """The inverse of `frame_to_json`."""
    candidates = tuple(_candidate(item) for item in stored["items"])
    return FrameCandidates(stored["frame_id"], stored["local_index"], stored["frame_idx"], candidates)


def _item(number: int, candidate: MaskCandidate) -> dict[str, Any]:
    x1, y1, x2, y2 = candidate.box_xyxy
    return {
        "id": number,
        "candidate_id": candidate.candidate_id,
        "class_id": candidate.class_id,
        "score": candidate.score,
        "stability_score": candidate.stability,
        "bbox": [round(x1, 2), round(y1, 2), round(x2 - x1, 2), round(y2 - y1, 2)],
        "area": candidate.area,
        "source": candidate.source,
        "mask_rle": candidate.mask_rle,
    }


def _candidate(item: Mapping[str, Any]) -> MaskCandidate:
    x, y, width, height = item["bbox"]
    return MaskCandidate(
        candidate_id=item["candidate_id"],
        class_id=item["class_id"],
        score=item["score"],
        stability=item["stability_score"],
        box_xyxy=(x, y, round(x + width, 2), round(y + height, 2)),
        mask_rle=item["mask_rle"],
        area=item["area"],
        source=item["source"],
    )
