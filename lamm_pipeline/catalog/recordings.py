"""The catalog's recordings: SVO2 files that were taken in."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import select

from lamm_pipeline.catalog.files import FileCatalog, KnownFile
from lamm_pipeline.catalog.models import Recording


class RecordingCatalog(FileCatalog[Recording]):
    """Reads and writes the recordings."""

    row = Recording
    word = "recording"
    unknown = "No recording is called {key!r}. Add its file with `lamm add FILE`, then use the key it prints."

    def found_at(self, path: Path) -> Recording | None:
        """The recording that was found at this path, or None."""
        with self._session() as session:
            return session.scalar(select(Recording).where(Recording.source_path == str(path)))

    def same_content(self, key: str, digest: str) -> list[str]:
        """Keys of the other recordings whose file has the same digest."""
        query = select(Recording.key).where(Recording.digest == digest, Recording.key != key).order_by(Recording.key)
        with self._session() as session:
            return list(session.scalars(query))

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
        """What is known of every recording's file, by the path where it was found; one query."""
        query = select(Recording.source_path, Recording.key, Recording.seen_size, Recording.seen_mtime_ns, Recording.missing_since)
        with self._session() as session:
            return {path: KnownFile(key, size, mtime_ns, since is not None) for path, key, size, mtime_ns, since in session.execute(query)}

    def set_seen(self, key: str, size: int, mtime_ns: int) -> None:
        """Remember that the file of a recording has this size and stamp, and its known content."""
        with self._session() as session:
            row = session.get_one(Recording, key)
            row.seen_size, row.seen_mtime_ns, row.missing_since = size, mtime_ns, None
