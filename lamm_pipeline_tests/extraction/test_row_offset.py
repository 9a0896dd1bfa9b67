"""The measure of a rectification, on pairs whose row offset is known."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from lamm_pipeline.extraction.checks import MAX_ROW_OFFSET_PX, rectification
from lamm_pipeline.extraction.row_offset import median_row_offset
from lamm_pipeline_tests.extraction.fake_reader import Image, scene


def shifted(image: Image, rows: float) -> Image:
    move = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, rows]])
    return np.asarray(cv2.warpAffine(image, move, image.shape[1::-1], borderMode=cv2.BORDER_REFLECT), np.uint8)


def grey(number: int) -> tuple[Image, Image]:
    left, right = (np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8) for image in scene(number))
    return left, right


@pytest.mark.parametrize("rows", [0.0, 0.7, 1.5, -6.0])
def test_the_offset_of_a_shifted_pair_is_the_shift(rows: float) -> None:
    pairs = [(left, shifted(right, rows)) for left, right in map(grey, range(3))]
    assert median_row_offset(pairs) == pytest.approx(abs(rows), abs=0.1)


def test_images_without_features_give_no_number() -> None:
    flat = np.full((96, 160), 90, np.uint8)
    assert median_row_offset([(flat, flat)]) is None
    assert median_row_offset([]) is None


@pytest.mark.parametrize(("name", "low", "high"), [("kitti_raw_0039_stereo", 0.0, 0.5), ("kitti_raw_0039_unrectified", 3.0, 20.0)])
def test_real_pairs_are_told_apart(shared_data: Path, name: str, low: float, high: float) -> None:
    left, right = (sorted((shared_data / name / eye).glob("*.png"))[:2] for eye in ("image_00", "image_01"))
    if not left:
        left, right = (sorted((shared_data / name / eye).glob("*.png"))[:2] for eye in ("image_0", "image_1"))
    pairs = [tuple(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in both) for both in zip(left, right, strict=True)]
    offset = median_row_offset(pairs)  # type: ignore[arg-type]
    assert offset is not None
    assert low <= offset <= high


@pytest.mark.parametrize(
    ("counts", "passed", "sentence"),
    [
        ({"rectified": True, "row_offset_px": 0.21}, True, "0.21 px apart"),
        ({"rectified": True, "row_offset_px": MAX_ROW_OFFSET_PX}, True, "1.00 px apart"),
        ({"rectified": True, "row_offset_px": 5.6}, False, "the calibration does not fit this camera"),
        ({"rectified": True, "row_offset_px": None}, True, "Too few features"),
        ({"rectified": False}, True, "not rectified"),
    ],
)
def test_the_verdict_says_the_number_and_what_to_do(counts: dict[str, object], passed: bool, sentence: str) -> None:
    verdict = rectification(counts)
    assert verdict.passed is passed
    assert sentence in str(verdict.description)
    assert ("row_offset_px" in verdict.metadata) == (counts.get("row_offset_px") is not None)
