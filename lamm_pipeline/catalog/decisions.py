"""Decisions of people as the catalog keeps them. What they mean is in `review/decisions.py`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from lamm_pipeline.catalog.models import DecisionRow

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
