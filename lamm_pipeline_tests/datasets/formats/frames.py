"""Annotated frames as formats get them, with nothing behind them but image files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lamm_pipeline.datasets.classes import VersionClasses
from lamm_pipeline.datasets.settings import DatasetSettings
from lamm_pipeline.datasets.splits.split_table import SplitSample
from lamm_pipeline.datasets.versions import ImportInputs, SourceFile, VersionManifest
from lamm_pipeline.geometry import rle
from lamm_pipeline.geometry.box_3d import Box3D
from lamm_pipeline.ontology.ontology import load_ontology
from lamm_pipeline.sample_table import Annotation, PlacedBox, Sample

WIDTH, HEIGHT = 64, 48
ONTOLOGY = load_ontology()
CLASSES = VersionClasses(ONTOLOGY.classes)


def annotation(frame_id: str, n: int, class_id: str, box_xyxy: Sequence[float], z: float | None = None, **values: Any) -> Annotation:
    """One object; with a depth it has a 3D box whose middle lies straight ahead."""
    x1, y1, x2, y2 = box_xyxy
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[int(y1) : int(y2) + 1, int(x1) : int(x2) + 1] = True
    placed = None if z is None else PlacedBox(Box3D(0.0, 0.75, z, 4.0, 1.8, 1.5, 0.3), 0.1, 0.0, 0, "frame")
    given = {"mask_rle": rle.encode(mask), "area": int(mask.sum()), "box_3d": placed} | values
    return Annotation(f"{frame_id}:{n}", class_id, (x1, y1, x2, y2), **given)


def frame(folder: Path, index: int, annotations: Sequence[Annotation] = (), state: str | None = None, recording: str = "drive") -> Sample:
    """A frame with an image of its own colour."""
    name = f"frames/{index:06d}.jpg"
    path = folder / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = np.full((HEIGHT, WIDTH, 3), (7 * index % 256, 100, 200), np.uint8)
        path.write_bytes(cv2.imencode(".jpg", picture)[1].tobytes())
    found = state or ("kept" if annotations else "unlabelled")
    frame_id = f"{recording}:{index:06d}"
    return Sample(frame_id, recording, index, 1000 * index, WIDTH, HEIGHT, "a/b/c/d", folder, name, found, tuple(annotations))


def street(folder: Path, count: int = 20) -> list[SplitSample]:
    """Frames of all kinds in three splits: objects with and without masks, tracks, scores and 3D boxes, negatives of both kinds."""
    items, numbers = [], dict.fromkeys(("train", "val", "test"), 0)
    for index in range(count):
        frame_id = f"drive:{index:06d}"
        kinds = [
            annotation(frame_id, 0, "car", (1.25, 2, 20, 15), 5.0 + index, score=0.5, track_id=3, track_length=2),
            annotation(frame_id, 1, "person", (40, 10, 50.5, 40), 12.0),
            annotation(frame_id, 2, "car", (30, 2, 44, 15), 30.0, mask_rle=None, mask_problem="given at another size"),
            annotation(frame_id, 3, "sign", (2, 30, 9, 38)),
        ]
        split = ("train", "train", "val", "train", "test")[index % 5]
        chosen = kinds[: index % 5] if index % 7 else kinds
        items.append(SplitSample(frame(folder, index, chosen, "reviewed_empty" if index == 5 else None), split, numbers[split]))
        numbers[split] += 1
    return items


def manifest(**settings: Any) -> VersionManifest:
    """A version of one import."""
    return VersionManifest(
        name="drives",
        number=3,
        title="Drives: day | night",
        description="Cars and people.",
        created_at="2026-01-02T03:04:05+00:00",
        created_by="ada",
        ontology_digest=ONTOLOGY.digest,
        recordings=(),
        imports=(
            ImportInputs(key="zip", recording="drive", artifact="a1", source=SourceFile(path="/home/ada/in.zip", digest="ab" * 32, size=9)),
        ),
        settings=DatasetSettings.model_validate(settings),
    )
