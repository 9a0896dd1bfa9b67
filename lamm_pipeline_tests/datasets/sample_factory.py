"""Frames for tests of what comes after curation, without recordings behind them."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from lamm_pipeline.geometry import rle
from lamm_pipeline.sample_table import Annotation, Sample

WIDTH, HEIGHT = 64, 48
BOX_XYXY = (10.0, 8.0, 30.0, 28.0)
AREA = 400


@cache
def mask_of(box_xyxy: tuple[float, float, float, float] = BOX_XYXY, width: int = WIDTH, height: int = HEIGHT) -> dict[str, Any]:
    """A mask that fills the box."""
    mask = np.zeros((height, width), bool)
    x1, y1, x2, y2 = (int(side) for side in box_xyxy)
    mask[y1:y2, x1:x2] = True
    return rle.encode(mask)


def annotation(frame_id: str, number: int, class_id: str = "car", **changed: Any) -> Annotation:
    """A car in the left half of the image, with whatever differs."""
    return replace(Annotation(f"{frame_id}:{number}", class_id, BOX_XYXY, mask_of(), AREA), **changed)


def sample(index: int, classes: Sequence[str] = ("car",), recording: str = "drive", **changed: Any) -> Sample:
    """A frame with one annotation of each class, with whatever differs."""
    frame_id = f"{recording}:{index:06d}"
    plain = Sample(
        frame_id=frame_id,
        recording=recording,
        frame_index=index,
        timestamp_ns=index * 100_000_000,
        width=WIDTH,
        height=HEIGHT,
        artifact=f"recordings/{recording}/frames/f1",
        folder=Path("missing"),
        image=f"image_left/{index:06d}.png",
        state="kept" if classes else "unlabelled",
        annotations=tuple(annotation(frame_id, number, class_id) for number, class_id in enumerate(classes)),
    )
    return replace(plain, **changed)
