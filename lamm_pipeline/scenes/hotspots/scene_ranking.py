"""`scene_ranking.parquet`: how unsure each model is of each scene. A row a scene, model and kind of score.

| column | meaning |
| --- | --- |
| `scene_id`, `captured_at`, `tags` | the scene |
| `model_id`, `score_kind` | whose scores, and what they measure |
| `max_score` | the highest score of a frame over all evaluations by the model |
| `frame_id`, `frame_index` | the very frame |
| `evaluation`, `evaluated_at` | where its score is from; of equal scores the newest evaluation |
| `mean_score` | mean of the frames' scores in the model's newest evaluation of the scene |
| `frames` | how many were scored |
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from lamm_pipeline.storage.tables import read_table, write_table

FILE_NAME = "scene_ranking.parquet"

SCHEMA = pa.schema(
    [
        ("scene_id", pa.string()),
        ("captured_at", pa.timestamp("us", tz="UTC")),
        ("tags", pa.list_(pa.string())),
        ("model_id", pa.string()),
        ("score_kind", pa.string()),
        ("max_score", pa.float64()),
        ("frame_id", pa.string()),
        ("frame_index", pa.int64()),
        ("evaluation", pa.string()),
        ("evaluated_at", pa.timestamp("us", tz="UTC")),
        ("mean_score", pa.float64()),
        ("frames", pa.int64()),
    ]
)


@dataclass(frozen=True)
class SceneScore:
    """How unsure a model is of a scene; see the table above."""

    scene_id: str
    captured_at: datetime | None
    tags: tuple[str, ...]
    model_id: str
    score_kind: str
    max_score: float
    frame_id: str
    frame_index: int
    evaluation: str
    evaluated_at: datetime
    mean_score: float
    frames: int

    @property
    def view(self) -> tuple[str, str]:
        """Model and kind of score: only scores of one view are compared with each other."""
        return self.model_id, self.score_kind


def rank(rows: Iterable[SceneScore], *, model: str | None = None, tag: str | None = None) -> list[SceneScore]:
    """The scenes by their highest score over all models and evaluations, the most uncertain first, each once.

    Of equal scores that of the newest evaluation counts, and goes first. Scores of different kinds stand side by side here, for the seed
    asks for the maximum over all models; `score_kind` says what each is.

    Args:
        rows: of the table.
        model: only scores by this one.
        tag: only scenes that have it.
    """
    best: dict[str, SceneScore] = {}
    for row in rows:
        if model in (None, row.model_id) and (tag is None or tag in row.tags):
            known = best.get(row.scene_id)
            if known is None or _key(row) > _key(known):
                best[row.scene_id] = row
    ordered = sorted(best.values(), key=lambda row: row.scene_id)
    return sorted(ordered, key=_key, reverse=True)


def write(path: Path, rows: Sequence[SceneScore]) -> int:
    """Write the table; returns the number of rows."""
    return write_table(path, SCHEMA, (_to_row(row) for row in rows))


def read(path: Path) -> list[SceneScore]:
    """Read the table.

    Raises:
        InputError: the file is missing or no such table.
    """
    return [SceneScore(**row | {"tags": tuple(row["tags"])}) for row in read_table(path)]


def _key(row: SceneScore) -> tuple[float, datetime, str]:
    return row.max_score, row.evaluated_at, row.evaluation


def _to_row(row: SceneScore) -> dict[str, Any]:
    return {field.name: getattr(row, field.name) for field in fields(row)} | {"tags": list(row.tags)}
