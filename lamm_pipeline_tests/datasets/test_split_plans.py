"""Plans of splits: leak-free, deterministic, close to the ratios, and honest about what is too small."""

import subprocess
import sys
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from lamm_pipeline.datasets.settings import SplitSettings
from lamm_pipeline.datasets.split_plans import plan_splits
from lamm_pipeline.errors import InputError

EIGHT_ONE_ONE = {"train_ratio": 0.8, "val_ratio": 0.1, "test_ratio": 0.1}


def frames_by_split(plan):
    totals = Counter()
    for cut in plan.blocks.values():
        for block in cut:
            totals[block.split] += block.frames
    return totals


def recordings_by_split(plan):
    return Counter(block.split for cut in plan.blocks.values() for block in cut)


@pytest.mark.requirement("AV-20", "SPL-07", "SPL-08")
@pytest.mark.parametrize("strategy", ["recording", "auto"])
def test_200_recordings_become_160_20_20(strategy):
    counts = {f"scene-{number:03d}": 50 for number in range(200)}
    plan = plan_splits(counts, SplitSettings(strategy=strategy, **EIGHT_ONE_ONE), "d.v1")
    assert recordings_by_split(plan) == {"train": 160, "val": 20, "test": 20}


@pytest.mark.requirement("SPL-07", "SPL-08", "AV-20")
def test_200_recordings_of_any_length_become_160_20_20_when_recordings_are_counted():
    counts = {f"scene-{number:03d}": 1 + number * number for number in range(200)}
    plan = plan_splits(counts, SplitSettings(balance_by="recordings", **EIGHT_ONE_ONE), "d.v1")
    assert recordings_by_split(plan) == {"train": 160, "val": 20, "test": 20}


@pytest.mark.requirement("AV-06", "SPL-04")
def test_three_recordings_of_300_frames_fill_three_splits():
    plan = plan_splits({"a": 300, "b": 300, "c": 300}, SplitSettings(strategy="recording", **EIGHT_ONE_ONE), "d.v1")
    assert frames_by_split(plan) == {"train": 300, "val": 300, "test": 300}
    assert all(len(cut) == 1 for cut in plan.blocks.values())


@pytest.mark.requirement("SPL-04")
def test_a_long_recording_among_short_ones_goes_to_train_whatever_the_seed():
    for seed in range(30):
        plan = plan_splits({"long": 1000, "short-1": 100, "short-2": 100}, SplitSettings(seed=seed), "d.v1")
        assert frames_by_split(plan) == {"train": 1000, "val": 100, "test": 100}


@pytest.mark.requirement("SPL-06", "AV-07")
def test_the_seed_decides_and_nothing_else():
    counts = {f"r{number}": 100 for number in range(20)}
    shuffled = dict(reversed(counts.items()))
    first = plan_splits(counts, SplitSettings(seed=42), "d.v1").blocks
    assert plan_splits(shuffled, SplitSettings(seed=42), "other.v9").blocks == first
    assert any(plan_splits(counts, SplitSettings(seed=seed), "d.v1").blocks != first for seed in range(3))
    code = (
        "from lamm_pipeline.datasets.settings import SplitSettings\n"
        "from lamm_pipeline.datasets.split_plans import plan_splits\n"
        "plan = plan_splits({f'r{n}': 100 for n in range(20)}, SplitSettings(seed=42), 'd.v1')\n"
        "print({name: cut[0].split for name, cut in plan.blocks.items()})"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "7"})
    assert other.stdout.strip() == str({name: cut[0].split for name, cut in first.items()})


