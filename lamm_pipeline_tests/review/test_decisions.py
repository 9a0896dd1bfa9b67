"""Which decisions are in force, and what they make of frames and annotations."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamm_pipeline.catalog.decisions import UNDO, Decision
from lamm_pipeline.review.decisions import Action, Verdict, frame_state, in_force, outcome
from lamm_pipeline.sample_table import FrameState

START = datetime(2026, 11, 1, tzinfo=UTC)
CAR = "drive:000001:0"


def said(number: int, action: str, kind: str = "annotation", subject: str = CAR, *, note: str = "", **value: Any) -> Decision:
    return Decision(number, START + timedelta(minutes=number), "ada", "drive", kind, subject, action, value, "v1", None, note)


def undo(number: int, reverts: int) -> Decision:
    return Decision(number, START + timedelta(minutes=number), "bob", "drive", "annotation", CAR, UNDO, {}, "v1", reverts, "")


@pytest.mark.requirement("CUR-03", "SEQ-15")
def test_the_newest_decision_on_a_field_is_in_force_and_other_fields_are_untouched() -> None:
    log = [said(1, "exclude"), said(2, "set_class", class_id="truck"), said(3, "keep"), said(4, "set_class", class_id="van")]
    verdict = in_force(log).annotations[CAR]
    assert (verdict.action, verdict.class_id, verdict.is_positive) == (Action.keep, "van", None)
    assert {name: each.id for name, each in verdict.in_force.items()} == {"verdict": 3, "class_id": 4}


def test_the_order_of_ids_counts_and_not_that_of_the_list_or_of_the_clocks() -> None:
    late = said(1, "exclude")
    fast_clock = Decision(**{**vars(late), "at": START + timedelta(days=9)})
    assert in_force([said(2, "keep"), fast_clock]).annotations[CAR].action is Action.keep


def test_an_undo_puts_the_decision_before_in_force_again() -> None:
    log = [said(1, "set_class", class_id="truck"), said(2, "set_class", class_id="van"), undo(3, 2)]
    assert in_force(log).annotations[CAR].class_id == "truck"
    assert in_force([*log, undo(4, 1)]).annotations == {}


def test_the_undo_of_an_undo_puts_the_decision_in_force_at_its_own_place_in_time() -> None:
    log = [said(1, "exclude"), undo(2, 1), undo(3, 2)]
    assert in_force(log).annotations[CAR].excluded
    assert not in_force([said(1, "exclude"), said(2, "keep"), undo(3, 1), undo(4, 3)]).annotations[CAR].excluded
    assert in_force([*log, undo(4, 3)]).annotations == {}


def test_unreview_is_as_if_nobody_had_looked_and_keeps_the_note() -> None:
    log = [said(1, "exclude"), said(2, "set_positive", is_positive=False), said(3, "note", note="glare"), said(4, "unreview")]
    verdict = in_force(log).annotations[CAR]
    assert (verdict.action, verdict.is_positive, verdict.note, verdict.reviewed) == (None, None, "glare", False)
    again = in_force([*log, undo(5, 4)]).annotations[CAR]
    assert (again.excluded, again.is_positive, again.reviewed) == (True, False, True)
    assert in_force([*log, said(6, "keep")]).annotations[CAR].action is Action.keep


def test_subjects_of_different_kinds_do_not_meet() -> None:
    state = in_force(
        [
            said(1, "exclude", "frame", "drive:000001"),
            said(2, "exclude", "class", "car"),
            said(3, "set_false_positive_types", "sequence", "drive:s0001", types=["dust"]),
        ]
    )
    assert state.frames["drive:000001"].excluded
    assert state.classes["car"].excluded
    assert state.sequences["drive:s0001"].false_positive_types == ("dust",)
    assert state.annotations == {}
    assert [each.id for each in state.decisions()] == [1, 2, 3]


@st.composite
def logs(draw: st.DrawFn) -> list[Decision]:
    log: list[Decision] = []
    for number in range(1, draw(st.integers(0, 25)) + 1):
        if log and draw(st.integers(0, 2)) == 0:
            log.append(undo(number, draw(st.integers(1, number - 1))))
            continue
        action, value = draw(
            st.sampled_from(
                [
                    ("keep", {}),
                    ("exclude", {}),
                    ("unreview", {}),
                    ("set_class", {"class_id": "van"}),
                    ("set_class", {"class_id": "truck"}),
                    ("set_positive", {"is_positive": False}),
                ]
            )
        )
        log.append(said(number, action, subject=draw(st.sampled_from(["a", "b"])), **value))
    return log


def replayed(log: list[Decision]) -> dict[str, dict[str, Any]]:
    """Replay by the definition alone: strike out, from the newest to the oldest, what an undo that stands takes back; then say the rest."""
    standing = {each.id: each for each in log}
    for each in reversed(log):
        if each.id in standing and each.action == UNDO:
            standing.pop(each.reverts or 0, None)
    said_of: dict[str, dict[str, Any]] = {}
    for each in log:
        if each.id not in standing or each.action == UNDO:
            continue
        if each.action == "unreview":
            said_of.pop(each.subject, None)
        elif each.action in ("keep", "exclude"):
            said_of.setdefault(each.subject, {})["verdict"] = each.action
        else:
            said_of.setdefault(each.subject, {}).update(each.value)
    return said_of


@settings(max_examples=300)
@given(logs(), st.randoms())
def test_any_decisions_and_undos_give_the_state_of_replaying_them(log: list[Decision], random: Any) -> None:
    shuffled = list(log)
    random.shuffle(shuffled)

    def plain(verdict: Verdict) -> dict[str, Any]:
        every = {"verdict": verdict.action, "class_id": verdict.class_id, "is_positive": verdict.is_positive}
        return {name: value for name, value in every.items() if value is not None}

    assert {subject: plain(verdict) for subject, verdict in in_force(shuffled).annotations.items()} == replayed(log)


@pytest.mark.requirement("CUR-04")
@pytest.mark.parametrize(
    ("action", "labelled", "annotations", "state"),
    [
        (None, True, 2, FrameState.kept),
        ("keep", True, 2, FrameState.kept),
        (None, True, 0, FrameState.unlabelled),
        (None, False, 0, FrameState.unlabelled),
        ("keep", True, 0, FrameState.reviewed_empty),
        ("reviewed_empty", True, 0, FrameState.reviewed_empty),
        ("reviewed_empty", True, 2, FrameState.kept),
        ("reviewed_empty", False, 0, FrameState.reviewed_empty),
        ("exclude", True, 2, FrameState.excluded),
        ("exclude", False, 0, FrameState.excluded),
    ],
)
def test_a_frame_is_a_negative_only_when_a_person_says_so(action: str | None, labelled: bool, annotations: int, state: str) -> None:
    verdict = Verdict({} if action is None else {"verdict": said(1, action, "frame", "drive:000001")})
    assert frame_state(verdict, labelled=labelled, annotations=annotations) == state


FRAME, SEQUENCE = "drive:000001", "drive:s0001"
CLASS_OUT = said(1, "exclude", "class", "car")
SEQUENCE_OUT = said(2, "exclude", "sequence", SEQUENCE)
SEQUENCE_NEGATIVE = said(3, "set_positive", "sequence", SEQUENCE, is_positive=False)
EMPTY = said(4, "reviewed_empty", "frame", FRAME)
OWN_OUT = said(5, "exclude")
OWN_KEPT = said(6, "keep")
OWN_NEGATIVE = said(7, "set_positive", is_positive=False)
SEQUENCE_KEPT = said(8, "keep", "sequence", SEQUENCE)
TRUCK = said(9, "set_class", class_id="truck")
SEQUENCE_VAN = said(10, "set_class", "sequence", SEQUENCE, class_id="van")


@pytest.mark.requirement("CUR-02", "CUR-03", "SEQ-15")
@pytest.mark.parametrize(
    ("log", "excluded_by"),
    [
        ([], None),
        ([CLASS_OUT], 1),
        ([CLASS_OUT, SEQUENCE_OUT], 2),
        ([CLASS_OUT, SEQUENCE_KEPT], None),
        ([SEQUENCE_OUT, SEQUENCE_NEGATIVE], 3),
        ([SEQUENCE_NEGATIVE, SEQUENCE_KEPT], None),
        ([EMPTY], 4),
        ([EMPTY, OWN_KEPT], None),
        ([OWN_OUT, SEQUENCE_KEPT], 5),
        ([OWN_OUT, OWN_KEPT], None),
        ([OWN_KEPT, OWN_NEGATIVE], 7),
        ([CLASS_OUT, OWN_KEPT], None),
        ([CLASS_OUT, TRUCK], None),
    ],
)
def test_the_special_goes_before_the_general_and_the_newest_before_the_older(log: list[Decision], excluded_by: int | None) -> None:
    found = outcome(in_force(log), FRAME, CAR, "car", [SEQUENCE]).excluded_by
    assert (None if found is None else found.id) == excluded_by


@pytest.mark.requirement("SEQ-15")
def test_the_class_of_an_annotation_is_its_own_correction_else_that_of_its_sequence() -> None:
    assert outcome(in_force([TRUCK, SEQUENCE_VAN]), FRAME, CAR, "car", [SEQUENCE]).class_id == "truck"
    assert outcome(in_force([SEQUENCE_VAN]), FRAME, CAR, "car", [SEQUENCE]).class_id == "van"
    assert outcome(in_force([SEQUENCE_VAN]), FRAME, CAR, "car").class_id == "car"


def test_corrections_come_with_the_outcome() -> None:
    log = [said(1, "set_box", box_xyxy=[1.0, 2.0, 3.0, 4.0]), said(2, "set_mask", mask_rle={"size": [1, 1], "counts": "01"})]
    seen = outcome(in_force(log), FRAME, CAR, "car")
    assert (seen.box_xyxy, seen.mask_rle, seen.excluded_by, seen.reviewed) == ((1.0, 2.0, 3.0, 4.0), log[1].value["mask_rle"], None, True)
