"""LLaVA's instruction format.

    llava/manifest.json                    what it is, its files, and every sample's id
    llava/train.jsonl                      a line a frame: id, image, conversations, masks, bounding_boxes
    llava/images/train/000000.jpg          left image (hard link); `image` is relative to the folder `llava`

`id` is the frame's id. `conversations` are turns of `human` and `gpt`; the first question begins with `<image>`. Every frame has at least
one, frames without objects too. `masks` are COCO's compressed runs (null where an object has none) and `bounding_boxes` x, y, width and
height in pixels, both in the order of the frame's annotations; the answers count masks from 1 in it.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lamm_pipeline.datasets.formats.files import Export, ExportSummary, export_frames, image_path, place
from lamm_pipeline.datasets.formats.instructions import ask, box_xywh, conversation
from lamm_pipeline.datasets.splits.split_frames import SPLITS
from lamm_pipeline.datasets.splits.split_table import SplitSample
from lamm_pipeline.errors import InputError
from lamm_pipeline.storage import json_array

FOLDER = "llava"
MANIFEST_FILE = "manifest.json"
FEATURES = {
    "id": "id of the frame",
    "image": "path of the image, relative to this folder",
    "conversations": "list of {from: human or gpt, value: text}; the first question begins with <image>",
    "masks": "list of COCO RLE {size: [rows, columns], counts: text}, null where an object has none",
    "bounding_boxes": "list of [x, y, width, height] in pixels",
}


def write_llava(export: Export) -> ExportSummary:
    """Write the frames of a dataset version in LLaVA's format."""
    draft, manifest = export.draft, export.manifest
    root, settings = draft.directory / FOLDER, manifest.settings
    by_id = {known.id: known for known in export.classes.all}
    lines = {split: draft.log(f"{split}.jsonl") for split in SPLITS}

    def write(item: SplitSample) -> Counter[str]:
        counts = Counter[str]([place(image_path(item.sample), root / _image_name(item))])
        counts["without_mask"] = sum(each.mask_rle is None for each in item.sample.annotations)
        return counts

    def record(_: int, item: SplitSample) -> None:
        for each in item.sample.annotations:
            export.classes.of(each)
        turns = ask(item.sample, by_id, settings.conversation_turns, with_3d=settings.include_3d_boxes)
        lines[item.split].append(
            {
                "id": item.sample.frame_id,
                "image": _image_name(item),
                "conversations": conversation(turns),
                "masks": [None if each.mask_rle is None else dict(each.mask_rle) for each in item.sample.annotations],
                "bounding_boxes": [box_xywh(each) for each in item.sample.annotations],
            }
        )

    summary = export_frames(export, write, record)
    root.mkdir(parents=True, exist_ok=True)
    written = {split: f"{split}.jsonl" for split in SPLITS if len(lines[split])}
    for split, name in written.items():
        with (root / name).open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines[split])
    head = {
        "dataset_name": manifest.title or manifest.name,
        "version": manifest.key,
        "format": FOLDER,
        "total_samples": sum(summary.frames.values()),
        "dataset_files": written,
        "description": manifest.description,
        "features": FEATURES,
    }
    listed = ({"id": line["id"], "split": split} for split in written for line in lines[split])
    json_array.write(root / MANIFEST_FILE, head, "samples", listed)
    return summary


def written_frames(folder: Path, split: str) -> Iterator[tuple[str, int]]:
    """Stream frame id and number of objects of every line in a split of a written export; none where the split was not written.

    Args:
        folder: the export, `llava`.
        split: the split.

    Raises:
        InputError: a line is damaged, or an image is missing.
    """
    path = folder / f"{split}.jsonl"
    if not path.is_file():
        return
    with path.open(encoding="utf-8") as file:
        for number, text in enumerate(file, start=1):
            line = _parsed(text, path, number)
            if not (folder / line["image"]).is_file():
                raise InputError(f"{folder / line['image']} is missing, although {path.name} lists it. Materialize llava_dataset again.")
            yield line["id"], len(line["masks"])


def _parsed(text: str, path: Path, number: int) -> Mapping[str, Any]:
    try:
        line: dict[str, Any] = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"Line {number} of {path} is damaged ({error}). Materialize llava_dataset again.") from error
    return line


def _image_name(item: SplitSample) -> str:
    return f"images/{item.split}/{item.output_index:06d}{image_path(item.sample).suffix}"
