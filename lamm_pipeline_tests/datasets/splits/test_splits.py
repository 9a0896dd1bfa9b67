"""The written split: what it says, that it leaks nothing, and that leaks would be found."""

import json

import dagster as dg
import numpy as np
import pyarrow.parquet as pq
import pytest

from lamm_pipeline.datasets import checks
from lamm_pipeline.datasets.settings import DatasetSettings, FilterSettings, SplitSettings
from lamm_pipeline.datasets.splits.split_plans import plan_splits
from lamm_pipeline.datasets.splits.split_summary import summarize
from lamm_pipeline.datasets.splits.split_table import Leak, find_leaks, leaks, read_splits, split_samples, split_version
from lamm_pipeline.datasets.versions import PreviousSplit
from lamm_pipeline.errors import InputError
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline_tests.datasets.splits.split_worlds import frames_of
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


def moved(rows, place, split):
    """The rows, with that of one place in another split."""
    splits = rows["split"].to_pylist()
    return rows.set_column(rows.schema.get_field_index("split"), "split", [[*splits[:place], split, *splits[place + 1 :]]])


@pytest.mark.requirement("SPL-04", "SPL-05")
def test_a_recording_in_two_splits_is_a_leak(three):
    rows = pq.read_table(three.folder("splits") / "splits.parquet")
    here = rows["split"][3].as_py()
    other = next(split for split in ("train", "val") if split != here)
    leak = Leak("a", (here, other), ("a:000002", "a:000003"), 0, None)
    assert find_leaks(moved(rows, 3, other), {}) == [leak]
    assert find_leaks(moved(rows, 3, other).take(np.random.default_rng(0).permutation(len(rows))), {}) == [leak]