@pytest.mark.requirement("SPL-04", "SPL-05", "SPL-06", "AV-06")
@given(
    lengths=st.lists(st.integers(1, 2000), min_size=3, max_size=25),
    seed=st.integers(0, 2**32 - 1),
    ratios=st.sampled_from([(0.7, 0.2, 0.1), (0.8, 0.1, 0.1), (0.98, 0.01, 0.01), (0.5, 0.5, 0.0)]),
)
@hypothesis_settings(max_examples=60, deadline=None)
def test_dealt_recordings_are_whole_and_no_wanted_split_is_empty(lengths, seed, ratios):
    counts = {f"r{number}": length for number, length in enumerate(lengths)}
    settings = SplitSettings(strategy="recording", seed=seed, train_ratio=ratios[0], val_ratio=ratios[1], test_ratio=ratios[2])
    plan = plan_splits(counts, settings, "d.v1")
    assert {name: sum(block.frames for block in cut) for name, cut in plan.blocks.items()} == counts
    assert all(len(cut) == 1 for cut in plan.blocks.values())
    totals = frames_by_split(plan)
    assert {split for split, ratio in settings.ratios.items() if ratio > 0} == set(totals)
    # no split misses its target by more than the longest recording, unless it holds a single one that it had to be given
    for split, count in totals.items():
        alone = recordings_by_split(plan)[split] == 1
        assert abs(count - settings.ratios[split] * sum(lengths)) <= max(lengths) * len(totals) or alone


@pytest.mark.requirement("SPL-04")
def test_too_few_recordings_for_whole_recordings_is_a_sentence():
    with pytest.raises(InputError, match=r"'d\.v1' has 2 recordings .* too few .*blocks or auto"):
        plan_splits({"a": 300, "b": 300, "empty": 0}, SplitSettings(strategy="recording"), "d.v1")


@pytest.mark.requirement("SPL-10")
@pytest.mark.parametrize("recordings", [1, 2])
def test_one_or_two_recordings_are_cut_into_blocks_in_time_order_with_gaps(recordings):
    plan = plan_splits({f"r{number}": 320 for number in range(recordings)}, SplitSettings(), "d.v1")
    assert plan.strategy == "blocks"
    for cut in plan.blocks.values():
        assert [block.split for block in cut] == ["train", "val", "test"]
        assert [block.frames for block in cut] == [210, 60, 30]
        assert [after.start - before.stop for before, after in pairwise(cut)] == [10, 10]
        assert cut[0].start == 0
        assert cut[-1].stop == 320
    assert set(plan.guard_frames.values()) == {10}
    assert plan.notes == ()


@pytest.mark.requirement("SPL-10")
@given(count=st.integers(1, 400), guard=st.integers(1, 30), strategy=st.sampled_from(["auto", "blocks"]))
@hypothesis_settings(max_examples=150, deadline=None)
def test_blocks_never_overlap_and_lose_only_the_gaps(count, guard, strategy):
    settings = SplitSettings(strategy=strategy, guard_frames=guard)
    if count < (5 if strategy == "auto" else 3 + 2 * guard):
        with pytest.raises(InputError, match="Add recordings, lower guard_frames"):
            plan_splits({"a": count}, settings, "d.v1")
        return
    plan = plan_splits({"a": count}, settings, "d.v1")
    cut, used = plan.blocks["a"], plan.guard_frames["a"]
    assert all(block.frames >= 1 for block in cut)
    assert [after.start - before.stop for before, after in pairwise(cut)] == [used, used]
    assert sum(block.frames for block in cut) == count - 2 * used
    assert 1 <= used <= guard
    assert bool(plan.notes) == (used < guard)
    if strategy == "blocks":
        assert used == guard


@pytest.mark.requirement("SPL-10")
def test_a_recording_too_short_to_be_cut_stays_whole_and_is_named():
    plan = plan_splits({"long": 320, "short": 9}, SplitSettings(strategy="blocks"), "d.v1")
    assert len(plan.blocks["short"]) == 1
    assert "short" not in plan.guard_frames
    assert "'short' is too short to be cut (9 selected frames)" in plan.notes[0]


def test_a_split_with_ratio_zero_gets_nothing():
    for counts in ({"a": 100}, {"a": 100, "b": 100, "c": 100}):
        plan = plan_splits(counts, SplitSettings(train_ratio=0.8, val_ratio=0.2, test_ratio=0.0), "d.v1")
        assert frames_by_split(plan)["test"] == 0
        assert frames_by_split(plan)["val"] > 0


def test_everything_in_train_needs_no_gap():
    plan = plan_splits({"a": 3}, SplitSettings(train_ratio=1.0, val_ratio=0.0, test_ratio=0.0), "d.v1")
    assert frames_by_split(plan) == {"train": 3}
