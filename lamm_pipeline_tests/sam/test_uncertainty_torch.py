"""Scores of points by torch are those by NumPy."""

import numpy as np
import pytest

from lamm_pipeline.uncertainty.planning import torch_device
from lamm_pipeline.uncertainty.scores import SCORES, BadPredictionError, score_points
from lamm_pipeline.uncertainty.settings import Backend

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


def test_torch_is_used_when_it_is_asked_for() -> None:
    assert torch_device(Backend.torch, "cpu") == "cpu"
