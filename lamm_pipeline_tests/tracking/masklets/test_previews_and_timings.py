from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamm_pipeline.tracking.masklets.previews import preview_frames
from lamm_pipeline.tracking.masklets.timings import Timings, format_duration, progress_line


@pytest.mark.requirement("AV-23", "VOS-20")
def test_of_100_frames_12_are_shown_the_first_and_the_last_among_them() -> None:
    shown = preview_frames(range(100), 1, 12)
    assert len(shown) == 12
    assert (shown[0], shown[-1]) == (0, 99)
    assert {after - before for before, after in pairwise(shown)} == {9}


@pytest.mark.requirement("VOS-20")
@given(st.lists(st.integers(0, 10_000), unique=True).map(sorted), st.integers(1, 20), st.integers(-2, 30))
def test_previews_are_even_and_keep_both_ends(indices: list[int], stride: int, maximum: int) -> None:
    shown = preview_frames(indices, stride, maximum)
    assert shown == sorted(set(shown))
    assert set(shown) <= set(indices)
    if maximum > 0:
        assert len(shown) <= maximum
    if indices:
        assert shown[0] == indices[0]
        if maximum != 1:
            assert shown[-1] == indices[-1]
        whole = -(-len(indices) // stride) + int((len(indices) - 1) % stride != 0)
        assert len(shown) == (min(whole, maximum) if maximum > 0 else whole)


def test_a_stride_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="stride"):
        preview_frames([1, 2], 0, 12)


@pytest.mark.requirement("VOS-24")
def test_timings_add_up_and_merge_in_the_order_of_their_first_naming() -> None:
    timings = Timings()
    timings.add("track.flow", 60.0)
    timings.add("archives", 1.5)
    timings.add("track.flow", 30.0)
    timings.add("archives", -5.0)
    other = Timings()
    other.add("render", 7200.0)
    other.add("track.dedup", 6.0)
    timings.merge(other)
    assert timings.items() == [("track.flow", 90.0), ("archives", 1.5), ("render", 7200.0), ("track.dedup", 6.0)]
    assert timings.total("track.flow") == 90.0
    assert timings.total("never named") == 0.0
    assert timings.total_prefix("track.") == 96.0
    assert timings.total_all() == 7297.5
    assert timings.format_breakdown() == "track.flow=1.5m, archives=0.03m, render=2.0h, track.dedup=0.10m"
    assert Timings().format_breakdown() == "none"


@pytest.mark.requirement("VOS-24")
def test_a_tracked_stage_counts_also_when_it_fails() -> None:
    timings = Timings()
    with pytest.raises(KeyError), timings.track("archives"):
        raise KeyError
    assert [stage for stage, _ in timings.items()] == ["archives"]
    assert timings.total("archives") > 0.0


@pytest.mark.requirement("VOS-25")
@pytest.mark.parametrize(
    ("seconds", "said"), [(-1.0, "0m"), (0.0, "0m"), (6.0, "0.10m"), (90.0, "1.5m"), (3540.0, "59.0m"), (3600.0, "1.0h"), (9000.0, "2.5h")]
)
def test_durations_are_told_in_minutes_and_hours(seconds: float, said: str) -> None:
    assert format_duration(seconds) == said


@pytest.mark.requirement("VOS-26")
def test_progress_names_the_frame_by_its_index_in_the_recording() -> None:
    assert progress_line("masklets, level 2", 3, 12, 1240) == "masklets, level 2: 3 of 12 frames (25.0%), frame 001240"
    assert progress_line("masklets", 0, 0, 0).startswith("masklets: 0 of 0 frames (100.0%)")
