"""What the stage before writes is what scenes read."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from lamm_pipeline.scenes.view import evaluations
from lamm_pipeline.storage.artifacts import ArtifactKey, Identity
from lamm_pipeline.storage.local_store import LocalStore
from lamm_pipeline.uncertainty import frame_uncertainty
from lamm_pipeline.uncertainty.frame_uncertainty import POINT_COLUMNS, FrameUncertainty

POINTS = 4


@pytest.mark.parametrize(
    ("score_kind", "of_points"),
    [("mutual_information_mean", True), ("predictive_entropy_mean", True), ("box_disagreement", False), ("least_confidence", False)],
)
def test_points_have_the_score_shown_where_it_is_one_of_points_and_else_that_of_their_frame(
    tmp_path: Path, score_kind: str, of_points: bool
) -> None:
    store = LocalStore(tmp_path)
    key, identity = ArtifactKey("recordings", "drive", "frame_uncertainty"), Identity("frame_uncertainty", "1", {}, {}, {})
    table = np.arange(POINTS * len(POINT_COLUMNS), dtype=np.float16).reshape(POINTS, -1)
    row = FrameUncertainty(
        evaluation="night",
        model_id="model-v1",
        evaluated_at=datetime(2026, 1, 2, tzinfo=UTC),
        frame_id="drive:000003",
        frame_index=3,
        timestamp_ns=1,
        points=POINTS,
        score=0.75,
        score_kind=score_kind,
        points_path="points/night/000003.npy",
    )
    with store.draft(key, identity.version) as draft:
        (draft.directory / "points/night").mkdir(parents=True)
        np.save(draft.directory / "points/night/000003.npy", table)
        frame_uncertainty.write(draft.directory / frame_uncertainty.FILE_NAME, [row])
        artifact = store.publish(key, draft, identity, {}, {})
    [found] = evaluations.read(artifact.file(frame_uncertainty.FILE_NAME))
    scores = evaluations.point_scores(artifact, found, 3, POINTS)
    column = POINT_COLUMNS.index(found.kind) if of_points else None
    assert scores is not None
    assert scores.tolist() == ([0.75] * POINTS if column is None else table[:, column].tolist())
