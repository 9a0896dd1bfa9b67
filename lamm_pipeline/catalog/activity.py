"""What people and sensors did, the newest first, from the audit trail and the decisions."""

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import func, literal, null, select

from lamm_pipeline.catalog.decisions import utc
from lamm_pipeline.catalog.models import AuditEvent, DecisionRow
from lamm_pipeline.catalog.part import AT_ONCE, CatalogPart

DECISION = "decision"


@dataclass(frozen=True)
class Place:
    """How far somebody has read: what is older has lower ids in the audit trail and among the decisions."""

    audit: int
    decision: int


@dataclass(frozen=True)
class Happening:
    """Somebody did something.

    Attributes:
        at: UTC.
        action: as in the audit trail; `decision` for a decision.
        subject: what it was done to; of a decision the recording.
        after: the place after it.
    """

    at: datetime
    actor: str
    action: str
    subject: str
    details: Mapping[str, Any]
    after: Place


class ActivityCatalog(CatalogPart):
    """Reads what happened."""

    def start(self) -> Place:
        """The place before everything there is now. It changes with whatever anybody does."""
        with self._session() as session:
            newest = [session.scalar(select(func.max(each))) or 0 for each in (AuditEvent.id, DecisionRow.id)]
        return Place(newest[0] + 1, newest[1] + 1)

    def newest(self, before: Place) -> Iterator[Happening]:
        """Stream what happened, the newest first; little more is read than is asked for.

        Args:
            before: only what is older than this place.
        """
        event, said = AuditEvent, DecisionRow
        subject, action, details = said.recording.label("subject"), literal(DECISION).label("action"), null().label("details")
        audit = self._rows(event.id, before.audit, event.at, event.actor, event.subject, event.action, event.details)
        decisions = self._rows(said.id, before.decision, said.at, said.actor, subject, action, details)
        place = before
        for row in heapq.merge(audit, decisions, key=lambda row: utc(row.at), reverse=True):
            place = replace(place, decision=row.id) if row.action == DECISION else replace(place, audit=row.id)
            yield Happening(utc(row.at), row.actor, row.action, row.subject, row.details or {}, place)

    def _rows(self, number: Any, before: int, *columns: Any) -> Iterator[Any]:
        """Rows of a table with lower numbers, the highest first."""
        query = select(number, *columns).order_by(number.desc()).limit(AT_ONCE)
        while True:
            with self._session() as session:
                rows = session.execute(query.where(number < before)).all()
            yield from rows
            if len(rows) < AT_ONCE:
                return
            before = rows[-1].id
