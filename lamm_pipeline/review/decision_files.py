"""COCO files for a labelling tool.

    <folder>/images/drive_000012.png      left images (links)
    <folder>/annotations.json             what is there now: the models' annotations with the decisions in force

An image also has its `frame_id`, `frame_index` and `timestamp_ns`, an annotation its `detection_id`, which is among its `attributes` too,
where CVAT keeps it. `returned_files.py` reads what comes back and needs none of it.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, TextIO

import cv2
import numpy as np

from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction.frame_registry import FrameRecord, FrameRegistry
from lamm_pipeline.geometry import rle
from lamm_pipeline.ontology.ontology import Ontology
from lamm_pipeline.review.decisions import DecisionState, Outcome, SubjectKind, outcome
from lamm_pipeline.segmentation.detections import Detection, FrameDetections
from lamm_pipeline.storage.checkout import link

ANNOTATIONS_FILE = "annotations.json"
IMAGES_FOLDER = "images"


class MaskForm(StrEnum):
    """How masks are written: exactly as runs, as polygons for tools that know no runs, or not at all."""

    rle = "rle"
    polygons = "polygons"
    none = "none"


def write_for_labelling(
    folder: Path,
    registry: FrameRegistry,
    frames_folder: Path,
    frames: Iterable[FrameDetections],
    state: DecisionState,
    ontology: Ontology,
    *,
    sequence_ids: Mapping[str, Sequence[str]] | None = None,
    masks: MaskForm = MaskForm.rle,
    only: Collection[str] | None = None,
) -> dict[str, int]:
    """Write the images of a recording and what is known of them for a labelling tool.

    Frames and annotations that people excluded are left out; corrected classes, boxes and masks are as corrected.

    Args:
        folder: is made; refused when it exists with something in it.
        registry: of the frames.
        frames_folder: of the artifact `frames`.
        frames: the detections.
        state: the decisions in force.
        ontology: gives the categories.
        sequence_ids: of the sequence annotations that a detection is part of, by detection id.
        masks: how masks are written.
        only: ids of the frames that are wanted, None for all.

    Returns:
        Numbers of images and annotations.

    Raises:
        InputError: the folder is not empty, or there is no such frame.
    """
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} exists already. Name another folder, or remove it first.")
    wanted = _wanted(registry, state, only)
    (folder / IMAGES_FOLDER).mkdir(parents=True, exist_ok=True)
    numbers = {frame_id: number for number, frame_id in enumerate(wanted, start=1)}

    def images() -> Iterator[dict[str, Any]]:
        for record in wanted.values():
            name = f"{registry.recording}_{record.filename_base}.png"
            link(frames_folder / str(record.image_left), folder / IMAGES_FOLDER / name)
            yield {
                "id": numbers[record.frame_id],
                "file_name": name,
                "width": registry.width,
                "height": registry.height,
                "frame_id": record.frame_id,
                "frame_index": record.svo2_frame_index,
                "timestamp_ns": record.timestamp_ns,
            }

    def annotations() -> Iterator[dict[str, Any]]:
        count = 0
        for frame in frames:
            for each in frame.detections if frame.frame_id in wanted else ():
                sequences = (sequence_ids or {}).get(each.detection_id, ())
                seen = outcome(state, frame.frame_id, each.detection_id, each.class_id, sequences)
                if seen.excluded_by is None:
                    count += 1
                    yield {"id": count, "image_id": numbers[frame.frame_id], **_annotation(each, seen, ontology, masks)}

    with (folder / ANNOTATIONS_FILE).open("w", encoding="utf-8", newline="\n") as file:
        categories = [{"id": each.category_id, "name": each.id, "supercategory": each.group} for each in ontology.classes]
        head = {"info": {"description": f"Recording {registry.recording}, to be looked at"}, "licenses": [], "categories": categories}
        file.write("{\n")
        file.writelines(f"{_json(name)}: {_json(value)},\n" for name, value in head.items())
        counts = {"images": _write_list(file, "images", images())}
        file.write(",\n")
        counts["annotations"] = _write_list(file, "annotations", annotations())
        file.write("\n}\n")
    return counts


def polygons(mask_rle: Mapping[str, Any]) -> list[list[int]]:
    """Outlines of a mask as COCO's polygons; they lose a little of it, and holes altogether."""
    outlines, _ = cv2.findContours(rle.decode(mask_rle).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return [[int(side) for side in outline.ravel()] for outline in outlines if len(outline) >= 3]


def _wanted(registry: FrameRegistry, state: DecisionState, only: Collection[str] | None) -> dict[str, FrameRecord]:
    known = {frame.frame_id: frame for frame in registry.selected_frames}
    for frame_id in only or ():
        if frame_id not in known:
            raise InputError(f"There is no frame {frame_id!r} among those extracted from {registry.recording}.")
    return {
        frame_id: frame
        for frame_id, frame in known.items()
        if (only is None or frame_id in only) and not state.verdict(SubjectKind.frame, frame_id).excluded
    }


def _annotation(detection: Detection, seen: Outcome, ontology: Ontology, masks: MaskForm) -> dict[str, Any]:
    x1, y1, x2, y2 = seen.box_xyxy or detection.box_xyxy
    mask_rle = seen.mask_rle or detection.mask_rle
    return {
        "category_id": ontology.by_id(seen.class_id).category_id,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": rle.area(mask_rle),
        "segmentation": dict(mask_rle) if masks is MaskForm.rle else polygons(mask_rle) if masks is MaskForm.polygons else [],
        "iscrowd": 0,
        "score": detection.confidence,
        "detection_id": detection.detection_id,
        "attributes": {"detection_id": detection.detection_id},
    }


def _write_list(file: TextIO, name: str, entries: Iterable[Mapping[str, Any]]) -> int:
    file.write(f"{_json(name)}: [")
    count = 0
    for count, entry in enumerate(entries, start=1):
        file.write(("\n" if count == 1 else ",\n") + _json(entry))
    file.write("\n]")
    return count


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
