"""A video that pans over a picture, and masks in it."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage import data

from lamm_pipeline.tracking.masklets.propagation import Mask

WIDTH, HEIGHT = 120, 90


@dataclass
class Panned:
    """A photograph that moves through the picture; frames in `missing` have no image."""

    frames: int = 14
    missing: Collection[int] = ()
    reads: Counter[int] = field(default_factory=Counter)

    def __len__(self) -> int:
        return self.frames

    @property
    def size(self) -> tuple[int, int]:
        return WIDTH, HEIGHT

    def image(self, index: int) -> NDArray[np.uint8] | None:
        self.reads[index] += 1
        if index in self.missing:
            return None
        x = 100 + 3 * index % 250
        return np.ascontiguousarray(data.astronaut()[60 : 60 + HEIGHT, x : x + WIDTH, ::-1])

    def depth(self, _: int) -> None:
        return None


def disc(x: int, y: int, radius: int) -> Mask:
    return cv2.circle(np.zeros((HEIGHT, WIDTH), np.uint8), (x, y), radius, 1, -1).astype(np.bool_)
