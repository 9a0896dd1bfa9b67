import pytest
from pydantic import ValidationError

from lamm_pipeline.errors import InputError
from lamm_pipeline.sample.settings import SampleSettings, parse_size


@pytest.mark.parametrize(
    ("text", "size"), [("HD720", (1280, 720)), ("vga", (672, 376)), ("1920x1080", (1920, 1080)), (" 640 X 360 ", (640, 360))]
)
def test_a_size_is_a_name_or_width_and_height(text: str, size: tuple[int, int]) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "HD", "1280", "1280x721", "100x100", "9000x9000", "-640x360"])
def test_any_other_size_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(InputError, match="size"):
        parse_size(text)


@pytest.mark.parametrize(
    "wrong", [{"frames": 1}, {"frames": 10**6}, {"fps": 0}, {"seed": -1}, {"width": 641}, {"noise": -1.0}, {"colour": 1}]
)
def test_settings_out_of_bounds_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        SampleSettings.model_validate(wrong)


@pytest.mark.parametrize("frames", [12, 24, 60, 333])
def test_the_odd_stretches_lie_apart_inside_the_recording(frames: int) -> None:
    settings = SampleSettings(frames=frames)
    duplicate, static = settings.duplicate_frames, settings.static_frames
    assert 0 < duplicate.start < duplicate.stop < static.start < static.stop < frames
    assert [settings.source_frame(frame) for frame in duplicate] == [duplicate.start] * len(duplicate)


def test_very_short_recordings_have_no_odd_stretches() -> None:
    settings = SampleSettings(frames=5)
    assert not settings.duplicate_frames
    assert not settings.static_frames
    assert [settings.source_frame(frame) for frame in range(5)] == list(range(5))


def test_serial_numbers_are_in_the_synthetic_range_and_differ_with_seed_and_size() -> None:
    serials = [
        SampleSettings(seed=seed, width=w, height=h).serial for seed in (0, 7, 9999) for w, h in ((672, 376), (1280, 720), (640, 360))
    ]
    assert len(set(serials)) == len(serials)
    assert all(900_000 <= serial <= 999_999 for serial in serials)
