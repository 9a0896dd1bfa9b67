from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config as AlembicConfig
from alembic.runtime.migration import MigrationContext

from lamm_pipeline.catalog.catalog import MIGRATIONS, Catalog
from lamm_pipeline.catalog.files import KnownFile
from lamm_pipeline.catalog.models import Base, DatasetVersion, now
from lamm_pipeline.errors import InputError
from lamm_pipeline.recordings.ingest import add_files


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog(f"sqlite:///{tmp_path / 'catalog.sqlite'}")


def test_the_migrations_build_exactly_the_models(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'catalog.sqlite'}"
    Catalog(url)
    with sqlalchemy.create_engine(url).connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []


def test_a_new_catalog_can_be_opened_by_many_at_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'catalog.sqlite'}"
    with ThreadPoolExecutor(8) as pool:
        assert len([catalog.source_datasets.all() for catalog in pool.map(lambda _: Catalog(url), range(8))]) == 8


@pytest.mark.requirement("ING-05", "ING-11")
def test_a_source_dataset_is_remembered_and_its_name_is_unique(catalog: Catalog, tmp_path: Path) -> None:
    row = catalog.source_datasets.add("night", tmp_path, "copy", "ada")
    found = catalog.source_datasets.find("night")
    assert found is not None
    assert (found.id, found.folder, found.prepare, found.created_by) == (row.id, str(tmp_path), "copy", "ada")
    with pytest.raises(InputError, match="'night' already"):
        catalog.source_datasets.add("night", tmp_path, "copy", "ada")


def test_a_version_is_never_written_twice(catalog: Catalog) -> None:
    def row() -> DatasetVersion:
        return DatasetVersion(
            key="a.v1",
            name="a",
            number=1,
            title="",
            description="",
            manifest_path="m",
            manifest_digest="d",
            created_at=now(),
            created_by="ada",
        )

    catalog.versions.add(row())
    with pytest.raises(InputError, match=r"a\.v1 exists already"):
        catalog.versions.add(row())


def test_an_unknown_version_is_refused_with_the_way_to_make_one(catalog: Catalog) -> None:
    with pytest.raises(InputError, match=r"no manifest.*lamm dataset create"):
        catalog.versions.get("typed-by-hand.v1")


def test_every_change_is_in_the_audit_trail(catalog: Catalog, tmp_path: Path) -> None:
    catalog.source_datasets.add("night", tmp_path, "reference", "ada")
    catalog.audit.add("bob", "note", "night", {"text": "looked at it"})
    assert [(event.actor, event.action, event.subject) for event in catalog.audit.events()] == [
        ("ada", "dataset.add", "night"),
        ("bob", "note", "night"),
    ]
    assert [event.actor for event in catalog.audit.events("nothing")] == []


@pytest.mark.parametrize("name", ["../outside", "..", ".hidden", "a/b", "a\\b", "", "x" * 201, "line\nbreak"])
def test_a_source_dataset_whose_name_is_no_folder_name_is_refused(catalog: Catalog, tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="names a folder"):
        catalog.source_datasets.add(name, tmp_path, "copy", "ada")
    assert catalog.source_datasets.all() == []


def test_a_catalog_of_the_first_schema_is_migrated_and_keeps_its_recordings(tmp_path: Path) -> None:
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path / 'catalog.sqlite'}")
    config = AlembicConfig()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.exec_driver_sql(
            "INSERT INTO recordings (key, source_path, path, size, mtime_ns, quick_digest, added_at, added_by)"
            " VALUES ('drive', '/in/drive.svo2', '/in/drive.svo2', 4, 5, 'q', '2026-11-01 00:00:00', 'ada')"
        )
    catalog = Catalog(f"sqlite:///{tmp_path / 'catalog.sqlite'}")
    assert catalog.recordings.known_files() == {"/in/drive.svo2": KnownFile("drive", 4, 5, missing=False)}
    assert [row.key for row in catalog.recordings.undated()] == ["drive"]
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0001")
    with engine.connect() as connection:
        columns = {column["name"] for column in sqlalchemy.inspect(connection).get_columns("recordings")}
    assert "recorded_at" not in columns
    assert "added_by" in columns


@pytest.mark.requirement("ING-15")
def test_recordings_are_chosen_by_the_time_of_their_first_frame(catalog: Catalog, tmp_path: Path) -> None:
    days = {
        "early": datetime(2026, 10, 31, 23, 59, 59, tzinfo=UTC),
        "b": datetime(2026, 11, 1, tzinfo=UTC),
        "a": datetime(2026, 11, 3, 12, tzinfo=UTC),
    }
    for key, at in days.items():
        (tmp_path / f"{key}.svo2").write_text(key)
        add_files(catalog, [tmp_path / f"{key}.svo2"], "ada")
        catalog.recordings.set_recorded_at(key, int(at.timestamp()) * 10**9)
    assert catalog.recordings.recorded_between(days["b"], datetime(2026, 11, 4, tzinfo=UTC)) == ["b", "a"]
    assert catalog.recordings.recorded_between(None, datetime(2026, 11, 1, tzinfo=UTC)) == ["early"]
    assert catalog.recordings.recorded_between(days["b"], days["a"]) == ["b"]
