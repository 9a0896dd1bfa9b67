"""What every back end that finds and outlines objects offers. `backends.py` makes them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.extraction.frame_registry import FrameRecord, FrameRegistry
from lamm_pipeline.geometry.camera import RectifiedCamera
from lamm_pipeline.segmentation.depth_masks import MaskCrop


@dataclass(frozen=True)
class RawDetection:
    """One object found in one image.

    Attributes:
        class_id: of the ontology.
        confidence: in 0..1, None where a back end has none.
        box_xyxy: `(4,)` float64, pixels of the image.
        mask: its pixels; those from depth may go on beside the box, given ones of `external` may leave it anywhere.
        mask_source: how the mask was made: `depth`, `box`, `external`, or the name of a model.
    """

    class_id: str
    confidence: float | None
    box_xyxy: NDArray[np.float64]
    mask: MaskCrop
    mask_source: str


@dataclass(frozen=True)
class Segmentation:
    """What a back end says about one image.

    Attributes:
        detections: best first.
        refused: how many candidates above the threshold were not reported, by reason.
    """

    detections: tuple[RawDetection, ...]
    refused: Mapping[str, int]


@dataclass(frozen=True)
class Picture:
    """One frame with all that a back end may look at.

    Attributes:
        frame: its record.
        image_bgr: `(H, W, 3)`.
        depth: `(H, W)` float32, metres along z, NaN = unknown; None without calibration.
        camera: of image and depth; None without calibration.
    """

    frame: FrameRecord
    image_bgr: NDArray[np.uint8]
    depth: NDArray[np.float32] | None
    camera: RectifiedCamera | None


class Segmenter(Protocol):
    """A back end that looks at one image at a time. `segment` is called from several threads at once."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """All that decides the result (model name, digest of its weights, thresholds), ready for JSON; part of the artifact's version."""
        ...

    def segment(self, image_bgr: NDArray[np.uint8], depth: NDArray[np.float32] | None, camera: RectifiedCamera | None) -> Segmentation:
        """Find the objects in one image.

        Args:
            image_bgr: `(H, W, 3)`.
            depth: `(H, W)` float32, metres along z, NaN = unknown; None without calibration.
            camera: of image and depth; None without calibration.
        """
        ...


@runtime_checkable
class FrameSegmenter(Protocol):
    """A back end that takes several frames at once, or must know which frame it looks at. Called from several threads at once."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """See `Segmenter`."""
        ...

    @property
    def batch_size(self) -> int:
        """How many frames it wants at once."""
        ...

    def segment_batch(self, pictures: Sequence[Picture]) -> list[Segmentation]:
        """Find the objects in some frames.

        Args:
            pictures: at most `batch_size`.

        Returns:
            One for each picture, in their order.
        """
        ...

    def begin(self, registry: FrameRegistry) -> Mapping[str, Any]:
        """Prepare for a recording. Called once, before its first frame.

        Returns:
            What there is to say about the recording besides its detections, ready for JSON; mostly nothing.

        Raises:
            InputError: the back end has nothing for this recording.
        """
        ...


@dataclass(frozen=True)
class OneByOne:
    """A `Segmenter` as a `FrameSegmenter`."""

    segmenter: Segmenter

    @property
    def identity(self) -> Mapping[str, Any]:
        """See `Segmenter`."""
        return self.segmenter.identity

    @property
    def batch_size(self) -> int:
        """One: threads do the rest."""
        return 1

    def segment_batch(self, pictures: Sequence[Picture]) -> list[Segmentation]:
        """See `FrameSegmenter`."""
        return [self.segmenter.segment(picture.image_bgr, picture.depth, picture.camera) for picture in pictures]

    def begin(self, registry: FrameRegistry) -> Mapping[str, Any]:  # noqa: ARG002 - of the protocol
        """Nothing to prepare."""
        return {}


def by_frames(segmenter: Segmenter | FrameSegmenter) -> FrameSegmenter:
    """The back end in the form that takes frames."""
    return segmenter if isinstance(segmenter, FrameSegmenter) else OneByOne(segmenter)
