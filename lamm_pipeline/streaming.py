"""Work on a stream of items, in order, with bounded memory: in several threads, or in several processes.

OpenCV, NumPy's file writers and the decoders release the GIL, and stereo matching scales best with one frame a thread and OpenCV's own
threads off, so threads over frames are the usual kind of parallelism of this package. Work that is many short steps of Python and of
libraries in turn holds the GIL too often for that; where there is much of it, it goes to processes.
"""

import os
import pickle
import subprocess
import sys
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from typing import Any, BinaryIO, Protocol, Self, TypeVar, cast

import cv2

Item = TypeVar("Item")
Result = TypeVar("Result")

WORTH_A_PROCESS = 250
"""Items for which a process is started: they take as long as its start, about a second."""

ITEMS_AT_ONCE = 16
"""Items that go to a process together, so that what it costs to hand them over does not matter."""

_KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(128 << 20)}
"""Has the C library keep the memory of an image for the next one; else the system takes it back, and gives it page by page, each time."""


class Progress(Protocol):
    """Told after every unit of work how much is done; `total` is None when it is not known beforehand."""

    def __call__(self, done: int, total: int | None) -> None:
        """Take note that `done` of `total` units are done."""
        ...


def no_progress(done: int, total: int | None) -> None:
    """A `Progress` that tells nobody."""


def default_workers() -> int:
    """Number of threads for frame work: the processors this process may use."""
    return max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1))


def map_ordered(work: Callable[[Item], Result], items: Iterable[Item], workers: int | None = None) -> Iterator[tuple[Item, Result]]:
    """Yield `(item, work(item))` in the order of `items`, computed by `workers` threads.

    At most `2 * workers` items are in flight, so memory does not grow with the length of the stream. `items` is consumed on the caller's
    thread. An exception of `work` is raised at that item's turn; the items behind it are cancelled. While items are worked on
    OpenCV keeps to one thread.

    Args:
        work: computed on a worker thread.
        items: consumed lazily.
        workers: number of threads; None means `default_workers()`, 1 runs everything on the caller's thread.
    """
    count = default_workers() if workers is None else workers
    with opencv_on_one_thread():
        if count <= 1:
            for item in items:
                yield item, work(item)
        else:
            yield from _map_in_threads(work, items, count)


def map_ordered_in_processes(
    work: Callable[[Item], Result], items: Iterable[Item], workers: int | None = None, *, total: int | None = None
) -> Generator[tuple[Item, Result], None, None]:
    """`map_ordered`, computed by processes where there are items enough to be worth their start, else by threads.

    Each process gets one copy of `work`, so that must be picklable, as are items, results and errors, and remembers nothing that matters.
    The processes end with the iterator; close it (`contextlib.closing`) where it may not be read to its end. They end by themselves when
    this process dies, at the latest after the item they are at.

    Args:
        work: computed in the processes.
        items: consumed lazily.
        workers: number of processes or threads at most; None means `default_workers()`.
        total: about how many items there are; None where `items` knows its length.

    Raises:
        ChildProcessError: a process died.
    """
    expected = len(cast("Sized", items)) if total is None else total
    count = min(default_workers() if workers is None else workers, expected // WORTH_A_PROCESS)
    if count <= 1:
        yield from map_ordered(work, items, workers)
        return
    stream = iter(items)
    groups = iter(lambda: list(islice(stream, ITEMS_AT_ONCE)), [])
    idle: SimpleQueue[_Process] = SimpleQueue()

    def ask(group: Sequence[Item]) -> tuple[list[Result], Exception | None]:
        process = idle.get()
        try:
            return process.ask(group)
        finally:
            idle.put(process)

    with ExitStack() as stack:
        packed = pickle.dumps(work)
        for _ in range(count):
            idle.put(stack.enter_context(_Process(packed)))
        for group, (results, error) in map_ordered(ask, groups, count):
            yield from zip(group, results, strict=error is None)
            if error is not None:
                raise error


def _map_in_threads(work: Callable[[Item], Result], items: Iterable[Item], count: int) -> Iterator[tuple[Item, Result]]:
    pending: deque[tuple[Item, Future[Result]]] = deque()
    with ThreadPoolExecutor(max_workers=count, thread_name_prefix="frame") as pool:
        try:
            for item in items:
                pending.append((item, pool.submit(work, item)))
                if len(pending) >= 2 * count:
                    done, future = pending.popleft()
                    yield done, future.result()
            while pending:
                done, future = pending.popleft()
                yield done, future.result()
        finally:
            for _, future in pending:
                future.cancel()


@contextmanager
def opencv_on_one_thread() -> Iterator[None]:
    """Within it OpenCV uses one thread: some of its algorithms give other values with other numbers of threads."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


class _Process:
    """A process that computes `work`; it is asked through its standard input and answers through its standard output."""

    def __init__(self, packed_work: bytes) -> None:
        self._work: bytes | None = packed_work
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", f"from {__name__} import _serve; _serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | _KEEP_MEMORY | {"PYTHONPATH": os.pathsep.join(str(Path(each).absolute()) for each in sys.path)},
            start_new_session=True,  # Ctrl-C is for the parent, which ends its processes
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def ask(self, group: Sequence[Any]) -> tuple[list[Any], Exception | None]:
        """The results of the items before the first that fails, and its error."""
        requests, replies = cast("BinaryIO", self._process.stdin), cast("BinaryIO", self._process.stdout)
        try:
            if self._work is not None:
                requests.write(self._work)
                self._work = None
            pickle.dump(group, requests)
            requests.flush()
            results, error = pickle.load(replies)  # noqa: S301  what `_serve` has written
        except (EOFError, BrokenPipeError, pickle.UnpicklingError):
            status = self._process.wait()
            ended = f"was killed by signal {-status}, perhaps because memory is short" if status < 0 else f"ended with status {status}"
            raise ChildProcessError(f"a worker process {ended}; give more memory, or fewer workers") from None
        return results, error


def _serve() -> None:
    """What the processes of `map_ordered_in_processes` do until their parent ends them or dies."""
    parent = os.getppid()
    requests = sys.stdin.buffer
    with suppress(EOFError, BrokenPipeError), os.fdopen(os.dup(1), "wb") as replies, opencv_on_one_thread():
        os.dup2(2, 1)  # what work prints is no reply
        work = pickle.load(requests)  # noqa: S301  the parent has written it
        while True:
            group, results, error = pickle.load(requests), [], None  # noqa: S301  as above
            try:
                for item in group:
                    if os.getppid() != parent:
                        return
                    results.append(work(item))
            except Exception as caught:  # noqa: BLE001  the parent raises it
                error = _portable(caught)
            pickle.dump((results, error), replies)
            replies.flush()


def _portable(error: Exception) -> Exception:
    """The error, or one that says the same where it cannot be handed to another process."""
    error.add_note("".join(traceback.format_exception(error)))
    try:
        return cast("Exception", pickle.loads(pickle.dumps(error)))  # noqa: S301  its own
    except Exception:  # noqa: BLE001  whatever is wrong with it
        return RuntimeError(f"{type(error).__name__}: {error}")
