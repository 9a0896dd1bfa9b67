"""What becomes of the frames and annotations of a recording, and why."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from lamm_pipeline.curation import selecting, selection
from lamm_pipeline.curation.diversity_selection import Rank, diversity_clusters
from lamm_pipeline.curation.selection import FrameSelection, ranks_of
from lamm_pipeline.curation.settings import SelectionSettings
from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction import diversity
from lamm_pipeline_tests.curation.houses import FRAME, House
from lamm_pipeline_tests.review.worlds import FOUND, ONTOLOGY, detection, mask_of

CAR, PERSON, CAR_1, VAN, CONE = "drive:000000:0", "drive:000000:1", "drive:000001:0", "drive:000003:0", "drive:000003:1"


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def fates(rows: dict[int, FrameSelection]) -> dict[str, str | None]:
    """Reason by annotation, None for those that are kept."""
    found: dict[str, str | None] = {}
    for row in rows.values():
        found |= dict.fromkeys(row.kept_detection_ids)
        found |= dict(zip(row.dropped_detection_ids, row.dropped_reasons, strict=True))
    return found


def states(rows: dict[int, FrameSelection]) -> list[tuple[str, str | None]]:
    return [(row.state, row.reason) for row in rows.values()]


def test_without_settings_and_decisions_everything_found_stays(house: House) -> None:
    rows, counts = house.curate()
    assert states(rows) == [("kept", None), ("kept", None), ("unlabelled", "no_annotations"), ("kept", None)]
    assert set(fates(rows).values()) == {None}
    assert counts["original"] == {"frames": 4, "annotations": 5}
    assert counts["filtered"] == {"frames": 3, "annotations": 5}
    assert counts["reduction_percentage"] == 25.0
    assert counts["classes"]["car"] == {"annotations": 2, "frames": 2}


@pytest.mark.requirement("CUR-02", "CUR-03", "CUR-04", "CUR-07")
def test_exclusions_and_scores_drop_with_their_reason(house: House) -> None:
    low = detection(1, 0, "car", (12.5, 10.0, 62.5, 50.0))
    house.detect({**FOUND, 1: [type(low)(**{**vars(low), "confidence": 0.2})]})
    rows, counts = house.curate(
        excluded_classes=["cone"],
        excluded_detection_ids=[PERSON, "drive:000000:9"],
        excluded_frame_ids=[FRAME(2), "other:000000"],
        min_score=0.5,
    )
    assert fates(rows) == {CAR: None, PERSON: "excluded_detection", CAR_1: "score_below_min", VAN: None, CONE: "class_excluded"}
    assert states(rows) == [("kept", None), ("unlabelled", "all_annotations_dropped"), ("excluded", "excluded_frame"), ("kept", None)]
    assert rows[1].dropped_details == ("0.200 is below 0.5",)
    assert counts["dropped_annotations"] == {"class_excluded": 1, "excluded_detection": 1, "score_below_min": 1}
    assert counts["unmatched_exclusions"] == {"frame_ids": [], "detection_ids": ["drive:000000:9"]}


@pytest.mark.requirement("CUR-02", "CUR-03", "CUR-04")
def test_decisions_in_force_drop_keep_and_correct(house: House) -> None:
    excluded = house.say(PERSON, "exclude", note="a poster")
    house.say(CAR, "set_class", class_id="truck")
    house.say(CAR_1, "set_box", box_xyxy=[12, 10, 60, 50])
    mask = mask_of((20.0, 30.0, 80.0, 90.0))
    house.say(VAN, "set_mask", mask_rle=mask)
    empty = house.say(FRAME(2), "reviewed_empty", "frame")
    house.say("cone", "exclude", "class")
    rows, counts = house.curate()
    assert fates(rows) == {CAR: None, PERSON: "decision", CAR_1: None, VAN: None, CONE: "decision"}
    assert rows[0].dropped_details == (f"decision {excluded} by ada: a poster",)
    assert rows[0].kept_class_ids == ("truck",)
    assert (rows[2].state, rows[2].reason, rows[2].detail) == ("reviewed_empty", None, f"decision {empty} by ada")
    said = {each.detection_id: each for row in rows.values() for each in row.reviewed}
    assert said.keys() == {CAR, PERSON, CAR_1, VAN}
    assert (said[CAR].class_id, said[CAR].box_xyxy, said[CAR].mask_rle) == ("truck", None, None)
    assert said[CAR_1].box_xyxy == (12.0, 10.0, 60.0, 50.0)
    assert said[VAN].mask_rle == mask
    assert counts["reviewed"] == {"annotations": 4, "other_class": 1, "corrected_boxes": 1, "corrected_masks": 1}
    assert counts["decisions"] == 6


def test_excluded_classes_are_those_that_people_gave(house: House) -> None:
    house.say(CAR, "set_class", class_id="truck")
    house.say(VAN, "set_class", class_id="car")
    rows, _ = house.curate(excluded_classes=["car"])
    assert fates(rows) == {CAR: None, PERSON: None, CAR_1: "class_excluded", VAN: "class_excluded", CONE: None}


def test_what_somebody_has_reviewed_passes_the_score_but_not_an_exclusion_by_name(house: House) -> None:
    house.say(CAR, "keep")
    house.say(FRAME(3), "keep", "frame")
    rows, _ = house.curate(min_score=0.9)
    assert fates(rows) == {CAR: None, PERSON: "score_below_min", CAR_1: "score_below_min", VAN: None, CONE: None}
    rows, _ = house.curate(excluded_detection_ids=[CAR], excluded_classes=["van"], excluded_frame_ids=[FRAME(3)])
    assert fates(rows) == {CAR: "excluded_detection", PERSON: None, CAR_1: None, VAN: "frame_dropped", CONE: "frame_dropped"}


def test_a_frame_that_was_called_empty_is_kept_with_what_somebody_keeps_of_it_later(house: House) -> None:
    house.say(FRAME(0), "reviewed_empty", "frame")
    assert house.curate()[0][0].state == "reviewed_empty"
    house.say(CAR, "keep")
    row = house.curate()[0][0]
    assert (row.state, row.kept_detection_ids, row.dropped_reasons) == ("kept", (CAR,), ("decision",))


@pytest.mark.requirement("SEQ-15", "CUR-03")
def test_decisions_on_sequence_annotations_reach_their_detections(house: House) -> None:
    house.sequences({"drive:s0001": {0: CAR, 1: CAR_1}})
    house.say("drive:s0001", "set_positive", "sequence", is_positive=False)
    assert fates(house.curate()[0]) == {CAR: "decision", PERSON: None, CAR_1: "decision", VAN: None, CONE: None}


def test_they_reach_detections_that_were_computed_again_by_their_boxes(house: House) -> None:
    house.sequences({"drive:s0001": {0: CAR, 1: CAR_1}, "drive:s0002": {3: VAN}})
    house.say("drive:s0001", "exclude", "sequence")
    house.say("drive:s0002", "exclude", "sequence")
    moved = detection(0, 1, "car", (12.0, 11.0, 62.0, 51.0))
    house.detect({0: [detection(0, 0, "person", (100.0, 20.0, 124.0, 90.0)), moved], 1: FOUND[1], 2: [], 3: FOUND[3][1:]}, threshold=0.4)
    planned = house.plan()
    rows, _ = house.curate()
    assert fates(rows) == {"drive:000000:0": None, "drive:000000:1": "decision", CAR_1: "decision", CONE: None}
    assert [(each.decision.subject, each.reason) for each in planned.lost] == [
        ("drive:s0002", "None of its boxes overlaps a detection of its class.")
    ]


def test_decisions_carry_over_to_detections_that_were_computed_again_and_lost_ones_are_told(house: House) -> None:
    house.say(PERSON, "exclude")
    house.say(CONE, "exclude")
    house.detect({0: [detection(0, 0, "person", (101.0, 20.0, 125.0, 90.0))], 1: [], 2: [], 3: []}, threshold=0.4)
    planned = house.plan()
    assert fates(house.curate()[0]) == {"drive:000000:0": "decision"}
    assert [each.decision.subject for each in planned.lost] == [CONE]


@pytest.mark.requirement("CUR-10")
def test_the_version_follows_the_decisions_that_count_and_an_undo_gives_the_old_one_back(house: House) -> None:
    before = house.plan().identity.version
    number = house.say(CAR, "exclude")
    after = house.plan().identity.version
    assert after != before
    house.say(CAR, "note", note="look again")
    assert house.plan().identity.version == after
    house.catalog.decisions.undo(number, "bob")
    assert house.plan().identity.version == before


def test_settings_about_other_recordings_make_no_other_version(house: House) -> None:
    plain = house.plan().identity
    assert house.plan(excluded_frame_ids=["other:000001"], excluded_detection_ids=["other:000001:0"]).identity == plain
    assert house.plan(excluded_frame_ids=[FRAME(1)]).identity != plain
    assert house.plan(excluded_classes=["van", "car"]).identity == house.plan(excluded_classes=["car", "van", "car"]).identity


@pytest.mark.requirement("CUR-05", "CUR-06", "CUR-07")
def test_diversity_drops_frames_with_the_frame_that_stands_for_them(house: House) -> None:
    house.measure([0, 0, 7, 5], [1.0, 0.5, 0.5, 0.001])
    rows, counts = house.curate(diversity=True, similarity_threshold=0.99)
    assert states(rows) == [("kept", None), ("excluded", "repeated"), ("excluded", "still"), ("kept", None)]
    assert rows[1].detail == "similarity 1.0000 to drive:000000 is above 0.99"
    assert fates(rows)[CAR_1] == "frame_dropped"
    assert rows[3].rank == Rank.annotated
    assert counts["dropped_frames"] == {"repeated": 1, "still": 1}
    rows, _ = house.curate(diversity=True, similarity_threshold=1.0, motion_threshold=0.6, excluded_frame_ids=[FRAME(0)])
    assert [row.reason for row in rows.values()] == ["excluded_frame", None, "still", "still"]
    assert rows[3].detail == "motion 0.0010 is below 0.6; drive:000001 stands for it"


def test_a_frame_that_somebody_keeps_stays_however_similar_it_is(house: House) -> None:
    house.measure([0, 0, 0, 0], [1.0, 0.0, 0.0, 0.0])
    house.say(FRAME(1), "keep", "frame")
    house.say(FRAME(2), "reviewed_empty", "frame")
    rows, _ = house.curate(diversity=True)
    assert states(rows) == [("excluded", "still"), ("kept", None), ("reviewed_empty", None), ("excluded", "still")]


def test_a_frame_whose_image_could_not_be_compared_stays(house: House) -> None:
    house.measure([0, 0, 0, 0], [1.0, 1.0, 1.0, 1.0], failed=(3,))
    assert states(house.curate(diversity=True)[0])[3] == ("kept", None)


@pytest.mark.requirement("CUR-06")
def test_the_clusters_of_a_report_are_those_of_the_selection(house: House) -> None:
    house.measure([0, 0, 0, 0], [1.0, 1.0, 1.0, 1.0])
    house.say(FRAME(0), "exclude", "frame")
    rows, _ = house.curate(diversity=True)
    key = house.plan(diversity=True)
    metrics = diversity.read_metrics(key.inputs["diversity_metrics"].file(diversity.FILE_NAME))
    path = house.store.current(key.key).file(selection.FILE_NAME)
    [cluster] = diversity_clusters(metrics, 0.85, 0.02, ranks_of(path, metrics))
    assert cluster.representative == FRAME(1)
    assert set(cluster.members) == {row.frame_id for row in rows.values() if row.reason == "repeated"} == {FRAME(2), FRAME(3)}


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"diversity": True}, "There is no 'diversity_metrics' of 'drive' yet"),
        ({"excluded_classes": ["dragon"]}, "dragon"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(house: House, settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        house.plan(**settings)


def test_detections_of_other_frames_are_refused(house: House) -> None:
    house._publish("frames", {"again": True}, house._write_frames)
    with pytest.raises(InputError, match="detections of 'drive' were made from other frames"):
        house.plan()


def test_a_refresh_keeps_the_settings_in_force_and_does_nothing_twice(house: House) -> None:
    house.curate(excluded_classes=["cone"])
    assert selecting.refresh(house.store, house.catalog, ONTOLOGY, "drive") is None
    house.say(CAR, "exclude")
    renewed = selecting.refresh(house.store, house.catalog, ONTOLOGY, "drive")
    assert renewed is not None
    assert renewed[0].counts["dropped_annotations"] == {"class_excluded": 1, "decision": 1}
    assert selecting.settings_in_force(house.store, "drive") == SelectionSettings(excluded_classes=["cone"])
    assert selecting.refresh(house.store, house.catalog, ONTOLOGY, "drive") is None


def test_the_selection_is_a_parquet_file_others_can_read_and_reads_back_as_it_was(house: House) -> None:
    house.say(VAN, "set_mask", mask_rle=mask_of((20.0, 30.0, 80.0, 90.0)))
    rows, _ = house.curate()
    path = house.store.current(house.plan().key).file(selection.FILE_NAME)
    table = pq.read_table(path)
    assert table.column("state").to_pylist() == [row.state for row in rows.values()]
    assert table.column("reviewed").to_pylist()[3][0]["mask_rle"] == rows[3].reviewed[0].mask_rle
