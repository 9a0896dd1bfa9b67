import fcntl
import json
import multiprocessing
import os
import signal
import threading
import time
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from lamm_pipeline.errors import InputError
from lamm_pipeline.orchestration.instance import open_instance
from lamm_pipeline.orchestration.produce import PROGRESS_TAG
from lamm_pipeline.orchestration.runs import (
    CANCELED_TAG,
    PAUSED_TAG,
    Action,
    RunState,
    bury,
    find_run,
    holding,
    is_dead,
    require,
    state_of,
    stop,
    stop_note,
    tell_stopping,
)


@dg.job
def nothing() -> None:
    """A job to have runs of."""


def run(instance: dg.DagsterInstance, status: dg.DagsterRunStatus, **tags: str) -> dg.DagsterRun:
    return instance.create_run_for_job(nothing, tags={"dagster/partition": "drive", **tags}, status=status)


@pytest.fixture
def instance() -> dg.DagsterInstance:
    return dg.DagsterInstance.ephemeral()


@pytest.mark.requirement("STA-07")
@pytest.mark.parametrize("state", RunState)
@pytest.mark.parametrize("action", Action)
def test_only_legal_changes_of_state_are_allowed(action: Action, state: RunState) -> None:
    legal = {
        "pause": {"running"},
        "resume": {"paused", "failed"},
        "cancel": {"pending", "running", "paused"},
        "restart": {"failed", "canceled"},
    }
    if state in legal[action]:
        require(action, state, "The run")
        return
    with pytest.raises(InputError, match=rf"The run is {state}, so one cannot {action} it; that takes a run that is .*\. .+\."):
        require(action, state, "The run")


@pytest.mark.requirement("STA-06")
@pytest.mark.parametrize(
    ("status", "tags", "state"),
    [
        ("NOT_STARTED", {}, "pending"),
        ("STARTED", {}, "running"),
        ("CANCELED", {}, "paused"),
        ("CANCELED", {CANCELED_TAG: "ada"}, "canceled"),
        ("FAILURE", {}, "failed"),
        ("SUCCESS", {}, "complete"),
    ],
)
def test_states_are_what_people_call_them(
    instance: dg.DagsterInstance, tmp_path: Path, status: str, tags: dict[str, str], state: str
) -> None:
    assert state_of(tmp_path, run(instance, dg.DagsterRunStatus[status], **tags)) == state


def _die_holding(home: Path, run_id: str) -> None:
    with holding(home, run_id):
        os._exit(0)


