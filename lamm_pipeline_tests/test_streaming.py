import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from lamm_pipeline import streaming
from lamm_pipeline.errors import InputError
from lamm_pipeline.streaming import ITEMS_AT_ONCE, WORTH_A_PROCESS, map_ordered, map_ordered_in_processes


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_results_come_in_the_order_of_the_items(workers: int) -> None:
    def work(n: int) -> int:
        time.sleep(0.002 * (n % 3))
        return n * n

    assert list(map_ordered(work, range(50), workers)) == [(n, n * n) for n in range(50)]


@pytest.mark.requirement("NFR-11")
def test_no_more_than_twice_the_workers_are_in_flight() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for n in range(100):
            taken += 1
            yield n

    for done, _ in enumerate(map_ordered(lambda n: n, items(), 3)):
        assert taken - done <= 6


def test_an_error_is_raised_at_its_turn() -> None:
    def work(n: int) -> int:
        if n == 3:
            raise ValueError("three")
        return n

    seen = []
    with pytest.raises(ValueError, match="three"):
        seen.extend(n for n, _ in map_ordered(work, range(10), 2))
    assert threading.active_count() < 10


class AwkwardError(Exception):
    """Cannot be handed to another process."""

    def __init__(self, what: str, where: str) -> None:
        super().__init__(f"{what} in {where}")


def square(n: int) -> tuple[int, int]:
    time.sleep(0.002 * (n % 3))
    sys.stdout.write("not a reply")
    return n * n, os.getpid()


def refuse_100(n: int) -> int:
    if n == 100:
        raise InputError("Frame 100 is no frame.")
    return n


def awkward(n: int) -> int:
    raise AwkwardError("a hole", f"item {n}")


def die(how: Callable[[int], None], n: int) -> int:
    if n == 70:
        how(9)
    return n


def kill_itself(number: int) -> None:
    os.kill(os.getpid(), number)


def mark(folder: Path, n: int) -> int:
    (folder / f"{os.getpid()}.{n}").touch()
    time.sleep(0.005)
    return os.getpid()


def gone(pids: Iterable[int]) -> bool:
    """Whether the processes end, however busy the machine is."""
    end = time.monotonic() + 20.0
    while running := [pid for pid in pids if Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes()]:
        if time.monotonic() > end:
            return not running
        time.sleep(0.01)
    return True


@pytest.fixture
def worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few items are worth a process."""
    monkeypatch.setattr(streaming, "WORTH_A_PROCESS", 1)


@pytest.mark.usefixtures("worth_it")
def test_processes_give_results_in_the_order_of_the_items() -> None:
    results = list(map_ordered_in_processes(square, range(100), 3))
    assert [(n, found) for n, (found, _) in results] == [(n, n * n) for n in range(100)]
    pids = {pid for _, (_, pid) in results}
    assert len(pids) == 3
    assert os.getpid() not in pids
    assert gone(pids)


def test_few_items_are_not_worth_a_process() -> None:
    for count in (0, 1, 2 * WORTH_A_PROCESS - 1):
        assert {pid for _, (_, pid) in map_ordered_in_processes(square, range(count), 2)} <= {os.getpid()}


@pytest.mark.usefixtures("worth_it")
def test_an_error_in_a_process_is_raised_at_its_turn_with_its_sentence() -> None:
    seen = []
    with pytest.raises(InputError, match="Frame 100") as raised:
        seen.extend(n for n, _ in map_ordered_in_processes(refuse_100, range(200), 2))
    assert seen == list(range(100))
    assert str(raised.value) == "Frame 100 is no frame."
    assert "refuse_100" in "".join(raised.value.__notes__)  # where it was raised there
    with pytest.raises(RuntimeError, match="AwkwardError: a hole in item 0"):
        list(map_ordered_in_processes(awkward, range(50), 2))


@pytest.mark.usefixtures("worth_it")
@pytest.mark.parametrize(("how", "sentence"), [(kill_itself, "was killed by signal 9, perhaps because"), (os._exit, "ended with status 9")])
def test_a_process_that_dies_is_an_error(how: Callable[[int], None], sentence: str) -> None:
    with pytest.raises(ChildProcessError, match=f"a worker process {sentence}"):
        list(map_ordered_in_processes(partial(die, how), range(200), 2))


@pytest.mark.usefixtures("worth_it")
@pytest.mark.requirement("NFR-11")
def test_processes_do_not_run_ahead_and_end_when_nobody_reads_on(tmp_path: Path) -> None:
    with closing(map_ordered_in_processes(partial(mark, tmp_path), range(1000), 2)) as results:
        next(results)
        time.sleep(1.0)
    touched = [each.name.split(".") for each in tmp_path.iterdir()]
    assert len(touched) <= 4 * ITEMS_AT_ONCE
    assert gone({int(pid) for pid, _ in touched})


@pytest.mark.requirement("NFR-11")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_processes_end_when_their_parent_is_killed(tmp_path: Path, number: signal.Signals) -> None:
    program = """
import sys
from functools import partial
from pathlib import Path
from lamm_pipeline.streaming import map_ordered_in_processes
from lamm_pipeline_tests.test_streaming import mark
list(map_ordered_in_processes(partial(mark, Path(sys.argv[1])), range(9999), 2))
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", program, tmp_path], env=environment, stderr=subprocess.DEVNULL) as parent:
        while len(pids := {int(each.name.split(".")[0]) for each in tmp_path.iterdir()}) < 2:
            assert parent.poll() is None
            time.sleep(0.01)
        parent.send_signal(number)
        parent.wait()
    assert gone(pids)
    before = len(list(tmp_path.iterdir()))
    time.sleep(0.1)
    assert len(list(tmp_path.iterdir())) == before
