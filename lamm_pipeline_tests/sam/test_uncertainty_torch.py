"""Scores of points by torch are those by NumPy."""

from pathlib import Path

import numpy as np
import pytest

from lamm_pipeline.storage.draft import Draft
from lamm_pipeline.streaming import no_progress
from lamm_pipeline.uncertainty import frame_uncertainty
from lamm_pipeline.uncertainty.planning import plan_recording, torch_device
from lamm_pipeline.uncertainty.score_recording import score_recording
from lamm_pipeline.uncertainty.scores import SCORES, BadPredictionError, score_points
from lamm_pipeline.uncertainty.settings import Backend, UncertaintySettings
from lamm_pipeline.uncertainty.taking_in import add_evaluation
from lamm_pipeline_tests.uncertainty.rides import FRAMES, KEY, Ride, predict

pytestmark = pytest.mark.sam


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(("members", "points", "classes"), [(5, 20_000, 4), (1, 7, 2), (3, 300_000, 3)])
def test_torch_gives_the_same_numbers(members: int, points: int, classes: int, dtype: type) -> None:
    rng = np.random.default_rng(members)
    weights = np.rint(rng.gamma(0.5, size=(members, points, classes)) * 4)
    weights[weights.sum(axis=-1) == 0] = 1.0
    p = (weights / weights.sum(axis=-1, keepdims=True)).astype(dtype)
    one, other = score_points(p), score_points(p, device="cpu")
    for name in SCORES:
        assert np.abs(one.values[name] - other.values[name]).max() <= 1e-6, name
    assert (one.predicted == other.predicted).mean() > 0.9999


def test_torch_refuses_what_is_no_probability() -> None:
    p = np.full((2, 10, 2), 0.5, np.float32)
    p[0, 3, 1] = np.nan
    with pytest.raises(BadPredictionError, match="not finite"):
        score_points(p, device="cpu")


def test_the_table_of_a_recording_is_the_same_by_torch_and_by_numpy(tmp_path: Path) -> None:
    ride = Ride(tmp_path / "root")
    add_evaluation(ride.catalog, predict(tmp_path, "night"), "ada")
    tables, versions = [], []
    for backend in (Backend.torch, Backend.numpy):
        plan = plan_recording(ride.store, ride.catalog, KEY, UncertaintySettings(backend=backend), "cpu")
        folder = tmp_path / backend.value
        score_recording(plan.inputs(), FRAMES, 0.0, Draft.open(folder), workers=1, progress=no_progress)
        tables.append(list(frame_uncertainty.read(folder / frame_uncertainty.FILE_NAME)))
        versions.append(plan.settings["computed_with"])
    assert versions == ["torch cpu", "numpy"]
    for one, other in zip(*tables, strict=True):
        assert one.score == pytest.approx(other.score, abs=1e-6)
        assert one.statistics == pytest.approx(other.statistics, abs=1e-6)


def test_torch_is_used_when_it_is_asked_for() -> None:
    assert torch_device(Backend.torch, "cpu") == "cpu"
