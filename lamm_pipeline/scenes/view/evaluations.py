"""What models said of a recording, read from the artifact `frame_uncertainty` for the scene view.

Of each frame there is a score, and there may be a file with the scores of its points and one with their classes, predicted and true: of
the points of the frame's `velodyne/*.bin`, in its order.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from lamm_pipeline.errors import InputError
from lamm_pipeline.storage.artifacts import Artifact
from lamm_pipeline.uncertainty.frame_uncertainty import POINT_COLUMNS

PEAKS = 10
_NEEDED = ("evaluation", "model_id", "frame_index", "score", "score_kind")
_OPTIONAL = ("points_path", "classes_path", "class_names")


@dataclass(frozen=True)
class FrameScore:
    """What an evaluation said of a frame.

    Attributes:
        score: of the whole frame; None where it is unknown.
        points_path: file of its points' scores within the artifact, float `(points, len(POINT_COLUMNS))`; None where there is none.
        classes_path: file of its points' classes, int `(points, 2)`: predicted and true, -1 = unknown; None where there is none.
    """

    score: float | None
    points_path: str | None = None
    classes_path: str | None = None


@dataclass(frozen=True)
class Evaluation:
    """One evaluation of a recording.

    Attributes:
        id: slug.
        model_id: of the model or the ensemble.
        kind: which score it is: one of `POINT_COLUMNS`, or one that only whole frames have, such as `box_disagreement`.
        class_names: names of the classes; empty where points have none.
        frames: by frame index.
    """

    id: str
    model_id: str
    kind: str
    class_names: tuple[str, ...]
    frames: Mapping[int, FrameScore]

    @property
    def has_points(self) -> bool:
        """Whether points of some frame have scores of their own."""
        return any(frame.points_path is not None for frame in self.frames.values())

    @property
    def has_classes(self) -> bool:
        """Whether points of some frame have classes."""
        return any(frame.classes_path is not None for frame in self.frames.values())

    def peaks(self) -> list[int]:
        """Indices of its most uncertain frames, `PEAKS` at most."""
        known = [(-frame.score, index) for index, frame in self.frames.items() if frame.score is not None]
        return [index for _, index in sorted(known)[:PEAKS]]


def read(path: Path) -> tuple[Evaluation, ...]:
    """The evaluations in a table of frame uncertainty, sorted by id.

    Raises:
        InputError: the table lacks columns.
    """
    with pq.ParquetFile(path) as file:
        there = set(file.schema_arrow.names)
        missing = [name for name in _NEEDED if name not in there]
        if missing:
            raise InputError(f"{path} has no column {', '.join(missing)}. Materialize `frame_uncertainty` again.")
        rows: list[dict[str, Any]] = file.read([name for name in (*_NEEDED, *_OPTIONAL) if name in there]).to_pylist()
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["evaluation"], {})[row["frame_index"]] = row
    return tuple(_evaluation(name, frames) for name, frames in sorted(found.items()))


def point_scores(artifact: Artifact, evaluation: Evaluation, index: int, points: int) -> NDArray[np.float32] | None:
    """Scores `(points,)` of the points of a frame: their own, else that of the whole frame; None where it has neither.

    Raises:
        InputError: the file is of another number of points.
    """
    frame = evaluation.frames.get(index)
    if frame is None:
        return None
    if frame.points_path is None or evaluation.kind not in POINT_COLUMNS:
        return None if frame.score is None else np.full(points, frame.score, np.float32)
    table = _array(artifact, frame.points_path, (points, len(POINT_COLUMNS)))
    return table[:, POINT_COLUMNS.index(evaluation.kind)].astype(np.float32)


def point_classes(artifact: Artifact, evaluation: Evaluation, index: int, points: int) -> NDArray[np.int64] | None:
    """Classes `(points, 2)` of the points of a frame, predicted and true, -1 = unknown; None where it has none.

    Raises:
        InputError: the file is of another number of points.
    """
    frame = evaluation.frames.get(index)
    if frame is None or frame.classes_path is None:
        return None
    return _array(artifact, frame.classes_path, (points, 2)).astype(np.int64)


def _evaluation(name: str, rows: Mapping[int, Mapping[str, Any]]) -> Evaluation:
    first = next(iter(rows.values()))
    kind = first["score_kind"].removesuffix("_mean")
    frames = {
        index: FrameScore(None if row["score"] is None else float(row["score"]), row.get("points_path"), row.get("classes_path"))
        for index, row in sorted(rows.items())
    }
    return Evaluation(name, first["model_id"], kind, tuple(first.get("class_names") or ()), frames)


def _array(artifact: Artifact, name: str, shape: tuple[int, int]) -> NDArray[Any]:
    path = artifact.file(name)
    try:
        found: NDArray[Any] = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise InputError(f"{path} is no array ({error}). Materialize `frame_uncertainty` again.") from None
    if found.shape != shape:
        raise InputError(f"{path} is for {found.shape} values, the frame has {shape}. Materialize `frame_uncertainty` again.")
    return found
