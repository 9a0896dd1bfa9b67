"""The asset `lineage`: where every frame of a dataset version came from, and counts taken from the files that were written.

`lineage.json` describes the version, `frames_lineage.parquet` has one row for every frame written, in the version's order.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from lamm_pipeline.datasets.curate import SUMMARY_FILE as SELECTION_SUMMARY
from lamm_pipeline.datasets.curate import CuratedFrame, read_selection
from lamm_pipeline.datasets.formats import coco, huggingface, kitti, llava, sam2_export
from lamm_pipeline.datasets.settings import ExportFormat
from lamm_pipeline.datasets.splits.split_frames import SPLITS
from lamm_pipeline.datasets.splits.split_table import SplitRow, read_splits, read_summary
from lamm_pipeline.datasets.versions import VersionManifest
from lamm_pipeline.errors import InputError
from lamm_pipeline.storage.atomic import write_json
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline.storage.tables import write_table

LINEAGE_FILE = "lineage.json"
FRAMES_FILE = "frames_lineage.parquet"
Entry = TypeVar("Entry")

SCHEMA = pa.schema(
    [
        ("frame_id", pa.string()),
        ("recording", pa.string()),
        ("frame_index", pa.int64()),
        ("split", pa.string()),
        ("output_index", pa.int64()),
        ("state", pa.string()),
        ("annotation_count", pa.int64()),
        ("annotation_ids", pa.list_(pa.string())),
        ("corrected_annotation_ids", pa.list_(pa.string())),
    ]
)


def write_lineage(
    manifest: VersionManifest,
    *,
    selection_folder: Path,
    splits_folder: Path,
    exports: Mapping[ExportFormat, Path],
    draft: Draft,
    source_job_id: str | None = None,
    source_dataset_id: str | None = None,
) -> dict[str, Any]:
    """Check the written exports against the split and write the lineage of a version.

    Args:
        manifest: the version.
        selection_folder: of its artifact `curated_dataset`.
        splits_folder: of its artifact `splits`.
        exports: the written datasets by format: the folders `kitti`, `coco` inside the artifacts.
        draft: gets `lineage.json` and `frames_lineage.parquet`.
        source_job_id: the run or backfill that made the annotations, None when unknown.
        source_dataset_id: the catalog's dataset that the recordings belong to, None when they belong to none or to several.

    Returns:
        The content of `lineage.json`.

    Raises:
        InputError: an export does not hold exactly the frames and annotations of the split.
    """
    if not exports:
        raise InputError(f"Dataset version {manifest.key!r} was written in no format, so it has no lineage. Materialize an export first.")
    selection = json.loads((selection_folder / SELECTION_SUMMARY).read_text(encoding="utf-8"))
    split = read_summary(splits_folder)
    counts = {each: _COUNTERS[each](manifest, folder, selection_folder, splits_folder) for each, folder in sorted(exports.items())}
    written = next(iter(counts.values()))
    planned = {name: (split["splits"][name]["frames"], split["splits"][name]["annotations"]) for name in SPLITS}
    for export_format, found in counts.items():
        if found != planned:
            raise _disagreement(manifest, export_format, f"it has {found}, the split {planned} frames and annotations")
    write_table(draft.directory / FRAMES_FILE, SCHEMA, _frame_rows(selection_folder, splits_folder))
    lineage = {
        "training_dataset_id": split["training_dataset_id"],
        "source_job_id": source_job_id,
        "source_dataset_id": source_dataset_id,
        "curated_dataset_id": selection["curated_dataset_id"],
        "filter_config": selection["filter_config"],
        "split_config": manifest.settings.split.model_dump(mode="json"),
        "format": "both" if set(counts) == {ExportFormat.kitti, ExportFormat.coco} else "+".join(counts),
        "statistics": {
            "total_frames": sum(frames for frames, _ in written.values()),
            "total_annotations": sum(annotations for _, annotations in written.values()),
            "train_frames": written["train"][0],
            "val_frames": written["val"][0],
            "test_frames": written["test"][0],
        },
        "created_at": manifest.created_at,
        "created_by": manifest.created_by,
        "dataset": manifest.key,
        "formats": list(counts),
        "ontology_digest": manifest.ontology_digest,
        "selection": {
            name: selection[name]
            for name in (
                "original",
                "filtered",
                "negative_frames",
                "states",
                "corrected_annotations",
                "dropped_frames",
                "dropped_annotations",
            )
        },
        "split": {
            name: split[name]
            for name in ("strategy_used", "achieved_ratios", "guard_frames_used", "unassigned_frames", "splits", "classes", "notes")
        },
        "recordings": [inputs.model_dump(mode="json") for inputs in manifest.recordings],
        "imports": [inputs.model_dump(mode="json") for inputs in manifest.imports],
        "extra_classes": list(manifest.extra_classes),
    }
    if manifest.hard_cases is not None:
        hard = manifest.hard_cases.model_dump(mode="json", exclude={"frame_ids"})
        lineage["hard_cases"] = {**hard, "frames": len(manifest.hard_cases.frame_ids)}
    write_json(draft.directory / LINEAGE_FILE, lineage)
    return lineage


def _count_kitti(manifest: VersionManifest, folder: Path, selection_folder: Path, splits_folder: Path) -> dict[str, tuple[int, int]]:
    """Frames and annotations by split in a written KITTI dataset, every label file compared with the split."""
    frames, annotations = Counter[str](), Counter[str]()
    for row, _ in _written_rows(selection_folder, splits_folder):
        found = kitti.count_labels(folder, str(row.split), int(row.output_index or 0))
        if found != row.annotation_count:
            raise _disagreement(
                manifest, ExportFormat.kitti, f"{row.split}/{row.output_index:06d} has {found} labels instead of {row.annotation_count}"
            )
        annotations[str(row.split)] += found
    for name in SPLITS:
        frames[name] = kitti.count_images(folder, name)
    return {name: (frames[name], annotations[name]) for name in SPLITS}


def _count_coco(manifest: VersionManifest, folder: Path, selection_folder: Path, splits_folder: Path) -> dict[str, tuple[int, int]]:
    """Frames and annotations by split in a written COCO dataset, every id compared with the split."""
    counts = {}
    for name in SPLITS:
        frame_ids = (row.frame_id for row, _ in _written_rows(selection_folder, splits_folder) if row.split == name)
        rows = (selected for row, selected in _written_rows(selection_folder, splits_folder) if row.split == name)
        detection_ids = chain.from_iterable(selected.kept_detection_ids for selected in rows)
        frames = sum(1 for _ in _equal(manifest, ExportFormat.coco, coco.written_frames(folder, name), frame_ids))
        annotations = sum(1 for _ in _equal(manifest, ExportFormat.coco, coco.written_annotations(folder, name), detection_ids))
        counts[name] = (frames, annotations)
    return counts


def _count_huggingface(manifest: VersionManifest, folder: Path, selection_folder: Path, splits_folder: Path) -> dict[str, tuple[int, int]]:
    """Frames and annotations by split in a written Hugging Face dataset, every id compared with the split."""
    counts = {}
    for name in SPLITS:
        written = huggingface.written_rows(folder, name)
        expected = _ids(selection_folder, splits_folder, name)
        counts[name] = _total(len(ids) for _, ids in _equal(manifest, ExportFormat.huggingface, written, expected))
    return counts


def _count_llava(manifest: VersionManifest, folder: Path, selection_folder: Path, splits_folder: Path) -> dict[str, tuple[int, int]]:
    """Frames and annotations by split in a written LLaVA dataset, every frame compared with the split; annotations have no ids there."""
    counts = {}
    for name in SPLITS:
        written = llava.written_frames(folder, name)
        expected = ((frame_id, len(ids)) for frame_id, ids in _ids(selection_folder, splits_folder, name))
        counts[name] = _total(annotations for _, annotations in _equal(manifest, ExportFormat.llava, written, expected))
    return counts


def _count_sam2(manifest: VersionManifest, folder: Path, selection_folder: Path, splits_folder: Path) -> dict[str, tuple[int, int]]:
    """Frames and annotations by split in written SAM2 exports, every id compared with the split."""
    counts = {}
    for name in SPLITS:
        written = sam2_export.written_rows(folder, name)
        expected = _ids(selection_folder, splits_folder, name)
        counts[name] = _total(len(ids) for _, ids in _equal(manifest, ExportFormat.sam2, written, expected))
    return counts


_COUNTERS = {
    ExportFormat.kitti: _count_kitti,
    ExportFormat.coco: _count_coco,
    ExportFormat.huggingface: _count_huggingface,
    ExportFormat.llava: _count_llava,
    ExportFormat.sam2: _count_sam2,
}


def _equal(manifest: VersionManifest, export_format: ExportFormat, written: Iterable[Entry], expected: Iterable[Entry]) -> Iterator[Entry]:
    """What was written, as long as it is what was expected."""
    for found, wanted in zip_longest(written, expected):
        if found is None or found != wanted:
            raise _disagreement(manifest, export_format, f"it has {found!r} where the split has {wanted!r}")
        yield found


def _total(annotations: Iterable[int]) -> tuple[int, int]:
    """How many frames there are, and how many annotations on all of them."""
    frames = total = 0
    for count in annotations:
        frames += 1
        total += count
    return frames, total


def _ids(selection_folder: Path, splits_folder: Path, split: str) -> Iterator[tuple[str, list[str]]]:
    """Frame id and annotation ids of every frame in a split."""
    for row, selected in _written_rows(selection_folder, splits_folder):
        if row.split == split:
            yield row.frame_id, list(selected.kept_detection_ids)


def _written_rows(selection_folder: Path, splits_folder: Path) -> Iterator[tuple[SplitRow, CuratedFrame]]:
    """Frames that are in a split, with what is selected of them."""
    kept = (row for row in read_selection(selection_folder) if row.kept)
    for selected, row in zip(kept, read_splits(splits_folder), strict=True):
        if row.split is not None:
            yield row, selected


def _frame_rows(selection_folder: Path, splits_folder: Path) -> Iterator[dict[str, Any]]:
    for row, selected in _written_rows(selection_folder, splits_folder):
        yield {name: value for name, value in vars(row).items() if name != "reason"} | {
            "state": selected.state,
            "annotation_ids": list(selected.kept_detection_ids),
            "corrected_annotation_ids": list(selected.corrected_detection_ids),
        }


def _disagreement(manifest: VersionManifest, export_format: ExportFormat, detail: str) -> InputError:
    return InputError(
        f"The {export_format} files of dataset version {manifest.key!r} are not what its split says: {detail}. "
        f"Materialize {export_format}_dataset of this version again."
    )
