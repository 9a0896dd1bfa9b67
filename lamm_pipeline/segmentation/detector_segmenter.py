"""The segmenter of the base install: boxes of the embedded detector over tiles, masks from stereo depth, a check of metric sizes."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.errors import InputError
from lamm_pipeline.geometry.boxes_2d import clip_xyxy, ios_matrix
from lamm_pipeline.geometry.camera import RectifiedCamera
from lamm_pipeline.geometry.ground_plane import GroundPlane, fit_ground_plane
from lamm_pipeline.ontology.ontology import ObjectClass, Ontology
from lamm_pipeline.segmentation.depth_masks import ObjectDepth, box_mask, object_depth
from lamm_pipeline.segmentation.detector import MODEL_NAME, SsdDetector
from lamm_pipeline.segmentation.metric_size import misfit
from lamm_pipeline.segmentation.segmenter import RawDetection, Segmentation
from lamm_pipeline.segmentation.settings import SegmentationSettings
from lamm_pipeline.segmentation.tiles import Candidates, concatenate, cut_by_tile, merge, tile_layout

PART_IOS = 0.7
PART_DEPTH_M, PART_DEPTH_SHARE = 1.5, 0.1


@dataclass(frozen=True)
class _Scene:
    """What is known about the frame besides its image."""

    width: int
    height: int
    depth: NDArray[np.float32] | None
    camera: RectifiedCamera | None
    ground: GroundPlane | None


@dataclass(frozen=True)
class _Found:
    """A detection with what later steps need to judge it."""

    object_class: ObjectClass
    score: float
    box_xyxy: NDArray[np.float64]
    depth: ObjectDepth | None


class DetectorSegmenter:
    """Finds what the embedded detector knows. Safe to use from several threads.

    Args:
        settings: of the stage.
        ontology: classes to report; their `detector_labels` say which of the network's labels mean them.

    Raises:
        InputError: none of the wanted classes has a label of the detector, or the weights are damaged.
    """

    def __init__(self, settings: SegmentationSettings, ontology: Ontology) -> None:
        self._settings = settings
        self._ontology = ontology
        self._detector = SsdDetector()
        wanted = ontology.select(settings.classes) if settings.classes else ontology.classes
        self._wanted = {each.id for each in wanted}
        named = {label for each in wanted for label in each.detector_labels}
        rows = [row for row, label in enumerate(self._detector.labels) if row > 0 and label in named]
        if not rows:
            known = sorted({each.id for each in ontology.classes if set(each.detector_labels) & set(self._detector.labels[1:])})
            raise InputError(
                f"The embedded detector finds none of the classes {', '.join(sorted(self._wanted))}; of this ontology it finds "
                f"{', '.join(known) or 'none'}."
            )
        self._rows = np.array(rows, dtype=np.intp)
        meant = {row: ontology.for_detector_label(self._detector.labels[row]) for row in rows}
        self._default_class = {row: each for row, each in meant.items() if each is not None}
        groups = sorted({each.group for each in ontology.classes})
        self._groups = np.full(len(self._detector.labels), -1, dtype=np.intp)
        for row, each in self._default_class.items():
            self._groups[row] = groups.index(each.group)

    @property
    def identity(self) -> Mapping[str, Any]:
        """See `Segmenter`."""
        settings = self._settings
        return {
            "backend": "detector",
            "model": MODEL_NAME,
            "weights_sha256": self._detector.weights_sha256,
            "ontology": self._ontology.digest,
            "classes": sorted(self._wanted),
            "confidence_threshold": settings.confidence_threshold,
            "nms_iou": settings.nms_iou,
            "max_detections": settings.max_detections,
            "tiles": settings.tiles.value,
            "min_box_px": settings.min_box_px,
            "size_check": settings.size_check,
        }

    def segment(self, image_bgr: NDArray[np.uint8], depth: NDArray[np.float32] | None, camera: RectifiedCamera | None) -> Segmentation:
        """See `Segmenter`."""
        height, width = image_bgr.shape[:2]
        merged = merge(self._look(image_bgr), self._settings.confidence_threshold, self._settings.nms_iou)
        ground = fit_ground_plane(depth, camera) if depth is not None and camera is not None and len(merged.scores) else None
        scene = _Scene(width, height, depth, camera, ground)
        refused: Counter[str] = Counter()
        found: list[_Found] = []
        for box, score, label in zip(clip_xyxy(merged.boxes_xyxy, width, height), merged.scores, merged.labels, strict=True):
            one = self._measure(box, float(score), int(label), scene)
            if one.object_class.id not in self._wanted:
                continue
            reason = self._misfit(one, scene) or _part_of_another(one, found)
            if reason is None and len(found) >= self._settings.max_detections:
                reason = "more than max_detections"
            if reason is not None:
                refused[reason] += 1
            else:
                found.append(one)
        return Segmentation(tuple(_raw_detection(one, scene) for one in found), dict(sorted(refused.items())))

    def _look(self, image_bgr: NDArray[np.uint8]) -> Candidates:
        height, width = image_bgr.shape[:2]
        parts = []
        for tile in tile_layout(width, height, self._settings.tiles):
            seen = self._detector.detect(tile.pixels(image_bgr), self._settings.confidence_threshold, self._settings.nms_iou, self._rows)
            boxes = clip_xyxy(seen.boxes_xyxy + np.array([tile.x, tile.y, tile.x, tile.y]), width, height)
            cut = cut_by_tile(boxes, tile, width, height)
            parts.append(Candidates(boxes, seen.scores, seen.labels, self._groups[seen.labels], cut))
        return concatenate(parts)

    def _measure(self, box_xyxy: NDArray[np.float64], score: float, label: int, scene: _Scene) -> _Found:
        """Outline the object and settle its class: where a label may mean several, the measured height decides."""
        default = self._default_class[label]
        if scene.depth is None or scene.camera is None:
            return _Found(default, score, box_xyxy, None)
        measured = object_depth(box_xyxy, scene.depth, scene.camera, scene.ground, default.size_prior)
        if measured is None:
            return _Found(default, score, box_xyxy, None)
        height = _height_m(box_xyxy, measured, scene.camera)
        chosen = self._ontology.for_detector_label(self._detector.labels[label], height) or default
        if chosen is not default:
            measured = object_depth(box_xyxy, scene.depth, scene.camera, scene.ground, chosen.size_prior)
        return _Found(chosen, score, box_xyxy, measured)

    def _misfit(self, one: _Found, scene: _Scene) -> str | None:
        box = one.box_xyxy
        if box[3] - box[1] < self._settings.min_box_px:
            return "smaller than min_box_px"
        if not self._settings.size_check or one.depth is None or scene.camera is None:
            return None
        height = _height_m(box, one.depth, scene.camera)
        return misfit(box, height, one.depth.depth_m, one.depth.bottom_m, one.object_class.size_prior, scene.height)


def _height_m(box_xyxy: NDArray[np.float64], measured: ObjectDepth, camera: RectifiedCamera) -> float:
    return float(box_xyxy[3] - box_xyxy[1]) * measured.depth_m / camera.fy


def _part_of_another(one: _Found, better: list[_Found]) -> str | None:
    """A box within a better one of the same group at the same depth is a part of that object, such as a wheel arch or a torso."""
    rivals = [other for other in better if other.object_class.group == one.object_class.group and _same_depth(one, other)]
    if not rivals:
        return None
    shared = ios_matrix([one.box_xyxy], [other.box_xyxy for other in rivals])
    return "part of another detection" if shared.max() > PART_IOS else None


def _same_depth(one: _Found, other: _Found) -> bool:
    if one.depth is None or other.depth is None:
        return True
    nearest = min(one.depth.depth_m, other.depth.depth_m)
    return abs(one.depth.depth_m - other.depth.depth_m) <= max(PART_DEPTH_M, PART_DEPTH_SHARE * nearest)


def _raw_detection(one: _Found, scene: _Scene) -> RawDetection:
    if one.depth is None:
        mask, source = box_mask(one.box_xyxy, scene.width, scene.height), "box"
    else:
        mask, source = one.depth.mask, "depth"
    return RawDetection(one.object_class.id, one.score, one.box_xyxy, mask, source)
