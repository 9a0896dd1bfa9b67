"""Preparing training data from an annotation export, every image and mask decoded, against datumaro and against the floor.

The floor reads images and annotations from the ZIP, decodes every image (to colours) and every mask on two threads and
writes the same bytes. datumaro imports the same frames from a COCO folder and exports them to COCO with their images; it neither validates
nor splits, nor decodes an image. Ours is the command that users type, its start included.
"""

import json
import os
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lamm_pipeline.geometry import rle
from lamm_pipeline.streaming import map_ordered
from lamm_pipeline_tests.benchmarks import prepare_worker
from lamm_pipeline_tests.benchmarks.harness import Means, Row, emptied, take_turns
from lamm_pipeline_tests.benchmarks.house import lamm
from lamm_pipeline_tests.benchmarks.sam2_exports import write_export

FRAMES, MORE_FRAMES, OBJECTS = 10_000, 30_000, 5
FLOOR, PEER, LIMIT_S = 3.0, 0.8, 300.0
PEAK_MB, GROWTH = 1000.0, 1.1


def run(means: Means) -> list[Row]:
    frames, more, rounds = (40, 80, 1) if means.tiny else (FRAMES, MORE_FRAMES, 3)
    archive = _export(means.cache, frames)
    peaks: list[float] = []
    variants: dict[str, Callable[[], object]] = {
        "ours": lambda: peaks.append(_prepare(means.folder, archive)),
        "floor": lambda: _floor(archive, means.folder / "floor"),
    }
    if means.peers is not None:
        coco = _as_coco(archive, emptied(means.folder / "coco"))
        variants["peer"] = lambda: _peer(means.peers, coco, means.folder / "peer")

    def empty() -> None:
        for name in ("root", "floor", "peer"):
            emptied(means.folder / name)

    took = take_turns(variants, rounds, before=empty)
    seconds = {name: turns.median.wall for name, turns in took.items()}
    what = f"seconds, {frames:,} frames with {OBJECTS} objects each"
    rows = [
        Row(what, seconds["ours"], seconds["floor"], at_most=FLOOR, note="reference: read, decode images and masks, write the same bytes"),
        Row(what, seconds["ours"], LIMIT_S, at_most=1.0, note="reference: limit"),
        Row(f"peak MB, {frames:,} frames", peaks[-1] / 1e6, PEAK_MB, at_most=1.0, note="reference: limit"),
    ]
    if "peer" in seconds:
        note = "reference: datumaro's import and COCO export alone"
        rows.insert(1, Row(what, seconds["ours"], seconds["peer"], at_most=PEER, note=note))
    emptied(means.folder / "coco")
    empty()
    larger = _export(means.cache, more)
    longer = take_turns({"ours": lambda: peaks.append(_prepare(means.folder, larger))}, 1)["ours"].median.wall
    rows += [
        Row(f"seconds for each frame, {more:,} frames", longer / more, seconds["ours"] / frames, note=f"reference: {frames:,} frames"),
        Row(f"peak MB, {more:,} frames", peaks[-1] / 1e6, peaks[0] / 1e6, at_most=GROWTH, note=f"reference: {frames:,} frames"),
    ]
    return rows


def _export(cache: Path, frames: int) -> Path:
    path = cache / f"export-{frames}.zip"
    if not path.exists():
        partial = path.with_suffix(".partial")
        write_export(partial, frames=frames, objects=OBJECTS)
        partial.rename(path)
    return path


def _prepare(folder: Path, archive: Path) -> float:
    """Peak bytes of the command."""
    facts = lamm(folder / "prepare.json", "prepare", archive, "--name", "street", "--root", folder / "root")
    return facts["peak_bytes"]


def _floor(archive: Path, folder: Path) -> None:
    folder.mkdir()

    def decode(entry: tuple[str, bytes, list[dict[str, Any]]]) -> None:
        assert cv2.imdecode(np.frombuffer(entry[1], np.uint8), cv2.IMREAD_COLOR) is not None
        for mask in rle.decode_all(entry[2]):
            assert mask.any()

    with zipfile.ZipFile(archive) as file:
        annotations = file.read("annotations.json")
        (folder / "annotations.json").write_bytes(annotations)
        frames = json.loads(annotations)["annotations"]
        names = [name for name in file.namelist() if name.endswith(".jpg")]
        masks = ([each["mask_rle"] for each in frame["objects"]] for frame in frames)
        entries = ((name, file.read(name), each) for name, each in zip(names, masks, strict=True))
        for (name, data, _), _ in map_ordered(decode, entries):
            (folder / Path(name).name).write_bytes(data)


def _as_coco(archive: Path, folder: Path) -> Path:
    """The same frames as datumaro reads them."""
    (folder / "images/default").mkdir(parents=True)
    (folder / "annotations").mkdir()
    with zipfile.ZipFile(archive) as file:
        document = json.loads(file.read("annotations.json"))
        for name in file.namelist():
            if name.endswith(".jpg"):
                (folder / "images/default" / Path(name).name).write_bytes(file.read(name))
    labels = sorted({each["label"] for entry in document["annotations"] for each in entry["objects"]})
    size = {"width": document["video"]["width"], "height": document["video"]["height"]}
    images = [
        {"id": n + 1, "file_name": f"frame_{entry['frame_index']:06d}.jpg", **size} for n, entry in enumerate(document["annotations"])
    ]
    listed = ((n + 1, each) for n, entry in enumerate(document["annotations"]) for each in entry["objects"])
    annotations = [
        {
            "id": number,
            "image_id": image,
            "category_id": labels.index(each["label"]) + 1,
            "bbox": each["bbox"],
            "area": each["area"],
            "segmentation": each["mask_rle"],
            "iscrowd": 0,
        }
        for number, (image, each) in enumerate(listed, start=1)
    ]
    categories = [{"id": n + 1, "name": label} for n, label in enumerate(labels)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations/instances_default.json").write_text(json.dumps(content))
    return folder


def _peer(python: Path | None, coco: Path, target: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    subprocess.run([str(python), str(prepare_worker.__file__), str(coco), str(target)], check=True, env=environment, capture_output=True)
