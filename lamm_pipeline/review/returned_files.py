"""COCO files that come back from a labelling tool, as decisions.

Many tools drop what they do not know, so an image is known by frame id, file name, frame index or time
(`segmentation/prediction_matching.py`), an annotation by its `detection_id` or else by the best overlap.

The file is compared with what is there now. Another class, box or mask becomes a decision; so does an annotation that is gone (`exclude`),
one that is as it was (`keep`) and an image without any (`reviewed_empty`): an image in the file has been looked at. New objects, objects of
classes that the ontology does not have, and everything else that does not match are reported, and nothing is said of them. Importing a file
a second time says nothing new.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.catalog.decisions import NewDecision
from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction.frame_registry import FrameRegistry
from lamm_pipeline.geometry import rle
from lamm_pipeline.geometry.boxes_2d import box_of_mask, clip_xyxy, iou_matrix
from lamm_pipeline.ontology.ontology import ObjectClass, Ontology
from lamm_pipeline.review.decision_files import polygons
from lamm_pipeline.review.decisions import Action, BoxXyxy, DecisionState, SubjectKind, outcome
from lamm_pipeline.segmentation.detections import Detection, FrameDetections
from lamm_pipeline.segmentation.prediction_files import PredictedFrame, Prediction, read_predictions
from lamm_pipeline.segmentation.prediction_matching import match

BOX_TOLERANCE_PX = 1.0
"""Tools round; a box that moved by less is the same."""
SAME_MASK_IOU = 0.95
"""Polygons lose a little of a mask; one that overlaps by more is the same."""
LISTED = 20


@dataclass(frozen=True)
class ReturnedDecisions:
    """What a file that came back says.

    Attributes:
        decisions: in the order of the frames.
        report: counts of what matched and what did not, with the first names of what did not.
    """

    decisions: tuple[NewDecision, ...]
    report: Mapping[str, Any]


def read_returned(
    path: Path,
    registry: FrameRegistry,
    frames: Iterable[FrameDetections],
    state: DecisionState,
    ontology: Ontology,
    *,
    sequence_ids: Mapping[str, Sequence[str]] | None = None,
    min_iou: float = 0.5,
    corrections_only: bool = False,
) -> ReturnedDecisions:
    """Compare a COCO file that came back with what is there now.

    Args:
        path: of the file.
        registry: of the recording's frames.
        frames: the detections in force.
        state: the decisions in force.
        ontology: its classes are meant by id, name or detector label.
        sequence_ids: of the sequence annotations that a detection is part of, by detection id.
        min_iou: least intersection over union for an annotation without id to be the same object.
        corrections_only: say nothing about what is unchanged, gone or empty: for files whose images nobody has looked at completely.

    Raises:
        InputError: the file is not COCO, nothing in it is about this recording, or it is ambiguous.
    """
    matches = match(read_predictions(path), registry, str(path))
    comparison = _Comparison(registry, state, ontology, sequence_ids or {}, min_iou, corrections_only)
    left = dict(matches.by_frame)
    for frame in frames:
        if frame.frame_id in left:
            comparison.frame(frame.frame_id, left.pop(frame.frame_id), frame.detections)
    for frame_id, returned in left.items():
        comparison.frame(frame_id, returned, ())
    counts = matches.report()
    report = {
        "images_matched": counts["frames_matched"],
        "images_unmatched": counts["unmatched_entries"],
        "first_images_unmatched": counts["first_unmatched_entries"],
        "images_of_other_recordings": counts["entries_of_other_recordings"],
        "annotations_in_unmatched_images": counts["unmatched_predictions"],
        **comparison.report(),
    }
    return ReturnedDecisions(tuple(comparison.decisions), report)


@dataclass(frozen=True)
class _Shown:
    """A detection as people see it: with what they corrected."""

    detection_id: str
    class_id: str
    box_xyxy: BoxXyxy
    mask_rle: dict[str, Any]
    excluded: bool
    reviewed: bool


class _Comparison:
    """Collects decisions and what does not match, frame by frame."""

    def __init__(
        self,
        registry: FrameRegistry,
        state: DecisionState,
        ontology: Ontology,
        sequence_ids: Mapping[str, Sequence[str]],
        min_iou: float,
        corrections_only: bool,
    ) -> None:
        self.decisions: list[NewDecision] = []
        self._width, self._height = registry.width, registry.height
        self._state = state
        self._ontology = ontology
        self._sequence_ids = sequence_ids
        self._min_iou = min_iou
        self._corrections_only = corrections_only
        self._numbers = {each.category_id: each for each in ontology.classes}
        self._new: list[dict[str, Any]] = []
        self._unknown = Counter[str]()

    def frame(self, frame_id: str, returned: PredictedFrame, found: Iterable[Detection]) -> None:
        """Compare one frame."""
        if returned.size is not None and returned.size != (self._width, self._height):
            raise InputError(
                f"{returned.key!r} has {returned.size[0]} x {returned.size[1]} pixels in the file, its frame {self._width} x "
                f"{self._height}. Import annotations of the exported images."
            )
        objects = [self._object(each) for each in returned.predictions]
        present = [self._shown(frame_id, each) for each in found]
        pairs = _pair(objects, present, self._min_iou)
        before = len(self.decisions)
        for n, one in enumerate(objects):
            if n in pairs:
                self._same(one, present[pairs[n]])
            else:
                self._new.append({"image": returned.key, "class": one.label, "box_xyxy": [round(side, 1) for side in one.box_xyxy]})
        if self._corrections_only:
            return
        for n, each in enumerate(present):
            if n not in pairs.values() and not each.excluded:
                self._say(Action.exclude, each.detection_id)
        verdict = self._state.verdict(SubjectKind.frame, frame_id)
        if not objects and verdict.action is not Action.reviewed_empty:
            self.decisions.insert(before, NewDecision(SubjectKind.frame, frame_id, Action.reviewed_empty))
        elif objects and verdict.action in (Action.reviewed_empty, Action.exclude):
            self.decisions.insert(before, NewDecision(SubjectKind.frame, frame_id, Action.keep))

    def report(self) -> dict[str, Any]:
        """Counts, and the first of what does not match."""
        return {
            "decisions": dict(sorted(Counter(each.action for each in self.decisions).items())),
            "new_objects_not_imported": len(self._new),
            "first_new_objects": self._new[:LISTED],
            "unknown_classes": dict(sorted(self._unknown.items())),
        }

    def _same(self, one: "_Object", shown: _Shown) -> None:
        """Say what differs between an object and the annotation that it is."""
        detection_id = shown.detection_id
        before = len(self.decisions)
        if one.known is None:
            self._unknown[one.label] += 1
            return
        if one.known.id != shown.class_id:
            self._say(Action.set_class, detection_id, class_id=one.known.id)
        if max(abs(a - b) for a, b in zip(one.box_xyxy, shown.box_xyxy, strict=True)) > BOX_TOLERANCE_PX:
            self._say(Action.set_box, detection_id, box_xyxy=list(one.box_xyxy))
        if one.mask is not None:
            mask_rle = rle.encode(one.mask)
            if not _is_same_mask(mask_rle, shown.mask_rle):
                self._say(Action.set_mask, detection_id, mask_rle=mask_rle)
        changed = len(self.decisions) > before
        if shown.excluded or not (changed or shown.reviewed or self._corrections_only):
            self._say(Action.keep, detection_id)

    def _say(self, action: Action, detection_id: str, **value: Any) -> None:
        self.decisions.append(NewDecision(SubjectKind.annotation, detection_id, action, value))

    def _shown(self, frame_id: str, detection: Detection) -> _Shown:
        sequences = self._sequence_ids.get(detection.detection_id, ())
        seen = outcome(self._state, frame_id, detection.detection_id, detection.class_id, sequences)
        box_xyxy, mask_rle = seen.box_xyxy or detection.box_xyxy, seen.mask_rle or detection.mask_rle
        return _Shown(detection.detection_id, seen.class_id, box_xyxy, mask_rle, seen.excluded_by is not None, seen.reviewed)

    def _object(self, one: Prediction) -> "_Object":
        known = self._numbers.get(one.category_id or 0) if one.label is None else self._ontology.by_label.get(one.label.casefold())
        label = one.label if one.label is not None else f"category_id {one.category_id}"
        mask = None
        if one.segmentation is not None and not _is_rectangle(one.segmentation, one.box_xyxy):
            mask = rle.decode_segmentation(one.segmentation, self._width, self._height)
        box_xyxy = box_of_mask(mask) if one.box_xyxy is None and mask is not None else one.box_xyxy
        if box_xyxy is None:
            raise InputError(f"An annotation of class {label!r} has neither a box nor a mask with pixels.")
        unit = (self._width, self._height) * 2 if one.in_shares else (1, 1, 1, 1)
        box_px = [side * scale for side, scale in zip(box_xyxy, unit, strict=True)]
        x1, y1, x2, y2 = (float(side) for side in clip_xyxy(box_px, self._width, self._height))
        if not (x1 < x2 and y1 < y2):
            raise InputError(f"The box {list(box_xyxy)} of an annotation of class {label!r} lies outside its image or has no area.")
        return _Object(label, known, (x1, y1, x2, y2), mask if mask is not None and mask.any() else None, one.detection_id)


@dataclass(frozen=True)
class _Object:
    """An annotation of the file, in pixels."""

    label: str
    known: ObjectClass | None
    box_xyxy: BoxXyxy
    mask: NDArray[np.bool_] | None
    detection_id: str | None


def _is_same_mask(mask_rle: dict[str, Any], known_rle: dict[str, Any]) -> bool:
    if rle.iou_matrix([mask_rle], [known_rle])[0, 0] >= SAME_MASK_IOU:
        return True
    outlines = polygons(known_rle)
    if not outlines:
        return False
    height, width = known_rle["size"]
    as_polygons = rle.encode(rle.decode_segmentation(outlines, width, height))
    return bool(rle.iou_matrix([mask_rle], [as_polygons])[0, 0] >= SAME_MASK_IOU)


def _pair(objects: Sequence[_Object], present: Sequence[_Shown], min_iou: float) -> dict[int, int]:
    """Which annotation each object is: by id, else by the best overlap, one to one."""
    numbers = {each.detection_id: n for n, each in enumerate(present)}
    pairs: dict[int, int] = {}
    for n, one in enumerate(objects):
        number = numbers.get(one.detection_id or "")
        if number is not None and number not in pairs.values():
            pairs[n] = number
    if not objects or not present:
        return pairs
    overlap = iou_matrix([one.box_xyxy for one in objects], [each.box_xyxy for each in present])
    ranked = sorted((-overlap[n, m], n, m) for n in range(len(objects)) for m in range(len(present)) if overlap[n, m] >= min_iou)
    for _, n, m in ranked:
        if n not in pairs and m not in pairs.values():
            pairs[n] = m
    return pairs


def _is_rectangle(segmentation: Any, box_xyxy: BoxXyxy | None) -> bool:
    """Whether a polygon only repeats the box, as tools write it for boxes."""
    if box_xyxy is None or not isinstance(segmentation, list) or len(segmentation) != 1 or len(segmentation[0]) not in (8, 10):
        return False
    x1, y1, x2, y2 = box_xyxy
    corners = np.reshape(segmentation[0], (-1, 2))
    ideal = np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]])
    distances = np.abs(corners[:, None] - ideal[None]).max(axis=2)
    return bool((distances.min(axis=1) < BOX_TOLERANCE_PX).all() and (distances.min(axis=0) < BOX_TOLERANCE_PX).all())
