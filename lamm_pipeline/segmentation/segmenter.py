"""What every back end that finds and outlines objects offers. `backends.py` makes them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.geometry.camera import RectifiedCamera
from lamm_pipeline.segmentation.depth_masks import MaskCrop


@dataclass(frozen=True)
class RawDetection:
    """One object found in one image.

    Attributes:
        class_id: of the ontology.
        confidence: in 0..1, None where a back end has none.
        box_xyxy: `(4,)` float64, pixels of the image.
        mask: its pixels, within the box.
        mask_source: how the mask was made: `depth`, `box`, or the name of a model.
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


class Segmenter(Protocol):
    """A back end. `segment` is called from several threads at once."""

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
