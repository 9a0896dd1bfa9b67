"""Candidates made elsewhere: a tree `level_*/filtered/filtered.json` in the layout of the format's first tool and its relatives.

A frame is `{"frame_idx", "frame_name", "items"}`. An item has a mask (`mask` or `segmentation`: packed, COCO runs or polygons, or the path
of a PNG or NPY file beside the JSON; `mask_rle`; or its plane of the stack `seg_frame_<index>.npy`), a box (`bbox` as x, y, width, height,
or `bbox_xyxy`), a score and a stability. Masks may be smaller than the image and are scaled to it. An item whose mask cannot be read is
proposed by its box; what has neither is left out. Both are counted, and so are frames that the recording does not have.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np

from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction.frame_registry import FrameRecord, FrameRegistry
from lamm_pipeline.geometry import packed_mask, rle
from lamm_pipeline.geometry.boxes_2d import box_of_mask, clip_xyxy, xywh_to_xyxy
from lamm_pipeline.geometry.packed_mask import Mask
from lamm_pipeline.segmentation.candidates import mask_candidates
from lamm_pipeline.segmentation.candidates.mask_candidates import MaskCandidate
from lamm_pipeline.segmentation.candidates.proposer import Proposal
from lamm_pipeline.segmentation.candidates.settings import CandidateSettings
from lamm_pipeline.storage import json_array
from lamm_pipeline.storage.atomic import digest_json, sha256_file

BOX_ONLY = "mask not readable, its box taken"
NEITHER = "neither mask nor box readable"
MOST_NAMED = 20
"""Frames that are named in the report; the others are counted."""


class ExternalTree:
    """Proposes what a tree of another tool holds. Memory does not grow with its files.

    Args:
        settings: of the stage.

    Raises:
        InputError: the folder is not given or has no such tree, or lacks a wanted level.
    """

    def __init__(self, settings: CandidateSettings) -> None:
        if settings.external is None:
            raise InputError("The source 'external' needs the folder that `level_*` lie in; set `external` to it.")
        folder = Path(settings.external).expanduser()
        found = mask_candidates.read(folder)
        missing = [level for level in settings.levels if level not in found]
        if missing:
            raise InputError(
                f"{folder} has the levels {', '.join(map(str, found))}, but not {', '.join(map(str, missing))}; correct `levels`."
            )
        self._folders = {level: path for level, path in found.items() if level in settings.levels or not settings.levels}
        self._size = (0, 0)
        self._places: dict[str, dict[int, json_array.Span]] = {}

    @property
    def identity(self) -> Mapping[str, Any]:
        """See `Proposer`."""
        files = {
            f"{level}/{path.relative_to(folder).as_posix()}": sha256_file(path)
            for level, folder in self._folders.items()
            for path in sorted((folder / "filtered").rglob("*"))
            if path.is_file()
        }
        return {"source": "external", "files_sha256": digest_json(files)}

    @property
    def levels(self) -> tuple[int, ...]:
        """See `Proposer`."""
        return tuple(self._folders)

    def begin(self, registry: FrameRegistry) -> Mapping[str, Any]:
        """Match the tree's frames with those of the recording, by frame id, name, or index.

        Raises:
            InputError: none of them is in this recording, or a file is damaged.
        """
        self._size = (registry.height, registry.width)
        self._places = {}
        names = _names(registry.selected_frames)
        unmatched: list[str] = []
        repeated = 0
        for level, folder in self._folders.items():
            path = mask_candidates.filtered_json(folder)
            for span in json_array.spans(path, mask_candidates.FRAMES_KEY):
                stored = json_array.read(path, span)
                frame_id = _match(stored, names)
                if frame_id is None:
                    unmatched.append(f"level {level}: {_said(stored)}")
                elif level in self._places.setdefault(frame_id, {}):
                    repeated += 1
                else:
                    self._places[frame_id][level] = span
        if not self._places:
            raise InputError(
                f"None of the {len(unmatched)} frames in {', '.join(str(folder) for folder in self._folders.values())} is one of the "
                f"{len(registry.selected_frames)} of {registry.recording}; their `frame_name` or `frame_idx` must be those of its images."
            )
        return {
            "external": {
                "matched": len(self._places),
                "without_candidates": len(registry.selected_frames) - len(self._places),
                "unmatched": len(unmatched),
                "unmatched_frames": unmatched[:MOST_NAMED],
                "repeated": repeated,
            }
        }

    def knows(self, frame: FrameRecord) -> bool:
        """Those that the tree has in any level."""
        return frame.frame_id in self._places

    def proposals(self, frames: Sequence[FrameRecord]) -> Iterator[Callable[[], Proposal]]:
        """See `Proposer`."""
        return (partial(self._propose, frame) for frame in frames)

    def _propose(self, frame: FrameRecord) -> Proposal:
        places = self._places[frame.frame_id]
        refused: Counter[str] = Counter()
        by_level: dict[int, tuple[MaskCandidate, ...]] = {}
        number = 0
        for level, folder in self._folders.items():
            stored = json_array.read(mask_candidates.filtered_json(folder), places[level]) if level in places else {}
            items = stored.get("items") or []
            found = []
            for position, item in enumerate(items if isinstance(items, list) else []):
                candidate = self._candidate(item, position, stored, folder / "filtered", f"{frame.frame_id}:{number}", refused)
                if candidate is not None:
                    found.append(candidate)
                    number += 1
            by_level[level] = tuple(found)
        return Proposal(by_level, dict(refused))

    def _candidate(
        self, item: Any, position: int, frame: Mapping[str, Any], folder: Path, candidate_id: str, refused: Counter[str]
    ) -> MaskCandidate | None:
        fields = item if isinstance(item, dict) else {}
        try:
            mask = _mask(fields, position, frame, folder, self._size)
        except (InputError, OSError, ValueError, TypeError, EOFError, LookupError, cv2.error):
            mask, unreadable = None, True
        else:
            unreadable = False
        box_xyxy = _box(fields, self._size) if mask is None else box_of_mask(mask)
        if box_xyxy is None:
            refused[NEITHER] += 1
            return None
        if unreadable:
            refused[BOX_ONLY] += 1
        x1, y1, x2, y2 = box_xyxy
        class_id = fields.get("class_id")
        return MaskCandidate(
            candidate_id=candidate_id,
            class_id=class_id if isinstance(class_id, str) else None,
            score=_share(fields, "score", "confidence", "predicted_iou"),
            stability=_share(fields, "stability_score", "stability"),
            box_xyxy=box_xyxy,
            mask_rle=None if mask is None else rle.encode(mask),
            area=round((x2 - x1) * (y2 - y1)) if mask is None else int(mask.sum()),
            source="external",
        )


@dataclass(frozen=True)
class _Names:
    """What the frames of a recording may be called: by their image's name, and by number where that says nothing."""

    by_name: Mapping[str, str]
    by_index: Mapping[int, str]


