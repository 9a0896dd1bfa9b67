"""COCO instances, one folder a split.

    coco/train/images/000000.png        left image (hard link, or .jpg as imported); `file_name` in the JSON is relative to this folder
    coco/train/masks/000000_0.png       mask of the image's first annotation, 0 and 255 (include_masks)
    coco/train/annotations.json

Segmentations are COCO's compressed RLE, areas are mask areas. An object without a mask has an empty list and the area of its box, as
detectors are trained on; `annToMask` cannot read that, so skip it there. Categories are all classes of the ontology under their fixed ids,
and behind them labels of imports that it lacks, the same in every split. Image and annotation ids count over all splits, so no id stands in
two files. Beyond COCO: `frame_id`, `camera` and `state` of an image (`reviewed_empty`: a person says that nothing is there);
`detection_id`, `score`, `track_id` (identity within the image's `recording`), `box_3d` and `source` of an annotation (`model`, `import`, or
`human` where a person gave it what `corrected` lists: `class`, `box`, `mask`). The files hold one image or annotation a line, so that they
are written and counted as streams.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from lamm_pipeline.datasets.classes import VersionClasses
from lamm_pipeline.datasets.formats.files import Export, ExportSummary, export_frames, image_path, place, write_mask
from lamm_pipeline.datasets.splits.split_frames import SPLITS
from lamm_pipeline.datasets.splits.split_table import SplitSample
from lamm_pipeline.datasets.versions import VersionManifest
from lamm_pipeline.errors import InputError
from lamm_pipeline.sample_table import Annotation

FOLDER = "coco"
ANNOTATIONS_FILE = "annotations.json"
DECIMALS = 3


def write_coco(export: Export) -> ExportSummary:
    """Write the frames of a dataset version as COCO."""
    root, settings, draft, classes = export.draft.directory / FOLDER, export.manifest.settings, export.draft, export.classes
    images = {split: draft.log(f"images.{split}.jsonl") for split in SPLITS}
    annotations = {split: draft.log(f"annotations.{split}.jsonl") for split in SPLITS}

    def write(item: SplitSample) -> Counter[str]:
        folder, name = root / item.split, f"{item.output_index:06d}"
        image = image_path(item.sample)
        counts = Counter[str]([place(image, folder / "images" / f"{name}{image.suffix}")])
        if settings.include_masks:
            counts.update(write_mask(folder / "masks" / f"{name}_{n}.png", each.mask_rle) for n, each in enumerate(item.sample.annotations))
        return counts

    def record(number: int, item: SplitSample) -> None:
        images[item.split].append(_image(number, item))
        written = sum(len(log) for log in annotations.values())
        for n, annotation in enumerate(item.sample.annotations):
            entry = _annotation(written + n + 1, number, annotation, classes.of(annotation).category_id)
            if settings.include_masks and annotation.mask_rle is not None:
                entry["mask_file"] = f"{item.output_index:06d}_{n}.png"
            if settings.include_3d_boxes and annotation.box_3d is not None:
                entry["box_3d"] = asdict(annotation.box_3d.box)
                entry["box_source"] = annotation.box_3d.source
            annotations[item.split].append(entry)

    summary = export_frames(export, write, record)
    for split in SPLITS:
        if len(images[split]):
            _write_annotations(root / split / ANNOTATIONS_FILE, _head(export.manifest, classes, split), images[split], annotations[split])
    return summary


def written_frames(folder: Path, split: str) -> Iterator[str]:
    """Stream the frame ids in a split of a written export, in file order; none where the split was not written.

    Args:
        folder: the export, `coco`.
        split: the split.

    Raises:
        InputError: the file is damaged, or an image is missing.
    """
    for entry in _entries(folder, split, "images"):
        image = folder / split / "images" / str(entry["file_name"])
        if not image.is_file():
            raise InputError(f"{image} is missing, although {ANNOTATIONS_FILE} lists it. Materialize coco_dataset again.")
        yield str(entry["frame_id"])


def written_annotations(folder: Path, split: str) -> Iterator[str]:
    """Stream the detection ids in a split of a written export, in file order; none where the split was not written.

    Args:
        folder: the export, `coco`.
        split: the split.

    Raises:
        InputError: the file is damaged.
    """
    return (str(entry["detection_id"]) for entry in _entries(folder, split, "annotations"))


def _head(manifest: VersionManifest, classes: VersionClasses, split: str) -> dict[str, Any]:
    return {
        "info": {
            "description": manifest.title or manifest.key,
            "version": manifest.key,
            "split": split,
            "year": int(manifest.created_at[:4]),
            "contributor": manifest.created_by,
            "date_created": manifest.created_at,
        },
        "licenses": [],
        "categories": [
            {"id": known.category_id, "name": known.id, "supercategory": known.group, "display_name": known.name} for known in classes.all
        ],
    }


def _image(number: int, item: SplitSample) -> dict[str, Any]:
    sample = item.sample
    return {
        "id": number,
        "file_name": f"{item.output_index:06d}{image_path(sample).suffix}",
        "width": sample.width,
        "height": sample.height,
        "frame_id": sample.frame_id,
        "recording": sample.recording,
        "frame_index": sample.frame_index,
        "timestamp_ns": sample.timestamp_ns,
        "state": sample.state,
        "camera": asdict(sample.camera) if sample.camera is not None else None,
    }


def _annotation(number: int, image_id: int, annotation: Annotation, category_id: int) -> dict[str, Any]:
    x1, y1, x2, y2 = annotation.box_xyxy
    return {
        "id": number,
        "image_id": image_id,
        "category_id": category_id,
        "bbox": [round(value, DECIMALS) for value in (x1, y1, x2 - x1, y2 - y1)],
        "area": annotation.area if annotation.mask_rle is not None else round((x2 - x1) * (y2 - y1), DECIMALS),
        "segmentation": [] if annotation.mask_rle is None else dict(annotation.mask_rle),
        "iscrowd": 0,
        "score": annotation.score,
        "track_id": annotation.track_id,
        "detection_id": annotation.detection_id,
        "source": annotation.source,
        **({"corrected": list(annotation.corrected)} if annotation.corrected else {}),
    }


def _write_annotations(
    path: Path, head: Mapping[str, Any], images: Iterable[Mapping[str, Any]], annotations: Iterable[Mapping[str, Any]]
) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write("{\n")
        file.writelines(f"{_json(key)}: {_json(value)},\n" for key, value in head.items())
        _write_list(file, "images", images)
        file.write(",\n")
        _write_list(file, "annotations", annotations)
        file.write("\n}\n")


def _write_list(file: TextIO, key: str, entries: Iterable[Mapping[str, Any]]) -> None:
    file.write(f"{_json(key)}: [")
    separator = "\n"
    for entry in entries:
        file.write(separator + _json(entry))
        separator = ",\n"
    file.write("\n]")


def _entries(folder: Path, split: str, key: str) -> Iterator[dict[str, Any]]:
    """Stream one list of a file written by `_write_annotations`."""
    path = folder / split / ANNOTATIONS_FILE
    if not path.is_file():
        return
    inside = False
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line == f"{_json(key)}: [\n":
                inside = True
            elif inside and line.startswith("]"):
                return
            elif inside:
                try:
                    yield json.loads(line.rstrip("\n").removesuffix(","))
                except json.JSONDecodeError as error:
                    raise InputError(f"{path} is not as the export writes it ({error}). Materialize coco_dataset again.") from error
    raise InputError(f"{path} ends before its list {key!r} does. Materialize coco_dataset again.")


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
