"""Rules about single annotations: masks, 2D boxes, 3D boxes, sizes."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from lamm_pipeline.datasets.validation.rule import Failure, Seen, Verdict, share
from lamm_pipeline.datasets.validation.settings import RuleName
from lamm_pipeline.geometry.box_3d import Box3D
from lamm_pipeline.geometry.boxes_2d import iou_matrix
from lamm_pipeline.geometry.boxes_3d import project_points, projected_box_xyxy
from lamm_pipeline.geometry.camera import RectifiedCamera
from lamm_pipeline.ontology.ontology import SizePrior
from lamm_pipeline.sample_table import Annotation

BoxXyxy = tuple[float, float, float, float]

SIDE_TOLERANCE_PX = 2.0
"""Mask and box agree when all sides do within this, however small the object: then a pixel weighs much in their IoU."""
NEAR_IOU = 0.1
PRIOR_SLACK = 2.0
"""Sizes are wrong only beyond so many times the prior: priors are of usual objects, and boxes are measured."""

_MASK_PROBLEMS = {
    "encoding": "cannot be decoded",
    "size": "have another size than their image",
    "empty": "are empty",
    "area": "cover other areas than said",
}


class MaskIntegrity:
    """Every mask decodes, has its image's size, is not empty, and covers as many pixels as its annotation says."""

    name = RuleName.mask_integrity
    advice = "Write these masks again from their source; their runs are damaged or belong to another image size."

    def __init__(self) -> None:
        self._masks = 0
        self._without = 0
        self._problems: Counter[str] = Counter()

    def look(self, seen: Seen) -> Iterator[Failure]:
        """See `Rule`."""
        for annotation, mask in zip(seen.sample.annotations, seen.masks, strict=True):
            if mask is None:
                self._without += 1
                continue
            self._masks += 1
            if mask.problem is not None:
                self._problems[mask.problem] += 1
                yield _failure(seen, annotation, mask.detail)

    def finish(self) -> Iterable[Failure]:
        """See `Rule`."""
        return ()

    def verdict(self, failures: int) -> Verdict:
        """See `Rule`."""
        counts = {"masks": self._masks, "annotations_without_mask": self._without} | {each: self._problems[each] for each in _MASK_PROBLEMS}
        if failures == 0:
            return Verdict(True, f"All {self._masks} masks are sound" if self._masks else "There are no masks", counts)
        parts = ", ".join(f"{self._problems[each]} {words}" for each, words in _MASK_PROBLEMS.items() if self._problems[each])
        return Verdict(False, f"{failures} masks ({share(failures, self._masks)}) have invalid RLE encoding: {parts}", counts)


class MaskBoxAgreement:
    """The box around a mask is the annotation's box, roughly."""

    name = RuleName.mask_box_agreement
    advice = "Look at these objects: one of mask and box belongs to something else, or was corrected without the other."

    def __init__(self, min_iou: float) -> None:
        self._min_iou = min_iou
        self._compared = 0

    def look(self, seen: Seen) -> Iterator[Failure]:
        """See `Rule`."""
        for annotation, mask in zip(seen.sample.annotations, seen.masks, strict=True):
            if mask is None or mask.box_xyxy is None or not _is_box(annotation.box_xyxy):
                continue
            self._compared += 1
            sides = zip(mask.box_xyxy, annotation.box_xyxy, strict=True)
            if max(abs(one - other) for one, other in sides) <= SIDE_TOLERANCE_PX:
                continue
            iou = _iou(mask.box_xyxy, annotation.box_xyxy)
            if iou < self._min_iou:
                around = ", ".join(f"{side:g}" for side in mask.box_xyxy)
                yield _failure(seen, annotation, f"the box around the mask ({around}) overlaps the box by IoU {iou:.2f}")

    def finish(self) -> Iterable[Failure]:
        """See `Rule`."""
        return ()

    def verdict(self, failures: int) -> Verdict:
        """See `Rule`."""
        counts = {"compared": self._compared}
        if failures == 0:
            return Verdict(True, f"All {self._compared} masks lie in their boxes", counts)
        return Verdict(False, f"{failures} masks ({share(failures, self._compared)}) do not fit their bounding boxes", counts)


class BoxBounds:
    """2D boxes have finite corners in the right order, within the image."""

    name = RuleName.box_bounds
    advice = "Correct these boxes, or leave the annotations out by their ids."

    def __init__(self, tolerance_px: float) -> None:
        self._tolerance = tolerance_px
        self._boxes = 0

    def look(self, seen: Seen) -> Iterator[Failure]:
        """See `Rule`."""
        sample = seen.sample
        right, bottom, slack = sample.width + self._tolerance, sample.height + self._tolerance, -self._tolerance
        for annotation in sample.annotations:
            self._boxes += 1
            x1, y1, x2, y2 = annotation.box_xyxy
            if slack <= x1 < x2 <= right and slack <= y1 < y2 <= bottom:  # false with NaN
                continue
            box = ", ".join(f"{side:g}" for side in annotation.box_xyxy)
            if not all(map(math.isfinite, annotation.box_xyxy)):
                problem = "has a corner that is no number"
            elif x1 >= x2 or y1 >= y2:
                problem = "has no area"
            else:
                problem = f"reaches out of the image of {sample.width} x {sample.height}"
            yield _failure(seen, annotation, f"the box ({box}) {problem}")

    def finish(self) -> Iterable[Failure]:
        """See `Rule`."""
        return ()

    def verdict(self, failures: int) -> Verdict:
        """See `Rule`."""
        counts = {"boxes": self._boxes}
        if failures == 0:
            return Verdict(True, f"All {self._boxes} bounding boxes are valid", counts)
        return Verdict(False, f"{failures} bounding boxes ({share(failures, self._boxes)}) are invalid", counts)


