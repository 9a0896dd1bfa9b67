"""Images and a sequence annotation to make GIFs of."""

from pathlib import Path

import cv2
import numpy as np

from lamm_pipeline.extraction.frame_registry import FrameRegistry
from lamm_pipeline.review.sequence_annotations import SequenceAnnotation, SequenceBox
from lamm_pipeline_tests.segmentation.bright_squares import HEIGHT, WIDTH, frame, registry

FRAMES = [frame(index) for index in range(8)]


def images(folder: Path) -> FrameRegistry:
    """Frame n is grey with a red square at (10 + n, 20)."""
    (folder / "image_left").mkdir(parents=True)
    for each in FRAMES:
        image = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
        image[20:40, 10 + each.svo2_frame_index : 30 + each.svo2_frame_index] = (0, 0, 220)
        cv2.imwrite(str(folder / str(each.image_left)), image)
    return registry(FRAMES)


def sequence(number: int, indices: range = range(8)) -> SequenceAnnotation:
    boxes = tuple(
        SequenceBox(f"drive:{n:06d}", (f"drive:{n:06d}:0",), ((10 + n) / WIDTH, 20 / HEIGHT, (30 + n) / WIDTH, 40 / HEIGHT), 0.9)
        for n in indices
    )
    return SequenceAnnotation(f"drive:s{number:04d}", "car", None, None, boxes)
