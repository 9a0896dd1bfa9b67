from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamm_pipeline.tracking.masklets.windows import Window, even_windows, windows_between


def test_even_windows_share_their_overlap_and_the_last_ends_the_video():
    assert even_windows(24, 10, 3) == [Window(0, 10, 7), Window(7, 17, 14), Window(14, 24, 24)]


@pytest.mark.parametrize("frames", [1, 5, 10])
def test_a_window_larger_than_the_video_is_the_video(frames):
    assert even_windows(frames, 10, 3) == [Window(0, frames, frames)]


def test_windows_between_prompt_frames_begin_and_end_with_one():
    assert windows_between([2, 3, 9], 11, 5) == [
        Window(0, 3, 2),
        Window(2, 4, 3),
        Window(3, 8, 7),
        Window(7, 10, 9),
        Window(9, 11, 11),
    ]


def test_a_video_of_one_frame_is_one_window():
    assert windows_between([0], 1, 64) == windows_between([], 1, 64) == [Window(0, 1, 1)]


def test_a_video_without_frames_has_no_window():
    assert windows_between([], 0, 64) == even_windows(0, 64, 8) == []


def every_frame_is_final_once(windows, frames):
    assert [frame for window in windows for frame in range(window.start, window.final)] == list(range(frames))
    for window, following in pairwise(windows):
        assert following.start == window.final < window.end <= following.end


@given(st.integers(1, 300), st.integers(2, 40), st.data())
def test_even_windows_make_every_frame_final_once_and_hold_no_more_than_their_length(frames, length, data):
    overlap = data.draw(st.integers(1, length - 1))
    windows = even_windows(frames, length, overlap)
    every_frame_is_final_once(windows, frames)
    assert all(window.end - window.start <= length for window in windows)


@given(st.integers(1, 300), st.integers(2, 40), st.data())
def test_windows_between_prompt_frames_make_every_frame_final_once(frames, longest, data):
    prompts = sorted(data.draw(st.sets(st.integers(0, frames - 1))))
    windows = windows_between(prompts, frames, longest)
    every_frame_is_final_once(windows, frames)
    assert set(prompts) <= {window.start for window in windows}
    assert all(window.end - window.start <= longest for window in windows)
