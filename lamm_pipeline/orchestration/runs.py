"""Runs and what may be done with them: pause, resume, cancel, restart, by one table of legal changes.

A run that `lamm` executes in its own process holds a lock file for as long as it lives. So a run whose process was killed is told from one
that goes on, although Dagster believes both to be under way; and whoever wants to stop it finds its process there, and leaves a note beside
the lock that tells who stops it and how.

What Dagster keeps of a run is read, changed and written as a whole, so that of two processes that write at the same moment one loses. While
a run is under way, only those who execute it write; whoever stops it tags it when it has ended.
"""

import fcntl
import json
import os
import platform
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any

import dagster as dg

from lamm_pipeline.errors import InputError
from lamm_pipeline.storage.atomic import write_json

PARTITION_TAG = "dagster/partition"
PARENT_TAG = "dagster/parent_run_id"
ROOT_TAG = "dagster/root_run_id"
NO_RETRIES = {"dagster/max_retries": "0"}
"""For runs of `lamm`: the daemon of an instance must not start again what a person stopped in a terminal."""
PAUSED_TAG = "lamm/paused"
CANCELED_TAG = "lamm/canceled"
LOCKS = "running"
GUARD = "guard"
STOP_WITHIN_S = 120.0
LOOK_EVERY_S = 0.1
RECENT = 1000


class RunState(StrEnum):
    """What people call the state of a run."""

    pending = "pending"
    running = "running"
    paused = "paused"
    complete = "complete"
    failed = "failed"
    canceled = "canceled"


class Action(StrEnum):
    """What can be done with a run."""

    pause = "pause"
    resume = "resume"
    cancel = "cancel"
    restart = "restart"


LEGAL: Mapping[Action, frozenset[RunState]] = {
    Action.pause: frozenset({RunState.running}),
    Action.resume: frozenset({RunState.paused, RunState.failed}),
    Action.cancel: frozenset({RunState.pending, RunState.running, RunState.paused}),
    Action.restart: frozenset({RunState.failed, RunState.canceled}),
}
"""From which states an action is legal. A failed run may be resumed as well: what it did up to its checkpoint is there."""

_ADVICE = {
    RunState.pending: "It waits for its turn; cancel it if you do not want it.",
    RunState.running: "Pause it or cancel it first.",
    RunState.paused: "Resume it, or cancel it first.",
    RunState.complete: "There is nothing left to do; `lamm run` starts another one.",
    RunState.failed: "Resume it from its checkpoint, or restart it.",
    RunState.canceled: "Restart it.",
}
_STATES = {
    dg.DagsterRunStatus.QUEUED: RunState.pending,
    dg.DagsterRunStatus.NOT_STARTED: RunState.pending,
    dg.DagsterRunStatus.SUCCESS: RunState.complete,
    dg.DagsterRunStatus.FAILURE: RunState.failed,
}


def find_run(instance: dg.DagsterInstance, target: str) -> dg.DagsterRun:
    """The run with this id (its first eight characters will do), or else the newest run of this recording or dataset version.

    Raises:
        InputError: there is none, or more than one.
    """
    newest = newest_run(instance, target)
    if newest is not None:
        return newest
    exact = instance.get_run_by_id(target)
    if exact is not None:
        return exact
    like = [run for run in instance.get_runs(limit=RECENT) if len(target) >= 8 and run.run_id.startswith(target)]
    if len(like) != 1:
        problem = "is the beginning of several runs" if like else "is neither a run nor a recording or dataset version that was run"
        raise InputError(f"{target!r} {problem}. `lamm status` lists recordings, and the UI lists runs.")
    return like[0]


def newest_run(instance: dg.DagsterInstance, partition: str) -> dg.DagsterRun | None:
    """The newest run of a recording or dataset version."""
    return next(iter(instance.get_runs(dg.RunsFilter(tags={PARTITION_TAG: partition}), limit=1)), None)


def state_of(home: Path, run: dg.DagsterRun) -> RunState:
    """The state of a run; one of `lamm` whose process is gone has failed, whatever Dagster believes.

    Args:
        home: folder of the Dagster instance.
        run: as the instance knows it now.
    """
    if run.status is dg.DagsterRunStatus.CANCELED:
        return RunState.canceled if CANCELED_TAG in run.tags else RunState.paused
    if run.status in _STATES:
        return _STATES[run.status]
    return RunState.failed if is_dead(home, run) else RunState.running


def require(action: Action, state: RunState, what: str) -> None:
    """Refuse what is not legal.

    Raises:
        InputError: the run is in a state from which the action is not legal.
    """
    if state not in LEGAL[action]:
        legal = " or ".join(sorted(LEGAL[action]))
        raise InputError(f"{what} is {state}, so one cannot {action} it; that takes a run that is {legal}. {_ADVICE[state]}")


