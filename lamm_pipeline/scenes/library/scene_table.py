"""`scenes.parquet`: what is known of every recording, a row each. A scene is a recording, its id the recording's key.

| column | meaning |
| --- | --- |
| `scene_id`, `name` | key of the recording; stem of its file |
| `source`, `source_path` | the source dataset that it belongs to, null when it was picked; where its file was found |
| `captured_at`, `duration_s` | stamp of the first frame, UTC; seconds to the last one; null until somebody has read it |
| `gps_start_lat`, `gps_start_lon`, `gps_end_lat`, `gps_end_lon` | degrees, null where nobody knows; see `library/gps.py` |
| `frames`, `points`, `annotations` | extracted frames; points of all their clouds; detections; null until they are made |
| `max_uncertainty` | highest score of a frame over all evaluations; null where there is none |
| `uncertainty_model`, `uncertainty_evaluation`, `uncertainty_score` | model and evaluation of the highest score, and what it measures |
| `avg_uncertainty` | mean of all frames' scores that measure the same as the highest; other kinds of score cannot be compared with it |
| `status`, `labeler`, `tags` | what people say; `tags` is a list |
| `datasets` | keys of the dataset versions that contain it |
| `storage_bytes` | of its file and of the artifacts in force |
| `artifacts` | list of structs: asset, version in force, bytes |
| `points_preview`, `image_preview` | where the report server has its pictures, `recordings/<key>/scene_previews/<version>/<file>` |
| `problem` | what could not be read, null where everything could |
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from lamm_pipeline.storage.tables import read_table, write_table

FILE_NAME = "scenes.parquet"
CODE_VERSION = "2"
"""Of the rows: those of another code version are not used again."""

SCHEMA = pa.schema(
    [
        ("scene_id", pa.string()),
        ("name", pa.string()),
        ("source", pa.string()),
        ("source_path", pa.string()),
        ("captured_at", pa.timestamp("us", tz="UTC")),
        ("duration_s", pa.float64()),
        ("gps_start_lat", pa.float64()),
        ("gps_start_lon", pa.float64()),
        ("gps_end_lat", pa.float64()),
        ("gps_end_lon", pa.float64()),
        ("frames", pa.int64()),
        ("points", pa.int64()),
        ("annotations", pa.int64()),
        ("max_uncertainty", pa.float64()),
        ("avg_uncertainty", pa.float64()),
        ("uncertainty_model", pa.string()),
        ("uncertainty_evaluation", pa.string()),
        ("uncertainty_score", pa.string()),
        ("status", pa.string()),
        ("labeler", pa.string()),
        ("tags", pa.list_(pa.string())),
        ("datasets", pa.list_(pa.string())),
        ("storage_bytes", pa.int64()),
        ("artifacts", pa.list_(pa.struct([("asset", pa.string()), ("version", pa.string()), ("bytes", pa.int64())]))),
        ("points_preview", pa.string()),
        ("image_preview", pa.string()),
        ("problem", pa.string()),
    ]
)


@dataclass(frozen=True)
class StoredAsset:
    """An artifact in force of a recording."""

    asset: str
    version: str
    bytes: int


@dataclass(frozen=True)
class Scene:
    """A recording as the library shows it; see the table above."""

    scene_id: str
    name: str
    source: str | None
    source_path: str
    captured_at: datetime | None = None
    duration_s: float | None = None
    gps_start_lat: float | None = None
    gps_start_lon: float | None = None
    gps_end_lat: float | None = None
    gps_end_lon: float | None = None
    frames: int | None = None
    points: int | None = None
    annotations: int | None = None
    max_uncertainty: float | None = None
    avg_uncertainty: float | None = None
    uncertainty_model: str | None = None
    uncertainty_evaluation: str | None = None
    uncertainty_score: str | None = None
    status: str = "unlabelled"
    labeler: str | None = None
    tags: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    storage_bytes: int = 0
    artifacts: tuple[StoredAsset, ...] = ()
    points_preview: str | None = None
    image_preview: str | None = None
    problem: str | None = None

    def to_row(self) -> dict[str, Any]:
        """The row of the table."""
        return {field.name: getattr(self, field.name) for field in fields(self)} | {
            "tags": list(self.tags),
            "datasets": list(self.datasets),
            "artifacts": [vars(each) for each in self.artifacts],
        }

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> "Scene":
        """The inverse of `to_row`."""
        lists = {"tags": tuple(row["tags"]), "datasets": tuple(row["datasets"])}
        return cls(**row | lists | {"artifacts": tuple(StoredAsset(**each) for each in row["artifacts"])})


def to_arrow(scenes: Sequence[Scene]) -> pa.Table:
    """The table in memory, without the artifacts."""
    wanted = [column for column in SCHEMA if column.name != "artifacts"]
    return pa.table({column.name: pa.array([getattr(each, column.name) for each in scenes], column.type) for column in wanted})


def write(path: Path, scenes: Iterable[Scene]) -> int:
    """Write the table; returns the number of rows."""
    return write_table(path, SCHEMA, (each.to_row() for each in scenes))


def read(path: Path) -> Iterator[Scene]:
    """Stream the scenes, in the order of their ids.

    Raises:
        InputError: the file is missing or no such table.
    """
    return (Scene.from_row(row) for row in read_table(path))
