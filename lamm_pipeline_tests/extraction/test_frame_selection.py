"""Range, skip and target rate."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction.frame_selection import frame_indices, planned_frames
from lamm_pipeline.extraction.settings import FrameSettings
from lamm_pipeline.recordings.reader import BadFrame
from lamm_pipeline_tests.extraction.fake_reader import FakeReader

THIRTY_FPS = [round(index * 1e9 / 30) for index in range(90)]


@pytest.mark.requirement("CFG-08", "EXT-02")
def test_every_nth_frame_of_the_range() -> None:
    assert frame_indices(THIRTY_FPS, FrameSettings(frame_skip=4, start_frame=10, end_frame=21)) == [10, 14, 18]
    assert frame_indices(THIRTY_FPS, FrameSettings()) == list(range(90))
    assert frame_indices(THIRTY_FPS, FrameSettings(start_frame=88, end_frame=500)) == [88, 89]


@pytest.mark.requirement("OPT-01")
def test_the_target_rate_takes_the_frames_nearest_in_time() -> None:
    assert frame_indices(THIRTY_FPS, FrameSettings(target_fps=5)) == list(range(0, 90, 6))
    assert frame_indices(THIRTY_FPS, FrameSettings(target_fps=0.5)) == [0, 60]
    # 20 of 30 frames a second: 0, 1.5, 3, ... frames; the half goes to the earlier frame
    assert frame_indices(THIRTY_FPS, FrameSettings(target_fps=20))[:6] == [0, 1, 3, 4, 6, 7]
    gap = [0, 100, 200, 900, 1000, 1100]
    stamps = [milliseconds * 1_000_000 for milliseconds in gap]
    assert frame_indices(stamps, FrameSettings(target_fps=5)) == [0, 2, 3, 4]  # 0, 200, 400, 600, 800, 1000 ms, each frame once


@pytest.mark.requirement("OPT-01")
@pytest.mark.parametrize("fps", [30.0, 31.0, 1000.0])
def test_a_rate_at_or_above_the_recordings_own_takes_all(fps: float) -> None:
    assert frame_indices(THIRTY_FPS, FrameSettings(target_fps=fps)) == list(range(90))


@given(
    stamps=st.lists(st.integers(0, 10**10), min_size=1, max_size=60),
    fps=st.floats(0.1, 200),
    skip=st.integers(1, 5),
)
def test_any_stamps_give_ascending_distinct_frames_with_the_first_in_time(stamps: list[int], fps: float, skip: int) -> None:
    indices = frame_indices(stamps, FrameSettings(target_fps=fps, frame_skip=skip))
    assert indices == sorted(set(indices))
    assert all(0 <= index < len(stamps) and index % skip == 0 for index in indices)
    assert min(stamps[::skip]) in [stamps[index] for index in indices]


def test_an_empty_range_is_refused() -> None:
    with pytest.raises(InputError, match="90 frames and start_frame is 90"):
        frame_indices(THIRTY_FPS, FrameSettings(start_frame=90))


@pytest.mark.requirement("EXT-08")
def test_frames_that_the_reader_does_not_deliver_become_bad_frames() -> None:
    reader = FakeReader(count=12, missing=frozenset({4, 8, 10}))
    frames = list(planned_frames(reader, [2, 4, 6, 8, 10]))
    assert [frame.index for frame in frames] == [2, 4, 6, 8, 10]
    assert [frame.index for frame in frames if isinstance(frame, BadFrame)] == [4, 8, 10]


@pytest.mark.requirement("EXT-02")
def test_no_more_is_asked_of_the_reader_than_the_frames_step_allows() -> None:
    reader = FakeReader(count=30)
    assert [frame.index for frame in planned_frames(reader, [3, 9, 18])] == [3, 9, 18]
    assert reader.delivered == [3, 6, 9, 12, 15, 18]
