"""The embedded detector: SSD MobileNetV2, 300x300, trained on Open Images v4, run on the CPU.

Boxes and classes of one image of any size. Tiling and merging are in `tiles.py`, masks in `depth_masks.py`. Origin and licence of the
weights: `models/NOTICE`.
"""

import hashlib
import threading
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from lamm_pipeline.errors import InputError
from lamm_pipeline.geometry.boxes_2d import nms

MODEL_NAME = "ssd_mobilenetv2_oidv4_fp16"
MODEL_FILE = "object_detection_ssd_mobilenetv2_oidv4_fp16.tflite"
LABELS_FILE = "object_detection_oidv4_labelmap.txt"
MODEL_SHA256 = "d0a5255bf8c4f5a0bc4240741a76c41d5e939f7655078f945f50ab53a9375da6"

INPUT_SIDE = 300
STRIDES = (16, 32, 64, 128, 256, 512)
SMALLEST_SCALE, LARGEST_SCALE = 0.2, 0.95
ASPECT_RATIOS = (1.0, 2.0, 1.0 / 2.0, 3.0, 1.0 / 3.0)
BOX_SCALES = np.array([10.0, 10.0, 5.0, 5.0])
# The network scores people lower than cars: on KITTI's drive 0039, with stereo depth to refuse what has no person's size, a Person of 0.30
# is as often right as a Car of 0.35. Multiplying lets one threshold serve all labels. Footage without depth wants a higher threshold for
# people: on PETS09-S2L1 their recall stays at 0.96 up to a score of 0.5, and precision doubles.
SCORE_GAINS = {"Person": 1.17}


@dataclass(frozen=True)
class LabelledBoxes:
    """What a detector says about one image.

    Attributes:
        boxes_xyxy: `(N, 4)` float64, pixels.
        scores: `(N,)` float64 in 0..1.
        labels: `(N,)` rows of `SsdDetector.labels`.
    """

    boxes_xyxy: NDArray[np.float64]
    scores: NDArray[np.float64]
    labels: NDArray[np.intp]


