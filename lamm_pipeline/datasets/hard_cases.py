"""`frame_ranking.parquet`: how unsure models are of every frame of all recordings, and the frames that a condition takes of them.

The table has a row for every frame, model and kind of score: of several evaluations by one model the one with the highest score, of equal
ones the newest. Rows of a recording are together, recordings in the order of their keys. The asset `uncertainty_hotspots` writes it.

| column | meaning |
| --- | --- |
| `recording`, `frame_id`, `frame_index` | which frame |
| `uncertainty`, `score_kind` | how unsure the model is, and what that number measures; numbers of different kinds cannot be compared |
| `model_id`, `evaluation`, `evaluated_at` | whose score it is |
| `frames_version` | the version of `frames` that was scored |
| `tags` | of the recording |

A dataset version is made of the frames that fulfil a condition at the moment it is created: they are resolved to frame ids, and the
manifest keeps condition, table and ids.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from lamm_pipeline.errors import InputError
from lamm_pipeline.storage.artifacts import UNPARTITIONED, ArtifactKey, ArtifactStore

FILE_NAME = "frame_ranking.parquet"
KEY = ArtifactKey("summaries", UNPARTITIONED, "uncertainty_hotspots")
"""The artifact that has the table."""

MAX_FRAMES = 1_000_000
ROWS_AT_ONCE = 100_000
REFRESH = "`lamm hotspots --refresh`"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_INDICES = 2**40
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


class HardCases(BaseModel):
    """Only the frames that models are least sure of. Without a limit (`top`, ..., `above`) there is no such condition."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    top: int | None = Field(default=None, ge=1, le=MAX_FRAMES, description="At most so many frames over all, the most uncertain ones.")
    top_per_recording: int | None = Field(default=None, ge=1, le=MAX_FRAMES, description="At most so many frames of each recording.")
    top_per_tag: int | None = Field(
        default=None,
        ge=1,
        le=MAX_FRAMES,
        description="At most so many frames of each tag (of `tags`, else of all); a frame counts for each tag of its recording, and frames "
        "of recordings without tags are left out.",
    )
    above: float | None = Field(default=None, ge=0.0, description="Only frames with a higher score.")
    models: list[str] = Field(default=[], description="Ids of models whose scores count; empty counts all.")
    score_kind: str | None = Field(
        default=None, description="The kind of score that counts, such as mutual_information_mean; needed where there are several."
    )
    tags: list[str] = Field(default=[], description="Only recordings that have one of these tags; empty takes all.")
    min_gap_frames: int = Field(
        default=0,
        ge=0,
        le=1_000_000,
        description="Of frames of one recording whose indices are nearer than this only the most uncertain one is taken: neighbours look "
        "alike. 0 takes neighbours too.",
    )

    @property
    def wanted(self) -> bool:
        """Whether there is a condition at all."""
        return any(limit is not None for limit in (self.top, self.top_per_recording, self.top_per_tag, self.above))

    @model_validator(mode="after")
    def _has_a_limit(self) -> Self:
        if not self.wanted and (self.models or self.tags or self.score_kind is not None or self.min_gap_frames):
            raise ValueError("say how many hard cases (top, top_per_recording, top_per_tag) or above which score (above)")
        return self


