"""Versions: their manifest, their number, and what may not go into one."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from lamm_pipeline.datasets.settings import DatasetSettings, EmptyFrames, ExportFormat, FilterSettings, SplitSettings
from lamm_pipeline.datasets.versions import (
    ImportInputs,
    PreviousSplit,
    SourceFile,
    VersionManifest,
    check_ontology,
    list_versions,
    next_number,
    parse_key,
    read_version,
    write_version,
)
from lamm_pipeline.errors import InputError
from lamm_pipeline.ontology.ontology import Ontology
from lamm_pipeline_tests.datasets.world import ONTOLOGY, inputs_of, make_version


@pytest.mark.requirement("SPL-09", "EXP-02", "EXP-03")
def test_defaults_are_those_of_the_specification():
    settings = DatasetSettings()
    assert settings.split.ratios == {"train": 0.7, "val": 0.2, "test": 0.1}
    assert settings.split.seed == 42
    assert settings.empty_frames is EmptyFrames.drop
    assert settings.formats == [ExportFormat.kitti, ExportFormat.coco]
    assert settings.include_masks
    assert settings.include_depth


@pytest.mark.requirement("EXP-02")
@pytest.mark.parametrize("ratios", [(0.7, 0.2, 0.2), (0.5, 0.2, 0.2), (0.7, 0.2, 0.102)])
def test_ratios_that_do_not_sum_to_one_are_refused(ratios):
    with pytest.raises(ValidationError, match="must sum to 1"):
        SplitSettings(train_ratio=ratios[0], val_ratio=ratios[1], test_ratio=ratios[2])


@pytest.mark.requirement("EXP-02")
def test_ratios_may_miss_one_by_a_thousandth():
    assert SplitSettings(train_ratio=0.333, val_ratio=0.333, test_ratio=0.333).val_ratio == 0.333


@pytest.mark.parametrize(
    "wrong",
    [
        {"filters": {"min_score": 1.5}},
        {"filters": {"include_classes": ["car"], "excluded_classes": ["car"]}},
        {"split": {"guard_frames": 0}},
        {"split": {"strategy": "frame"}},
        {"formats": ["kitti", "kitti"]},
        {"format": ["kitti"]},
    ],
)
def test_settings_out_of_bounds_or_unknown_are_refused(wrong):
    with pytest.raises(ValidationError):
        DatasetSettings(**wrong)


@pytest.mark.requirement("DSB-05", "DSB-06", "DSB-03")
def test_a_version_is_read_back_as_it_was_created(tmp_path):
    settings = DatasetSettings(filters=FilterSettings(excluded_classes=["person"], excluded_frame_ids=["a:000003"]))
    created = make_version(tmp_path, [inputs_of("b"), inputs_of("a")], settings, name="Urban_Night", title="Night", description="Rain.")
    assert read_version(tmp_path, "Urban_Night.v1") == created
    assert [inputs.recording for inputs in created.recordings] == ["a", "b"]
    assert created.created_by == "ada"
    stored = json.loads((tmp_path / "datasets" / "Urban_Night.v1" / "version.json").read_text())
    assert stored["settings"]["filters"]["excluded_classes"] == ["person"]
    assert stored["recordings"][0]["artifacts"] == {
        "frames": "f1",
        "detections": "d1",
        "boxes_3d": "b1",
        "tracks": "t1",
        "diversity_metrics": None,
        "selection": None,
    }


@pytest.mark.requirement("DSB-05", "CUR-07")
def test_a_manifest_is_never_overwritten(tmp_path):
    version = make_version(tmp_path, [inputs_of("a")])
    path = tmp_path / "datasets" / version.key / "version.json"
    before = path.read_bytes()
    with pytest.raises(InputError, match="never change"):
        write_version(path.parent, version.model_copy(update={"title": "other"}))
    assert path.read_bytes() == before


@pytest.mark.requirement("DSB-05")
def test_a_version_in_memory_cannot_be_changed(tmp_path):
    version = make_version(tmp_path, [inputs_of("a")])
    with pytest.raises(ValidationError):
        version.title = "other"
    with pytest.raises(ValidationError):
        version.settings.split.seed = 7


@pytest.mark.requirement("CUR-07")
def test_numbers_go_up_and_are_never_used_again(tmp_path):
    assert [make_version(tmp_path, [inputs_of("a")]).number for _ in range(3)] == [1, 2, 3]
    assert make_version(tmp_path, [inputs_of("a")], name="drives-2").number == 1
    assert make_version(tmp_path, [inputs_of("a")], taken=[9, 4]).key == "drives.v10"
    (tmp_path / "datasets" / "drives.v10" / "version.json").unlink()
    assert next_number(tmp_path, "drives") == 11
    assert [version.key for version in list_versions(tmp_path)] == ["drives.v1", "drives.v2", "drives.v3", "drives-2.v1"]
    assert [version.key for version in list_versions(tmp_path, "drives-2")] == ["drives-2.v1"]


def test_a_number_taken_by_somebody_else_at_the_same_moment_is_skipped(tmp_path, monkeypatch):
    make_version(tmp_path, [inputs_of("a")])
    monkeypatch.setattr("lamm_pipeline.datasets.versions.next_number", lambda *_: 1)
    assert make_version(tmp_path, [inputs_of("a")]).number == 2


def test_the_content_digest_forgets_texts_and_numbers_and_knows_the_rest(tmp_path):
    first = make_version(tmp_path, [inputs_of("a"), inputs_of("b")], title="one")
    same = make_version(tmp_path, [inputs_of("b"), inputs_of("a")], name="other", title="two")
    other = make_version(tmp_path, [inputs_of("a"), inputs_of("b")], DatasetSettings(include_depth=False))
    assert first.content_digest == same.content_digest != other.content_digest


@pytest.mark.parametrize("name", ["", "a.b", "a,b", "night drives", "-night", "ü", "a/b", "x" * 81])
def test_names_that_would_break_keys_are_refused(tmp_path, name):
    with pytest.raises(InputError, match="cannot be called"):
        make_version(tmp_path, [inputs_of("a")], name=name)
    assert not (tmp_path / "datasets").exists()


@pytest.mark.parametrize("key", ["drives", "drives.v0", "drives.v01", "drives.vx", "../drives.v1", "a,b.v1"])
def test_keys_that_name_no_version_are_refused(tmp_path, key):
    with pytest.raises(InputError, match="no dataset version"):
        read_version(tmp_path, key)
    with pytest.raises(InputError, match="no dataset version"):
        parse_key(key)


def test_a_key_without_manifest_fails_with_a_sentence(tmp_path):
    with pytest.raises(InputError, match=r"has no manifest.*create_dataset"):
        read_version(tmp_path, "drives.v3")


@pytest.mark.parametrize("damage", [lambda path: path.write_text("{"), lambda path: path.write_text('{"name": "drives"}')])
def test_a_damaged_manifest_fails_with_a_sentence(tmp_path, damage):
    path = tmp_path / "datasets" / make_version(tmp_path, [inputs_of("a")]).key / "version.json"
    damage(path)
    with pytest.raises(InputError, match=r"version\.json is not the manifest"):
        read_version(tmp_path, "drives.v1")


def test_a_manifest_in_the_wrong_folder_fails_with_a_sentence(tmp_path):
    folder = tmp_path / "datasets" / make_version(tmp_path, [inputs_of("a")]).key
    folder.rename(folder.with_name("drives.v5"))
    with pytest.raises(InputError, match=r"manifest of 'drives\.v1', not of 'drives\.v5'"):
        read_version(tmp_path, "drives.v5")


@pytest.mark.requirement("DSB-02", "SPL-05")
def test_recordings_that_cannot_go_together_are_refused(tmp_path):
    twin = inputs_of("b").model_copy(update={"source": inputs_of("a").source})
    for recordings, message in (([], "no recordings"), ([inputs_of("a")] * 2, "twice"), ([inputs_of("a"), twin], "same file")):
        with pytest.raises(InputError, match=message):
            make_version(tmp_path, recordings)


@pytest.mark.requirement("CUR-02")
def test_classes_that_are_not_in_the_ontology_are_refused(tmp_path):
    with pytest.raises(InputError, match="'unicorn' is not in the ontology"):
        make_version(tmp_path, [inputs_of("a")], DatasetSettings(filters=FilterSettings(excluded_classes=["unicorn"])))


def test_a_track_filter_needs_tracks(tmp_path):
    settings = DatasetSettings(filters=FilterSettings(min_track_length=3))
    with pytest.raises(InputError, match="'b' has no tracks"):
        make_version(tmp_path, [inputs_of("a"), inputs_of("b", boxes_3d=False)], settings)


@pytest.mark.requirement("EXP-06")
def test_another_ontology_than_the_one_at_creation_is_refused(tmp_path):
    version: VersionManifest = make_version(tmp_path, [inputs_of("a")])
    check_ontology(version, ONTOLOGY)
    with pytest.raises(InputError, match="another ontology"):
        check_ontology(version, Ontology(ONTOLOGY.classes, "f" * 64))


def test_no_part_of_a_failed_creation_stays(tmp_path: Path):
    with pytest.raises(InputError):
        make_version(tmp_path, [])
    assert next_number(tmp_path, "drives") == 1


def test_a_version_names_every_artifact_that_it_is_made_of(tmp_path):
    imported = ImportInputs(key="zip", recording="street", artifact="i1", source=SourceFile(path="zip.zip", digest="z", size=1))
    version = make_version(tmp_path, [inputs_of("a")], imports=[imported], previous_split=PreviousSplit(version="drives.v0", artifact="s1"))
    assert version.references == [
        "recordings/a/frames/f1",
        "recordings/a/detections/d1",
        "recordings/a/boxes_3d/b1",
        "recordings/a/tracks/t1",
        "annotation_exports/zip/annotation_export/i1",
        "datasets/drives.v0/splits/s1",
    ]
