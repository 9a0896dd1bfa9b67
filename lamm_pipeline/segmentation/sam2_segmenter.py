"""The segmenter with SAM2's masks: of boxes that the detector or a file gives, or of all that the model sees."""

import importlib.metadata
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction.frame_registry import FrameRegistry
from lamm_pipeline.geometry.camera import RectifiedCamera
from lamm_pipeline.ontology.ontology import Ontology
from lamm_pipeline.segmentation.depth_masks import MaskCrop, pixel_box
from lamm_pipeline.segmentation.detector_segmenter import DetectorSegmenter
from lamm_pipeline.segmentation.external_segmenter import ExternalSegmenter
from lamm_pipeline.segmentation.mask_classes import PART_SHARE, SAME_OBJECT_IOU, MaskClasses
from lamm_pipeline.segmentation.sam2_model import DUPLICATE_IOU, MASK_THRESHOLD, Grid, Sam2Model
from lamm_pipeline.segmentation.sam2_weights import CHECKPOINTS, find_weights
from lamm_pipeline.segmentation.segmenter import FrameSegmenter, OneByOne, Picture, RawDetection, Segmentation
from lamm_pipeline.segmentation.settings import Prompts, SegmentationSettings
from lamm_pipeline.segmentation.torch_device import resolve_device
from lamm_pipeline.storage.atomic import sha256_file

PACKAGES = ("torch", "torchvision", "sam2")
MASK_SOURCE = "sam2"
# Boxes of a detector sit a little off their objects; what the model sees farther out is another object.
MARGIN_SHARE = 0.05
# A mask that covers less of its box is not the object but a detail of it, or nothing.
MIN_AREA_SHARE = 0.05


class Sam2Segmenter:
    """Outlines objects with SAM2. Safe to use from several threads; the model itself works for one at a time.

    With `prompts: boxes` it outlines the boxes of the detector or of a file. Where the model finds next to nothing in a box, the mask of
    whoever gave the box stays, and `mask_source` says so. With `prompts: automatic` it outlines all it sees; `mask_classes.py` says what of
    that is reported.

    Args:
        settings: of the stage; with `predictions` the boxes come from that file, else from the embedded detector.
        ontology: classes to report.
        device: `cpu` or `cuda`; None means what `LAMM_DEVICE` says.
        image_size: side of the square that images are scaled to, pixels; the released models are trained for 1024.

    Raises:
        InputError: a package, the weights or the device is missing.
    """

    def __init__(self, settings: SegmentationSettings, ontology: Ontology, device: str | None = None, image_size: int = 1024) -> None:
        missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
        if missing:
            raise InputError(
                f"The back end 'sam2' needs {' and '.join(missing)}, which this installation lacks; install the extra: "
                "pip install 'lamm-pipeline[sam2]'."
            )
        self._settings = settings
        self._image_size = image_size
        self._prompter = _prompter(settings, ontology)
        self._classes = MaskClasses(ontology, settings, MASK_SOURCE)
        weights = find_weights(settings.variant, settings.weights)
        self._weights_sha256 = sha256_file(weights)
        self._model = Sam2Model(
            settings.variant,
            weights,
            resolve_device(device),
            image_size,
            compiled=settings.compile_model,
            memory_share=settings.gpu_memory_share,
        )

    @property
    def identity(self) -> Mapping[str, Any]:
        """See `Segmenter`."""
        return {
            "backend": "sam2",
            "model": CHECKPOINTS[self._settings.variant].file.removesuffix(".pt"),
            "package": importlib.metadata.version("sam2"),
            "weights_sha256": self._weights_sha256,
            "dtype": self._model.dtype,
            "compiled": self._settings.compile_model,
            "image_size": self._image_size,
            "mask_threshold": MASK_THRESHOLD,
            **self._thresholds(),
            "prompts": dict(self._prompter.identity),
        }

    @property
    def batch_size(self) -> int:
        """Of the settings."""
        return self._settings.batch_size

    def begin(self, registry: FrameRegistry) -> Mapping[str, Any]:
        """What the giver of the boxes has to say."""
        return self._prompter.begin(registry)

    def segment_batch(self, pictures: Sequence[Picture]) -> list[Segmentation]:
        """See `FrameSegmenter`."""
        named = [found for part in _chunks(pictures, self._prompter.batch_size) for found in self._prompter.segment_batch(part)]
        if self._settings.prompts is Prompts.boxes:
            return self._outline(named, pictures)
        return [self._search(found, picture) for found, picture in zip(named, pictures, strict=True)]

    def _thresholds(self) -> Mapping[str, Any]:
        settings = self._settings
        if settings.prompts is Prompts.boxes:
            return {"margin_share": MARGIN_SHARE, "min_area_share": MIN_AREA_SHARE}
        return {
            "points_per_side": settings.points_per_side,
            "mask_quality": settings.mask_quality,
            "mask_stability": settings.mask_stability,
            "duplicate_iou": DUPLICATE_IOU,
            "same_object_iou": SAME_OBJECT_IOU,
            "part_share": PART_SHARE,
            "classes": self._classes.wanted,
            "min_box_px": settings.min_box_px,
            "size_check": settings.size_check,
            "max_detections": settings.max_detections,
        }

    def _search(self, named: Segmentation, picture: Picture) -> Segmentation:
        settings = self._settings
        grid = Grid(settings.points_per_side, settings.mask_quality, settings.mask_stability)
        return self._classes.name([each.mask for each in self._model.propose(_rgb(picture), grid)], named, picture)

    def _outline(self, prompted: Sequence[Segmentation], pictures: Sequence[Picture]) -> list[Segmentation]:
        with_boxes = [number for number, found in enumerate(prompted) if found.detections]
        images = [_rgb(pictures[number]) for number in with_boxes]
        boxes = [np.array([one.box_xyxy for one in prompted[number].detections]) for number in with_boxes]
        outlined = list(prompted)
        for number, masks in zip(with_boxes, self._model.masks(images, boxes), strict=True):
            found = prompted[number]
            outlined[number] = replace(
                found, detections=tuple(outlined_by(mask, one) for mask, one in zip(masks, found.detections, strict=True))
            )
        return outlined


