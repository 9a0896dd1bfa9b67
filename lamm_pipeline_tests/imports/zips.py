"""SAM2 export ZIPs for tests: sound ones, and what is changed in them."""

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lamm_pipeline import sample_table
from lamm_pipeline.geometry import rle
from lamm_pipeline.imports.importing import FILE_NAME, ImportSource, import_export, read_summary
from lamm_pipeline.imports.settings import ImportSettings, ZipLimits
from lamm_pipeline.ontology.ontology import load_ontology
from lamm_pipeline.sample_table import Sample
from lamm_pipeline.storage.draft import Draft

WIDTH, HEIGHT = 40, 30
ONTOLOGY = load_ontology()
REFERENCE = "annotation_exports/drive/annotation_export/0123456789abcdef"


def picture(index: int, suffix: str = ".png", width: int = WIDTH, height: int = HEIGHT) -> bytes:
    """An image, another one for each index."""
    rng = np.random.default_rng(index)
    image = cv2.resize(rng.integers(0, 256, (5, 6, 3), np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)
    return bytes(cv2.imencode(suffix, image)[1].tobytes())


def mask_at(x: int, y: int, columns: int = 8, rows: int = 6) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y : y + rows, x : x + columns] = True
    return mask


def an_object(number: int = 1, label: str | None = "car", x: int = 4, y: int = 5, **other: Any) -> dict[str, Any]:
    values = {
        "object_id": number,
        "label": label,
        "mask_rle": rle.encode(mask_at(x, y)),
        "bbox": [x, y, 8, 6],
        "area": 48,
        "confidence": 0.5 + number / 100,
    }
    return {name: value for name, value in (values | other).items() if value is not ...}


def a_frame(index: int, objects: Sequence[Mapping[str, Any]] | None = None) -> dict[str, Any]:
    listed = [an_object(1, "car", x=4 + index), an_object(2, "person", x=20, y=10)] if objects is None else list(objects)
    return {"frame_index": index, "timestamp_sec": round(index / 10, 3), "objects": listed}


def documents(frames: Sequence[Any], **video: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """annotations.json and metadata.json; `video` changes facts, `...` takes them out."""
    facts = {"filename": "Drive 7.mp4", "width": WIDTH, "height": HEIGHT, "total_frames": 100} | video
    facts = {name: value for name, value in facts.items() if value is not ...}
    annotations = {"video": {**facts, "source_fps": 10.0}, "export_config": {"exporter_version": "1.0.0"}, "annotations": list(frames)}
    return annotations, {"export_info": {"format_version": "1.0", "exporter": "a tool"}, "video": {**facts, "fps": 10.0}}


def members(frames: Sequence[Any] | None = None, *, images: Sequence[int] | None = None, **video: Any) -> dict[str, bytes]:
    """The files of a sound export by name."""
    listed = [a_frame(index) for index in range(3)] if frames is None else frames
    annotations, metadata = documents(listed, **video)
    shown = [each["frame_index"] for each in listed if isinstance(each, dict)] if images is None else images
    found = {f"images/frame_{index:06d}.png": picture(index) for index in shown}
    return {"annotations.json": json.dumps(annotations).encode(), "metadata.json": json.dumps(metadata).encode(), **found}


def write_zip(path: Path, files: Mapping[str | zipfile.ZipInfo, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def run_import(
    path: Path, out: Path, *, limits: ZipLimits | None = None, images: Any = None, workers: int = 1, **settings: Any
) -> dict[str, Any]:
    """Import into a plain folder; returns import.json."""
    source = ImportSource(path, "d" * 64, "drive", REFERENCE, images)
    draft = Draft.open(out)
    try:
        import_export(source, ImportSettings(**settings), limits or ZipLimits(), ONTOLOGY, draft, workers=workers)
    finally:
        draft.close()
    draft.finish()
    return read_summary(out / FILE_NAME)


def rows(out: Path) -> list[Sample]:
    return list(sample_table.read(out / sample_table.FILE_NAME, lambda _: out))
