"""The segmenter that finds and outlines with SAM3 what the ontology's prompts describe."""

import importlib.metadata
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.extraction.frame_registry import FrameRegistry
from lamm_pipeline.geometry.boxes_2d import iou_matrix
from lamm_pipeline.geometry.ground_plane import GroundPlane, fit_ground_plane
from lamm_pipeline.ontology.ontology import ObjectClass, Ontology
from lamm_pipeline.segmentation.depth_masks import bottom_above_ground
from lamm_pipeline.segmentation.mask_classes import box_of
from lamm_pipeline.segmentation.metric_size import measure, misfit
from lamm_pipeline.segmentation.sam3_model import MASK_THRESHOLD, Answer, Sam3Model
from lamm_pipeline.segmentation.sam3_weights import digest_folder, find_folder
from lamm_pipeline.segmentation.segmenter import Picture, RawDetection, Segmentation
from lamm_pipeline.segmentation.settings import SegmentationSettings
from lamm_pipeline.segmentation.torch_device import require_packages, resolve_device

MASK_SOURCE = "sam3"


class Sam3Segmenter:
    """Finds what the prompts of the wanted classes say. Safe to use from several threads; the model itself works for one at a time.

    A prompt is one text for each of its alternatives, so `car, sedan` is asked as two; what both find is one detection.

    Args:
        settings: of the stage.
        ontology: its classes and their prompts.
        device: `cpu` or `cuda`; None means what `LAMM_DEVICE` says.

    Raises:
        InputError: a package, the weights or the device is missing.
    """

    def __init__(self, settings: SegmentationSettings, ontology: Ontology, device: str | None = None) -> None:
        require_packages("sam3", "torch", "torchvision", "transformers")
        self._settings = settings
        self._ontology = ontology
        wanted = ontology.select(settings.classes) if settings.classes else ontology.classes
        self._asked = [(each, text) for each in wanted for text in each.prompts]
        folder = find_folder(settings.weights)
        self._weights_sha256 = digest_folder(folder)
        self._model = Sam3Model(
            folder,
            [text for _, text in self._asked],
            settings.confidence_threshold,
            resolve_device(device),
            compiled=settings.compile_model,
            memory_share=settings.gpu_memory_share,
        )

    @property
    def identity(self) -> Mapping[str, Any]:
        """See `Segmenter`."""
        settings = self._settings
        return {
            "backend": "sam3",
            "model": "sam3",
            "package": f"transformers {importlib.metadata.version('transformers')}",
            "weights_sha256": self._weights_sha256,
            "dtype": self._model.dtype,
            "compiled": settings.compile_model,
            "ontology": self._ontology.digest,
            "prompts": [[each.id, text] for each, text in self._asked],
            "mask_threshold": MASK_THRESHOLD,
            "confidence_threshold": settings.confidence_threshold,
            "nms_iou": settings.nms_iou,
            "max_detections": settings.max_detections,
            "min_box_px": settings.min_box_px,
            "size_check": settings.size_check,
        }

    @property
    def batch_size(self) -> int:
        """Of the settings."""
        return self._settings.batch_size

    def begin(self, registry: FrameRegistry) -> Mapping[str, Any]:  # noqa: ARG002 - of the protocol
        """Nothing to prepare."""
        return {}

    def segment_batch(self, pictures: Sequence[Picture]) -> list[Segmentation]:
        """See `FrameSegmenter`."""
        images = [cv2.cvtColor(each.image_bgr, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False) for each in pictures]
        return [self._report(answers, picture) for answers, picture in zip(self._model.find(images), pictures, strict=True)]

    def _report(self, answers: Sequence[Answer], picture: Picture) -> Segmentation:
        """The answers that are objects, best first; the others are counted by reason."""
        ground = None if picture.depth is None or picture.camera is None or not answers else fit_ground_plane(picture.depth, picture.camera)
        found: list[RawDetection] = []
        refused: Counter[str] = Counter()
        for answer in sorted(answers, key=lambda each: -each.score):
            meant = self._asked[answer.text][0]
            box_xyxy = box_of(answer.mask)
            reason = self._misfit(answer, meant, box_xyxy, picture, ground)
            if reason is None and self._is_double(meant, box_xyxy, found):
                reason = "overlaps a better detection"
            if reason is None and len(found) >= self._settings.max_detections:
                reason = "more than max_detections"
            if reason is not None:
                refused[reason] += 1
            else:
                found.append(RawDetection(meant.id, answer.score, box_xyxy, answer.mask, MASK_SOURCE))
        return Segmentation(tuple(found), dict(sorted(refused.items())))

    def _misfit(
        self, answer: Answer, meant: ObjectClass, box_xyxy: NDArray[np.float64], picture: Picture, ground: GroundPlane | None
    ) -> str | None:
        if box_xyxy[3] - box_xyxy[1] < self._settings.min_box_px:
            return "smaller than min_box_px"
        if not self._settings.size_check or picture.depth is None or picture.camera is None:
            return None
        size = measure(answer.mask, picture.depth, picture.camera)
        if size is None:
            return None
        bottom = bottom_above_ground(box_xyxy, size.depth, picture.camera, ground)
        return misfit(box_xyxy, size.height, size.depth, bottom, meant.size_prior, picture.image_bgr.shape[0])

    def _is_double(self, meant: ObjectClass, box_xyxy: NDArray[np.float64], found: Sequence[RawDetection]) -> bool:
        rivals = [one.box_xyxy for one in found if self._ontology.by_id(one.class_id).group == meant.group]
        return bool(rivals) and bool(iou_matrix([box_xyxy], rivals).max() > self._settings.nms_iou)
