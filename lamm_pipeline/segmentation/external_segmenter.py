"""The segmenter that takes the predictions of a file: boxes, classes and scores as they are, masks from the file or from stereo depth."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction.frame_registry import FrameRegistry
from lamm_pipeline.geometry import rle
from lamm_pipeline.geometry.boxes_2d import clip_xyxy
from lamm_pipeline.geometry.ground_plane import GroundPlane, fit_ground_plane
from lamm_pipeline.ontology.ontology import ObjectClass, Ontology
from lamm_pipeline.segmentation.depth_masks import MaskCrop, box_mask, crop_to_mask, object_depth
from lamm_pipeline.segmentation.prediction_files import PredictedFrame, Prediction, digest_predictions, read_predictions
from lamm_pipeline.segmentation.prediction_matching import Matches, match
from lamm_pipeline.segmentation.segmenter import Picture, RawDetection, Segmentation
from lamm_pipeline.segmentation.settings import SegmentationSettings

MAX_UNKNOWN_NAMES = 50
MATCHING = 2
"""Raised by hand whenever a file would be read, or brought together with frames, in another way; part of the version."""


class ExternalSegmenter:
    """Reports what a file of predictions has for each frame. Of the settings only threshold, classes and the limit a frame apply.

    Args:
        settings: of the stage; `predictions` names the file.
        ontology: its classes are meant by id, name or detector label.

    Raises:
        InputError: there is no such file, or something in it is wrong.
    """

    def __init__(self, settings: SegmentationSettings, ontology: Ontology) -> None:
        if settings.predictions is None:
            raise InputError("The back end 'external' needs predictions; set `predictions` to a JSON file or a folder of JSON files.")
        self._settings = settings
        self._ontology = ontology
        self._path = Path(settings.predictions).expanduser()
        images = None if settings.predictions_images is None else Path(settings.predictions_images).expanduser()
        self._digest = digest_predictions(self._path, images)
        self._predicted = read_predictions(self._path, images)
        self._wanted = {each.id for each in (ontology.select(settings.classes) if settings.classes else ontology.classes)}
        self._classes = ontology.by_label
        self._by_number = {each.category_id: each for each in ontology.classes}
        self._matches = Matches({}, (), (), ())

    @property
    def identity(self) -> Mapping[str, Any]:
        """See `Segmenter`."""
        settings = self._settings
        return {
            "backend": "external",
            "matching": MATCHING,
            "predictions_sha256": self._digest,
            "ontology": self._ontology.digest,
            "classes": sorted(self._wanted),
            "confidence_threshold": settings.confidence_threshold,
            "max_detections": settings.max_detections,
        }

    @property
    def batch_size(self) -> int:
        """One: there is no model to feed."""
        return 1

    def begin(self, registry: FrameRegistry) -> Mapping[str, Any]:
        """Match the predictions with the recording's frames and report what does not match."""
        self._matches = match(self._predicted, registry, str(self._path))
        unknown = Counter(
            _said(each) for frame in self._matches.by_frame.values() for each in frame.predictions if self._class_of(each) is None
        )
        names = dict(sorted(unknown.most_common(MAX_UNKNOWN_NAMES)))
        return {"predictions": {**self._matches.report(), "unknown_class_predictions": unknown.total(), "unknown_classes": names}}

    def segment_batch(self, pictures: Sequence[Picture]) -> list[Segmentation]:
        """See `FrameSegmenter`."""
        return [self._segment(picture, self._matches.by_frame.get(picture.frame.frame_id)) for picture in pictures]

    def _segment(self, picture: Picture, predicted: PredictedFrame | None) -> Segmentation:
        if predicted is None or not predicted.predictions:
            return Segmentation((), {})
        height, width = picture.image_bgr.shape[:2]
        if predicted.size is not None and predicted.size != (width, height):
            raise InputError(
                f"{predicted.key!r} in {self._path} was predicted on an image of {predicted.size[0]}x{predicted.size[1]} pixels, frame "
                f"{picture.frame.frame_id} has {width}x{height}; predict on the extracted images."
            )
        ground = None if picture.depth is None or picture.camera is None else fit_ground_plane(picture.depth, picture.camera)
        found: list[RawDetection] = []
        refused: Counter[str] = Counter()
        for each in sorted(predicted.predictions, key=lambda one: -1.0 if one.confidence is None else one.confidence, reverse=True):
            one = self._detection(each, picture, ground, predicted.key)
            if not isinstance(one, str) and len(found) >= self._settings.max_detections:
                one = "more than max_detections"
            if isinstance(one, str):
                refused[one] += 1
            else:
                found.append(one)
        return Segmentation(tuple(found), dict(sorted(refused.items())))

    def _detection(self, one: Prediction, picture: Picture, ground: GroundPlane | None, key: str) -> RawDetection | str:
        """The prediction as a detection, or why it is none."""
        meant = self._class_of(one)
        reason = self._unwanted(one, meant)
        if meant is None or reason is not None:
            return reason or "class is not in the ontology"
        height, width = picture.image_bgr.shape[:2]
        mask = None
        if one.segmentation is not None:
            mask = self._mask(one.segmentation, width, height, key)
            if mask is None:
                return "mask without pixels"
        box_xyxy = _box_xyxy(one, mask, width, height)
        if not (box_xyxy[2] > box_xyxy[0] and box_xyxy[3] > box_xyxy[1]):
            return "box without area in the image"
        source = "external"
        if mask is None:
            mask, source = _outline(box_xyxy, meant, picture, ground)
        return RawDetection(meant.id, one.confidence, box_xyxy, mask, source)

    def _unwanted(self, one: Prediction, meant: ObjectClass | None) -> str | None:
        if meant is not None and meant.id not in self._wanted:
            return "class is not wanted"
        if meant is not None and one.confidence is not None and one.confidence < self._settings.confidence_threshold:
            return "below confidence_threshold"
        return None

    def _mask(self, segmentation: Any, width: int, height: int, key: str) -> MaskCrop | None:
        try:
            return crop_to_mask(rle.decode_segmentation(segmentation, width, height))
        except InputError as error:
            raise InputError(f"A prediction for {key!r} in {self._path} has a wrong mask. {error}") from error

    def _class_of(self, one: Prediction) -> ObjectClass | None:
        if one.label is not None:
            return self._classes.get(one.label.casefold())
        return self._by_number.get(one.category_id or 0)


def _said(one: Prediction) -> str:
    return one.label if one.label is not None else f"category_id {one.category_id}"


def _box_xyxy(one: Prediction, mask: MaskCrop | None, width: int, height: int) -> NDArray[np.float64]:
    if one.box_xyxy is not None:
        scale = np.array([width, height, width, height], dtype=np.float64) if one.in_shares else 1.0
        return clip_xyxy(np.array(one.box_xyxy) * scale, width, height)
    if mask is None:
        raise ValueError("A prediction has a box, a mask, or both.")
    rows, columns = mask.pixels.shape
    return np.array([mask.x, mask.y, mask.x + columns, mask.y + rows], dtype=np.float64)


def _outline(box_xyxy: NDArray[np.float64], meant: ObjectClass, picture: Picture, ground: GroundPlane | None) -> tuple[MaskCrop, str]:
    """Mask and its source as the detector makes them: from depth, else the whole box."""
    if picture.depth is not None and picture.camera is not None:
        measured = object_depth(box_xyxy, picture.depth, picture.camera, ground, meant.size_prior)
        if measured is not None:
            return measured.mask, "depth"
    height, width = picture.image_bgr.shape[:2]
    return box_mask(box_xyxy, width, height), "box"
