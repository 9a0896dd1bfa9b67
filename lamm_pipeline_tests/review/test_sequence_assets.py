"""The asset `sequence_annotations`, run by Dagster on a recording of a few frames."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from lamm_pipeline.review.deciding import decisions_now
from lamm_pipeline.storage.artifacts import ArtifactKey
from lamm_pipeline_tests.review.detected_house import FRAMES, House, detection, two_objects
from lamm_pipeline_tests.segmentation.bright_squares import registry


def metadata(outcome: dg.ExecuteInProcessResult) -> dict[str, Any]:
    assert outcome.success
    (made,) = outcome.asset_materializations_for_node("sequence_annotations")
    return plain(made.metadata)


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: getattr(value, "value", value) for name, value in values.items()}


def failure(outcome: dg.ExecuteInProcessResult) -> str:
    (event,) = (each for each in outcome.all_events if each.event_type_value == "STEP_FAILURE")
    assert event.step_failure_data.user_failure_data is not None
    return str(event.step_failure_data.user_failure_data.description)


@pytest.mark.requirement("SEQ-01", "SEQ-02", "SEQ-03", "SEQ-06", "SEQ-07", "SEQ-09", "SEQ-13", "SEQ-14")
def test_each_object_becomes_one_annotation_with_its_boxes_in_shares_of_the_image(tmp_path: Path) -> None:
    house = House(tmp_path)
    told = metadata(house.run(confidence_threshold=0.0))
    assert (told["sequences"], told["boxes"], told["longest"], told["processing_stage"]) == (2, 9, 6, "imported")
    assert told["review"].endswith("/recordings/drive")
    assert (told["has_positive"], told["has_false_positives"], told["has_missed"]) == (True, False, False)
    first, second = house.current.sequences
    assert [box.frame_id for box in first.boxes] == [each.frame_id for each in FRAMES]
    assert [box.frame_index for box in second.boxes] == [0, 2, 4]
    size = registry(FRAMES)
    assert first.boxes[3].box_xyxyn == pytest.approx((3 / size.width, 10 / size.height, 23 / size.width, 30 / size.height))
    assert first.boxes[3].annotation_ids == ("drive:000003:0",)
    assert all(0 <= low < high <= 1 for box in first.boxes for low, high in zip(box.box_xyxyn[:2], box.box_xyxyn[2:], strict=True))


@pytest.mark.requirement("SEQ-03", "SEQ-17", "SEQ-22")
def test_other_parameters_are_another_version_and_the_metadata_tell_what_changed(tmp_path: Path) -> None:
    house = House(tmp_path)
    first, again, other = metadata(house.run()), metadata(house.run(confidence_threshold=0.5)), metadata(house.run(preset="all"))
    assert first["version"] == again["version"] != other["version"]
    assert (first["sequences"], other["sequences"]) == (1, 2)
    assert other["compared_with"] == first["version"]
    changes = other["changes"]
    assert {name: changes[name] for name in ("same", "changed", "gone", "new")} == {"same": 1, "changed": 0, "gone": 0, "new": 1}
    assert changes["parameters"] == {"confidence_threshold": [0.5, 0.0], "iou_threshold": [0.3, 0.0]}


@pytest.mark.requirement("SEQ-21")
def test_one_config_can_hold_other_parameters_for_single_recordings(tmp_path: Path) -> None:
    house = House(tmp_path)
    told = metadata(house.run(per_recording={"drive": {"preset": "all"}, "other": {"preset": "conservative"}}))
    assert told["version"] == metadata(house.run(preset="all"))["version"]
    told = metadata(house.run(preset="all", per_recording={"drive": {"min_cluster_size": 4}}))
    assert told["sequences"] == 1


@pytest.mark.requirement("SEQ-11")
def test_a_dry_run_tells_and_writes_nothing(tmp_path: Path) -> None:
    house = House(tmp_path)
    outcome = house.run(dry_run=True)
    assert outcome.success
    assert outcome.asset_materializations_for_node("sequence_annotations") == []
    (event,) = outcome.asset_observations_for_node("sequence_annotations")
    told = plain(event.metadata)
    assert (told["dry_run"], told["sequences"], event.partition) == (True, 1, "drive")
    assert house.workspace.store.versions(ArtifactKey("recordings", "drive", "sequence_annotations")) == []


@pytest.mark.requirement("SEQ-12")
def test_annotations_that_people_decided_on_are_replaced_only_by_force_and_decisions_carry_over(tmp_path: Path) -> None:
    house = House(tmp_path)
    before = metadata(house.run(preset="all"))
    house.say("drive:s0001", "set_positive", is_positive=False)
    house.say("drive:s0002", "set_false_positive_types", types=["dust"])
    assert "skipped" not in metadata(house.run(preset="all"))
    kept = metadata(house.run())
    assert kept["version"] == before["version"]
    assert "People have decided on 2 sequence annotations of 'drive'" in kept["skipped"]
    replaced = metadata(house.run(force=True))
    assert (replaced["version"] != before["version"], replaced["sequences"], replaced["decisions"]) == (True, 1, 2)
    assert [record.data["subject"] for record in replaced["decisions_lost"].records] == ["drive:s0002"]
    state = decisions_now(house.workspace.store, house.workspace.catalog, "drive").state
    assert state.sequences["drive:s0001"].is_positive is False
    assert metadata(house.run(preset="all", force=True))["decisions_lost"].records == []


@pytest.mark.requirement("SEQ-18")
@pytest.mark.parametrize(
    ("config", "found", "reason"),
    [
        ({}, lambda _: [], "None of the 6 frames has a detection"),
        ({"confidence_threshold": 0.95}, two_objects, "All 9 boxes are below the confidence threshold 0.95; the best has 0.90"),
        ({"min_cluster_size": 7}, two_objects, "All 1 objects are seen in fewer than 7 frames; the longest is in 6"),
        ({}, lambda each: [detection(each, 0, (-20, 0, -5, 10), 0.9)], "None of the 6 boxes has an area within its image"),
    ],
)
def test_an_empty_result_says_why(config: dict[str, Any], found: Any, reason: str, tmp_path: Path) -> None:
    house = House(tmp_path, found)
    told = metadata(house.run(**config))
    assert told["sequences"] == 0
    assert told["reason"].startswith(reason)
    assert house.current.reason == told["reason"]
    assert told["has_positive"] is False


def test_what_cannot_be_is_said_in_a_sentence(tmp_path: Path) -> None:
    house = House(tmp_path)
    assert failure(house.run(iou_threshold=1.5)).startswith("Wrong config for SequenceAnnotationsConfig: iou_threshold = 1.5")
    assert "There is no 'tracks' of 'drive' yet" in failure(house.run(source="track"))
    house.publish("frames", {}, lambda folder: (folder / "frame_registry.json").write_text("{}"), setting=2)
    assert failure(house.run()) == "The detections of 'drive' were made from other frames. Materialize `detections` first."


@pytest.mark.requirement("SEQ-19")
def test_every_step_is_told_in_the_debug_log(tmp_path: Path) -> None:
    house = House(tmp_path)
    run = house.run(min_cluster_size=7)
    told = [str(each.user_message) for each in house.instance.all_logs(run.run_id)]
    for part in (
        "'iou_threshold': 0.3",
        "Read 9 boxes of 6 frames",
        "3 boxes have too little confidence",
        "left out: frames 0 to 5, seen in 6",
    ):
        assert any(part in each for each in told), part
