"""The association on its own, with a motion model so simple that every expectation can be worked out by hand."""

import json

import numpy as np
import pytest

from lamm_pipeline.tracking.byte_track import AssociationRules, ByteTracker

RULES = AssociationRules(
    high_score=0.6,
    low_score=0.1,
    new_track_score=0.7,
    min_similarity_high=0.2,
    min_similarity_low=0.5,
    min_similarity_unconfirmed=0.3,
    max_lost=3,
    min_hits=2,
)


class OnALine:
    """Things that stand still on a line; two that are 1 apart have nothing in common."""

    def start(self, measurements):
        return measurements.copy(), np.zeros((len(measurements), 1, 1))

    def predict(self, means, covariances, dt):
        return means, covariances + dt

    def update(self, means, covariances, measurements):  # noqa: ARG002
        return measurements.copy(), np.zeros_like(covariances)

    def similarity(self, means, covariances, measurements):  # noqa: ARG002
        return np.clip(1.0 - np.abs(means - measurements.T), 0.0, 1.0)


def run(tracker, *frames):
    """Feed frames of `(position, score)` or `(position, score, group)`; returns the track ids after each."""
    ids = []
    for frame in frames:
        positions = np.array([each[0] for each in frame], dtype=float).reshape(-1, 1)
        scores = np.array([each[1] for each in frame], dtype=float)
        groups = np.array([each[2] if len(each) > 2 else 0 for each in frame], dtype=np.int64)
        owners = tracker.update(positions, scores, groups, 1.0)
        ids.append([None if owner is None else owner.track_id for owner in owners])
    return ids


@pytest.fixture
def tracker():
    return ByteTracker(RULES, OnALine())


@pytest.mark.requirement("TRK-02", "TRK-03")
def test_a_track_gets_its_id_when_it_has_enough_hits_and_keeps_it(tracker):
    assert run(tracker, [(0.0, 0.9)], [(0.1, 0.9)], [(0.2, 0.9)]) == [[0], [1], [1]]


@pytest.mark.requirement("TRK-02")
def test_a_low_score_continues_a_track(tracker):
    assert run(tracker, [(0.0, 0.9)], [(0.0, 0.9)], [(0.1, 0.2)], [(0.1, 0.9)])[2:] == [[1], [1]]


@pytest.mark.requirement("TRK-02")
def test_a_low_score_is_matched_only_after_the_high_ones(tracker):
    frames = ([(0.0, 0.9)], [(0.0, 0.9)], [(0.0, 0.5), (0.3, 0.9)])
    assert run(tracker, *frames)[2] == [None, 1]


@pytest.mark.requirement("TRK-02")
def test_a_low_score_neither_starts_a_track_nor_confirms_one_nor_finds_a_lost_one(tracker):
    assert run(tracker, [(0.0, 0.5)], [(0.0, 0.5)]) == [[None], [None]]
    assert run(tracker, [(0.0, 0.9)], [(0.0, 0.5)], [(0.0, 0.9)]) == [[0], [None], [0]]
    assert run(tracker, [(0.0, 0.9)], [], [(0.0, 0.5)], [(0.0, 0.9)]) == [[1], [], [None], [1]]


@pytest.mark.requirement("TRK-02")
def test_a_score_not_above_the_low_threshold_is_not_used(tracker):
    assert run(tracker, [(0.0, 0.9)], [(0.0, 0.9)], [(0.0, 0.1)])[2] == [None]


@pytest.mark.requirement("TRK-02")
def test_a_high_score_below_the_one_for_new_tracks_continues_but_does_not_start(tracker):
    assert run(tracker, [(0.0, 0.65)]) == [[None]]
    assert run(tracker, [(0.0, 0.9)], [(0.0, 0.65)], [(0.0, 0.65)]) == [[0], [1], [1]]


@pytest.mark.requirement("TRK-02")
def test_similarity_is_fused_with_the_score_where_scores_are_high(tracker):
    near_enough_only_with_score_one = [(0.72, 0.61)]  # 0.28 * 0.61 < 0.2
    assert run(tracker, [(0.0, 0.9)], [(0.0, 0.9)], near_enough_only_with_score_one)[2] == [None]
    assert run(tracker, [(0.7, 1.0)])[0] == [1]  # 0.3 * 1.0 > 0.2


@pytest.mark.requirement("TRK-02")
def test_an_unconfirmed_track_that_finds_nothing_is_dropped_at_once(tracker):
    assert run(tracker, [(0.0, 0.9)], [], [(0.0, 0.9)], [(0.0, 0.9)]) == [[0], [], [0], [1]]


@pytest.mark.requirement("TRK-02", "TRK-03")
def test_a_lost_track_is_found_again_within_the_buffer_and_its_id_is_never_given_again(tracker):
    frames = [[(0.0, 0.9)], [(0.0, 0.9)]]
    assert run(tracker, *frames, [], [], [(0.0, 0.9)])[-1] == [1]
    assert run(tracker, [], [], [], [], *frames)[-2:] == [[0], [2]]


@pytest.mark.requirement("TRK-02")
def test_the_assignment_is_the_best_one_in_total_not_the_greedy_one(tracker):
    run(tracker, [(0.0, 0.9), (0.5, 0.9)], [(0.0, 0.9), (0.5, 0.9)])
    assert run(tracker, [(0.2, 0.9), (-0.5, 0.9)]) == [[2, 1]]  # nearest first would give 0.2 to track 1 and leave -0.5 alone


@pytest.mark.requirement("TRK-02")
def test_groups_do_not_mix(tracker):
    assert run(tracker, [(0.0, 0.9, 0)], [(0.0, 0.9, 0)], [(0.0, 0.9, 1)], [(0.0, 0.9, 1), (0.0, 0.9, 0)]) == [[0], [1], [0], [2, 1]]


@pytest.mark.requirement("TRK-02")
def test_tracks_of_the_first_frame_can_be_confirmed_at_once():
    tracker = ByteTracker(AssociationRules(**{**vars(RULES), "confirm_first_frame": True}), OnALine())
    assert run(tracker, [(0.0, 0.9)], [(0.0, 0.9), (5.0, 0.9)]) == [[1], [1, 0]]


@pytest.mark.requirement("TRK-02")
def test_a_tracker_restored_from_json_goes_on_as_if_nothing_had_happened():
    random = np.random.default_rng(3)
    frames = [[(float(x), float(s)) for x, s in random.uniform(0.0, 1.0, (random.integers(0, 5), 2)) * (4.0, 1.0)] for _ in range(60)]
    straight, first = ByteTracker(RULES, OnALine()), ByteTracker(RULES, OnALine())
    expected = run(straight, *frames)
    found = run(first, *frames[:37])
    second = ByteTracker(RULES, OnALine())
    second.restore(json.loads(json.dumps(first.to_json())))
    assert found + run(second, *frames[37:]) == expected
    assert json.dumps(second.to_json()) == json.dumps(straight.to_json())
    assert max(id_ for frame in expected for id_ in frame if id_) >= 4