class Box3DSanity:
    """3D boxes are finite, in front of the camera, where their 2D boxes are, and of a size that their class can have."""

    name = RuleName.box_3d_sanity
    advice = "Look at calibration and depth of these frames, or export without 3D boxes."

    def __init__(self, priors: Mapping[str, SizePrior]) -> None:
        self._priors = priors
        self._boxes = 0

    def look(self, seen: Seen) -> Iterator[Failure]:
        """See `Rule`."""
        for annotation in seen.sample.annotations:
            if annotation.box_3d is not None:
                self._boxes += 1
                problem = self._problem(annotation.box_3d.box, annotation, seen.sample.camera)
                if problem is not None:
                    yield _failure(seen, annotation, problem)

    def finish(self) -> Iterable[Failure]:
        """See `Rule`."""
        return ()

    def verdict(self, failures: int) -> Verdict:
        """See `Rule`."""
        counts = {"boxes_3d": self._boxes}
        if failures == 0:
            return Verdict(True, f"All {self._boxes} 3D boxes are plausible" if self._boxes else "There are no 3D boxes", counts)
        return Verdict(False, f"{failures} 3D boxes ({share(failures, self._boxes)}) are implausible", counts)

    def _problem(self, box: Box3D, annotation: Annotation, camera: RectifiedCamera | None) -> str | None:
        if not all(map(math.isfinite, vars(box).values())):
            return "the 3D box has a value that is no number"
        size = (box.length, box.width, box.height)
        if min(size) <= 0:
            return f"the 3D box measures {_metres(size)}"
        if box.z <= 0:
            return f"the 3D box lies {-box.z:.1f} m behind the camera"
        prior = self._priors.get(annotation.class_id)
        if prior is not None and not _is_possible(box, prior):
            return f"no {annotation.class_id} measures {_metres(size)}"
        if camera is not None and _is_box(annotation.box_xyxy) and not _projects_near(box, annotation.box_xyxy, camera):
            return "the 3D box does not project to the 2D box"
        return None


class SmallObjects:
    """Few objects are so small that little is to be learned from them."""

    name = RuleName.small_objects
    advice = "Train at a higher resolution or on tiles, or leave small objects out."

    def __init__(self, small_share: float, max_small: float) -> None:
        self._small_share = small_share
        self._max_small = max_small
        self._objects = 0

    def look(self, seen: Seen) -> Iterator[Failure]:
        """See `Rule`."""
        sample = seen.sample
        least = self._small_share * sample.width * sample.height
        for annotation in sample.annotations:
            self._objects += 1
            area = object_area(annotation)
            if area < least:
                yield _failure(seen, annotation, f"covers {area:g} pixels")

    def finish(self) -> Iterable[Failure]:
        """See `Rule`."""
        return ()

    def verdict(self, failures: int) -> Verdict:
        """See `Rule`."""
        counts = {"objects": self._objects, "small": failures}
        passed = failures <= self._max_small * self._objects
        what = f"{failures} objects ({share(failures, self._objects)}) cover less than {100 * self._small_share:g}% of their image"
        return Verdict(passed, what, counts)


def object_area(annotation: Annotation) -> float:
    """Pixels that an object covers: of its mask, or of its box where it has none; 0 where that is no box."""
    if annotation.mask_rle is not None:
        return annotation.area
    x1, y1, x2, y2 = annotation.box_xyxy
    area = (x2 - x1) * (y2 - y1)
    return area if _is_box(annotation.box_xyxy) else 0.0


def _failure(seen: Seen, annotation: Annotation, detail: str) -> Failure:
    return Failure(seen.sample.frame_id, annotation.detection_id, detail)


def _is_box(box_xyxy: BoxXyxy) -> bool:
    x1, y1, x2, y2 = box_xyxy
    return all(map(math.isfinite, box_xyxy)) and x1 < x2 and y1 < y2


def _iou(a_xyxy: BoxXyxy, b_xyxy: BoxXyxy) -> float:
    return float(iou_matrix(np.array([a_xyxy]), np.array([b_xyxy]))[0, 0])


def _metres(size: tuple[float, float, float]) -> str:
    return " x ".join(f"{side:.2f}" for side in size) + " m (length, width, height)"


def _is_possible(box: Box3D, prior: SizePrior) -> bool:
    """Whether the size is one of the class; which side is called length does not matter."""
    (low_1, high_1), (low_2, high_2) = sorted([prior.length, prior.width])
    shorter, longer = sorted([box.length, box.width])
    bounds = ((shorter, low_1, high_1), (longer, low_2, high_2), (box.height, *prior.height))
    return all(low / PRIOR_SLACK <= side <= high * PRIOR_SLACK for side, low, high in bounds)


def _projects_near(box: Box3D, box_xyxy: BoxXyxy, camera: RectifiedCamera) -> bool:
    """Whether the middle of the 3D box lies in the 2D box, or else its visible outline overlaps the 2D box."""
    projection = camera.projection_left
    x, y, _ = project_points(np.array([[box.x, box.y - box.height / 2, box.z]]), projection)[0]
    x1, y1, x2, y2 = box_xyxy
    if x1 <= x <= x2 and y1 <= y <= y2:
        return True
    outline = projected_box_xyxy(box, projection, camera.width, camera.height)
    return outline is not None and _iou(outline, box_xyxy) >= NEAR_IOU
