"""The measured accuracy of docs/accuracy.md holds, with a margin, on KITTI's drive 39 packed into a recording."""

from pathlib import Path

import pytest

from lamm_pipeline.evaluation.evaluate import evaluate
from lamm_pipeline.evaluation.inputs import BoxSource
from lamm_pipeline_tests.command_line import lamm

SECOND_HALF = range(15, 30)
TRUTH = "kitti_raw_0039_stereo"


@pytest.fixture(scope="module")
def root(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kitti39")
    source, recording = shared_data / TRUTH, folder / "kitti39.svo2"
    calibration, times = str(source / "calib.txt"), str(source / "times.txt")
    lamm("pack", str(source / "image_0"), str(source / "image_1"), str(recording), "--calibration", calibration, "--times", times)
    lamm("run", str(recording), "--root", str(folder / "root"), "--no-export")
    return folder / "root"


@pytest.mark.requirement("TRK-02", "REC-01")
def test_tracked_vehicles_and_people_of_the_second_half(root: Path, shared_data: Path) -> None:
    report = evaluate(root, shared_data / TRUTH, boxes=BoxSource.track, frame_range=SECOND_HALF)
    vehicle, boxes, tracks = (part["vehicle"] for part in (report.detection, report.boxes_3d["by_class"], report.tracks["by_class"]))
    assert vehicle["recall"] >= 0.83
    assert vehicle["precision"] >= 0.85
    assert boxes["distance_error_m"]["median_percent"] <= 3.5
    assert boxes["ap_3d"]["0.25"] >= 0.83
    assert boxes["ap_3d"]["0.5"] >= 0.5
    assert tracks["idf1"] >= 0.88
    assert tracks["idf1_center_2m"] >= 0.88
    person = report.detection["Pedestrian"]
    assert person["recall"] >= 0.58
    assert person["precision"] >= 0.88
    assert report.boxes_3d["by_class"]["Pedestrian"]["ap_3d"]["0.25"] >= 0.58


@pytest.mark.requirement("TRK-02")
def test_people_who_stand_still_are_found_from_the_first_frame_on(root: Path, shared_data: Path) -> None:
    report = evaluate(root, shared_data / TRUTH, boxes=BoxSource.track)
    person = report.detection["Pedestrian"]
    assert person["recall"] >= 0.73
    assert person["precision"] >= 0.93
    assert report.boxes_3d["by_class"]["Pedestrian"]["ap_3d"]["0.25"] >= 0.73
    assert report.tracks["by_class"]["Pedestrian"]["idf1"] >= 0.82


@pytest.mark.requirement("TRK-02")
def test_support_over_time_cuts_false_vehicles_and_fills_gaps_of_people(root: Path, shared_data: Path) -> None:
    single = evaluate(root, shared_data / TRUTH, boxes=BoxSource.frame).detection
    tracked = evaluate(root, shared_data / TRUTH).detection
    assert tracked["vehicle"]["fp"] <= single["vehicle"]["fp"] / 2
    assert tracked["vehicle"]["tp"] >= single["vehicle"]["tp"] - 2
    assert tracked["Pedestrian"]["tp"] > single["Pedestrian"]["tp"] + 2
