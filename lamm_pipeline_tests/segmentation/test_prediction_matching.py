"""Frames that are named by their time."""

from dataclasses import replace

import pytest

from lamm_pipeline.segmentation.prediction_files import PredictedFrame
from lamm_pipeline.segmentation.prediction_matching import match
from lamm_pipeline_tests.segmentation.bright_squares import frame, registry

START_NS = 1_700_000_000_000_000_000
STEP_NS = 33_333_333
REGISTRY = registry([replace(frame(n), timestamp_ns=START_NS + n * STEP_NS) for n in range(4)])


@pytest.mark.requirement("SEG-09")
@pytest.mark.parametrize(
    ("key", "index"),
    [
        (str(START_NS + 2 * STEP_NS), 2),
        (str(START_NS + 2 * STEP_NS + 16_000_000), 2),
        (str(START_NS + 2 * STEP_NS - 16_000_000), 2),
        (f"{(START_NS + 2 * STEP_NS) // 1_000}.png", 2),
        (f"{(START_NS + 2 * STEP_NS) // 1_000_000}.png", 2),
        (str(START_NS + 3 * STEP_NS + 16_000_000), 3),
    ],
)
def test_the_nearest_frame_in_time_is_meant(key: str, index: int) -> None:
    found = match([PredictedFrame(key, None, ())], REGISTRY, "file")
    assert list(found.by_frame) == [f"drive:{index:06d}"]


@pytest.mark.parametrize("key", [str(START_NS + 3 * STEP_NS + 17_000_000), str(START_NS - 17_000_000), str(START_NS // 10**9), "12345"])
def test_a_time_of_no_frame_is_reported(key: str) -> None:
    found = match([PredictedFrame(key, None, ()), PredictedFrame("0", None, ())], REGISTRY, "file")
    assert [each.key for each in found.unmatched] == [key]
