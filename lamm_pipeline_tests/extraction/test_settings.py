"""Bounds of the settings."""

import pytest
from pydantic import ValidationError

from lamm_pipeline.extraction.settings import FrameSettings, StereoSettings


@pytest.mark.requirement("CFG-08", "CFG-09", "CFG-10", "CFG-11")
def test_the_defaults_are_the_sources() -> None:
    settings = FrameSettings()
    assert (settings.frame_skip, settings.enable_diversity_filter) == (1, False)
    assert (settings.similarity_threshold, settings.motion_threshold) == (0.85, 0.02)
    assert (settings.stereo.min_depth_m, settings.stereo.max_depth_m) == (0.3, 100.0)
    assert all(field.description for model in (FrameSettings, StereoSettings) for field in model.model_fields.values())


@pytest.mark.parametrize(
    "values",
    [
        {"frame_skip": 0},
        {"start_frame": -1},
        {"start_frame": 5, "end_frame": 5},
        {"target_fps": 0},
        {"similarity_threshold": 1.1},
        {"motion_threshold": -0.1},
        {"max_bad_share": 2},
        {"unknown": 1},
        {"stereo": {"quality": "best"}},
        {"stereo": {"min_depth_m": 50, "max_depth_m": 50}},
    ],
)
def test_values_out_of_bounds_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        FrameSettings.model_validate(values)
