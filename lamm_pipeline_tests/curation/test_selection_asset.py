"""The assets `selection` and `annotation_stats` in Dagster, and the sensor that has selections made again."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest

from lamm_pipeline.catalog.decisions import NewDecision
from lamm_pipeline.catalog.models import now
from lamm_pipeline.curation import selecting, sensors
from lamm_pipeline.curation.assets import annotation_stats
from lamm_pipeline.curation.checks import nothing_vanishes
from lamm_pipeline.curation.sensors import decisions_changed
from lamm_pipeline.definitions import build_definitions
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.recordings.ingest import add_files
from lamm_pipeline.settings import Settings
from lamm_pipeline.storage.artifacts import ArtifactKey
from lamm_pipeline_tests.curation.houses import FRAME, House, run_selection
from lamm_pipeline_tests.review.worlds import FOUND

CAR, PERSON = "drive:000000:0", "drive:000000:1"


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    for name in ("LAMM_ROOT", "LAMM_CATALOG_URL", "LAMM_STORE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "dagster-home").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster-home")) as found:
        found.add_dynamic_partitions("recordings", ["drive"])
        yield found


@pytest.fixture
def house(tmp_path: Path) -> House:
    (tmp_path / "root").mkdir()
    return House(tmp_path / "root")


def told(outcome: dg.ExecuteInProcessResult, asset: str = "selection") -> dict[str, Any]:
    assert outcome.success
    (made,) = outcome.asset_materializations_for_node(asset)
    return {name: getattr(value, "value", value) for name, value in made.metadata.items()}


@pytest.mark.requirement("CUR-02", "CUR-10", "STA-04")
def test_the_asset_tells_what_it_left_out_and_its_version_is_dagsters(house: House, instance: dg.DagsterInstance) -> None:
    house.say(PERSON, "exclude")
    outcome = run_selection(house.root, instance, excluded_classes=["cone"], excluded_frame_ids=[FRAME(9)])
    seen = told(outcome)
    assert {name: seen[f"frames_{name}"] for name in ("kept", "reviewed_empty", "unlabelled", "excluded")} == {
        "kept": 3,
        "reviewed_empty": 0,
        "unlabelled": 1,
        "excluded": 0,
    }
    assert (seen["annotations"], seen["original_annotations"], seen["decisions"]) == (3, 5, 1)
    assert [tuple(row.data.values()) for row in seen["dropped"].records] == [
        ("frame", "no_annotations", 1),
        ("annotation", "class_excluded", 1),
        ("annotation", "decision", 1),
    ]
    assert [row.data["id"] for row in seen["unmatched_exclusions"].records] == [FRAME(9)]
    [check] = outcome.get_asset_check_evaluations()
    assert (check.check_name, check.passed) == ("nothing_vanishes", True)
    event = instance.get_latest_data_version_record(dg.AssetKey("selection"), partition_key="drive")
    assert event is not None
    assert event.asset_materialization.tags["dagster/data_version"] == seen["version"]
    assert told(run_selection(house.root, instance, excluded_classes=["cone"], excluded_frame_ids=[FRAME(9)]))["version"] == seen["version"]


def test_lost_decisions_are_told(house: House, instance: dg.DagsterInstance) -> None:
    house.say(PERSON, "exclude")
    house.detect({0: FOUND[0][:1], 1: [], 2: [], 3: []}, threshold=0.4)
    [row] = told(run_selection(house.root, instance))["decisions_lost"].records
    assert row.data["subject"] == PERSON


def test_a_selection_that_lost_something_does_not_pass(house: House) -> None:

    planned = house.plan()
    artifact = selecting.bring_about(house.store, planned)
    assert nothing_vanishes(planned, artifact).passed
    house.detect({**FOUND, 2: FOUND[1][:0], 1: []}, threshold=0.3)
    assert not nothing_vanishes(house.plan(), artifact).passed


@pytest.mark.requirement("CUR-01", "API-14")
def test_annotation_stats_are_those_of_the_detections(house: House, instance: dg.DagsterInstance) -> None:
    outcome = dg.materialize(
        [annotation_stats], instance=instance, partition_key="drive", resources={"workspace": Workspace(root=str(house.root))}
    )
    seen = told(outcome, "annotation_stats")
    assert (seen["frames"], seen["frames_with_annotations"], seen["annotations"]) == (4, 3, 5)
    rows = {row.data["class"]: row.data for row in seen["classes"].records}
    assert (rows["car"]["annotations"], rows["car"]["frames"], rows["car"]["mean_confidence"]) == (2, 2, 0.75)
    artifact = house.store.current(ArtifactKey("recordings", "drive", "annotation_stats"))
    assert artifact is not None
    stats = json.loads(artifact.file("annotation_stats.json").read_text())
    areas = [each.area for frame in FOUND.values() for each in frame if each.class_id == "car"]
    assert stats["classes"]["car"]["area_px"] == {
        "mean": round(float(np.mean(areas)), 1),
        "min": min(areas),
        "median": np.median(areas),
        "max": max(areas),
    }
    assert stats["classes"]["car"]["width_px"]["max"] == 50.0
    assert stats["classes"]["person"]["most_in_a_frame"] == 1
    assert stats["classes"]["car"]["distance_m"] == {"mean": None, "min": None, "median": None, "max": None}


class Review:
    """People who decide, and the sensor's ticks as the daemon makes them; a run key is launched once, as Dagster does."""

    def __init__(self, house: House, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
        self.house, self.instance = house, instance
        self.later = timedelta()
        self.cursor: str | None = None
        self.launched: dict[str, dg.RunRequest] = {}
        monkeypatch.setattr(sensors, "now", lambda: now() + self.later)

    def tick(self, later_s: float = 0) -> list[str]:
        """Keys of the recordings that runs are launched for, so many seconds later."""
        self.later += timedelta(seconds=later_s)
        context = dg.build_sensor_context(self.instance, cursor=self.cursor, resources={"workspace": Workspace(root=str(self.house.root))})
        outcome = decisions_changed(context)
        assert isinstance(outcome, dg.SensorResult)
        self.cursor = outcome.cursor
        fresh = [each for each in outcome.run_requests or [] if str(each.run_key) not in self.launched]
        self.launched |= {str(each.run_key): each for each in fresh}
        return [str(each.partition_key) for each in fresh]


@pytest.fixture
def review(house: House, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> Review:
    return Review(house, instance, monkeypatch)


def test_a_recording_is_curated_once_people_have_paused_and_never_again(review: Review) -> None:
    assert review.tick() == []
    review.house.say(CAR, "exclude")
    assert review.tick() == []
    assert review.tick(59) == []
    review.later = timedelta()
    review.house.say(PERSON, "exclude")
    assert review.tick(59) == []
    assert review.tick(2) == ["drive"]
    assert [review.tick(100), review.tick(100)] == [[], []]
    assert list(review.launched) == ["drive:2"]
    review.house.catalog.decisions.undo(1, "bob")
    review.later = timedelta()
    assert [review.tick(), review.tick(61)] == [[], ["drive"]]


def test_who_still_reviews_keeps_nobody_else_waiting(review: Review, tmp_path: Path) -> None:
    (tmp_path / "other.svo2").write_text("other")
    add_files(review.house.catalog, [tmp_path / "other.svo2"], "ada")
    review.house.say(CAR, "exclude")
    review.later = timedelta(seconds=61)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lamm_pipeline.catalog.decisions.now", lambda: now() + timedelta(seconds=61))
        review.house.catalog.decisions.add("other", [NewDecision("class", "car", "exclude")], "ada")
    assert review.tick() == ["drive"]
    assert review.cursor == "1"
    assert review.tick() == []


def test_decisions_on_a_recording_without_detections_launch_nothing(review: Review, tmp_path: Path) -> None:
    (tmp_path / "other.svo2").write_text("other")
    add_files(review.house.catalog, [tmp_path / "other.svo2"], "ada")
    review.house.catalog.decisions.add("other", [NewDecision("class", "car", "exclude")], "ada")
    assert review.tick(100) == []


def test_the_run_keeps_the_settings_in_force_and_dagster_accepts_it(review: Review) -> None:
    review.house.curate(excluded_classes=["cone"])
    review.house.say(CAR, "exclude")
    assert review.tick(61) == ["drive"]
    [request] = review.launched.values()
    job = build_definitions(Settings.from_environment({}, root=review.house.root)).resolve_job_def(decisions_changed.job_name)
    outcome = job.execute_in_process(
        instance=review.instance, partition_key=request.partition_key, run_config=request.run_config, tags=request.tags
    )
    assert outcome.success
    artifact = review.house.store.current(ArtifactKey("recordings", "drive", "selection"))
    assert artifact is not None
    assert artifact.counts["dropped_annotations"] == {"class_excluded": 1, "decision": 1}


def test_the_daemon_takes_the_sensors_result(review: Review) -> None:
    review.house.say(CAR, "exclude")
    review.later = timedelta(seconds=61)
    context = dg.SensorEvaluationContext(
        instance_ref=review.instance.get_ref(),
        last_tick_completion_time=None,
        last_run_key=None,
        cursor=None,
        repository_name=None,
        repository_def=build_definitions(Settings.from_environment({}, root=review.house.root)).get_repository_def(),
        resources={"workspace": Workspace(root=str(review.house.root))},
    )
    with context:
        [request] = decisions_changed.evaluate_tick(context).run_requests or []
    assert (request.partition_key, request.run_key, request.tags["lamm/actor"]) == ("drive", "drive:1", "decisions_changed")


@pytest.mark.requirement("CUR-09", "DSB-05")
def test_the_launchpad_job_pins_a_selection_that_knows_the_latest_decisions_and_tells_dagster(
    house: House, instance: dg.DagsterInstance
) -> None:
    house.curate(excluded_classes=["cone"])
    house.say(CAR, "exclude")
    job = build_definitions(Settings.from_environment({}, root=house.root)).resolve_job_def("create_dataset")
    outcome = job.execute_in_process(
        instance=instance, run_config={"ops": {"write_version": {"config": {"name": "night", "recordings": ["drive"]}}}}
    )
    assert outcome.output_for_node("write_version") == "night.v1"
    pinned = json.loads((house.root / "datasets/night.v1/version.json").read_text())["recordings"][0]["artifacts"]["selection"]
    artifact = house.store.current(ArtifactKey("recordings", "drive", "selection"))
    assert artifact is not None
    assert (artifact.version, artifact.counts["dropped_annotations"]) == (pinned, {"class_excluded": 1, "decision": 1})
    event = instance.get_latest_data_version_record(dg.AssetKey("selection"), partition_key="drive")
    assert event is not None
    assert event.asset_materialization.tags["dagster/data_version"] == pinned
