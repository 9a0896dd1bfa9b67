"""Plans of splits: leak-free, deterministic, close to the ratios, and honest about what is too small."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from lamm_pipeline.datasets.settings import SplitSettings
from lamm_pipeline.datasets.splits.recording_plans import cut_recording
from lamm_pipeline.datasets.splits.split_frames import SPLITS
from lamm_pipeline.datasets.splits.split_plans import plan_splits
from lamm_pipeline.errors import InputError
from lamm_pipeline_tests.datasets.splits.split_worlds import frames_of, nearest_of_two_splits, sizes, splits_of

EIGHT_ONE_ONE = {"train_ratio": 0.8, "val_ratio": 0.1, "test_ratio": 0.1}
EARLIER = {"val": ["r10", "r13", "r16", "r2", "r5"], "test": ["r11", "r17"]}


def planned(counts, settings, **options):
    frames = frames_of(counts, **options)
    return frames, plan_splits(frames, settings, "d.v1")


def recordings_by_split(frames, plan):
    return Counter(split for splits in splits_of(frames, plan.codes).values() for split in splits)


def blocks_of(frames, plan):
    """By recording, the runs of frames in one split: split, first position, position after the last."""
    found = {}
    for number, name in enumerate(frames.recordings):
        codes = plan.codes[frames.order][frames.recording[frames.order] == number]
        edges = [0, *(np.flatnonzero(np.diff(codes)) + 1).tolist(), len(codes)]
        found[name] = [(SPLITS[codes[start]], start, stop) for start, stop in pairwise(edges) if codes[start] >= 0]
    return found


@pytest.mark.requirement("AV-20", "SPL-07", "SPL-08")
@pytest.mark.parametrize("strategy", ["recording", "auto"])
def test_200_recordings_become_160_20_20(strategy):
    counts = {f"scene-{number:03d}": 50 for number in range(200)}
    assert recordings_by_split(*planned(counts, SplitSettings(strategy=strategy, **EIGHT_ONE_ONE))) == {"train": 160, "val": 20, "test": 20}


@pytest.mark.requirement("SPL-07", "SPL-08", "AV-20")
def test_200_recordings_of_any_length_become_160_20_20_when_recordings_are_counted():
    counts = {f"scene-{number:03d}": 1 + number * number // 100 for number in range(200)}
    assert recordings_by_split(*planned(counts, SplitSettings(balance_by="recordings", **EIGHT_ONE_ONE))) == {
        "train": 160,
        "val": 20,
        "test": 20,
    }


@pytest.mark.requirement("AV-06", "SPL-04")
def test_three_recordings_of_300_frames_fill_three_splits():
    frames, plan = planned({"a": 300, "b": 300, "c": 300}, SplitSettings(strategy="recording", **EIGHT_ONE_ONE))
    assert sizes(plan.codes) == {"train": 300, "val": 300, "test": 300}
    assert all(len(splits) == 1 for splits in splits_of(frames, plan.codes).values())


@pytest.mark.requirement("SPL-04")
def test_a_long_recording_among_short_ones_goes_to_train_whatever_the_seed():
    for seed in range(30):
        _, plan = planned({"long": 1000, "short-1": 100, "short-2": 100}, SplitSettings(seed=seed))
        assert sizes(plan.codes) == {"train": 1000, "val": 100, "test": 100}


def test_recordings_stay_where_earlier_releases_put_them():
    frames, plan = planned({f"r{number}": 7 + number * 13 % 40 for number in range(20)}, SplitSettings(strategy="recording"))
    there = splits_of(frames, plan.codes)
    assert {split: sorted(name for name in there if there[name] == {split}) for split in ("val", "test")} == EARLIER


@pytest.mark.requirement("SPL-04", "SPL-05", "SPL-06", "AV-06")
@given(
    lengths=st.lists(st.integers(1, 200), min_size=3, max_size=25),
    seed=st.integers(0, 2**32 - 1),
    ratios=st.sampled_from([(0.7, 0.2, 0.1), (0.8, 0.1, 0.1), (0.98, 0.01, 0.01), (0.5, 0.5, 0.0)]),
)
@hypothesis_settings(max_examples=60)
def test_dealt_recordings_are_whole_and_no_wanted_split_is_empty(lengths, seed, ratios):
    counts = {f"r{number}": length for number, length in enumerate(lengths)}
    settings = SplitSettings(strategy="recording", seed=seed, train_ratio=ratios[0], val_ratio=ratios[1], test_ratio=ratios[2])
    frames, plan = planned(counts, settings)
    assert all(len(splits) == 1 for splits in splits_of(frames, plan.codes).values())
    assert not (plan.codes < 0).any()
    totals = sizes(plan.codes)
    assert {split for split, ratio in settings.ratios.items() if ratio > 0} == set(totals)
    # no split misses its target by more than the longest recording, unless it holds a single one that it had to be given
    for split, count in totals.items():
        alone = recordings_by_split(frames, plan)[split] == 1
        assert abs(count - settings.ratios[split] * sum(lengths)) <= max(lengths) * len(totals) or alone


@pytest.mark.requirement("SPL-04")
def test_too_few_recordings_for_whole_recordings_is_a_sentence():
    with pytest.raises(InputError, match=r"'d\.v1' has 2 recordings .* too few .*blocks or auto"):
        planned({"a": 300, "b": 300, "empty": 0}, SplitSettings(strategy="recording"))


@pytest.mark.requirement("SPL-10")
@pytest.mark.parametrize("recordings", [1, 2])
def test_one_or_two_recordings_are_cut_into_blocks_in_time_order_with_gaps(recordings):
    frames, plan = planned({f"r{number}": 320 for number in range(recordings)}, SplitSettings())
    assert plan.strategy == "blocks"
    for cut in blocks_of(frames, plan).values():
        assert cut == [("train", 0, 210), ("val", 220, 280), ("test", 290, 320)]
    assert set(plan.guard_frames.values()) == {10}
    assert plan.notes == ()


@pytest.mark.requirement("SPL-10")
@given(count=st.integers(1, 400), guard=st.integers(1, 30), strategy=st.sampled_from(["auto", "blocks"]))
@hypothesis_settings(max_examples=150)
def test_blocks_never_overlap_and_lose_only_the_gaps(count, guard, strategy):
    settings = SplitSettings(strategy=strategy, guard_frames=guard)
    if count < (5 if strategy == "auto" else 3 + 2 * guard):
        with pytest.raises(InputError, match="Add recordings, lower guard_frames"):
            planned({"a": count}, settings)
        return
    frames, plan = planned({"a": count}, settings)
    cut, used = blocks_of(frames, plan)["a"], plan.guard_frames["a"]
    assert [split for split, _, _ in cut] == ["train", "val", "test"]
    assert [after[1] - before[2] for before, after in pairwise(cut)] == [used, used]
    assert sum(sizes(plan.codes).values()) == count - 2 * used
    assert 1 <= used <= guard
    assert bool(plan.notes) == (used < guard)
    if strategy == "blocks":
        assert used == guard


@pytest.mark.requirement("SPL-10", "UNC-03")
@pytest.mark.parametrize("strategy", ["auto", "blocks", "stratified"])
def test_frames_that_are_farther_apart_than_the_gap_need_none_left_out(strategy):
    settings = SplitSettings(strategy=strategy, group="block", guard_frames=10)
    frames, plan = planned({"a": 24}, settings, places={"a": range(0, 24 * 11, 11)})
    assert sum(sizes(plan.codes).values()) == 24
    assert set(sizes(plan.codes)) == set(SPLITS)
    assert plan.guard_frames == {"a": 10}
    assert nearest_of_two_splits(frames, plan.codes) == {"a": 10}


@pytest.mark.requirement("SPL-10")
def test_the_same_stretch_is_left_out_however_densely_frames_were_extracted():
    """A gap of 10 frames takes 10 frames where all were extracted, and 5 of every other one."""
    for step, left_out in ((1, 10), (2, 5), (5, 2), (11, 0), (300, 0)):
        frames, plan = planned({"a": 300}, SplitSettings(), places={"a": range(0, 300 * step, step)})
        assert sum(sizes(plan.codes).values()) == 300 - 2 * left_out
        assert nearest_of_two_splits(frames, plan.codes)["a"] >= 10


@pytest.mark.requirement("SPL-10")
def test_a_gap_that_would_take_more_than_half_of_the_frames_is_narrower_unless_it_was_asked_for():
    in_twos = sorted([*range(0, 120, 12), *range(1, 120, 12)])
    frames, plan = planned({"a": 20}, SplitSettings(guard_frames=40), places={"a": in_twos})
    assert sum(sizes(plan.codes).values()) >= 10
    assert 10 <= plan.guard_frames["a"] < 40
    assert nearest_of_two_splits(frames, plan.codes)["a"] >= plan.guard_frames["a"]
    assert "instead of 40" in plan.notes[0]
    frames, plan = planned({"a": 20}, SplitSettings(strategy="blocks", guard_frames=40), places={"a": in_twos})
    assert nearest_of_two_splits(frames, plan.codes)["a"] >= 40


@pytest.mark.requirement("SPL-10")
def test_a_recording_too_short_to_be_cut_stays_whole_and_is_named():
    frames, plan = planned({"long": 320, "short": 9}, SplitSettings(strategy="blocks"))
    assert len(blocks_of(frames, plan)["short"]) == 1
    assert "short" not in plan.guard_frames
    assert "'short' is too short to be cut (9 selected frames)" in plan.notes[0]


@pytest.mark.requirement("SPL-10")
@given(
    steps=st.lists(st.sampled_from([1, 1, 2, 3, 7, 15, 40]), min_size=3, max_size=60),
    guard=st.integers(1, 12),
    ratios=st.sampled_from([(0.8, 0.1, 0.1), (0.5, 0.5, 0.0), (0.34, 0.33, 0.33)]),
)
@hypothesis_settings(max_examples=150)
def test_a_gap_takes_only_frames_that_are_near_to_both_splits(steps, guard, ratios):
    """A frame left out of the split before would narrow the gap, and so would it in the split behind."""
    places = np.cumsum(steps)
    cut = cut_recording(places, {split: ratio for split, ratio in zip(SPLITS, ratios, strict=True) if ratio}, guard)
    for before, after in pairwise(cut):
        left_out = places[before.stop : after.start]
        assert places[after.start] - places[before.stop - 1] > guard
        assert (places[after.start] - left_out <= guard).all()
        assert (left_out - places[before.stop - 1] <= guard).all()
    if cut:
        assert (cut[0].start, cut[-1].stop) == (0, len(places))


@pytest.mark.requirement("SPL-06")
@pytest.mark.parametrize("options", [{"strategy": "random"}, {"strategy": "stratified", "group": "frame"}])
def test_a_few_single_frames_leave_no_split_empty(options):
    settings = SplitSettings(**options, **EIGHT_ONE_ONE)
    for count in range(3, 12):
        _, plan = planned({"a": count}, settings)
        assert sizes(plan.codes) == {"train": count - 2, "val": 1, "test": 1}
    for count in (1, 2):
        with pytest.raises(InputError, match=r"Of the \d frames that dataset 'd\.v1' has to divide, none is left for .*test"):
            planned({"a": count}, settings)


def test_a_split_with_ratio_zero_gets_nothing():
    for counts in ({"a": 100}, {"a": 100, "b": 100, "c": 100}):
        _, plan = planned(counts, SplitSettings(train_ratio=0.8, val_ratio=0.2, test_ratio=0.0))
        assert set(sizes(plan.codes)) == {"train", "val"}


def test_everything_in_train_needs_no_gap():
    _, plan = planned({"a": 3}, SplitSettings(train_ratio=1.0, val_ratio=0.0, test_ratio=0.0))
    assert sizes(plan.codes) == {"train": 3}
