"""What people have said about what the review page shows, in the page's words."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from lamm_pipeline.catalog.decisions import Decision
from lamm_pipeline.reports.reviews.data import ReviewData, plain_runs
from lamm_pipeline.review.carry_over import Carried
from lamm_pipeline.review.decision_log import said
from lamm_pipeline.review.decisions import DecisionState, SubjectKind, Verdict, outcome


@dataclass(frozen=True)
class Progress:
    """How much of a recording has been reviewed."""

    annotations: int
    annotations_reviewed: int
    sequences: int
    sequences_reviewed: int


def progress(data: ReviewData, state: DecisionState) -> Progress:
    """Count what has been reviewed."""
    return Progress(
        annotations=len(data.annotations),
        annotations_reviewed=sum(row["reviewed"] for row in outcomes(data, state, _spoken_of(data, state))),
        sequences=len(data.sequences),
        sequences_reviewed=sum(state.verdict(SubjectKind.sequence, each.sequence_id).reviewed for each in data.sequences),
    )


def state_to_json(data: ReviewData, carried: Carried) -> dict[str, Any]:
    """Everything that people have said, for a page that has just been opened."""
    state = carried.state
    verdicts = {kind: {subject: _verdict(verdict) for subject, verdict in state.of(kind).items()} for kind in SubjectKind}
    return {"verdicts": verdicts, "outcomes": list(outcomes(data, state, _spoken_of(data, state))), "lost": _lost(carried)}


def changes_to_json(data: ReviewData, carried: Carried, subjects: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """What differs after decisions about some subjects, `(kind, id)`: their verdicts, and what has become of all annotations concerned."""
    state = carried.state
    verdicts: dict[str, dict[str, Any]] = {}
    places: set[int] = set()
    for kind, subject in set(subjects):
        verdicts.setdefault(kind, {})[subject] = _verdict(state.verdict(kind, subject))
        places |= _concerned(data, kind, subject, state)
    return {"verdicts": verdicts, "outcomes": list(outcomes(data, state, places)), "lost": _lost(carried)}


def outcomes(data: ReviewData, state: DecisionState, places: Iterable[int]) -> Iterator[dict[str, Any]]:
    """What people make of annotations, all they said taken together.

    Args:
        data: what is shown.
        state: the decisions in force.
        places: of the annotations.

    Yields:
        `place`, `reviewed` (somebody has spoken about it, its sequence annotation or its frame), `class_id`, and `excluded_by`: the kind of
        subject that it is left out with, None where it stays.
    """
    for place in sorted(places):
        each = data.annotations[place]
        frame_id = data.frame_ids[each.frame]
        found = outcome(state, frame_id, each.annotation_id, each.class_id, data.sequences_of.get(place, ()))
        frame = state.verdict(SubjectKind.frame, frame_id)
        by = "frame" if frame.excluded else None if found.excluded_by is None else found.excluded_by.subject_kind
        yield {"place": place, "reviewed": found.reviewed or frame.reviewed, "class_id": found.class_id, "excluded_by": by}


def corrected_masks(data: ReviewData, state: DecisionState, frame_ids: Iterable[str]) -> dict[str, list[int]]:
    """Masks that people corrected, of annotations in some frames, as plain run lengths by annotation."""
    ids = [data.annotations[place].annotation_id for frame_id in frame_ids for place in data.in_frame.get(frame_id, ())]
    verdicts = ((each, state.verdict(SubjectKind.annotation, each).mask_rle) for each in ids)
    return {each: plain_runs(mask_rle) for each, mask_rle in verdicts if mask_rle is not None}


def _spoken_of(data: ReviewData, state: DecisionState) -> set[int]:
    """Places of all annotations that any decision in force has to do with."""
    return {place for kind in SubjectKind for subject in state.of(kind) for place in _concerned(data, kind, subject, state)}


def _concerned(data: ReviewData, kind: str, subject: str, state: DecisionState) -> set[int]:
    """Places of the annotations that a decision about a subject may have to do with."""
    match kind:
        case SubjectKind.annotation:
            return {data.place_of[subject]} if subject in data.place_of else set()
        case SubjectKind.sequence:
            return set(data.annotations_of.get(subject, ()))
        case SubjectKind.frame:
            return set(data.in_frame.get(subject, ()))
        case _:
            renamed = {place for each in state.annotations for place in _concerned(data, SubjectKind.annotation, each, state)}
            renamed |= {place for each in state.sequences for place in _concerned(data, SubjectKind.sequence, each, state)}
            return renamed | {place for place, each in enumerate(data.annotations) if each.class_id == subject}


def _lost(carried: Carried) -> list[dict[str, Any]]:
    """The decisions in force that find nothing in what is shown."""
    return [
        {
            "id": each.decision.id,
            "at": _moment(each.decision),
            "actor": each.decision.actor,
            "kind": each.decision.subject_kind,
            "subject": each.decision.subject,
            "action": each.decision.action,
            "value": {name: content for name, content in said(each.decision).items() if name != "mask_rle"},
            "note": each.decision.note,
            "reason": each.reason,
        }
        for each in carried.lost
    ]


def _verdict(verdict: Verdict) -> dict[str, Any]:
    newest = max(verdict.in_force.values(), key=lambda each: each.id, default=None)
    return {
        "reviewed": verdict.reviewed,
        "action": verdict.action,
        "left_out": verdict.left_out,
        "class_id": verdict.class_id,
        "is_positive": verdict.is_positive,
        "false_positive_types": verdict.false_positive_types,
        "box_xyxy": verdict.box_xyxy,
        "corrected_mask": verdict.mask_rle is not None,
        "note": verdict.note,
        "by": None if newest is None else newest.actor,
        "at": None if newest is None else _moment(newest),
    }


def _moment(decision: Decision) -> str:
    return f"{decision.at:%Y-%m-%dT%H:%M:%SZ}"
