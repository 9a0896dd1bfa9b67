from typing import Any

import pytest

from lamm_pipeline.errors import InputError
from lamm_pipeline.segmentation.memory_guard import CLEAR_EVERY, MemoryGuard

pytestmark = pytest.mark.sam


class SmallMemory:
    """Work that runs out of memory with more than `most` pieces at a time."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.tried: list[int] = []

    def __call__(self, at_once: int) -> int:
        import torch

        self.tried.append(at_once)
        if at_once > self.most:
            raise torch.cuda.OutOfMemoryError("out of memory")
        return at_once


@pytest.fixture
def cleared(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    import torch

    calls: list[None] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: calls.append(None))
    return calls


@pytest.mark.requirement("SEG-08")
def test_what_does_not_fit_is_halved_and_what_fits_is_remembered(cleared: list[None]) -> None:
    guard, work = MemoryGuard("cpu", 0.9, "too big"), SmallMemory(3)
    assert guard.fit(work, 8) == 2
    assert work.tried == [8, 4, 2]
    assert len(cleared) == 2
    assert guard.fit(work, 8) == 2
    assert guard.fit(work, 1) == 1
    assert work.tried == [8, 4, 2, 2, 1]


@pytest.mark.requirement("SEG-08")
def test_the_cache_is_cleared_every_few_batches(cleared: list[None]) -> None:
    guard, work = MemoryGuard("cpu", 0.9, "too big"), SmallMemory(8)
    for _ in range(2 * CLEAR_EVERY + 1):
        guard.fit(work, 8)
    assert len(cleared) == 2


@pytest.mark.requirement("SEG-08")
def test_one_piece_that_does_not_fit_is_said_in_a_sentence(cleared: list[None]) -> None:
    with pytest.raises(InputError, match="choose a smaller model"):
        MemoryGuard("cpu", 0.9, "choose a smaller model").fit(SmallMemory(0), 4)
    assert len(cleared) == 2


@pytest.mark.requirement("SEG-08")
def test_the_share_of_the_memory_is_a_limit_on_a_gpu_only(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    limits: list[float] = []
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", limits.append)
    MemoryGuard("cpu", 0.5, "too big").limit()
    assert limits == []
    MemoryGuard("cuda", 0.5, "too big").limit()
    assert limits == [0.5]


def test_another_error_is_not_taken_for_a_lack_of_memory() -> None:
    def broken(_: int) -> Any:
        raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        MemoryGuard("cpu", 0.9, "too big").fit(broken, 4)