@pytest.mark.requirement("SPL-10", "SPL-05")
def test_gaps_count_extracted_frames_so_what_was_not_kept_is_part_of_them(tmp_path):
    """Every third frame was extracted, and of these every fifth is kept, as of hard cases."""
    extracted = range(0, 300, 3)
    dropped = [f"a:{index:06d}" for number, index in enumerate(extracted) if number % 5]
    settings = DatasetSettings(filters=FilterSettings(excluded_frame_ids=dropped))
    world = make_world(tmp_path, [make_recording(tmp_path, "a", extracted, shared_files=True)], settings)
    rows = list(read_splits(world.folder("splits")))
    assert [(row.frame_index, row.place) for row in rows] == [(index, index // 3) for index in range(0, 300, 15)]
    assert [row.split for row in rows] == ["train"] * 11 + [None] * 2 + ["val"] * 3 + [None] * 2 + ["test"] * 2
    assert leaks(world.folder("splits")) == []


@pytest.mark.requirement("SPL-10", "SPL-05")
def test_blocks_closer_than_the_gap_are_a_leak(single):
    rows = pq.read_table(single.folder("splits") / "splits.parquet")
    assert find_leaks(rows, {"a": 10}) == []
    assert [(leak.splits, leak.frames_between) for leak in find_leaks(rows, {"a": 11})] == [(("train", "val"), 10), (("val", "test"), 10)]
    ids = rows["frame_id"].to_pylist()
    assert find_leaks(moved(rows, 60, "val"), {"a": 10}) == [Leak("a", ("train", "val"), (ids[55], ids[60]), 4, 10)]


@pytest.mark.parametrize(
    ("where", "note"),
    [
        (range(20), "Class 'sign' has no annotations in val."),
        (range(27, 33), "Class 'sign' is only on frames that are in no split, so nothing of it is exported."),
    ],
)
def test_classes_that_a_split_lacks_are_noted(tmp_path, where, note):
    inputs = make_recording(tmp_path, "a", range(60), lambda index: ("car", "sign") if index in where else ("car",), shared_files=True)
    world = make_world(tmp_path, [inputs], DatasetSettings(split=half_half()))
    assert world.split["notes"] == [note]
    assert world.split["classes"]["sign"]["val"] == 0


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


@pytest.mark.requirement("SPL-03", "SPL-05")
def test_a_version_that_grows_keeps_every_frame_in_its_split(tmp_path):
    inputs = [make_recording(tmp_path, key, range(30), shared_files=True) for key in ("a", "b", "c", "d", "e")]
    first = make_world(tmp_path, inputs[:4])
    previous = first.folder("splits")
    manifest = make_version(tmp_path, inputs[1:], name="more", previous_split=PreviousSplit(version=first.manifest.key, artifact="s1"))
    curated(tmp_path, manifest)
    draft = Draft.open(tmp_path / "grown")
    summary = split_version(manifest, tmp_path / "datasets" / manifest.key / "curated_dataset", draft, previous)
    draft.finish()
    before = {row.frame_id: row.split for row in read_splits(previous)}
    after = {row.frame_id: row.split for row in read_splits(tmp_path / "grown")}
    assert all(after[frame_id] == split for frame_id, split in before.items() if not frame_id.startswith("a:"))
    assert summary["newcomers"] == {"kept": 90, "placed": 30, "gone": 30, "previous": first.manifest.key}
    assert first.split["newcomers"] == {"kept": 0, "placed": 120, "gone": 0, "previous": None}


@pytest.fixture
def grown_by(tmp_path):
    """Splits a version of some recordings, given the artifact `splits` in a folder, and gives its summary and folder."""

    def split(inputs, settings, name, before):
        previous = PreviousSplit(version="drives.v1", artifact="s1")
        manifest = make_version(tmp_path, inputs, DatasetSettings(split=settings), name=name, previous_split=previous)
        curated(tmp_path, manifest)
        draft = Draft.open(tmp_path / f"splits-{name}")
        summary = split_version(manifest, tmp_path / "datasets" / manifest.key / "curated_dataset", draft, before)
        draft.finish()
        return summary, tmp_path / f"splits-{name}"

    return split


@pytest.mark.requirement("SPL-03")
def test_frames_that_keep_their_places_though_another_split_is_asked_for_are_noted(tmp_path, grown_by):
    inputs = [make_recording(tmp_path, key, range(30), shared_files=True) for key in ("a", "b", "c", "d")]
    first = make_world(tmp_path, inputs).folder("splits")
    assert grown_by(inputs, SplitSettings(), "same", first)[0]["notes"] == []
    other = SplitSettings(seed=43, train_ratio=0.5, val_ratio=0.3, test_ratio=0.2)
    [note] = grown_by(inputs, other, "other", first)[0]["notes"]
    assert note.startswith("The split of drives.v1 was made with other settings (seed, ratios), and its frames keep their places")
    assert "(resplit)" in note


@pytest.mark.requirement("SPL-05")
def test_a_frame_in_no_split_keeps_the_reason_for_it(tmp_path, grown_by):
    inputs = [make_recording(tmp_path, "a", range(60), shared_files=True)]
    first = make_world(tmp_path, inputs).folder("splits")
    rows = pq.read_table(first / "splits.parquet")
    reasons = ["near_duplicate" if reason else None for reason in rows["reason"].to_pylist()]
    pq.write_table(rows.set_column(rows.schema.get_field_index("reason"), "reason", [reasons]), first / "splits.parquet")
    summary, folder = grown_by(inputs, SplitSettings(), "more", first)
    assert summary["unassigned_frames"] == {"near_duplicate": reasons.count("near_duplicate")}
    assert [row.reason for row in read_splits(folder)] == reasons


@pytest.mark.requirement("SPL-03")
def test_the_summary_has_all_that_the_split_depends_on(three):
    settings = three.manifest.settings.split.model_dump(mode="json")
    ratios = {f"{split}_ratio": ratio for split, ratio in three.split["ratios"].items()}
    group = settings.pop("group")
    assert (group, three.split["group"]) == ("auto", None)  # the one that was used, of stratified splits
    assert {name: (three.split | ratios)[name] for name in settings} == settings


@pytest.mark.requirement("SPL-04")
@pytest.mark.parametrize("asked", [{"strategy": "random"}, {"strategy": "stratified", "group": "frame"}])
def test_leaks_that_were_asked_for_only_warn(three, tmp_path, asked):
    settings = DatasetSettings(split=SplitSettings(**asked))
    world = make_world(tmp_path / "frames", [make_recording(tmp_path / "frames", "a", range(60), shared_files=True)], settings)
    verdict = checks.no_video_leakage(leaks(world.folder("splits")), world.split)
    assert (verdict.passed, verdict.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "will look better than they are" in verdict.description
    leak = Leak("a", ("train", "val"), ("a:000000", "a:000001"), 0, None)
    whole = checks.no_video_leakage([leak], three.split)
    assert (whole.passed, whole.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert whole.description == "1 recordings touch two splits."
    kept = checks.no_video_leakage([leak], three.split | {"newcomers": {"kept": 90}})
    assert str(kept.description).endswith("a version that divides all anew (resplit) parts no neighbours.")


@pytest.mark.requirement("SPL-01")
def test_classes_more_than_five_points_off_are_a_warning_after_a_stratified_split():
    def verdict(strategy, sign_on):
        frames = frames_of(dict.fromkeys("abcd", 20), labels=[["car", "sign"] if n in sign_on else ["car"] for n in range(80)])
        settings = SplitSettings(strategy=strategy)
        return checks.stratified_within_5_points(summarize("d.v1", settings, frames, plan_splits(frames, settings, "d.v1")))

    off = verdict("stratified", range(20))
    assert (off.passed, off.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert off.description == "1 classes are more than 5 points off in a split."
    assert verdict("stratified", range(0, 80, 2)).passed
    assert verdict("recording", range(20)).passed
