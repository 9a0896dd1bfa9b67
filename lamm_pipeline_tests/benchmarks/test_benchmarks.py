"""Every subject runs and says what it is to say; with next to no work, so that the figures mean nothing."""

import math
from pathlib import Path

import pytest

from lamm_pipeline_tests.benchmarks.harness import Means, NotRunError, Row, Took, Turns, print_table, rates, take_turns
from lamm_pipeline_tests.benchmarks.subjects import SUBJECTS, subject
from lamm_pipeline_tests.scenes.view.scene_files import need_rerun

REAL = {"tracking", "profile", "gifs"}
WITH_TORCH = {"masklet_memory"}
WITH_RERUN = {"scenes"}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize("name", sorted(set(SUBJECTS) - REAL - WITH_TORCH - WITH_RERUN))
def test_a_subject_runs(name: str, cache: Path, tmp_path: Path) -> None:
    assert_rows(subject(name)(Means(tmp_path, cache, tiny=True)))


@pytest.mark.parametrize("name", sorted(WITH_RERUN))
def test_a_subject_with_rerun_runs(name: str, cache: Path, tmp_path: Path) -> None:
    need_rerun()
    assert_rows(subject(name)(Means(tmp_path, cache, tiny=True)))


@pytest.mark.parametrize("name", sorted(REAL))
def test_a_subject_on_real_data_runs(name: str, cache: Path, tmp_path: Path, shared_data: Path) -> None:
    assert_rows(subject(name)(Means(tmp_path, cache, shared_data, tiny=True)))


@pytest.mark.parametrize("name", sorted(REAL))
def test_a_subject_on_real_data_says_what_is_missing(name: str, cache: Path, tmp_path: Path) -> None:
    with pytest.raises(NotRunError, match="LAMM_SHARED_DATA"):
        subject(name)(Means(tmp_path, cache, None, tiny=True))


def assert_rows(rows: list[Row]) -> None:
    assert rows
    assert all(math.isfinite(number) for row in rows for number in (row.ours, row.reference or 0.0, row.ratio or 0.0))


def test_a_bound_is_met_or_missed_by_the_ratio() -> None:
    assert Row("rate", 9.0, 10.0, at_least=0.9).met is True
    assert Row("rate", 8.9, 10.0, at_least=0.9).met is False
    assert Row("size", 1.2, 1.0, at_least=0.5, at_most=1.1).met is False
    assert Row("size", 1.2, None, at_most=1.1).met is None
    assert Row("size", 1.2, 1.0).met is None
    assert "**no**" in print_table("subject", [Row("rate", 8.9, 10.0, at_least=0.9)])


def test_variants_take_turns_and_each_round_has_its_own_ratio() -> None:
    order: list[str] = []
    took = take_turns({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 3)
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert all(len(turns.rounds) == 3 for turns in took.values())
    slow_at_last = [Turns(tuple(Took(wall, 1.0) for wall in walls)) for walls in ((1.0, 2.0, 10.0), (0.5, 1.0, 20.0))]
    [wall, cpu] = rates(10, *slow_at_last, at_least=0.9, note="")
    assert (wall.ratio, wall.met, wall.ours, wall.reference) == (0.5, False, 5.0, 10.0)
    assert (cpu.ratio, cpu.met) == (1.0, None)
