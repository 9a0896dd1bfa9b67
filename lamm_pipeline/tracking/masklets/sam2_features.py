"""The features of a window's frames for SAM2's video predictor, each read, scaled and put through the backbone when it is asked for."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.segmentation.torch_device import inference
from lamm_pipeline.tracking.masklets.propagation import Video

# SAM2's loader has them as default arguments.
CHANNEL_MEAN = (0.485, 0.456, 0.406)
CHANNEL_STD = (0.229, 0.224, 0.225)


class WindowFeatures:
    """What the backbone makes of a window's frames. It stands where SAM2 keeps those of the last frame, and always has what is asked for.

    Kept, besides the last, are the features of the frames next to `centre`, as many as the budget allows: passes start there, whether
    they are short or go through the whole window, where keeping the frames used last would keep none until they are asked for again.
    """

    def __init__(self, predictor: Any, video: Video, first: int, budget_bytes: int) -> None:
        self.centre = 0
        self._predictor = predictor
        self._video = video
        self._first = first
        self._budget_bytes = budget_bytes
        self._kept: dict[int, tuple[Any, dict[str, Any]]] = {}
        self._last: tuple[int, tuple[Any, dict[str, Any]]] | None = None
        self._missing: set[int] = set()
        self._positions: list[Any] = []

    def get(self, frame: int, _: object = None) -> tuple[Any, dict[str, Any]]:
        """As SAM2 caches them: the image, of which only a stand-in is kept, since nobody reads it, and the output of the backbone."""
        if self._last is None or self._last[0] != frame:
            found = self._kept.get(frame)
            if found is None:
                found = self._kept[frame] = self._compute(frame)
            self._last = frame, found
            size = sum(each.nbytes for each in found[1]["backbone_fpn"])
            if len(self._kept) > max(1, self._budget_bytes // size):
                del self._kept[max(self._kept, key=lambda kept: abs(kept - self.centre))]
        return self._last[1]

    def is_missing(self, frame: int) -> bool:
        """Whether the frame has no image."""
        self.get(frame)
        return frame in self._missing

    def drop(self) -> None:
        """Keep nothing."""
        self._kept.clear()
        self._last = None

    def _compute(self, frame: int) -> tuple[Any, dict[str, Any]]:
        import torch

        image = self._video.image(self._first + frame)
        if image is None:
            self._missing.add(frame)
            size = self._predictor.image_size
            pixels = torch.zeros(3, size, size)
        else:
            pixels = normalised(image, self._predictor.image_size)
        device = self._predictor.device
        with inference(device.type):
            found = self._predictor.forward_image(pixels.to(device)[None])
        # Positions are five times as large as the rest, and the same in every frame.
        self._positions = self._positions or found["vision_pos_enc"]
        return torch.zeros(1, 1, 1, 1), {"backbone_fpn": found["backbone_fpn"], "vision_pos_enc": self._positions}


def normalised(image_bgr: NDArray[np.uint8], image_size: int) -> Any:
    """`(3, S, S)` float32 of a frame `(H, W, 3)`, exactly as SAM2's own loader makes it of a file."""
    import torch
    from PIL import Image  # noqa: PLC0415 - of the extra

    scaled = Image.fromarray(np.ascontiguousarray(image_bgr[:, :, ::-1])).resize((image_size, image_size))
    pixels = torch.from_numpy(np.asarray(scaled) / 255.0).permute(2, 0, 1).float()
    mean, std = (torch.tensor(values)[:, None, None] for values in (CHANNEL_MEAN, CHANNEL_STD))
    return ((pixels - mean) / std).contiguous()
