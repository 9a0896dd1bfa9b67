"""Dataset versions of curated recordings: what people decided reaches every export, with its source."""

import csv
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from pycocotools.coco import COCO

from lamm_pipeline.datasets.checks import curation_verdicts
from lamm_pipeline.datasets.creation import create_dataset_version
from lamm_pipeline.datasets.curate import SCHEMA
from lamm_pipeline.datasets.samples import pinned_folders
from lamm_pipeline.datasets.settings import DatasetSettings, ExportFormat
from lamm_pipeline.errors import InputError
from lamm_pipeline.geometry import rle
from lamm_pipeline.storage.tables import read_table, write_table
from lamm_pipeline_tests.curation.houses import FRAME, House
from lamm_pipeline_tests.datasets.shops import ALL_TRAIN, Shop
from lamm_pipeline_tests.review.worlds import ONTOLOGY, mask_of

CAR, PERSON, CAR_1, VAN, CONE = "drive:000000:0", "drive:000000:1", "drive:000001:0", "drive:000003:0", "drive:000003:1"


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(House(tmp_path))


@pytest.mark.requirement("CUR-02", "CUR-03", "CUR-04", "CUR-07", "EXP-05", "EXP-06", "EXP-07")
def test_decisions_reach_both_exports_and_the_lineage(shop: Shop) -> None:
    house = shop.house
    mask = mask_of((20.0, 30.0, 80.0, 90.0))
    house.say(CAR, "set_class", class_id="truck")
    house.say(PERSON, "exclude")
    house.say(CAR_1, "set_box", box_xyxy=[12, 10, 60, 50])
    house.say(VAN, "set_mask", mask_rle=mask)
    house.say(FRAME(2), "reviewed_empty", "frame")
    version = shop.version()
    assert version.recordings[0].artifacts.selection is not None
    summary, rows = shop.curate(version)
    assert [(row.kept, row.state) for row in rows] == [(True, "kept"), (True, "kept"), (True, "reviewed_empty"), (True, "kept")]
    assert summary["states"] == {"kept": 3, "reviewed_empty": 1, "unlabelled": 0, "excluded": 0}
    assert (summary["original"], summary["filtered"]) == ({"frames": 4, "annotations": 5}, {"frames": 4, "annotations": 4})
    assert summary["corrected_annotations"] == 3
    assert summary["curated_dataset_id"] is not None
    exports = shop.export(version)

    coco = COCO(str(exports[ExportFormat.coco] / "train" / "annotations.json"))
    found = {each["detection_id"]: each for each in coco.dataset["annotations"]}
    assert found.keys() == {CAR, CAR_1, VAN, CONE}
    names = {each["id"]: each["name"] for each in coco.dataset["categories"]}
    assert {name: (names[each["category_id"]], each["source"], each.get("corrected")) for name, each in found.items()} == {
        CAR: ("truck", "human", ["class"]),
        CAR_1: ("car", "human", ["box"]),
        VAN: ("van", "human", ["box", "mask"]),
        CONE: ("cone", "model", None),
    }
    assert found[CAR_1]["bbox"] == [12.0, 10.0, 48.0, 40.0]
    assert found[VAN]["segmentation"] == mask
    assert found[VAN]["area"] == rle.area(mask) == int(coco.annToMask(found[VAN]).sum())
    x1, y1, x2, y2 = rle.box_xyxy(mask)
    assert found[VAN]["bbox"] == [x1, y1, x2 - x1, y2 - y1]
    assert {each["frame_id"]: each["state"] for each in coco.dataset["images"]} == {row.frame_id: row.state for row in rows}

    kitti = exports[ExportFormat.kitti]
    labels = {n: (kitti / "train" / "label_2" / f"{n:06d}.txt").read_text().splitlines() for n in range(4)}
    assert [line.split()[0] for line in labels[0]] == ["Truck"]
    assert [float(each) for each in labels[1][0].split()[4:8]] == [12, 10, 60, 50]
    assert labels[2] == []
    with (kitti / "frames.csv").open(newline="") as file:
        listed = list(csv.DictReader(file))
    assert [(each["frame_id"], each["state"], each["human"]) for each in listed] == [
        (FRAME(0), "kept", "0:class"),
        (FRAME(1), "kept", "0:box"),
        (FRAME(2), "reviewed_empty", ""),
        (FRAME(3), "kept", "0:box+mask"),
    ]

    lineage = shop.folder(version, "lineage")
    rows_written = list(read_table(lineage / "frames_lineage.parquet"))
    assert [(each["state"], each["corrected_annotation_ids"]) for each in rows_written] == [
        ("kept", [CAR]),
        ("kept", [CAR_1]),
        ("reviewed_empty", []),
        ("kept", [VAN]),
    ]
    assert json.loads((lineage / "lineage.json").read_text())["selection"]["corrected_annotations"] == 3


