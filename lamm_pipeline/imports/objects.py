"""The objects of one frame of an export as annotations, in the form of the sample table's rows.

Boxes and areas are taken as given, but not beside a mask that is a bare list of runs: the one tool that writes such lists, the SAM2 Demo
Export Tool, measures both on the grid of the model's decoder, and the box on a transposed one. There the mask says them.
"""

import itertools
import re
from collections import Counter
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import Any

from lamm_pipeline.errors import InputError
from lamm_pipeline.geometry import rle
from lamm_pipeline.geometry.box_3d import Box3D
from lamm_pipeline.imports.labels import Labels
from lamm_pipeline.imports.mask_forms import Size, to_coco
from lamm_pipeline.imports.problems import Problem
from lamm_pipeline.imports.sam2_format import NAMESPACE, number, whole, within
from lamm_pipeline.sample_table import Annotation, PlacedBox

MAX_OBJECTS = 10_000
LABEL_LENGTH = 200
MAX_TRACK_ID = 1 << 62
MAX_TRACK_LENGTH = (1 << 31) - 1
MAX_COORDINATE = 1e9
SOURCE = "import"

Box = tuple[float, float, float, float]


@dataclass
class FrameObjects:
    """What became of the objects of a frame.

    Attributes:
        annotations: of the sound ones.
        labels: class id by label.
        problems: what is wrong with the objects.
    """

    annotations: list[Annotation] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def read_objects(objects: Any, frame_id: str, frame: int, size: Size, labels: Labels, *, by_rows: bool) -> FrameObjects:
    """Read the list `objects` of a frame.

    Args:
        objects: as JSON has it.
        frame_id: of the frame.
        frame: its index.
        size: of its image.
        labels: tell classes.
        by_rows: whether the runs of masks that are bare lists go along the rows.
    """
    found = FrameObjects()
    used: set[str] = set()
    for position, value in enumerate(_listed(objects, frame, found)):
        if not isinstance(value, dict):
            sentence = f"Object {position} of frame {frame} is no JSON object; it is left out."
            found.problems.append(Problem("object", sentence, frame))
            continue
        reader = _ObjectReader(value, f"Object {position} of frame {frame}", frame, found)
        annotation = reader.annotation(reader.detection_id(frame_id, used), size, labels, by_rows=by_rows)
        if annotation is not None:
            used.add(annotation.detection_id)
            found.annotations.append(annotation)
    for track_id, count in Counter(each.track_id for each in found.annotations if each.track_id is not None).items():
        if count > 1:
            sentence = f"{count} objects of frame {frame} have the object_id {track_id}, which should be one object's; all keep it."
            found.problems.append(Problem("object", sentence, frame))
    return found


def box_xywh(box_xyxy: Box) -> list[float]:
    """Corner and size of a box, as exports write it."""
    x1, y1, x2, y2 = box_xyxy
    return [x1, y1, x2 - x1, y2 - y1]


def _listed(objects: Any, frame: int, found: FrameObjects) -> list[Any]:
    if objects is None:
        return []
    if not isinstance(objects, list):
        found.problems.append(Problem("frame", f"The objects of frame {frame} are no list; they are left out.", frame))
        return []
    if len(objects) > MAX_OBJECTS:
        sentence = f"Frame {frame} lists {len(objects):,} objects, more than {MAX_OBJECTS:,}; they are left out."
        found.problems.append(Problem("frame", sentence, frame))
        return []
    return objects


