"""Histogram, calibration, sparsification and overlap, against definitions written out over the points."""

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from lamm_pipeline.uncertainty.evaluation_files import Evaluation
from lamm_pipeline.uncertainty.frame_uncertainty import FrameUncertainty
from lamm_pipeline.uncertainty.score_frame import point_statistics
from lamm_pipeline.uncertainty.scores import PointScores
from lamm_pipeline.uncertainty.summary import histogram, summarize, top_frames
from lamm_pipeline.uncertainty.tally import Tally, calibration_error, class_iou, mean_iou, sparsification, tally_points

EVALUATION = Evaluation("night", "v3", ("ground", "obstacle"), 5, ("obstacle",), "2026-05-01T12:00:00+00:00")


def row(index: int, score: float, iou: float | None = None) -> FrameUncertainty:
    moment = datetime(2026, 5, 1, 12, tzinfo=UTC)
    return FrameUncertainty("night", "v3", moment, f"drive:{index:06d}", index, index, 10, score, "mutual_information_mean", iou=iou)


def points(seed: int, count: int = 5000, classes: int = 3) -> tuple[PointScores, NDArray[np.int64]]:
    """Points of which the uncertain ones are wrong more often."""
    rng = np.random.default_rng(seed)
    uncertain = rng.uniform(size=count).astype(np.float32) ** 2
    truth = rng.integers(0, classes, count)
    wrong = rng.uniform(size=count) < 0.5 * uncertain
    predicted = np.where(wrong, (truth + 1) % classes, truth).astype(np.int32)
    confidence = (1 - 0.6 * uncertain).astype(np.float32)
    labels = np.where(rng.uniform(size=count) < 0.1, -1, truth)
    return PointScores({"mutual_information": uncertain, "max_softmax": confidence}, predicted), labels


@pytest.mark.requirement("AV-19", "UNC-08")
@given(st.lists(st.one_of(st.floats(0, 1), st.integers(0, 10).map(lambda n: n / 10))))
def test_ten_buckets_of_a_tenth_add_up_to_the_frames(scores: list[float]) -> None:
    found = histogram(scores)
    assert [bucket["from"] for bucket in found] == [n / 10 for n in range(10)]
    assert sum(bucket["frames"] for bucket in found) == len(scores)
    for bucket in found[:-1]:
        assert bucket["frames"] == sum(bucket["from"] <= score < bucket["to"] for score in scores)


@pytest.mark.requirement("AV-19", "UNC-07", "UNC-09")
def test_mean_percentile_and_top_ten_are_numpys() -> None:
    scores = np.random.default_rng(3).uniform(size=37)
    rows = [row(index, float(score), iou=0.5) for index, score in enumerate(scores)]
    found = summarize(EVALUATION, iter(rows), Tally.empty(2), "mutual_information")
    assert found["mean"] == pytest.approx(scores.mean(), abs=1e-12)
    assert found["p95"] == np.percentile(scores, 95)
    assert [top["score"] for top in found["top"]] == sorted(scores, reverse=True)[:10]
    assert found["top"][0] == {
        "frame_id": f"drive:{scores.argmax():06d}",
        "frame_index": scores.argmax(),
        "score": scores.max(),
        "score_kind": "mutual_information_mean",
        "iou": 0.5,
    }
    assert sum(bucket["frames"] for bucket in found["histogram"]) == found["frames"] == 37
    assert found["labels"] is None


def test_without_frames_nothing_is_made_up() -> None:
    found = summarize(EVALUATION, [], Tally.empty(2), "mutual_information")
    assert (found["frames"], found["mean"], found["p95"], found["max"], found["top"], found["labels"]) == (0, None, None, None, [], None)


def test_of_equal_frames_the_earlier_is_first() -> None:
    assert [each.frame_index for each in top_frames([row(3, 0.5), row(1, 0.5), row(2, 0.9)])] == [2, 1, 3]


