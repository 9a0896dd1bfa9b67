import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from lamm_pipeline.errors import InputError
from lamm_pipeline.geometry import packed_mask, rle
from lamm_pipeline.segmentation.candidates import mask_candidates
from lamm_pipeline.segmentation.candidates.filters import by_nesting, filter_candidates, gaps
from lamm_pipeline.segmentation.candidates.mask_candidates import FrameCandidates, MaskCandidate
from lamm_pipeline.segmentation.candidates.settings import CandidateSettings

HEIGHT, WIDTH = 60, 80


def square(x: int, y: int, side: int) -> NDArray[np.bool_]:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y : y + side, x : x + side] = True
    return mask


def candidate(x: int, y: int, side: int, *, stability: float | None = None, with_mask: bool = True) -> MaskCandidate:
    runs = rle.encode(square(x, y, side)) if with_mask else None
    box_xyxy = (float(x), float(y), float(x + side), float(y + side))
    return MaskCandidate(f"drive:000004:{x}-{y}-{side}", None, 0.5, stability, box_xyxy, runs, side * side, "sam2")


coordinates = st.floats(0, 60, allow_nan=False).map(lambda value: round(value, 2))
boxes = st.tuples(coordinates, coordinates, coordinates, coordinates).map(
    lambda four: (min(four[0], four[2]), min(four[1], four[3]), max(four[0], four[2]), max(four[1], four[3]))
)
shares = st.none() | st.floats(0, 1)
candidates = st.builds(
    MaskCandidate,
    candidate_id=st.text(),
    class_id=st.none() | st.text(),
    score=shares,
    stability=shares,
    box_xyxy=boxes,
    mask_rle=st.none() | st.integers(1, 20).map(lambda side: rle.encode(square(3, 5, side))),
    area=st.integers(1, 5000),
    source=st.sampled_from(["detections", "sam2", "external", "gap_fill"]),
)
frames = st.lists(st.lists(candidates, max_size=3), max_size=4).map(
    lambda each: [FrameCandidates(f"drive:{3 * n:06d}", n, 3 * n, tuple(found)) for n, found in enumerate(each)]
)


@pytest.mark.requirement("VOS-01", "VOS-02")
@given(frames, st.booleans())
def test_a_level_comes_back_as_it_was_written_in_order_and_by_index(
    tmp_path_factory: pytest.TempPathFactory, written: list[FrameCandidates], packed: bool
) -> None:
    folder = tmp_path_factory.mktemp("tree")
    mask_candidates.write_level(folder, 2, (mask_candidates.frame_to_json(frame, packed=packed) for frame in written))
    level = mask_candidates.read_level(mask_candidates.read(folder)[2])
    assert list(level) == written
    assert len(level) == len(written)
    assert level.frame_indices == tuple(frame.frame_index for frame in written)
    for frame in reversed(written):
        assert level.at(frame.frame_index) == frame
    assert level.at(1) is None


@pytest.mark.requirement("VOS-01", "VOS-03")
def test_the_file_is_one_that_the_first_tool_reads(tmp_path: Path) -> None:
    """`frames` with `frame_idx`, `frame_name` and `items`; an item with `bbox` xywh, `area`, `stability_score` and a packed `mask`."""
    frame = FrameCandidates("drive:000012", 3, 12, (candidate(10, 20, 30, stability=0.95), candidate(1, 2, 20, with_mask=False)))
    path = mask_candidates.write_level(
        tmp_path, 4, [mask_candidates.frame_to_json(frame, packed=True, mask_scale_ratio=0.5)], mask_scale_ratio=0.5
    )
    assert path == tmp_path / "level_4" / "filtered" / "filtered.json"
    whole = json.loads(path.read_text())
    assert (whole["level"], whole["mask_scale_ratio"]) == (4, 0.5)
    (stored,) = whole["frames"]
    assert (stored["frame_idx"], stored["frame_name"], stored["count"]) == (12, "000012.png", 2)
    item, box_only = stored["items"]
    assert item["bbox"] == [10, 20, 30, 30]
    assert (item["id"], item["area"], item["stability_score"]) == (0, 900, 0.95)
    assert item["mask"]["shape"] == [30, 40]
    assert item["mask"]["full_resolution_shape"] == [60, 80]
    np.testing.assert_array_equal(packed_mask.unpack(item["mask"]), square(10, 20, 30)[::2, ::2])
    assert coco_mask.area(item["mask_rle"] | {"counts": item["mask_rle"]["counts"].encode()}) == 900
    assert box_only["mask_rle"] is None
    assert "mask" not in box_only


