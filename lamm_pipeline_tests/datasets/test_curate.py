"""Curation: every frame and annotation is kept, or dropped for a reason that is written down."""

import json
from collections import Counter

import pyarrow.parquet as pq
import pytest

from lamm_pipeline.datasets import curate
from lamm_pipeline.datasets.curate import curate_version, read_selection
from lamm_pipeline.datasets.settings import DatasetSettings, FilterSettings
from lamm_pipeline.errors import InputError
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline_tests.datasets.world import curated, folders_of, make_recording, make_version


def run(root, inputs, **filters):
    manifest = make_version(root, inputs, DatasetSettings(filters=FilterSettings(**filters)))
    summary = curated(root, manifest)
    return summary, list(read_selection(root / "datasets" / manifest.key / "curated_dataset"))


@pytest.mark.requirement("CUR-07", "CUR-02", "EXP-04")
def test_every_frame_and_annotation_is_accounted_for(tmp_path):
    inputs = make_recording(
        tmp_path,
        "a",
        range(8),
        lambda index: ("person",) if index == 5 else () if index == 6 else ("car", "person"),
        unselected=[1],
        unlabelled=[2],
    )
    summary, rows = run(
        tmp_path, [inputs], excluded_classes=["person"], excluded_frame_ids=["a:000003"], excluded_detection_ids=["a:000004:0"]
    )
    assert {row.frame_id: row.reason for row in rows} == {
        "a:000000": None,
        "a:000001": "extraction",
        "a:000002": "not_labelled",
        "a:000003": "excluded_frame",
        "a:000004": "all_annotations_dropped",
        "a:000005": "all_annotations_dropped",
        "a:000006": "no_annotations",
        "a:000007": None,
    }
    assert rows[0].kept_detection_ids == ("a:000000:0",)
    assert dict(zip(rows[4].dropped_detection_ids, rows[4].dropped_reasons, strict=True)) == {
        "a:000004:0": "excluded_detection",
        "a:000004:1": "class_excluded",
    }
    assert rows[3].dropped_reasons == ("frame_dropped", "frame_dropped")
    assert rows[1].detail == "similar to frame 0"
    assert summary["original"] == {"frames": 8, "annotations": 9}
    assert summary["filtered"] == {"frames": 2, "annotations": 2}
    assert sum(summary["dropped_frames"].values()) == 6
    assert sum(summary["dropped_annotations"].values()) == 7
    assert summary["classes"] == {"car": {"annotations": 2, "frames": 2}}
    assert summary["recordings"] == {"a": {"original_frames": 8, "frames": 2, "annotations": 2}}


@pytest.mark.requirement("CUR-02")
def test_only_included_classes_stay(tmp_path):
    summary, rows = run(tmp_path, [make_recording(tmp_path, "a")], include_classes=["car"])
    assert all(row.kept_class_ids == ("car",) for row in rows)
    assert summary["dropped_annotations"] == {"class_not_included": 6}


@pytest.mark.requirement("EXP-04")
def test_scores_below_the_minimum_go_and_missing_scores_stay(tmp_path):
    scored = make_recording(tmp_path, "scored", score=0.4)
    unscored = make_recording(tmp_path, "unscored", score=None)
    summary, _ = run(tmp_path, [scored, unscored], min_score=0.5)
    assert summary["dropped_annotations"] == {"score_below_min": 12}
    assert summary["recordings"]["unscored"]["annotations"] == 12
    exact, _ = run(tmp_path, [scored], min_score=0.4)
    assert exact["dropped_annotations"] == {}


def test_objects_seen_too_briefly_or_never_tracked_go(tmp_path):
    inputs = make_recording(tmp_path, "a", range(5), lambda index: ("car", "person", "sign") if index < 2 else ("car",))
    summary, rows = run(tmp_path, [inputs], min_track_length=3)
    assert summary["dropped_annotations"] == {"track_too_short": 4}
    assert all(row.kept_class_ids == ("car",) for row in rows)


@pytest.mark.requirement("EXP-04")
def test_empty_frames_are_dropped_or_kept_as_negatives_but_unlabelled_ones_never(tmp_path):
    inputs = make_recording(tmp_path, "a", range(4), lambda index: () if index == 1 else ("car",), unlabelled=[2])
    dropped, _ = run(tmp_path, [inputs])
    assert dropped["dropped_frames"] == {"no_annotations": 1, "not_labelled": 1}
    kept, rows = run(tmp_path, [inputs], empty_frames="keep_as_negative")
    assert kept["dropped_frames"] == {"not_labelled": 1}
    assert kept["negative_frames"] == 1
    assert [(row.frame_id, row.kept, row.kept_detection_ids) for row in rows][1] == ("a:000001", True, ())


