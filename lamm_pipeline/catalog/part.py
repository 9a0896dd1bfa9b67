"""What the parts of the catalog have in common."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from lamm_pipeline.catalog.models import AuditEvent, Recording, now
from lamm_pipeline.errors import InputError

AT_ONCE = 500
"""Keys in one query; databases limit them."""


class CatalogPart:
    """One subject of the catalog. Get it from a `Catalog`; every method is a transaction of its own."""

    def __init__(self, session: Callable[[], AbstractContextManager[Session]]) -> None:
        self._session = session


def audit(session: Session, actor: str, action: str, subject: str, details: dict[str, Any]) -> None:
    """Remember in the same transaction that somebody did something."""
    session.add(AuditEvent(at=now(), actor=actor, action=action, subject=subject, details=details))


def hold(session: Session, recordings: Iterable[str]) -> list[list[str]]:
    """Let nobody else change what is said of recordings until the transaction ends, so that ids become visible in their order.

    Returns:
        The recordings, each once, in parts of `AT_ONCE`.

    Raises:
        InputError: a recording is unknown.
    """
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
