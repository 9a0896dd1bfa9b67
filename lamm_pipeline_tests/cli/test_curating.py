"""`lamm curate`: other settings without touching an image."""

import shutil
from pathlib import Path

import pytest

from lamm_pipeline.curation.selecting import settings_in_force
from lamm_pipeline_tests.command_line import lamm, printed, refused
from lamm_pipeline_tests.curation.houses import House

pytestmark = pytest.mark.usefixtures("own_environment")


@pytest.mark.requirement("CUR-02", "CUR-05", "CUR-06", "API-16")
def test_settings_that_are_not_given_stay_and_reset_begins_anew(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.measure([0, 0, 9, 5], [1.0, 1.0, 1.0, 1.0])
    [first] = printed("curate", "--root", tmp_path, "--diversity", "--similarity-threshold", "0.99")["selections"]
    assert first["states"] == {"kept": 2, "reviewed_empty": 0, "unlabelled": 1, "excluded": 1}
    [second] = printed("curate", "drive", "--root", tmp_path, "--exclude-class", "cone")["selections"]
    assert (second["dropped_frames"], second["dropped_annotations"]) == (
        {"no_annotations": 1, "repeated": 1},
        {"class_excluded": 1, "frame_dropped": 1},
    )
    assert settings_in_force(house.store, "drive").similarity_threshold == 0.99
    [third] = printed("curate", "--root", tmp_path, "--reset")["selections"]
    assert third["dropped_annotations"] == {}
    shown = lamm("curate", "--root", tmp_path).stdout.split()
    assert shown[:2] == ["recording", "kept"]


def test_what_cannot_be_ends_in_a_sentence(tmp_path: Path) -> None:
    House(tmp_path)
    assert "min_score = 2.0" in refused("curate", "drive", "--root", tmp_path, "--min-score", "2")
    assert "No recording is called 'night'" in refused("curate", "night", "--root", tmp_path)
    assert "There is no 'diversity_metrics'" in lamm("curate", "--root", tmp_path, "--diversity", code=1).stderr


@pytest.mark.requirement("CUR-06")
def test_frames_that_look_like_frames_of_another_recording_are_found(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.measure([0, 0b1, 2**63 - 1, 5], [1.0, 1.0, 1.0, 1.0])
    (tmp_path / "copy.svo2").write_text("copy")
    lamm("add", tmp_path / "copy.svo2", "--root", tmp_path)
    assert "No frames of different recordings look alike (1 recordings)." in lamm("near-duplicates", "--root", tmp_path).stdout
    shutil.copytree(tmp_path / "recordings/drive", tmp_path / "recordings/copy")
    found = printed("near-duplicates", "--root", tmp_path, "--radius", "1")
    assert found["recordings"][0] == {"recording": "copy", "other": "drive", "frames": 4, "of": 4, "closest": 0}
    assert {each["bits"] for each in found["frames"]} == {0}
    assert "There is no 'diversity_metrics' of 'other'" in refused("near-duplicates", "other", "--root", with_other(tmp_path))


def with_other(root: Path) -> Path:
    (root / "other.svo2").write_text("other")
    lamm("add", root / "other.svo2", "--root", root)
    return root