@pytest.mark.requirement("VOS-29")
def test_levels_are_found_by_their_numbers_in_ascending_order(tmp_path: Path) -> None:
    for level in (10, 2, 4):
        mask_candidates.write_level(tmp_path, level, [])
    (tmp_path / "level_x" / "filtered").mkdir(parents=True)
    (tmp_path / "level_x" / "filtered" / "filtered.json").write_text("{}")
    (tmp_path / "level_6").mkdir()
    assert list(mask_candidates.read(tmp_path)) == [2, 4, 10]


@pytest.mark.requirement("VOS-27")
def test_a_folder_without_levels_and_a_damaged_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no level_<number>"):
        mask_candidates.read(tmp_path)
    path = mask_candidates.write_level(tmp_path, 2, [])
    path.write_text(json.dumps({"frames": [{"frame_idx": 3}]}))
    with pytest.raises(InputError, match="make the candidates again"):
        mask_candidates.read_level(tmp_path / "level_2")
    path.write_text('{"frames": [')
    with pytest.raises(InputError, match="not valid JSON"):
        mask_candidates.read_level(tmp_path / "level_2")


def test_what_is_too_small_or_unstable_is_dropped_and_counted() -> None:
    level = (
        candidate(0, 0, 17),
        candidate(20, 0, 18, stability=0.9),
        candidate(40, 0, 20, stability=0.89),
        candidate(0, 30, 20),
    )
    kept = filter_candidates({2: level, 4: ()}, CandidateSettings(), "drive:000004", WIDTH, HEIGHT)
    assert kept.by_level == {2: (level[1], level[3]), 4: ()}
    assert kept.refused == {"smaller than min_area": 1, "less stable than min_stability": 1}


def test_large_regions_that_nothing_covers_are_proposed_in_the_coarsest_level_only() -> None:
    wall = rle.encode(np.tile(np.arange(WIDTH) == 50, (HEIGHT, 1)))
    level = (
        MaskCandidate("drive:000004:0", None, None, None, (50.0, 0.0, 51.0, 60.0), wall, 60, "external"),
        candidate(0, 0, 20, with_mask=False),
    )
    settings = CandidateSettings(gap_fill=True, fill_area=2000, min_area=1)
    kept = filter_candidates({2: level, 4: level}, settings, "drive:000004", WIDTH, HEIGHT).by_level
    (gap,) = kept[2][2:]
    assert kept[4] == level
    assert gap.candidate_id == "drive:000004:gap0"
    assert (gap.source, gap.class_id, gap.score) == ("gap_fill", None, None)
    assert gap.area == 50 * 60 - 20 * 20, "the region on the right of the wall, 29 x 60, is too small"
    assert gap.box_xyxy == (0, 0, 50, 60)
    covered = rle.decode(gap.mask_rle or {})
    assert not covered[:20, :20].any()
    assert covered[20:, :50].all()
    both = gaps(level, 1000, "drive:000004", WIDTH, HEIGHT)
    assert [each.area for each in both] == [2600, 29 * 60]
    (whole,) = gaps((), 1000, "drive:000004", WIDTH, HEIGHT)
    assert whole.area == WIDTH * HEIGHT


@pytest.mark.requirement("VOS-29")
def test_what_lies_within_another_belongs_to_a_finer_level() -> None:
    house, window, pane, tree = candidate(0, 0, 50), candidate(5, 5, 30), candidate(6, 6, 10, with_mask=False), candidate(55, 0, 20)
    found = by_nesting([pane, house, tree, window], (2, 4, 6), WIDTH, HEIGHT)
    assert found == {2: (house, tree), 4: (window,), 6: (pane,)}
    assert by_nesting([pane, house, tree, window], (2, 4), WIDTH, HEIGHT) == {2: (house, tree), 4: (pane, window)}
    assert by_nesting([pane, house], (1,), WIDTH, HEIGHT) == {1: (pane, house)}
    assert by_nesting([], (2, 4), WIDTH, HEIGHT) == {2: (), 4: ()}


@pytest.mark.requirement("VOS-29")
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 30), st.integers(1, 28)), unique=True, max_size=8))
def test_every_candidate_is_in_one_level(squares: list[tuple[int, int, int]]) -> None:
    given_candidates = [candidate(*each) for each in squares]
    found = by_nesting(given_candidates, (2, 4, 6), WIDTH, HEIGHT)
    assert sorted(each.candidate_id for level in found.values() for each in level) == sorted(each.candidate_id for each in given_candidates)
