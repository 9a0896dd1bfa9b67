"""Depth from real pairs with ground truth, and from drawn ones."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from lamm_pipeline.extraction.settings import StereoQuality, StereoSettings
from lamm_pipeline.extraction.stereo import SgbmMatcher, disparity_range
from lamm_pipeline.geometry.camera import RectifiedCamera
from lamm_pipeline_tests.extraction.fake_reader import BASELINE, BOARD, BOARD_ROWS, FOCAL, HEIGHT, WALL, WIDTH, board_columns, scene

CAMERA = RectifiedCamera(WIDTH, HEIGHT, FOCAL, FOCAL, WIDTH / 2, HEIGHT / 2, BASELINE)


def bad_share(disparity: NDArray[np.float32], truth: NDArray[np.floating], pixels: float) -> tuple[float, float]:
    """Share of wrong ones among the matched pixels with truth, and share of pixels with truth that are matched."""
    known = np.isfinite(truth)
    matched = known & np.isfinite(disparity)
    return float((np.abs(disparity - truth)[matched] > pixels).mean()), float(matched.sum() / known.sum())


def motorcycle(shared_data: Path) -> tuple[list[NDArray[np.uint8]], NDArray[np.float32]]:
    folder = shared_data / "middlebury_motorcycle"
    images = [cv2.imread(str(folder / f"motorcycle_{side}.png")) for side in ("left", "right")]
    truth = np.load(folder / "motorcycle_disp.npz")["arr_0"]
    return images, np.where(np.isfinite(truth), truth, np.nan)


def aloe(shared_data: Path) -> tuple[list[NDArray[np.uint8]], NDArray[np.float32]]:
    images = [cv2.imread(str(shared_data / "aloe" / f"aloe{side}.jpg")) for side in ("L", "R")]
    truth = cv2.imread(str(shared_data / "aloe" / "aloeGT.png"), cv2.IMREAD_GRAYSCALE).astype(np.float32)
    return images, np.where(truth > 0, truth, np.nan).astype(np.float32)


@pytest.mark.requirement("EXT-03", "EXT-15")
@pytest.mark.parametrize(("quality", "wrong", "median_error_m"), [(StereoQuality.full, 0.07, 0.01), (StereoQuality.half, 0.15, 0.02)])
def test_motorcycle_depth_is_right_where_it_is_known(
    shared_data: Path, quality: StereoQuality, wrong: float, median_error_m: float
) -> None:
    """The principal points of this pair differ by 31.086 px, hence the data set's own formula for depth."""
    images, truth = motorcycle(shared_data)
    grey = [cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) for image in images]
    disparity = SgbmMatcher(StereoSettings(quality=quality)).disparity(grey[0], grey[1], 80)
    share, density = bad_share(disparity, truth, 1.0)
    assert share <= wrong
    assert density >= 0.88
    depth, true_depth = (0.193001 * 994.978 / (pixels + 31.086) for pixels in (disparity, truth))
    assert np.nanmedian(np.abs(depth - true_depth)) < median_error_m


@pytest.mark.parametrize(("quality", "wrong"), [(StereoQuality.full, 0.07), (StereoQuality.half, 0.11)])
def test_aloe_disparity_is_right_where_it_is_known(shared_data: Path, quality: StereoQuality, wrong: float) -> None:
    images, truth = aloe(shared_data)
    matcher = SgbmMatcher(StereoSettings(quality=quality))
    share, density = bad_share(matcher.disparity(*(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) for image in images), 224), truth, 1.0)
    assert share <= wrong
    assert density >= 0.82


