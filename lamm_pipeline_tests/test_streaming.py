import threading
import time
from collections.abc import Iterator

import pytest

from lamm_pipeline.streaming import map_ordered


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
