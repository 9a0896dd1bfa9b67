"""Decisions, labelling status and tags in the catalog: on SQLite and on a real Postgres, with several writers at once."""

import multiprocessing
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config as AlembicConfig
from alembic.runtime.migration import MigrationContext

from lamm_pipeline.catalog.catalog import MIGRATIONS, Catalog
from lamm_pipeline.catalog.decisions import NewDecision
from lamm_pipeline.catalog.models import Base
from lamm_pipeline.errors import InputError
from lamm_pipeline.recordings.ingest import add_files
from lamm_pipeline_tests.postgres import Server, running_server

EACH = 200


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    with running_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'catalog.sqlite'}"
    server: Server = request.getfixturevalue("postgres")
    name = f"catalog_{secrets.token_hex(4)}"
    server.create(name)
    return server.url(name)


@pytest.fixture
def catalog(url: str, tmp_path: Path) -> Catalog:
    found = Catalog(url)
    for name in ("drive", "other"):
        (tmp_path / f"{name}.svo2").write_text(name)
    add_files(found, [tmp_path / "drive.svo2", tmp_path / "other.svo2"], "ada")
    return found


def exclusion(subject: str) -> NewDecision:
    return NewDecision("annotation", subject, "exclude", {"anchor": []}, "v1", "seen twice")


@pytest.mark.requirement("CAT-13")
def test_a_decision_is_kept_with_who_when_what_and_on_which_data(catalog: Catalog) -> None:
    before = datetime.now(UTC)
    [first, second] = catalog.decisions.add("drive", [exclusion("drive:000001:0"), exclusion("drive:000001:1")], "ada")
    found = catalog.decisions.of("drive")
    assert [(each.id, each.actor, each.subject_kind, each.subject, each.action) for each in found] == [
        (first, "ada", "annotation", "drive:000001:0", "exclude"),
        (second, "ada", "annotation", "drive:000001:1", "exclude"),
    ]
    assert (found[0].value, found[0].data_version, found[0].note, found[0].reverts) == ({"anchor": []}, "v1", "seen twice", None)
    assert before <= found[0].at <= datetime.now(UTC)
    assert catalog.decisions.of("other") == []


def test_an_undo_is_a_decision_too_and_is_refused_twice(catalog: Catalog) -> None:
    [made] = catalog.decisions.add("drive", [exclusion("drive:000001:0")], "ada")
    undo = catalog.decisions.undo(made, "bob")
    assert [(each.actor, each.action, each.subject, each.reverts) for each in catalog.decisions.of("drive")] == [
        ("ada", "exclude", "drive:000001:0", None),
        ("bob", "undo", "drive:000001:0", made),
    ]
    with pytest.raises(InputError, match="undone already"):
        catalog.decisions.undo(made, "bob")
    catalog.decisions.undo(undo, "bob")
    catalog.decisions.undo(made, "bob")
    with pytest.raises(InputError, match="no decision 999"):
        catalog.decisions.undo(999, "bob")


def test_the_watermark_of_a_recording_grows_with_every_decision_on_it_alone(catalog: Catalog) -> None:
    assert (catalog.decisions.watermark("drive"), catalog.decisions.watermarks()) == (0, {})
    [first] = catalog.decisions.add("drive", [exclusion("drive:000001:0")], "ada")
    [other] = catalog.decisions.add("other", [exclusion("other:000001:0")], "ada")
    assert catalog.decisions.watermark("drive") == first
    undo = catalog.decisions.undo(first, "ada")
    assert catalog.decisions.watermark("drive") == undo > other
    assert {key: mark.decision_id for key, mark in catalog.decisions.watermarks().items()} == {"drive": undo, "other": other}
    assert catalog.decisions.watermarks()["drive"].at == catalog.decisions.of("drive")[-1].at


def test_decisions_on_an_unknown_recording_are_refused_and_leave_nothing(catalog: Catalog) -> None:
    with pytest.raises(InputError, match="No recording is called 'typo'"):
        catalog.decisions.add("typo", [exclusion("typo:000001:0")], "ada")
    assert catalog.decisions.of("typo") == []


@pytest.mark.requirement("CAT-13")
@pytest.mark.parametrize("statement", ["UPDATE decisions SET action = 'keep'", "DELETE FROM decisions"])
def test_the_database_itself_refuses_to_change_or_delete_a_decision(catalog: Catalog, url: str, statement: str) -> None:
    catalog.decisions.add("drive", [exclusion("drive:000001:0")], "ada")
    engine = sqlalchemy.create_engine(url)
    with pytest.raises(sqlalchemy.exc.DBAPIError, match="only ever added"), engine.begin() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()
    assert [each.action for each in catalog.decisions.of("drive")] == ["exclude"]


