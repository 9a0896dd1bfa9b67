"""How much of a recording is shown so that the file stays small.

Images and points get coarser first, in steps that a person hardly sees; frames are left out only where even the coarsest step is too large.
Then up to half of those that are shown are the ones that people look for: where uncertainty peaks. The time series keep every frame.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lamm_pipeline.scenes.view.settings import SceneViewSettings

STEPS = 7
_SHRINK = 0.72
"""Points and the area of the image shrink by this factor from one step to the next, or by its root."""
_LEAST_WIDTH, _LEAST_QUALITY, _LEAST_POINTS = 320, 45, 1_500


@dataclass(frozen=True)
class Detail:
    """How one frame is shown.

    Attributes:
        points: most points of its cloud.
        image_width: widest image, pixels.
        jpeg_quality: of the image.
    """

    points: int
    image_width: int
    jpeg_quality: int


@dataclass(frozen=True)
class Thinning:
    """How a recording is shown.

    Attributes:
        detail: of each frame.
        every: one frame in so many is shown.
        peaks: beside these, so many of the most uncertain frames; None where all frames are shown.
        step: place of `detail` among those that `details` gives; 0 = nothing was taken away.
    """

    detail: Detail
    every: int
    step: int
    peaks: int | None = None

    def to_json(self) -> dict[str, Any]:
        """For `scene.json`."""
        return {**asdict(self.detail), "every": self.every, "step": self.step, "peaks": self.peaks}

    def shown(self, frames: int, peaks: Sequence[int]) -> set[int]:
        """Places of the frames that are shown.

        Args:
            frames: of the recording.
            peaks: places of the most uncertain ones, the most uncertain first.
        """
        return {*range(0, frames, self.every), *peaks[: self.peaks or 0]}


def details(settings: SceneViewSettings) -> list[Detail]:
    """From what is wanted down to the coarsest, none finer than the one before."""
    steps = []
    for step in range(STEPS):
        shrink = _SHRINK**step
        steps.append(
            Detail(
                points=max(round(settings.points_per_frame * shrink), min(_LEAST_POINTS, settings.points_per_frame)),
                image_width=max(round(settings.image_width * math.sqrt(shrink)), min(_LEAST_WIDTH, settings.image_width)),
                jpeg_quality=max(settings.jpeg_quality - 5 * step, min(_LEAST_QUALITY, settings.jpeg_quality)),
            )
        )
    return steps


def choose(steps: Sequence[Detail], frames: int, measure: Callable[[Detail], float], allowed: float) -> Thinning:
    """The finest way to show so many frames within so many bytes.

    Args:
        steps: of `details`.
        frames: frames of the recording.
        measure: bytes that a frame takes with such detail.
        allowed: bytes for all frames.
    """
    for step, detail in enumerate(steps):
        size = frames * measure(detail)
        if size <= allowed:
            return Thinning(detail, 1, step)
    fitting = max(1, int(allowed * frames / size))
    peaks = fitting // 2
    return Thinning(steps[-1], math.ceil(frames / (fitting - peaks)), len(steps) - 1, peaks)