@pytest.mark.requirement("EXT-03")
@pytest.mark.parametrize("quality", list(StereoQuality))
def test_depth_of_a_drawn_scene_is_its_true_depth(quality: StereoQuality) -> None:
    left, right = scene(3)
    depth = SgbmMatcher(StereoSettings(quality=quality, max_disparity=48)).depth(left, right, CAMERA)
    assert depth.dtype == np.float32
    columns = board_columns(3)
    board = depth[BOARD_ROWS.start + 8 : BOARD_ROWS.stop - 8, columns.start + 8 : columns.stop - 8]
    wall = depth[:48, 40:]
    assert np.nanmedian(board) == pytest.approx(FOCAL * BASELINE / BOARD, rel=0.02)
    assert np.nanmedian(wall) == pytest.approx(FOCAL * BASELINE / WALL, rel=0.02)
    assert np.isfinite(board).mean() > 0.8


@pytest.mark.requirement("EXT-15")
def test_what_the_right_eye_cannot_see_is_unknown() -> None:
    left, right = scene(3)
    depth = SgbmMatcher(StereoSettings(max_disparity=48)).depth(left, right, CAMERA)
    columns = board_columns(3)
    hidden = depth[BOARD_ROWS.start + 8 : BOARD_ROWS.stop - 8, columns.start - (BOARD - WALL) + 2 : columns.start - 2]
    visible = depth[BOARD_ROWS.start + 8 : BOARD_ROWS.stop - 8, 40 : columns.start - BOARD]
    assert np.isfinite(hidden).mean() < 0.3
    assert np.isfinite(visible).mean() > 0.8
    # Nor can the right eye see the first columns of the left image.
    assert np.isnan(depth[:48, : WALL - 1]).mean() > 0.9


@pytest.mark.requirement("EXT-15", "AV-17")
def test_depth_outside_the_range_is_nan_and_never_infinite() -> None:
    left, right = scene(3)
    wall = FOCAL * BASELINE / WALL
    near_only = SgbmMatcher(StereoSettings(max_disparity=48, max_depth_m=wall - 0.5)).depth(left, right, CAMERA)
    far_only = SgbmMatcher(StereoSettings(max_disparity=48, min_depth_m=wall - 0.5)).depth(left, right, CAMERA)
    assert np.nanmax(near_only) <= wall - 0.5
    assert np.nanmin(far_only) >= wall - 0.5
    assert not np.isinf(near_only).any()
    assert np.isnan(SgbmMatcher(StereoSettings(max_disparity=48)).depth(left, left, CAMERA)).all()  # disparity 0 is infinitely far


@pytest.mark.requirement("AV-17")
@pytest.mark.parametrize("metres", [65.6, 80.0])
def test_far_depth_is_measured_without_wrapping(metres: float) -> None:
    left, right = scene(3)
    long_baseline = RectifiedCamera(WIDTH, HEIGHT, FOCAL, FOCAL, WIDTH / 2, HEIGHT / 2, metres * WALL / FOCAL)
    depth = SgbmMatcher(StereoSettings(max_disparity=48)).depth(left, right, long_baseline)
    assert np.nanmedian(depth[:48]) == pytest.approx(metres, rel=0.02)


def test_the_disparity_range_follows_the_nearest_depth_within_its_limit() -> None:
    zed = RectifiedCamera(1280, 720, 530.0, 530.0, 640.0, 360.0, 0.12)
    assert disparity_range(zed, StereoSettings()) == 128  # a tenth of the width
    assert disparity_range(zed, StereoSettings(min_depth_m=2.0)) == 48
    assert disparity_range(zed, StereoSettings(max_disparity=255)) == 224  # 0.3 m are 212 pixels, rounded up to a multiple of 16
    assert SgbmMatcher(StereoSettings()).identity["quality"] == "full"


@pytest.mark.requirement("NFR-09")
def test_one_matcher_serves_several_threads_with_the_same_result() -> None:
    matcher = SgbmMatcher(StereoSettings(max_disparity=48))
    pairs = [scene(number) for number in range(4)] * 3
    alone = [matcher.depth(left, right, CAMERA) for left, right in pairs]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda pair: matcher.depth(*pair, CAMERA), pairs))
    for first, second in zip(alone, together, strict=True):
        np.testing.assert_array_equal(first, second)
