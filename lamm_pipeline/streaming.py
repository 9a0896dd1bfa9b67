"""Work on a stream of frames in several threads, in order, with bounded memory.

OpenCV, NumPy's file writers and the decoders release the GIL, and stereo matching scales best with one frame a thread and OpenCV's own
threads off, so threads over frames are the one kind of parallelism of this package.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Protocol, TypeVar

import cv2

Item = TypeVar("Item")
Result = TypeVar("Result")


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
