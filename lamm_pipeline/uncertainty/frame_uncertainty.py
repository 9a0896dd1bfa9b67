"""`frame_uncertainty.parquet`: how unsure each evaluation's model is of each frame of a recording. A row an evaluation and frame."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from lamm_pipeline.storage.tables import read_table, write_table
from lamm_pipeline.uncertainty.scores import SCORES

FILE_NAME = "frame_uncertainty.parquet"
STATISTICS = ("mean", "p95", "foreground_mean")
POINT_COLUMNS = SCORES
"""What the columns of a frame's `points/<evaluation>/<index:06d>.npy` are."""

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
        points_path: scores of the points in the artifact, float16 `(points, 5)`, columns as `SCORES`, NaN = not known.
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


def write(path: Path, rows: Iterable[FrameUncertainty]) -> int:
    """Write the table; returns the number of rows."""
    return write_table(path, SCHEMA, (_to_row(row) for row in rows))


def read(path: Path) -> Iterator[FrameUncertainty]:
    """Stream the rows: evaluation by evaluation, frames in order.

    Raises:
        InputError: the file is missing or no such table.
    """
    for row in read_table(path):
        statistics = {name: row.pop(name) for name in _SCORE_COLUMNS}
        yield FrameUncertainty(**row, statistics=statistics)


def to_json(row: FrameUncertainty) -> dict[str, Any]:
    """A row as JSON values."""
    return {**asdict(row), "evaluated_at": row.evaluated_at.isoformat()}


def from_json(stored: Mapping[str, Any]) -> FrameUncertainty:
    """The inverse of `to_json`."""
    return FrameUncertainty(**{**stored, "evaluated_at": datetime.fromisoformat(stored["evaluated_at"])})


def _to_row(row: FrameUncertainty) -> dict[str, Any]:
    columns = {name: value for name, value in vars(row).items() if name != "statistics"}
    return {**columns, **{name: row.statistics.get(name) for name in _SCORE_COLUMNS}}
