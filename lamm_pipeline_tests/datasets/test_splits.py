"""The written split: what it says, that it leaks nothing, and that leaks would be found."""

import json
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from lamm_pipeline.datasets.settings import DatasetSettings, FilterSettings, SplitSettings
from lamm_pipeline.datasets.splits import Leak, find_leaks, leaks, read_splits, split_samples
from lamm_pipeline.errors import InputError
from lamm_pipeline_tests.datasets.world import curated, folders_of, make_recording, make_version, make_world


def half_half(**options):
    return SplitSettings(train_ratio=0.5, val_ratio=0.5, test_ratio=0.0, **options)


@pytest.fixture
def three(tmp_path):
    inputs = [make_recording(tmp_path, key, range(30), shared_files=True) for key in ("a", "b", "c")]
    return make_world(tmp_path, inputs, DatasetSettings(split=SplitSettings(train_ratio=0.8, val_ratio=0.1, test_ratio=0.1)))


@pytest.fixture
def single(tmp_path):
    settings = DatasetSettings(filters=FilterSettings(excluded_frame_ids=["a:000004"]))
    return make_world(tmp_path, [make_recording(tmp_path, "a", range(0, 202, 2), shared_files=True)], settings)


@pytest.mark.requirement("SPL-04", "SPL-05", "SPL-08", "AV-06")
def test_no_recording_is_in_two_splits(three):
    where = {}
    for row in read_splits(three.folder("splits")):
        where.setdefault(row.recording, set()).add(row.split)
    assert sorted(where.values(), key=str) == [{"test"}, {"train"}, {"val"}]
    assert leaks(three.folder("splits")) == []
    assert three.split["total_recordings"] == 3
    assert {name: part["recording_count"] for name, part in three.split["splits"].items()} == {"train": 1, "val": 1, "test": 1}


@pytest.mark.requirement("SPL-06", "SPL-09", "DSB-04")
def test_the_summary_has_settings_ratios_and_counts_by_class(three):
    stored = json.loads((three.folder("splits") / "splits.json").read_text())
    assert stored == three.split
    assert (stored["strategy"], stored["strategy_used"], stored["seed"]) == ("auto", "recording", 42)
    assert stored["ratios"] == {"train": 0.8, "val": 0.1, "test": 0.1}
    assert stored["achieved_ratios"] == {"train": 0.333333, "val": 0.333333, "test": 0.333333}
    assert stored["classes"] == {"car": {"train": 30, "val": 30, "test": 30}, "person": {"train": 30, "val": 30, "test": 30}}
    assert (stored["total_frames"], stored["total_annotations"]) == (90, 180)


@pytest.mark.requirement("SPL-10", "SPL-05")
def test_one_recording_is_cut_into_blocks_and_the_gap_is_accounted_for(single):
    rows = list(read_splits(single.folder("splits")))
    assert len(rows) == 100
    assert "a:000004" not in {row.frame_id for row in rows}
    order = [row.split for row in rows]
    assert order == ["train"] * 56 + [None] * 10 + ["val"] * 16 + [None] * 10 + ["test"] * 8
    assert {row.reason for row in rows if row.split is None} == {"guard_gap"}
    assert [row.output_index for row in rows if row.split == "val"] == list(range(16))
    assert single.split["unassigned_frames"] == {"guard_gap": 20}
    assert single.split["guard_frames_used"] == {"a": 10}
    assert leaks(single.folder("splits")) == []


def test_frames_are_numbered_from_zero_within_each_split(three):
    table = pq.read_table(three.folder("splits") / "splits.parquet").to_pylist()
    for split in ("train", "val", "test"):
        assert [row["output_index"] for row in table if row["split"] == split] == list(range(30))


@pytest.mark.requirement("SPL-04", "SPL-05")
def test_a_recording_in_two_splits_is_a_leak(three):
    rows = list(read_splits(three.folder("splits")))
    other = next(split for split in ("train", "val") if split != rows[3].split)
    moved = [replace(row, split=other) if row.frame_id == "a:000003" else row for row in rows]
    assert find_leaks(moved, {}) == [Leak("a", (rows[3].split, other), ("a:000002", "a:000003"), 0, None)]


@pytest.mark.requirement("SPL-10", "SPL-05")
def test_blocks_closer_than_the_gap_are_a_leak(single):
    rows = list(read_splits(single.folder("splits")))
    assert find_leaks(rows, {"a": 10}) == []
    assert [(leak.splits, leak.frames_between) for leak in find_leaks(rows, {"a": 11})] == [(("train", "val"), 10), (("val", "test"), 10)]
    closer = [replace(row, split="val") if position == 60 else row for position, row in enumerate(rows)]
    assert find_leaks(closer, {"a": 10}) == [Leak("a", ("train", "val"), (rows[55].frame_id, rows[60].frame_id), 4, 10)]


def test_classes_that_a_split_lacks_are_noted(tmp_path):
    inputs = make_recording(tmp_path, "a", range(60), lambda index: ("car", "sign") if index < 20 else ("car",), shared_files=True)
    world = make_world(tmp_path, [inputs], DatasetSettings(split=half_half()))
    assert world.split["notes"] == ["Class 'sign' has no annotations in val."]


@pytest.mark.requirement("EXP-07")
def test_the_training_id_names_selection_and_split(tmp_path):
    inputs = [make_recording(tmp_path, key, range(20), shared_files=True) for key in ("a", "b", "c", "d")]

    def ids(filters=None, **split):
        settings = DatasetSettings(filters=filters or FilterSettings(), split=SplitSettings(**split))
        world = make_world(tmp_path, inputs, settings)
        return world.selection["curated_dataset_id"], world.split["training_dataset_id"]

    first = ids()
    assert ids() == first
    assert first[0] is None
    no_person = FilterSettings(excluded_classes=["person"])
    filtered, resplit = ids(no_person), ids(no_person, strategy="blocks", guard_frames=1)
    assert filtered[0] == resplit[0] is not None
    assert len({first[1], filtered[1], resplit[1]}) == 3


def test_exports_get_only_frames_in_a_split_and_only_kept_annotations(tmp_path):
    settings = DatasetSettings(filters=FilterSettings(excluded_classes=["person"]), split=half_half(guard_frames=2))
    world = make_world(tmp_path, [make_recording(tmp_path, "a", range(10))], settings)
    items = list(split_samples(world.folder("curated_dataset"), world.folder("splits"), world.artifact_folder))
    assert [(item.sample.frame_index, item.split, item.output_index) for item in items] == [
        *((index, "train", index) for index in range(4)),
        *((index, "val", index - 6) for index in range(6, 10)),
    ]
    assert {annotation.class_id for item in items for annotation in item.sample.annotations} == {"car"}


def test_a_selection_of_other_artifacts_is_refused(tmp_path):
    world = make_world(tmp_path, [make_recording(tmp_path, "a", range(10))], DatasetSettings(split=half_half(guard_frames=1)))
    longer = make_version(tmp_path, [make_recording(tmp_path / "other", "a", range(12))])
    curated(tmp_path / "other", longer)
    stale = tmp_path / "other" / "datasets" / longer.key / "curated_dataset"
    with pytest.raises(InputError, match="do not fit each other at frame 'a:000010'"):
        list(split_samples(stale, world.folder("splits"), folders_of(tmp_path / "other")))
