"""SAM2's image predictor, loaded when it is first used: boxes in, masks out. torch and sam2 are imported inside functions only."""

import contextlib
import pickle
import threading
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.errors import InputError
from lamm_pipeline.segmentation.sam2_weights import CHECKPOINTS
from lamm_pipeline.segmentation.settings import Variant

MASK_THRESHOLD = 0.0
"""Of the logits."""
FEATURE_STRIDES = (4, 8, 16)


def resolve_device(wanted: str) -> str:
    """`cpu`, or `cuda` when there is one.

    Raises:
        InputError: `cuda` is wanted and torch finds none.
    """
    if wanted == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise InputError("LAMM_DEVICE is 'cuda', but torch finds no CUDA device; set LAMM_DEVICE to 'cpu' or mend the driver.")
    return wanted


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


class Sam2Model:
    """A SAM2.1 model on one device. Safe to use from several threads, works for one at a time.

    Args:
        variant: of the model.
        weights: its checkpoint.
        device: `cpu` (float32) or `cuda` (bfloat16).
        image_size: side of the square that images are scaled to, pixels; the released models are trained for 1024.
    """

    def __init__(self, variant: Variant, weights: Path, device: str, image_size: int = 1024) -> None:
        self._variant = variant
        self._weights = weights
        self._device = device
        self._image_size = image_size
        self._lock = threading.Lock()
        self._predictor: Any = None

    @property
    def dtype(self) -> str:
        """Number format of the computation."""
        return "bfloat16" if self._device == "cuda" else "float32"

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
        import torch

        with self._lock:
            if self._predictor is None:
                self._predictor = self._load()
            try:
                return self._predict(images_rgb, boxes_xyxy)
            except torch.cuda.OutOfMemoryError as error:
                if len(images_rgb) == 1:
                    raise InputError(
                        f"The GPU's memory does not suffice for SAM2 {self._variant.value!r} on one image; choose a smaller `variant`."
                    ) from error
        torch.cuda.empty_cache()
        half = len(images_rgb) // 2
        return self.masks(images_rgb[:half], boxes_xyxy[:half]) + self.masks(images_rgb[half:], boxes_xyxy[half:])

    def _predict(self, images_rgb: Sequence[NDArray[np.uint8]], boxes_xyxy: Sequence[NDArray[np.float64]]) -> list[NDArray[np.bool_]]:
        import torch

        half_precision = torch.autocast("cuda", dtype=torch.bfloat16) if self._device == "cuda" else contextlib.nullcontext()
        with torch.inference_mode(), half_precision:
            self._predictor.set_image_batch(list(images_rgb))
            masks, _, _ = self._predictor.predict_batch(box_batch=list(boxes_xyxy), multimask_output=False)
            self._predictor.reset_predictor()
        return [
            np.asarray(found).reshape(len(boxes), *image.shape[:2]) > 0.5
            for found, boxes, image in zip(masks, boxes_xyxy, images_rgb, strict=True)
        ]

    def _load(self) -> Any:
        import torch

        name = CHECKPOINTS[self._variant].file
        try:
            state = torch.load(self._weights, map_location="cpu", weights_only=True)["model"]
        except (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise InputError(f"{self._weights} is not a checkpoint of SAM2, or damaged; fetch {name} again.") from error
        model = build_model(self._variant, self._image_size)
        try:
            model.load_state_dict(state)
        except (RuntimeError, TypeError) as error:
            raise InputError(
                f"The weights {self._weights} are not those of the variant {self._variant.value!r}, whose file is {name}; change `variant` "
                "or `weights`."
            ) from error
        from sam2.sam2_image_predictor import SAM2ImagePredictor

        predictor = SAM2ImagePredictor(model.to(self._device), mask_threshold=MASK_THRESHOLD)
        # The predictor has the sizes for 1024 pixels written in.
        predictor._bb_feat_sizes = [(self._image_size // stride,) * 2 for stride in FEATURE_STRIDES]
        return predictor
