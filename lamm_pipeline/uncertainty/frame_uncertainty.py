"""`frame_uncertainty.parquet`: how unsure each evaluation's model is of each frame of a recording. A row an evaluation and frame."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lamm_pipeline.errors import InputError
from lamm_pipeline.storage.artifacts import Artifact
from lamm_pipeline.storage.tables import read_table, write_table
from lamm_pipeline.uncertainty.scores import SCORES

FILE_NAME = "frame_uncertainty.parquet"
STATISTICS = ("mean", "p95", "foreground_mean")
POINT_COLUMNS = SCORES
"""What the columns of a frame's `points/<evaluation>/<index:06d>.npy` are."""
CLASS_COLUMNS = ("predicted", "true")
"""What the columns of a frame's `classes/<evaluation>/<index:06d>.npy` are."""
UNKNOWN_CLASS = -1

_OF_CLASSES = ("classes_path", "class_names")
_CLASSES_IN_A_BYTE = 128
_SCORE_COLUMNS = tuple(f"{score}_{statistic}" for score in SCORES for statistic in STATISTICS)

SCHEMA = pa.schema(
    [
        ("evaluation", pa.string()),
        ("model_id", pa.string()),
        ("evaluated_at", pa.timestamp("us", tz="UTC")),
        ("frame_id", pa.string()),
        ("frame_index", pa.int64()),
        ("timestamp_ns", pa.int64()),
        ("points", pa.int64()),
        *((name, pa.float64()) for name in _SCORE_COLUMNS),
        ("box_disagreement", pa.float64()),
        ("score", pa.float64()),
        ("score_kind", pa.string()),
        ("iou", pa.float64()),
        ("accuracy", pa.float64()),
        ("label_source", pa.string()),
        ("points_path", pa.string()),
        ("classes_path", pa.string()),
        ("class_names", pa.list_(pa.string())),
    ]
)


@dataclass(frozen=True)
class FrameUncertainty:
    """What one evaluation says about one frame. None = cannot be known from its predictions.

    Attributes:
        evaluation: its id.
        model_id: of the model or ensemble.
        evaluated_at: when the model was run, UTC.
        points: of the frame; None where nothing of the predictions is by point.
        statistics: `<score>_mean`, `<score>_p95`, `<score>_foreground_mean` for every score of `SCORES`; the foreground is what the model
            predicts as such.
        box_disagreement: of an ensemble of 2D detectors.
        score: the one shown.
        score_kind: which it is: `mutual_information_mean` where there are members, else `predictive_entropy_mean`; `box_disagreement`, or a
            given score, where there is neither.
        iou: mean over classes of intersection over union; accuracy: share of right points. Of labelled points.
        label_source: `file` (with the predictions), `semantickitti`, or `derived` (from 3D boxes and the ground plane).
        points_path: scores of the points in the artifact, float16 `(points, 5)`, columns as `POINT_COLUMNS`, NaN = not known.
        classes_path: classes of the points in the artifact, whole numbers `(points, 2)`, columns as `CLASS_COLUMNS`: places in
            `class_names`, -1 = not known.
        class_names: names of the classes; empty where points have none.
    """

    evaluation: str
    model_id: str
    evaluated_at: datetime
    frame_id: str
    frame_index: int
    timestamp_ns: int
    points: int | None
    score: float
    score_kind: str
    statistics: Mapping[str, float | None] = field(default_factory=dict)
    box_disagreement: float | None = None
    iou: float | None = None
    accuracy: float | None = None
    label_source: str | None = None
    points_path: str | None = None
    classes_path: str | None = None
    class_names: tuple[str, ...] = ()


_ROW_FIELDS = tuple(each.name for each in fields(FrameUncertainty) if each.name != "statistics")


def write(path: Path, rows: Iterable[FrameUncertainty]) -> int:
    """Write the table; returns the number of rows."""
    return write_table(path, SCHEMA, (_to_row(row) for row in rows))