@pytest.mark.requirement("VAL-01")
def test_empty_frames_that_are_an_error_stay_for_validation_to_report(tmp_path):
    inputs = make_recording(tmp_path, "a", range(100), lambda index: () if index < 14 else ("car",), unlabelled=[50], shared_files=True)
    summary, rows = run(tmp_path, [inputs], empty_frames="error")
    assert [(row.kept, row.state) for row in rows[:15]] == [(True, "unlabelled")] * 14 + [(True, "kept")]
    assert (summary["negative_frames"], summary["dropped_frames"]) == (14, {"not_labelled": 1})


def test_an_empty_dataset_is_a_sentence_with_the_reasons(tmp_path):
    with pytest.raises(InputError, match=r"of 6 frames none is kept \(all_annotations_dropped: 6\)"):
        run(tmp_path, [make_recording(tmp_path, "a")], min_score=0.95)


@pytest.mark.requirement("CUR-03", "CUR-04")
def test_exclusions_that_match_nothing_are_reported(tmp_path):
    summary, _ = run(
        tmp_path,
        [make_recording(tmp_path, "a")],
        excluded_frame_ids=["a:000001", "z:000009"],
        excluded_detection_ids=["a:000002:1", "a:000002:9"],
    )
    assert summary["unmatched_exclusions"] == {"frame_ids": ["z:000009"], "detection_ids": ["a:000002:9"]}


@pytest.mark.requirement("EXP-07", "CUR-07")
def test_the_curated_id_names_the_content_and_is_null_when_nothing_was_filtered(tmp_path):
    inputs = [make_recording(tmp_path, "a"), make_recording(tmp_path, "b", range(3))]
    plain, _ = run(tmp_path, inputs)
    matches_nothing, _ = run(tmp_path, inputs, excluded_classes=["sign"])
    by_class, _ = run(tmp_path, inputs, excluded_classes=["person"])
    by_inclusion, _ = run(tmp_path, list(reversed(inputs)), include_classes=["car"])
    by_frame, _ = run(tmp_path, inputs, excluded_frame_ids=["a:000001"])
    assert plain["curated_dataset_id"] is None
    assert matches_nothing["curated_dataset_id"] is None
    assert plain["selection_id"] == matches_nothing["selection_id"]
    assert by_class["curated_dataset_id"] == by_inclusion["curated_dataset_id"] != by_frame["curated_dataset_id"]
    assert None not in (by_class["curated_dataset_id"], by_frame["curated_dataset_id"])


def test_the_selection_is_a_parquet_file_others_can_read(tmp_path):
    run(tmp_path, [make_recording(tmp_path, "a")])
    table = pq.read_table(tmp_path / "datasets/drives.v1/curated_dataset/selection.parquet")
    assert table.column("kept").to_pylist() == [True] * 6
    assert table.column("kept_detection_ids").to_pylist()[0] == ["a:000000:0", "a:000000:1"]


@pytest.mark.requirement("AV-21")
def test_an_interrupted_curation_continues_and_ends_with_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(curate, "FRAMES_PER_CHECKPOINT", 10)
    inputs = make_recording(tmp_path, "a", range(60), shared_files=True)
    manifest = make_version(tmp_path, [inputs], DatasetSettings(filters=FilterSettings(excluded_classes=["person"])))
    folders = folders_of(tmp_path)
    whole = curated(tmp_path, manifest)
    told = Counter()

    def count(_done, _total):
        told["second run"] += 1

    def stop_at_37(done, _total):
        told["first run"] += 1
        if done == 37:
            raise KeyboardInterrupt

    draft = Draft.open(tmp_path / "again")
    with pytest.raises(KeyboardInterrupt):
        curate_version(manifest, folders, draft, stop_at_37, workers=1)
    draft.close()
    resumed = Draft.open(tmp_path / "again")
    assert curate_version(manifest, folders, resumed, count) == whole
    resumed.finish()
    assert told == {"first run": 37, "second run": 30}
    for name in ("selection.parquet", "selection.json", "samples.parquet"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "datasets/drives.v1/curated_dataset" / name).read_bytes()
    assert json.loads((tmp_path / "again/selection.json").read_text()) == whole
