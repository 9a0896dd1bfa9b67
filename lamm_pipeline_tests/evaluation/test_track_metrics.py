"""The metrics are TrackEval's, to the last digit that counts."""

import contextlib
import io
import math

import numpy as np
import pytest
import trackeval
from hypothesis import given, settings
from hypothesis import strategies as st

from lamm_pipeline.evaluation.track_metrics import TrackFrame, clear, hota, identity


def sequence(seed, objects=6, frames=25, noise=0.2):
    """Objects that walk about, found most of the time, sometimes under another id, with clutter; similarity as of overlapping intervals."""
    random = np.random.default_rng(seed)
    found = []
    names = random.permutation(objects)
    for _ in range(frames):
        if random.uniform() < 0.15:
            names = random.permutation(objects)
        present = np.flatnonzero(random.uniform(size=objects) < 0.8)
        seen = np.flatnonzero(random.uniform(size=objects) < 0.8)
        apart = np.abs(present[:, None] - seen[None, :]) + random.uniform(0.0, 2.0 * noise, (len(present), len(seen)))
        similarity = np.clip(1.0 - apart, 0.0, 1.0)
        found.append(TrackFrame(present.astype(np.int64), names[seen].astype(np.int64), similarity))
    return found


def trackeval_scores(frames, threshold=0.5):
    def relabelled(ids):
        _, labels = np.unique(np.concatenate(ids), return_inverse=True)
        return np.split(labels, np.cumsum([len(each) for each in ids])[:-1])

    truth, result = [frame.truth for frame in frames], [frame.result for frame in frames]
    data = {
        "num_timesteps": len(frames),
        "num_gt_ids": len(np.unique(np.concatenate(truth))),
        "num_tracker_ids": len(np.unique(np.concatenate(result))),
        "num_gt_dets": sum(map(len, truth)),
        "num_tracker_dets": sum(map(len, result)),
        "gt_ids": relabelled(truth),
        "tracker_ids": relabelled(result),
        "similarity_scores": [frame.similarity for frame in frames],
    }
    config = {"PRINT_CONFIG": False, "THRESHOLD": threshold}
    with contextlib.redirect_stdout(io.StringIO()):
        return [
            metric.eval_sequence(data)
            for metric in (trackeval.metrics.HOTA(), trackeval.metrics.CLEAR(config), trackeval.metrics.Identity(config))
        ]


def assert_equal_to_trackeval(frames, threshold=0.5):
    expected_hota, expected_clear, expected_identity = trackeval_scores(frames, threshold)
    own_hota, own_clear, own_identity = hota(frames), clear(frames, threshold), identity(frames, threshold)
    for own, name in (
        (own_hota.hota, "HOTA"),
        (own_hota.detection_accuracy, "DetA"),
        (own_hota.association_accuracy, "AssA"),
        (own_hota.localization_accuracy, "LocA"),
    ):
        assert own == pytest.approx(np.mean(expected_hota[name]), abs=1e-9), name
    for own, name in (
        (own_clear.mota, "MOTA"),
        (own_clear.motp, "MOTP"),
        (own_clear.tp, "CLR_TP"),
        (own_clear.fp, "CLR_FP"),
        (own_clear.fn, "CLR_FN"),
        (own_clear.id_switches, "IDSW"),
        (own_clear.fragmentations, "Frag"),
    ):
        assert own == pytest.approx(expected_clear[name], abs=1e-9), name
    for own, name in ((own_identity.idf1, "IDF1"), (own_identity.precision, "IDP"), (own_identity.recall, "IDR")):
        assert own == pytest.approx(expected_identity[name], abs=1e-9), name


@settings(max_examples=60)
@given(st.integers(0, 2**31), st.integers(1, 8), st.integers(1, 30), st.floats(0.0, 0.9))
def test_scores_equal_trackevals(seed, objects, frames, noise):
    made = sequence(seed, objects, frames, noise)
    if sum(len(frame.truth) for frame in made):
        assert_equal_to_trackeval(made)


@pytest.mark.parametrize("threshold", [0.3, 0.75])
def test_scores_equal_trackevals_at_other_thresholds(threshold):
    assert_equal_to_trackeval(sequence(11, noise=0.4), threshold)


def test_the_made_sequences_have_switches_and_errors_of_every_kind():
    counts = clear(sequence(1))
    assert min(counts.id_switches, counts.fragmentations, counts.fp, counts.fn, counts.tp) > 5


def frame(truth, result, similarity=None):
    similarity = np.eye(len(truth), len(result)) if similarity is None else similarity
    return TrackFrame(np.array(truth, dtype=np.int64), np.array(result, dtype=np.int64), np.asarray(similarity, dtype=np.float64))


def test_perfect_tracks_score_1():
    frames = [frame([0, 1], [1, 0])] * 5
    assert hota(frames).hota == pytest.approx(1.0)
    assert clear(frames).mota == 1.0
    assert clear(frames).id_switches == 0
    assert identity(frames).idf1 == 1.0


def test_a_switched_id_costs_half_the_identity_and_one_switch_but_no_detection():
    frames = [frame([0], [0])] * 5 + [frame([0], [1])] * 5
    assert clear(frames).id_switches == 1
    assert (clear(frames).tp, clear(frames).fp, clear(frames).fn) == (10, 0, 0)
    assert identity(frames).idf1 == 0.5
    assert hota(frames).detection_accuracy == pytest.approx(1.0)
    assert hota(frames).association_accuracy == pytest.approx(0.5)


def test_one_side_without_anything_scores_0_and_both_are_not_a_number():
    missed, false = [frame([0], [])] * 3, [frame([], [0])] * 3
    assert (hota(missed).hota, clear(missed).fn, clear(missed).mota, identity(missed).idf1) == (0.0, 3, 0.0, 0.0)
    assert (hota(false).hota, clear(false).fp, identity(false).idf1) == (0.0, 3, 0.0)
    assert math.isnan(clear(false).mota)
    nothing = [frame([], [])]
    assert all(math.isnan(value) for value in (hota(nothing).hota, clear(nothing).mota, identity(nothing).idf1, hota([]).hota))
