import pydantic
import pytest

from lamm_pipeline.tracking.settings import TrackingSettings


def test_every_setting_is_explained_and_defaults_are_valid():
    assert all(field.description for field in TrackingSettings.model_fields.values())
    assert TrackingSettings.model_validate(TrackingSettings().model_dump(mode="json")) == TrackingSettings()


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"high_score": 0.05}, "low_score < high_score"),
        ({"new_track_score": 0.2}, "high_score <= new_track_score"),
        ({"min_hits": 0}, "greater than or equal to 1"),
        ({"gate_m": -1.0}, "greater than 0"),
        ({"class_groups": [["car", "van"], ["van"]]}, "named twice"),
        ({"false_found_again": 0.7}, "at most found_again"),
        ({"track_thresh": 0.5}, "Extra inputs"),
    ],
)
def test_wrong_settings_are_refused_with_a_reason(wrong, sentence):
    with pytest.raises(pydantic.ValidationError, match=sentence):
        TrackingSettings(**wrong)