def test_a_run_whose_process_died_is_told_from_one_that_lives(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    made = run(instance, dg.DagsterRunStatus.STARTED)
    with holding(tmp_path, made.run_id):
        assert not is_dead(tmp_path, made)
    process = multiprocessing.get_context("spawn").Process(target=_die_holding, args=(tmp_path, made.run_id))
    process.start()
    process.join()
    assert is_dead(tmp_path, made)
    assert state_of(tmp_path, made) is RunState.failed
    bury(instance, tmp_path, made)
    assert find_run(instance, "drive").status is dg.DagsterRunStatus.FAILURE
    assert not is_dead(tmp_path, find_run(instance, "drive"))


def _write_over(instance: dg.DagsterInstance, stale: dg.DagsterRun) -> None:
    """What another process does that has read the run before somebody else changed it, and writes it back only now."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(instance.run_storage, "_get_run_by_id", lambda _: stale)
        instance.add_run_tags(stale.run_id, {PROGRESS_TAG: "25 %"})


def _work_until_stopped(root: Path, home: Path, run_id: str, ready: Event, told: Any) -> None:
    with open_instance(root) as instance, holding(home, run_id):
        stale = instance.get_run_by_id(run_id)
        assert stale is not None
        try:
            ready.set()
            time.sleep(60)
        except KeyboardInterrupt:
            tell_stopping(instance, stale)
            _write_over(instance, stale)
            told.put(dict(stop_note(home, run_id)))
            instance.report_run_canceled(stale)


def test_who_stops_a_run_of_lamm_is_kept_though_the_run_writes_at_the_same_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    home, context = tmp_path / "dagster", multiprocessing.get_context("spawn")
    ready, told = context.Event(), context.Queue()
    with open_instance(tmp_path) as persistent:
        made = run(persistent, dg.DagsterRunStatus.STARTED)
        process = context.Process(target=_work_until_stopped, args=(tmp_path, home, made.run_id, ready, told))
        process.start()
        assert ready.wait(60)
        stop(persistent, home, made, {PAUSED_TAG: "eve"})
        process.join(60)
        assert told.get(timeout=60) == {PAUSED_TAG: "eve"}
        found = find_run(persistent, "drive")
        assert state_of(home, found) is RunState.paused
        assert found.tags[PAUSED_TAG] == "eve"
        assert [path.name for path in (home / "running").iterdir()] == ["guard"]


def test_who_stops_a_run_of_the_daemon_is_kept_though_the_run_writes_at_the_same_time(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = run(instance, dg.DagsterRunStatus.STARTED)

    def terminate(_: str) -> bool:
        _write_over(instance, made)
        instance.report_run_canceled(made)
        return True

    monkeypatch.setattr(instance.run_launcher, "terminate", terminate)
    stop(instance, tmp_path, made, {CANCELED_TAG: "eve"})
    found = find_run(instance, "drive")
    assert state_of(tmp_path, found) is RunState.canceled
    assert (found.tags[CANCELED_TAG], found.tags[PROGRESS_TAG]) == ("eve", "25 %")


def test_a_run_that_is_complete_before_it_could_be_stopped_stays_complete(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    made = run(instance, dg.DagsterRunStatus.STARTED)
    _report(instance, made, dg.DagsterEventType.RUN_SUCCESS)
    stop(instance, tmp_path, made, {CANCELED_TAG: "eve"})
    found = find_run(instance, "drive")
    assert state_of(tmp_path, found) is RunState.complete
    assert CANCELED_TAG not in found.tags


def _report(instance: dg.DagsterInstance, made: dg.DagsterRun, kind: dg.DagsterEventType) -> None:
    instance.report_dagster_event(dg.DagsterEvent(kind.value, made.job_name), made.run_id)


def test_a_run_in_the_background_of_a_script_can_be_stopped(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with pytest.raises(KeyboardInterrupt), holding(tmp_path, "1"):
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("noted", [True, False])
def test_a_signal_for_a_run_that_has_just_ended_hits_nothing_else(tmp_path: Path, noted: bool) -> None:
    """The stopper's signal comes while the run lets go: it is for this run and no other. Ctrl-C is for the terminal and goes on."""
    guarded = threading.Event()

    def interrupt() -> None:
        with (tmp_path / "running" / "guard").open("w") as guard:
            fcntl.flock(guard, fcntl.LOCK_EX)
            guarded.set()
            time.sleep(0.2)
            if noted:
                (tmp_path / "running" / "1.stop.json").write_text(json.dumps({PAUSED_TAG: "eve"}))
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)

    stopper = threading.Thread(target=interrupt)
    interrupted = False
    try:
        with holding(tmp_path, "1"):
            stopper.start()
            assert guarded.wait(60)
    except KeyboardInterrupt:
        interrupted = True
    stopper.join()
    assert interrupted is not noted
    assert [path.name for path in (tmp_path / "running").iterdir()] == ["guard"]


def test_a_run_that_waits_is_canceled_before_it_begins(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    stop(instance, tmp_path, run(instance, dg.DagsterRunStatus.NOT_STARTED), {CANCELED_TAG: "ada"})
    found = find_run(instance, "drive")
    assert state_of(tmp_path, found) is RunState.canceled
    assert found.tags[CANCELED_TAG] == "ada"


def test_a_run_is_found_by_partition_id_or_the_beginning_of_its_id(instance: dg.DagsterInstance) -> None:
    run(instance, dg.DagsterRunStatus.SUCCESS)
    newest = run(instance, dg.DagsterRunStatus.STARTED)
    assert find_run(instance, "drive").run_id == find_run(instance, newest.run_id).run_id == newest.run_id
    assert find_run(instance, newest.run_id[:8]).run_id == newest.run_id
    with pytest.raises(InputError, match="'gone' is neither a run nor"):
        find_run(instance, "gone")