class HardCaseFrames(BaseModel):
    """What a dataset version is limited to: frozen in its manifest.

    Attributes:
        condition: as it was given.
        ranking: reference of the artifact whose table decided, `summaries/all/uncertainty_hotspots/<version>`.
        frame_ids: sorted by recording and index.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    condition: HardCases
    ranking: str
    frame_ids: tuple[str, ...]


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


@dataclass(frozen=True)
class Resolved:
    """The frames that a condition takes.

    Attributes:
        frame_ids: by recording, in the order of their indices.
        frames_versions: by recording, the version of `frames` that was scored.
        scored_frames, scored_recordings: how many there were to choose from.
        highest: their highest score, None where there was none.
        score_kind: what it measures.
    """

    frame_ids: Mapping[str, tuple[str, ...]]
    frames_versions: Mapping[str, str]
    scored_frames: int
    scored_recordings: int
    highest: float | None
    score_kind: str | None

    @property
    def total(self) -> int:
        """Number of frames."""
        return sum(map(len, self.frame_ids.values()))


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


def resolve(path: Path, condition: HardCases, recordings: Collection[str] | None = None) -> Resolved:
    """Find the frames that a condition takes.

    A frame counts with its highest score over the models that are asked for, of equal ones with the newest. First neighbours are left out
    (`min_gap_frames`), then each recording, then each tag, then all together are limited. Of equal scores the newer goes first, then the
    order of recordings and frames decides. Memory does not grow with the table.

    Args:
        path: of the table.
        condition: which frames.
        recordings: keys of those to choose from; None = all in the table.

    Raises:
        InputError: scores of several kinds would have to be compared, or too many frames fulfil the condition.
    """
    kinds: Counter[str] = Counter()
    scored = _Tally()
    keys: list[str] = []
    versions: dict[str, str] = {}
    over_all = _Best(condition.top)
    by_tag: dict[str, _Best] = {}
    for each in read(path, recordings):
        tags = [tag for tag in each.tags if not condition.tags or tag in condition.tags]
        if condition.tags and not tags:
            continue
        rows = _asked_for(each, condition)
        for place, count in enumerate(np.bincount(each.scoring[rows], minlength=len(each.scorings)).tolist()):
            if count:
                kinds[each.scorings[place].score_kind] += count
        index, score, at = _highest(each, rows)
        scored.add(score)
        index, score, at = _limited(index, score, at, condition)
        if len(index) == 0:
            continue
        place = len(keys)
        keys.append(each.recording)
        versions[each.recording] = each.frames_version
        found = _Candidates(score, at, np.full(len(index), place), index)
        targets = [over_all] if condition.top_per_tag is None else [by_tag.setdefault(tag, _Best(condition.top_per_tag)) for tag in tags]
        for best in targets:
            best.add(found)
    _refuse_mixed(kinds)
    for best in by_tag.values():
        over_all.add(best.found())
    taken = over_all.found()
    frames: dict[str, tuple[str, ...]] = {}
    for place in np.unique(taken.recording).tolist():
        own = np.unique(taken.index[taken.recording == place])
        frames[keys[place]] = tuple(frame_id(keys[place], index) for index in own.tolist())
    return Resolved(
        frame_ids=dict(sorted(frames.items())),
        frames_versions={key: versions[key] for key in sorted(frames)},
        scored_frames=scored.frames,
        scored_recordings=scored.recordings,
        highest=scored.highest,
        score_kind=next(iter(kinds), None),
    )


def choose(store: ArtifactStore, condition: HardCases, recordings: Collection[str]) -> tuple[HardCaseFrames, Mapping[str, str]]:
    """Resolve a condition with the table in force.

    Args:
        store: published artifacts.
        condition: which frames.
        recordings: keys of those to choose from.

    Returns:
        What a manifest keeps, and by recording with such frames the version of `frames` that was scored.

    Raises:
        InputError: there is no table yet, or no frame fulfils the condition.
    """
    artifact = store.current(KEY)
    if artifact is None or FILE_NAME not in artifact.manifest.files:
        raise InputError(f"There is no ranking of frames yet to take hard cases from. Make it with {REFRESH}.")
    found = resolve(artifact.file(FILE_NAME), condition, recordings)
    if not found.total:
        raise InputError(_nothing(condition, found, len(recordings)))
    ids = tuple(name for names in found.frame_ids.values() for name in names)
    return HardCaseFrames(condition=condition, ranking=f"{KEY.path}/{artifact.version}", frame_ids=ids), found.frames_versions


def apart(order: Numbers, index: Numbers, gap: int, most: int) -> Numbers:
    """The first frames in an order that are not nearer to each other than a gap.

    Args:
        order: `(N,)` places of frames, the most wanted first.
        index: `(N,)` their indices.
        gap: least distance of two indices.
        most: how many frames at most.
    """
    taken: list[int] = []
    near = np.zeros(len(index), np.bool_)
    ascending = np.argsort(index)
    by_index = index[ascending]
    for place in order.tolist():
        if near[place]:
            continue
        taken.append(place)
        if len(taken) == most:
            break
        low, high = np.searchsorted(by_index, [index[place] - gap + 1, index[place] + gap])
        near[ascending[low:high]] = True
    return np.asarray(taken, np.int64)


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
    distinct, scoring = np.unique(np.stack([*(codes for codes, _ in coded), moment.ravel()]), axis=1, return_inverse=True)
    (_, models), (_, kinds), (_, evaluations) = coded
    scorings = tuple(
        Scoring(models[model], kinds[kind], evaluations[evaluation], _EPOCH + stamps[at] * _MICROSECOND)
        for model, kind, evaluation, at in distinct.T.tolist()
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


def _asked_for(each: ScoredFrames, condition: HardCases) -> NDArray[np.bool_]:
    """Which rows of a recording are by the models and of the kind that a condition asks for."""
    fits = [
        (not condition.models or scoring.model_id in condition.models) and condition.score_kind in (None, scoring.score_kind)
        for scoring in each.scorings
    ]
    return np.asarray(fits, np.bool_)[each.scoring]


def _highest(each: ScoredFrames, rows: NDArray[np.bool_]) -> tuple[Numbers, Scores, Numbers]:
    """Index, highest score, and the newest moment of it, of every frame in these rows."""
    moments = np.asarray([(scoring.evaluated_at - _EPOCH) // _MICROSECOND for scoring in each.scorings], np.int64)
    index, score, at = each.frame_index[rows], each.uncertainty[rows], moments[each.scoring[rows]]
    order = np.lexsort((at, score, index))
    last = order[np.flatnonzero(np.diff(index[order], append=-1))]
    return index[last], score[last], at[last]


def _limited(index: Numbers, score: Scores, at: Numbers, condition: HardCases) -> tuple[Numbers, Scores, Numbers]:
    """What threshold, neighbours and the limit of a recording leave of its frames."""
    if condition.above is not None:
        high = score > condition.above
        index, score, at = index[high], score[high], at[high]
    order = np.lexsort((index, -at, -score))
    later = condition.top if condition.top_per_tag is None else condition.top_per_tag  # takes no more of one recording either
    most = min(limit for limit in (len(order), condition.top_per_recording, later) if limit is not None)
    if condition.min_gap_frames > 1:
        order = apart(order, index, condition.min_gap_frames, most)
    order = order[:most]
    return index[order], score[order], at[order]


@dataclass
class _Tally:
    """What there was to choose from."""

    frames: int = 0
    recordings: int = 0
    highest: float | None = None

    def add(self, score: Scores) -> None:
        if len(score):
            self.frames += len(score)
            self.recordings += 1
            self.highest = max(float(score.max()), self.highest or 0.0)


@dataclass(frozen=True)
class _Candidates:
    """Frames; equally long arrays."""

    score: Scores
    at: Numbers
    recording: Numbers
    index: Numbers

    def __getitem__(self, rows: Any) -> "_Candidates":
        return _Candidates(self.score[rows], self.at[rows], self.recording[rows], self.index[rows])

    @property
    def order(self) -> Numbers:
        return np.lexsort((self.index, self.recording, -self.at, -self.score))


class _Best:
    """Keeps the first so many candidates of all that it is given."""

    def __init__(self, most: int | None) -> None:
        self._most = MAX_FRAMES + 1 if most is None else most
        self._refuses = most is None
        self._parts: list[_Candidates] = []
        self._held = 0

    def add(self, more: _Candidates) -> None:
        self._parts.append(more)
        self._held += len(more.index)
        if self._held > 2 * self._most + ROWS_AT_ONCE:
            self._trim()

    def found(self) -> _Candidates:
        """What is left.

        Raises:
            InputError: there is no limit, and these are too many for one version.
        """
        self._trim()
        if self._refuses and self._held > MAX_FRAMES:
            raise InputError(f"More than {MAX_FRAMES} frames are hard cases by this condition. Set a limit (top), or a higher threshold.")
        return self._parts[0]

    def _trim(self) -> None:
        none = np.empty(0, np.int64)
        parts = self._parts or [_Candidates(none.astype(np.float64), none, none, none)]
        joined = _Candidates(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("score", "at", "recording", "index")))
        first = np.unique(joined.recording * _INDICES + joined.index, return_index=True)[1]  # a frame may come by several tags
        joined = joined[first]
        self._parts = [joined[joined.order[: self._most]]]
        self._held = len(self._parts[0].index)


def _refuse_mixed(kinds: Mapping[str, int]) -> None:
    if len(kinds) > 1:
        found = ", ".join(f"{kind} ({count} scores)" for kind, count in sorted(kinds.items()))
        raise InputError(
            f"The scores to choose from are of different kinds, which cannot be compared: {found}. Name one with score_kind "
            "(`--hard-cases-score`), or models that have the same."
        )


def _nothing(condition: HardCases, found: Resolved, asked: int) -> str:
    asked_for = [f"by {', '.join(condition.models)}"] if condition.models else []
    asked_for += [condition.score_kind] if condition.score_kind is not None else []
    asked_for += [f"tagged {' or '.join(condition.tags)}"] if condition.tags else []
    which = f" ({', '.join(asked_for)})" if asked_for else ""
    if found.highest is None:
        return (
            f"No frame is a hard case: of {asked} recordings none has scores{which} in the ranking. Take in an evaluation "
            f"(`lamm evaluation add`), then {REFRESH}."
        )
    said = f"{found.scored_frames} scored frames of {found.scored_recordings} recordings{which}"
    if condition.above is not None and found.highest <= condition.above:
        return f"No frame is a hard case: of {said} none is above {condition.above:g}, the highest is {found.highest:.4g}. Lower it."
    return f"No frame is a hard case: none of {said} is of a recording with tags. Tag recordings, or leave top_per_tag out."
