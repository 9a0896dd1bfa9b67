"""Each rule: what it objects to, what it lets pass, and with which words."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lamm_pipeline.geometry.box_3d import Box3D
from lamm_pipeline.geometry.camera import RectifiedCamera
from lamm_pipeline.sample_table import PlacedBox, Sample
from lamm_pipeline_tests.datasets.sample_factory import BOX_XYXY, HEIGHT, WIDTH, annotation, mask_of, sample
from lamm_pipeline_tests.datasets.validation.validating import failures, rule, validated

CAMERA = RectifiedCamera(WIDTH, HEIGHT, fx=60.0, fy=60.0, cx=31.5, cy=23.5, baseline_m=0.12)
CAR = Box3D(x=-2.0, y=0.2, z=10.0, length=4.2, width=1.8, height=1.5, rotation_y=0.4)


def with_annotation(index: int = 0, **changed: Any) -> Sample:
    frame = sample(index)
    return replace(frame, annotations=(annotation(frame.frame_id, 0, **changed),), camera=CAMERA)


def test_frames_that_a_person_calls_empty_are_no_missing_annotations(tmp_path: Path) -> None:
    samples = [sample(0), sample(1, (), state="reviewed_empty"), sample(2, ())]
    report = validated(tmp_path, samples, level="strict")
    assert rule(report, "missing_annotations")["sentence"] == "1 frames (33.3%) have no annotations"
    assert failures(tmp_path, "missing_annotations") == [("drive:000002", None, "no annotations")]
    report = validated(tmp_path / "without", samples[:2], level="strict")
    assert rule(report, "missing_annotations")["passed"]


@pytest.mark.requirement("VAL-10")
def test_duplicate_frames_are_counted_within_a_recording(tmp_path: Path) -> None:
    samples = [sample(0), sample(1), sample(1), sample(0, recording="other"), sample(0)]
    report = validated(tmp_path, samples)
    assert rule(report, "duplicate_frames")["sentence"] == "Found 2 duplicate frame indices"
    assert [frame_id for frame_id, _, _ in failures(tmp_path, "duplicate_frames")] == ["drive:000001", "drive:000000"]


@pytest.mark.requirement("VAL-10")
@pytest.mark.parametrize(
    ("box_xyxy", "said"),
    [
        ((10.0, 8.0, 10.0, 28.0), "no area"),
        ((30.0, 8.0, 10.0, 28.0), "no area"),
        ((float("nan"), 8.0, 30.0, 28.0), "no number"),
        ((10.0, 8.0, float("inf"), 28.0), "no number"),
        ((-1.5, 8.0, 30.0, 28.0), "reaches out of the image of 64 x 48"),
        ((10.0, 8.0, 30.0, 49.5), "reaches out of the image of 64 x 48"),
        ((1910.0, 8.0, 1920.0, 28.0), "reaches out"),
        ((-1.0, -0.5, 64.5, 49.0), None),
        ((0.0, 0.0, 64.0, 48.0), None),
    ],
)
def test_boxes_lie_within_their_own_image(tmp_path: Path, box_xyxy: tuple[float, float, float, float], said: str | None) -> None:
    report = validated(tmp_path, [with_annotation(0, box_xyxy=box_xyxy), with_annotation(1)], level="strict")
    if said is None:
        assert rule(report, "box_bounds")["passed"]
    else:
        assert report["status"] == "FAILED"
        assert "1 bounding boxes (50.0%) are invalid" in report["errors"]
        ((_, detection_id, detail),) = failures(tmp_path, "box_bounds")
        assert detection_id == "drive:000000:0"
        assert said in detail


@pytest.mark.parametrize(
    ("box_xyxy", "agrees"),
    [
        (BOX_XYXY, True),
        ((9.0, 7.0, 31.5, 29.0), True),
        ((10.0, 8.0, 34.0, 30.0), True),
        ((30.0, 8.0, 50.0, 28.0), False),
        ((8.0, 10.0, 18.0, 20.0), False),
    ],
)
@pytest.mark.parametrize("masks", ["full", "quick"])
def test_masks_and_boxes_agree(tmp_path: Path, box_xyxy: tuple[float, float, float, float], agrees: bool, masks: str) -> None:
    report = validated(tmp_path, [with_annotation(box_xyxy=box_xyxy)], masks=masks)
    assert rule(report, "mask_box_agreement")["passed"] is agrees
    assert [found for _, found, _ in failures(tmp_path, "mask_box_agreement")] == ([] if agrees else ["drive:000000:0"])


def test_a_small_mask_may_differ_from_its_box_by_two_pixels(tmp_path: Path) -> None:
    small = with_annotation(box_xyxy=(10.0, 10.0, 15.0, 15.0), mask_rle=mask_of((12.0, 12.0, 14.0, 14.0)), area=4)
    assert rule(validated(tmp_path, [small]), "mask_box_agreement")["passed"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, None),
        ({"length": 1.8, "width": 4.2}, None),
        ({"width": float("nan")}, "no number"),
        ({"height": 0.0}, "measures 4.20 x 1.80 x 0.00 m"),
        ({"length": -4.2}, "measures"),
        ({"z": -10.0}, "10.0 m behind the camera"),
        ({"length": 42.0}, "no car measures 42.00"),
        ({"x": 4.0}, "does not project to the 2D box"),
    ],
)
def test_3d_boxes_are_plausible(tmp_path: Path, changed: dict[str, float], said: str | None) -> None:
    placed = PlacedBox(replace(CAR, **changed), alpha=0.0, truncated=0.0, occluded=0, source="frame")
    report = validated(tmp_path, [with_annotation(box_3d=placed), sample(1)])
    assert rule(report, "box_3d_sanity")["counts"]["boxes_3d"] == 1
    assert [said in detail for _, _, detail in failures(tmp_path, "box_3d_sanity") if said] == ([True] if said else [])
    assert rule(report, "box_3d_sanity")["passed"] is (said is None)


def test_a_class_without_prior_may_have_any_size(tmp_path: Path) -> None:
    placed = PlacedBox(replace(CAR, height=30.0, z=50.0, y=15.0), alpha=0.0, truncated=0.0, occluded=0, source="import")
    report = validated(tmp_path, [with_annotation(class_id="<b>thing</b>", box_3d=placed, box_xyxy=(0.0, 0.0, 64.0, 48.0))])
    assert rule(report, "box_3d_sanity")["passed"]


@pytest.mark.parametrize(
    ("common", "settings", "sentence"),
    [
        (90, {}, "Severe class imbalance detected: car has 9.0x more samples than dog"),
        (89, {}, "Moderate class imbalance detected: car has 8.9x more samples than dog"),
        (50, {}, "Moderate class imbalance detected: car has 5.0x more samples than dog"),
        (49, {}, None),
        (49, {"moderate_imbalance": 2.0, "severe_imbalance": 3.0}, "Severe class imbalance detected: car has 4.9x more samples than dog"),
    ],
)
def test_imbalance_is_moderate_or_severe(tmp_path: Path, common: int, settings: dict[str, float], sentence: str | None) -> None:
    samples = [sample(index, ("car",) if index < common else ("dog",)) for index in range(common + 10)]
    report = validated(tmp_path, samples, **settings)
    assert report["warnings"] == ([] if sentence is None else [sentence])


def test_one_class_alone_is_in_balance(tmp_path: Path) -> None:
    assert rule(validated(tmp_path, [sample(0)]), "class_balance")["passed"]


def test_a_class_missing_from_a_split_is_named(tmp_path: Path) -> None:
    samples = [sample(0, ("car", "dog")), sample(1, ("car",)), sample(2, ("car", "dog"))]
    report = validated(tmp_path, samples, ("train", "val", "test"))
    assert [detail for _, _, detail in failures(tmp_path, "class_missing_from_split")] == ["dog is not in val"]
    assert rule(report, "class_missing_from_split")["first"] == ["dog is not in val"]
    assert rule(report, "class_missing_from_split")["sentence"] == "1 classes are missing from splits: dog (val)"


def test_a_class_that_is_in_no_split_at_all_is_named(tmp_path: Path) -> None:
    report = validated(tmp_path, [sample(0), sample(1, ("car", "dog")), sample(2)], ("train", None, "val"))
    assert rule(report, "class_missing_from_split")["sentence"] == "1 classes are missing from splits: dog (train, val)"


def test_a_frame_in_no_split_is_nobodys_near_duplicate(tmp_path: Path) -> None:
    report = validated(tmp_path, [sample(index, image_hash=7) for index in range(2)], ("train", None))
    assert rule(report, "near_duplicates")["sentence"] == "No two of 1 frames look alike across splits"


@pytest.mark.requirement("VAL-10")
@pytest.mark.parametrize(("small", "warned"), [(1, False), (2, True)])
def test_small_objects_matter_when_there_are_many(tmp_path: Path, small: int, warned: bool) -> None:
    tiny = {"mask_rle": mask_of((10.0, 8.0, 11.0, 11.0)), "area": 3, "box_xyxy": (10.0, 8.0, 11.0, 11.0)}  # 0.098 % of 64 x 48
    samples = [with_annotation(index, **(tiny if index < small else {})) for index in range(20)]
    report = validated(tmp_path, samples)
    assert rule(report, "small_objects")["passed"] is not warned
    assert rule(report, "small_objects")["sentence"] == f"{small} objects ({5.0 * small:.1f}%) cover less than 0.1% of their image"
    assert len(failures(tmp_path, "small_objects")) == (small if warned else 0)


@pytest.mark.requirement("VAL-10")
def test_sparse_annotations_are_a_warning(tmp_path: Path) -> None:
    samples = [sample(0), sample(1, ()), sample(2, (), state="reviewed_empty")]
    assert rule(validated(tmp_path, samples), "density")["sentence"] == "0.50 objects a frame on average, fewer than 1"
    assert rule(validated(tmp_path / "dense", [samples[0], samples[2]]), "density")["passed"]


@pytest.mark.requirement("SPL-05")
def test_near_duplicates_across_splits_are_found_exactly(tmp_path: Path) -> None:
    hashes = [0, 0b11111, 0xFFFF0000, 0b1, None, 0xFFFF0000]  # frames take turns: train, val, test
    samples = [sample(index, image_hash=value) for index, value in enumerate(hashes)]
    report = validated(tmp_path, samples, ("train", "val", "test"))
    found = failures(tmp_path, "near_duplicates")
    assert found == [
        ("drive:000000", None, "in train, differs in 5 bits from drive:000001 in val"),
        ("drive:000001", None, found[1][2]),
        ("drive:000003", None, "in train, differs in 4 bits from drive:000001 in val"),
    ]
    assert rule(report, "near_duplicates")["sentence"] == "3 frames (60.0%) look like frames of another split"
    assert rule(report, "near_duplicates")["counts"]["without_hash"] == 1
    assert rule(validated(tmp_path / "exact", samples, ("train", "val", "test"), near_duplicate_bits=3), "near_duplicates")["passed"]


def test_near_duplicates_within_a_split_are_nobodys_business(tmp_path: Path) -> None:
    samples = [sample(index, image_hash=7) for index in range(4)]
    assert rule(validated(tmp_path, samples), "near_duplicates")["passed"]
    without = rule(validated(tmp_path / "without", [sample(0)]), "near_duplicates")
    assert without["sentence"] == "Not checked: none of the 1 frames has a hash"
