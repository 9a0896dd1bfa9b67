"""Which scenes, in which order, which page of them: DuckDB's answers held against plain Python's."""

import random
import threading
from dataclasses import replace

import duckdb
import pytest

from lamm_pipeline.errors import InputError
from lamm_pipeline.scenes.library.query import COLUMNS, Question, SceneQueries
from lamm_pipeline_tests.scenes.library.scene_worlds import scene

SCENES = sorted((scene(number) for number in range(120)), key=lambda each: each.scene_id)


@pytest.fixture(scope="module")
def queries() -> SceneQueries:
    shuffled = list(SCENES)
    random.Random(1).shuffle(shuffled)
    return SceneQueries(shuffled)


@pytest.mark.requirement("CAT-07", "UNC-03")
@pytest.mark.parametrize("column", ["max_uncertainty", "captured_at", "labeler", "frames", "scene_id", "gps_start_lat"])
def test_sorted_either_way_with_unknown_values_last_and_ties_by_id(queries: SceneQueries, column: str) -> None:
    by_id = sorted(SCENES, key=lambda each: each.scene_id)
    known = [each for each in by_id if getattr(each, column) is not None]
    unknown = [each for each in by_id if getattr(each, column) is None]
    for sign, reverse in (("", False), ("-", True)):
        expected = sorted(known, key=lambda each: getattr(each, column), reverse=reverse) + unknown
        assert queries.page(Question(sort=f"{sign}{column}")) == expected


@pytest.mark.requirement("CAT-07", "CAT-08")
def test_every_column_can_be_sorted_by(queries: SceneQueries) -> None:
    for column in COLUMNS:
        assert len(queries.ids(Question(sort=f"-{column}"))) == len(SCENES)
    with pytest.raises(InputError, match="There is no column"):
        queries.ids(Question(sort='scene_id"; DROP TABLE scenes; --'))


@pytest.mark.requirement("CAT-10")
def test_the_search_finds_words_in_ids_and_tags_whatever_their_case(queries: SceneQueries) -> None:
    found = queries.page(Question(search="RAIN harb"))
    assert found == [each for each in SCENES if "rain" in each.tags and "harbour" in each.scene_id]
    assert found
    assert queries.ids(Question(search="%")) == queries.ids(Question(search="' OR 1=1")) == []
    with pytest.raises(InputError):
        queries.ids(Question(search="x" * 201))


def test_pages_are_parts_of_the_whole(queries: SceneQueries) -> None:
    question = Question("frames > 500", sort="-frames")
    whole = queries.ids(question)
    assert [each for offset in range(0, len(whole), 7) for each in queries.ids(question, offset, 7)] == whole
    assert queries.ids(question, 10_000, 50) == []
    totals = queries.totals(question)
    chosen = [each for each in SCENES if (each.frames or 0) > 500]
    assert (totals.scenes, totals.frames, totals.storage_bytes) == (
        len(chosen),
        sum(each.frames or 0 for each in chosen),
        sum(each.storage_bytes for each in chosen),
    )
    assert queries.words("tags") == ["city", "highway", "night", "rain", "tunnel"]
    assert queries.words("labeler") == ["bob", "eve"]


def test_no_scene_and_one_scene() -> None:
    nothing = SceneQueries([])
    assert (nothing.ids(Question("max_uncertainty > 0.6")), nothing.totals(Question()).scenes, nothing.words("tags")) == ([], 0, [])
    bare = replace(scene(0), max_uncertainty=None, frames=None, captured_at=None, tags=(), duration_s=None)
    one = SceneQueries([bare])
    assert one.page(Question("max_uncertainty is None", sort="-max_uncertainty")) == [bare]
    assert one.totals(Question()).frames == 0


def test_the_database_reads_no_files(queries: SceneQueries) -> None:
    with pytest.raises(duckdb.Error, match="disabled"):
        queries._fetch("SELECT * FROM read_text('/etc/hostname')", ())
    with pytest.raises(duckdb.Error, match="locked"):
        queries._fetch("SET enable_external_access = true", ())


def test_several_threads_may_ask(queries: SceneQueries) -> None:
    answers: list[int] = []

    def ask() -> None:
        answers.extend(len(queries.ids(Question("frames > 10", sort="-frames"))) for _ in range(20))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert answers == [len(SCENES)] * 80