def test_statistics_of_points_are_numpys() -> None:
    values = np.random.default_rng(4).uniform(size=1001).astype(np.float32)
    inside = values > 0.7
    found = point_statistics("mutual_information", values, inside)
    assert found["mutual_information_mean"] == pytest.approx(values.astype(float).mean())
    assert found["mutual_information_p95"] == pytest.approx(np.percentile(values, 95))
    assert found["mutual_information_foreground_mean"] == pytest.approx(values[inside].astype(float).mean())
    assert point_statistics("max_softmax", values, np.zeros(1001, bool))["max_softmax_foreground_mean"] is None


def test_the_calibration_error_is_that_of_the_definition() -> None:
    scored, labels = points(5)
    known = labels >= 0
    confidence, right = scored.values["max_softmax"][known].astype(float), scored.predicted[known] == labels[known]
    expected = 0.0
    for low in np.arange(15) / 15:
        inside = (confidence > low) & (confidence <= low + 1 / 15)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert calibration_error(tally_points(scored, labels, "mutual_information", 3)) == pytest.approx(expected, abs=1e-9)


def test_the_area_of_the_sparsification_error_is_that_of_sorted_points() -> None:
    scored, labels = points(6)
    found = sparsification(tally_points(scored, labels, "mutual_information", 3))
    assert found is not None
    known = labels >= 0
    wrong = (scored.predicted != labels)[known]
    by_score = wrong[np.argsort(-scored.values["mutual_information"][known], kind="stable")]
    keep = [len(wrong) - round(share * len(wrong)) for share in found.removed]
    curve = np.array([by_score[len(wrong) - count :].mean() for count in keep]) / wrong.mean()
    oracle = np.array([np.sort(wrong)[:count].mean() for count in keep]) / wrong.mean()
    assert found.ause == pytest.approx(float((curve - oracle).mean()), abs=5e-3)
    assert found.ause_random == pytest.approx(float((1 - oracle).mean()), abs=5e-3)
    assert found.curve[0] == found.oracle[0] == 1.0
    assert found.ause < 0.6 * found.ause_random


def test_a_score_that_knows_nothing_is_as_good_as_random_and_one_that_knows_all_is_perfect() -> None:
    scored, labels = points(7)
    flat = PointScores({**scored.values, "mutual_information": np.full(5000, 0.25, np.float32)}, scored.predicted)
    found = sparsification(tally_points(flat, labels, "mutual_information", 3))
    assert found is not None
    assert found.ause == pytest.approx(found.ause_random)
    error = (scored.predicted != labels).astype(np.float32)
    best = sparsification(
        tally_points(PointScores({**scored.values, "mutual_information": error}, scored.predicted), labels, "mutual_information", 3)
    )
    assert best is not None
    assert best.ause == pytest.approx(0.0, abs=1e-9)


def test_where_nothing_is_wrong_there_is_no_curve() -> None:
    scored, labels = points(8)
    right = PointScores(scored.values, np.maximum(labels, 0).astype(np.int32))
    assert sparsification(tally_points(right, labels, "mutual_information", 3)) is None
    assert sparsification(Tally.empty(3)) is None
    assert calibration_error(Tally.empty(3)) is None


def test_overlap_is_intersection_over_union_of_sets() -> None:
    scored, labels = points(9)
    confusion = tally_points(scored, labels, "mutual_information", 4).confusion
    known = labels >= 0
    true, predicted = labels[known], scored.predicted[known]
    expected = [((true == c) & (predicted == c)).sum() / ((true == c) | (predicted == c)).sum() for c in range(3)]
    assert class_iou(confusion) == pytest.approx([*expected, None])
    assert mean_iou(confusion) == pytest.approx(np.mean(expected))


def test_frames_counted_one_by_one_are_the_frames_counted_at_once_and_survive_a_checkpoint() -> None:
    (one, one_labels), (other, other_labels) = points(10), points(11)
    joined = PointScores(
        {name: np.concatenate([one.values[name], other.values[name]]) for name in one.values},
        np.concatenate([one.predicted, other.predicted]),
    )
    together = tally_points(joined, np.concatenate([one_labels, other_labels]), "mutual_information", 3)
    apart = Tally.from_json(tally_points(one, one_labels, "mutual_information", 3).to_json())
    apart += tally_points(other, other_labels, "mutual_information", 3)
    for name, value in vars(together).items():
        assert np.allclose(value, getattr(apart, name)), name
