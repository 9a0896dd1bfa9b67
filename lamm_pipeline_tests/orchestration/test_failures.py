import errno
import sqlite3
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy.exc import OperationalError

from lamm_pipeline.errors import InputError
from lamm_pipeline.orchestration.failures import IO_RETRIES, fault_sentence, sentences_as_failures
from lamm_pipeline_tests.orchestration.houses import House, events, failure

WITHOUT_WAITING = dg.RetryPolicy(max_retries=IO_RETRIES.max_retries)


def fail_with(error: Exception, tmp_path: Path) -> dg.ExecuteInProcessResult:
    house = House(tmp_path)
    house.retries = WITHOUT_WAITING

    def before(_: int) -> None:
        raise error

    house.before = before
    return house.run()


def test_bad_input_fails_with_its_sentence_and_is_not_retried(tmp_path: Path) -> None:
    outcome = fail_with(InputError("drive.svo2 is cut off. Copy it again."), tmp_path)
    assert failure(outcome) == "drive.svo2 is cut off. Copy it again."
    assert "STEP_UP_FOR_RETRY" not in events(outcome)


def test_a_bug_fails_with_its_name_and_cause_and_is_not_retried(tmp_path: Path) -> None:
    outcome = fail_with(ZeroDivisionError("division by zero"), tmp_path)
    assert failure(outcome) == "ZeroDivisionError: division by zero"
    assert "STEP_UP_FOR_RETRY" not in events(outcome)
    with pytest.raises(dg.Failure) as raised, sentences_as_failures():
        raise ZeroDivisionError
    assert isinstance(raised.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), ConnectionResetError("peer"), TimeoutError("slow disk")])
def test_a_fault_of_the_machine_is_retried_three_times(tmp_path: Path, error: OSError) -> None:
    outcome = fail_with(error, tmp_path)
    assert not outcome.success
    assert events(outcome).count("STEP_UP_FOR_RETRY") == 3


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/data/a.png"), "/data/a.png: the disk is full; free some space. Run again"),
        (OSError(errno.EROFS, "Read-only file system", "/data"), "/data: the disk is read-only"),
        (PermissionError(errno.EACCES, "Permission denied", "/data"), "/data: permission is denied"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error. Run again"),
        (TimeoutError(), "TimeoutError. Run again"),
        (sqlite3.OperationalError("database or disk is full"), "The database cannot be used: database or disk is full."),
        (OperationalError("select", {}, sqlite3.OperationalError("disk I/O error")), "The database cannot be used: disk I/O error."),
    ],
)
def test_a_fault_of_the_machine_says_what_where_and_what_to_do(error: Exception, sentence: str) -> None:
    assert fault_sentence(error).startswith(sentence)
    with pytest.raises(dg.Failure) as raised, sentences_as_failures():
        raise error
    assert raised.value.allow_retries == (not isinstance(error, PermissionError))
    assert str(raised.value.description).startswith(sentence)


@pytest.mark.requirement("NFR-10")
def test_a_fault_that_passes_costs_the_work_since_the_checkpoint(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.retries = WITHOUT_WAITING
    faults = [OSError(5, "Input/output error")]

    def before(row: int) -> None:
        if row == 4 and faults:
            raise faults.pop()

    house.before = before
    assert house.run().success
    assert house.computed == [0, 1, 2, 3, 3, 4, 5, 6]


def test_the_policy_of_every_asset_waits_a_minute_and_longer_each_time() -> None:
    assert (IO_RETRIES.max_retries, IO_RETRIES.delay) == (3, 60)
    assert IO_RETRIES.backoff is not None


@pytest.mark.requirement("EXT-14")
def test_a_missing_file_is_no_fault_of_the_machine_and_is_not_retried(tmp_path: Path) -> None:
    with pytest.raises(dg.Failure, match=r"nothing\.txt: No such file or directory\. Run again") as failure, sentences_as_failures():
        (tmp_path / "nothing.txt").read_text()
    assert failure.value.allow_retries is False


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt(), dg.DagsterExecutionInterruptedError()], ids=["ctrl-c", "terminate"])
def test_a_stopped_run_is_not_held_against_the_retry_policy(tmp_path: Path, interrupt: BaseException) -> None:
    house = House(tmp_path)

    def stop(row: int) -> None:
        if row == 4:
            raise interrupt

    house.before = stop
    outcome = house.run()
    assert not outcome.success
    assert "STEP_UP_FOR_RETRY" not in events(outcome)
    assert house.computed == [0, 1, 2, 3]
