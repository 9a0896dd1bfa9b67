"""What decisions mean: which actions there are, which decisions are in force, and what becomes of a frame.

A decision speaks about one field of one subject. In force is, for each field of each subject, the newest decision that is not undone.
`unreview` speaks about all fields of its subject but the note: it is as if nobody had looked at it. Undoing an undo puts the undone
decision in force again, at its own place in time.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from lamm_pipeline.catalog.decisions import UNDO, Decision, undone
from lamm_pipeline.sample_table import FrameState

BoxXyxy = tuple[float, float, float, float]
ANCHOR = "anchor"


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
    def left_out(self) -> bool:
        """Whether the newest of what was said about it leaves it out: `exclude`, or that it is no positive."""
        newest = max(_speaking(self), key=lambda each: each.id, default=None)
        return newest is not None and (newest.action == Action.exclude or newest.value.get("is_positive") is False)

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
        match SubjectKind(kind):
            case SubjectKind.frame:
                return self.frames
            case SubjectKind.annotation:
                return self.annotations
            case SubjectKind.sequence:
                return self.sequences
            case SubjectKind.class_:
                return self.classes

    def verdict(self, kind: str, subject: str) -> Verdict:
        """What people say about a subject; an empty verdict where nobody has spoken."""
        return self.of(kind).get(subject, NOTHING)

    def decisions(self) -> list[Decision]:
        """All decisions in force, oldest first."""
        found = {each.id: each for kind in SubjectKind for verdict in self.of(kind).values() for each in verdict.in_force.values()}
        return [found[number] for number in sorted(found)]


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
        annotations: how many are left after all exclusions; of a frame that is said to be empty those that somebody has kept since.
    """
    if verdict.excluded:
        return FrameState.excluded
    if labelled and annotations:
        return FrameState.kept
    return FrameState.reviewed_empty if verdict.action in (Action.keep, Action.reviewed_empty) else FrameState.unlabelled


@dataclass(frozen=True)
class Outcome:
    """What people make of one annotation.

    Attributes:
        class_id: the class that it has for them.
        box_xyxy: the corrected box, None where the models' stands.
        mask_rle: the corrected mask, None where the models' stands.
        excluded_by: the decision that leaves it out, None where it stays.
        reviewed: whether somebody has spoken about it, or about its sequence.
    """

    class_id: str
    box_xyxy: BoxXyxy | None
    mask_rle: dict[str, Any] | None
    excluded_by: Decision | None
    reviewed: bool


def outcome(state: DecisionState, frame_id: str, annotation_id: str, class_id: str, sequence_ids: Iterable[str] = ()) -> Outcome:
    """What people make of one annotation, all that they said taken together.

    The special goes before the general: what is said about the annotation itself (or its frame, that nothing is there), else about its
    sequence, else about its class. Among equals the newest counts. Saying that it is no positive leaves it out as `exclude` does.

    Args:
        state: the decisions in force.
        frame_id: of its frame.
        annotation_id: its detection id.
        class_id: its class as the models say.
        sequence_ids: of the sequence annotations that it is part of.
    """
    own = state.verdict(SubjectKind.annotation, annotation_id)
    frame = state.verdict(SubjectKind.frame, frame_id)
    sequences = [state.verdict(SubjectKind.sequence, each) for each in sequence_ids]
    seen_as = own.class_id or next((each.class_id for each in sequences if each.class_id is not None), class_id)
    empty = [frame.in_force["verdict"]] if frame.action is Action.reviewed_empty else []
    levels = [
        [*_speaking(own), *empty],
        [each for sequence in sequences for each in _speaking(sequence)],
        _speaking(state.verdict(SubjectKind.class_, seen_as)),
    ]
    deciding = next((max(level, key=lambda each: each.id) for level in levels if level), None)
    reviewed = own.reviewed or any(each.reviewed for each in sequences)
    return Outcome(seen_as, own.box_xyxy, own.mask_rle, None if deciding is None or _keeps(deciding) else deciding, reviewed)


def _speaking(verdict: Verdict) -> list[Decision]:
    """The decisions that say whether something stays."""
    return [verdict.in_force[name] for name in ("verdict", "is_positive") if name in verdict.in_force]


def _keeps(decision: Decision) -> bool:
    return decision.action == Action.keep or bool(decision.value.get("is_positive"))
