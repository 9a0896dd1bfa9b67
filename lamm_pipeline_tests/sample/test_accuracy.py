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
from lamm_pipeline.extraction import frame_registry
from lamm_pipeline.extraction.depth_map import read_depth
from lamm_pipeline.extraction.point_cloud import velodyne_to_camera
from lamm_pipeline.geometry import rle
from lamm_pipeline.geometry.boxes_3d import project_points
from lamm_pipeline.geometry.ground_plane import fit_ground_plane
from lamm_pipeline.ontology.ontology import load_ontology
from lamm_pipeline.reconstruction import frame_boxes
from lamm_pipeline.sample.render import render_sample
from lamm_pipeline.sample.settings import SampleSettings
from lamm_pipeline.scenes.view import scene_layout
from lamm_pipeline.scenes.view.scene_source import SceneSource, usable_inputs
from lamm_pipeline.scenes.view.scene_view import SCENE_FILE, write_scene
from lamm_pipeline.scenes.view.settings import SceneViewSettings
from lamm_pipeline.segmentation import detections
from lamm_pipeline.storage.artifacts import ArtifactKey
from lamm_pipeline.storage.in_force import artifacts_in_force
from lamm_pipeline.storage.local_store import LocalStore
from lamm_pipeline.uncertainty import frame_uncertainty
from lamm_pipeline.uncertainty.evaluation_files import frame_files, read_evaluation
from lamm_pipeline.uncertainty.labels import derive_labels
from lamm_pipeline.uncertainty.predictions import read_frame
from lamm_pipeline_tests.command_line import lamm
from lamm_pipeline_tests.scenes.view.scene_files import need_rerun, read_scene, rgb

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


def test_where_truth_is_derived_objects_are_obstacles(house: tuple[Path, Path]) -> None:
    root, truth = house
    artifacts = artifacts_in_force(LocalStore(root), "street", ["frames", "boxes_3d"])
    frames = artifacts["frames"]
    registry = frame_registry.read(frames.file(frame_registry.FILE_NAME))
    assert registry.camera is not None
    found = np.zeros(3, np.int64)
    for frame, boxes in zip(registry.selected_frames, frame_boxes.read(artifacts["boxes_3d"].file(frame_boxes.FILE_NAME)), strict=True):
        points = velodyne_to_camera(np.fromfile(frames.folder / str(frame.point_cloud), "<f4").reshape(-1, 4)[:, :3])
        depth = read_depth(frames.folder, frame, registry.camera)
        assert depth is not None
        labels = derive_labels(points, [each.box for each in boxes.boxes], fit_ground_plane(depth, registry.camera))
        pixels = np.rint(project_points(points, registry.camera.projection_left)).astype(int)
        instances = cv2.imread(str(truth / "masks" / f"{frame.filename_base}.png"), cv2.IMREAD_UNCHANGED)
        found += np.bincount(labels[instances[pixels[:, 1], pixels[:, 0]] > 0] + 1, minlength=3)
    unknown, ground, obstacle = found / found.sum()
    assert obstacle > 0.6
    assert ground < 0.05
    assert unknown < 0.35


@pytest.mark.requirement("UNC-01")
def test_ground_filters_differ_and_their_doubts_find_the_errors(house: tuple[Path, Path]) -> None:
    root, _ = house
    lamm("evaluation", "ensemble", "street", "--root", str(root))
    evaluation = read_evaluation(root / "predictions" / "ground-filters")
    differing = []
    for _, path in frame_files(root / "predictions" / "ground-filters" / "street"):
        probabilities = read_frame(path, evaluation, None).probabilities
        assert probabilities is not None
        votes = probabilities[..., 1] > 0.5
        differing.append(float((votes != votes[0]).any(axis=0).mean()))
    assert len(differing) == FRAMES
    assert min(differing) >= 0.01
    artifact = LocalStore(root).current(ArtifactKey("recordings", "street", "frame_uncertainty"))
    assert artifact is not None
    [scored] = artifact.counts["evaluations"]
    assert (scored["frames"], scored["sources"]) == (FRAMES, ["derived"])
    assert scored["ause"] < 0.3 * scored["ause_random"]
    assert scored["accuracy"] > 0.95


@pytest.mark.requirement("CAT-12")
def test_points_keep_their_predicted_and_their_true_class_up_to_the_scene(house: tuple[Path, Path], tmp_path: Path) -> None:
    need_rerun()
    root, _ = house
    lamm("evaluation", "ensemble", "street", "--root", str(root))
    used, left_out = usable_inputs(LocalStore(root), "street")
    assert left_out == []
    source = SceneSource(used, load_ontology())
    write_scene(source, SceneViewSettings(points_per_frame=500_000, max_megabytes=500), tmp_path)
    points = read_scene(tmp_path / SCENE_FILE)[f"/{scene_layout.POINTS}"][FRAMES // 2]
    folder = root / "predictions" / "ground-filters"
    evaluation = read_evaluation(folder)
    probabilities = read_frame(dict(frame_files(folder / "street"))[FRAMES // 2], evaluation, None).probabilities
    assert probabilities is not None
    [shown] = source.evaluations
    colors = {name: tuple(color) for name, color in zip((*evaluation.classes, "unknown"), source.class_colors(shown).tolist(), strict=True)}
    assert len(set(colors.values())) == 3

    def classes(layer: str) -> list[str]:
        names = {color: name for name, color in colors.items()}
        return [names[rgb(each)] for each in points[scene_layout.color_component(f"{layer}/ground-filters")]]

    predicted, true = np.array(classes("prediction")), np.array(classes("truth"))
    assert predicted.tolist() == [evaluation.classes[each] for each in probabilities.mean(axis=0).argmax(axis=-1)]
    known = true != "unknown"
    assert 0.5 < known.mean() < 1.0
    rows = list(frame_uncertainty.read(used["frame_uncertainty"].file(frame_uncertainty.FILE_NAME)))
    assert (predicted[known] == true[known]).mean() == pytest.approx(rows[FRAMES // 2].accuracy)
