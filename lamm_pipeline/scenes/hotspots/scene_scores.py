"""The scores of one recording: what its rows of the rankings are."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lamm_pipeline.datasets.frame_ranking import ScoredFrames, Scoring, frame_id
from lamm_pipeline.errors import InputError
from lamm_pipeline.scenes.hotspots.scene_ranking import SceneScore

COLUMNS = ("evaluation", "model_id", "evaluated_at", "frame_index", "score", "score_kind")


@dataclass(frozen=True)
class SceneRows:
    """What a recording adds to the rankings.

    Attributes:
        frames: a row a frame, model and kind of score; the highest score counts, of equal ones that of the newest evaluation.
        scores: a row a model and kind of score.
        without_score: rows whose score is no finite number; they are left out.
    """

    frames: ScoredFrames
    scores: tuple[SceneScore, ...]
    without_score: int


def scene_rows(path: Path, recording: str, frames_version: str, captured_at: datetime | None, tags: tuple[str, ...]) -> SceneRows:
    """Rank the frames of a recording.

    Args:
        path: its `frame_uncertainty.parquet`.
        recording: its key.
        frames_version: of the frames that were scored.
        captured_at: when it was recorded.
        tags: of the recording.

    Raises:
        InputError: it is no such table.
    """
    try:
        table = pq.read_table(path, columns=list(COLUMNS))
    except (FileNotFoundError, pa.ArrowInvalid) as error:
        raise InputError(f"{path} cannot be read ({error}). Run `frame_uncertainty` of {recording!r} again.") from error
    finite = table.filter(pc.is_finite(table["score"]))  # null is not finite either
    evaluation, evaluations = _coded(finite["evaluation"])
    model, models = _coded(finite["model_id"])
    kind, kinds = _coded(finite["score_kind"])
    at = finite["evaluated_at"].cast(pa.timestamp("us", tz="UTC"))
    stamp = at.cast(pa.int64()).to_numpy()
    index, score = finite["frame_index"].to_numpy(), finite["score"].to_numpy()
    view = model * len(kinds) + kind

    order = np.lexsort((evaluation, stamp, score, index, view))
    ordered = np.stack([view[order], index[order]])
    last = order[np.flatnonzero(np.any(np.diff(ordered, append=-1), axis=0))]  # the best row of each frame and view
    _, first, scoring = np.unique(view[last] * max(len(evaluations), 1) + evaluation[last], return_index=True, return_inverse=True)
    scorings = tuple(
        Scoring(models[model[row]], kinds[kind[row]], evaluations[evaluation[row]], at[int(row)].as_py()) for row in last[first].tolist()
    )
    scores = []
    for number in np.unique(view[last]).tolist():
        own = last[view[last] == number]
        best = own[np.lexsort((index[own], -evaluation[own], -stamp[own], -score[own]))[0]]
        every = np.flatnonzero(view == number)
        newest = every[np.lexsort((evaluation[every], stamp[every]))[-1]]
        scores.append(
            SceneScore(
                scene_id=recording,
                captured_at=captured_at,
                tags=tags,
                model_id=models[model[best]],
                score_kind=kinds[kind[best]],
                max_score=float(score[best]),
                frame_id=frame_id(recording, int(index[best])),
                frame_index=int(index[best]),
                evaluation=evaluations[evaluation[best]],
                evaluated_at=at[int(best)].as_py(),
                mean_score=float(score[every][evaluation[every] == evaluation[newest]].mean()),
                frames=len(own),
            )
        )
    frames = ScoredFrames(recording, frames_version, tags, index[last], score[last], np.asarray(scoring, np.int64).ravel(), scorings)
    return SceneRows(frames, tuple(scores), table.num_rows - finite.num_rows)


def _coded(column: pa.ChunkedArray) -> tuple[NDArray[np.int64], list[str]]:
    """Texts as places in the list of all of them, which is in alphabetical order."""
    names = sorted(pc.unique(column).to_pylist())
    return pc.index_in(column, pa.array(names, pa.string())).to_numpy().astype(np.int64), names
