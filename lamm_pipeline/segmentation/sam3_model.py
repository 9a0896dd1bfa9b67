"""SAM3's image model through transformers, loaded when it is first used: texts in, masks out. torch is imported inside functions only."""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.errors import InputError
from lamm_pipeline.segmentation.depth_masks import MaskCrop, crop_to_mask
from lamm_pipeline.segmentation.memory_guard import MemoryGuard
from lamm_pipeline.segmentation.torch_device import compile_forward, compiler_errors, inference, number_format

MASK_THRESHOLD = 0.5
"""Of the probabilities."""
TEXTS_AT_ONCE = 8


@dataclass(frozen=True)
class Answer:
    """One object that a text describes.

    Attributes:
        text: which of the texts, counted from 0.
        score: 0..1.
        mask: its pixels; the crop is its box.
    """

    text: int
    score: float
    mask: MaskCrop


class Sam3Model:
    """A SAM3 model on one device, with the texts it is asked about. Safe to use from several threads, works for one at a time.

    The image is encoded once for all texts, and the texts once for all images.

    Args:
        folder: of the weights.
        texts: short noun phrases such as `traffic cone`, at least one.
        threshold: smallest score of an answer.
        device: `cpu` (float32) or `cuda` (bfloat16).
        compiled: whether the image encoder is translated by torch.compile.
        memory_share: of the GPU's memory that may be taken.
    """

    def __init__(
        self, folder: Path, texts: Sequence[str], threshold: float, device: str, *, compiled: bool = False, memory_share: float = 0.9
    ) -> None:
        self._folder = folder
        self._texts = list(texts)
        self._threshold = threshold
        self._device = device
        self._compiled = compiled
        self._lock = threading.Lock()
        self._model: Any = None
        self._processor: Any = None
        self._features: Any = None
        self._attention: Any = None
        too_big = "The GPU's memory does not suffice for SAM3 on one image; use the back end 'sam2', or a larger `gpu_memory_share`."
        self._image_guard = MemoryGuard(device, memory_share, too_big)
        self._text_guard = MemoryGuard(device, memory_share, too_big)

    @property
    def dtype(self) -> str:
        """Number format of the computation."""
        return number_format(self._device)

    def find(self, images_rgb: Sequence[NDArray[np.uint8]]) -> list[list[Answer]]:
        """Find what the texts describe, all images at once; in smaller batches where the GPU's memory does not suffice.

        Args:
            images_rgb: `(H, W, 3)` each.

        Returns:
            For each image the answers above the threshold that have pixels, text by text.

        Raises:
            InputError: the weights are damaged or incomplete, a text is too long, or the GPU's memory does not suffice for one image.
        """

        def work(at_once: int) -> list[list[Answer]]:
            found = []
            for start in range(0, len(images_rgb), at_once):
                images = images_rgb[start : start + at_once]
                encoded = self._encode(images)
                found += [self._ask(encoded, number, image.shape[:2]) for number, image in enumerate(images)]
            return found

        if not images_rgb:
            return []
        with self._ready():
            return self._image_guard.fit(work, len(images_rgb))

    @contextlib.contextmanager
    def _ready(self) -> Iterator[None]:
        """Inside, the network is loaded, has read the texts, and nobody else uses it."""
        with self._lock, compiler_errors(), inference(self._device):
            if self._model is None:
                self._image_guard.limit()
                processor, model = self._load()
                self._features, self._attention = self._read_texts(processor, model)
                self._processor, self._model = processor, model
            yield

    def _load(self) -> tuple[Any, Any]:
        from safetensors import SafetensorError  # noqa: PLC0415 - of the extra
        from transformers import Sam3Model as Network
        from transformers import Sam3Processor
        from transformers.utils import logging

        logging.disable_progress_bar()
        try:
            model, report = Network.from_pretrained(self._folder, local_files_only=True, output_loading_info=True)
            processor = Sam3Processor.from_pretrained(self._folder, local_files_only=True)
        except (SafetensorError, RuntimeError, ValueError, TypeError, KeyError) as error:
            raise InputError(f"The SAM3 model in {self._folder} cannot be loaded; fetch it again. {error}") from error
        if report["missing_keys"]:
            raise InputError(
                f"The weights in {self._folder} lack {len(report['missing_keys'])} of the tensors that its config.json asks for, such as "
                f"{min(report['missing_keys'])}; fetch them again."
            )
        model = model.to(self._device).eval()
        if self._compiled:
            compile_forward(model.vision_encoder)
        return processor, model

    def _read_texts(self, processor: Any, model: Any) -> tuple[Any, Any]:
        """Features `(texts, tokens, channels)` and attention mask `(texts, tokens)` of all texts."""
        most = int(model.config.text_config.max_position_embeddings)
        for text in self._texts:
            tokens = len(processor.tokenizer(text)["input_ids"])
            if tokens > most:
                raise InputError(f"The prompt {text!r} of the ontology has {tokens} tokens, SAM3 reads {most} at most; shorten it.")
        read = processor(text=self._texts, return_tensors="pt").to(self._device)
        features = model.get_text_features(input_ids=read["input_ids"], attention_mask=read["attention_mask"]).pooler_output
        return features, read["attention_mask"]

    def _encode(self, images_rgb: Sequence[NDArray[np.uint8]]) -> Any:
        pixels = self._processor(images=list(images_rgb), return_tensors="pt")["pixel_values"]
        return self._model.get_vision_features(pixel_values=pixels.to(self._device))

    def _ask(self, encoded: Any, number: int, shape: tuple[int, ...]) -> list[Answer]:
        """The answers of all texts for one of the encoded images, whose height and width are `shape`."""

        def work(at_once: int) -> list[Answer]:
            starts = range(0, len(self._texts), at_once)
            return [answer for start in starts for answer in self._ask_some(encoded, number, shape, start, at_once)]

        return self._text_guard.fit(work, min(TEXTS_AT_ONCE, len(self._texts)))

    def _ask_some(self, encoded: Any, number: int, shape: tuple[int, ...], start: int, count: int) -> list[Answer]:
        from transformers.modeling_outputs import BaseModelOutputWithPooling

        features = self._features[start : start + count]
        same_image = {
            key: tuple(level[number : number + 1].expand(len(features), -1, -1, -1) for level in encoded[key])
            for key in ("fpn_hidden_states", "fpn_position_encoding")
        }
        outputs = self._model(
            vision_embeds=type(encoded)(**same_image),
            text_embeds=BaseModelOutputWithPooling(pooler_output=features),
            attention_mask=self._attention[start : start + count],
        )
        for key in ("pred_masks", "pred_boxes", "pred_logits", "presence_logits"):
            outputs[key] = outputs[key].float()
        results = self._processor.post_process_instance_segmentation(
            outputs, threshold=self._threshold, mask_threshold=MASK_THRESHOLD, target_sizes=[shape] * len(features)
        )
        answers = []
        for text, result in enumerate(results, start=start):
            for score, mask in zip(result["scores"].tolist(), result["masks"], strict=True):
                crop = crop_to_mask(mask.cpu().numpy().astype(bool))
                if crop is not None:
                    answers.append(Answer(text, score, crop))
        return answers
