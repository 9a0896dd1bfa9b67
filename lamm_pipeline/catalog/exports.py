"""The catalog's annotation exports: ZIPs that were taken in, a partition each."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from lamm_pipeline.catalog.known_files import KnownFile
from lamm_pipeline.catalog.models import AnnotationExport, AuditEvent, now
from lamm_pipeline.errors import InputError


class ExportCatalog:
    """Reads and writes the annotation exports. Get it from a `Catalog`."""

    def __init__(self, session: Callable[[], AbstractContextManager[Session]]) -> None:
        self._session = session

    def add(self, row: AnnotationExport) -> bool:
        """Remember a new export; False when its key or its path is taken."""
        try:
            with self._session() as session:
                session.add(row)
                _audit(session, row.added_by, "export.add", row.key, _found(row))
        except IntegrityError:
            return False
        return True

    def replace(self, row: AnnotationExport, actor: str, action: str) -> None:
        """Replace what is known of the export with this key; audited as `action`."""
        with self._session() as session:
            session.merge(row)
            _audit(session, actor, action, row.key, _found(row))

    def get(self, key: str) -> AnnotationExport:
        """The export with this key.

        Raises:
            InputError: there is none.
        """
        with self._session() as session:
            row = session.get(AnnotationExport, key)
        if row is None:
            raise InputError(f"No annotation export is called {key!r}. Import its file with `lamm import ZIP`, then use the key it prints.")
        return row

    def all(self) -> Sequence[AnnotationExport]:
        """All exports, by key."""
        with self._session() as session:
            return session.scalars(select(AnnotationExport).order_by(AnnotationExport.key)).all()

    def at(self, path: str) -> AnnotationExport | None:
        """The export that was found at this path, or None."""
        with self._session() as session:
            return session.scalar(select(AnnotationExport).where(AnnotationExport.path == path))

    def has(self, key: str) -> bool:
        """Whether an export has this key."""
        with self._session() as session:
            return session.get(AnnotationExport, key) is not None

    def like(self, quick_digest: str) -> Sequence[AnnotationExport]:
        """Exports whose file has this quick digest, by key."""
        query = select(AnnotationExport).where(AnnotationExport.quick_digest == quick_digest).order_by(AnnotationExport.key)
        with self._session() as session:
            return session.scalars(query).all()

    def set_seen(self, key: str, size: int, mtime_ns: int) -> None:
        """Remember that the file of an export is there with this size and stamp; with another stamp its digest has to be computed again."""
        with self._session() as session:
            row = session.get_one(AnnotationExport, key)
            row.digest = row.digest if (row.size, row.mtime_ns) == (size, mtime_ns) else None
            row.size, row.mtime_ns, row.missing_since = size, mtime_ns, None

    def set_digest(self, key: str, digest: str, size: int, mtime_ns: int) -> None:
        """Remember the digest of an export's whole file, and the size and stamp it was computed at."""
        with self._session() as session:
            row = session.get_one(AnnotationExport, key)
            row.digest, row.size, row.mtime_ns = digest, size, mtime_ns

    def known_files(self) -> dict[str, KnownFile]:
        """What is known of every export's file, by its path; one query."""
        row = AnnotationExport
        query = select(row.path, row.key, row.size, row.mtime_ns, row.missing_since)
        with self._session() as session:
            return {path: KnownFile(key, size, mtime_ns, since is not None) for path, key, size, mtime_ns, since in session.execute(query)}

    def set_missing(self, keys: Iterable[str], actor: str, *, missing: bool) -> None:
        """Note that the files of exports are gone, or there again. Nothing is deleted."""
        with self._session() as session:
            for key in keys:
                session.get_one(AnnotationExport, key).missing_since = now() if missing else None
                _audit(session, actor, "export.missing" if missing else "export.found", key, {})

    def wanted_runs(self, limit: int) -> list[tuple[str, str]]:
        """Key and run key of the runs that the sensor has still to ask for: the `limit` first by key."""
        row = AnnotationExport
        query = select(row.key, row.run_key).where(row.run_key.is_not(None)).order_by(row.key).limit(limit)
        with self._session() as session:
            return [(key, str(run_key)) for key, run_key in session.execute(query)]

    def runs_asked_for(self, run_keys: Iterable[str]) -> None:
        """Forget wanted runs: Dagster has them."""
        with self._session() as session:
            for run_key in run_keys:
                session.execute(update(AnnotationExport).where(AnnotationExport.run_key == run_key).values(run_key=None))


def _found(row: AnnotationExport) -> dict[str, Any]:
    return {"path": row.path, "size": row.size, "quick_digest": row.quick_digest}


def _audit(session: Session, actor: str, action: str, subject: str, details: dict[str, Any]) -> None:
    session.add(AuditEvent(at=now(), actor=actor, action=action, subject=subject, details=details))
