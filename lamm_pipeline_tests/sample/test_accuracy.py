"""The main job on the sample at its own size: every object found, each in one track, distances and masks near the truth, on two seeds."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from lamm_pipeline.evaluation import inputs
from lamm_pipeline.evaluation.evaluate import evaluate
from lamm_pipeline.evaluation.inputs import BoxSource
from lamm_pipeline.evaluation.matching import image_similarity
from lamm_pipeline.geometry import rle
from lamm_pipeline.sample.render import render_sample
from lamm_pipeline.sample.settings import SampleSettings
from lamm_pipeline.segmentation import detections
from lamm_pipeline_tests.test_pipeline import lamm

TRACKS = {0, 1, 2, 3}
FRAMES = 20


@pytest.fixture(scope="module", params=[7, pytest.param(8, marks=pytest.mark.stress)])
def house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A root in which a sample was run, and the sample's truth."""
    folder = tmp_path_factory.mktemp("sample")
    rendered = render_sample(folder / "street.svo2", SampleSettings(frames=FRAMES, seed=request.param))
    lamm("run", str(folder / "street.svo2"), "--root", str(folder / "root"), "--no-export")
    return folder / "root", rendered.truth


@pytest.mark.requirement("TRK-01", "TRK-02", "SEG-01")
def test_every_object_is_found_and_has_at_most_one_track(house: tuple[Path, Path]) -> None:
    comparison = inputs.load(*house, boxes=BoxSource.track)
    owners: dict[int | None, set[int | None]] = {}
    for frame in comparison.frames:
        overlaps = image_similarity(frame.truth_tracks, frame.result_tracks)
        for true, found in zip(*np.nonzero(overlaps >= 0.5), strict=True):
            if frame.truth_tracks[true].type == frame.result_tracks[found].type:
                owners.setdefault(frame.truth_tracks[true].track_id, set()).add(frame.result_tracks[found].track_id)
    assert owners.keys() == TRACKS
    tracks = {item.track_id for frame in comparison.frames for item in frame.result_tracks}
    assert len(tracks) <= len(TRACKS)


@pytest.mark.requirement("REC-01", "REC-07")
def test_distances_are_near_the_true_ones(house: tuple[Path, Path]) -> None:
    boxes = evaluate(*house, boxes=BoxSource.track).boxes_3d
    for part in [boxes, *(each for each in boxes["by_class"].values() if each["pairs"])]:
        assert part["distance_error_m"]["median_percent"] <= 3.0


@pytest.mark.requirement("TRK-02")
def test_refined_boxes_are_no_worse_than_those_of_single_frames(house: tuple[Path, Path]) -> None:
    single, refined = (evaluate(*house, boxes=source).boxes_3d for source in (BoxSource.frame, BoxSource.track))
    assert refined["distance_error_m"]["median_percent"] <= single["distance_error_m"]["median_percent"] + 0.1
    for name in single["by_class"]:
        assert refined["by_class"][name]["iou_3d"]["median"] >= single["by_class"][name]["iou_3d"]["median"] - 0.01


@pytest.mark.requirement("SEG-03", "SEG-04")
def test_masks_overlap_the_true_ones(house: tuple[Path, Path]) -> None:
    root, truth = house
    (path,) = (root / "recordings" / "street" / "detections").glob("*/detections/detections.json")
    overlaps = []
    for frame in detections.read(path):
        picture = cv2.imread(str(truth / "masks" / f"{frame.frame_index:06d}.png"), cv2.IMREAD_UNCHANGED)
        assert picture is not None
        for detection in frame.detections:
            mask = rle.decode(detection.mask_rle)
            overlaps.append(max(_overlap(mask, picture == track + 1) for track in TRACKS))
    assert np.median(overlaps) >= 0.80


def _overlap(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float((a & b).sum() / max(int((a | b).sum()), 1))
