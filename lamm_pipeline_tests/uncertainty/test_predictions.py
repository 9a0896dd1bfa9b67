"""Predictions as files: what is written is read, with NumPy and pandas as well, and what is wrong is told."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lamm_pipeline.errors import InputError
from lamm_pipeline.uncertainty.box_disagreement import box_disagreement
from lamm_pipeline.uncertainty.evaluation_files import (
    content_digest,
    frame_files,
    frames_version,
    read_evaluation,
    recordings_of,
    stamp,
    write_evaluation,
)
from lamm_pipeline.uncertainty.predictions import MemberBoxes, PredictionWriter, read_frame
from lamm_pipeline.uncertainty.scores import BadPredictionError
from lamm_pipeline_tests.uncertainty.rides import evaluation, probabilities

NIGHT = evaluation("night")
P = probabilities(1)
LABELS = np.arange(len(P[0])) % 4 - 1


def written(folder: Path, suffix: str = ".npz", **arrays: Any) -> Path:
    with PredictionWriter(folder / "night", NIGHT, "drive", suffix=suffix) as writer:
        return writer.add("drive:000012", **arrays)


@pytest.mark.requirement("UNC-01")
@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_what_is_written_is_read(suffix: str, dtype: Any, tmp_path: Path) -> None:
    path = written(tmp_path, suffix, probabilities=P.astype(dtype), labels=LABELS)
    assert path == tmp_path / "night" / "drive" / f"000012{suffix}"
    found = read_frame(path, NIGHT, len(P[0]))
    assert np.array_equal(found.probabilities, P.astype(dtype))
    assert np.array_equal(found.labels, LABELS)
    assert found.points == len(P[0])
    assert read_evaluation(tmp_path / "night") == NIGHT
    assert recordings_of(tmp_path / "night") == ["drive"]


def test_a_file_written_with_numpy_alone_is_read_and_a_large_one_is_mapped(tmp_path: Path) -> None:
    large = probabilities(2, points=60_000)
    np.savez(tmp_path / "000001.npz", probabilities=large)
    found = read_frame(tmp_path / "000001.npz", NIGHT, 60_000)
    assert isinstance(found.probabilities, np.memmap)
    assert np.array_equal(found.probabilities, large)
    np.savez_compressed(tmp_path / "000002.npz", probabilities=np.asfortranarray(large))
    assert np.array_equal(read_frame(tmp_path / "000002.npz", NIGHT, 60_000).probabilities, large)  # type: ignore[arg-type]
    np.savez(tmp_path / "000003.npz", probabilities=np.asfortranarray(large))
    assert np.array_equal(read_frame(tmp_path / "000003.npz", NIGHT, 60_000).probabilities, large)  # type: ignore[arg-type]


def test_a_table_written_with_pandas_is_read(tmp_path: Path) -> None:
    rows = pd.DataFrame({"mean": [list(point) for point in P[0].astype(float)], "mutual_information": np.linspace(0, 1, len(P[0]))})
    rows.to_parquet(tmp_path / "000001.parquet")
    found = read_frame(tmp_path / "000001.parquet", NIGHT, len(P[0]))
    assert np.array_equal(found.mean, P[0].astype(float))
    assert found.scores["mutual_information"].shape == (len(P[0]),)


def test_scores_of_the_whole_frame_and_boxes_are_read(tmp_path: Path) -> None:
    boxes = MemberBoxes(np.array([[0.0, 0, 2, 2], [1, 1, 3, 3]]), np.array([0, 2]), np.array([1, 1]), np.array([0.5, 0.75]))
    found = read_frame(written(tmp_path, scores={"mutual_information": 0.25}, boxes=boxes), NIGHT, None)
    assert found.points is None
    assert found.scores["mutual_information"] == 0.25
    assert found.boxes is not None
    assert np.array_equal(found.boxes.member, [0, 2])


BAD: dict[str, tuple[dict[str, Any], str, str]] = {
    "classes": (
        {"probabilities": P[:, :, :2] / P[:, :, :2].sum(axis=-1, keepdims=True)},
        "wrong class count",
        "has 2 classes, the evaluation 3",
    ),
    "members": ({"probabilities": P[:2]}, "wrong member count", "has 2 members, the evaluation 3"),
    "points": ({"probabilities": P[:, 1:]}, "wrong point count", "has 399 points, the frame's cloud has 400"),
    "labels": ({"probabilities": P, "labels": LABELS[1:]}, "wrong point count", "labels has 399 points"),
    "label_range": ({"probabilities": P, "labels": LABELS + 1}, "wrong labels", "there are 3 classes"),
    "label_type": ({"probabilities": P, "labels": LABELS.astype(float)}, "wrong labels", "not a whole number"),
    "axes": ({"probabilities": P[0]}, "wrong shape", "members, points, classes"),
    "integers": ({"mean": np.ones((400, 3), int)}, "wrong shape", "not floating point"),
    "nothing": ({"logits": P}, "no predictions", "logits"),
    "no_points": ({"probabilities": P[:, :0]}, "wrong point count", "0 points"),
    "score_range": ({"mutual_information": np.array(1.5)}, "wrong score", "not between 0 and 1"),
    "score_nan": ({"predictive_entropy": np.full(400, np.nan)}, "not finite", "predictive_entropy"),
    "boxes": ({"boxes": np.zeros((2, 3)), "box_member": np.zeros(2, int), "box_class": np.zeros(2, int)}, "wrong boxes", "(boxes, 4)"),
    "box_member": ({"boxes": np.zeros((1, 4)), "box_member": np.array([3]), "box_class": np.array([0])}, "wrong boxes", "from 0 to 2"),
    "box_corners": (
        {"boxes": np.array([[5.0, 0, 1, 1]]), "box_member": np.array([0]), "box_class": np.array([0])},
        "wrong boxes",
        "x1 <= x2",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_told(case: str, tmp_path: Path) -> None:
    arrays, kind, words = BAD[case]
    np.savez(tmp_path / "000001.npz", **arrays)
    with pytest.raises(BadPredictionError) as told:
        read_frame(tmp_path / "000001.npz", NIGHT, 400)
    assert told.value.kind == kind
    assert words in str(told.value)


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "000001.npz"
    np.savez(path, probabilities=probabilities(1, points=60_000))
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"no archive", whole[:100] + b"\xff" * 60 + whole[160:]):
        path.write_bytes(content)
        with pytest.raises(BadPredictionError, match="cannot be read"):
            read_frame(path, NIGHT, 60_000)
    np.savez(path, probabilities=np.array([{"a": 1}], dtype=object))
    with pytest.raises(BadPredictionError, match="cannot be read"):
        read_frame(path, NIGHT, 400)
    (tmp_path / "000002.parquet").write_bytes(b"PAR1")
    with pytest.raises(BadPredictionError, match="cannot be read"):
        read_frame(tmp_path / "000002.parquet", NIGHT, 400)
    pd.DataFrame({"mean": [[0.5, 0.5, 0.0], [1.0, 0.0]]}).to_parquet(tmp_path / "000003.parquet")
    with pytest.raises(BadPredictionError, match="not of one length"):
        read_frame(tmp_path / "000003.parquet", NIGHT, 2)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"probabilities": P * 0.5}, "not to 1"),
        ({"probabilities": np.where(P.max() == P, np.nan, P)}, "not finite"),
        ({"probabilities": P[0]}, "members, points, classes"),
        ({}, "neither"),
    ],
)
def test_the_writer_refuses_what_could_not_be_read(arrays: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        written(tmp_path, **arrays)
    assert frame_files(tmp_path / "night" / "drive") == []


def test_the_writer_refuses_frames_of_others_and_another_evaluation_in_its_folder(tmp_path: Path) -> None:
    written(tmp_path, probabilities=P)
    with PredictionWriter(tmp_path / "night", NIGHT, "drive") as writer:
        for frame_id in ("ride:000001", "drive", "drive:x"):
            with pytest.raises(InputError, match="no frame of 'drive'"):
                writer.add(frame_id, P)
    with (
        pytest.raises(InputError, match="another evaluation already"),
        PredictionWriter(tmp_path / "night", replace(NIGHT, model_id="other"), "ride"),
    ):
        pass
    with pytest.raises(InputError, match="written as"):
        PredictionWriter(tmp_path / "night", NIGHT, "drive", suffix=".csv")
    with pytest.raises(InputError, match=r"write them as \.npz"):
        written(tmp_path, ".parquet", scores={"mutual_information": 0.25})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"id": "../x"}, "the id"),
        ({"id": ""}, "`id`"),
        ({"model_id": None}, "`model_id`"),
        ({"classes": ["car"]}, "at least two"),
        ({"classes": ["car", "car"]}, "at least two"),
        ({"classes": "car"}, "list of names"),
        ({"foreground": ["tree"]}, "tree"),
        ({"members": 0}, "`members` is 0"),
        ({"members": 2.5}, "`members` is 2.5"),
        ({"members": True}, "`members` is True"),
        ({"created_at": "yesterday"}, "`created_at`"),
        ({"created_at": "2026-05-01T12:00:00"}, "time with zone"),
    ],
)
def test_a_wrong_evaluation_is_told(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    write_evaluation(tmp_path, NIGHT)
    path = tmp_path / "evaluation.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=r"evaluation\.json") as told:
        read_evaluation(tmp_path)
    assert words in str(told.value)


def test_a_folder_without_evaluation_or_with_broken_json_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no evaluation"):
        read_evaluation(tmp_path)
    for text in ("{", "[]", '"text"'):
        (tmp_path / "evaluation.json").write_text(text)
        with pytest.raises(InputError, match="is no JSON"):
            read_evaluation(tmp_path)


def test_two_files_of_one_frame_are_told(tmp_path: Path) -> None:
    written(tmp_path, probabilities=P)
    path = written(tmp_path, ".parquet", probabilities=P)
    with pytest.raises(InputError, match="of one frame"):
        frame_files(path.parent)


def test_the_frames_version_comes_with_the_predictions(tmp_path: Path) -> None:
    with PredictionWriter(tmp_path, NIGHT, "drive", frames_version="abc"):
        pass
    assert frames_version(tmp_path / "drive") == "abc"
    (tmp_path / "drive" / "recording.json").write_text("[]")
    with pytest.raises(InputError, match=r"recording\.json"):
        frames_version(tmp_path / "drive")


def test_the_digest_is_of_the_content_and_the_stamp_notices_changes(tmp_path: Path) -> None:
    written(tmp_path, probabilities=P)
    before, stamped = content_digest(tmp_path / "night", "drive"), stamp(tmp_path / "night", "drive")
    shutil.copytree(tmp_path / "night", tmp_path / "copy")
    assert content_digest(tmp_path / "copy", "drive") == before
    written(tmp_path, probabilities=P[[1, 0, 2]])
    assert content_digest(tmp_path / "night", "drive") != before
    assert stamp(tmp_path / "night", "drive") != stamped


def boxes(*rows: tuple[int, int, float]) -> MemberBoxes:
    """Boxes of 10 by 10 from (member, class, left)."""
    corners = np.array([[left, 0.0, left + 10.0, 10.0] for _, _, left in rows]).reshape(-1, 4)
    return MemberBoxes(corners, np.array([row[0] for row in rows], int), np.array([row[1] for row in rows], int))


def test_detectors_that_agree_do_not_disagree() -> None:
    assert box_disagreement(boxes(*((member, 0, 0.0) for member in range(3))), 3) == 0.0
    assert box_disagreement(boxes(), 3) == 0.0
    assert box_disagreement(boxes((0, 0, 0.0)), 1) == 0.0


def test_disagreement_is_one_minus_panoptic_quality() -> None:
    assert box_disagreement(boxes((0, 0, 0.0)), 2) == 1.0, "one member sees nothing"
    assert box_disagreement(boxes((0, 0, 0.0), (1, 1, 0.0)), 2) == 1.0, "another class"
    overlap = 8 / 12
    assert box_disagreement(boxes((0, 0, 0.0), (1, 0, 2.0)), 2) == pytest.approx(1 - overlap)
    one_more = boxes((0, 0, 0.0), (1, 0, 2.0), (1, 0, 50.0))
    assert box_disagreement(one_more, 2) == pytest.approx(1 - overlap / 1.5)
    assert box_disagreement(boxes((0, 0, 0.0), (1, 0, 0.0)), 3) == pytest.approx(2 / 3), "two of three pairs disagree"
    swapped = boxes((1, 0, 0.0), (0, 0, 2.0), (0, 0, 50.0))
    assert box_disagreement(swapped, 2) == pytest.approx(box_disagreement(one_more, 2))
