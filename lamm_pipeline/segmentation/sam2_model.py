"""SAM2's image predictor, loaded when it is first used: boxes in, masks out, or all masks of an image.

torch and sam2 are imported inside functions only.
"""

import contextlib
import pickle
import threading
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.errors import InputError
from lamm_pipeline.segmentation.depth_masks import MaskCrop, crop_to_mask
from lamm_pipeline.segmentation.memory_guard import MemoryGuard
from lamm_pipeline.segmentation.sam2_weights import CHECKPOINTS
from lamm_pipeline.segmentation.settings import Variant
from lamm_pipeline.segmentation.torch_device import compile_forward, compiler_errors, inference, number_format

MASK_THRESHOLD = 0.0
"""Of the logits."""
FEATURE_STRIDES = (4, 8, 16)
POINTS_AT_ONCE = 64
DUPLICATE_IOU = 0.7
"""Proposals whose boxes overlap more than this are one."""


@dataclass(frozen=True)
class Grid:
    """How a whole image is searched for masks.

    Attributes:
        points_per_side: points asked about along each side of the image.
        quality: smallest IoU with the true mask that the model expects.
        stability: smallest IoU between the masks at thresholds a little above and below.
    """

    points_per_side: int
    quality: float
    stability: float


@dataclass(frozen=True)
class Proposal:
    """Something in an image that has an outline.

    Attributes:
        mask: its pixels; the crop is its box.
        quality: IoU with the true mask that the model expects, 0..1.
        stability: how little the mask changes with the threshold, 0..1.
    """

    mask: MaskCrop
    quality: float
    stability: float


def build_model(variant: Variant, image_size: int) -> Any:
    """A model with random weights, on the CPU.

    Args:
        variant: which of the package's configurations.
        image_size: side of the square that images are scaled to, pixels.
    """
    from hydra import initialize_config_module  # noqa: PLC0415 - of the extra
    from hydra.core.global_hydra import GlobalHydra  # noqa: PLC0415 - of the extra

    # sam2 asks Hydra for the behaviour of 1.2, which 1.4 refuses; 1.3 wants another antlr4 than Dagster.
    if not GlobalHydra.instance().is_initialized():
        initialize_config_module("sam2")
    from sam2.build_sam import build_sam2

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="(?s).*hydra.utils.instantiate", category=UserWarning)
        return build_sam2(CHECKPOINTS[variant].config, None, device="cpu", hydra_overrides_extra=[f"++model.image_size={image_size}"])


