"""What may be said of what, and in which form."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lamm_pipeline.catalog.decisions import NewDecision
from lamm_pipeline.errors import InputError
from lamm_pipeline.geometry import rle
from lamm_pipeline.ontology.ontology import Ontology
from lamm_pipeline.review.decisions import ANCHOR, Action, BoxXyxy, SubjectKind

MAX_NOTE = 10_000
MAX_SIDE = 100_000
"""Pixels of an image's side: what lies beyond is a mistake, or an attempt to use up the memory."""

_COMMON = frozenset({Action.keep, Action.exclude, Action.note, Action.unreview})
_FLAGS = frozenset({Action.set_class, Action.set_positive, Action.set_false_positive_types})
_ALLOWED = {
    SubjectKind.frame: _COMMON | {Action.reviewed_empty},
    SubjectKind.annotation: _COMMON | _FLAGS | {Action.set_box, Action.set_mask},
    SubjectKind.sequence: _COMMON | _FLAGS,
    SubjectKind.class_: _COMMON,
}


def checked(decisions: Iterable[NewDecision], ontology: Ontology, false_positive_types: Sequence[str]) -> list[NewDecision]:
    """Check what somebody says, whoever asks: page, command line, job or file.

    Args:
        decisions: what is said.
        ontology: the classes there are.
        false_positive_types: the words there are.

    Returns:
        The same with their values in one form.

    Raises:
        InputError: an action is unknown or not for this kind of subject, or its value is wrong.
    """
    return [_checked(each, ontology, false_positive_types) for each in decisions]


def _checked(decision: NewDecision, ontology: Ontology, types: Sequence[str]) -> NewDecision:
    where = f"{decision.action} of {decision.subject_kind} {decision.subject!r}"
    if decision.subject_kind not in set(SubjectKind):
        raise InputError(f"{where}: a decision is about a {', '.join(SubjectKind)}.")
    kind = SubjectKind(decision.subject_kind)
    if decision.action not in _ALLOWED[kind]:
        raise InputError(f"{where}: what can be said of a {kind} is {', '.join(sorted(_ALLOWED[kind]))}.")
    action = Action(decision.action)
    if not decision.subject or len(decision.subject) > 200:
        raise InputError(f"{where}: a subject is the id of a frame, an annotation, a sequence or a class.")
    if len(decision.note) > MAX_NOTE:
        raise InputError(f"{where}: a note has at most {MAX_NOTE} characters.")
    if any(each == "\0" or "\ud800" <= each <= "\udfff" for each in decision.note):
        raise InputError(f"{where}: the note has characters that are none (zero bytes or halves of others).")
    if action is Action.note and not decision.note.strip():
        raise InputError(f"{where}: the note is empty.")
    if kind is SubjectKind.class_:
        ontology.by_id(decision.subject)
    value = _checked_value(action, decision.value, ontology, types, where)
    if ANCHOR in decision.value:
        value[ANCHOR] = decision.value[ANCHOR]
    return NewDecision(kind, decision.subject, action, value, decision.data_version, decision.note)


def _checked_value(action: Action, value: Mapping[str, Any], ontology: Ontology, types: Sequence[str], where: str) -> dict[str, Any]:
    match action:
        case Action.set_class:
            return {"class_id": ontology.by_id(str(value.get("class_id"))).id}
        case Action.set_positive:
            if not isinstance(value.get("is_positive"), bool):
                raise InputError(f"{where}: is_positive is true or false, not {value.get('is_positive')!r}.")
            return {"is_positive": value["is_positive"]}
        case Action.set_false_positive_types:
            given = value.get("types")
            if not isinstance(given, list | tuple):
                raise InputError(f"{where}: types is a list of words, not {given!r}.")
            unknown = [str(each) for each in given if each not in types]
            if unknown:
                raise InputError(f"{where}: there is no false-positive type {unknown[0]!r}. There are: {', '.join(types)}.")
            return {"types": sorted(set(given))}
        case Action.set_box:
            return {"box_xyxy": list(_checked_box(value.get("box_xyxy"), where))}
        case Action.set_mask:
            return {"mask_rle": _checked_mask(value.get("mask_rle"), where)}
        case _:
            return {}


def _checked_box(box_xyxy: Any, where: str) -> BoxXyxy:
    numbers = list(box_xyxy) if isinstance(box_xyxy, list | tuple) else []
    if len(numbers) != 4 or not all(isinstance(each, int | float) and not isinstance(each, bool) for each in numbers):
        raise InputError(f"{where}: box_xyxy is [x1, y1, x2, y2] in pixels, not {box_xyxy!r}.")
    x1, y1, x2, y2 = map(float, numbers)
    if not (0.0 <= x1 < x2 <= MAX_SIDE and 0.0 <= y1 < y2 <= MAX_SIDE):  # NaN fails too
        raise InputError(f"{where}: the box {box_xyxy!r} is not [x1, y1, x2, y2] with x1 < x2 and y1 < y2 inside the image.")
    return x1, y1, x2, y2


def _checked_mask(mask_rle: Any, where: str) -> dict[str, Any]:
    size = mask_rle.get("size") if isinstance(mask_rle, Mapping) else None
    counts = mask_rle.get("counts") if isinstance(mask_rle, Mapping) else None
    sides = isinstance(size, list | tuple) and len(size) == 2 and all(isinstance(side, int) and 0 < side <= MAX_SIDE for side in size)
    if not sides or not isinstance(counts, str) or not counts.isascii():
        raise InputError(f'{where}: mask_rle is COCO\'s compressed form {{"size": [rows, columns], "counts": text}}.')
    height, width = (int(side) for side in size or ())
    lengths = rle.run_lengths(counts)
    if min(lengths, default=0) < 0 or sum(lengths) != height * width:
        raise InputError(f"{where}: the runs of the mask do not fill its {height} rows and {width} columns.")
    found = {"size": [height, width], "counts": counts}
    if rle.area(found) == 0:
        raise InputError(f"{where}: the mask has no pixels; exclude the annotation instead.")
    return found