@dataclass(frozen=True)
class _NoBoxes:
    """What gives the boxes where the detector knows no class of the ontology: nothing."""

    identity: Mapping[str, Any] = field(default_factory=lambda: {"backend": "none"})

    def segment(self, image_bgr: NDArray[np.uint8], depth: NDArray[np.float32] | None, camera: RectifiedCamera | None) -> Segmentation:  # noqa: ARG002 - of the protocol
        """Nothing."""
        return Segmentation((), {})


def outlined_by(mask: NDArray[np.bool_], one: RawDetection) -> RawDetection:
    """The detection with the model's mask, clipped to its box and a margin; as it was when next to nothing is left of the mask.

    Args:
        mask: `(H, W)` bool of the whole image.
        one: the detection whose box was the prompt.
    """
    height, width = mask.shape
    x1, y1, x2, y2 = one.box_xyxy
    margin_x, margin_y = MARGIN_SHARE * (x2 - x1), MARGIN_SHARE * (y2 - y1)
    wider = np.array([max(x1 - margin_x, 0.0), max(y1 - margin_y, 0.0), min(x2 + margin_x, width), min(y2 + margin_y, height)])
    left, top, right, bottom = pixel_box(wider, width, height)
    pixels = mask[top:bottom, left:right].copy()
    if pixels.sum() < max(MIN_AREA_SHARE * (x2 - x1) * (y2 - y1), 1.0):
        return one
    return replace(one, mask=MaskCrop(left, top, pixels), mask_source=MASK_SOURCE)


def _prompter(settings: SegmentationSettings, ontology: Ontology) -> FrameSegmenter:
    """What gives the boxes. To the automatic masks it gives those of all classes, lest one that is not wanted be named after its size."""
    automatic = settings.prompts is Prompts.automatic
    asked = settings.model_copy(update={"classes": []}) if automatic else settings
    if settings.predictions is not None:
        return ExternalSegmenter(asked, ontology)
    if automatic and not any(each.detector_labels for each in ontology.classes):
        return OneByOne(_NoBoxes())
    return OneByOne(DetectorSegmenter(asked, ontology))


def _rgb(picture: Picture) -> NDArray[np.uint8]:
    return cv2.cvtColor(picture.image_bgr, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


def _chunks(pictures: Sequence[Picture], size: int) -> Iterator[Sequence[Picture]]:
    return (pictures[start : start + size] for start in range(0, len(pictures), size))
