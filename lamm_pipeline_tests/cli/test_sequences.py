"""`lamm sequences` on a root with one small recording."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from lamm_pipeline.orchestration.instance import open_instance
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.review.schedules import yesterdays_recordings
from lamm_pipeline_tests.command_line import lamm, printed, refused
from lamm_pipeline_tests.review.detected_house import House

pytestmark = pytest.mark.usefixtures("own_environment")


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "root")


def run(house: House, *arguments: str, code: int = 0) -> Any:
    return printed("sequences", "run", *arguments, "--root", house.workspace.root, code=code)


@pytest.mark.requirement("SEQ-10", "SEQ-11", "SEQ-12", "SEQ-22")
def test_a_recording_is_planned_made_made_otherwise_and_compared(house: House) -> None:
    [planned] = run(house, "drive", "--dry-run", "--preset", "all")
    assert (planned["sequences"], planned["version"], planned["dry_run"]) == (2, None, True)
    assert "no sequence annotations" in refused("sequences", "export", "drive", "--root", house.workspace.root)
    [first] = run(house, "--without-annotations")
    assert (first["sequences"], first["skipped"]) == (1, False)
    assert run(house, "--without-annotations") == []
    [other] = run(house, "drive", "--preset", "all")
    assert (other["sequences"], other["boxes"]) == (2, 9)
    told = printed("sequences", "compare", "drive", "--root", house.workspace.root)
    assert (told["before"], told["after"]) == (first["version"], other["version"])
    assert (told["same"], told["new"]) == ([["drive:s0001", "drive:s0001"]], ["drive:s0002"])
    text = lamm("sequences", "compare", "drive", "--root", house.workspace.root).stdout
    assert "confidence_threshold: 0.5 -> 0.0" in text
    assert "1 same, 0 changed, 0 gone, 1 new" in text


@pytest.mark.requirement("SEQ-12", "SEQ-15", "SEQ-16")
def test_decisions_stop_a_replacement_and_stand_in_the_export(house: House) -> None:
    run(house, "drive", "--preset", "all")
    house.say("drive:s0001", "set_positive", is_positive=False)
    house.say("drive:s0001", "set_false_positive_types", types=["dust"])
    house.say("drive:s0002", "exclude")
    [kept] = run(house, "drive")
    assert (kept["skipped"], kept["sequences"]) == (True, 2)
    root = house.workspace.root
    [document] = json.loads(lamm("sequences", "export", "--root", root).stdout)
    [only] = document["sequences_bbox"]
    assert (only["id"], only["is_positive"], only["false_positive_types"]) == ("drive:s0001", False, ["dust"])
    assert (document["has_positive"], document["has_false_positives"]) == (False, True)
    assert json.loads(lamm("sequences", "export", "--root", root, "--stage", "annotated").stdout) == []
    house.workspace.catalog.labelling.set(["drive"], "ada", status="labelled")
    output = Path(root).parent / "out" / "annotated.json"
    lamm("sequences", "export", "--root", root, "--stage", "annotated", "--s4", "--output", output)
    [s4] = json.loads(output.read_text())
    assert set(s4) == {"sequence_id", "has_smoke", "has_false_positives", "has_missed_smoke", "processing_stage", "annotation"}
    assert (s4["sequence_id"], s4["processing_stage"]) == ("drive", "annotated")
    assert [each["is_smoke"] for each in s4["annotation"]["sequences_bbox"]] == [False]
    [forced] = run(house, "drive", "--force")
    assert (forced["skipped"], forced["sequences"]) == (False, 1)


@pytest.mark.requirement("SEQ-02", "SEQ-10", "SEG-09")
def test_predictions_of_the_first_tool_are_taken_as_input(house: House, tmp_path: Path) -> None:
    place = {"xyxyn": [0.735, 0.511, 0.948, 0.82], "class_name": "car"}
    content = {f"{index:06d}": {"predictions": [place | {"confidence": score}]} for index, score in ((1, 0.22), (2, 0.19), (4, 0.21))}
    (tmp_path / "predictions.json").write_text(json.dumps({"drive": content}))
    arguments = ("drive", "--predictions", str(tmp_path / "predictions.json"), "--algorithm", "greedy_s4", "--confidence-threshold", "0")
    [made] = run(house, *arguments)
    assert (made["sequences"], made["longest"]) == (1, 3)
    [only] = house.current.sequences
    assert [box.confidence for box in only.boxes] == [0.22, 0.19, 0.21]
    assert only.boxes[0].box_xyxyn == pytest.approx((0.735, 0.511, 0.948, 0.82))
    assert "Leave one of the two out" in refused("sequences", "run", *arguments, "--dry-run", "--root", house.workspace.root)


@pytest.mark.requirement("SEQ-10")
def test_recordings_are_chosen_by_their_days(house: House) -> None:
    house.workspace.catalog.recordings.set_recorded_at("drive", int(datetime(2026, 11, 3, 12, tzinfo=UTC).timestamp() * 1e9))
    assert run(house, "--from", "2026-11-04", "--to", "2026-11-05") == []
    [made] = run(house, "--from", "2026-11-03", "--to", "2026-11-03")
    assert made["recording"] == "drive"


@pytest.mark.requirement("SEQ-18", "SEQ-19")
def test_an_empty_result_is_explained_and_debug_tells_every_step(house: House) -> None:
    outcome = lamm("sequences", "run", "drive", "--confidence-threshold", "0.95", "--root", house.workspace.root)
    assert "All 9 boxes are below the confidence threshold 0.95" in outcome.stderr
    outcome = lamm("sequences", "run", "drive", "--dry-run", "--root", house.workspace.root, "--log-level", "debug")
    assert "Read 9 boxes of 6 frames" in outcome.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "Name recordings, or choose them by --from and --to, or take all --without-annotations."),
        (("drive", "--from", "2026-11-01"), "one of the two"),
        (("nobody",), "No recording is called 'nobody'"),
        (("drive", "--iou-threshold", "1.5"), "iou_threshold = 1.5"),
        (("drive", "--min-cluster-size", "0"), "min_cluster_size = 0"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(house: House, arguments: tuple[str, ...], sentence: str) -> None:
    assert sentence in refused("sequences", "run", *arguments, "--root", house.workspace.root)


def test_other_commands_refuse_what_is_not_there(house: House) -> None:
    root = house.workspace.root
    assert "'done' is no processing stage" in refused("sequences", "export", "--stage", "done", "--root", root)
    assert "has 0 versions" in refused("sequences", "compare", "drive", "--root", root)
    assert "no version 'abc'" in refused("sequences", "compare", "drive", "abc", "abc", "--root", root)


def test_one_recording_that_fails_does_not_stop_the_others(house: House) -> None:
    house.publish("frames", {}, lambda folder: (folder / "frame_registry.json").write_text("{}"), setting=2)
    [failed] = run(house, "drive", code=1)
    assert "The detections of 'drive' were made from other frames" in failed["error"]


@pytest.mark.requirement("SEQ-20")
def test_the_schedule_launches_the_recordings_of_the_day_before(house: House) -> None:
    house.workspace.catalog.recordings.set_recorded_at("drive", int(datetime(2026, 11, 3, 23, 59, tzinfo=UTC).timestamp() * 1e9))

    def asked_on(day: int) -> Any:
        with (
            open_instance(Path(house.workspace.root)) as instance,
            dg.build_schedule_context(
                instance=instance,
                scheduled_execution_time=datetime(2026, 11, day, 3, tzinfo=UTC),
                resources={"workspace": Workspace(root=house.workspace.root)},
            ) as context,
        ):
            return yesterdays_recordings(context)

    [request] = asked_on(4)
    assert (request.partition_key, request.run_key) == ("drive", "2026-11-03-drive")
    assert "recorded on 2026-11-02" in asked_on(3).skip_message
    assert yesterdays_recordings.default_status is dg.DefaultScheduleStatus.STOPPED
    assert yesterdays_recordings.job_name == "annotate_only"
