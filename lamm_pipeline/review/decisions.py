"""What decisions mean: which actions there are, which decisions are in force, and what becomes of a frame.

A decision speaks about one field of one subject. In force is, for each field of each subject, the newest decision that is not undone.
`unreview` speaks about all fields of its subject but the note: it is as if nobody had looked at it. Undoing an undo puts the undone
decision in force again, at its own place in time.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from lamm_pipeline.catalog.decisions import UNDO, Decision, NewDecision, undone
from lamm_pipeline.errors import InputError
from lamm_pipeline.geometry import rle
from lamm_pipeline.ontology.ontology import Ontology

BoxXyxy = tuple[float, float, float, float]
ANCHOR = "anchor"
MAX_NOTE = 10_000
MAX_SIDE = 100_000
"""Pixels of an image's side: what lies beyond is a mistake, or an attempt to use up the memory."""


class SubjectKind(StrEnum):
    """What a decision may be about."""

    frame = "frame"
    annotation = "annotation"
    sequence = "sequence"
    class_ = "class"


class Action(StrEnum):
    """What somebody may say.

    Values: `set_class` {class_id}, `set_positive` {is_positive}, `set_false_positive_types` {types}, `set_box` {box_xyxy} in pixels of the
    left image, `set_mask` {mask_rle}; the others have none. `undo` is made by `Catalog.undo` alone.
    """

    keep = "keep"
    exclude = "exclude"
    reviewed_empty = "reviewed_empty"
    set_class = "set_class"
    set_positive = "set_positive"
    set_false_positive_types = "set_false_positive_types"
    set_box = "set_box"
    set_mask = "set_mask"
    note = "note"
    unreview = "unreview"
    undo = UNDO


_FIELDS = {
    Action.keep: "verdict",
    Action.exclude: "verdict",
    Action.reviewed_empty: "verdict",
    Action.set_class: "class_id",
    Action.set_positive: "is_positive",
    Action.set_false_positive_types: "false_positive_types",
    Action.set_box: "box_xyxy",
    Action.set_mask: "mask_rle",
    Action.note: "note",
}
_COMMON = frozenset({Action.keep, Action.exclude, Action.note, Action.unreview})
_FLAGS = frozenset({Action.set_class, Action.set_positive, Action.set_false_positive_types})
_ALLOWED = {
    SubjectKind.frame: _COMMON | {Action.reviewed_empty},
    SubjectKind.annotation: _COMMON | _FLAGS | {Action.set_box, Action.set_mask},
    SubjectKind.sequence: _COMMON | _FLAGS,
    SubjectKind.class_: _COMMON,
}


@dataclass(frozen=True)
class Verdict:
    """What people say about one subject.

    Attributes:
        in_force: the decision in force by field: `verdict`, `class_id`, `is_positive`, `false_positive_types`, `box_xyxy`, `mask_rle`,
            `note`.
    """

    in_force: Mapping[str, Decision] = field(default_factory=dict)

    @property
    def reviewed(self) -> bool:
        """Whether somebody has said more than a note."""
        return any(name != "note" for name in self.in_force)

    @property
    def action(self) -> Action | None:
        """`keep`, `exclude` or `reviewed_empty`; None where nobody has said."""
        found = self.in_force.get("verdict")
        return None if found is None else Action(found.action)

    @property
    def excluded(self) -> bool:
        """Whether it is to be left out."""
        return self.action is Action.exclude

    @property
    def class_id(self) -> str | None:
        """The class that it really is; None where nobody has said."""
        found: str | None = self._value("class_id", "class_id")
        return found

    @property
    def is_positive(self) -> bool | None:
        """Whether it is what was looked for; None where nobody has said."""
        found: bool | None = self._value("is_positive", "is_positive")
        return found

    @property
    def false_positive_types(self) -> tuple[str, ...] | None:
        """What it is instead; None where nobody has said."""
        found = self._value("false_positive_types", "types")
        return None if found is None else tuple(found)

    @property
    def box_xyxy(self) -> BoxXyxy | None:
        """The corrected box in pixels; None where nobody has said."""
        found = self._value("box_xyxy", "box_xyxy")
        return None if found is None else (found[0], found[1], found[2], found[3])

    @property
    def mask_rle(self) -> dict[str, Any] | None:
        """The corrected mask; None where nobody has said."""
        found: dict[str, Any] | None = self._value("mask_rle", "mask_rle")
        return found

    @property
    def note(self) -> str:
        """What somebody noted."""
        found = self.in_force.get("note")
        return "" if found is None else found.note

    def _value(self, name: str, key: str) -> Any:
        found = self.in_force.get(name)
        return None if found is None else found.value[key]


