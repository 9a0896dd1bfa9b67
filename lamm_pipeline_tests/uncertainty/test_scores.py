"""Scores of points: the identities of the literature, independent formulas, and what is no probability."""

import math
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import entropy

from lamm_pipeline.uncertainty.scores import SCORES, BadPredictionError, score_points

ROUNDING = 1e-6


@st.composite
def ensembles(draw: st.DrawFn) -> NDArray[np.float32]:
    """`(members, points, classes)`, with zeros, ones and ties among them."""
    members, points, classes = draw(st.integers(1, 6)), draw(st.integers(1, 12)), draw(st.integers(2, 7))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    weights = rng.gamma(draw(st.sampled_from([0.05, 0.5, 5.0])), size=(members, points, classes))
    if draw(st.booleans()):
        weights = np.rint(weights * 2)
    weights[weights.sum(axis=-1) == 0] = 1.0
    return (weights / weights.sum(axis=-1, keepdims=True)).astype(np.float32)


@pytest.mark.requirement("UNC-01")
@settings(max_examples=150)
@given(ensembles())
def test_the_identities_of_the_literature_hold(p: NDArray[np.float32]) -> None:
    found = score_points(p).values
    whole, expected, mutual = (found[name].astype(float) for name in SCORES[:3])
    assert np.allclose(whole, expected + mutual, atol=ROUNDING)
    assert (mutual >= 0).all()
    assert (mutual <= whole + ROUNDING).all()
    assert (whole <= 1).all()
    votes = found["variation_ratio"]
    assert (votes >= 0).all()
    assert (votes <= 1 - 1 / len(p) + ROUNDING).all()
    assert (found["max_softmax"] >= 1 / p.shape[-1] - ROUNDING).all()


@settings(max_examples=80)
@given(ensembles())
def test_entropies_are_those_of_scipy_divided_by_the_logarithm_of_the_classes(p: NDArray[np.float32]) -> None:
    found, exact = score_points(p).values, p.astype(np.float64)
    base = p.shape[-1]
    assert np.allclose(found["predictive_entropy"], entropy(exact.mean(axis=0), base=base, axis=-1), atol=ROUNDING)
    assert np.allclose(found["expected_entropy"], entropy(exact, base=base, axis=-1).mean(axis=0), atol=ROUNDING)


@settings(max_examples=80)
@given(ensembles(), st.integers(0, 1000))
def test_the_order_of_members_makes_no_difference(p: NDArray[np.float32], seed: int) -> None:
    one, other = score_points(p), score_points(np.random.default_rng(seed).permutation(p))
    for name in SCORES:
        assert np.allclose(one.values[name], other.values[name], atol=ROUNDING)


@settings(max_examples=50)
@given(ensembles())
def test_members_that_agree_have_no_mutual_information(p: NDArray[np.float32]) -> None:
    found = score_points(np.repeat(p[:1], 5, axis=0)).values
    assert found["mutual_information"].max() <= ROUNDING
    assert found["variation_ratio"].max() == 0.0
    assert np.allclose(found["predictive_entropy"], found["expected_entropy"], atol=ROUNDING)


def test_members_that_are_sure_of_different_classes_have_all_of_it() -> None:
    found = score_points(np.eye(4, dtype=np.float32)[:, None, :])
    assert found.values["mutual_information"][0] == pytest.approx(1.0, abs=ROUNDING)
    assert found.values["expected_entropy"][0] == 0.0
    assert found.values["variation_ratio"][0] == pytest.approx(0.75)
    assert found.values["max_softmax"][0] == pytest.approx(0.25)


def test_values_known_by_hand_and_only_entropies_are_divided_by_log_c() -> None:
    p = np.array([[[0.5, 0.5, 0.0]], [[1.0, 0.0, 0.0]]], np.float32)
    found = score_points(p)
    whole = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25)) / math.log(3)
    assert found.values["predictive_entropy"][0] == pytest.approx(whole, abs=ROUNDING)
    assert found.values["expected_entropy"][0] == pytest.approx(0.5 * math.log(2) / math.log(3), abs=ROUNDING)
    assert found.values["variation_ratio"][0] == 0.0  # of equals the first is voted for
    assert found.values["max_softmax"][0] == 0.75
    assert found.predicted.tolist() == [0]


def test_a_mean_gives_no_scores_of_members() -> None:
    assert set(score_points(np.full((1, 3, 2), 0.5, np.float32), members=False).values) == {"predictive_entropy", "max_softmax"}


def test_half_precision_is_scaled_to_sums_of_one() -> None:
    p = np.random.default_rng(1).dirichlet(np.ones(20), (5, 1000))
    exact, half = score_points(p), score_points(p.astype(np.float16))
    for name in SCORES[:3]:
        assert np.abs(exact.values[name] - half.values[name]).max() < 2e-3
        assert half.values[name].max() <= 1.0


@pytest.mark.parametrize(
    ("value", "kind"),
    [(np.nan, "not finite"), (np.inf, "not finite"), (-0.1, "negative"), (0.9, "sum is not one"), (0.0, "sum is not one")],
)
@pytest.mark.parametrize("place", [0, 9999])
def test_what_is_no_probability_is_told(value: float, kind: str, place: int) -> None:
    p = np.full((3, 10_000, 2), 0.5, np.float32)
    p[1, place, 0] = value
    with pytest.raises(BadPredictionError) as told:
        score_points(p)
    assert told.value.kind == kind


def test_a_mapped_file_is_scored_in_little_memory(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    np.save(tmp_path / "p.npy", rng.dirichlet(np.ones(4), (5, 100_000)).astype(np.float32))
    mapped = np.load(tmp_path / "p.npy", mmap_mode="r")
    score_points(mapped[:, :100])
    tracemalloc.start()
    score_points(mapped)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6e6, "the scores alone are 2.4 MB, the probabilities 8 MB"
