"""`sequence_annotations.json`: what is to be reviewed of a recording, each object once for the whole time it is seen. Owns the format.

    {
    "recording": "drive",
    "source": "cluster",
    "algorithm": "union_find",
    "parameters": {"confidence_threshold": 0.5, "iou_threshold": 0.3, "min_cluster_size": 1, ...},
    "processing_stage": "imported",
    "has_positive": true,
    "has_false_positives": false,
    "has_missed": false,
    "summary": {"boxes": 120, "boxes_used": 97, "sequences": 2, ...},
    "reason": null,
    "sequences_bbox": [
    {"id": "drive:s0001", "is_positive": true, "class_id": "car", "track_id": null, "masklet_id": null, "false_positive_types": [],
     "gif_url_main": null, "gif_url_crop": null, "first_frame": 3, "last_frame": 41, "bboxes": [{...}, ...]},
    ...
    ]
    }

The keys of `sequences_bbox` are those of the annotation tool that the format comes from. There a "detection" is a frame, so `detection_id`
is our frame id, and our detections are `annotation_ids`. The file holds what a machine can say: flags have their careful defaults, links to
GIFs are null (they are made when somebody reads them), and what people decided is in the catalog. `s4_document` puts the three together in
that tool's own keys.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lamm_pipeline.errors import InputError

FILE_NAME = "sequence_annotations.json"
IMPORTED = "imported"
BoxXyxy = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class SequenceBox:
    """An object in one frame.

    Attributes:
        frame_id: `<recording>:<frame index, 6 digits>`; `detection_id` in the file.
        annotation_ids: the detections it encloses, several where the frame has several of one object; empty where it comes from a mask that
            was propagated.
        box_xyxyn: corners in shares of the image's width and height, within 0..1, the upper left one first.
        confidence: best of the detections that have one, None where none has.
    """

    frame_id: str
    annotation_ids: tuple[str, ...]
    box_xyxyn: BoxXyxy
    confidence: float | None

    @property
    def frame_index(self) -> int:
        """Frame index in the recording."""
        return int(self.frame_id.rpartition(":")[2])


@dataclass(frozen=True)
class SequenceAnnotation:
    """One object over time.

    Attributes:
        sequence_id: `<recording>:s<NNNN>`, numbered by first frame, then by position in it.
        class_id: the one that most of its boxes have; None where nothing is known of it.
        track_id: of the track it is, None for other sources.
        masklet_id: of the masklet it is, None for other sources.
        boxes: at least one, at most one a frame, in the order of the frames.
        is_positive: True until a person says otherwise.
        false_positive_types: why it is none, in the words of the vocabulary.
    """

    sequence_id: str
    class_id: str | None
    track_id: int | None
    masklet_id: int | None
    boxes: tuple[SequenceBox, ...]
    is_positive: bool = True
    false_positive_types: tuple[str, ...] = ()

    @property
    def first_frame(self) -> int:
        """Frame index of the first box."""
        return self.boxes[0].frame_index

    @property
    def last_frame(self) -> int:
        """Frame index of the last box."""
        return self.boxes[-1].frame_index


@dataclass(frozen=True)
class SequenceAnnotations:
    """All sequence annotations of a recording.

    Attributes:
        recording: recording key.
        source: what made boxes to one object: `cluster`, `track` or `masklet`.
        algorithm: of the clusters, None for other sources.
        parameters: all that decided the result.
        summary: counts of what was seen, used and left out.
        reason: why there are none, for people; None where there are some.
        sequences: by id.
    """

    recording: str
    source: str
    algorithm: str | None
    parameters: Mapping[str, Any]
    summary: Mapping[str, int]
    reason: str | None
    sequences: tuple[SequenceAnnotation, ...]
    processing_stage: str = field(default=IMPORTED)

    def derived(self) -> dict[str, bool]:
        """What the flags of the sequences say about the whole recording; `has_missed` is for a person to say."""
        return {
            "has_positive": any(each.is_positive for each in self.sequences),
            "has_false_positives": any(each.false_positive_types for each in self.sequences),
            "has_missed": False,
        }


def write(path: Path, annotations: SequenceAnnotations) -> None:
    """Write the file, one sequence a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    head = document(annotations)
    sequences = head.pop("sequences_bbox")
    with path.open("w", encoding="utf-8") as file:
        file.write("{\n")
        file.writelines(f"{json.dumps(name)}: {_json(value)},\n" for name, value in head.items())
        file.write('"sequences_bbox": [')
        file.write(",".join(f"\n{_json(each)}" for each in sequences))
        file.write("\n]\n}\n")


