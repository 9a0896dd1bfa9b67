"""The catalog's audit trail: who did what."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select

from lamm_pipeline.catalog.models import AuditEvent
from lamm_pipeline.catalog.part import CatalogPart, audit


class AuditCatalog(CatalogPart):
    """Reads the audit trail and adds to it."""

    def add(self, actor: str, action: str, subject: str, details: dict[str, Any]) -> None:
        """Remember that somebody did something."""
        with self._session() as session:
            audit(session, actor, action, subject, details)

    def events(self, subject: str | None = None, *, action: str | None = None, after: int = 0) -> Sequence[AuditEvent]:
        """What happened, oldest first.

        Args:
            subject: only what was done to it.
            action: only what was done so.
            after: only events with a higher id.
        """
        query = select(AuditEvent).where(AuditEvent.id > after).order_by(AuditEvent.id)
        query = query if subject is None else query.where(AuditEvent.subject == subject)
        with self._session() as session:
            return session.scalars(query if action is None else query.where(AuditEvent.action == action)).all()

    def watermark(self) -> int:
        """The highest id of the audit trail: it grows with whatever anybody does."""
        with self._session() as session:
            return session.scalar(select(func.max(AuditEvent.id))) or 0
