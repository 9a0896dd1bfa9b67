"""The asset `splits`: which selected frame is in train, val or test, under which number exports write it, and why some are in none.

`splits.parquet` has one row for every selected frame in the version's order, `splits.json` the settings, the ratios reached, and counts by
split, recording and class.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lamm_pipeline import sample_table
from lamm_pipeline.datasets.curate import SELECTION_FILE
from lamm_pipeline.datasets.curate import SUMMARY_FILE as SELECTION_SUMMARY
from lamm_pipeline.datasets.splits.split_frames import (
    GUARD_GAP,
    LOOK_ALIKE,
    NEAR_DUPLICATE,
    NOWHERE,
    SPLITS,
    SplitFrames,
    encoded,
    previous_codes,
    read_frames,
)
from lamm_pipeline.datasets.splits.split_plans import SplitPlan, plan_splits
from lamm_pipeline.datasets.splits.split_summary import summarize
from lamm_pipeline.datasets.versions import VersionManifest, content_id
from lamm_pipeline.errors import InputError
from lamm_pipeline.sample_table import ArtifactFolder, Sample
from lamm_pipeline.storage.atomic import write_json
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline.storage.tables import ROWS_AT_ONCE, read_table

SPLITS_FILE = "splits.parquet"
SUMMARY_FILE = "splits.json"

SCHEMA = pa.schema(
    [
        ("frame_id", pa.string()),
        ("recording", pa.string()),
        ("frame_index", pa.int64()),
        ("place", pa.int64()),
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
        place: number of the frame among all frames of its recording that the version knows, kept or not; gaps count these.
        split: None when the frame is in none, for `reason`.
        output_index: number of the frame within its split, from 0; the name of its files in exports.
    """

    frame_id: str
    recording: str
    frame_index: int
    place: int
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
class PlacedSample:
    """A selected frame and the split that it is in, None for none."""

    sample: Sample
    split: str | None


@dataclass(frozen=True)
class Leak:
    """Frames of one recording that are too close to each other to be in two splits.

    Attributes:
        recording: whose frames.
        splits: the two splits.
        frame_ids: the first such pair.
        frames_between: frames of the recording between the two.
        required: how many there must be; None where the two splits must not share the recording at all.
    """

    recording: str
    splits: tuple[str, str]
    frame_ids: tuple[str, str]
    frames_between: int
    required: int | None


def split_version(manifest: VersionManifest, curated_folder: Path, draft: Draft, previous: Path | None = None) -> dict[str, Any]:
    """Divide the selected frames of a version and write the result.

    Args:
        manifest: the version.
        curated_folder: of its artifact `curated_dataset`.
        draft: gets `splits.parquet` and `splits.json`.
        previous: folder of the artifact `splits` whose frames keep their place, None where no frames have to.

    Returns:
        The content of `splits.json`.

    Raises:
        InputError: the frames cannot be divided as asked.
    """
    frames = read_frames(curated_folder / sample_table.FILE_NAME, curated_folder / SELECTION_FILE)
    codes, gone = None, 0
    if previous is not None:
        codes, gone = previous_codes(frames, pq.read_table(previous / SPLITS_FILE, columns=["frame_id", "split", "reason"]))
    plan = plan_splits(frames, manifest.settings.split, manifest.key, codes)
    table = _table(frames, plan)
    pq.write_table(table, draft.directory / SPLITS_FILE, compression="zstd", row_group_size=ROWS_AT_ONCE)
    placed = table.filter(pc.is_valid(table["split"]))
    content = hashlib.sha256()
    for batch in placed.select(["frame_id", "split"]).to_batches(ROWS_AT_ONCE):
        lines = pc.binary_join_element_wise(*batch.columns, "\t").to_pylist()
        content.update("".join(f"{line}\n" for line in lines).encode())
    selection = json.loads((curated_folder / SELECTION_SUMMARY).read_text(encoding="utf-8"))
    summary = summarize(manifest.key, manifest.settings.split, frames, plan)
    if previous is not None and plan.kept:
        summary["notes"] += _asked_otherwise(read_summary(previous), summary)
    summary |= {
        "newcomers": {
            "kept": plan.kept,
            "placed": plan.placed,
            "gone": gone,
            "previous": None if manifest.previous_split is None else manifest.previous_split.version,
        },
        "curated_dataset_id": selection["curated_dataset_id"],
        "training_dataset_id": content_id("training_dataset", {"selection": selection["selection_id"], "split": content.hexdigest()}),
    }
    write_json(draft.directory / SUMMARY_FILE, summary)
    return summary


