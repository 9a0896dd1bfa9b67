"""What Dagster remembers of runs: the newest first, what failed until somebody has mended it, and what each run did."""

import json
from collections.abc import Iterator

import dagster as dg
import pytest

from lamm_pipeline.orchestration import run_history
from lamm_pipeline.orchestration.run_history import Remembered, RunHistory, failing_now
from lamm_pipeline.orchestration.runs import CANCELED_TAG, PARTITION_TAG, RunState
from lamm_pipeline_tests.orchestration.small_runs import SmallRuns


@pytest.fixture
def runs() -> Iterator[SmallRuns]:
    with dg.instance_for_test() as instance:
        yield SmallRuns(instance)


@pytest.mark.requirement("CAT-05")
def test_the_runs_that_changed_last_come_first_with_who_launched_them(runs: SmallRuns) -> None:
    first = runs.rows("drive", lamm__actor="eve")
    second = runs.rows("night", dagster__sensor_name="new_recordings")
    third = runs.rows("night")
    history = RunHistory(runs.instance)
    found = history.newest(10)
    assert [each.run_id for each in found] == [third, second, first]
    assert [(each.partition, each.actor, each.state) for each in found] == [
        ("night", None, RunState.complete),
        ("night", "new_recordings", RunState.complete),
        ("drive", "eve", RunState.complete),
    ]
    assert [each.run_id for each in history.newest(2)] == [third, second]
    assert [each.run_id for each in history.newest(2, found[1].changed_at)] == [first]
    assert history.deeds(found[0]).assets == ("rows",)


def test_runs_that_only_refresh_summaries_are_left_out_unless_they_failed(runs: SmallRuns) -> None:
    for _ in range(3):
        runs.summary()
    wanted = runs.rows("drive")
    runs.summary()
    history = RunHistory(runs.instance)
    assert [each.run_id for each in history.newest(1)] == [wanted]
    broken = runs.summary(fails=True)
    assert [each.run_id for each in history.failed(5)] == [broken]
    assert [each.run_id for each in history.newest(5)] == [broken, wanted]
    runs.summary()
    assert history.failed(5) == []


@pytest.mark.requirement("CAT-04", "CAT-05")
def test_a_failure_is_told_until_what_failed_has_been_made(runs: SmallRuns) -> None:
    failed = runs.rows("drive", fails="The file ends in the middle of a frame. Copy it again.")
    runs.rows("night")
    history = RunHistory(runs.instance)
    [found] = history.failed(5)
    assert (found.run_id, found.partition, found.state) == (failed, "drive", RunState.failed)
    deeds = history.deeds(found)
    assert (deeds.failed_steps, deeds.error) == (("rows",), "The file ends in the middle of a frame. Copy it again.")
    runs.rows("drive")
    assert history.failed(5) == []
    assert RunHistory(runs.instance).failed(5) == []


def test_what_finished_runs_did_is_not_read_again_from_what_was_stored(runs: SmallRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    runs.rows("drive", fails="The disk is full.")
    runs.rows("drive", sound=False)
    history = RunHistory(runs.instance)
    seen = {each.run_id: history.deeds(each) for each in history.newest(5)}
    assert history.failed(5) == []
    stored = Remembered.from_json(json.loads(json.dumps(history.remembered.to_json())))
    monkeypatch.setattr(run_history, "_deeds", lambda *_: pytest.fail("read again"))
    again = RunHistory(runs.instance, stored)
    assert {each.run_id: again.deeds(each) for each in again.newest(5)} == seen
    assert again.failed(5) == []


@pytest.mark.requirement("CAT-05")
def test_a_check_fails_until_it_has_passed_for_the_same_recording(runs: SmallRuns) -> None:
    runs.rows("drive", sound=False)
    runs.rows("night", sound=False)
    runs.rows("drive", sound=False)

    def failing() -> list[tuple[str | None, str, str, str]]:
        history = RunHistory(runs.instance)
        outcomes = [(run, history.deeds(run)) for run in history.newest(10)]
        return [(run.partition, each.check, each.severity, each.sentence) for run, each in failing_now(outcomes)]

    told = ("sound", "WARN", "Two rows are missing.")
    assert failing() == [("drive", *told), ("night", *told)]
    runs.rows("drive", sound=True)
    assert failing() == [("night", *told)]


@pytest.mark.requirement("CAT-04")
def test_runs_under_way_and_paused_ones_are_told_apart(runs: SmallRuns) -> None:
    def begun(recording: str, status: dg.DagsterRunStatus, **tags: str) -> str:
        tagged = {PARTITION_TAG: recording, **{name.replace("__", "/"): value for name, value in tags.items()}}
        return runs.instance.add_run(dg.DagsterRun(job_name="production", status=status, tags=tagged)).run_id

    runs.rows("drive")
    history = RunHistory(runs.instance)
    assert (history.under_way(5), history.paused(5)) == ([], [])
    running = begun("drive", dg.DagsterRunStatus.STARTED, lamm__progress="40 %")
    waits = begun("night", dg.DagsterRunStatus.NOT_STARTED)
    found = {each.run_id: each for each in history.under_way(5)}
    assert {key: (each.state, each.progress) for key, each in found.items()} == {
        running: (RunState.running, "40 %"),
        waits: (RunState.pending, None),
    }
    stopped = begun("stopped", dg.DagsterRunStatus.CANCELED)
    begun("given-up", dg.DagsterRunStatus.CANCELED, **{CANCELED_TAG: "eve"})
    begun("went-on", dg.DagsterRunStatus.CANCELED)
    begun("went-on", dg.DagsterRunStatus.STARTED)
    assert [each.run_id for each in history.paused(5)] == [stopped]
