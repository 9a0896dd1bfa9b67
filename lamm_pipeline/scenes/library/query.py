"""Questions about scenes, answered by DuckDB from the rows of the library: which ones, in which order, which page of them."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import duckdb

from lamm_pipeline.errors import InputError
from lamm_pipeline.scenes.library.expression import ALL, Condition, Kind, parse_condition
from lamm_pipeline.scenes.library.scene_table import Scene, to_arrow

COLUMNS: Mapping[str, Kind] = {
    "scene_id": Kind.text,
    "name": Kind.text,
    "source": Kind.text,
    "source_path": Kind.text,
    "captured_at": Kind.time,
    "duration_s": Kind.number,
    "gps": Kind.flag,
    "gps_start_lat": Kind.number,
    "gps_start_lon": Kind.number,
    "gps_end_lat": Kind.number,
    "gps_end_lon": Kind.number,
    "frames": Kind.number,
    "points": Kind.number,
    "annotations": Kind.number,
    "max_uncertainty": Kind.number,
    "avg_uncertainty": Kind.number,
    "uncertainty_model": Kind.text,
    "uncertainty_evaluation": Kind.text,
    "uncertainty_score": Kind.text,
    "status": Kind.text,
    "labeler": Kind.text,
    "tags": Kind.words,
    "datasets": Kind.words,
    "used_in_training": Kind.flag,
    "storage_bytes": Kind.number,
    "problem": Kind.text,
}
"""What conditions and orders may name."""

MAX_SEARCH = 200
_TABLE = """
CREATE TABLE scenes AS SELECT *,
    gps_start_lat IS NOT NULL AS gps,
    len(datasets) > 0 AS used_in_training,
    lower(scene_id || ' ' || name || ' ' || array_to_string(tags, ' ')) AS searched
FROM given
"""


@dataclass(frozen=True)
class Question:
    """Which scenes.

    Attributes:
        where: a condition, see `expression.py`.
        search: words, each of which is part of the id, the name or a tag; case makes no difference.
        sort: a column, with a minus in front for descending; unknown values come last either way. Equal ones are in the order of their ids.
    """

    where: str = ""
    search: str = ""
    sort: str = "scene_id"


@dataclass(frozen=True)
class Totals:
    """What there is of the scenes of an answer.

    Attributes:
        scenes: how many.
        frames, annotations: of those of which it is known.
        duration_s, storage_bytes: the same.
    """

    scenes: int
    frames: int
    annotations: int
    duration_s: float
    storage_bytes: int


class SceneQueries:
    """Answers questions about these scenes. May be called by several threads."""

    def __init__(self, scenes: Sequence[Scene]) -> None:
        self.scenes = {each.scene_id: each for each in scenes}
        self._lock = threading.Lock()
        self._connection = duckdb.connect(config={"threads": 2})
        given = to_arrow(scenes)
        self._connection.register("given", given)
        self._connection.execute(_TABLE)
        self._connection.unregister("given")
        self._connection.execute("SET TimeZone = 'UTC'")
        self._connection.execute("SET enable_external_access = false")
        self._connection.execute("SET lock_configuration = true")

    def page(self, question: Question, offset: int = 0, limit: int | None = None) -> list[Scene]:
        """Scenes that fit, in order.

        Args:
            question: which.
            offset: how many to pass over.
            limit: how many at most; None = all.

        Raises:
            InputError: the question cannot be answered.
        """
        return [self.scenes[key] for key in self.ids(question, offset, limit)]

    def ids(self, question: Question, offset: int = 0, limit: int | None = None) -> list[str]:
        """Ids of the scenes that fit, see `page`."""
        condition = _condition(question)
        sql = f"SELECT scene_id FROM scenes WHERE {condition.sql} ORDER BY {_order(question.sort)} LIMIT ? OFFSET ?"  # noqa: S608
        rows = self._fetch(sql, (*condition.parameters, len(self.scenes) if limit is None else limit, offset))
        return [row[0] for row in rows]

    def totals(self, question: Question) -> Totals:
        """How much fits.

        Raises:
            InputError: the question cannot be answered.
        """
        condition = _condition(question)
        sums = ", ".join(f"COALESCE(sum({name}), 0)" for name in ("frames", "annotations", "duration_s", "storage_bytes"))
        scenes, frames, annotations, duration_s, size = self._fetch(
            f"SELECT count(*), {sums} FROM scenes WHERE {condition.sql}",  # noqa: S608
            condition.parameters,
        )[0]
        return Totals(scenes, int(frames), int(annotations), float(duration_s), int(size))

    def words(self, column: str) -> list[str]:
        """All words of a column of lists, or all values of one of texts, in alphabetical order."""
        value = f"unnest({column})" if COLUMNS[column] is Kind.words else column
        sql = f"SELECT DISTINCT word FROM (SELECT {value} AS word FROM scenes) WHERE word IS NOT NULL ORDER BY word"  # noqa: S608
        return [row[0] for row in self._fetch(sql, ())]

    def _fetch(self, sql: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._connection.execute(sql, list(parameters)).fetchall()


def _condition(question: Question) -> Condition:
    found = parse_condition(question.where, COLUMNS)
    words = question.search.lower().split()
    if len(question.search) > MAX_SEARCH:
        raise InputError(f"A search has at most {MAX_SEARCH} characters.")
    if any(not word.isprintable() for word in words):
        raise InputError("The search has characters that cannot be shown.")
    for word in words:
        both = f"{found.sql} AND contains(searched, ?)"
        found = replace(found, sql=both if found is not ALL else "contains(searched, ?)", parameters=(*found.parameters, word))
    return found


def _order(sort: str) -> str:
    name = sort.removeprefix("-")
    if name not in COLUMNS:
        raise InputError(f"There is no column {name[:60]!r} to sort by. There are: {', '.join(COLUMNS)}.")
    value = f"array_to_string({name}, ' ')" if COLUMNS[name] is Kind.words else f'"{name}"'
    return f"{value} {'DESC' if sort.startswith('-') else 'ASC'} NULLS LAST, scene_id"