@contextmanager
def holding(home: Path, run_id: str) -> Iterator[None]:
    """Mark a run as alive in this process. Nobody signals this process for this run any more when the block has been left."""
    path = _lock_path(home, run_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock, _interruptible():
        fcntl.flock(lock, fcntl.LOCK_EX)
        json.dump({"host": platform.node(), "pid": os.getpid()}, lock)
        lock.flush()
        try:
            yield
        finally:
            _let_go(home, run_id)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Heed interruptions also where a shell script that started this process in its background has it ignore them."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def stop_note(home: Path, run_id: str) -> Mapping[str, str]:
    """Who has told a run of this process to stop and how, as the tag it will get; empty when nobody has."""
    try:
        note: dict[str, str] = json.loads(_note_path(home, run_id).read_text())
    except FileNotFoundError:
        return {}
    return note


def tell_stopping(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """Tell Dagster that a run of this process ends because somebody wants it to; it would count the interruption as a failure.

    A run of Dagster's own launchers is left to them: when nobody asked for its end, it is to be tried again.
    """
    holder = _holder(_lock_path(Path(instance.root_directory), run.run_id))
    if holder is not None and (holder["host"], holder["pid"]) == (platform.node(), os.getpid()):
        instance.report_run_canceling(run)


def is_dead(home: Path, run: dg.DagsterRun) -> bool:
    """Whether this was a run of `lamm` whose process is gone."""
    path = _lock_path(home, run.run_id)
    return not run.is_finished and path.exists() and _holder(path) is None


def bury(instance: dg.DagsterInstance, home: Path, run: dg.DagsterRun) -> None:
    """Tell Dagster that the process of a run is gone."""
    instance.report_run_failed(run, "The process of this run is gone; it was killed, or its machine was switched off.")
    _remove(home, run.run_id)


def stop(instance: dg.DagsterInstance, home: Path, run: dg.DagsterRun, tags: Mapping[str, str]) -> None:
    """End a run, wherever it runs, and wait until it has ended.

    Args:
        instance: the instance.
        home: its folder.
        run: not finished.
        tags: tell who stops it and how; written when it has ended, unless it was complete by then.

    Raises:
        InputError: it runs on another machine, or did not end.
    """
    if _interrupt(home, run.run_id, tags):
        _wait(run.run_id, lambda: _holder(_lock_path(home, run.run_id)) is None)
    else:
        _stop_elsewhere(instance, run.run_id)
    ended = instance.get_run_by_id(run.run_id)
    if ended is not None and ended.status is dg.DagsterRunStatus.CANCELED:
        instance.add_run_tags(run.run_id, dict(tags))


def _interrupt(home: Path, run_id: str, tags: Mapping[str, str]) -> bool:
    """Leave a note for the process of a run of `lamm` and interrupt it; False when there is no such process."""
    with _guard(home):  # the process cannot let go of this run and begin another between the look and the signal
        holder = _holder(_lock_path(home, run_id))
        if holder is None:
            return False
        if holder["host"] != platform.node():
            raise InputError(f"Run {run_id} runs on {holder['host']}. Give the command there.")
        write_json(_note_path(home, run_id), dict(tags))
        os.kill(holder["pid"], signal.SIGINT)
    return True


def _stop_elsewhere(instance: dg.DagsterInstance, run_id: str) -> None:
    """End a run that waits, or that Dagster's launcher executes."""
    run = instance.get_run_by_id(run_id)
    if run is None or run.is_finished:
        return
    if run.status in (dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED):
        instance.report_run_canceled(run, "Canceled before it began.")
    elif _terminate(instance, run):
        _wait(run_id, lambda: _is_over(instance, run_id))
    elif not _is_over(instance, run_id):
        instance.report_run_canceled(run, "Nothing executes this run any more.")


def _terminate(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Ask the launcher to end a run; False when there is nobody to ask."""
    try:
        return bool(instance.run_launcher.terminate(run.run_id))
    except dg.DagsterError:  # its code server does not answer, so the run went with it
        return False


def _is_over(instance: dg.DagsterInstance, run_id: str) -> bool:
    run = instance.get_run_by_id(run_id)
    return run is None or run.is_finished


def _wait(run_id: str, is_over: Callable[[], bool]) -> None:
    deadline = time.monotonic() + STOP_WITHIN_S
    while not is_over():
        if time.monotonic() > deadline:
            raise InputError(f"Run {run_id} was told to stop but has not stopped within {STOP_WITHIN_S:.0f} s. Look at its log in the UI.")
        time.sleep(LOOK_EVERY_S)


def _let_go(home: Path, run_id: str) -> None:
    """Remove lock and note. An interruption by `stop` that comes only now has nothing to stop any more."""
    try:
        with _guard(home):
            _lock_path(home, run_id).unlink(missing_ok=True)
    except KeyboardInterrupt:
        if not stop_note(home, run_id):
            raise
    finally:
        _remove(home, run_id)


@contextmanager
def _guard(home: Path) -> Iterator[None]:
    """Keep the lock files as they are meanwhile."""
    (home / LOCKS).mkdir(parents=True, exist_ok=True)
    with (home / LOCKS / GUARD).open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        yield


def _remove(home: Path, run_id: str) -> None:
    _note_path(home, run_id).unlink(missing_ok=True)
    _lock_path(home, run_id).unlink(missing_ok=True)


def _lock_path(home: Path, run_id: str) -> Path:
    return home / LOCKS / f"{run_id}.json"


def _note_path(home: Path, run_id: str) -> Path:
    return home / LOCKS / f"{run_id}.stop.json"


def _holder(path: Path) -> dict[str, Any] | None:
    """Who holds the lock; None when nobody does."""
    try:
        with path.open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                found: dict[str, Any] = json.loads(lock.read())
                return found
    except FileNotFoundError:
        pass
    return None
