import multiprocessing
import os
from pathlib import Path

import dagster as dg
import pytest

from lamm_pipeline.errors import InputError
from lamm_pipeline.orchestration.runs import (
    CANCELED_TAG,
    Action,
    RunState,
    bury,
    find_run,
    holding,
    is_dead,
    require,
    state_of,
    stop,
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