def _names(frames: Sequence[FrameRecord]) -> _Names:
    by_name: dict[str, str] = {}
    for frame in frames:
        image = frame.source_name or frame.filename_base
        by_name |= {frame.frame_id: frame.frame_id, image: frame.frame_id, PurePosixPath(image).stem: frame.frame_id}
    return _Names(by_name, {frame.svo2_frame_index: frame.frame_id for frame in frames})


def _match(stored: Any, names: _Names) -> str | None:
    """Id of the frame that an entry is about, None when the recording has none such. Old trees name it in their items only."""
    fields = stored if isinstance(stored, dict) else {}
    items = fields.get("items")
    first = items[0] if isinstance(items, list) and items and isinstance(items[0], dict) else {}
    for text in (fields.get("frame_id"), fields.get("frame_name"), first.get("frame_name")):
        if isinstance(text, str):
            path = PurePosixPath(text)
            for name in (text, path.name, path.stem):
                if name in names.by_name:
                    return names.by_name[name]
    index = fields.get("frame_idx", fields.get("frame_index"))
    return names.by_index.get(index) if isinstance(index, int) else None


def _said(stored: Any) -> str:
    """How an entry names its frame, for people."""
    fields = stored if isinstance(stored, dict) else {}
    told = [f"{key} {fields[key]!r}" for key in ("frame_name", "frame_idx", "frame_index") if key in fields]
    return ", ".join(told)[:200] or "an entry without frame_name and frame_idx"