def read(path: Path) -> SequenceAnnotations:
    """Read the file.

    Raises:
        InputError: the file is missing or is not one of sequence annotations.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return SequenceAnnotations(
            **{name: content[name] for name in ("recording", "source", "algorithm", "parameters", "summary", "reason")},
            sequences=tuple(_sequence_from_json(each) for each in content["sequences_bbox"]),
            processing_stage=content["processing_stage"],
        )
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing. Materialize `sequence_annotations` first.") from error
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise InputError(f"{path} is not a file of sequence annotations ({error!r}). Materialize `sequence_annotations` again.") from error


def sequence_id(recording: str, number: int) -> str:
    """The id of the sequence annotation with this number, from 1."""
    return f"{recording}:s{number:04d}"


def document(annotations: SequenceAnnotations) -> dict[str, Any]:
    """The content of the file."""
    return {
        "recording": annotations.recording,
        "source": annotations.source,
        "algorithm": annotations.algorithm,
        "parameters": dict(annotations.parameters),
        "processing_stage": annotations.processing_stage,
        **annotations.derived(),
        "summary": dict(annotations.summary),
        "reason": annotations.reason,
        "sequences_bbox": [_sequence_to_json(each) for each in annotations.sequences],
    }


def s4_document(annotations: SequenceAnnotations, gif_urls: Mapping[str, Mapping[str, str | None]] | None = None) -> dict[str, Any]:
    """The annotations in the keys of the annotation tool the format comes from, and no others.

    Args:
        annotations: with the flags that are in force.
        gif_urls: `main` and `crop` by sequence id, where there are any.
    """
    derived = annotations.derived()
    return {
        "has_smoke": derived["has_positive"],
        "has_false_positives": derived["has_false_positives"],
        "has_missed_smoke": derived["has_missed"],
        "processing_stage": annotations.processing_stage,
        "annotation": {
            "sequences_bbox": [_s4_sequence(each, (gif_urls or {}).get(each.sequence_id, {})) for each in annotations.sequences]
        },
    }


def _s4_sequence(sequence: SequenceAnnotation, urls: Mapping[str, str | None]) -> dict[str, Any]:
    return {
        "is_smoke": sequence.is_positive,
        "gif_url_main": urls.get("main"),
        "gif_url_crop": urls.get("crop"),
        "false_positive_types": list(sequence.false_positive_types),
        "bboxes": [{"detection_id": box.frame_id, "xyxyn": list(box.box_xyxyn)} for box in sequence.boxes],
    }


def _sequence_to_json(sequence: SequenceAnnotation) -> dict[str, Any]:
    return {
        "id": sequence.sequence_id,
        "is_positive": sequence.is_positive,
        "class_id": sequence.class_id,
        "track_id": sequence.track_id,
        "masklet_id": sequence.masklet_id,
        "false_positive_types": list(sequence.false_positive_types),
        "gif_url_main": None,
        "gif_url_crop": None,
        "first_frame": sequence.first_frame,
        "last_frame": sequence.last_frame,
        "bboxes": [
            {
                "detection_id": box.frame_id,
                "annotation_ids": list(box.annotation_ids),
                "xyxyn": list(box.box_xyxyn),
                "confidence": box.confidence,
            }
            for box in sequence.boxes
        ],
    }


def _sequence_from_json(stored: Mapping[str, Any]) -> SequenceAnnotation:
    return SequenceAnnotation(
        sequence_id=stored["id"],
        class_id=stored["class_id"],
        track_id=stored["track_id"],
        masklet_id=stored["masklet_id"],
        boxes=tuple(_box_from_json(box) for box in stored["bboxes"]),
        is_positive=stored["is_positive"],
        false_positive_types=tuple(stored["false_positive_types"]),
    )


def _box_from_json(stored: Mapping[str, Any]) -> SequenceBox:
    x1, y1, x2, y2 = stored["xyxyn"]
    return SequenceBox(stored["detection_id"], tuple(stored["annotation_ids"]), (x1, y1, x2, y2), stored["confidence"])


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
