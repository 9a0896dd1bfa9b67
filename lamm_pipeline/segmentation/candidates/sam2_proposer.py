"""The source of candidates that takes SAM2's automatic masks: everything in the picture that has an outline, without classes."""

import importlib.metadata
import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction.frame_registry import FrameRecord, FrameRegistry
from lamm_pipeline.geometry import rle
from lamm_pipeline.segmentation.candidates.filters import WITHIN_SHARE, by_nesting
from lamm_pipeline.segmentation.candidates.mask_candidates import MaskCandidate
from lamm_pipeline.segmentation.candidates.proposer import Proposal
from lamm_pipeline.segmentation.candidates.settings import CandidateSettings
from lamm_pipeline.segmentation.sam2_model import DUPLICATE_IOU, MASK_THRESHOLD, Grid, Sam2Model
from lamm_pipeline.segmentation.sam2_weights import CHECKPOINTS, find_weights
from lamm_pipeline.segmentation.segment_frames import read_image
from lamm_pipeline.segmentation.torch_device import resolve_device
from lamm_pipeline.storage.atomic import sha256_file

PACKAGES = ("torch", "torchvision", "sam2")


class Sam2Proposer:
    """Proposes SAM2's automatic masks. Safe to use from several threads; the model itself works for one at a time.

    Args:
        settings: of the stage.
        levels: ascending, at least one.
        frames_folder: the artifact folder of the frames.
        device: `cpu` or `cuda`; None means what `LAMM_DEVICE` says.
        image_size: side of the square that images are scaled to, pixels; the released models are trained for 1024.

    Raises:
        InputError: a package, the weights or the device is missing.
    """

    def __init__(
        self,
        settings: CandidateSettings,
        levels: tuple[int, ...],
        frames_folder: Path,
        device: str | None = None,
        image_size: int = 1024,
    ) -> None:
        missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
        if missing:
            raise InputError(
                f"The source 'sam2' of mask candidates needs {' and '.join(missing)}, which this installation lacks; install the extra: "
                "pip install 'lamm-pipeline[sam2]', or set `source` to 'detections'."
            )
        self._settings = settings
        self._levels = levels
        self._folder = frames_folder
        self._size = (0, 0)
        self._image_size = image_size
        weights = find_weights(settings.variant, settings.weights)
        self._weights_sha256 = sha256_file(weights)
        self._grid = Grid(settings.points_per_side, settings.mask_quality, settings.min_stability)
        self._model = Sam2Model(settings.variant, weights, resolve_device(device), image_size, memory_share=settings.gpu_memory_share)

    @property
    def identity(self) -> Mapping[str, Any]:
        """See `Proposer`."""
        return {
            "source": "sam2",
            "model": CHECKPOINTS[self._settings.variant].file.removesuffix(".pt"),
            "package": importlib.metadata.version("sam2"),
            "weights_sha256": self._weights_sha256,
            "dtype": self._model.dtype,
            "image_size": self._image_size,
            "mask_threshold": MASK_THRESHOLD,
            "duplicate_iou": DUPLICATE_IOU,
            "within_share": WITHIN_SHARE,
        }

    @property
    def levels(self) -> tuple[int, ...]:
        """See `Proposer`."""
        return self._levels

    def begin(self, registry: FrameRegistry) -> Mapping[str, Any]:
        """Take note of the size of the images."""
        self._size = (registry.height, registry.width)
        return {}

    def knows(self, frame: FrameRecord) -> bool:  # noqa: ARG002 - of the protocol
        """Every frame."""
        return True

    def proposals(self, frames: Sequence[FrameRecord]) -> Iterator[Callable[[], Proposal]]:
        """See `Proposer`."""
        return (partial(self._propose, frame) for frame in frames)

    def _propose(self, frame: FrameRecord) -> Proposal:
        image = None if frame.image_left is None else read_image(self._folder / frame.image_left)
        if image is None or image.shape[:2] != self._size:
            return Proposal({}, failure=f"the image {frame.image_left} is missing, damaged or of another size")
        height, width = self._size
        found = self._model.propose(cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False), self._grid)
        candidates = []
        for number, each in enumerate(found):
            rows, columns = each.mask.pixels.shape
            x, y = float(each.mask.x), float(each.mask.y)
            box_xyxy = (x, y, x + columns, y + rows)
            runs = rle.encode(each.mask.full(width, height))
            name = f"{frame.frame_id}:{number}"
            area = int(each.mask.pixels.sum())
            candidates.append(MaskCandidate(name, None, min(each.quality, 1.0), each.stability, box_xyxy, runs, area, "sam2"))
        return Proposal(by_nesting(candidates, self._levels, width, height))
