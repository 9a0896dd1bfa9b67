"""Files that were taken in, a partition each: what recordings and annotation exports have in common."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError

from lamm_pipeline.catalog.models import AnnotationExport, Recording, now
from lamm_pipeline.catalog.part import CatalogPart, audit
from lamm_pipeline.errors import InputError

Row = TypeVar("Row", Recording, AnnotationExport)


@dataclass(frozen=True)
class KnownFile:
    """What a sensor has to know of a file that was taken in: the recording or annotation export `key`."""

    key: str
    size: int | None
    mtime_ns: int | None
    missing: bool


class FileCatalog(CatalogPart, ABC, Generic[Row]):
    """Reads and writes one kind of files.

    Attributes:
        row: their table.
        word: what the audit trail calls one of them.
        unknown: the sentence for a `{key}` that none has.
    """

    row: type[Row]
    word: str
    unknown: str

    @abstractmethod
    def found_at(self, path: Path) -> Row | None:
        """The file that was found at this path, or None."""

    @abstractmethod
    def known_files(self) -> dict[str, KnownFile]:
        """What is known of every file, by the path where it was found; one query."""

    @abstractmethod
    def set_seen(self, key: str, size: int, mtime_ns: int) -> None:
        """Remember that a file is where it was found, and its size and stamp."""

    def add(self, row: Row) -> bool:
        """Remember a new file; False when its key or the path where it was found is taken."""
        try:
            with self._session() as session:
                session.add(row)
                audit(session, row.added_by, f"{self.word}.add", row.key, _found(row))
        except IntegrityError:
            return False
        return True

    def replace(self, row: Row, actor: str, action: str) -> None:
        """Replace what is known of the file with this key; audited as `action`."""
        with self._session() as session:
            session.merge(row)
            audit(session, actor, action, row.key, _found(row))

    def find(self, key: str) -> Row | None:
        """The file with this key, or None."""
        with self._session() as session:
            return session.get(self.row, key)

    def get(self, key: str) -> Row:
        """The file with this key.

        Raises:
            InputError: there is none.
        """
        row = self.find(key)
        if row is None:
            raise InputError(self.unknown.format(key=key))
        return row

    def has(self, key: str) -> bool:
        """Whether a file has this key."""
        return self.find(key) is not None

    def all(self) -> Sequence[Row]:
        """All files, by key."""
        with self._session() as session:
            return session.scalars(select(self.row).order_by(self.row.key)).all()

    def all_keys(self) -> list[str]:
        """The keys of all files, in order."""
        with self._session() as session:
            return list(session.scalars(select(self.row.key).order_by(self.row.key)))

    def like(self, quick_digest: str) -> Sequence[Row]:
        """Files with this quick digest, by key."""
        with self._session() as session:
            return session.scalars(select(self.row).where(self.row.quick_digest == quick_digest).order_by(self.row.key)).all()

    def set_digest(self, key: str, digest: str, size: int, mtime_ns: int) -> None:
        """Remember the digest of a whole file, and the size and stamp it was computed at."""
        with self._session() as session:
            row = session.get_one(self.row, key)
            row.digest, row.size, row.mtime_ns = digest, size, mtime_ns

    def missing(self) -> int:
        """How many files are not where they were found."""
        with self._session() as session:
            return session.scalar(select(func.count()).select_from(self.row).where(self.row.missing_since.is_not(None))) or 0

    def set_missing(self, keys: Iterable[str], actor: str, *, missing: bool) -> None:
        """Note that files are gone, or there again. Nothing is deleted."""
        with self._session() as session:
            for key in keys:
                session.get_one(self.row, key).missing_since = now() if missing else None
                audit(session, actor, f"{self.word}.{'missing' if missing else 'found'}", key, {})

    def wanted_runs(self, limit: int) -> list[tuple[str, str]]:
        """Key and run key of the runs that the sensor has still to ask for: the `limit` first by key."""
        row = self.row
        query = select(row.key, row.run_key).where(row.run_key.is_not(None)).order_by(row.key).limit(limit)
        with self._session() as session:
            return [(key, str(run_key)) for key, run_key in session.execute(query)]

    def runs_asked_for(self, run_keys: Iterable[str]) -> None:
        """Forget wanted runs: Dagster has them."""
        with self._session() as session:
            for run_key in run_keys:
                session.execute(update(self.row).where(self.row.run_key == run_key).values(run_key=None))


def _found(row: Recording | AnnotationExport) -> dict[str, str | int]:
    return {"path": row.path, "size": row.size, "quick_digest": row.quick_digest}
