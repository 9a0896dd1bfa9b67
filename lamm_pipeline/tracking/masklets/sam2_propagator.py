"""Masks followed by SAM2's video predictor, in windows whose frames are read when they are needed.

SAM2's own `init_state` loads every frame of a video, and its state grows with each frame it follows an object through. Here the state is
made without loading anything, frames are read one by one, and memories that the predictor does not look at any more are dropped: what a
window needs is bounded by its frames and by the number of its objects. torch and sam2 are imported inside functions only.
"""

import importlib.metadata
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.errors import InputError
from lamm_pipeline.segmentation.sam2_model import MASK_THRESHOLD, load_model
from lamm_pipeline.segmentation.sam2_weights import CHECKPOINTS, find_weights
from lamm_pipeline.segmentation.settings import Variant
from lamm_pipeline.segmentation.torch_device import inference, number_format, require_packages, resolve_device
from lamm_pipeline.storage.atomic import sha256_file
from lamm_pipeline.tracking.masklets.propagation import Mask, Prompt, Session, Video
from lamm_pipeline.tracking.masklets.sam2_features import WindowFeatures

FEATURE_BYTES = 2 << 30
"""Most memory for the features of a window's frames: at 1024 pixels 16 MiB a frame, 8 MiB on a GPU."""
GPU_SHARE = 0.25
"""Of the GPU's free memory: most for the features of frames, and again for what is remembered of the objects."""
MASK_STRIDE = 4
"""Pixels of the scaled image to one of the network's masks."""


class Sam2Propagator:
    """Follows masks with a SAM2.1 model, which is loaded when the first window is opened; see `Propagator`.

    Args:
        variant: of the model.
        weights: the checkpoint file, its folder, or its id on the Hugging Face hub.
        device: `cpu` (float32) or `cuda` (bfloat16); None means what `LAMM_DEVICE` says.
        image_size: side of the square that images are scaled to, pixels; the released models are trained for 1024.
        feature_bytes: most memory for the features of a window's frames; does not change the result.

    Raises:
        InputError: a package, the weights or the device is missing.
    """

    corrects = False

    def __init__(
        self, variant: Variant, weights: str | None, device: str | None = None, image_size: int = 1024, feature_bytes: int = FEATURE_BYTES
    ) -> None:
        require_packages("sam2", "torch", "torchvision", "sam2")
        self._device = resolve_device(device)
        self._variant = variant
        self._weights = find_weights(variant, weights)
        self._weights_sha256 = sha256_file(self._weights)
        self._image_size = image_size
        self._feature_bytes = feature_bytes
        self._predictor: Any = None

    @property
    def identity(self) -> Mapping[str, Any]:
        """See `Propagator`."""
        return {
            "name": "sam2",
            "model": CHECKPOINTS[self._variant].file.removesuffix(".pt"),
            "package": importlib.metadata.version("sam2"),
            "weights_sha256": self._weights_sha256,
            "dtype": number_format(self._device),
            "image_size": self._image_size,
            "mask_threshold": MASK_THRESHOLD,
        }

    @contextmanager
    def session(self, video: Video, first: int, end: int) -> Iterator[Session]:
        """See `Propagator`.

        Raises:
            InputError: the weights are not those of the variant, or the GPU's memory does not suffice.
        """
        if self._predictor is None:
            self._predictor = self._load()
        window = _Window(self._predictor, video, first, end, self._variant, self._feature_bytes)
        try:
            yield window
        finally:
            window.close()

    def _load(self) -> Any:
        predictor = load_model(self._variant, self._weights, self._image_size, video=True).to(self._device)
        import sam2.sam2_video_predictor

        # Holes are filled by a compiled extension that few have; without it SAM2 leaves them and warns for each object and frame.
        predictor.fill_hole_area = 0
        # A bar for each call would be drawn over the progress of the stage.
        sam2.sam2_video_predictor.tqdm = partial(sam2.sam2_video_predictor.tqdm, disable=True)
        return predictor


