"""Scenes stay small: what is taken away first, what last, and what never."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lamm_pipeline.scenes.view.scene_frame import choose_points
from lamm_pipeline.scenes.view.settings import SceneViewSettings
from lamm_pipeline.scenes.view.thinning import Detail, choose, details

SETTINGS = SceneViewSettings()


def weight(detail: Detail) -> float:
    """Bytes of an invented frame."""
    return 16.0 * detail.points + 0.1 * detail.image_width**2


def test_what_fits_is_shown_as_it_is_wanted() -> None:
    thinning = choose(details(SETTINGS), 10, weight, 1e9)
    assert (thinning.step, thinning.every) == (0, 1)
    assert thinning.detail == Detail(SETTINGS.points_per_frame, SETTINGS.image_width, SETTINGS.jpeg_quality)


@given(frames=st.integers(1, 100_000), allowed=st.floats(1e3, 1e9), peaks=st.lists(st.integers(0, 99), max_size=10, unique=True))
def test_what_is_chosen_fits_and_frames_are_left_out_last(frames: int, allowed: float, peaks: list[int]) -> None:
    steps = details(SETTINGS)
    thinning = choose(steps, frames, weight, allowed)
    shown = thinning.shown(frames, [place for place in peaks if place < frames])
    assert len(shown) == 1 or len(shown) * weight(thinning.detail) <= allowed
    assert thinning.every == 1 or thinning.detail == steps[-1]
    assert thinning.step == 0 or frames * weight(steps[thinning.step - 1]) > allowed


def test_the_most_uncertain_frames_are_kept_where_others_are_left_out() -> None:
    thinning = choose(details(SETTINGS), 100_000, weight, 1e6)
    assert thinning.every > 1
    assert 7 in thinning.shown(100_000, [7, 11])


@given(
    small=st.builds(
        SceneViewSettings, points_per_frame=st.integers(100, 500_000), image_width=st.integers(64, 4096), jpeg_quality=st.integers(10, 100)
    )
)
def test_no_step_is_finer_than_the_one_before(small: SceneViewSettings) -> None:
    steps = details(small)
    for finer, coarser in pairwise(steps):
        assert coarser.points <= finer.points
        assert coarser.image_width <= finer.image_width
        assert coarser.jpeg_quality <= finer.jpeg_quality


@given(objects=st.lists(st.booleans(), max_size=300), most=st.integers(1, 200))
def test_points_are_spread_and_objects_keep_theirs(objects: list[bool], most: int) -> None:
    is_object = np.array(objects, bool)
    chosen = choose_points(is_object, most)
    assert len(chosen) == min(most, len(is_object))
    assert (np.diff(chosen) > 0).all()
    kept = int(is_object[chosen].sum())
    assert kept >= min(int(is_object.sum()), most // 2)