NOTHING = Verdict()


@dataclass(frozen=True)
class DecisionState:
    """The decisions in force on one recording, by subject; subjects that nobody has spoken about are not in it.

    Attributes:
        frames: by frame id.
        annotations: by detection id.
        sequences: by id of the sequence annotation.
        classes: by class id; they hold for the whole recording.
    """

    frames: Mapping[str, Verdict] = field(default_factory=dict)
    annotations: Mapping[str, Verdict] = field(default_factory=dict)
    sequences: Mapping[str, Verdict] = field(default_factory=dict)
    classes: Mapping[str, Verdict] = field(default_factory=dict)

    def of(self, kind: str) -> Mapping[str, Verdict]:
        """The verdicts on one kind of subject."""
        by_kind = (self.frames, self.annotations, self.sequences, self.classes)
        return dict(zip(SubjectKind, by_kind, strict=True))[SubjectKind(kind)]

    def verdict(self, kind: str, subject: str) -> Verdict:
        """What people say about a subject; an empty verdict where nobody has spoken."""
        return self.of(kind).get(subject, NOTHING)

    def decisions(self) -> list[Decision]:
        """All decisions in force, oldest first."""
        found = {each.id: each for kind in SubjectKind for verdict in self.of(kind).values() for each in verdict.in_force.values()}
        return [found[number] for number in sorted(found)]


class FrameState(StrEnum):
    """What a frame is for a dataset (M-13)."""

    kept = "kept"
    reviewed_empty = "reviewed_empty"
    unlabelled = "unlabelled"
    excluded = "excluded"


def in_force(decisions: Iterable[Decision]) -> DecisionState:
    """The decisions in force.

    Args:
        decisions: all of one recording, undos and what they undo among them, in any order; carried over (`review/carry_over.py`) where the
            data has been recomputed since.
    """
    taken = sorted(decisions, key=lambda each: each.id)
    taken_back = undone(taken)
    by_kind: dict[str, dict[str, dict[str, Decision]]] = {kind: {} for kind in SubjectKind}
    for each in taken:
        if each.id in taken_back or each.action == Action.undo:
            continue
        fields = by_kind[each.subject_kind].setdefault(each.subject, {})
        if each.action == Action.unreview:
            by_kind[each.subject_kind][each.subject] = {name: fields[name] for name in fields if name == "note"}
        else:
            fields[_FIELDS[Action(each.action)]] = each
    verdicts = {kind: {subject: Verdict(fields) for subject, fields in subjects.items() if fields} for kind, subjects in by_kind.items()}
    return DecisionState(
        verdicts[SubjectKind.frame], verdicts[SubjectKind.annotation], verdicts[SubjectKind.sequence], verdicts[SubjectKind.class_]
    )


def frame_state(verdict: Verdict, *, labelled: bool, annotations: int) -> FrameState:
    """What a frame is for a dataset.

    A frame without annotations is a negative only when a person says so: with `reviewed_empty`, or by keeping it as it is. One where the
    models found nothing, or from which all annotations were dropped, is unlabelled.

    Args:
        verdict: what people say about it.
        labelled: whether the models have worked on it.
        annotations: how many are left after all exclusions.
    """
    if verdict.excluded:
        return FrameState.excluded
    if verdict.action is Action.reviewed_empty:
        return FrameState.reviewed_empty
    if labelled and annotations:
        return FrameState.kept
    return FrameState.reviewed_empty if verdict.action is Action.keep else FrameState.unlabelled


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
