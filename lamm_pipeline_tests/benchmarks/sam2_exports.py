"""Synthetic SAM2 export ZIPs of any length, for benchmarks: images full of noise, objects that move, masks as COCO's runs."""

import json
import zipfile
from collections.abc import Container
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lamm_pipeline.geometry import rle

LABELS = ("person", "car", "bicycle", "truck", "bus")
NOISES = 64  # pictures; every frame has one of them with its index written on it
JPEG_QUALITY = 80


def write_export(
    path: Path,
    *,
    frames: int,
    objects: int = 5,
    width: int = 640,
    height: int = 480,
    noise: float = 17.0,
    first: int = 0,
    video: str | None = None,
    empty: Container[int] = (),
) -> int:
    """Write an export and return its bytes; 640x480 with the default noise gives JPEGs of about 90 kB.

    Args:
        path: of the ZIP.
        frames: number of frames, from frame `first` on.
        objects: in each frame.
        width: pixels.
        height: pixels.
        noise: standard deviation, grey levels.
        first: index of the first frame.
        video: file name of the video, by default the ZIP's.
        empty: frames without objects.
    """
    rng = np.random.default_rng(6)
    pictures = [_picture(rng, width, height, noise) for _ in range(NOISES)]
    entries: list[dict[str, Any]] = []
    with zipfile.ZipFile(path, "w") as archive:
        for index in range(first, first + frames):
            image = pictures[index % NOISES].copy()
            cv2.putText(image, f"{index:06d}", (index % (width // 2), height // 2), cv2.FONT_HERSHEY_SIMPLEX, 2.0, (255, 255, 255), 6)
            encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()
            archive.writestr(f"images/frame_{index:06d}.jpg", encoded)
            listed = [] if index in empty else [_object(index, number, width, height) for number in range(objects)]
            entries.append({"frame_index": index, "timestamp_sec": round(index / 30, 3), "objects": listed})
        total = first + frames
        facts = {
            "filename": video or f"{path.stem}.mp4",
            "width": width,
            "height": height,
            "total_frames": total,
            "duration_sec": total / 30,
        }
        indices = list(range(first, total))
        config = {"target_fps": 30, "total_exported_frames": frames, "frame_indices": indices, "exporter_version": "1.0.0"}
        document = {"video": {**facts, "source_fps": 30}, "export_config": config, "annotations": entries}
        archive.writestr("annotations.json", json.dumps(document))
        told = {"export_info": {"format_version": "1.0", "exporter": "benchmark"}, "video": {**facts, "fps": 30}}
        archive.writestr("metadata.json", json.dumps(told))
    return path.stat().st_size


def _picture(rng: np.random.Generator, width: int, height: int, noise: float) -> Any:
    smooth = cv2.resize(rng.integers(40, 216, (6, 8, 3), np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(smooth + rng.normal(0, noise, (height, width, 3)), 0, 255).astype(np.uint8)


def _object(frame: int, number: int, width: int, height: int) -> dict[str, Any]:
    """An ellipse that moves from frame to frame."""
    mask = np.zeros((height, width), np.uint8)
    centre = ((frame * (number + 3) + 97 * number) % width, (frame + 83 * number) % height)
    cv2.ellipse(mask, centre, (width // 12 + 5 * number, height // 8), 10.0 * number, 0, 360, 1, -1)
    x, y, columns, rows = _box(mask)
    runs = rle.encode(mask)
    return {
        "object_id": number + 1,
        "label": LABELS[number % len(LABELS)],
        "mask_rle": runs,
        "bbox": [x, y, columns, rows],
        "area": rle.area(runs),
        "confidence": round(0.5 + (frame * 7 + number * 13) % 50 / 100, 2),
    }


def _box(mask: Any) -> tuple[int, int, int, int]:
    x, y, columns, rows = cv2.boundingRect(mask)
    return int(x), int(y), int(columns), int(rows)
