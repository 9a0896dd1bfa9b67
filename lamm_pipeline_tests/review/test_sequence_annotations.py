import json
from pathlib import Path

import pytest

from lamm_pipeline.errors import InputError
from lamm_pipeline.review.sequence_annotations import (
    SequenceAnnotation,
    SequenceAnnotations,
    SequenceBox,
    read,
    s4_document,
    sequence_id,
    write,
)

BOX = (0.735, 0.511, 0.748, 0.52)


def annotations(*sequences: SequenceAnnotation) -> SequenceAnnotations:
    return SequenceAnnotations("drive", "cluster", "union_find", {"iou_threshold": 0.3}, {"boxes": 3}, None, sequences)


def sequence(number: int = 1, **changes: object) -> SequenceAnnotation:
    values = {"class_id": "car", "track_id": None, "masklet_id": None, "boxes": tuple(map(box, (8, 9, 12)))} | changes
    return SequenceAnnotation(sequence_id("drive", number), **values)


def box(frame: int) -> SequenceBox:
    return SequenceBox(f"drive:{frame:06d}", (f"drive:{frame:06d}:0",), BOX, 0.2 if frame != 9 else None)


@pytest.mark.requirement("SEQ-07")
def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    written = annotations(sequence(), sequence(2, track_id=7, is_positive=False, false_positive_types=("dust",)))
    write(tmp_path / "a" / "b.json", written)
    assert read(tmp_path / "a" / "b.json") == written
    write(tmp_path / "again.json", written)
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "a" / "b.json").read_bytes()


@pytest.mark.requirement("SEQ-07", "SEQ-08", "SEQ-13", "SEQ-14")
def test_the_file_has_the_keys_and_the_careful_defaults_of_the_specification(tmp_path: Path) -> None:
    write(tmp_path / "file.json", annotations(sequence()))
    content = json.loads((tmp_path / "file.json").read_text())
    [stored] = content["sequences_bbox"]
    assert (stored["is_positive"], stored["false_positive_types"]) == (True, [])
    assert (stored["gif_url_main"], stored["gif_url_crop"]) == (None, None)
    assert (stored["id"], stored["first_frame"], stored["last_frame"]) == ("drive:s0001", 8, 12)
    assert [(each["detection_id"], each["xyxyn"]) for each in stored["bboxes"]] == [
        (f"drive:{frame:06d}", list(BOX)) for frame in (8, 9, 12)
    ]
    assert [each["confidence"] for each in stored["bboxes"]] == [0.2, None, 0.2]
    assert content["processing_stage"] == "imported"
    assert (content["has_positive"], content["has_false_positives"], content["has_missed"]) == (True, False, False)


def test_a_file_without_sequences_is_read_and_nothing_in_it_is_positive(tmp_path: Path) -> None:
    write(tmp_path / "file.json", annotations())
    assert read(tmp_path / "file.json") == annotations()
    assert json.loads((tmp_path / "file.json").read_text())["has_positive"] is False


@pytest.mark.requirement("SEQ-07", "SEQ-16")
def test_the_compatible_form_has_the_first_tools_keys_and_no_others() -> None:
    found = annotations(sequence(is_positive=False, false_positive_types=("lens_flare",)), sequence(2))
    document = s4_document(found, {"drive:s0001": {"main": "https://host/a.gif", "crop": None}})
    assert document == {
        "has_smoke": True,
        "has_false_positives": True,
        "has_missed_smoke": False,
        "processing_stage": "imported",
        "annotation": {
            "sequences_bbox": [
                {
                    "is_smoke": number == 2,
                    "gif_url_main": "https://host/a.gif" if number == 1 else None,
                    "gif_url_crop": None,
                    "false_positive_types": ["lens_flare"] if number == 1 else [],
                    "bboxes": [{"detection_id": f"drive:{frame:06d}", "xyxyn": list(BOX)} for frame in (8, 9, 12)],
                }
                for number in (1, 2)
            ]
        },
    }


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"recording": "drive"}', '{"sequences_bbox": 3}'])
def test_a_file_that_is_none_of_these_is_refused_with_its_name(content: str, tmp_path: Path) -> None:
    (tmp_path / "file.json").write_text(content)
    with pytest.raises(InputError, match=r"file\.json is not a file of sequence annotations"):
        read(tmp_path / "file.json")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"file\.json is missing"):
        read(tmp_path / "file.json")
