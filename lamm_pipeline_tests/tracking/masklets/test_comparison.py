import json
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from lamm_pipeline.geometry import rle
from lamm_pipeline.geometry.drawing import distinct_color
from lamm_pipeline.segmentation.candidates.mask_candidates import MaskCandidate
from lamm_pipeline.tracking.masklets.comparison import ComparedFrame, comparison_picture, write_comparisons

HEIGHT, WIDTH = 60, 80
GREY = 90


def image() -> NDArray[np.uint8]:
    return np.full((HEIGHT, WIDTH, 3), GREY, np.uint8)


def mask(x: int, scale: int = 1) -> NDArray[np.bool_]:
    found = np.zeros((HEIGHT // scale, WIDTH // scale), bool)
    found[20 // scale : 40 // scale, x // scale : (x + 20) // scale] = True
    return found


def candidate(x: int, *, with_mask: bool = True) -> MaskCandidate:
    runs = rle.encode(mask(x)) if with_mask else None
    return MaskCandidate(f"drive:000007:{x}", "car", 0.75, None, (x, 20.0, x + 20.0, 40.0), runs, 400, "detections")


def frame(index: int, **changes: object) -> ComparedFrame:
    whole = {"image": image(), "candidates": (candidate(10),), "masklets": {3: mask(30)}} | changes
    return f"drive:{index:06d}", index, whole["image"], whole["candidates"], whole["masklets"]  # type: ignore[return-value]


@pytest.mark.requirement("VOS-21")
def test_candidates_are_drawn_on_the_left_and_masklets_on_the_right() -> None:
    picture = comparison_picture(image(), [candidate(10)], {3: mask(30), 4: mask(55, scale=2)}, "level 2, frame 7")
    left, right = picture[-HEIGHT:, :WIDTH], picture[-HEIGHT:, -WIDTH:]
    changed_left, changed_right = ((side != GREY).any(axis=2) for side in (left, right))
    assert changed_left[25:35, 13:27].all()
    assert not changed_left[25:35, 35:].any()
    assert changed_right[25:35, 33:47].all()
    assert changed_right[25:35, 58:72].all(), "a mask of half the size is scaled to the image"
    assert not changed_right[25:35, :27].any()
    assert picture.shape[0] > HEIGHT
    assert picture.shape[1] > 2 * WIDTH


@pytest.mark.requirement("VOS-21")
def test_pictures_and_their_list_are_written_and_the_same_every_time(tmp_path: Path) -> None:
    frames = [frame(7), frame(9, candidates=(candidate(10, with_mask=False),))]
    for name in ("a", "b"):
        assert write_comparisons(tmp_path / name, frames, 2) == []
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["L02_000007.png", "L02_000009.png", "L02_comparison_summary.json"]
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    summary = json.loads((tmp_path / "a" / "L02_comparison_summary.json").read_text())
    assert summary["rendered_count"] == 2
    assert summary["frames_attempted"] == [7, 9]
    assert summary["pictures"][0] == {
        "picture": "L02_000007.png",
        "frame_id": "drive:000007",
        "frame_index": 7,
        "candidates": [{"candidate_id": "drive:000007:10", "class_id": "car", "score": 0.75, "area": 400, "bbox": [10, 20.0, 30.0, 40.0]}],
        "masklets": [{"masklet_id": 3, "area": 400}],
    }
    assert cv2.imread(str(tmp_path / "a" / "L02_000007.png")).shape[1] > 2 * WIDTH


@pytest.mark.requirement("VOS-21")
@pytest.mark.parametrize(
    ("frames", "codes"),
    [
        ([], ["comparison.no_targets"]),
        ([frame(7, image=None)], ["comparison.missing_sources"]),
        ([frame(7, candidates=(candidate(10, with_mask=False),), masklets={})], ["comparison.missing_masks"]),
        ([frame(7, candidates=(), masklets={1: np.zeros((HEIGHT, WIDTH), bool)})], ["comparison.missing_masks"]),
        (
            [frame(7, image=None), frame(8, candidates=(), masklets={})],
            ["comparison.missing_sources", "comparison.missing_masks", "comparison.render_empty"],
        ),
    ],
)
def test_without_any_picture_a_file_says_why(tmp_path: Path, frames: list[ComparedFrame], codes: list[str]) -> None:
    warnings = write_comparisons(tmp_path, frames, 6)
    assert [warning.code for warning in warnings] == codes
    assert sorted(path.name for path in tmp_path.iterdir()) == ["L06_comparison_summary.json", "L06_no_comparisons.json"]
    told = json.loads((tmp_path / "L06_no_comparisons.json").read_text())
    assert told["level"] == 6
    assert told["frames_attempted"] == [each[1] for each in frames]
    assert [warning["code"] for warning in told["warnings"]] == codes
    assert all(warning["message"] for warning in told["warnings"])


@pytest.mark.requirement("VOS-21")
def test_frames_that_cannot_be_drawn_among_others_are_named(tmp_path: Path) -> None:
    (warning,) = write_comparisons(tmp_path, [frame(7), frame(9, image=None), frame(12, image=None)], 2)
    assert (warning.code, warning.level, warning.frames) == ("comparison.missing_sources", 2, (9, 12))
    assert not (tmp_path / "L02_no_comparisons.json").exists()
    assert json.loads((tmp_path / "L02_comparison_summary.json").read_text())["issues"] == {"comparison.missing_sources": [9, 12]}


@pytest.mark.requirement("VOS-21")
def test_colors_are_fixed_and_different() -> None:
    colors = [distinct_color(number) for number in range(-30, 30)]
    assert len(set(colors)) == 60
    few = [distinct_color(number) for number in range(1, 7)]
    assert min(max(abs(a - b) for a, b in zip(one, other, strict=True)) for one, other in combinations(few, 2)) > 50
    assert colors == [distinct_color(number) for number in range(-30, 30)]
    assert all(0 <= value <= 255 for color in colors for value in color)


@pytest.mark.requirement("VOS-21")
def test_large_frames_are_made_smaller_with_everything_in_them() -> None:
    large = np.full((600, 1600, 3), GREY, np.uint8)
    covered = np.zeros((600, 1600), bool)
    covered[200:400, 400:800] = True
    wide = MaskCandidate("drive:000007:0", None, None, None, (400.0, 200.0, 800.0, 400.0), rle.encode(covered), 80_000, "external")
    picture = comparison_picture(large, [wide], {1: covered}, "level 2, frame 7")
    side = (picture.shape[1] - 6) // 2
    assert side == 640
    for half in (picture[-240:, :side], picture[-240:, -side:]):
        changed = (half != GREY).any(axis=2)
        assert changed[85:155, 165:315].all()
        assert not changed[:, 330:].any()
