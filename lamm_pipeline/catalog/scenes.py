"""What the catalog says of many recordings at once, for the scene library."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from lamm_pipeline.catalog.models import AuditEvent, Labelling, Recording, RecordingTag, now
from lamm_pipeline.errors import InputError

AT_ONCE = 500
"""Keys in one query; databases limit them."""


class SceneCatalog:
    """Reads and changes many recordings in one transaction. Get it from a `Catalog`."""

    def __init__(self, session: Callable[[], AbstractContextManager[Session]]) -> None:
        self._session = session

    def watermark(self) -> int:
        """The highest id of the audit trail: it grows with whatever anybody does."""
        with self._session() as session:
            return session.scalar(select(func.max(AuditEvent.id))) or 0

    def missing(self) -> int:
        """How many recordings have no file where it was found."""
        with self._session() as session:
            return session.scalar(select(func.count()).select_from(Recording).where(Recording.missing_since.is_not(None))) or 0

    def events_after(self, event_id: int, action: str) -> Sequence[AuditEvent]:
        """What happened since, of one action, oldest first."""
        query = select(AuditEvent).where(AuditEvent.id > event_id, AuditEvent.action == action).order_by(AuditEvent.id)
        with self._session() as session:
            return session.scalars(query).all()

    def tag(self, recordings: Iterable[str], tag: str, actor: str, *, remove: bool = False) -> int:
        """Put a tag on recordings, or take it off; all of them or none.

        Returns:
            How many are changed by it.

        Raises:
            InputError: a recording is unknown.
        """
        changed = 0
        with self._session() as session:
            for keys in _known(session, recordings):
                query = select(RecordingTag).where(RecordingTag.tag == tag, RecordingTag.recording.in_(keys))
                have = {row.recording: row for row in session.scalars(query)}
                for key in keys:
                    if (key in have) is not remove:
                        continue
                    if remove:
                        session.delete(have[key])
                    else:
                        session.add(RecordingTag(recording=key, tag=tag))
                    _audit(session, actor, "tag.remove" if remove else "tag.add", key, {"tag": tag})
                    changed += 1
        return changed

    def label(self, recordings: Iterable[str], actor: str, *, status: str | None = None, labeler: str | None = None) -> int:
        """Say how far labelling of recordings is, who does it, or both; all of them or none.

        Args:
            recordings: their keys.
            actor: who says so.
            status: None leaves what is known.
            labeler: None leaves what is known, an empty text takes the recordings from whoever had them.

        Returns:
            How many are changed by it.

        Raises:
            InputError: a recording is unknown.
        """
        changed = 0
        with self._session() as session:
            for keys in _known(session, recordings):
                have = {row.recording: row for row in session.scalars(select(Labelling).where(Labelling.recording.in_(keys)))}
                for key in keys:
                    row = have.get(key) or Labelling(recording=key, status="unlabelled", labeler=None)
                    before = {"status": row.status, "labeler": row.labeler}
                    row.status = row.status if status is None else status
                    row.labeler = row.labeler if labeler is None else labeler or None
                    after = {"status": row.status, "labeler": row.labeler}
                    if after != before:
                        row.updated_at, row.updated_by = now(), actor
                        session.add(row)
                        _audit(session, actor, "labelling.set", key, {"before": before, "after": after})
                        changed += 1
        return changed


def _known(session: Session, recordings: Iterable[str]) -> list[list[str]]:
    """The keys in parts, each once, after seeing that there are such recordings."""
    if session.get_bind().dialect.name == "sqlite":
        session.connection().exec_driver_sql("BEGIN IMMEDIATE")
    wanted = list(dict.fromkeys(recordings))
    parts = [wanted[start : start + AT_ONCE] for start in range(0, len(wanted), AT_ONCE)]
    for part in parts:
        there = set(session.scalars(select(Recording.key).where(Recording.key.in_(part)).with_for_update()))
        for key in part:
            if key not in there:
                raise InputError(f"No recording is called {key!r}. `lamm status` lists them.")
    return parts


def _audit(session: Session, actor: str, action: str, subject: str, details: dict[str, Any]) -> None:
    session.add(AuditEvent(at=now(), actor=actor, action=action, subject=subject, details=details))
