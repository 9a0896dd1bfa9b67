"""`frame_ranking.parquet`: how unsure models are of every frame of all recordings.

The table has a row for every frame, model and kind of score: of several evaluations by one model the one with the highest score, of equal
ones the newest. Rows of a recording are together, recordings in the order of their keys. The asset `uncertainty_hotspots` writes it.

| column | meaning |
| --- | --- |
| `recording`, `frame_id`, `frame_index` | which frame |
| `uncertainty`, `score_kind` | how unsure the model is, and what that number measures; numbers of different kinds cannot be compared |
| `model_id`, `evaluation`, `evaluated_at` | whose score it is |
| `frames_version` | the version of `frames` that was scored |
| `tags` | of the recording |
"""

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lamm_pipeline.errors import InputError
from lamm_pipeline.storage.artifacts import UNPARTITIONED, ArtifactKey

FILE_NAME = "frame_ranking.parquet"
KEY = ArtifactKey("summaries", UNPARTITIONED, "uncertainty_hotspots")
"""The artifact that has the table."""

ROWS_AT_ONCE = 100_000
REFRESH = "`lamm hotspots --refresh`"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
_TEXTS = ("recording", "score_kind", "model_id", "evaluation", "frames_version")

SCHEMA = pa.schema(
    [
        ("recording", pa.string()),
        ("frame_id", pa.string()),
        ("frame_index", pa.int64()),
        ("uncertainty", pa.float64()),
        ("score_kind", pa.string()),
        ("model_id", pa.string()),
        ("evaluation", pa.string()),
        ("evaluated_at", pa.timestamp("us", tz="UTC")),
        ("frames_version", pa.string()),
        ("tags", pa.list_(pa.string())),
    ]
)

Numbers = NDArray[np.int64]
Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Scoring:
    """Whose scores they are, and what they measure."""

    model_id: str
    score_kind: str
    evaluation: str
    evaluated_at: datetime


@dataclass(frozen=True)
class ScoredFrames:
    """The rows of one recording.

    Attributes:
        recording: its key.
        frames_version: of the frames that were scored.
        tags: of the recording.
        frame_index: `(N,)`.
        uncertainty: `(N,)`.
        scoring: `(N,)` place in `scorings`.
        scorings: whose scores they are.
    """

    recording: str
    frames_version: str
    tags: tuple[str, ...]
    frame_index: Numbers
    uncertainty: Scores
    scoring: Numbers
    scorings: tuple[Scoring, ...]


def frame_id(recording: str, index: int) -> str:
    """Id of a frame, as everywhere: `<recording>:<index, 6 digits>`."""
    return f"{recording}:{index:06d}"


def write(path: Path, recordings: Iterable[ScoredFrames]) -> int:
    """Write the table; recordings are streamed.

    Args:
        path: of the file.
        recordings: sorted by their keys.

    Returns:
        The number of rows.
    """
    rows = 0
    waiting: list[pa.Table] = []
    with pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:

        def flush() -> None:
            if waiting:
                table = pa.concat_tables(waiting)
                writer.write_table(table, row_group_size=table.num_rows)  # a row group holds whole recordings
                waiting.clear()

        for each in recordings:
            rows += len(each.frame_index)
            waiting.append(_to_arrow(each))
            if sum(table.num_rows for table in waiting) >= ROWS_AT_ONCE:
                flush()
        flush()
    return rows


def read(path: Path, recordings: Collection[str] | None = None) -> Iterator[ScoredFrames]:
    """Stream the table recording by recording.

    Args:
        path: of the file.
        recordings: keys of those wanted; None = all. What lies between them is not read.

    Raises:
        InputError: the file is missing or no such table.
    """
    wanted = None if recordings is None else sorted(recordings)
    try:
        file = pq.ParquetFile(path, read_dictionary=list(_TEXTS))
    except (FileNotFoundError, pa.ArrowInvalid) as error:
        raise InputError(f"{path} cannot be read as a ranking of frames ({error}). Make it again with {REFRESH}.") from error
    with file:
        if missing := set(SCHEMA.names) - set(file.schema_arrow.names):
            raise InputError(f"{path} is no ranking of frames: it lacks {', '.join(sorted(missing))}. Make it again with {REFRESH}.")
        columns = [name for name in SCHEMA.names if name != "frame_id"]
        for number in range(file.num_row_groups):
            if wanted is None or _overlaps(file.metadata.row_group(number), wanted):
                yield from _of_group(file.read_row_group(number, columns), None if wanted is None else set(wanted))


