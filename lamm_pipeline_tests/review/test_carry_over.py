"""Decisions on data that has been computed again."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from lamm_pipeline.catalog.decisions import UNDO, Decision
from lamm_pipeline.review.carry_over import Annotated, Carried, Lost, anchors, carry_over, drop_unknown_frames, extended
from lamm_pipeline.review.decisions import BoxXyxy

AT = datetime(2026, 11, 1, tzinfo=UTC)
FRAME = "drive:000001"


def detection(number: int, box_xyxy: BoxXyxy, class_id: str = "car", frame: str = FRAME) -> Annotated:
    return Annotated(f"{frame}:{number}", class_id, {frame: box_xyxy})


def said(number: int, about: Annotated, action: str = "exclude", version: str = "old", kind: str = "annotation", **value: Any) -> Decision:
    anchored = {**value, "anchor": anchors(about)}
    return Decision(number, AT, "ada", "drive", kind, about.subject, action, anchored, version, None, "")


def subjects(carried: Carried) -> Mapping[int, str]:
    return {each.id: each.subject for each in carried.decisions}


LEFT, RIGHT = (10.0, 10.0, 50.0, 50.0), (100.0, 10.0, 140.0, 50.0)


def test_a_decision_goes_to_the_overlapping_annotation_of_the_same_class() -> None:
    car, person = detection(0, LEFT), detection(1, LEFT, "person")
    new = [detection(0, LEFT, "person"), detection(1, RIGHT), detection(2, (12.0, 10.0, 52.0, 50.0))]
    carried = carry_over([said(1, car), said(2, person, "keep")], "annotation", "new", new)
    assert subjects(carried) == {1: f"{FRAME}:2", 2: f"{FRAME}:0"}
    assert carried.lost == ()
    assert carried.state.annotations[f"{FRAME}:2"].excluded


def test_a_decision_that_finds_none_is_listed_with_the_reason() -> None:
    decision = said(1, detection(0, LEFT))
    carried = carry_over([decision], "annotation", "new", [detection(0, RIGHT), detection(1, LEFT, "person")])
    assert carried.decisions == ()
    assert carried.lost == (Lost(decision, "Nothing of the same class overlaps it by 0.5 in version new."),)


def test_a_lost_decision_stays_lost_when_the_same_id_is_something_else_now() -> None:
    lost, elsewhere = said(1, detection(0, LEFT)), said(2, detection(0, RIGHT), "keep", "new")
    carried = carry_over([lost, elsewhere], "annotation", "new", [detection(0, RIGHT)])
    assert [each.decision.id for each in carried.lost] == [1]
    assert carried.decisions == (elsewhere,)


def test_an_overlap_of_exactly_the_least_is_enough() -> None:
    half = detection(5, (10.0, 10.0, 50.0, 30.0))
    assert subjects(carry_over([said(1, detection(0, LEFT))], "annotation", "new", [half])) == {1: half.subject}
    assert carry_over([said(1, detection(0, LEFT))], "annotation", "new", [half], min_iou=0.51).decisions == ()


def test_of_two_old_annotations_only_the_better_fitting_finds_the_one_new() -> None:
    good, worse = detection(0, LEFT), detection(1, (18.0, 10.0, 58.0, 50.0))
    carried = carry_over([said(1, good, "keep"), said(2, worse)], "annotation", "new", [detection(0, LEFT)])
    assert subjects(carried) == {1: f"{FRAME}:0"}
    assert [each.decision.id for each in carried.lost] == [2]


def test_a_neighbour_that_nobody_spoke_about_keeps_its_place_where_the_old_version_is_still_there() -> None:
    kept, duplicate = detection(0, LEFT), detection(1, (18.0, 10.0, 58.0, 50.0))
    new = [detection(0, LEFT)]
    assert subjects(carry_over([said(1, duplicate)], "annotation", "new", new)) == {1: f"{FRAME}:0"}
    carried = carry_over([said(1, duplicate)], "annotation", "new", new, {"old": [kept, duplicate]})
    assert [each.decision.id for each in carried.lost] == [1]


def test_the_class_that_a_person_gave_counts_too() -> None:
    old = detection(0, LEFT)
    log = [said(1, old, "set_class", class_id="truck"), said(2, old, "keep")]
    assert subjects(carry_over(log, "annotation", "new", [detection(4, LEFT, "truck")])) == {1: f"{FRAME}:4", 2: f"{FRAME}:4"}
    undo = Decision(3, AT, "ada", "drive", "annotation", old.subject, UNDO, {}, "old", 1, "")
    assert [each.decision.id for each in carry_over([*log, undo], "annotation", "new", [detection(4, LEFT, "truck")]).lost] == [2]


def test_what_was_said_about_different_versions_of_one_object_meets_in_the_present_one() -> None:
    log = [said(1, detection(3, LEFT), "exclude", "first"), said(2, detection(7, LEFT), "keep", "second")]
    carried = carry_over(log, "annotation", "third", [detection(0, LEFT)])
    assert subjects(carried) == {1: f"{FRAME}:0", 2: f"{FRAME}:0"}
    assert not carried.state.annotations[f"{FRAME}:0"].excluded


def test_decisions_on_the_present_version_stay_where_they_are_and_nothing_is_read_for_them() -> None:
    def unread() -> Iterator[Annotated]:
        raise AssertionError
        yield

    log = [said(1, detection(0, LEFT), version="now")]
    assert carry_over(log, "annotation", "now", unread()) == Carried(tuple(log), ())


def test_undone_and_superseded_decisions_are_not_listed_as_lost() -> None:
    old = detection(0, LEFT)
    undo = Decision(2, AT, "ada", "drive", "annotation", old.subject, UNDO, {}, "old", 1, "")
    assert carry_over([said(1, old), undo], "annotation", "new", []).lost == ()
    carried = carry_over([said(1, old), said(2, old, "keep")], "annotation", "new", [])
    assert [each.decision.id for each in carried.lost] == [2]


def test_without_present_data_everything_in_force_is_listed() -> None:
    [lost] = carry_over([said(1, detection(0, LEFT))], "annotation", None, []).lost
    assert lost.reason == "There is no data now that it could be about."


def test_a_sequence_is_found_by_the_mean_overlap_over_its_anchors() -> None:
    def sequence(subject: str, shift: float, frames: range) -> Annotated:
        return Annotated(subject, "car", {f"drive:{n:06d}": (10.0 + shift, 10.0, 50.0 + shift, 50.0) for n in frames})

    old = sequence("drive:s0001", 0.0, range(20))
    assert [each["frame_id"] for each in anchors(old)] == [f"drive:{n:06d}" for n in (0, 5, 10, 14, 19)]
    new = [sequence("drive:s0001", 100.0, range(20)), sequence("drive:s0002", 2.0, range(3, 20)), sequence("drive:s0003", 0.0, range(8))]
    log = [said(1, old, kind="sequence")]
    assert subjects(carry_over(log, "sequence", "new", new)) == {1: "drive:s0002"}
    assert [each.decision.id for each in carry_over(log, "sequence", "new", new[::2]).lost] == [1]


def test_decisions_of_other_kinds_pass_through_and_frames_that_are_gone_are_listed() -> None:
    frame = Decision(1, AT, "ada", "drive", "frame", "drive:000009", "exclude", {}, "f1", None, "")
    kept = Decision(2, AT, "ada", "drive", "frame", FRAME, "exclude", {}, "f1", None, "")
    class_ = Decision(3, AT, "ada", "drive", "class", "car", "exclude", {}, None, None, "")
    carried = carry_over([frame, kept, class_], "annotation", "new", [])
    assert carried.decisions == (frame, kept, class_)
    left = drop_unknown_frames(carried, [FRAME])
    assert left.decisions == (kept, class_)
    assert [each.decision for each in left.lost] == [frame]


@settings(max_examples=100)
@given(st.permutations(range(8)), st.lists(st.integers(0, 7), min_size=1, max_size=12), st.floats(-4.0, 4.0))
def test_no_decision_is_lost_when_the_same_objects_come_in_another_order(order: list[int], spoken: list[int], shift: float) -> None:
    old = [detection(n, (60.0 * n, 10.0, 60.0 * n + 40.0, 50.0)) for n in range(8)]
    new = [detection(place, (60.0 * n + shift, 10.0, 60.0 * n + 40.0 + shift, 50.0)) for place, n in enumerate(order)]
    log = [said(number, old[n]) for number, n in enumerate(spoken, start=1)]
    carried = carry_over(log, "annotation", "new", new)
    assert carried.lost == ()
    assert subjects(carried) == {number: f"{FRAME}:{order.index(n)}" for number, n in enumerate(spoken, start=1)}


@st.composite
def histories(draw: st.DrawFn) -> list[Decision]:
    """Decisions on two versions of the data, and undos of any of them."""
    history: list[Decision] = []
    for number in range(1, draw(st.integers(1, 12)) + 1):
        if history and draw(st.booleans()):
            undone = draw(st.sampled_from(history))
            history.append(Decision(number, AT, "ada", "drive", "annotation", undone.subject, UNDO, {}, undone.data_version, undone.id, ""))
        else:
            about = detection(draw(st.integers(0, 1)), draw(st.sampled_from([LEFT, RIGHT])))
            history.append(said(number, about, draw(st.sampled_from(["keep", "exclude"])), draw(st.sampled_from(["old", "new"]))))
    return history


@given(histories(), st.integers(0, 12))
def test_newer_decisions_are_added_as_if_all_were_carried_again(history: list[Decision], before: int) -> None:
    present = [detection(0, LEFT)]
    whole = carry_over(history, "annotation", "new", present)
    first = carry_over(history[:before], "annotation", "new", present)
    grown = extended(first, history[before:], {"annotation": "new"})
    if grown is not None:
        assert (grown.decisions, grown.lost, grown.state) == (whole.decisions, whole.lost, whole.state)
    if all(each.data_version == "new" for each in history):
        assert grown is not None
