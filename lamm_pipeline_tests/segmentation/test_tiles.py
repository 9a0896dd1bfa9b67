import numpy as np
import pytest
from numpy.typing import ArrayLike

from lamm_pipeline.segmentation.settings import TileProfile
from lamm_pipeline.segmentation.tiles import GREY, Candidates, Tile, cut_by_tile, merge, tile_layout


def candidates(boxes: ArrayLike, scores: ArrayLike, groups: ArrayLike | None = None, cut: ArrayLike | None = None) -> Candidates:
    count = len(np.asarray(scores))
    return Candidates(
        np.asarray(boxes, dtype=np.float64).reshape(-1, 4),
        np.asarray(scores, dtype=np.float64),
        np.arange(count),
        np.zeros(count, dtype=np.intp) if groups is None else np.asarray(groups),
        np.zeros(count, dtype=bool) if cut is None else np.asarray(cut),
    )


@pytest.mark.parametrize(
    ("size", "counts"), [((1242, 375), (1, 7, 34)), ((1280, 720), (1, 4, 17)), ((2208, 1242), (1, 4, 17)), ((300, 400), (1, 2, 8))]
)
def test_profiles_take_more_and_more_looks_and_only_larger_tiles_leave_the_image(
    size: tuple[int, int], counts: tuple[int, int, int]
) -> None:
    width, height = size
    layouts = [tile_layout(width, height, profile) for profile in TileProfile]
    assert tuple(len(layout) for layout in layouts) == counts
    for tile in layouts[-1]:
        assert max(tile.height - height, tile.width - width) > 0 or (
            0 <= tile.x <= width - tile.width and 0 <= tile.y <= height - tile.height
        )
    assert all(layout[0] == Tile(0, 0, width, height) for layout in layouts)


def test_a_tile_that_reaches_beyond_the_image_shows_grey_there_and_the_image_in_its_proportions() -> None:
    image = np.random.default_rng(1).integers(0, 255, (40, 120, 3), dtype=np.uint8)
    tile = tile_layout(120, 40, TileProfile.accurate)[-1]
    assert tile == Tile(0, -40, 120, 120)
    pixels = tile.pixels(image)
    assert np.array_equal(pixels[40:80], image)
    assert np.unique(np.concatenate([pixels[:40], pixels[80:]])).tolist() == [GREY]


def test_large_tiles_overlap_by_half_so_that_an_object_of_half_a_tile_is_whole_in_one() -> None:
    _, *tiles = tile_layout(1242, 375, TileProfile.fast)
    for start in range(1242 - 187):
        assert any(tile.x <= start and start + 187 <= tile.x + tile.width for tile in tiles)


def test_boxes_are_cut_at_borders_of_a_tile_but_not_at_borders_of_the_image() -> None:
    boxes = np.array([[100, 50, 150, 90], [101, 50, 150, 90], [110, 0, 150, 90], [110, 50, 199, 90], [110, 50, 150, 99]], dtype=np.float64)
    assert cut_by_tile(boxes, Tile(100, 0, 100, 100), 400, 100).tolist() == [True, True, False, True, False]
    assert not cut_by_tile(boxes, Tile(100, 0, 300, 100), 400, 100)[3:].any()


@pytest.mark.requirement("SEG-07")
def test_a_fuller_box_replaces_one_that_a_tile_has_cut_even_at_a_lower_score() -> None:
    merged = merge(candidates([[0, 0, 100, 50], [60, 0, 100, 50]], [0.5, 0.9], cut=[False, True]), 0.3, 0.5)
    assert merged.boxes_xyxy.tolist() == [[0, 0, 100, 50]]
    assert merged.scores.tolist() == [0.5]


def test_a_cut_box_stands_alone_only_at_twice_the_threshold() -> None:
    boxes = [[0, 0, 10, 10], [50, 0, 60, 10]]
    merged = merge(candidates(boxes, [0.5, 0.7], cut=[True, True]), 0.3, 0.5)
    np.testing.assert_allclose(merged.boxes_xyxy, [[50, 0, 60, 10]])
    assert merged.scores.tolist() == [0.35]


@pytest.mark.requirement("SEG-07")
def test_the_same_object_seen_by_several_tiles_becomes_one_box_between_them() -> None:
    merged = merge(candidates([[0, 0, 100, 100], [0, 0, 110, 100], [300, 0, 310, 10]], [0.6, 0.6, 0.4]), 0.3, 0.5)
    np.testing.assert_allclose(merged.boxes_xyxy, [[0, 0, 105, 100], [300, 0, 310, 10]])
    assert merged.labels.tolist() == [0, 2]


def test_boxes_of_different_groups_do_not_compete() -> None:
    boxes = [[0, 0, 100, 100], [0, 0, 100, 100]]
    assert len(merge(candidates(boxes, [0.6, 0.5], groups=[0, 1]), 0.3, 0.5).scores) == 2
    assert len(merge(candidates(boxes, [0.6, 0.5], groups=[1, 1]), 0.3, 0.5).scores) == 1


def test_no_candidates_give_no_boxes() -> None:
    assert merge(candidates([], []), 0.3, 0.5).boxes_xyxy.shape == (0, 4)
