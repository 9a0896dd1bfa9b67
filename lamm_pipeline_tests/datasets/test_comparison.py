"""Two dataset versions side by side: what went in, out or changed, and why."""

from pathlib import Path

import pytest

from lamm_pipeline.datasets.comparison import Comparison, compare, counted
from lamm_pipeline_tests.curation.houses import FRAME, House
from lamm_pipeline_tests.datasets.shops import Shop
from lamm_pipeline_tests.review.worlds import FOUND, detection

CAR, PERSON, CAR_1, VAN, CONE = "drive:000000:0", "drive:000000:1", "drive:000001:0", "drive:000003:0", "drive:000003:1"
SUMS = ("before", "in", "out", "from_other_class", "to_other_class", "after")


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(House(tmp_path))


def check_sums(found: Comparison) -> None:
    """The numbers by class add up, and are those of the lists."""
    for counts in found.classes.values():
        before, came, went, won, lost, after = (counts[name] for name in SUMS)
        assert before + came - went + won - lost == after
    for change, column in (("in", "in"), ("out", "out")):
        assert sum(counts[column] for counts in found.classes.values()) == sum(each.change == change for each in found.annotations)
    frames = {change: sum(each.change == change for each in found.frames) for change in ("in", "out")}
    assert found.total_frames[0] + frames["in"] - frames["out"] == found.total_frames[1]


@pytest.mark.requirement("CUR-09", "CUR-10", "STA-04")
def test_decisions_are_told_with_who_took_them(shop: Shop) -> None:
    old = shop.curated()
    shop.house.say(CAR, "set_class", class_id="truck")
    number = shop.house.say(PERSON, "exclude", note="a poster")
    shop.house.say(VAN, "set_box", box_xyxy=[20, 30, 88, 100])
    empty = shop.house.say(FRAME(2), "reviewed_empty", "frame")
    excluded = shop.house.say(FRAME(1), "exclude", "frame")
    found = compare(old, shop.curated())
    assert (found.old, found.new, found.settings) == ("night.v1", "night.v2", {})
    assert list(found.artifacts) == [("drive", "selection")]
    assert [(each.frame_id, each.change, each.before, each.after, each.reason, each.detail) for each in found.frames] == [
        (FRAME(0), "changed", "kept", "kept", "annotations", None),
        (FRAME(1), "out", "kept", "excluded", "decision", f"decision {excluded} by ada"),
        (FRAME(2), "in", "unlabelled", "reviewed_empty", "no_annotations", None),
        (FRAME(3), "changed", "kept", "kept", "annotations", None),
    ]
    assert empty < excluded
    assert [(each.annotation_id, each.change, each.class_before, each.class_after, each.what) for each in found.annotations] == [
        (PERSON, "out", "person", None, ()),
        (CAR, "changed", "car", "truck", ("class",)),
        (CAR_1, "out", "car", None, ()),
        (VAN, "changed", "van", "van", ("box",)),
    ]
    assert [(each.reason, each.detail) for each in found.annotations] == [
        ("decision", f"decision {number} by ada: a poster"),
        ("human", None),
        ("frame: decision", f"decision {excluded} by ada"),
        ("human", None),
    ]
    assert dict(found.classes["car"]) == {"before": 2, "out": 1, "to_other_class": 1}
    assert dict(found.classes["truck"]) == {"from_other_class": 1, "after": 1}
    assert found.classes["van"]["corrected"] == 1
    assert found.total_frames == (3, 3)
    check_sums(found)


@pytest.mark.requirement("CUR-09")
def test_what_an_undone_decision_or_a_looser_filter_brings_back_is_told_with_why_it_was_out(shop: Shop) -> None:
    number = shop.house.say(CAR, "exclude")
    old = shop.curated(excluded_classes=["cone"])
    shop.house.catalog.decisions.undo(number, "bob")
    found = compare(old, shop.curated())
    assert [(each.annotation_id, each.change, each.reason) for each in found.annotations] == [
        (CAR, "in", "decision"),
        (CONE, "in", "class_excluded"),
    ]
    assert found.settings == {"filters.excluded_classes": (["cone"], [])}
    assert counted(found.annotations) == [
        {"change": "in", "reason": "decision", "count": 1},
        {"change": "in", "reason": "class_excluded", "count": 1},
    ]
    check_sums(found)


@pytest.mark.requirement("CUR-09")
def test_other_thresholds_are_told_by_frames_with_what_stands_for_them(shop: Shop) -> None:
    shop.house.measure([0, 0, 9, 5], [1.0, 1.0, 1.0, 1.0])
    old = shop.curated()
    shop.house.curate(diversity=True, similarity_threshold=0.99)
    found = compare(old, shop.curated())
    assert [(each.frame_id, each.change, each.reason, each.detail) for each in found.frames] == [
        (FRAME(1), "out", "repeated", "similarity 1.0000 to drive:000000 is above 0.99")
    ]
    assert [(each.annotation_id, each.reason) for each in found.annotations] == [(CAR_1, "frame: repeated")]
    check_sums(found)


@pytest.mark.requirement("CUR-09")
def test_annotations_that_were_computed_again_are_known_by_their_place(shop: Shop) -> None:
    old = shop.curated()
    shop.house.detect(
        {
            0: [detection(0, 0, "person", (101.0, 20.0, 125.0, 90.0)), detection(0, 1, "car", (10.0, 10.0, 60.0, 50.0))],
            1: [detection(1, 0, "truck", (12.5, 10.0, 62.5, 50.0))],
            2: [detection(2, 0, "car", (0.0, 0.0, 20.0, 20.0))],
            3: FOUND[3][:1],
        },
        threshold=0.4,
    )
    found = compare(old, shop.curated())
    assert [(each.annotation_id, each.change, each.what, each.reason) for each in found.annotations] == [
        ("drive:000000:0", "changed", ("box", "mask"), "computed_again"),
        ("drive:000001:0", "changed", ("class",), "computed_again"),
        ("drive:000002:0", "in", (), "computed_again"),
        (CONE, "out", (), "computed_again"),
    ]
    assert ("drive", "detections") in found.artifacts
    check_sums(found)


def test_a_version_does_not_differ_from_itself(shop: Shop) -> None:
    version = shop.curated()
    found = compare(version, version)
    assert (found.frames, found.annotations, found.settings, found.artifacts) == ([], [], {}, {})
    assert found.to_json()["counts"] == {"frames": [], "annotations": []}
    check_sums(found)
