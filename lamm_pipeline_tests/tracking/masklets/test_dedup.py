import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamm_pipeline.geometry import packed_mask
from lamm_pipeline.geometry.boxes_2d import box_of_mask
from lamm_pipeline.tracking.masklets.dedup import DedupStore, compact


def strip(start, end, width=20, height=4):
    mask = np.zeros((height, width), np.bool_)
    mask[:, start:end] = True
    return mask


def seen(store, frame, mask):
    return store.seen(frame, mask, np.array(box_of_mask(mask) or (0, 0, 0, 0), float))


@pytest.mark.requirement("AV-22", "VOS-05", "VOS-10")
def test_an_iou_of_exactly_the_limit_is_kept_and_the_least_more_is_not():
    store = DedupStore(0.6)
    store.add(0, 7, strip(0, 10))
    assert seen(store, 0, strip(0, 6)) is None  # 6 / 10
    assert seen(store, 0, strip(2, 10)) == 7  # 8 / 10
    nearly = strip(0, 6)
    nearly[0, 6] = True  # 25 / 40
    assert seen(store, 0, nearly) == 7


@pytest.mark.requirement("VOS-05")
def test_frames_do_not_know_of_each_other():
    store = DedupStore(0.6)
    store.add(0, 1, strip(0, 10))
    assert seen(store, 1, strip(0, 10)) is None


def test_the_object_that_covers_most_is_named():
    store = DedupStore(0.3)
    store.add(0, 1, strip(0, 10))
    store.add(0, 2, strip(3, 12))
    assert seen(store, 0, strip(4, 12)) == 2


def test_boxes_are_compared_where_the_candidate_is_only_a_box():
    disc = np.hypot(*(np.mgrid[:40, :40] - 20.0)) < 18.0
    store = DedupStore(0.9)
    store.add(0, 1, disc)
    box = np.array(box_of_mask(disc))
    filled = np.zeros_like(disc)
    filled[3:38, 3:38] = True
    assert store.seen(0, None, box) == 1
    assert store.seen(0, filled, box) is None  # as a mask a square is not a disc


def test_a_forgotten_object_covers_nothing_any_more():
    store = DedupStore(0.6)
    store.add(0, 1, strip(0, 10))
    store.add(0, 2, strip(12, 20))
    store.forget(0, 1)
    store.forget(5, 1)
    assert seen(store, 0, strip(0, 10)) is None
    assert seen(store, 0, strip(12, 20)) == 2


def test_large_masks_are_compared_at_256_pixels_and_small_ones_as_they_are():
    assert compact(np.ones((720, 1280), np.bool_)).shape == (144, 256)
    assert compact(np.ones((3000, 2), np.bool_)).shape == (256, 1)
    assert compact(np.ones((100, 256), np.bool_)).shape == (100, 256)


masks = st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed).random((12, 18)) < 0.5)


@settings(max_examples=50)
@given(masks, masks, st.floats(0.0, 1.0))
def test_the_verdict_is_that_of_the_iou(one, other, limit):
    store = DedupStore(limit)
    store.add(3, 1, one)
    assert (seen(store, 3, other) == 1) is (packed_mask.iou(one, other) > limit)
