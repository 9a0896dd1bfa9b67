"""Which predicted object is which true one, what counts and what does not, and average precision.

True objects count when they are truncated by at most half, at least 25 px high and at least 2 m away. A prediction that matches a true
object which does not count, or that lies mostly inside a `DontCare` region, is neither right nor wrong.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.evaluation.inputs import Frame
from lamm_pipeline.geometry.box_3d import Box3D
from lamm_pipeline.geometry.boxes_2d import area_xyxy, intersection_matrix, iou_matrix
from lamm_pipeline.geometry.boxes_3d import iou_3d_matrix
from lamm_pipeline.reconstruction.kitti_labels import DONT_CARE, KittiObject

Array = NDArray[np.float64]

MAX_TRUNCATED = 0.5
MIN_HEIGHT_PX = 25.0
MIN_DEPTH_M = 2.0
DONT_CARE_SHARE = 0.5

VEHICLE = "vehicle"
VEHICLE_TYPES = frozenset({"Car", "Van", "Truck"})
NEIGHBOURS = {"Car": {"Van"}, "Pedestrian": {"Person_sitting", "Person"}}
"""Types so alike that KITTI does not punish taking one for the other."""
TYPE_ORDER = ("Car", "Van", "Truck", "Pedestrian", "Person_sitting", "Person", "Cyclist", "Tram", "Misc")


@dataclass(frozen=True)
class Scope:
    """Objects that are scored together.

    Attributes:
        name: for the report.
        groups: types that count; a prediction matches a true object when their types are in the same group.
        ignored: true types that do not count, but excuse a prediction that matches them.
    """

    name: str
    groups: tuple[frozenset[str], ...]
    ignored: frozenset[str] = frozenset()

    def counts(self, item: KittiObject) -> bool:
        """Whether objects of this type are scored."""
        return any(item.type in group for group in self.groups)

    def compatible(self, true: KittiObject, predicted: KittiObject) -> bool:
        """Whether the types allow a match."""
        return true.type in self.ignored or any(true.type in group and predicted.type in group for group in self.groups)


@dataclass(frozen=True)
class Verdict:
    """The matching of one frame. All numbers are positions in `Frame.truth` and `Frame.result`.

    Attributes:
        matches: pairs of true and predicted object.
        missed: true objects without a prediction.
        false: predictions without a true object.
        excused: predictions that are neither right nor wrong.
    """

    matches: tuple[tuple[int, int], ...]
    missed: tuple[int, ...]
    false: tuple[int, ...]
    excused: tuple[int, ...]


def scopes(types: set[str]) -> list[Scope]:
    """One scope for each type that occurs, and one for vehicles of any kind."""
    found = [Scope(name, (frozenset({name}),), frozenset(NEIGHBOURS.get(name, set()))) for name in TYPE_ORDER if name in types]
    return [*found, Scope(VEHICLE, (VEHICLE_TYPES,))] if types & VEHICLE_TYPES else found


def everything() -> Scope:
    """All types at once; a vehicle matches a vehicle of any kind, everything else its own type."""
    others = [name for name in TYPE_ORDER if name not in VEHICLE_TYPES and name not in NEIGHBOURS["Pedestrian"]]
    return Scope("all", (VEHICLE_TYPES, *(frozenset({name}) for name in others)), frozenset(NEIGHBOURS["Pedestrian"]))


def is_valid(item: KittiObject) -> bool:
    """Whether a true object counts at all."""
    height = item.box_xyxy[3] - item.box_xyxy[1]
    return item.truncated <= MAX_TRUNCATED and height >= MIN_HEIGHT_PX and item.box.z >= MIN_DEPTH_M


def image_similarity(truth: Sequence[KittiObject], predicted: Sequence[KittiObject]) -> Array:
    """2D IoU, `(len(truth), len(predicted))`."""
    return iou_matrix(_boxes_xyxy(truth), _boxes_xyxy(predicted))


def space_similarity(truth: Sequence[KittiObject], predicted: Sequence[KittiObject]) -> Array:
    """3D IoU, `(len(truth), len(predicted))`; 0 for objects without a 3D box."""
    nothing = Box3D(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    return iou_3d_matrix(*([item.box if item.has_box_3d else nothing for item in items] for items in (truth, predicted)))


def in_dont_care(truth: Sequence[KittiObject], predicted: Sequence[KittiObject]) -> NDArray[np.bool_]:
    """`(len(predicted),)`: True for 2D boxes that lie mostly inside one `DontCare` region."""
    regions = _boxes_xyxy([item for item in truth if item.type == DONT_CARE])
    boxes = _boxes_xyxy(predicted)
    shared = intersection_matrix(boxes, regions).max(axis=1, initial=0.0)
    return np.asarray(shared > DONT_CARE_SHARE * np.maximum(area_xyxy(boxes), np.finfo(float).tiny))


def match(frame: Frame, scope: Scope, similarity: Array, threshold: float, excused: Sequence[int] = ()) -> Verdict:
    """Match the predictions of a frame, best score first, each to the free true object it is most similar to.

    Args:
        frame: truth and result.
        scope: what to look at.
        similarity: `(len(frame.truth), len(frame.result))`.
        threshold: least similarity of a match.
        excused: predictions known beforehand to be neither right nor wrong where they match nothing.
    """
    counted = [n for n, item in enumerate(frame.truth) if scope.counts(item) and is_valid(item)]
    ignored = [
        n
        for n, item in enumerate(frame.truth)
        if n not in counted and item.type != DONT_CARE and (scope.counts(item) or item.type in scope.ignored)
    ]
    predicted = [n for n, item in enumerate(frame.result) if scope.counts(item)]
    outside = in_dont_care(frame.truth, frame.result)
    free = set(counted)
    matches: list[tuple[int, int]] = []
    false: list[int] = []
    spared: list[int] = []
    for n in sorted(predicted, key=lambda n: (-_score(frame.result[n]), n)):
        fitting = [t for t in counted if t in free and similarity[t, n] >= threshold and scope.compatible(frame.truth[t], frame.result[n])]
        if fitting:
            best = max(fitting, key=lambda t: (similarity[t, n], -t))
            free.remove(best)
            matches.append((best, n))
        elif (
            outside[n]
            or n in excused
            or any(similarity[t, n] >= threshold and scope.compatible(frame.truth[t], frame.result[n]) for t in ignored)
        ):
            spared.append(n)
        else:
            false.append(n)
    return Verdict(tuple(matches), tuple(sorted(free)), tuple(false), tuple(spared))


def average_precision(frames: Sequence[Frame], verdicts: Sequence[Verdict]) -> float:
    """Area under the precision-recall curve, all points (PASCAL VOC 2010): precision at a recall is the best at that recall or above.

    Predictions of equal score enter together, so the result does not depend on their order. NaN when no true object counts.
    """
    positives = sum(len(verdict.matches) + len(verdict.missed) for verdict in verdicts)
    if positives == 0:
        return float("nan")
    judged = [
        (_score(frame.result[n]), right)
        for frame, verdict in zip(frames, verdicts, strict=True)
        for right, chosen in ((1.0, [n for _, n in verdict.matches]), (0.0, verdict.false))
        for n in chosen
    ]
    if not judged:
        return 0.0
    scores, right = np.array(sorted(judged, key=lambda pair: -pair[0])).T
    ends = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
    tp = np.cumsum(right)[ends]
    recall = np.concatenate([[0.0], tp / positives])
    precision = np.maximum.accumulate((tp / (ends + 1.0))[::-1])[::-1]
    return float(np.sum(np.diff(recall) * precision))


def _score(item: KittiObject) -> float:
    return 1.0 if item.score is None else item.score


def _boxes_xyxy(objects: Sequence[KittiObject]) -> Array:
    return np.array([item.box_xyxy for item in objects], dtype=np.float64).reshape(-1, 4)
