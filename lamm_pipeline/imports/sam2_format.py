"""The SAM2 export format: its names, and its two documents as they are read.

    annotations.json            what is where: video, export settings, objects by frame
    metadata.json               who wrote it, video, statistics
    images/frame_000012.png     by frame index; PNG or JPEG

The export of this package has the same, and under the key `lamm` of documents, frames and objects what the format has no place for.
"""

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from lamm_pipeline.errors import InputError
from lamm_pipeline.imports.problems import Problem
from lamm_pipeline.imports.settings import RAISE_THE_LIMIT, ZipLimits
from lamm_pipeline.storage import json_array
from lamm_pipeline.storage.json_array import Span, TooLongError

FORMAT_VERSION = "1.0"
EXPORTER_VERSION = "1.0.0"
EXPORTER = "lamm_pipeline"
DEMO_EXPORTER = "SAM2 Demo Export Tool"
"""Writes masks by rows and without their size, the same score and rate everywhere, and paints the masks onto the images."""
DEMO_FPS = 30.0

FRAMES = "annotations"
NAMESPACE = "lamm"
MAX_FRAME_INDEX = 999_999_999
MAX_SIDE = 1 << 20


@dataclass(frozen=True)
class VideoFacts:
    """What an export says about its video; None where it says nothing, or nothing sensible."""

    filename: str | None = None
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    total_frames: int | None = None

    @property
    def size(self) -> tuple[int, int] | None:
        """Rows and columns, if both are known."""
        return None if self.width is None or self.height is None else (self.height, self.width)


@dataclass(frozen=True)
class Documents:
    """Both documents of an export, the frames left in their file.

    Attributes:
        video: of metadata.json, and of annotations.json where that says nothing.
        exporter: name of the tool, None when unknown.
        own: what this package has written under its key.
        bare_masks: whether there is a mask that is a bare list of runs.
        frames: where the entry of each frame lies, by frame index, in its order.
        problems: what is wrong with the documents.
    """

    video: VideoFacts
    exporter: str | None
    own: Mapping[str, Any]
    bare_masks: bool
    frames: dict[int, Span]
    problems: list[Problem]

    @property
    def by_demo_tool(self) -> bool:
        """Whether `DEMO_EXPORTER` wrote the export: it says so, or nothing says who did and its masks are as only that tool writes them."""
        return self.exporter == DEMO_EXPORTER or (self.exporter is None and self.bare_masks)


def read_documents(annotations: Path, metadata: bytes | None, source: str, limits: ZipLimits) -> Documents:
    """Read what an export says, but for the objects.

    Args:
        annotations: the unpacked annotations.json.
        metadata: content of metadata.json, None where there is none.
        source: what to call the ZIP in sentences.
        limits: how long the list of frames and one of its entries may be.

    Raises:
        InputError: a document is no JSON, not of this form, or beyond the limits.
    """
    where = f"annotations.json in {source}"
    head: dict[str, Any] = {}
    try:
        spans = list(islice(json_array.spans(annotations, FRAMES, head, most_bytes=limits.max_entry_mb * 1e6), limits.max_members + 1))
    except RecursionError:
        raise InputError(f"{where} is nested too deeply. Give the file as the exporter wrote it.") from None
    except InputError as error:
        if isinstance(error.__cause__, TooLongError):
            raise InputError(f"{where} is refused: {error.__cause__} (max_entry_mb). {RAISE_THE_LIMIT}") from None
        raise InputError(f"{where} is not valid JSON with a list `{FRAMES}` ({error.__cause__}). Export it again.") from None
    if len(spans) > limits.max_members:
        raise InputError(f"{where} lists more than the {limits.max_members} frames that are allowed (max_members). {RAISE_THE_LIMIT}")
    head = _clean(head)
    told = _metadata(metadata, f"metadata.json in {source}")
    problems: list[Problem] = []
    video = _merged(_video(told.get("video"), "metadata.json", problems), _video(head.get("video"), "annotations.json", problems), problems)
    exporter = _mapping(told.get("export_info")).get("exporter")
    frames, bare_masks = _frames(annotations, spans, problems)
    if spans and not frames:
        raise InputError(
            f"No entry of the list `{FRAMES}` of {where} has a usable frame_index: it is no SAM2 export. {problems[-1].sentence}"
        )
    return Documents(video, exporter if isinstance(exporter, str) else None, _mapping(head.get(NAMESPACE)), bare_masks, frames, problems)