def load_model(variant: Variant, weights: Path, image_size: int) -> Any:
    """A model with the weights of a checkpoint, on the CPU.

    Args:
        variant: which of the package's configurations.
        weights: the checkpoint.
        image_size: side of the square that images are scaled to, pixels.

    Raises:
        InputError: the file is no checkpoint of SAM2, or of another variant.
    """
    import torch

    name = CHECKPOINTS[variant].file
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)["model"]
    except (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise InputError(f"{weights} is not a checkpoint of SAM2, or damaged; fetch {name} again.") from error
    model = build_model(variant, image_size)
    try:
        model.load_state_dict(state)
    except (RuntimeError, TypeError) as error:
        raise InputError(
            f"The weights {weights} are not those of the variant {variant.value!r}, whose file is {name}; change `variant` or `weights`."
        ) from error
    return model


class Sam2Model:
    """A SAM2.1 model on one device. Safe to use from several threads, works for one at a time.

    Args:
        variant: of the model.
        weights: its checkpoint.
        device: `cpu` (float32) or `cuda` (bfloat16).
        image_size: side of the square that images are scaled to, pixels; the released models are trained for 1024.
        compiled: whether the image encoder is translated by torch.compile.
        memory_share: of the GPU's memory that may be taken.
    """

    def __init__(
        self,
        variant: Variant,
        weights: Path,
        device: str,
        image_size: int = 1024,
        *,
        compiled: bool = False,
        memory_share: float = 0.9,
    ) -> None:
        self._variant = variant
        self._weights = weights
        self._device = device
        self._image_size = image_size
        self._compiled = compiled
        self._lock = threading.Lock()
        self._predictor: Any = None
        too_big = f"The GPU's memory does not suffice for SAM2 {variant.value!r} on one image; choose a smaller `variant`"
        self._images = MemoryGuard(device, memory_share, f"{too_big} or a larger `gpu_memory_share`.")
        self._points = MemoryGuard(device, memory_share, f"{too_big} or a larger `gpu_memory_share`.")

    @property
    def dtype(self) -> str:
        """Number format of the computation."""
        return number_format(self._device)

    def masks(self, images_rgb: Sequence[NDArray[np.uint8]], boxes_xyxy: Sequence[NDArray[np.float64]]) -> list[NDArray[np.bool_]]:
        """Outline boxes, all images at once; in smaller batches where the GPU's memory does not suffice.

        Args:
            images_rgb: `(H, W, 3)` each.
            boxes_xyxy: `(N, 4)` pixels for each image, N at least 1.

        Returns:
            `(N, H, W)` for each image.

        Raises:
            InputError: the weights are not those of the variant, or the GPU's memory does not suffice for one image.
        """
        if not images_rgb:
            return []

        def work(at_once: int) -> list[NDArray[np.bool_]]:
            starts = range(0, len(images_rgb), at_once)
            parts = (self._predict(images_rgb[start : start + at_once], boxes_xyxy[start : start + at_once]) for start in starts)
            return [found for part in parts for found in part]

        with self._ready():
            return self._images.fit(work, len(images_rgb))

    def propose(self, image_rgb: NDArray[np.uint8], grid: Grid) -> list[Proposal]:
        """Outline whatever has an outline, with the package's automatic mask generator.

        Args:
            image_rgb: `(H, W, 3)`.
            grid: where to look and what to keep.

        Returns:
            Best quality first.

        Raises:
            InputError: the weights are not those of the variant, or the GPU's memory does not suffice for one image.
        """
        from sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator

        with self._ready():
            generator = SAM2AutomaticMaskGenerator(
                self._predictor.model,
                points_per_side=grid.points_per_side,
                pred_iou_thresh=grid.quality,
                stability_score_thresh=grid.stability,
                mask_threshold=MASK_THRESHOLD,
                box_nms_thresh=DUPLICATE_IOU,
            )
            generator.predictor = self._predictor

            def work(at_once: int) -> list[dict[str, Any]]:
                generator.points_per_batch = at_once
                with inference(self._device):
                    found: list[dict[str, Any]] = generator.generate(image_rgb)
                return found

            records = self._points.fit(work, min(POINTS_AT_ONCE, grid.points_per_side**2))
        crops = [(crop_to_mask(np.asarray(each["segmentation"], dtype=bool)), each) for each in records]
        proposals = [
            Proposal(mask, round(float(each["predicted_iou"]), 6), round(float(each["stability_score"]), 6))
            for mask, each in crops
            if mask is not None
        ]
        return sorted(proposals, key=lambda each: (-each.quality, -each.stability, each.mask.y, each.mask.x))

    @contextlib.contextmanager
    def _ready(self) -> Iterator[None]:
        """Inside, the network is loaded and nobody else uses it."""
        with self._lock, compiler_errors():
            if self._predictor is None:
                self._images.limit()
                self._predictor = self._load()
            yield

    def _predict(self, images_rgb: Sequence[NDArray[np.uint8]], boxes_xyxy: Sequence[NDArray[np.float64]]) -> list[NDArray[np.bool_]]:
        with inference(self._device):
            self._predictor.set_image_batch(list(images_rgb))
            masks, _, _ = self._predictor.predict_batch(box_batch=list(boxes_xyxy), multimask_output=False)
            self._predictor.reset_predictor()
        return [
            np.asarray(found).reshape(len(boxes), *image.shape[:2]) > 0.5
            for found, boxes, image in zip(masks, boxes_xyxy, images_rgb, strict=True)
        ]

    def _load(self) -> Any:
        model = load_model(self._variant, self._weights, self._image_size)
        if self._compiled:
            compile_forward(model.image_encoder)
        from sam2.sam2_image_predictor import SAM2ImagePredictor

        predictor = SAM2ImagePredictor(model.to(self._device), mask_threshold=MASK_THRESHOLD)
        # The predictor has the sizes for 1024 pixels written in.
        predictor._bb_feat_sizes = [(self._image_size // stride,) * 2 for stride in FEATURE_STRIDES]
        return predictor