def _asked_otherwise(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """A sentence where another split is asked for than the one that frames keep their places of."""
    names = ("strategy", "seed", "ratios", "balance_by", "guard_frames", "near_duplicate_radius")
    others = [name for name in names if before.get(name, now[name]) != now[name]]
    sentence = (
        f"The split of {before['dataset']} was made with other settings ({', '.join(others)}), and its frames keep their places: only new "
        "ones are placed as asked now. A version that divides all anew (resplit) has it for all."
    )
    return [sentence] if others else []


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
    for sample, row in _samples_and_rows(curated_folder, splits_folder, artifact_folder):
        if row.split is not None and row.output_index is not None:
            yield SplitSample(sample, row.split, row.output_index)


def placed_samples(curated_folder: Path, splits_folder: Path, artifact_folder: ArtifactFolder) -> Iterator[PlacedSample]:
    """`split_samples` with the frames that are in no split."""
    return (PlacedSample(sample, row.split) for sample, row in _samples_and_rows(curated_folder, splits_folder, artifact_folder))


def _samples_and_rows(curated_folder: Path, splits_folder: Path, artifact_folder: ArtifactFolder) -> Iterator[tuple[Sample, SplitRow]]:
    samples = sample_table.read(curated_folder / sample_table.FILE_NAME, artifact_folder)
    for sample, row in zip_longest(samples, read_splits(splits_folder)):
        if sample is None or row is None or (sample.frame_id, len(sample.annotations)) != (row.frame_id, row.annotation_count):
            name = (sample or row).frame_id
            raise InputError(
                f"Samples and split of the dataset version do not fit each other at frame {name!r}: they were made from other artifacts. "
                "Materialize curated_dataset and splits of this version again."
            )
        yield sample, row


def leaks(folder: Path) -> list[Leak]:
    """Look for neighbouring frames in two splits of a published split.

    Args:
        folder: of the artifact `splits`.

    Returns:
        One entry for each recording and pair of splits that touch; none means that the split is leak-free.
    """
    return find_leaks(pq.read_table(folder / SPLITS_FILE), read_summary(folder)["guard_frames_used"])


def find_leaks(rows: pa.Table, guard_frames: Mapping[str, int]) -> list[Leak]:
    """Look for frames of one recording in two splits.

    Args:
        rows: of `splits.parquet`.
        guard_frames: the gap that recordings cut into blocks must have; all others must not be in two splits at all.
    """
    rows = rows.sort_by([("recording", "ascending"), ("frame_index", "ascending")])
    recordings, recording = encoded(rows["recording"])
    code = pc.index_in(rows["split"], pa.array(SPLITS)).fill_null(NOWHERE).to_numpy()
    inside = np.flatnonzero(code >= 0)
    apart = np.iinfo(np.int64).max
    required = np.array([guard_frames.get(name, apart) for name in recordings], np.int64)[recording[inside]]
    between = np.diff(rows["place"].to_numpy()[inside]) - 1
    touching = np.flatnonzero((np.diff(recording[inside]) == 0) & (np.diff(code[inside]) != 0) & (between < required[1:]))
    before, after = inside[touching], inside[touching + 1]
    pair = 1 << code[before] | 1 << code[after]
    _, first = np.unique(recording[before] * 8 + pair, return_index=True)
    ids = rows["frame_id"]
    return [
        Leak(
            recording=(name := recordings[recording[before[place]]]),
            splits=(SPLITS[code[before[place]]], SPLITS[code[after[place]]]),
            frame_ids=(ids[int(before[place])].as_py(), ids[int(after[place])].as_py()),
            frames_between=int(between[touching[place]]),
            required=guard_frames.get(name),
        )
        for place in np.sort(first)
    ]


def _table(frames: SplitFrames, plan: SplitPlan) -> pa.Table:
    """The rows of `splits.parquet`."""
    inside = plan.codes >= 0
    number = np.zeros(len(frames), np.int64)
    for code in range(len(SPLITS)):
        here = plan.codes == code
        number[here] = np.arange(np.count_nonzero(here))
    columns = {
        "frame_id": frames.frame_ids,
        "recording": pa.array(frames.recordings, pa.string()).take(pa.array(frames.recording)),
        "frame_index": pa.array(frames.frame_index),
        "place": pa.array(frames.place),
        "split": pa.array(SPLITS).take(pa.array(plan.codes, mask=~inside)),
        "output_index": pa.array(number, mask=~inside),
        "annotation_count": pa.array(np.bincount(frames.owner, minlength=len(frames))),
        "reason": pa.array([GUARD_GAP, NEAR_DUPLICATE]).take(pa.array((plan.codes == LOOK_ALIKE).astype(np.int64), mask=inside)),
    }
    return pa.table(columns, schema=SCHEMA)