def parse(content: bytes) -> Any:
    """The JSON value in `content`; halves of characters, which no file can hold, are replaced.

    Raises:
        ValueError: it is none.
        RecursionError: it is nested too deeply.
    """
    return _clean(json.loads(content.decode("utf-8-sig"))) if b"\\u" in content else json.loads(content.decode("utf-8-sig"))


def whole(value: Any) -> int | None:
    """The whole number that a JSON value is, also when written as 3.0; None for anything else."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def number(value: Any) -> float | None:
    """The finite number that a JSON value is; None for anything else."""
    if not isinstance(value, int | float) or isinstance(value, bool) or abs(value) > sys.float_info.max or not math.isfinite(value):
        return None
    return float(value)


def within(value: int | None, lowest: int, highest: int) -> int | None:
    """The number, None where it lies outside of the two bounds."""
    return value if value is not None and lowest <= value <= highest else None


def _metadata(content: bytes | None, where: str) -> Mapping[str, Any]:
    if content is None:
        return {}
    try:
        value = parse(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is not valid JSON ({error}). Export it again, or leave the file out.") from None
    if not isinstance(value, dict):
        raise InputError(f"{where} is no JSON object. Export it again, or leave the file out.")
    return value


def _video(value: Any, where: str, problems: list[Problem]) -> VideoFacts:
    """The facts of a `video` block; what is there but makes no sense is a problem."""
    block = _mapping(value)
    if value is not None and not isinstance(value, dict):
        problems.append(Problem("document", f"`video` in {where} is no object."))
    fps = block["fps"] if block.get("fps") is not None else block.get("source_fps")
    filename = block.get("filename")
    found = VideoFacts(
        filename=filename if isinstance(filename, str) and filename.strip() else None,
        width=within(whole(block.get("width")), 1, MAX_SIDE),
        height=within(whole(block.get("height")), 1, MAX_SIDE),
        fps=rate if (rate := number(fps)) is not None and rate > 0 else None,
        total_frames=within(whole(block.get("total_frames")), 0, MAX_FRAME_INDEX + 1),
    )
    for name, given in {**{name: block.get(name) for name in ("filename", "width", "height", "total_frames")}, "fps": fps}.items():
        if given is not None and getattr(found, name) is None:
            problems.append(Problem("document", f"`video.{name}` in {where} is {str(given)[:50]!r}, which makes no sense; it is not used."))
    return found


def _merged(first: VideoFacts, second: VideoFacts, problems: list[Problem]) -> VideoFacts:
    """The facts of the first, filled up from the second; where both differ the first counts, and it is a problem."""
    one, other = asdict(first), asdict(second)
    for name, value in one.items():
        if value is not None and other[name] is not None and value != other[name]:
            sentence = f"metadata.json says {name} = {value!r}, annotations.json {other[name]!r}; the first is used."
            problems.append(Problem("contradiction", sentence))
    return VideoFacts(**{name: other[name] if value is None else value for name, value in one.items()})


def _frames(annotations: Path, spans: list[Span], problems: list[Problem]) -> tuple[dict[int, Span], bool]:
    """The entries that are frames, and whether there is a mask among them that is a bare list of runs."""
    found: dict[int, Span] = {}
    bare_masks = False
    with annotations.open("rb") as file:
        for position, span in enumerate(spans):
            file.seek(span.offset)
            try:
                entry = parse(file.read(span.length))
            except ValueError:
                entry = None
            index = within(whole(entry.get("frame_index")), 0, MAX_FRAME_INDEX) if isinstance(entry, dict) else None
            if index is None:
                given = entry.get("frame_index") if isinstance(entry, dict) else entry
                sentence = f"Entry {position} of annotations.json has no usable frame_index ({str(given)[:50]!r}); it is left out."
                problems.append(Problem("frame", sentence))
            elif index in found:
                sentence = f"Frame {index} is listed twice; entry {position} of annotations.json is left out."
                problems.append(Problem("duplicate_frame", sentence, index))
            else:
                found[index] = span
                bare_masks = bare_masks or _has_bare_mask(entry)
    return dict(sorted(found.items())), bare_masks


def _has_bare_mask(entry: Mapping[str, Any]) -> bool:
    objects = entry.get("objects")
    return isinstance(objects, list) and any(isinstance(_mapping(each).get("mask_rle"), str) for each in objects)


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_clean(name): _clean(each) for name, each in value.items()}
    return [_clean(each) for each in value] if isinstance(value, list) else value


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