def _mask(item: Mapping[str, Any], position: int, frame: Mapping[str, Any], folder: Path, size: packed_mask.Shape) -> Mask | None:
    """The mask of an item at the size of the image, None when it has none.

    Raises:
        InputError: it is empty, of another size, or in a form that is not known. Errors of the libraries that read it come as they are.
    """
    given = next((item[key] for key in ("mask", "segmentation", "mask_rle", "mask_path") if item.get(key) is not None), None)
    if given is None:
        stack = folder / f"seg_frame_{int(frame['frame_idx']):05d}.npy" if "frame_idx" in frame else folder
        if not stack.is_file():
            return None
        planes = np.load(stack, mmap_mode="r", allow_pickle=False)
        mask = np.asarray(planes[position]) != 0
    elif isinstance(given, str):
        mask = _mask_file(folder, given)
    elif isinstance(given, Mapping) and packed_mask.SHAPE in given:
        _check_size(packed_mask.full_shape(given), size)
        mask = packed_mask.unpack(given)
    elif isinstance(given, Mapping) and "counts" in given:
        rows, columns = (int(side) for side in given["size"])
        _check_size((rows, columns), size)
        mask = rle.decode_segmentation(given, columns, rows)
    else:
        mask = rle.decode_segmentation(given, size[1], size[0])
    _check_size((mask.shape[0], mask.shape[1]), size)
    if not mask.any():
        raise InputError("the mask is empty")
    return packed_mask.resize(mask, size)


def _mask_file(folder: Path, name: str) -> Mask:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise InputError(f"the mask {name} lies outside {folder}")
    if path.suffix == ".npy":
        pixels = np.load(folder / path, allow_pickle=False)
    else:
        pixels = cv2.imdecode(np.frombuffer((folder / path).read_bytes(), np.uint8), cv2.IMREAD_GRAYSCALE)
    if pixels is None or pixels.ndim != 2:
        raise InputError(f"the mask {name} is no picture of one channel")
    mask: Mask = np.asarray(pixels != 0, dtype=bool)
    return mask


def _check_size(shape: packed_mask.Shape, size: packed_mask.Shape) -> None:
    """Refuse a mask that is not of the image's proportions: sides of smaller ones are rounded to a pixel."""
    (rows, columns), (height, width) = shape, size
    if rows > height or columns > width or abs(rows * width - columns * height) > max(height, width):
        raise InputError(f"a mask of {rows} x {columns} pixels in an image of {height} x {width}")


def _box(item: Mapping[str, Any], size: packed_mask.Shape) -> tuple[float, float, float, float] | None:
    """The box of an item within the image, None when it has none with an area."""
    xywh, xyxy = item.get("bbox"), item.get("bbox_xyxy")
    given = xywh if xywh is not None else xyxy
    if not isinstance(given, list) or len(given) != 4 or not all(isinstance(side, int | float) and np.isfinite(side) for side in given):
        return None
    corners = xywh_to_xyxy(given) if xywh is not None else np.asarray(given, np.float64)
    x1, y1, x2, y2 = (round(float(side), 2) for side in clip_xyxy(corners, size[1], size[0]))
    return (x1, y1, x2, y2) if x2 - x1 >= 1.0 and y2 - y1 >= 1.0 else None


def _share(item: Mapping[str, Any], *keys: str) -> float | None:
    """The first of these fields that is a number in 0..1."""
    for key in keys:
        value = item.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0.0 <= value <= 1.0:
            return float(value)
    return None
