"""Which detections a sequence annotation consists of, also when one of the two was computed again."""

from collections.abc import Collection

from lamm_pipeline.extraction import frame_registry
from lamm_pipeline.geometry.boxes_2d import iou_matrix
from lamm_pipeline.review import sequence_annotations
from lamm_pipeline.review.carry_over import MIN_IOU
from lamm_pipeline.review.sequence_annotations import SequenceAnnotation, SequenceBox
from lamm_pipeline.segmentation import detections
from lamm_pipeline.segmentation.detections import FrameDetections
from lamm_pipeline.storage.artifacts import Artifact


def sequence_members(
    annotations: Artifact, found: Artifact, frames: Artifact, sequence_ids: Collection[str]
) -> tuple[dict[str, list[str]], list[str]]:
    """The detections that are part of some sequence annotations.

    Where the annotations were made from these detections, they name them. Where they were not (people decided on them, so they stayed, or
    they come from masks), a box consists of the detection of its class in its frame that overlaps it most, by at least half.

    Args:
        annotations: the artifact `sequence_annotations`.
        found: the artifact `detections`.
        frames: the artifact `frames` that the detections are of.
        sequence_ids: the sequence annotations that are wanted.

    Returns:
        Ids of sequence annotations by detection id, and those that have no detection at all.
    """
    wanted = [
        each
        for each in sequence_annotations.read(annotations.file(sequence_annotations.FILE_NAME)).sequences
        if each.sequence_id in sequence_ids
    ]
    members: dict[str, list[str]] = {}
    if annotations.manifest.identity.inputs.get("detections") == found.version:
        for sequence in wanted:
            for name in (name for box in sequence.boxes for name in box.annotation_ids):
                members.setdefault(name, []).append(sequence.sequence_id)
    else:
        registry = frame_registry.read(frames.file(frame_registry.FILE_NAME))
        boxes: dict[str, list[tuple[SequenceAnnotation, SequenceBox]]] = {}
        for sequence in wanted:
            for box in sequence.boxes:
                boxes.setdefault(box.frame_id, []).append((sequence, box))
        for frame in detections.read(found.file(detections.FILE_NAME), boxes.keys()):
            for sequence, box in boxes[frame.frame_id]:
                overlapping = _overlapping(frame, sequence.class_id, box, registry.width, registry.height)
                if overlapping is not None:
                    members.setdefault(overlapping, []).append(sequence.sequence_id)
    present = {each for ids in members.values() for each in ids}
    return members, [each.sequence_id for each in wanted if each.sequence_id not in present]


def _overlapping(frame: FrameDetections, class_id: str | None, box: SequenceBox, width: int, height: int) -> str | None:
    same = [each for each in frame.detections if class_id in (None, each.class_id)]
    if not same:
        return None
    x1, y1, x2, y2 = box.box_xyxyn
    ious = iou_matrix([(x1 * width, y1 * height, x2 * width, y2 * height)], [each.box_xyxy for each in same])[0]
    best = int(ious.argmax())
    return same[best].detection_id if ious[best] >= MIN_IOU else None
