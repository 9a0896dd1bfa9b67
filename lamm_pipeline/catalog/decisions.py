"""The catalog's decisions: what people say about a recording's data. What it means is in `review/decisions.py`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, select

from lamm_pipeline.catalog.models import DecisionRow, now
from lamm_pipeline.catalog.part import CatalogPart, hold
from lamm_pipeline.errors import InputError

UNDO = "undo"


@dataclass(frozen=True)
class NewDecision:
    """Something that somebody says.

    Attributes:
        subject_kind: `frame`, `annotation`, `sequence` or `class`.
        subject: frame id, detection id, sequence annotation id or class id.
        action: such as `exclude` or `set_class`.
        value: what the action needs, as JSON values.
        data_version: version of the artifact that the person looked at; None where the subject is no part of one.
        note: for people.
    """

    subject_kind: str
    subject: str
    action: str
    value: Mapping[str, Any] = field(default_factory=dict)
    data_version: str | None = None
    note: str = ""


@dataclass(frozen=True)
class Decision:
    """Something that somebody has said. For the fields that are not listed see `NewDecision`.

    Attributes:
        id: later decisions have higher ids.
        at: UTC.
        actor: who said it.
        recording: what it is about.
        reverts: id of the decision that this one undoes, None for all but undos.
    """

    id: int
    at: datetime
    actor: str
    recording: str
    subject_kind: str
    subject: str
    action: str
    value: Mapping[str, Any]
    data_version: str | None
    reverts: int | None
    note: str


@dataclass(frozen=True)
class Watermark:
    """How far the decisions on a recording go.

    Attributes:
        decision_id: the highest id.
        at: when that decision was taken, UTC.
    """

    decision_id: int
    at: datetime


class DecisionCatalog(CatalogPart):
    """Reads decisions and adds to them; none is ever changed."""

    def add(self, recording: str, decisions: Iterable[NewDecision], actor: str) -> list[int]:
        """Remember what somebody says about a recording's data: all of it or nothing. `review/deciding.py` checks it first.

        Returns:
            The ids, one for each decision in order.

        Raises:
            InputError: there is no such recording.
        """
        at = now()
        rows = [
            DecisionRow(at=at, actor=actor, recording=recording, reverts=None, **(vars(each) | {"value": dict(each.value)}))
            for each in decisions
        ]
        with self._session() as session:
            hold(session, [recording])
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
        with self._session() as session:
            hold(session, [found.recording])
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

    def of(self, recording: str, after: int = 0) -> list[Decision]:
        """Decisions on a recording with a higher id than `after`, undone ones and undos among them, oldest first."""
        query = select(DecisionRow).where(DecisionRow.recording == recording, DecisionRow.id > after).order_by(DecisionRow.id)
        with self._session() as session:
            return [decision_of(row) for row in session.scalars(query)]

    def watermark(self, recording: str) -> int:
        """The highest id of a decision on this recording, 0 when there is none. It grows with every decision, undos among them."""
        with self._session() as session:
            return session.scalar(select(func.max(DecisionRow.id)).where(DecisionRow.recording == recording)) or 0

    def watermarks(self) -> dict[str, Watermark]:
        """How far the decisions on each recording go; recordings without any are not in it. One query."""
        newest = select(func.max(DecisionRow.id)).group_by(DecisionRow.recording)
        query = select(DecisionRow.recording, DecisionRow.id, DecisionRow.at).where(DecisionRow.id.in_(newest))
        with self._session() as session:
            return {recording: Watermark(number, utc(at)) for recording, number, at in session.execute(query)}


def undone(decisions: Iterable[Decision]) -> frozenset[int]:
    """Ids of the decisions, undos among them, that an undo takes back which is not taken back itself.

    Args:
        decisions: all of a recording; the order makes no difference.
    """
    found: set[int] = set()
    for each in sorted(decisions, key=lambda each: each.id, reverse=True):  # an undo is always newer than what it undoes
        if each.reverts is not None and each.id not in found:
            found.add(each.reverts)
    return frozenset(found)


def decision_of(row: DecisionRow) -> Decision:
    """A row as a value."""
    return Decision(
        id=row.id,
        at=utc(row.at),
        actor=row.actor,
        recording=row.recording,
        subject_kind=row.subject_kind,
        subject=row.subject,
        action=row.action,
        value=row.value,
        data_version=row.data_version,
        reverts=row.reverts,
        note=row.note,
    )


def utc(moment: datetime) -> datetime:
    """A moment from the database with its time zone, which SQLite does not keep."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