@pytest.mark.requirement("CUR-09", "STA-04")
def test_a_decision_makes_the_next_version_and_the_old_one_stays_as_it_was(shop: Shop) -> None:
    first = shop.version()
    assert shop.version() == first
    before, _ = shop.curate(first)
    shop.house.say(CAR, "exclude", note="a poster")
    second = shop.version()
    assert (first.key, second.key) == ("night.v1", "night.v2")
    assert shop.curate(second)[0]["dropped_annotations"] == {"decision": 1}
    assert shop.curate(second)[1][0].dropped_details == ("decision 1 by ada: a poster",)
    assert shop.curate(first)[0] == before


def test_the_versions_own_filters_go_on_top_and_see_what_people_said(shop: Shop) -> None:
    shop.house.say(CAR, "set_class", class_id="truck")
    shop.house.say(CONE, "exclude")
    shop.house.say(VAN, "keep")
    summary, rows = shop.curate(shop.version(excluded_classes=["truck"], min_score=0.9))
    assert summary["dropped_annotations"] == {"class_excluded": 1, "decision": 1, "score_below_min": 2}
    assert [row.kept_detection_ids for row in rows] == [(), (), (), (VAN,)]
    assert summary["states"] == {"kept": 1, "reviewed_empty": 0, "unlabelled": 3, "excluded": 0}


@pytest.mark.requirement("EXP-04", "CUR-04")
def test_a_negative_of_a_persons_word_is_exported_and_one_that_nobody_looked_at_is_not(shop: Shop) -> None:
    shop.house.say(FRAME(2), "reviewed_empty", "frame")
    shop.house.say(CAR_1, "exclude")
    _, rows = shop.curate(shop.version())
    assert [(row.kept, row.state, row.reason) for row in rows[1:3]] == [
        (False, "unlabelled", "all_annotations_dropped"),
        (True, "reviewed_empty", None),
    ]
    summary, rows = shop.curate(shop.version(empty_frames="keep_as_negative"))
    assert [(row.kept, row.state) for row in rows[1:3]] == [(True, "unlabelled"), (True, "reviewed_empty")]
    assert summary["negative_frames"] == 2


def test_frames_that_the_selection_drops_are_out_with_its_words(shop: Shop) -> None:
    shop.house.measure([0, 0, 9, 5], [1.0, 1.0, 1.0, 1.0])
    shop.house.curate(diversity=True, similarity_threshold=0.99)
    summary, rows = shop.curate(shop.version(empty_frames="keep_as_negative"))
    assert (rows[1].state, rows[1].reason, rows[1].detail) == ("excluded", "repeated", "similarity 1.0000 to drive:000000 is above 0.99")
    assert summary["dropped_frames"] == {"repeated": 1}
    assert summary["curated_dataset_id"] is not None


def test_a_selection_of_other_detections_is_not_pinned(shop: Shop) -> None:
    shop.version()
    shop.house.detect({0: [], 1: [], 2: [], 3: []}, threshold=0.4)
    settings = DatasetSettings(split=ALL_TRAIN)
    with pytest.raises(InputError, match="The selection of recording 'drive' were made from other detections"):
        create_dataset_version(shop.house.root, shop.house.store, shop.house.catalog, ONTOLOGY, "day", [], settings, actor="ada")


@pytest.mark.requirement("CUR-07")
def test_counts_that_do_not_add_up_and_annotations_that_vanish_fail_the_check(shop: Shop) -> None:
    shop.house.say(PERSON, "exclude")
    version = shop.version()
    counts, rows = shop.curate(version)
    folder, folders = shop.folder(version, "curated_dataset"), pinned_folders(shop.house.store)

    def verdict(claimed: dict[str, Any]) -> bool:
        sums, sources = curation_verdicts(version, folders, folder, claimed)
        assert (sums.check_name, sources.check_name, sources.passed) == ("counts_add_up", "sources_agree", True)
        return bool(sums.passed)

    assert verdict(counts)
    for wrong in ({"original": {"frames": 4, "annotations": 9}}, {"filtered": {"frames": 4, "annotations": 4}}, {"dropped_frames": {}}):
        assert not verdict(counts | wrong)
    write_table(folder / "selection.parquet", SCHEMA, [asdict(replace(row, dropped_detection_ids=())) for row in rows])
    assert not verdict(counts)