@pytest.mark.requirement("SEQ-13", "CAT-13")
def test_labelling_status_and_labeler_are_set_on_their_own_and_audited(catalog: Catalog) -> None:
    assert (catalog.labelling.of("drive").status, catalog.labelling.of("drive").labeler) == ("unlabelled", None)
    catalog.labelling.set(["drive"], "ada", status="in_progress")
    catalog.labelling.set(["drive"], "ada", labeler="eve")
    catalog.labelling.set(["drive"], "ada", status="in_progress")
    row = catalog.labelling.of("drive")
    assert (row.status, row.labeler, row.updated_by) == ("in_progress", "eve", "ada")
    assert catalog.labelling.set(["drive"], "bob", labeler="") == 1
    assert catalog.labelling.set(["drive"], "bob", labeler="") == 0
    assert catalog.labelling.of("drive").labeler is None
    history = [event.details for event in catalog.audit.events("drive") if event.action == "labelling.set"]
    assert [(each["before"], each["after"]) for each in history] == [
        ({"status": "unlabelled", "labeler": None}, {"status": "in_progress", "labeler": None}),
        ({"status": "in_progress", "labeler": None}, {"status": "in_progress", "labeler": "eve"}),
        ({"status": "in_progress", "labeler": "eve"}, {"status": "in_progress", "labeler": None}),
    ]
    assert {key: each.status for key, each in catalog.labelling.all().items()} == {"drive": "in_progress"}


def test_tags_are_put_on_once_taken_off_and_audited(catalog: Catalog) -> None:
    catalog.tags.add(["drive"], ["rain", "night"], "ada")
    catalog.tags.add(["drive"], ["night"], "ada")
    catalog.tags.add(["other"], ["night"], "ada")
    assert catalog.tags.all() == {"drive": ["night", "rain"], "other": ["night"]}
    catalog.tags.remove(["drive"], ["night", "never"], "bob")
    assert catalog.tags.of("drive") == ["rain"]
    events = [(event.actor, event.action, event.details["tag"]) for event in catalog.audit.events("drive") if "tag" in event.action]
    assert events == [("ada", "tag.add", "night"), ("ada", "tag.add", "rain"), ("bob", "tag.remove", "night")]


def write_decisions(url: str, actor: str, start: "multiprocessing.synchronize.Barrier") -> None:
    catalog = Catalog(url)
    start.wait()
    for number in range(EACH):
        catalog.decisions.add("drive", [exclusion(f"{actor}:{number}")], actor)
        if number % 50 == 0:
            catalog.tags.add(["drive"], [f"tag {number}"], actor)
            catalog.labelling.set(["drive"], actor, labeler=actor)


@pytest.mark.requirement("CAT-13")
def test_two_processes_that_write_at_once_lose_nothing_and_readers_see_ids_in_order(catalog: Catalog, url: str) -> None:
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(3)
    writers = [context.Process(target=write_decisions, args=(url, actor, start)) for actor in ("ada", "bob")]
    for writer in writers:
        writer.start()
    start.wait()
    seen: list[int] = []
    while any(writer.is_alive() for writer in writers):
        ids = [each.id for each in catalog.decisions.of("drive")]
        assert ids[: len(seen)] == seen  # nothing appears behind what somebody has read
        seen = ids
    assert [writer.exitcode for writer in writers] == [0, 0]
    found = catalog.decisions.of("drive")
    for actor in ("ada", "bob"):
        assert [each.subject for each in found if each.actor == actor] == [f"{actor}:{number}" for number in range(EACH)]
    assert len({each.id for each in found}) == 2 * EACH
    assert catalog.tags.of("drive") == ["tag 0", "tag 100", "tag 150", "tag 50"]
    assert catalog.labelling.of("drive").labeler in {"ada", "bob"}


def test_two_processes_that_undo_the_same_decision_do_it_once(catalog: Catalog, url: str) -> None:
    [made] = catalog.decisions.add("drive", [exclusion("drive:000001:0")], "ada")
    context = multiprocessing.get_context("spawn")
    with context.Pool(2) as pool:
        answers = pool.starmap(undo_once, [(url, made), (url, made)], chunksize=1)
    assert sorted(answers) == [False, True]
    assert [each.action for each in catalog.decisions.of("drive")] == ["exclude", "undo"]


def undo_once(url: str, decision_id: int) -> bool:
    try:
        Catalog(url).decisions.undo(decision_id, "bob")
    except InputError:
        return False
    return True


def test_a_catalog_of_the_schema_before_is_migrated_with_its_data_and_back(url: str) -> None:
    engine = sqlalchemy.create_engine(url)
    config = AlembicConfig()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
        connection.exec_driver_sql(
            "INSERT INTO recordings (key, source_path, path, size, mtime_ns, quick_digest, added_at, added_by)"
            " VALUES ('drive', '/in/drive.svo2', '/in/drive.svo2', 4, 5, 'q', '2026-11-01 00:00:00', 'ada')"
        )
        connection.exec_driver_sql(
            "INSERT INTO audit (at, actor, action, subject, details) VALUES ('2026-11-01 00:00:00', 'ada', 'recording.add', 'drive', '{}')"
        )
    catalog = Catalog(url)
    assert catalog.recordings.all_keys() == ["drive"]
    assert catalog.labelling.of("drive").status == "unlabelled"
    assert len(catalog.decisions.add("drive", [exclusion("drive:000001:0")], "ada")) == 1
    with engine.begin() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
        config.attributes["connection"] = connection
        command.downgrade(config, "0002")
    with engine.connect() as connection:
        assert not {"decisions", "labelling", "recording_tags"} & set(sqlalchemy.inspect(connection).get_table_names())
    engine.dispose()
    again = Catalog(url)
    assert again.decisions.of("drive") == []
    assert [event.action for event in again.audit.events("drive")] == ["recording.add"]
