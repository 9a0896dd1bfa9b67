"""Which masks of a class-agnostic model are objects, and of which class. docs/segmenters.md has the rules.

1. A mask that fits the box of a detection is that object: class and score are the detection's.
2. Any other mask is of the class whose size prior its size in metres fits, when it fits that of exactly one class of the ontology. It has
   no score: size says what it may be, not how sure that is.
3. What is left is not reported, and counted by reason.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.geometry.boxes_2d import iou_matrix
from lamm_pipeline.geometry.ground_plane import GroundPlane, fit_ground_plane
from lamm_pipeline.ontology.ontology import Ontology
from lamm_pipeline.segmentation.depth_masks import MaskCrop, bottom_above_ground
from lamm_pipeline.segmentation.metric_size import cut_by_border, floats, measure
from lamm_pipeline.segmentation.segmenter import Picture, RawDetection, Segmentation
from lamm_pipeline.segmentation.settings import SegmentationSettings

SAME_OBJECT_IOU = 0.5
"""Of a mask's box and a detection's box."""
PART_SHARE = 0.7
"""A mask with more of its pixels within the mask of a detection of its group is a part of it, such as the trunk of a person."""


class MaskClasses:
    """Names masks by the rules above.

    Args:
        ontology: its classes and their size priors.
        settings: of the stage.
        mask_source: what to call the origin of the masks.
    """

    def __init__(self, ontology: Ontology, settings: SegmentationSettings, mask_source: str) -> None:
        self._ontology = ontology
        self._settings = settings
        self._mask_source = mask_source
        self._wanted = {each.id for each in (ontology.select(settings.classes) if settings.classes else ontology.classes)}

    @property
    def wanted(self) -> list[str]:
        """Ids of the classes that are reported, sorted."""
        return sorted(self._wanted)

    def name(self, masks: Sequence[MaskCrop], named: Segmentation, picture: Picture) -> Segmentation:
        """The objects among the masks of one image.

        Args:
            masks: best first; the crop of each is its box.
            named: detections of all classes, which give theirs to masks. Those that no mask fits stay as they are.
            picture: what the masks are of.

        Returns:
            The detections in their order, with masks, then the objects that only their size names.
        """
        refused = Counter(named.refused)
        known = list(named.detections)
        owners = _owners(masks, known)
        for mask, owner in zip(masks, owners, strict=True):
            if owner is not None:
                known[owner] = replace(known[owner], box_xyxy=box_of(mask), mask=mask, mask_source=self._mask_source)
        ground = None if picture.depth is None or picture.camera is None else fit_ground_plane(picture.depth, picture.camera)
        others = [mask for mask, owner in zip(masks, owners, strict=True) if owner is None]
        for mask in others:
            one = self._unnameable(mask, named.detections, picture) or self._by_size(mask, known, picture, ground)
            if isinstance(one, str):
                refused[one] += 1
            else:
                known.append(one)
        wanted = [one for one in known if one.class_id in self._wanted]
        refused["class is not wanted"] += len(known) - len(wanted)
        refused["more than max_detections"] += max(len(wanted) - self._settings.max_detections, 0)
        return Segmentation(tuple(wanted[: self._settings.max_detections]), dict(sorted((+refused).items())))

    def _unnameable(self, mask: MaskCrop, detections: Sequence[RawDetection], picture: Picture) -> str | None:
        """Why there is no use in asking for the size of a mask, None when there is."""
        box_xyxy = box_of(mask)
        height, width = picture.image_bgr.shape[:2]
        if box_xyxy[3] - box_xyxy[1] < self._settings.min_box_px:
            return "smaller than min_box_px"
        if detections and iou_matrix([box_xyxy], [one.box_xyxy for one in detections]).max() >= SAME_OBJECT_IOU:
            return "another mask fits its detection better"
        return "no class: cut by the image's border" if cut_by_border(box_xyxy, width, height) else None

    def _by_size(self, mask: MaskCrop, known: Sequence[RawDetection], picture: Picture, ground: GroundPlane | None) -> RawDetection | str:
        """The mask as an object of the class that its size tells, or why it is none."""
        size = None if picture.depth is None or picture.camera is None else measure(mask, picture.depth, picture.camera)
        if size is None or picture.camera is None:
            return "no class: no depth to measure it by"
        candidates = self._ontology.of_size(size.width, size.height, size.thickness)
        if len(candidates) != 1:
            return "no class: its size fits several" if candidates else "no class: its size fits none"
        (meant,) = candidates
        box_xyxy = box_of(mask)
        bottom = bottom_above_ground(box_xyxy, size.depth, picture.camera, ground)
        if self._settings.size_check and floats(bottom, size.depth):
            return "floats above the ground"
        if any(self._ontology.by_id(one.class_id).group == meant.group and _share_within(mask, one.mask) > PART_SHARE for one in known):
            return "part of another detection"
        return RawDetection(meant.id, None, box_xyxy, mask, self._mask_source)


def box_of(mask: MaskCrop) -> NDArray[np.float64]:
    """The box of a mask whose crop has no empty margin, `(4,)` xyxy pixels."""
    rows, columns = mask.pixels.shape
    return np.array([mask.x, mask.y, mask.x + columns, mask.y + rows], dtype=np.float64)


def _owners(masks: Sequence[MaskCrop], detections: Sequence[RawDetection]) -> list[int | None]:
    """Of each mask the detection whose box it fits, each at most once, best overlaps first."""
    owners: list[int | None] = [None] * len(masks)
    if not masks or not detections:
        return owners
    overlaps = iou_matrix([box_of(mask) for mask in masks], [one.box_xyxy for one in detections])
    while overlaps.max() >= SAME_OBJECT_IOU:
        mask, detection = np.unravel_index(int(np.argmax(overlaps)), overlaps.shape)
        owners[int(mask)] = int(detection)
        overlaps[mask, :] = overlaps[:, detection] = -1.0
    return owners


def _share_within(inner: MaskCrop, outer: MaskCrop) -> float:
    """Share of a mask's pixels that another one has, too."""
    left, top = max(inner.x, outer.x), max(inner.y, outer.y)
    right = min(inner.x + inner.pixels.shape[1], outer.x + outer.pixels.shape[1])
    bottom = min(inner.y + inner.pixels.shape[0], outer.y + outer.pixels.shape[0])
    if right <= left or bottom <= top:
        return 0.0
    shared = inner.pixels[top - inner.y : bottom - inner.y, left - inner.x : right - inner.x]
    shared = shared & outer.pixels[top - outer.y : bottom - outer.y, left - outer.x : right - outer.x]
    return float(shared.sum() / inner.pixels.sum())