class _ObjectReader:
    def __init__(self, value: Mapping[str, Any], where: str, frame: int, found: FrameObjects) -> None:
        self._value = value
        own = value.get(NAMESPACE)
        self._own: Mapping[str, Any] = own if isinstance(own, dict) else {}
        self._where = where
        self._frame = frame
        self._found = found

    def detection_id(self, frame_id: str, used: Set[str]) -> str:
        """The id that this package has written, else the next one that is free."""
        own = self._own.get("detection_id")
        if isinstance(own, str) and own not in used and re.fullmatch(re.escape(frame_id) + r":[0-9]{1,9}", own):
            return own
        return next(each for n in itertools.count(len(used)) if (each := f"{frame_id}:{n}") not in used)

    def annotation(self, detection_id: str, size: Size, labels: Labels, *, by_rows: bool) -> Annotation | None:
        """The annotation, None where there is nothing to place it by."""
        mask, mask_problem = self._mask(size, by_rows=by_rows)
        bbox, area = self._value.get("bbox"), self._value.get("area")
        if mask is not None and isinstance(self._value.get("mask_rle"), str):
            bbox = area = None
            if not rle.area(mask):
                self._tell("unseen_object", "Its mask has no pixels; it is left out.")
                return None
        box = self._box(bbox, mask)
        if box is None:
            return None
        track_id = self._track_id()
        score = self._score()
        own = self._own
        corrected = own.get("corrected")
        return Annotation(
            detection_id=detection_id,
            class_id=self._class_id(labels, track_id),
            box_xyxy=box,
            mask_rle=mask,
            mask_problem=mask_problem,
            area=self._area(area, mask),
            score=score,
            score_source=_one_of(own.get("score_source"), "model", "constant") if score is not None else None,
            track_id=None if NAMESPACE in self._value and own.get("track_id", 0) is None else track_id,
            track_length=within(whole(own.get("track_length")), 0, MAX_TRACK_LENGTH) or 0,
            box_3d=_placed(own.get("box_3d")),
            source=_one_of(own.get("source"), "model", "human") or SOURCE,
            reviewed=own.get("reviewed") is True,
            corrected=tuple(each for each in ("class", "box", "mask") if isinstance(corrected, list) and each in corrected),
        )

    def _mask(self, size: Size, *, by_rows: bool) -> tuple[dict[str, Any] | None, str | None]:
        given = self._value.get("mask_rle")
        if given is None:
            problem = self._own.get("mask_problem")
            return None, problem if isinstance(problem, str) else None
        try:
            return to_coco(given, size, by_rows=by_rows), None
        except InputError as error:
            self._tell("mask", str(error))
            return None, str(error)

    def _box(self, given: Any, mask: Mapping[str, Any] | None) -> Box | None:
        numbers = [number(each) for each in given] if isinstance(given, list) else []
        sides = [each for each in numbers if each is not None and abs(each) <= MAX_COORDINATE]
        if len(sides) == len(numbers) == 4:
            x, y, width, height = sides
            return self._exact_box(sides) or (x, y, x + width, y + height)
        if given is not None:
            self._tell("box", f"Its bbox is {str(given)[:50]!r} instead of [x, y, width, height].")
        if mask is not None:
            try:
                rle.check(mask)
            except InputError as error:
                self._tell("mask", str(error))
            else:
                x1, y1, x2, y2 = rle.box_xyxy(mask)
                return float(x1), float(y1), float(x2), float(y2)
        self._tell("object", "It has neither a usable bbox nor a usable mask; it is left out.")
        return None

    def _exact_box(self, given: list[float]) -> Box | None:
        """The corners as this package has written them, if somebody has not changed `bbox` since."""
        corners = self._own.get("box_xyxy")
        numbers = [number(each) for each in corners] if isinstance(corners, list) else []
        exact = tuple(each for each in numbers if each is not None)
        if len(exact) != 4:
            return None
        x1, y1, x2, y2 = exact
        return (x1, y1, x2, y2) if box_xywh((x1, y1, x2, y2)) == given else None

    def _class_id(self, labels: Labels, track_id: int | None) -> str:
        label, no_label = self._value.get("label"), f"object_{'unknown' if track_id is None else track_id}"
        if label is not None and not isinstance(label, str):
            self._tell("object", f"Its label is {str(label)[:50]!r}, which is no text; it counts as none.")
        unnamed = {"", no_label} if NAMESPACE not in self._value else {""}  # the demo tool names what has no name, this package does not
        if isinstance(label, str) and label.strip() not in unnamed:
            class_id = labels.class_of(label)
        else:
            label, class_id = no_label, labels.class_without_label(no_label)
        self._found.labels[label.strip()[:LABEL_LENGTH]] = class_id
        return class_id

    def _track_id(self) -> int | None:
        given = self._value.get("object_id")
        found = int(given) if isinstance(given, str) and given.isascii() and given.isdigit() and len(given) < 19 else whole(given)
        if found is not None and abs(found) <= MAX_TRACK_ID:
            return found
        if given is not None:
            self._tell("object", f"Its object_id is {str(given)[:50]!r} instead of a whole number; it has no identity.")
        return None

    def _score(self) -> float | None:
        given = self._value.get("confidence")
        score = number(given)
        if score is not None and 0.0 <= score <= 1.0:
            return score
        if given is not None:
            self._tell("score", f"Its confidence is {str(given)[:50]!r} instead of a number from 0 to 1; it has none.")
        return None

    def _area(self, given: Any, mask: Mapping[str, Any] | None) -> int:
        pixels = number(given)
        if pixels is not None and 0.0 <= pixels < MAX_TRACK_ID:
            return round(pixels)
        if given is not None:
            self._tell("object", f"Its area is {str(given)[:50]!r} instead of a number of pixels; the mask's is taken.")
        if mask is None:
            return 0
        try:
            rle.check(mask)
        except InputError:
            return 0  # the validation names the mask
        return rle.area(mask)

    def _tell(self, kind: str, sentence: str) -> None:
        self._found.problems.append(Problem(kind, f"{self._where}: {sentence}", self._frame))


def _placed(value: Any) -> PlacedBox | None:
    """The 3D box that this package has written; None where there is none, or somebody has damaged it."""
    if not isinstance(value, dict):
        return None
    sides = {name: number(value.get(name)) for name in (*Box3D.__dataclass_fields__, "alpha", "truncated")}
    occluded, source = within(whole(value.get("occluded")), 0, 3), _one_of(value.get("source"), "frame", "track", "import")
    numbers = {name: each for name, each in sides.items() if each is not None}
    if len(numbers) != len(sides) or occluded is None or source is None:
        return None
    alpha, truncated = numbers.pop("alpha"), numbers.pop("truncated")
    return PlacedBox(Box3D(**numbers), alpha, truncated, occluded, source)


def _one_of(value: Any, *words: str) -> str | None:
    return value if isinstance(value, str) and value in words else None
