"""What the stage before writes is what scenes read."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lamm_pipeline.errors import InputError
from lamm_pipeline.scenes.view import evaluations
from lamm_pipeline.storage.artifacts import Artifact, ArtifactKey, Identity
from lamm_pipeline.storage.local_store import LocalStore
from lamm_pipeline.uncertainty import frame_uncertainty
from lamm_pipeline.uncertainty.frame_uncertainty import POINT_COLUMNS, FrameUncertainty

POINTS = 4
TABLE = np.arange(POINTS * len(POINT_COLUMNS), dtype=np.float16).reshape(POINTS, -1)
CLASSES = ("ground", "obstacle")
PREDICTED, TRUE = np.array([0, 1, 1, 0]), np.array([0, 1, 0, -1])


def row(**values: Any) -> FrameUncertainty:
    fields: dict[str, Any] = {
        "evaluation": "night",
        "model_id": "model-v1",
        "evaluated_at": datetime(2026, 1, 2, tzinfo=UTC),
        "frame_id": "drive:000003",
        "frame_index": 3,
        "timestamp_ns": 1,
        "points": POINTS,
        "score": 0.75,
        "score_kind": "mutual_information_mean",
        "points_path": "points/night/000003.npy",
        "classes_path": "classes/night/000003.npy",
        "class_names": CLASSES,
    }
    return FrameUncertainty(**{**fields, **values})


def published(root: Path, *rows: FrameUncertainty) -> tuple[Artifact, tuple[evaluations.Evaluation, ...]]:
    store = LocalStore(root)
    key, identity = ArtifactKey("recordings", "drive", "frame_uncertainty"), Identity("frame_uncertainty", "1", {}, {}, {})
    with store.draft(key, identity.version) as draft:
        frame_uncertainty.write_scores(draft.directory / "points/night/000003.npy", list(TABLE.T))
        frame_uncertainty.write_classes(draft.directory / "classes/night/000003.npy", PREDICTED, TRUE, len(CLASSES))
        frame_uncertainty.write(draft.directory / frame_uncertainty.FILE_NAME, rows)
        artifact = store.publish(key, draft, identity, {}, {})
    return artifact, evaluations.gather(frame_uncertainty.read(artifact.file(frame_uncertainty.FILE_NAME)))


@pytest.mark.parametrize(
    ("score_kind", "of_points"),
    [("mutual_information_mean", True), ("predictive_entropy_mean", True), ("box_disagreement", False), ("least_confidence", False)],
)
def test_points_have_the_score_shown_where_it_is_one_of_points_and_else_that_of_their_frame(
    tmp_path: Path, score_kind: str, of_points: bool
) -> None:
    artifact, [found] = published(tmp_path, row(score_kind=score_kind))
    scores = evaluations.point_scores(artifact, found.frames[3], POINTS)
    column = POINT_COLUMNS.index(found.frames[3].kind) if of_points else None
    assert scores.tolist() == ([0.75] * POINTS if column is None else TABLE[:, column].tolist())


@pytest.mark.requirement("CAT-12")
def test_points_have_the_classes_that_were_written(tmp_path: Path) -> None:
    artifact, [found] = published(tmp_path, row(frame_index=2, classes_path=None, class_names=()), row())
    assert (found.class_names, found.has_classes) == (CLASSES, True)
    classes = evaluations.point_classes(artifact, found, found.frames[3], POINTS)
    assert classes is not None
    assert classes.T.tolist() == [PREDICTED.tolist(), TRUE.tolist()]
    assert evaluations.point_classes(artifact, found, found.frames[2], POINTS) is None


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "cannot be read"),
        (b"no array", "cannot be read"),
        (np.zeros((3, 2), np.int8), "is for"),
        (np.full((POINTS, 2), 2), "has classes from 2 to 2, the evaluation has 2"),
        (np.full((POINTS, 2), -2), "has classes from -2"),
    ],
)
def test_a_file_of_classes_that_is_gone_or_wrong_is_told(tmp_path: Path, content: Any, sentence: str) -> None:
    artifact, [found] = published(tmp_path, row())
    path = artifact.file("classes/night/000003.npy")
    path.unlink()
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.save(path, content)
    with pytest.raises(InputError, match=f"{sentence}.* Materialize `frame_uncertainty` again"):
        evaluations.point_classes(artifact, found, found.frames[3], POINTS)


def test_each_kind_of_score_has_peaks_of_its_own(tmp_path: Path) -> None:
    entropies = [row(frame_index=n, score=0.1 + n / 100, score_kind="predictive_entropy_mean") for n in range(20)]
    boxes = [row(frame_index=20 + n, score=0.9, score_kind="box_disagreement") for n in range(20)]
    _, [found] = published(tmp_path, *entropies, *boxes)
    assert found.kinds == ("box_disagreement", "predictive_entropy")
    assert found.peaks() == [*range(20, 30), *range(19, 9, -1)]
