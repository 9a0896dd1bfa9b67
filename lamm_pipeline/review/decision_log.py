"""All decisions on a recording as people look at them: who said what, and whether it is in force."""

from collections.abc import Sequence
from typing import Any

from lamm_pipeline.catalog.decisions import Decision, undone
from lamm_pipeline.review.carry_over import Carried
from lamm_pipeline.review.decisions import ANCHOR


def decision_rows(log: Sequence[Decision], carried: Carried) -> list[dict[str, Any]]:
    """A row for each decision, oldest first.

    Args:
        log: all decisions on the recording, as they were taken.
        carried: the same, carried over to the data in force.
    """
    here = {each.id: each.subject for each in carried.decisions}
    standing = {each.id for each in carried.state.decisions()}
    lost = {each.decision.id: each.reason for each in carried.lost}
    taken_back = undone(log)
    return [_row(each, here.get(each.id), _state(each, standing, lost, taken_back)) for each in log]


def said(decision: Decision) -> dict[str, Any]:
    """What a decision says, without where."""
    return {name: content for name, content in decision.value.items() if name != ANCHOR}


def _state(decision: Decision, standing: set[int], lost: dict[int, str], taken_back: frozenset[int]) -> str:
    if decision.id in taken_back:
        return "undone"
    if decision.id in lost:
        return f"lost: {lost[decision.id]}"
    if decision.id in standing or decision.action in ("undo", "unreview"):
        return "in force"
    return "superseded"


def _row(decision: Decision, now_about: str | None, state: str) -> dict[str, Any]:
    value = said(decision)
    return {
        "id": decision.id,
        "at": f"{decision.at:%Y-%m-%dT%H:%M:%SZ}",
        "actor": decision.actor,
        "kind": decision.subject_kind,
        "subject": decision.subject,
        "now": now_about if now_about != decision.subject else None,
        "action": decision.action if decision.reverts is None else f"undo {decision.reverts}",
        "says": next((content for name, content in value.items() if name != "mask_rle"), None),
        "value": value,
        "data_version": decision.data_version,
        "note": decision.note,
        "state": state,
    }
