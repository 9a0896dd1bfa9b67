"""What every back end that follows masks through a video offers, and the video it follows them through."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


class Video(Protocol):
    """The frames of a recording, numbered from 0 without gaps; each is read when it is asked for."""

    def __len__(self) -> int:
        """Number of frames."""
        ...

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, of every frame."""
        ...

    def image(self, index: int) -> NDArray[np.uint8] | None:
        """`(H, W, 3)` BGR; None where the frame is missing or damaged."""
        ...

    def depth(self, index: int) -> NDArray[np.float32] | None:
        """`(H, W)` metres along z, NaN = unknown; None where there is no depth."""
        ...


@dataclass(frozen=True)
class Prompt:
    """What tells a back end which object to follow; exactly one of the two is given.

    Attributes:
        mask: `(H, W)`.
        box_xyxy: `(4,)` integer pixels.
    """

    mask: Mask | None = None
    box_xyxy: NDArray[np.int64] | None = None


class Session(Protocol):
    """The propagation within one window of a video."""

    def propagate(
        self, start: int, prompts: Mapping[int, Prompt], *, reverse: bool = False, limit: int | None = None
    ) -> Iterator[tuple[int, Mapping[int, Mask]]]:
        """Forget what was followed so far in this window, and follow these objects from one frame on.

        Where a backward pass comes right after the forward one from the same frame and prompts, a back end may use what it saw then.

        Args:
            start: index of the frame in the video that the prompts are given in; it is the first that comes back.
            prompts: by object id, at least one.
            reverse: towards the beginning of the window instead of its end.
            limit: most frames beyond `start`; None = to the end of the window.

        Yields:
            Index of the frame in the video, and the masks `(H, W)` by object id; an object that is not seen there is left out.
        """
        ...


class Propagator(Protocol):
    """A back end."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """All that decides the result (name, digest of weights, number format, thresholds), as JSON; part of the artifact's version."""
        ...

    @property
    def corrects(self) -> bool:
        """Whether candidates that cover a followed object should take its mask's place, because propagation drifts without them."""
        ...

    def session(self, video: Video, first: int, end: int) -> AbstractContextManager[Session]:
        """Open the window of the frames `first` to `end - 1`. What it holds in memory grows with the window, not with the video."""
        ...
