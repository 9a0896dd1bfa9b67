"""The catalog: one small database beside the artifacts (SQLite on a laptop, Postgres for a team)."""

import re
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy
from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import func, select, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from lamm_pipeline.catalog.activity import ActivityCatalog
from lamm_pipeline.catalog.decisions import UNDO, Decision, NewDecision, Watermark, decision_of, undone, utc
from lamm_pipeline.catalog.evaluations import EvaluationCatalog
from lamm_pipeline.catalog.exports import ExportCatalog
from lamm_pipeline.catalog.known_files import KnownFile
from lamm_pipeline.catalog.models import (
    AuditEvent,
    DatasetVersion,
    DecisionRow,
    Labelling,
    Recording,
    RecordingTag,
    SourceDataset,
    now,
)
from lamm_pipeline.catalog.scenes import SceneCatalog
from lamm_pipeline.errors import InputError

MIGRATIONS = Path(__file__).parent / "migrations"
SQLITE_WAIT_S = 30
UNLABELLED = "unlabelled"

_DATASET_NAME = re.compile(r"[^./\\\x00-\x1f][^/\\\x00-\x1f]{0,199}")


class Catalog:
    """Reads and writes the catalog; brings the database to the newest schema when it is opened."""

    def __init__(self, url: str) -> None:
        self.url = make_url(url)
        arguments: dict[str, Any] = {}
        if self.url.get_backend_name() == "sqlite":
            arguments["timeout"] = SQLITE_WAIT_S
            if self.url.database:
                Path(self.url.database).parent.mkdir(parents=True, exist_ok=True)
        self._engine = sqlalchemy.create_engine(self.url, connect_args=arguments)
        self._migrate()

    @property
    def activity(self) -> ActivityCatalog:
        """What happened, the newest first."""
        return ActivityCatalog(self._session)

    @property
    def evaluations(self) -> EvaluationCatalog:
        """The evaluations of models."""
        return EvaluationCatalog(self._session)

    @property
    def exports(self) -> ExportCatalog:
        """The annotation exports."""
        return ExportCatalog(self._session)

    @property
    def scenes(self) -> SceneCatalog:
        """Many recordings at once."""
        return SceneCatalog(self._session)

    def add_dataset(self, name: str, folder: Path, prepare: str, actor: str) -> SourceDataset:
        """Declare `folder` as the source dataset `name`.

        Raises:
            InputError: the name is taken, or cannot be the name of a folder.
        """
        if _DATASET_NAME.fullmatch(name) is None:
            raise InputError(
                f"A source dataset cannot be called {name!r}: it names a folder, so use no slash and no leading dot, and at most 200 "
                "characters. Give it another --name."
            )
        row = SourceDataset(id=str(uuid.uuid4()), name=name, folder=str(folder), prepare=prepare, created_at=now(), created_by=actor)
        try:
            with self._session() as session:
                session.add(row)
                _audit(session, actor, "dataset.add", name, {"folder": str(folder), "prepare": prepare})
        except IntegrityError:
            raise InputError(f"There is a source dataset {name!r} already. Choose another name, or scan that one again.") from None
        return row

    def dataset(self, name: str) -> SourceDataset | None:
        """The source dataset `name`, or None."""
        with self._session() as session:
            return session.scalar(select(SourceDataset).where(SourceDataset.name == name))

    def dataset_by_id(self, dataset_id: str) -> SourceDataset:
        """The source dataset with this id."""
        with self._session() as session:
            return session.get_one(SourceDataset, dataset_id)

    def datasets(self) -> Sequence[SourceDataset]:
        """All source datasets, by name."""
        with self._session() as session:
            return session.scalars(select(SourceDataset).order_by(SourceDataset.name)).all()

    def add_recording(self, row: Recording) -> bool:
        """Remember a new recording; False when its key or its source path is taken."""
        try:
            with self._session() as session:
                session.add(row)
                _audit(session, row.added_by, "recording.add", row.key, _found(row))
        except IntegrityError:
            return False
        return True

    def replace_recording(self, row: Recording, actor: str, action: str) -> None:
        """Replace what is known of the recording with this key; audited as `action`."""
        with self._session() as session:
            session.merge(row)
            _audit(session, actor, action, row.key, _found(row))

    def recording(self, key: str) -> Recording:
        """The recording with this key.

        Raises:
            InputError: there is none.
        """
        with self._session() as session:
            row = session.get(Recording, key)
        if row is None:
            raise InputError(f"No recording is called {key!r}. Add its file with `lamm add FILE`, then use the key it prints.")
        return row

    def recordings(self, dataset_id: str | None = None) -> Sequence[Recording]:
        """Recordings by key: all, or those of one source dataset."""
        query = select(Recording).order_by(Recording.key)
        with self._session() as session:
            return session.scalars(query if dataset_id is None else query.where(Recording.dataset_id == dataset_id)).all()

    def recording_from(self, source_path: Path) -> Recording | None:
        """The recording that was found at this path, or None."""
        with self._session() as session:
            return session.scalar(select(Recording).where(Recording.source_path == str(source_path)))

    def has_recording(self, key: str) -> bool:
        """Whether a recording has this key."""
        with self._session() as session:
            return session.get(Recording, key) is not None

    def recordings_like(self, quick_digest: str) -> Sequence[Recording]:
        """Recordings whose file has this quick digest, by key."""
        with self._session() as session:
            return session.scalars(select(Recording).where(Recording.quick_digest == quick_digest).order_by(Recording.key)).all()

    def same_content(self, key: str, digest: str) -> list[str]:
        """Keys of the other recordings whose file has the same digest."""
        with self._session() as session:
            return list(
                session.scalars(select(Recording.key).where(Recording.digest == digest, Recording.key != key).order_by(Recording.key))
            )

    def set_digest(self, key: str, digest: str, size: int, mtime_ns: int) -> None:
        """Remember the digest of a recording's whole file, and the size and stamp it was computed at."""
        with self._session() as session:
            row = session.get_one(Recording, key)
            row.digest, row.size, row.mtime_ns = digest, size, mtime_ns

    def set_path(self, key: str, path: Path) -> None:
        """Remember where stages read a recording."""
        with self._session() as session:
            session.get_one(Recording, key).path = str(path)

    def set_recorded_at(self, key: str, timestamp_ns: int) -> None:
        """Remember when a recording was recorded, from the Unix time of its first frame."""
        with self._session() as session:
            session.get_one(Recording, key).recorded_at = datetime.fromtimestamp(timestamp_ns / 1e9, UTC)

    def recorded_between(self, start: datetime | None, stop: datetime) -> list[str]:
        """Keys of the recordings recorded at `start` or later and before `stop`, oldest first; None = from the beginning."""
        query = select(Recording.key).where(Recording.recorded_at < stop).order_by(Recording.recorded_at, Recording.key)
        with self._session() as session:
            return list(session.scalars(query if start is None else query.where(Recording.recorded_at >= start)))

    def undated(self) -> Sequence[Recording]:
        """Recordings of which nobody has read yet when they were recorded, by key."""
        with self._session() as session:
            return session.scalars(select(Recording).where(Recording.recorded_at.is_(None)).order_by(Recording.key)).all()

    def known_files(self) -> dict[str, KnownFile]:
        """What is known of every recording's file, by its source path; one query."""
        query = select(Recording.source_path, Recording.key, Recording.seen_size, Recording.seen_mtime_ns, Recording.missing_since)
        with self._session() as session:
            return {path: KnownFile(key, size, mtime_ns, since is not None) for path, key, size, mtime_ns, since in session.execute(query)}

    def set_seen(self, key: str, size: int, mtime_ns: int) -> None:
        """Remember that the file of a recording has this size and stamp, and its known content."""
        with self._session() as session:
            row = session.get_one(Recording, key)
            row.seen_size, row.seen_mtime_ns, row.missing_since = size, mtime_ns, None

    def set_missing(self, keys: Iterable[str], actor: str, *, missing: bool) -> None:
        """Note that the files of recordings are gone, or there again. Nothing is deleted."""
        with self._session() as session:
            for key in keys:
                session.get_one(Recording, key).missing_since = now() if missing else None
                _audit(session, actor, "recording.missing" if missing else "recording.found", key, {})

    def wanted_runs(self, limit: int) -> list[tuple[str, str]]:
        """Recording key and run key of the runs that the sensor has still to ask for: the `limit` first by key."""
        query = select(Recording.key, Recording.run_key).where(Recording.run_key.is_not(None)).order_by(Recording.key).limit(limit)
        with self._session() as session:
            return [(key, str(run_key)) for key, run_key in session.execute(query)]

    def runs_asked_for(self, run_keys: Iterable[str]) -> None:
        """Forget wanted runs: Dagster has them."""
        with self._session() as session:
            for run_key in run_keys:
                session.execute(update(Recording).where(Recording.run_key == run_key).values(run_key=None))

    def add_version(self, row: DatasetVersion) -> None:
        """Remember a dataset version.

        Raises:
            InputError: the version exists.
        """
        try:
            with self._session() as session:
                session.add(row)
                _audit(session, row.created_by, "version.create", row.key, {"manifest_digest": row.manifest_digest})
        except IntegrityError:
            raise InputError(f"The dataset version {row.key} exists already; versions never change. Create the next one.") from None

    def versions(self, name: str | None = None, *, deleted: bool = False) -> Sequence[DatasetVersion]:
        """Dataset versions by name and number: all, or those of one name; deleted ones only when they are asked for too."""
        query = select(DatasetVersion).order_by(DatasetVersion.name, DatasetVersion.number)
        query = query if name is None else query.where(DatasetVersion.name == name)
        with self._session() as session:
            return session.scalars(query if deleted else query.where(DatasetVersion.deleted_at.is_(None))).all()

    def version(self, key: str) -> DatasetVersion:
        """One dataset version.

        Raises:
            InputError: there is none with this key (any more).
        """
        with self._session() as session:
            return _version(session, key)

    def edit_version(self, key: str, actor: str, *, title: str | None = None, description: str | None = None) -> DatasetVersion:
        """Give a version another title or description; None leaves what there is. Nothing else of a version can change.

        Raises:
            InputError: there is no such version (any more).
        """
        with self._session() as session:
            row = _version(session, key)
            before = {"title": row.title, "description": row.description}
            row.title = row.title if title is None else title
            row.description = row.description if description is None else description
            after = {"title": row.title, "description": row.description}
            if after != before:
                _audit(session, actor, "version.edit", key, {"before": before, "after": after})
            return row

    def delete_version(self, key: str, actor: str) -> None:
        """Note that a version is deleted.

        Raises:
            InputError: there is no such version (any more).
        """
        with self._session() as session:
            row = _version(session, key)
            row.deleted_at = now()
            _audit(session, actor, "version.delete", key, {"manifest_digest": row.manifest_digest})

    def add_decisions(self, recording: str, decisions: Iterable[NewDecision], actor: str) -> list[int]:
        """Remember what somebody says about a recording's data: all of it or nothing. `review/deciding.py` checks it first.

        Returns:
            The ids, one for each decision in order.

        Raises:
            InputError: there is no such recording.
        """
        at = now()
        rows = [DecisionRow(at=at, actor=actor, recording=recording, reverts=None, **_columns(each)) for each in decisions]
        with self._changing(recording) as session:
            session.add_all(rows)
            session.flush()
            return [row.id for row in rows]

    def undo(self, decision_id: int, actor: str) -> int:
        """Take a decision back; undoing an undo puts it in force again. Returns the id of the undo.

        Raises:
            InputError: there is no such decision, or it is taken back already.
        """
        with self._session() as session:
            found = session.get(DecisionRow, decision_id)
        if found is None:
            raise InputError(f"There is no decision {decision_id}. `lamm decisions RECORDING` lists them.")
        with self._changing(found.recording) as session:
            rows = session.scalars(select(DecisionRow).where(DecisionRow.recording == found.recording))
            if decision_id in undone(map(decision_of, rows)):
                raise InputError(f"Decision {decision_id} is undone already. Undo its undo to put it in force again.")
            row = DecisionRow(
                at=now(),
                actor=actor,
                recording=found.recording,
                subject_kind=found.subject_kind,
                subject=found.subject,
                action=UNDO,
                value={},
                data_version=found.data_version,
                reverts=decision_id,
                note="",
            )
            session.add(row)
            session.flush()
            return row.id

    def decisions(self, recording: str, after: int = 0) -> list[Decision]:
        """Decisions on a recording with a higher id than `after`, undone ones and undos among them, oldest first."""
        query = select(DecisionRow).where(DecisionRow.recording == recording, DecisionRow.id > after).order_by(DecisionRow.id)
        with self._session() as session:
            return [decision_of(row) for row in session.scalars(query)]

    def decision_watermark(self, recording: str) -> int:
        """The highest id of a decision on this recording, 0 when there is none. It grows with every decision, undos among them."""
        with self._session() as session:
            return session.scalar(select(func.max(DecisionRow.id)).where(DecisionRow.recording == recording)) or 0

    def decision_watermarks(self) -> dict[str, Watermark]:
        """How far the decisions on each recording go; recordings without any are not in it. One query."""
        newest = select(func.max(DecisionRow.id)).group_by(DecisionRow.recording)
        query = select(DecisionRow.recording, DecisionRow.id, DecisionRow.at).where(DecisionRow.id.in_(newest))
        with self._session() as session:
            return {recording: Watermark(number, utc(at)) for recording, number, at in session.execute(query)}

    def set_labelling(self, recording: str, actor: str, *, status: str | None = None, labeler: str | None = None) -> Labelling:
        """Set how far labelling is, who does it, or both; None leaves what is known, an empty labeler takes the recording from them.

        Raises:
            InputError: there is no such recording.
        """
        with self._changing(recording) as session:
            row = session.get(Labelling, recording) or _unlabelled(recording)
            before = {"status": row.status, "labeler": row.labeler}
            row.status = row.status if status is None else status
            row.labeler = row.labeler if labeler is None else labeler or None
            after = {"status": row.status, "labeler": row.labeler}
            if after != before:
                row.updated_at, row.updated_by = now(), actor
                session.add(row)
                _audit(session, actor, "labelling.set", recording, {"before": before, "after": after})
        return row

    def labelling(self, recording: str) -> Labelling:
        """How far labelling of a recording is; `unlabelled` where nobody has said anything."""
        with self._session() as session:
            return session.get(Labelling, recording) or _unlabelled(recording)

    def labellings(self) -> dict[str, Labelling]:
        """How far labelling is, of every recording of which somebody has said anything; one query."""
        with self._session() as session:
            return {row.recording: row for row in session.scalars(select(Labelling))}

    def tag(self, recording: str, tags: Iterable[str], actor: str) -> None:
        """Put tags on a recording.

        Raises:
            InputError: there is no such recording.
        """
        with self._changing(recording) as session:
            have = set(session.scalars(select(RecordingTag.tag).where(RecordingTag.recording == recording)))
            for each in sorted(set(tags) - have):
                session.add(RecordingTag(recording=recording, tag=each))
                _audit(session, actor, "tag.add", recording, {"tag": each})

    def untag(self, recording: str, tags: Iterable[str], actor: str) -> None:
        """Take tags off a recording; those that it does not have make no difference.

        Raises:
            InputError: there is no such recording.
        """
        with self._changing(recording) as session:
            for each in sorted(set(tags)):
                row = session.get(RecordingTag, (recording, each))
                if row is not None:
                    session.delete(row)
                    _audit(session, actor, "tag.remove", recording, {"tag": each})

    def tags(self, recording: str) -> list[str]:
        """Tags of a recording, in alphabetical order."""
        return self.all_tags().get(recording, [])

    def all_tags(self) -> dict[str, list[str]]:
        """Tags by recording, in alphabetical order; one query."""
        found: dict[str, list[str]] = {}
        with self._session() as session:
            for row in session.scalars(select(RecordingTag)):
                found.setdefault(row.recording, []).append(row.tag)
        return {recording: sorted(tags) for recording, tags in sorted(found.items())}

    def audit(self, actor: str, action: str, subject: str, details: dict[str, Any]) -> None:
        """Remember that somebody did something."""
        with self._session() as session:
            _audit(session, actor, action, subject, details)

    def audit_events(self, subject: str | None = None) -> Sequence[AuditEvent]:
        """What happened, oldest first: everything, or to one subject."""
        query = select(AuditEvent).order_by(AuditEvent.id)
        with self._session() as session:
            return session.scalars(query if subject is None else query.where(AuditEvent.subject == subject)).all()

    @contextmanager
    def _session(self) -> Iterator[Session]:
        with Session(self._engine, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def _changing(self, recording: str) -> Iterator[Session]:
        """A transaction that nobody else's on the same recording runs beside, so that ids become visible in their order."""
        with self._session() as session:
            if self.url.get_backend_name() == "sqlite":
                session.connection().exec_driver_sql("BEGIN IMMEDIATE")
            if session.scalar(select(Recording.key).where(Recording.key == recording).with_for_update()) is None:
                raise InputError(f"No recording is called {recording!r}. `lamm status` lists them.")
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


def _found(row: Recording) -> dict[str, Any]:
    return {"path": row.path, "size": row.size, "quick_digest": row.quick_digest}


def _version(session: Session, key: str) -> DatasetVersion:
    row = session.get(DatasetVersion, key)
    if row is None:
        raise InputError(
            f"{key!r} is no dataset version: it has no manifest. Create one with the job `create_dataset` or `lamm dataset create`, "
            "not by adding a partition by hand."
        )
    if row.deleted_at is not None:
        raise InputError(f"Dataset version {key!r} was deleted on {row.deleted_at:%Y-%m-%d}. `lamm dataset list` shows those there are.")
    return row


def _columns(decision: NewDecision) -> dict[str, Any]:
    return {**vars(decision), "value": dict(decision.value)}


def _unlabelled(recording: str) -> Labelling:
    return Labelling(recording=recording, status=UNLABELLED, labeler=None)


def _audit(session: Session, actor: str, action: str, subject: str, details: dict[str, Any]) -> None:
    session.add(AuditEvent(at=now(), actor=actor, action=action, subject=subject, details=details))
