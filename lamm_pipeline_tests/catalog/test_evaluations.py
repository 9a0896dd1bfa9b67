"""The catalog's evaluations, on SQLite and on PostgreSQL."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from lamm_pipeline.catalog.catalog import Catalog
from lamm_pipeline.catalog.decisions import utc
from lamm_pipeline.catalog.models import EvaluationRecording, EvaluationRow, now
from lamm_pipeline_tests.postgres import Server, running_server


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    with running_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgres"])
def catalog(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    if request.param == "sqlite":
        return Catalog(f"sqlite:///{tmp_path_factory.mktemp('catalog') / 'catalog.sqlite'}")
    server: Server = request.getfixturevalue("postgres")
    name = f"test_{uuid.uuid4().hex}"
    server.create(name)
    return Catalog(server.url(name))


def row(name: str, day: int) -> EvaluationRow:
    return EvaluationRow(
        id=name,
        model_id="v3",
        path=f"/predictions/{name}",
        classes=["ground", "obstacle"],
        members=None,
        foreground=[],
        created_at=datetime(2026, 5, day, 12, tzinfo=UTC),
        note="",
        labels_folder=None,
        class_map=None,
        added_at=now(),
        added_by="ada",
    )


def parts(name: str, **stamps: str) -> list[EvaluationRecording]:
    return [EvaluationRecording(evaluation=name, recording=key, frames=2, stamp=stamp, digest=None) for key, stamp in stamps.items()]


@pytest.mark.requirement("UNC-01")
def test_evaluations_are_kept_with_their_recordings_oldest_model_run_first(catalog: Catalog) -> None:
    catalog.evaluations.put(row("late", 9), parts("late", drive="a", ride="b"), "ada", "evaluation.add")
    catalog.evaluations.put(row("early", 1), parts("early", drive="c"), "ada", "evaluation.add")
    assert [each.id for each in catalog.evaluations.all()] == ["early", "late"]
    assert [(each.id, part.stamp) for each, part in catalog.evaluations.of_recording("drive")] == [("early", "c"), ("late", "a")]
    assert utc(catalog.evaluations.get("early").created_at) == datetime(2026, 5, 1, 12, tzinfo=UTC)
    assert catalog.evaluations.at("/predictions/late").id == "late"  # type: ignore[union-attr]


def test_a_change_takes_the_place_of_what_was_known(catalog: Catalog) -> None:
    catalog.evaluations.put(row("night", 1), parts("night", drive="a", ride="b"), "ada", "evaluation.add")
    catalog.evaluations.set_digest("night", "drive", "a2", "d" * 64)
    catalog.evaluations.set_digest("night", "gone", "a2", "d" * 64)
    assert [(part.stamp, part.digest) for part in catalog.evaluations.recordings("night")] == [("a2", "d" * 64), ("b", None)]
    changed = row("night", 1)
    changed.model_id = "v4"
    catalog.evaluations.put(changed, parts("night", drive="z"), "bob", "evaluation.change")
    assert catalog.evaluations.get("night").model_id == "v4"
    assert [(part.recording, part.stamp) for part in catalog.evaluations.recordings("night")] == [("drive", "z")]
