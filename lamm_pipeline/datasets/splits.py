"""The asset `splits`: which selected frame is in train, val or test, under which number exports write it, and why some are in none.

`splits.parquet` has one row for every selected frame in the version's order, `splits.json` the settings, the ratios reached, and counts by
split, recording and class.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import Any

import pyarrow as pa

from lamm_pipeline import sample_table
from lamm_pipeline.datasets.curate import SUMMARY_FILE as SELECTION_SUMMARY
from lamm_pipeline.datasets.split_plans import SPLITS, SplitPlan, plan_splits
from lamm_pipeline.datasets.versions import VersionManifest, content_id
from lamm_pipeline.errors import InputError
from lamm_pipeline.sample_table import ArtifactFolder, Sample
from lamm_pipeline.storage.atomic import write_json
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline.storage.tables import read_table, write_table

SPLITS_FILE = "splits.parquet"
SUMMARY_FILE = "splits.json"
GUARD_GAP = "guard_gap"

SCHEMA = pa.schema(
    [
        ("frame_id", pa.string()),
        ("recording", pa.string()),
        ("frame_index", pa.int64()),
        ("split", pa.string()),
        ("output_index", pa.int64()),
        ("annotation_count", pa.int64()),
        ("reason", pa.string()),
    ]
)


@dataclass(frozen=True)
class SplitRow:
    """One selected frame: a row of `splits.parquet`.

    Attributes:
        split: None when the frame is in none, for `reason`.
        output_index: number of the frame within its split, from 0; the name of its files in exports.
    """

    frame_id: str
    recording: str
    frame_index: int
    split: str | None
    output_index: int | None
    annotation_count: int
    reason: str | None


@dataclass(frozen=True)
class SplitSample:
    """A frame as exports write it."""

    sample: Sample
    split: str
    output_index: int


@dataclass(frozen=True)
class Leak:
    """Frames of one recording that are too close to each other to be in two splits.

    Attributes:
        recording: whose frames.
        splits: the two splits.
        frame_ids: the first such pair.
        frames_between: selected frames between the two that are in no split.
        required: how many there must be; None where the two splits must not share the recording at all.
    """

    recording: str
    splits: tuple[str, str]
    frame_ids: tuple[str, str]
    frames_between: int
    required: int | None


@dataclass
class _Counts:
    frames: int = 0
    annotations: int = 0
    negative_frames: int = 0
    recordings: Counter[str] = field(default_factory=Counter)
    classes: Counter[str] = field(default_factory=Counter)


def split_version(manifest: VersionManifest, curated_folder: Path, draft: Draft) -> dict[str, Any]:
    """Divide the selected frames of a version and write the result.

    Args:
        manifest: the version.
        curated_folder: of its artifact `curated_dataset`.
        draft: gets `splits.parquet` and `splits.json`.

    Returns:
        The content of `splits.json`.

    Raises:
        InputError: the frames cannot be divided as asked.
    """
    settings = manifest.settings.split
    table = curated_folder / sample_table.FILE_NAME
    selected = Counter[str]()
    for batch in sample_table.read_batches(table, ["recording"]):
        selected.update(batch.column("recording").to_pylist())
    plan = plan_splits(selected, settings, manifest.key)
    counts = {split: _Counts() for split in SPLITS}
    unassigned: Counter[str] = Counter()
    content = hashlib.sha256()

    def rows() -> Iterator[dict[str, Any]]:
        for row, class_ids in _assigned(table, plan):
            if row.split is None:
                unassigned[str(row.reason)] += 1
            else:
                _count(counts[row.split], row, class_ids)
                content.update(f"{row.frame_id}\t{row.split}\n".encode())
            yield vars(row)

    write_table(draft.directory / SPLITS_FILE, SCHEMA, rows())
    selection = json.loads((curated_folder / SELECTION_SUMMARY).read_text(encoding="utf-8"))
    summary = _summary(manifest, plan, counts, unassigned) | {
        "curated_dataset_id": selection["curated_dataset_id"],
        "training_dataset_id": content_id("training_dataset", {"selection": selection["selection_id"], "split": content.hexdigest()}),
    }
    write_json(draft.directory / SUMMARY_FILE, summary)
    return summary


def read_splits(folder: Path) -> Iterator[SplitRow]:
    """Stream the rows of a published split.

    Args:
        folder: of the artifact `splits`.
    """
    return (SplitRow(**row) for row in read_table(folder / SPLITS_FILE))


def read_summary(folder: Path) -> dict[str, Any]:
    """The content of `splits.json`.

    Args:
        folder: of the artifact `splits`.
    """
    summary: dict[str, Any] = json.loads((folder / SUMMARY_FILE).read_text(encoding="utf-8"))
    return summary


def split_samples(curated_folder: Path, splits_folder: Path, artifact_folder: ArtifactFolder) -> Iterator[SplitSample]:
    """Stream the frames that are in a split, in the version's order.

    Args:
        curated_folder: of the artifact `curated_dataset`.
        splits_folder: of the artifact `splits`.
        artifact_folder: tells where the artifacts lie that hold the frames' files.

    Raises:
        InputError: samples and split do not belong together.
    """
    samples = sample_table.read(curated_folder / sample_table.FILE_NAME, artifact_folder)
    for sample, row in zip_longest(samples, read_splits(splits_folder)):
        if sample is None or row is None or (sample.frame_id, len(sample.annotations)) != (row.frame_id, row.annotation_count):
            name = (sample or row).frame_id
            raise InputError(
                f"Samples and split of the dataset version do not fit each other at frame {name!r}: they were made from other artifacts. "
                "Materialize curated_dataset and splits of this version again."
            )
        if row.split is not None and row.output_index is not None:
            yield SplitSample(sample, row.split, row.output_index)


def leaks(folder: Path) -> list[Leak]:
    """Look for neighbouring frames in two splits of a published split.

    Args:
        folder: of the artifact `splits`.

    Returns:
        One entry for each recording and pair of splits that touch; none means that the split is leak-free.
    """
    return find_leaks(read_splits(folder), read_summary(folder)["guard_frames_used"])


def find_leaks(rows: Iterable[SplitRow], guard_frames: Mapping[str, int]) -> list[Leak]:
    """Look for frames of one recording in two splits.

    Args:
        rows: in frame order within each recording.
        guard_frames: the gap that recordings cut into blocks must have; all others must not be in two splits at all.
    """
    found: dict[tuple[str, frozenset[str]], Leak] = {}
    last: dict[str, SplitRow] = {}
    between: Counter[str] = Counter()
    for row in rows:
        if row.split is None:
            between[row.recording] += 1
            continue
        before = last.get(row.recording)
        required = guard_frames.get(row.recording)
        gap = between.pop(row.recording, 0)
        if before is not None and before.split is not None and before.split != row.split and (required is None or gap < required):
            pair = (before.split, row.split)
            leak = Leak(row.recording, pair, (before.frame_id, row.frame_id), gap, required)
            found.setdefault((row.recording, frozenset(pair)), leak)
        last[row.recording] = row
    return list(found.values())


def _assigned(table: Path, plan: SplitPlan) -> Iterator[tuple[SplitRow, list[str]]]:
    """Every selected frame with its place, and the classes of its annotations."""
    position: Counter[str] = Counter()
    written: Counter[str] = Counter()
    for frame_id, recording, frame_index, class_ids in _frames(table):
        here = position[recording]
        position[recording] += 1
        split = next((block.split for block in plan.blocks[recording] if block.start <= here < block.stop), None)
        assigned = SplitRow(
            frame_id=frame_id,
            recording=recording,
            frame_index=frame_index,
            split=split,
            output_index=None if split is None else written[split],
            annotation_count=len(class_ids),
            reason=GUARD_GAP if split is None else None,
        )
        if split is not None:
            written[split] += 1
        yield assigned, class_ids


def _frames(table: Path) -> Iterator[tuple[str, str, int, list[str]]]:
    """Frame id, recording, frame index and the classes of the annotations of each frame."""
    for batch in sample_table.read_batches(table, ["frame_id", "recording", "frame_index", "annotations.list.element.class_id"]):
        annotations = batch.column("annotations")
        class_ids = iter(annotations.flatten().field("class_id").to_pylist())
        per_frame = [list(islice(class_ids, length)) for length in annotations.value_lengths().to_pylist()]
        yield from zip(*(batch.column(name).to_pylist() for name in ("frame_id", "recording", "frame_index")), per_frame, strict=True)


def _count(counts: _Counts, row: SplitRow, class_ids: list[str]) -> None:
    counts.frames += 1
    counts.annotations += row.annotation_count
    counts.negative_frames += row.annotation_count == 0
    counts.recordings[row.recording] += 1
    counts.classes.update(class_ids)


def _summary(manifest: VersionManifest, plan: SplitPlan, counts: Mapping[str, _Counts], unassigned: Mapping[str, int]) -> dict[str, Any]:
    settings = manifest.settings.split
    total = sum(count.frames for count in counts.values())
    classes = sorted(set(chain.from_iterable(count.classes for count in counts.values())))
    table = {class_id: {split: counts[split].classes[class_id] for split in SPLITS} for class_id in classes}
    notes = list(plan.notes)
    for class_id, by_split in table.items():
        absent = [split for split in SPLITS if settings.ratios[split] > 0 and by_split[split] == 0]
        if absent:
            notes.append(f"Class {class_id!r} has no annotations in {' and '.join(absent)}.")
    return {
        "dataset": manifest.key,
        "strategy": settings.strategy,
        "strategy_used": plan.strategy,
        "balance_by": settings.balance_by,
        "seed": settings.seed,
        "ratios": settings.ratios,
        "achieved_ratios": {split: round(counts[split].frames / total, 6) for split in SPLITS},
        "guard_frames": settings.guard_frames,
        "guard_frames_used": dict(plan.guard_frames),
        "total_frames": total,
        "total_annotations": sum(count.annotations for count in counts.values()),
        "total_recordings": len(plan.blocks),
        "splits": {
            split: {
                "frames": count.frames,
                "annotations": count.annotations,
                "negative_frames": count.negative_frames,
                "recording_count": len(count.recordings),
                "recordings": dict(sorted(count.recordings.items())),
                "classes": dict(sorted(count.classes.items())),
            }
            for split, count in counts.items()
        },
        "classes": table,
        "unassigned_frames": dict(sorted(unassigned.items())),
        "notes": notes,
    }
