"""The scenarios of the source, each as a test of its name."""

from dataclasses import replace
from pathlib import Path

import pytest

from lamm_pipeline.datasets.validation.report import read_report, require_valid
from lamm_pipeline.errors import InputError
from lamm_pipeline_tests.datasets.sample_factory import HEIGHT, WIDTH, annotation, mask_of, sample
from lamm_pipeline_tests.datasets.validation.validating import failures, rule, validated


@pytest.mark.requirement("VAL-01", "VAL-02", "VAL-03", "AV-03")
def test_detect_missing_annotations(tmp_path: Path) -> None:
    empty = range(7, 1000, 67)
    samples = [sample(index, () if index in empty else ("car",)) for index in range(1000)]
    assert len(empty) == 15

    report = validated(tmp_path, samples, level="strict")

    assert report["status"] == "FAILED"
    assert report["errors"] == ["15 frames (1.5%) have no annotations"]
    assert [frame_id for frame_id, _, _ in failures(tmp_path, "missing_annotations")] == [f"drive:{index:06d}" for index in empty]
    assert rule(report, "missing_annotations")["first"] == [f"drive:{index:06d}" for index in empty][:10]
    with pytest.raises(InputError, match=r"'drives\.v1' failed its validation: 15 frames \(1\.5%\) have no annotations"):
        require_valid(read_report(tmp_path))


@pytest.mark.requirement("VAL-01", "VAL-02", "VAL-06", "VAL-07", "AV-03")
def test_frames_in_no_split_are_looked_at_too(tmp_path: Path) -> None:
    """Which frames lie in a gap between two splits is chance, and must not decide what is found."""
    samples = [sample(index, () if index % 67 == 7 else ("car",)) for index in range(1000)]
    samples[1] = replace(samples[1], annotations=(annotation("drive:000001", 0, area=399),))

    report = validated(tmp_path, samples, ("train", None, "val", None), level="strict")

    assert report["errors"][0] == "15 frames (1.5%) have no annotations"
    assert [found for _, found, _ in failures(tmp_path, "mask_integrity")] == ["drive:000001:0"]
    assert (report["frames"], report["splits"]["none"]["frames"], report["splits"]["none"]["unlabelled"]) == (1000, 500, 8)
    assert report["classes"]["car"]["splits"] == {"train": 247, "val": 246, "none": 492}
    assert "| none | 500 | 492 | 1 | 0 | 8 |" in (tmp_path / "report.md").read_text()
    assert "<th>no split</th>" in (tmp_path / "report.html").read_text()


@pytest.mark.requirement("VAL-04", "VAL-05", "AV-04")
def test_detect_class_imbalance(tmp_path: Path) -> None:
    classes = ["person"] * 2800 + ["car"] * 900 + ["dog"] * 300
    samples = [sample(index, (classes[index], classes[-1 - index])) for index in range(2000)]

    report = validated(tmp_path, samples, level="strict")

    assert {name: row["annotations"] for name, row in report["classes"].items()} == {"person": 2800, "car": 900, "dog": 300}
    assert f"{rule(report, 'class_balance')['counts']['ratio']:.1f}" == "9.3"
    assert report["status"] == "PASSED_WITH_WARNINGS"
    assert report["warnings"] == ["Severe class imbalance detected: person has 9.3x more samples than dog"]
    assert "Consider data augmentation for minority classes" in report["recommendations"]
    assert failures(tmp_path, "class_balance") == [(None, None, "dog: 300 samples, 1 to 9.3 of the most frequent class")]
    require_valid(read_report(tmp_path))


@pytest.mark.requirement("VAL-06", "VAL-07")
@pytest.mark.parametrize("level", ["strict", "lenient"])
def test_validate_mask_integrity(tmp_path: Path, level: str) -> None:
    sound = mask_of()
    bad = {
        "truncated": {"mask_rle": {**sound, "counts": sound["counts"][:-1]}},
        "transposed": {"mask_rle": {"size": [WIDTH, HEIGHT], "counts": sound["counts"]}},
        "empty": {"mask_rle": mask_of((0.0, 0.0, 0.0, 0.0)), "area": 0},
        "other area": {"area": 399},
        "not written": {"mask_rle": None, "mask_problem": "the runs sum up to 65535 pixels, no image has so many"},
    }
    samples = [sample(index) for index in range(195)]
    for index, changed in enumerate(bad.values(), start=195):
        frame = sample(index)
        samples.append(replace(frame, annotations=(annotation(frame.frame_id, 0, **changed),)))

    report = validated(tmp_path, samples, level=level)

    assert report["status"] == "FAILED"
    assert rule(report, "mask_integrity")["severity"] == "error"
    assert rule(report, "mask_integrity")["sentence"].startswith("5 masks (2.5%) have invalid RLE encoding")
    assert [found for _, found, _ in failures(tmp_path, "mask_integrity")] == [f"drive:{index:06d}:0" for index in range(195, 200)]
    details = [detail for _, _, detail in failures(tmp_path, "mask_integrity")]
    for detail, expected in zip(
        details,
        ["middle of a number", "is not the image's [48, 64]", "no pixels", "covers 400 pixels, the annotation says 399", "65535"],
        strict=True,
    ):
        assert expected in detail


@pytest.mark.requirement("VAL-03", "VAL-09")
def test_a_sound_dataset_is_ready_for_training(tmp_path: Path) -> None:
    report = validated(tmp_path, [sample(index, ("car", "person")) for index in range(20)], ("train", "val", "test"), level="strict")
    assert report["status"] == "PASSED"
    assert report["recommendations"] == ["Dataset is ready for training"]
    assert report["errors"] == report["warnings"] == []
    require_valid(report)
