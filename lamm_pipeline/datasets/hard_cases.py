"""Hard cases: the frames that a condition takes of the ranking of all frames.

A dataset version is made of the frames that fulfil a condition at the moment it is created: they are resolved to frame ids, and the
manifest keeps condition, table and ids.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from lamm_pipeline.datasets.frame_ranking import EPOCH, FILE_NAME, KEY, MICROSECOND, REFRESH, Numbers, ScoredFrames, Scores, frame_id, read
from lamm_pipeline.errors import InputError
from lamm_pipeline.storage.artifacts import ArtifactStore

MAX_FRAMES = 1_000_000
SPARE_ROWS = 100_000
_INDICES = 2**40


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


def _asked_for(each: ScoredFrames, condition: HardCases) -> NDArray[np.bool_]:
    """Which rows of a recording are by the models and of the kind that a condition asks for."""
    fits = [
        (not condition.models or scoring.model_id in condition.models) and condition.score_kind in (None, scoring.score_kind)
        for scoring in each.scorings
    ]
    return np.asarray(fits, np.bool_)[each.scoring]


def _highest(each: ScoredFrames, rows: NDArray[np.bool_]) -> tuple[Numbers, Scores, Numbers]:
    """Index, highest score, and the newest moment of it, of every frame in these rows."""
    moments = np.asarray([(scoring.evaluated_at - EPOCH) // MICROSECOND for scoring in each.scorings], np.int64)
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
        if self._held > 2 * self._most + SPARE_ROWS:
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
            f"No frame is a hard case: of {_number(asked, 'recording')} none has scores{which} in the ranking. Take in an evaluation "
            f"(`lamm evaluation add`), then {REFRESH}."
        )
    said = f"{_number(found.scored_frames, 'scored frame')} of {_number(found.scored_recordings, 'recording')}{which}"
    if condition.above is not None and found.highest <= condition.above:
        highest = f"the highest is {found.highest:.4g}"
        return f"No frame is a hard case: of {said} none is above {condition.above:g}, {highest}. Lower the threshold."
    return f"No frame is a hard case: none of {said} is of a recording with tags. Tag recordings, or leave top_per_tag out."


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