def read(path: Path) -> Iterator[FrameUncertainty]:
    """Stream the rows: evaluation by evaluation, frames in order.

    Raises:
        InputError: the file is missing or no such table. Of one that was written before points had classes, none has any.
    """
    for row in read_table(path):
        missing = [name for name in SCHEMA.names if name not in row and name not in _OF_CLASSES]
        if missing:
            raise InputError(f"{path} has no column {', '.join(missing)}. Materialize `frame_uncertainty` again.")
        values: dict[str, Any] = {name: row.get(name) for name in _ROW_FIELDS}
        values["class_names"] = tuple(row.get("class_names") or ())
        yield FrameUncertainty(**values, statistics={name: row[name] for name in _SCORE_COLUMNS})


def write_scores(path: Path, columns: Sequence[NDArray[np.floating]]) -> None:
    """Write the scores of a frame's points.

    Args:
        path: of the file.
        columns: `(points,)` each, in the order of `POINT_COLUMNS`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.stack(columns, axis=1).astype(np.float16))


def write_classes(path: Path, predicted: NDArray[np.integer], true: NDArray[np.integer] | None, classes: int) -> None:
    """Write the classes of a frame's points, a byte each up to 128 classes.

    Args:
        path: of the file.
        predicted: `(points,)`.
        true: `(points,)`; None where nobody knows.
        classes: how many there are.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    table = np.full((len(predicted), len(CLASS_COLUMNS)), UNKNOWN_CLASS, np.int8 if classes <= _CLASSES_IN_A_BYTE else np.int16)
    table[:, 0] = predicted
    if true is not None:
        table[:, 1] = true
    np.save(path, table)


def read_scores(artifact: Artifact, points_path: str, points: int) -> NDArray[np.floating]:
    """Scores of a frame's points, `(points, len(POINT_COLUMNS))`.

    Raises:
        InputError: the file is gone, damaged, or of another number of points.
    """
    return _read_array(artifact, points_path, (points, len(POINT_COLUMNS)))


def read_classes(artifact: Artifact, classes_path: str, points: int, classes: int) -> NDArray[np.int64]:
    """Classes of a frame's points, `(points, len(CLASS_COLUMNS))`.

    Raises:
        InputError: the file is gone, damaged, of another number of points, or names classes that there are not.
    """
    found = _read_array(artifact, classes_path, (points, len(CLASS_COLUMNS))).astype(np.int64)
    if found.size and (found.min() < UNKNOWN_CLASS or found.max() >= classes):
        wrong = f"has classes from {found.min()} to {found.max()}, the evaluation has {classes}"
        raise InputError(f"{artifact.file(classes_path)} {wrong}. Materialize `frame_uncertainty` again.")
    return found


def to_json(row: FrameUncertainty) -> dict[str, Any]:
    """A row as JSON values."""
    return {**asdict(row), "evaluated_at": row.evaluated_at.isoformat()}


def from_json(stored: Mapping[str, Any]) -> FrameUncertainty:
    """The inverse of `to_json`."""
    made = {"evaluated_at": datetime.fromisoformat(stored["evaluated_at"]), "class_names": tuple(stored["class_names"])}
    return FrameUncertainty(**{**stored, **made})


def _to_row(row: FrameUncertainty) -> dict[str, Any]:
    columns = {name: value for name, value in vars(row).items() if name != "statistics"}
    return {**columns, **{name: row.statistics.get(name) for name in _SCORE_COLUMNS}}


def _read_array(artifact: Artifact, name: str, shape: tuple[int, int]) -> NDArray[Any]:
    path = artifact.file(name)
    try:
        found: NDArray[Any] = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, FileNotFoundError) as error:
        raise InputError(f"{path} cannot be read ({error}). Materialize `frame_uncertainty` again.") from None
    if found.shape != shape:
        raise InputError(f"{path} is for {found.shape} values, the frame has {shape}. Materialize `frame_uncertainty` again.")
    return found
