"""What becomes of decisions when the data they were taken on is computed again.

A decision names a detection or a sequence annotation of one version of the data. In another version the same object may have another id, so
the decision goes to the annotation of the same class that overlaps most: one to one, so that of two old annotations only the better fitting
one finds a new one that both overlap. Decisions that find none are listed with the reason. Nothing is written: the log keeps what was said
about which version, and this is computed whenever it is read, so that going back to the old version brings everything back.

The overlap is measured with the anchors that are stored with a decision. Where the old version still exists, all of its annotations take
part in the matching: a decision about one of two neighbours is then not drawn to the other one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from lamm_pipeline.catalog.decisions import UNDO, Decision
from lamm_pipeline.geometry.boxes_2d import iou_matrix
from lamm_pipeline.review.decisions import ANCHOR, Action, BoxXyxy, DecisionState, in_force

MIN_IOU = 0.5
MAX_ANCHORS = 5


@dataclass(frozen=True)
class Annotated:
    """A detection, or a sequence annotation, of one version.

    Attributes:
        subject: its id.
        class_id: its class, as the models say; None where they do not say.
        boxes_xyxy: its box in each of its frames, by frame id, pixels; a detection has one.
    """

    subject: str
    class_id: str | None
    boxes_xyxy: Mapping[str, BoxXyxy]


@dataclass(frozen=True)
class Lost:
    """A decision in force that finds nothing in the present data.

    Attributes:
        decision: as it was taken.
        reason: for people.
    """

    decision: Decision
    reason: str


@dataclass(frozen=True)
class Carried:
    """All decisions on a recording, seen from the present data.

    Attributes:
        decisions: with the ids of the present data as subjects; without the lost ones.
        lost: decisions in force that find nothing, oldest first.
    """

    decisions: tuple[Decision, ...]
    lost: tuple[Lost, ...]

    @cached_property
    def state(self) -> DecisionState:
        """The decisions in force."""
        return in_force(self.decisions)


def anchors(subject: Annotated) -> list[dict[str, Any]]:
    """What is stored with a decision to find its subject again: at most five boxes, spread evenly over the frames."""
    frames = sorted(subject.boxes_xyxy)
    if len(frames) > MAX_ANCHORS:
        frames = [frames[round(n * (len(frames) - 1) / (MAX_ANCHORS - 1))] for n in range(MAX_ANCHORS)]
    return [{"frame_id": each, "class_id": subject.class_id, "box_xyxy": list(subject.boxes_xyxy[each])} for each in frames]


def carry_over(
    decisions: Sequence[Decision],
    kind: str,
    version: str | None,
    present: Iterable[Annotated],
    past: Mapping[str, Iterable[Annotated]] | None = None,
    *,
    min_iou: float = MIN_IOU,
) -> Carried:
    """Turn the decisions about one kind of subject to the present data; all others, and those taken on it, stay as they are.

    Args:
        decisions: all of a recording.
        kind: `annotation` or `sequence`.
        version: of the present data; None when there is none.
        present: what there is now; read once, as a stream, and not at all when every decision was taken on it.
        past: what there was, by version, for versions that still exist; each read once.
        min_iou: least intersection over union of an old and a new box of the same object; of sequences the mean over the old ones' boxes.
    """
    said = [each for each in decisions if each.subject_kind == kind and each.action != UNDO and each.data_version != version]
    anchored = {each: _anchored(said, each) for each in {each.data_version or "" for each in said}}
    frames = {frame for subjects in anchored.values() for subject in subjects for frame in subject.boxes_xyxy}
    candidates = [each for each in present if not frames.isdisjoint(each.boxes_xyxy)] if frames else []
    found: dict[tuple[str, str], str] = {}
    for each, subjects in anchored.items():
        everything = (one for one in (past or {}).get(each, ()) if not frames.isdisjoint(one.boxes_xyxy))
        known = {one.subject: one for one in (*everything, *subjects)}
        matches = _matched(list(known.values()), _corrected_classes(decisions, kind, each), candidates, min_iou)
        found |= {(each, before): after for before, after in matches.items()}
    standing = {each.id for past_version in anchored for each in _state_on(decisions, past_version).decisions()}
    carried: list[Decision] = []
    lost: list[Lost] = []
    for decision in decisions:
        if decision.subject_kind != kind or decision.action == UNDO or decision.data_version == version is not None:
            carried.append(decision)
            continue
        subject = found.get((decision.data_version or "", decision.subject))
        if subject is not None:
            carried.append(replace(decision, subject=subject))
        elif decision.id in standing:
            lost.append(Lost(decision, _reason(decision, version, min_iou)))
    return Carried(tuple(carried), tuple(lost))


def extended(carried: Carried, newer: Sequence[Decision], versions: Mapping[str, str | None]) -> Carried | None:
    """The same with newer decisions, without carrying all over again; None where that has to be done.

    Args:
        carried: all decisions before.
        newer: decisions taken since, oldest first.
        versions: the present one of what the subjects of each kind are part of; a kind without any is not in it.
    """
    decisions = [*carried.decisions, *newer]
    by_id = {each.id: each for each in decisions}
    for each in newer:
        root: Decision | None = each
        while root is not None and root.reverts is not None:
            root = by_id.get(root.reverts)
        if root is None or root.data_version != versions.get(root.subject_kind):
            return None
    return Carried(tuple(decisions), carried.lost)


def drop_unknown_frames(carried: Carried, frame_ids: Iterable[str]) -> Carried:
    """List decisions about frames that are not extracted any more among the lost ones.

    Args:
        carried: the decisions so far.
        frame_ids: all frames of the present data.
    """
    known = frozenset(frame_ids)
    gone = {each.id for each in carried.decisions if each.subject_kind == "frame" and each.subject not in known and each.action != UNDO}
    standing = [each for each in carried.state.decisions() if each.id in gone]
    lost = [*carried.lost, *(Lost(each, f"Frame {each.subject} is not among the extracted frames any more.") for each in standing)]
    left = tuple(each for each in carried.decisions if each.id not in gone)
    return Carried(left, tuple(sorted(lost, key=lambda each: each.decision.id)))


def _anchored(said: Iterable[Decision], version: str) -> list[Annotated]:
    """The subjects of the decisions on one version, as far as their anchors tell."""
    subjects: dict[str, Annotated] = {}
    for each in said:
        stored = each.value.get(ANCHOR) or []
        if (each.data_version or "") == version and stored:
            boxes: dict[str, BoxXyxy] = {anchor["frame_id"]: tuple(anchor["box_xyxy"]) for anchor in stored}
            subjects[each.subject] = Annotated(each.subject, stored[0]["class_id"], boxes)
    return list(subjects.values())


def _corrected_classes(decisions: Iterable[Decision], kind: str, version: str) -> dict[str, str]:
    """The class that people gave to subjects of one version: better models may agree with them."""
    state = _state_on(decisions, version)
    return {subject: verdict.class_id for subject, verdict in state.of(kind).items() if verdict.class_id is not None}


def _state_on(decisions: Iterable[Decision], version: str) -> DecisionState:
    """What was in force on one version by itself: in another the same id is something else."""
    return in_force(each for each in decisions if (each.data_version or "") == version or each.action == UNDO)


def _matched(old: Sequence[Annotated], corrected: Mapping[str, str], new: Sequence[Annotated], min_iou: float) -> dict[str, str]:
    """Bring old and new annotations together one to one, the best overlap first."""
    overlap: dict[tuple[int, int], float] = {}
    old_in, new_in = _by_frame(old), _by_frame(new)
    for frame, before in old_in.items():
        after = new_in.get(frame, [])
        ious = iou_matrix([old[o].boxes_xyxy[frame] for o in before], [new[n].boxes_xyxy[frame] for n in after])
        for row, column in zip(*ious.nonzero(), strict=True):
            o, n = before[row], after[column]
            if new[n].class_id in (old[o].class_id, corrected.get(old[o].subject, old[o].class_id)):
                overlap[o, n] = overlap.get((o, n), 0.0) + float(ious[row, column]) / len(old[o].boxes_xyxy)
    ranked = sorted((-share, old[o].subject, new[n].subject) for (o, n), share in overlap.items() if share >= min_iou)
    found: dict[str, str] = {}
    taken: set[str] = set()
    for _, before_id, after_id in ranked:
        if before_id not in found and after_id not in taken:
            found[before_id] = after_id
            taken.add(after_id)
    return found


def _by_frame(subjects: Sequence[Annotated]) -> dict[str, list[int]]:
    """Numbers of the subjects that are in each frame."""
    found: dict[str, list[int]] = {}
    for number, each in enumerate(subjects):
        for frame in each.boxes_xyxy:
            found.setdefault(frame, []).append(number)
    return found


def _reason(decision: Decision, version: str | None, min_iou: float) -> str:
    if version is None:
        return "There is no data now that it could be about."
    stored = decision.value.get(ANCHOR) or []
    if not stored:
        return f"It was taken on version {decision.data_version} without saying where, and the present version is {version}."
    what = "of the same class" if decision.action != Action.set_class else "of the old or the corrected class"
    return f"Nothing {what} overlaps it by {min_iou:g} in version {version}."
