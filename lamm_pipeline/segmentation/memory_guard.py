"""Keeps a network within its share of the GPU's memory. torch is imported inside functions only."""

from collections.abc import Callable
from typing import TypeVar

from lamm_pipeline.errors import InputError

CLEAR_EVERY = 10
"""Batches between two times that torch's cache of GPU memory is given back."""
Result = TypeVar("Result")


class MemoryGuard:
    """Gives a network as much work at once as the memory holds, and remembers how much that was.

    Args:
        device: `cpu` or `cuda`.
        share: of the GPU's memory that this process may take; what goes beyond counts as out of memory.
        too_big: the sentence for when even the smallest piece of work does not fit.
    """

    def __init__(self, device: str, share: float, too_big: str) -> None:
        self._device = device
        self._share = share
        self._too_big = too_big
        self._largest: int | None = None
        self._done = 0

    def limit(self) -> None:
        """Set the limit; called before anything is put on the GPU."""
        if self._device == "cuda":
            import torch

            torch.cuda.set_per_process_memory_fraction(self._share)

    def fit(self, work: Callable[[int], Result], size: int) -> Result:
        """Do some work with the largest size that the memory allows: all at once, else half as much at a time, and so on.

        Args:
            work: does all of the work, at most so many pieces at a time.
            size: how many pieces there are.

        Returns:
            What `work` returns.

        Raises:
            InputError: not even one piece fits.
        """
        import torch

        while True:
            at_once = size if self._largest is None else min(size, self._largest)
            try:
                result = work(at_once)
            except torch.cuda.OutOfMemoryError as error:
                if at_once <= 1:
                    raise InputError(self._too_big) from error
            else:
                self._done += 1
                if self._done % CLEAR_EVERY == 0:
                    torch.cuda.empty_cache()
                return result
            # Only here, behind the exception, are the tensors of the failed try free.
            torch.cuda.empty_cache()
            self._largest = at_once // 2
