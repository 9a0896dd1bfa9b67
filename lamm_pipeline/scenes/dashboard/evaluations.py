"""How unsure each evaluation's model is over all its recordings: mean, 95th percentile, histogram.

A percentile of all frames cannot be had from those of the recordings, and reading the scores of ten thousand recordings takes a while. So
each recording's scores are counted once, rounded to 0.001, and the counts are kept in `evaluation_tallies.parquet` of the dashboard:

| column | meaning |
| --- | --- |
| `recording`, `version` | whose scores; version of `frame_uncertainty` that they are from |
| `evaluation`, `model_id`, `evaluated_at` | of whom |
| `score_kinds` | what the scores measure |
| `frames`, `total` | how many have a score; sum of the scores |
| `steps`, `counts` | scores in thousandths, and how many frames have each |
| `histogram` | frames in ten buckets of 0.1 |
| `worst_frame` | index of the first frame with the highest score |
| `labelled`, `iou_total`, `label_sources` | frames with an IoU; sum of these; where their labels are from |
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lamm_pipeline.errors import InputError
from lamm_pipeline.scenes.library.collect import UNCERTAINTY
from lamm_pipeline.scenes.library.scene_table import Scene
from lamm_pipeline.storage.artifacts import ArtifactKey, ArtifactStore
from lamm_pipeline.storage.tables import read_table, write_table
from lamm_pipeline.streaming import map_ordered
from lamm_pipeline.uncertainty.summary import histogram

FILE_NAME = "evaluation_tallies.parquet"
STEPS = 1000
SCHEMA = pa.schema(
    [
        ("recording", pa.string()),
        ("version", pa.string()),
        ("evaluation", pa.string()),
        ("model_id", pa.string()),
        ("evaluated_at", pa.timestamp("us", tz="UTC")),
        ("score_kinds", pa.list_(pa.string())),
        ("frames", pa.int64()),
        ("total", pa.float64()),
        ("steps", pa.list_(pa.int16())),
        ("counts", pa.list_(pa.int32())),
        ("histogram", pa.list_(pa.int32())),
        ("worst_frame", pa.int64()),
        ("labelled", pa.int64()),
        ("iou_total", pa.float64()),
        ("label_sources", pa.list_(pa.string())),
    ]
)
_COLUMNS = ["evaluation", "model_id", "evaluated_at", "frame_id", "score", "score_kind", "iou", "label_source"]
_UNREADABLE = (InputError, OSError, ValueError, KeyError)


@dataclass(frozen=True)
class Tally:
    """What an evaluation says of one recording, counted; see the table above."""

    recording: str
    version: str
    evaluation: str
    model_id: str
    evaluated_at: datetime
    score_kinds: tuple[str, ...]
    frames: int
    total: float
    steps: tuple[int, ...]
    counts: tuple[int, ...]
    histogram: tuple[int, ...]
    worst_frame: int
    labelled: int
    iou_total: float
    label_sources: tuple[str, ...]


Tallies = Mapping[tuple[str, str], Sequence[Tally]]
"""By recording and version of its `frame_uncertainty`."""


@dataclass(frozen=True)
class EvaluationNumbers:
    """An evaluation over all its recordings.

    Attributes:
        score_kinds: what the scores measure; those of different kinds are not comparable.
        mean: of the frames' scores.
        p95: the score that 95 of 100 frames stay below, to 0.001.
        histogram: number of frames in ten buckets of 0.1.
        mean_iou: mean of the IoU of the labelled frames; None without any.
        label_sources: where the labels are from; `derived` ones are a stand-in.
    """

    evaluation: str
    model_id: str
    evaluated_at: datetime
    score_kinds: tuple[str, ...]
    recordings: int
    frames: int
    mean: float
    p95: float
    histogram: tuple[int, ...]
    mean_iou: float | None
    labelled: int
    label_sources: tuple[str, ...]


def tally(
    store: ArtifactStore, scenes: Iterable[Scene], known: Tallies, workers: int | None = None
) -> dict[tuple[str, str], Sequence[Tally]]:
    """Count the scores of all scenes; only those that are not known are read. What cannot be read counts nowhere: its scene says why.

    Args:
        store: published artifacts.
        scenes: of the scene library.
        known: of the last time.
        workers: threads.
    """
    versions = {each.scene_id: stored.version for each in scenes for stored in each.artifacts if stored.asset == UNCERTAINTY}

    def counted(key: tuple[str, str]) -> Sequence[Tally]:
        return known[key] if key in known else _counted(store, *key)

    return dict(map_ordered(counted, versions.items(), workers))


def numbers(tallies: Tallies) -> list[EvaluationNumbers]:
    """The numbers of all evaluations, the newest model run first."""
    parts: dict[str, list[Tally]] = defaultdict(list)
    for some in tallies.values():
        for each in some:
            parts[each.evaluation].append(each)
    found = [_numbers(some) for some in parts.values()]
    return sorted(found, key=lambda each: (each.evaluated_at, each.evaluation), reverse=True)


def write(path: Path, tallies: Tallies) -> int:
    """Write the table; returns the number of rows."""
    return write_table(path, SCHEMA, (vars(each) for key in sorted(tallies) for each in tallies[key]))


def read(path: Path) -> Tallies:
    """Read the table.

    Raises:
        InputError: the file is missing or no such table.
    """
    found: dict[tuple[str, str], list[Tally]] = defaultdict(list)
    for row in read_table(path):
        each = Tally(**{field.name: _plain(row[field.name]) for field in fields(Tally)})
        found[each.recording, each.version].append(each)
    return found


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _counted(store: ArtifactStore, recording: str, version: str) -> Sequence[Tally]:
    try:
        artifact = store.find(ArtifactKey("recordings", recording, UNCERTAINTY), version)
        if artifact is None:
            return ()
        with pq.ParquetFile(artifact.file(f"{UNCERTAINTY}.parquet")) as file:
            table = file.read(columns=_COLUMNS)
    except _UNREADABLE:
        return ()
    table = table.filter(pc.is_finite(table["score"]))
    return [
        _tally(recording, version, name, table.filter(pc.equal(table["evaluation"], name)))
        for name in sorted(pc.unique(table["evaluation"]).to_pylist())
    ]


def _tally(recording: str, version: str, evaluation: str, rows: pa.Table) -> Tally:
    scores = rows["score"].to_numpy()
    steps, counts = np.unique(np.clip(np.rint(scores * STEPS), 0, STEPS).astype(np.int16), return_counts=True)
    ious = rows["iou"].drop_null().to_numpy() if "iou" in rows.column_names else np.empty(0)
    sources = rows["label_source"].drop_null() if "label_source" in rows.column_names else pa.chunked_array([], pa.string())
    return Tally(
        recording=recording,
        version=version,
        evaluation=evaluation,
        model_id=rows["model_id"][0].as_py(),
        evaluated_at=rows["evaluated_at"][0].as_py(),
        score_kinds=tuple(sorted(pc.unique(rows["score_kind"]).to_pylist())),
        frames=len(scores),
        total=float(scores.sum()),
        steps=tuple(steps.tolist()),
        counts=tuple(counts.tolist()),
        histogram=tuple(bucket["frames"] for bucket in histogram(scores.tolist())),
        worst_frame=int(rows["frame_id"][int(scores.argmax())].as_py().rpartition(":")[2]),
        labelled=len(ious),
        iou_total=float(ious.sum()),
        label_sources=tuple(sorted(pc.unique(sources).to_pylist())),
    )


def _numbers(parts: Sequence[Tally]) -> EvaluationNumbers:
    counts = np.zeros(STEPS + 1, np.int64)
    for each in parts:
        counts[list(each.steps)] += each.counts
    frames, labelled = sum(each.frames for each in parts), sum(each.labelled for each in parts)
    newest = max(parts, key=lambda each: each.evaluated_at)
    return EvaluationNumbers(
        evaluation=newest.evaluation,
        model_id=newest.model_id,
        evaluated_at=newest.evaluated_at,
        score_kinds=tuple(sorted({kind for each in parts for kind in each.score_kinds})),
        recordings=len(parts),
        frames=frames,
        mean=sum(each.total for each in parts) / frames,
        p95=_percentile(counts, 0.95),
        histogram=tuple(np.sum([each.histogram for each in parts], axis=0).tolist()),
        mean_iou=sum(each.iou_total for each in parts) / labelled if labelled else None,
        labelled=labelled,
        label_sources=tuple(sorted({source for each in parts for source in each.label_sources})),
    )


def _percentile(counts: NDArray[np.int64], share: float) -> float:
    """NumPy's percentile (linear between the two nearest) of what was counted."""
    ends = np.cumsum(counts)
    place = share * (int(ends[-1]) - 1)
    low, high = (int(np.searchsorted(ends, rank, side="right")) for rank in (np.floor(place), np.ceil(place)))
    return float((low + (high - low) * (place - np.floor(place))) / STEPS)