class SsdDetector:
    """The embedded network. One instance serves many threads: each thread gets an interpreter of its own.

    Attributes:
        labels: text of each class; row 0 is the background.
    """

    def __init__(self) -> None:
        self._weights = _read_weights()
        self.labels = _read_labels()
        self._gains = np.array([SCORE_GAINS.get(label, 1.0) for label in self.labels])
        self._local = threading.local()

    @property
    def weights_sha256(self) -> str:
        """SHA-256 of the weights, hex."""
        return MODEL_SHA256

    def detect(self, image_bgr: NDArray[np.uint8], score_threshold: float, nms_iou: float, labels: NDArray[np.intp]) -> LabelledBoxes:
        """Find objects in one image, seen by the network as a whole.

        Args:
            image_bgr: `(H, W, 3)`; squashed to 300x300.
            score_threshold: smallest score of a box, after `SCORE_GAINS`.
            nms_iou: boxes of one label that overlap more than this are one object.
            labels: rows of `self.labels` to look for.

        Returns:
            Boxes in pixels of `image_bgr`, cut at its border.
        """
        encodings, logits = self._infer(image_bgr)
        scores = np.minimum(self._gains[labels] / (1.0 + np.exp(-logits[:, labels].astype(np.float64))), 1.0)
        anchor_rows, columns = np.nonzero(scores >= score_threshold)
        found_scores, found_labels = scores[anchor_rows, columns], labels[columns]
        height, width = image_bgr.shape[:2]
        boxes = decode_boxes(encodings[anchor_rows].astype(np.float64), anchors()[anchor_rows]) * np.array([width, height, width, height])
        kept = nms(boxes, found_scores, nms_iou, found_labels)
        return LabelledBoxes(boxes[kept], found_scores[kept], found_labels[kept])

    def _infer(self, image_bgr: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        network = self._network
        # Area averaging when shrinking: bilinear sampling of a four times larger image would skip pixels and lose small objects.
        shrinking = min(image_bgr.shape[:2]) > INPUT_SIDE
        small = cv2.resize(image_bgr, (INPUT_SIDE, INPUT_SIDE), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR)
        pixels = cv2.cvtColor(small, cv2.COLOR_BGR2RGB).astype(np.float32)
        network.interpreter.set_tensor(network.input, (pixels / 127.5 - 1.0)[None])
        network.interpreter.invoke()
        return network.interpreter.get_tensor(network.boxes)[0], network.interpreter.get_tensor(network.classes)[0]

    @property
    def _network(self) -> "_Network":
        if not hasattr(self._local, "network"):
            self._local.network = _Network(self._weights)
        network: _Network = self._local.network
        return network


class _Network:
    """An interpreter with its tensor numbers; belongs to one thread."""

    def __init__(self, weights: bytes) -> None:
        # One thread each: frames run in parallel, and sums in a fixed order give the same bytes on every run.
        self.interpreter: Any = Interpreter(model_content=weights, num_threads=1)
        self.interpreter.allocate_tensors()
        outputs = {each["name"]: each["index"] for each in self.interpreter.get_output_details()}
        self.input: int = self.interpreter.get_input_details()[0]["index"]
        self.boxes: int = outputs["raw_outputs/box_encodings"]
        self.classes: int = outputs["raw_outputs/class_predictions"]


@cache
def anchors() -> NDArray[np.float64]:
    """The network's `(1917, 4)` anchors as centre x, centre y, width, height in units of the input image.

    Each cell of each layer has one anchor per aspect ratio and one of ratio 1 between its scale and the next layer's; the first layer has
    only three, the square one small (Liu et al., SSD, 2016, in the form of TensorFlow's `ssd_anchor_generator`).
    """
    steps = len(STRIDES) - 1
    scales = [SMALLEST_SCALE + (LARGEST_SCALE - SMALLEST_SCALE) * layer / steps for layer in range(len(STRIDES))] + [1.0]
    layers = []
    for layer, stride in enumerate(STRIDES):
        scale = scales[layer]
        if layer == 0:
            shapes = [(0.1, 1.0), (scale, 2.0), (scale, 0.5)]
        else:
            shapes = [(scale, ratio) for ratio in ASPECT_RATIOS] + [(float(np.sqrt(scale * scales[layer + 1])), 1.0)]
        sizes = np.array([(size * np.sqrt(ratio), size / np.sqrt(ratio)) for size, ratio in shapes])
        cells = -(-INPUT_SIDE // stride)
        centres = (np.arange(cells) + 0.5) / cells
        rows, columns, kinds = np.meshgrid(centres, centres, np.arange(len(shapes)), indexing="ij")
        layers.append(np.column_stack([columns.ravel(), rows.ravel(), sizes[kinds.ravel()]]))
    table: NDArray[np.float64] = np.concatenate(layers)
    table.flags.writeable = False
    return table


def decode_boxes(encodings: NDArray[np.float64], anchor_boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn the network's offsets into boxes.

    Args:
        encodings: `(N, 4)` offsets y, x, h, w relative to the anchors.
        anchor_boxes: `(N, 4)` rows of `anchors()`.

    Returns:
        `(N, 4)` boxes as x1, y1, x2, y2 in units of the input image, cut to 0..1.
    """
    dy, dx, dh, dw = (encodings / BOX_SCALES).T
    x, y, width, height = anchor_boxes.T
    centre = np.column_stack([x + dx * width, y + dy * height])
    half = np.column_stack([width * np.exp(dw), height * np.exp(dh)]) / 2.0
    boxes: NDArray[np.float64] = np.clip(np.concatenate([centre - half, centre + half], axis=1), 0.0, 1.0)
    return boxes


def _read_weights() -> bytes:
    weights = resources.files(__package__).joinpath("models", MODEL_FILE).read_bytes()
    if hashlib.sha256(weights).hexdigest() != MODEL_SHA256:
        raise InputError(
            f"The detector weights {MODEL_FILE} are damaged (their digest is not the expected one); install lamm_pipeline again."
        )
    return weights


def _read_labels() -> tuple[str, ...]:
    text = resources.files(__package__).joinpath("models", LABELS_FILE).read_text(encoding="utf-8")
    return tuple(line.strip() for line in text.splitlines() if line.strip())