class _Window:
    """See `Session`. SAM2 numbers the frames of the window from 0.

    The backward pass over prompts that were followed forward before goes on with the same state, as SAM2 is meant to be used: it looks at
    what it saw of the objects after the prompt's frame, too.
    """

    def __init__(self, predictor: Any, video: Video, first: int, end: int, variant: Variant, feature_bytes: int) -> None:
        self._predictor = predictor
        self._video = video
        self._first = first
        self._frames = end - first
        self._variant = variant
        self._device = predictor.device
        self._reach = max(predictor.max_obj_ptrs_in_encoder, predictor.num_maskmem * predictor.memory_temporal_stride_for_eval)
        self._features = WindowFeatures(predictor, video, first, min(feature_bytes, _free_share(self._device)))
        self._state = _empty_state(self._features, self._frames, self._device, predictor.image_size // MASK_STRIDE)
        self._followed_forward: tuple[int, Mapping[int, Prompt]] | None = None

    def propagate(
        self, start: int, prompts: Mapping[int, Prompt], *, reverse: bool = False, limit: int | None = None
    ) -> Iterator[tuple[int, Mapping[int, Mask]]]:
        """See `Session`. Nothing is found in a frame without an image, and prompts in such a frame find nothing anywhere.

        Raises:
            InputError: the GPU's memory does not suffice.
        """
        local = start - self._first
        self._features.centre = local
        with self._on_the_device(len(prompts)):
            missing = self._features.is_missing(local)
            goes_on = reverse and self._followed_forward is not None and _same(self._followed_forward, (start, prompts))
            if not missing and not goes_on:
                self._prompt(local, prompts)
        if missing:
            yield start, {}
            return
        self._followed_forward = None if reverse else (start, dict(prompts))
        # SAM2 gives back nothing, not even the prompt's frame, when it is to go backward from frame 0.
        backward, most = (False, 0) if reverse and local == 0 else (reverse, limit)
        steps = self._predictor.propagate_in_video(self._state, local, most, backward)
        while True:
            with self._on_the_device(len(prompts)):
                step = next(steps, None)
                if step is None:
                    return
                frame, object_ids, logits = step
                found = {} if self._features.is_missing(frame) else self._masks(object_ids, logits)
                self._forget(frame, local, backward)
            yield self._first + frame, found

    def close(self) -> None:
        """Let go of everything that the window holds."""
        self._predictor.reset_state(self._state)
        self._features.drop()

    def _prompt(self, frame: int, prompts: Mapping[int, Prompt]) -> None:
        import torch

        predictor, state = self._predictor, self._state
        predictor.reset_state(state)
        state["storage_device"] = self._device if self._memories_fit(len(prompts)) else torch.device("cpu")
        size = torch.tensor(self._video.size * 2)
        for object_id, prompt in prompts.items():
            if prompt.mask is not None:
                predictor.add_new_mask(state, frame, object_id, torch.from_numpy(np.ascontiguousarray(prompt.mask)))
            else:
                box = torch.tensor(prompt.box_xyxy, dtype=torch.float32) / size
                predictor.add_new_points_or_box(state, frame, object_id, box=box, normalize_coords=False)

    def _masks(self, object_ids: list[int], logits: Any) -> dict[int, Mask]:
        """Scaled up one object at a time, because all of them as numbers in the video's size take gigabytes."""
        import torch

        width, height = self._video.size
        found = {}
        for object_id, each in zip(object_ids, logits, strict=True):
            scaled = torch.nn.functional.interpolate(each[None], size=(height, width), mode="bilinear", align_corners=False)
            mask = (scaled[0, 0] > MASK_THRESHOLD).cpu().numpy()
            if mask.any():
                found[object_id] = mask
        return found

    def _forget(self, frame: int, start: int, backward: bool) -> None:
        """Drop what is out of the predictor's reach from here on, except near the start, where a backward pass looks again."""
        stale = {frame} if self._features.is_missing(frame) else set()
        behind = frame + self._reach + 1 if backward else frame - self._reach - 1
        if abs(behind - start) > self._reach:
            stale.add(behind)
        for outputs in self._state["output_dict_per_obj"].values():
            for each in stale:
                outputs["non_cond_frame_outputs"].pop(each, None)

    def _memories_fit(self, objects: int) -> bool:
        """Whether what is remembered of the objects may stay on the device."""
        side = self._predictor.image_size
        memory = 2 * self._predictor.mem_dim * (side // self._predictor.backbone_stride) ** 2
        logits = 4 * (side // MASK_STRIDE) ** 2
        return bool(objects * 2 * self._reach * (memory + logits) <= _free_share(self._device))

    @contextmanager
    def _on_the_device(self, objects: int) -> Iterator[None]:
        import torch

        try:
            with inference(self._device.type):
                yield
        except torch.cuda.OutOfMemoryError as error:
            followed = f"{objects} object{'s' * (objects > 1)} through a window of {self._frames} frames"
            raise InputError(
                f"The GPU's memory does not suffice for SAM2 {self._variant.value!r} to follow {followed}; choose a shorter `window` or a "
                "smaller `variant`."
            ) from error


def _empty_state(features: WindowFeatures, frames: int, device: Any, mask_size: int) -> dict[str, Any]:
    """What `init_state` makes, without frames. The video has the size of the network's masks, so that they come back as they are."""
    return {
        "images": (),
        "num_frames": frames,
        "offload_video_to_cpu": False,
        "offload_state_to_cpu": False,
        "video_height": mask_size,
        "video_width": mask_size,
        "device": device,
        "storage_device": device,
        "point_inputs_per_obj": {},
        "mask_inputs_per_obj": {},
        "cached_features": features,
        "constants": {},
        "obj_id_to_idx": OrderedDict(),
        "obj_idx_to_id": OrderedDict(),
        "obj_ids": [],
        "output_dict_per_obj": {},
        "temp_output_dict_per_obj": {},
        "frames_tracked_per_obj": {},
    }


def _same(one: tuple[int, Mapping[int, Prompt]], other: tuple[int, Mapping[int, Prompt]]) -> bool:
    (start, prompts), (other_start, other_prompts) = one, other
    return (
        start == other_start
        and list(prompts) == list(other_prompts)
        and all(
            _equal(mine.mask, theirs.mask) and _equal(mine.box_xyxy, theirs.box_xyxy)
            for mine, theirs in zip(prompts.values(), other_prompts.values(), strict=True)
        )
    )


def _equal(one: NDArray[Any] | None, other: NDArray[Any] | None) -> bool:
    return one is other or (one is not None and other is not None and np.array_equal(one, other))


def _free_share(device: Any) -> int:
    """Bytes that one kind of thing may take on the device; on the CPU that is not limited here."""
    import torch

    return int(GPU_SHARE * torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else 1 << 62