def _to_arrow(each: ScoredFrames) -> pa.Table:
    count, tags = len(each.frame_index), list(each.tags)

    def of_scoring(name: str, kind: pa.DataType) -> pa.Array:
        return pa.array([getattr(scoring, name) for scoring in each.scorings], kind).take(pa.array(each.scoring))

    offsets = pa.array(np.arange(count + 1, dtype=np.int32) * len(tags))
    columns = {
        "recording": pa.repeat(pa.scalar(each.recording), count),
        "frame_id": pa.array([frame_id(each.recording, index) for index in each.frame_index.tolist()], pa.string()),
        "frame_index": pa.array(each.frame_index),
        "uncertainty": pa.array(each.uncertainty),
        **{name: of_scoring(name, SCHEMA.field(name).type) for name in ("score_kind", "model_id", "evaluation", "evaluated_at")},
        "frames_version": pa.repeat(pa.scalar(each.frames_version), count),
        "tags": pa.ListArray.from_arrays(offsets, pa.array(tags * count, pa.string())),
    }
    return pa.table([columns[name] for name in SCHEMA.names], schema=SCHEMA)


def _overlaps(group: Any, wanted: list[str]) -> bool:
    """Whether a row group can have one of these recordings, by what the file says of it."""
    bounds = group.column(SCHEMA.names.index("recording")).statistics
    if bounds is None or not bounds.has_min_max:
        return True
    first = bisect_left(wanted, bounds.min)
    return first < len(wanted) and wanted[first] <= bounds.max


def _of_group(table: pa.Table, wanted: set[str] | None) -> Iterator[ScoredFrames]:
    codes, names = _coded(table["recording"])
    starts = np.flatnonzero(np.diff(codes, prepend=-1)).tolist()
    for start, stop in zip(starts, [*starts[1:], len(codes)], strict=True):
        recording = names[codes[start]]
        if wanted is None or recording in wanted:
            yield _of_rows(recording, table.slice(start, stop - start))


def _of_rows(recording: str, rows: pa.Table) -> ScoredFrames:
    coded = [_coded(rows[name]) for name in ("model_id", "score_kind", "evaluation")]
    times, moment = np.unique(rows["evaluated_at"].cast(pa.int64()).to_numpy(), return_inverse=True)
    stamps = times.tolist()
    (model, models), (kind, kinds), (evaluation, evaluations) = coded
    sizes = (len(models), len(kinds), len(evaluations), len(stamps))
    distinct, scoring = np.unique(np.ravel_multi_index((model, kind, evaluation, moment.ravel()), sizes), return_inverse=True)
    scorings = tuple(
        Scoring(models[m], kinds[k], evaluations[e], EPOCH + stamps[at] * MICROSECOND)
        for m, k, e, at in np.stack(np.unravel_index(distinct, sizes), axis=1).tolist()
    )
    return ScoredFrames(
        recording=recording,
        frames_version=str(rows["frames_version"][0].as_py()),
        tags=tuple(rows["tags"][0].as_py()),
        frame_index=rows["frame_index"].to_numpy(),
        uncertainty=rows["uncertainty"].to_numpy(),
        scoring=np.asarray(scoring, np.int64).ravel(),
        scorings=scorings,
    )


def _coded(column: pa.ChunkedArray) -> tuple[Numbers, list[str]]:
    """A column of texts as numbers, and what they stand for."""
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = array.unify_dictionaries().chunk(0)
    return array.indices.to_numpy(zero_copy_only=False).astype(np.int64), array.dictionary.to_pylist()
