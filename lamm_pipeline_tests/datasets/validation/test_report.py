"""The report: what a validation comes to, its files, and that nothing of a dataset becomes markup."""

import json
from collections.abc import Iterable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest

from lamm_pipeline.datasets.settings import DatasetSettings, EmptyFrames, FilterSettings
from lamm_pipeline.datasets.validation.annotation_rules import BoxBounds
from lamm_pipeline.datasets.validation.dataset_rules import MissingAnnotations
from lamm_pipeline.datasets.validation.page import as_short_text
from lamm_pipeline.datasets.validation.report import require_valid
from lamm_pipeline.datasets.validation.rule import Failure, Seen, Verdict
from lamm_pipeline.datasets.validation.settings import RuleName, ValidationSettings
from lamm_pipeline.errors import InputError
from lamm_pipeline.orchestration.config import parse
from lamm_pipeline.sample_table import Sample
from lamm_pipeline_tests.datasets.sample_factory import HEIGHT, WIDTH, annotation, mask_of, sample
from lamm_pipeline_tests.datasets.validation.validating import failures, rule, validated

EVIL = '<script>alert("1")</script><img src=x onerror=alert(2)>'
FILES = ("report.json", "report.md", "report.html", "failures.parquet")


class Page(HTMLParser):
    """Collects elements and attributes of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def with_image(folder: Path, frame: Sample) -> Sample:
    path = folder / str(frame.image)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((HEIGHT, WIDTH, 3), 90, np.uint8))
    return replace(frame, folder=folder)


def broken(index: int, **changed: Any) -> Sample:
    frame = sample(index)
    return replace(frame, annotations=(annotation(frame.frame_id, 0, **changed),))


def test_the_same_frames_give_the_same_bytes(tmp_path: Path) -> None:
    samples = [with_image(tmp_path, each) for each in (sample(0, ()), broken(1, area=3), broken(2, box_xyxy=(70.0, 0.0, 90.0, 20.0)))]
    for name in ("one", "two"):
        validated(tmp_path / name, samples)
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == sorted(FILES)
    for name in FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_all_failures_go_to_the_file_and_ten_into_the_report(tmp_path: Path) -> None:
    report = validated(tmp_path, [broken(index, area=1, box_xyxy=(0.0, 0.0, 0.0, 0.0)) for index in range(25)])
    table = pd.read_parquet(tmp_path / "failures.parquet")
    assert list(table.columns) == ["rule", "frame_id", "detection_id", "detail"]
    for name in ("mask_integrity", "box_bounds"):
        assert list(table[table["rule"] == name]["detection_id"]) == [f"drive:{index:06d}:0" for index in range(25)]
        assert rule(report, name)["failures"] == 25
        assert rule(report, name)["first"] == [f"drive:{index:06d}:0" for index in range(10)]


class Breaks:
    """A rule that breaks down."""

    name = RuleName.density
    advice = "none"

    def __init__(self, where: str) -> None:
        self._where = where

    def _reach(self, place: str) -> None:
        if place == self._where:
            raise KeyError(f"broken in {place}")

    def look(self, seen: Seen) -> Iterable[Failure]:
        yield Failure(seen.sample.frame_id, None, "found before it broke")
        self._reach("look")

    def finish(self) -> Iterable[Failure]:
        self._reach("finish")
        return ()

    def verdict(self, failures: int) -> Verdict:
        self._reach("verdict")
        return Verdict(True, f"{failures}")


@pytest.mark.parametrize("where", ["look", "finish", "verdict"])
def test_a_rule_that_breaks_down_is_an_error_and_the_others_go_on(tmp_path: Path, where: str) -> None:
    report = validated(tmp_path, [sample(0), sample(1)], rules=[Breaks(where), MissingAnnotations()])
    assert report["status"] == "FAILED"
    found = rule(report, "density")
    assert (found["severity"], found["passed"]) == ("error", False)
    assert found["sentence"] == f"The rule could not be checked: KeyError: 'broken in {where}'"
    assert rule(report, "missing_annotations")["passed"]
    with pytest.raises(InputError, match="could not be checked"):
        require_valid(report)


@pytest.mark.requirement("VAL-08")
@pytest.mark.parametrize(
    ("settings", "empty", "boxes", "masks"),
    [
        ({}, "warning", "warning", "error"),
        ({"level": "strict"}, "error", "error", "error"),
        ({"refused": True}, "error", "warning", "error"),
        ({"level": "strict", "wanted": True}, "warning", "error", "error"),
        ({"level": "strict", "severities": {"missing_annotations": "off", "box_bounds": "warning"}}, None, "warning", "error"),
    ],
)
def test_levels_and_overrides_say_what_a_finding_means(
    tmp_path: Path, settings: dict[str, Any], empty: str | None, boxes: str, masks: str
) -> None:
    report = validated(tmp_path, [sample(0, ())], **settings)
    severities = {each["name"]: each["severity"] for each in report["rules"]}
    assert (severities.get("missing_annotations"), severities["box_bounds"], severities["mask_integrity"]) == (empty, boxes, masks)
    assert set(severities) | set(report["switched_off"]) == set(RuleName)


def test_empty_frames_follow_the_level_unless_told() -> None:
    strict = ValidationSettings(level="strict")
    assert ValidationSettings().level == "lenient"
    assert DatasetSettings().empty_frames is EmptyFrames.drop
    assert DatasetSettings(validation=strict).empty_frames is EmptyFrames.error
    assert DatasetSettings(validation=strict, filters=FilterSettings(empty_frames="drop")).empty_frames is EmptyFrames.drop


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"severities": {"masks": "off"}}, "there is no rule 'masks'"),
        ({"severities": {"density": "fatal"}}, "severities.density"),
        ({"moderate_imbalance": 10.0}, "above severe_imbalance"),
        ({"near_duplicate_bits": 16}, "less than or equal to 15"),
    ],
)
def test_wrong_settings_end_in_a_sentence(values: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse(ValidationSettings, values, "validation")


def test_labels_stay_text(tmp_path: Path) -> None:
    frames = [with_image(tmp_path, broken(index, class_id=EVIL, area=1)) for index in range(3)]
    report = validated(tmp_path, [*frames, *(sample(index, ("car",) * 10) for index in range(3, 8))])
    assert EVIL in report["classes"]
    page = Page(tmp_path / "report.html")
    assert page.all("script") == []
    assert [each for each in page.all("img") if not str(each["src"]).startswith("data:image/jpeg;base64,")] == []
    assert [name for _, attributes in page.elements for name in attributes if name.startswith("on")] == []
    assert {each.get("href") for each in page.all("a")} == {"failures.parquet", "report.json"}
    text = (tmp_path / "report.md").read_text()
    assert "<script" not in text
    assert "<img" not in text


@pytest.mark.requirement("VAL-07", "VAL-09")
def test_offenders_are_pictured_and_the_rest_is_counted(tmp_path: Path) -> None:
    bad = {"mask_rle": {**mask_of(), "counts": "o"}, "box_xyxy": (float("nan"), 0.0, 9e9, -5.0), "area": 1}
    empty = [with_image(tmp_path, sample(index, ())) for index in range(30, 60)]
    frames = [*(with_image(tmp_path, broken(index, **bad)) for index in range(30)), *empty, *empty]
    report = validated(tmp_path, frames, severities={"density": "off"})
    found = {each["name"]: each["failures"] for each in report["rules"] if not each["passed"]}
    assert found == {"missing_annotations": 60, "duplicate_frames": 30, "mask_integrity": 30, "box_bounds": 30, "small_objects": 30}
    page = Page(tmp_path / "report.html")
    assert len(page.all("figure")) == len(page.all("img")) == 40
    assert "140 more" in (tmp_path / "report.html").read_text()


def test_an_image_that_cannot_be_read_is_said_so(tmp_path: Path) -> None:
    validated(tmp_path, [broken(0, area=399), sample(1, (), image=None)])
    assert (tmp_path / "report.html").read_text().count("the image cannot be read") == 2


@pytest.mark.requirement("VAL-09")
def test_the_text_has_summary_checks_warnings_recommendations_and_classes(tmp_path: Path) -> None:
    validated(tmp_path, [sample(index, ("car", "car", "dog") if index == 0 else ("car",) * 8) for index in range(3)], ("train", "val"))
    text = (tmp_path / "report.md").read_text()
    for expected in (
        "# Validation of drives.v1",
        "**PASSED_WITH_WARNINGS**",
        "3 frames, 19 annotations, 2 classes.",
        "- Severe class imbalance detected: car has 18.0x more samples than dog",
        "- Consider data augmentation for minority classes",
        "| mask_integrity | passed | All 19 masks are sound |  |",
        "| dog | 1 | 5.3% | 1 | 0 |",
    ):
        assert expected in text


def test_the_short_text_ends_at_a_line_and_says_that_there_is_more(tmp_path: Path) -> None:
    plain = as_short_text(validated(tmp_path, [sample(0, ())], level="strict"))
    assert plain.startswith("**FAILED**\n\nErrors:\n- 1 frames (100.0%) have no annotations\n\nWarnings:\n- 0.00 objects a frame")
    long = validated(tmp_path / "long", [sample(0, ("a" * 600, *("b" * 600,) * 9))])
    assert "- Severe class imbalance detected: " + "b" * 600 in (tmp_path / "long" / "report.md").read_text()
    assert as_short_text(long).endswith("\n- … the rest is in the report")
    assert len(as_short_text(long)) < 1000


def test_statistics_are_those_of_the_frames(tmp_path: Path) -> None:
    half = (0.0, 0.0, 32.0, 48.0)
    frames = [broken(0, box_xyxy=half, mask_rle=None), sample(1, (), state="reviewed_empty"), sample(2, (), recording="other")]
    report = validated(tmp_path, frames, ("train", "val"))
    assert report["splits"]["train"] == {
        "frames": 2,
        "annotations": 1,
        "recordings": 2,
        "reviewed_empty": 0,
        "unlabelled": 1,
        "objects_per_frame": 0.5,
    }
    assert report["splits"]["val"]["reviewed_empty"] == 1
    positions = np.array(report["box_positions"])
    assert positions[:, :16].all()
    assert not positions[:, 16:].any()
    assert report["object_sizes"]["counts"] == [0, 0, 0, 0, 0, 0, 0, 0, 1]
    assert json.loads((tmp_path / "report.json").read_text()) == report


def test_rules_hold_on_no_frames_at_all(tmp_path: Path) -> None:
    assert validated(tmp_path, [])["status"] == "PASSED"
    assert Page(tmp_path / "report.html").all("figure") == []


def test_failures_of_a_rule_that_holds_are_not_listed(tmp_path: Path) -> None:
    samples = [broken(0, area=1, mask_rle=None, box_xyxy=(0.0, 0.0, 1.0, 1.0)), *(sample(index) for index in range(1, 40))]
    report = validated(tmp_path, samples, rules=[BoxBounds(1.0)])
    assert report["status"] == "PASSED"
    validated(tmp_path / "all", samples)
    assert failures(tmp_path / "all", "small_objects") == []
