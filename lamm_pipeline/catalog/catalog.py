"""The catalog: one small database beside the artifacts (SQLite on a laptop, Postgres for a team)."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy
from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session

from lamm_pipeline.catalog.activity import ActivityCatalog
from lamm_pipeline.catalog.audit import AuditCatalog
from lamm_pipeline.catalog.decisions import DecisionCatalog
from lamm_pipeline.catalog.evaluations import EvaluationCatalog
from lamm_pipeline.catalog.exports import ExportCatalog
from lamm_pipeline.catalog.labelling import LabellingCatalog
from lamm_pipeline.catalog.recordings import RecordingCatalog
from lamm_pipeline.catalog.source_datasets import SourceDatasetCatalog
from lamm_pipeline.catalog.tags import TagCatalog
from lamm_pipeline.catalog.versions import VersionCatalog

MIGRATIONS = Path(__file__).parent / "migrations"
SQLITE_WAIT_S = 30


class Catalog:
    """The parts of the catalog; brings the database to the newest schema when it is opened."""

    def __init__(self, url: str) -> None:
        self.url = make_url(url)
        arguments: dict[str, Any] = {}
        if self.url.get_backend_name() == "sqlite":
            arguments["timeout"] = SQLITE_WAIT_S
            if self.url.database:
                Path(self.url.database).parent.mkdir(parents=True, exist_ok=True)
        self._engine = sqlalchemy.create_engine(self.url, connect_args=arguments)
        self._migrate()
        self.activity = ActivityCatalog(self._session)
        self.audit = AuditCatalog(self._session)
        self.decisions = DecisionCatalog(self._session)
        self.evaluations = EvaluationCatalog(self._session)
        self.exports = ExportCatalog(self._session)
        self.labelling = LabellingCatalog(self._session)
        self.recordings = RecordingCatalog(self._session)
        self.source_datasets = SourceDatasetCatalog(self._session)
        self.tags = TagCatalog(self._session)
        self.versions = VersionCatalog(self._session)

    @contextmanager
    def _session(self) -> Iterator[Session]:
        with Session(self._engine, expire_on_commit=False) as session, session.begin():
            yield session

    def _migrate(self) -> None:
        config = AlembicConfig()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        head = ScriptDirectory.from_config(config).get_current_head()
        with self._engine.begin() as connection:
            if self.url.get_backend_name() == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")  # two processes that open a new catalog migrate one after the other
            elif self.url.get_backend_name() == "postgresql":
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(5270117)")
            if MigrationContext.configure(connection).get_current_revision() != head:
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
