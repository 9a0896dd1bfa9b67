"""Scenes are read back with Rerun's reader: what is in them is what the recording has, no more and no less."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lamm_pipeline.errors import InputError
from lamm_pipeline.scenes.view import scene_layout as layout
from lamm_pipeline.scenes.view import uncertainty_colors
from lamm_pipeline.scenes.view.scene_source import OPTIONAL, SceneSource
from lamm_pipeline.scenes.view.scene_view import ABOUT_FILE, SCENE_FILE, write_scene
from lamm_pipeline.scenes.view.settings import SceneViewSettings
from lamm_pipeline_tests.review.worlds import FRAMES, ONTOLOGY, World
from lamm_pipeline_tests.scenes.view import scene_world
from lamm_pipeline_tests.scenes.view.scene_files import need_rerun, read_scene, rgb, rows_in_order
from lamm_pipeline_tests.scenes.view.scene_world import (
    CAR,
    EVALUATION,
    LEFT_RGB,
    PLACES,
    RIGHT_RGB,
    EmptyWorld,
    SceneWorld,
    ShortWorld,
    forward,
)

pytestmark = pytest.mark.usefixtures("own_environment")

CAR_NUMBER = ONTOLOGY.by_id("car").category_id


@pytest.fixture(autouse=True)
def rerun() -> None:
    need_rerun()


@pytest.fixture
def world(tmp_path: Path) -> SceneWorld:
    return SceneWorld(tmp_path / "root")


def written(source: SceneSource, folder: Path, **settings: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """What `scene.json` says and what is in the scene."""
    folder.mkdir()
    about = write_scene(source, SceneViewSettings(**settings), folder, workers=1)
    assert about == json.loads((folder / ABOUT_FILE).read_text())
    return about, {entity.removeprefix("/"): frames for entity, frames in read_scene(folder / SCENE_FILE).items()}


def moments(frames: dict[int | None, Any]) -> list[int]:
    """The frames in which something is logged, beside what holds for all of them."""
    return sorted(frame for frame in frames if frame is not None)


@pytest.mark.requirement("CAT-12")
def test_every_frame_has_image_boxes_and_points_in_their_colours(world: SceneWorld, tmp_path: Path) -> None:
    about, scene = written(world.publish_everything(), tmp_path / "scene")
    assert about["frames"] == about["recording_frames"] == FRAMES
    assert about["thinned"] == about["missing"] == about["damaged_files"] == []
    for entity in (layout.BOXES_2D, layout.MASKS, layout.POINTS, layout.BOXES_3D):
        assert moments(scene[entity]) == list(range(FRAMES)), entity
    assert bytes(scene[layout.IMAGE][1]["EncodedImage:blob"][0])[:2] == b"\xff\xd8"
    points = scene[layout.POINTS][1]
    np.testing.assert_allclose(points["Points3D:positions"], PLACES + forward(1)[:3, 3], atol=1e-5)
    found = [rgb(each) for each in points["Points3D:colors"]]
    np.testing.assert_allclose(found[1], LEFT_RGB, atol=1)
    np.testing.assert_allclose(found[2], RIGHT_RGB, atol=1)
    assert found[3] == (128, 128, 128)


@pytest.mark.requirement("CAT-12")
def test_boxes_have_classes_and_track_ids_and_stand_where_they_are_in_the_world(world: SceneWorld, tmp_path: Path) -> None:
    _, scene = written(world.publish_everything(), tmp_path / "scene")
    tracked, alone, nothing = (scene[layout.BOXES_3D][n] for n in (1, 3, 2))
    assert tracked["Boxes3D:labels"] == ["Car #7"]
    assert tracked["Boxes3D:class_ids"] == [CAR_NUMBER]
    np.testing.assert_allclose(tracked["Boxes3D:centers"], [(CAR.x, CAR.y - CAR.height / 2, CAR.z + 1)])
    np.testing.assert_allclose(tracked["Boxes3D:half_sizes"], [(CAR.length / 2, CAR.height / 2, CAR.width / 2)])
    assert alone["Boxes3D:labels"] == ["Van"]
    assert nothing["Boxes3D:centers"] == []
    assert scene[layout.BOXES_2D][1]["Boxes2D:labels"] == ["Car #7"]
    np.testing.assert_allclose(scene[layout.TRAILS][1]["LineStrips3D:strips"], [[(0, 0, 10), (0, 0, 11)]])
    assert scene[layout.OBJECT_POINTS][1]["Points3D:class_ids"] == [CAR_NUMBER]
    [context] = scene[layout.WORLD][None]["AnnotationContext:context"]
    [car] = [each for each in context if each["class_id"] == CAR_NUMBER]
    assert car["class_description"]["info"]["label"] == "Car"
    assert rgb(car["class_description"]["info"]["color"]) == ONTOLOGY.by_id("car").color_rgb


@pytest.mark.requirement("UNC-06", "CAT-12")
def test_points_are_coloured_by_uncertainty_prediction_and_truth(world: SceneWorld, tmp_path: Path) -> None:
    _, scene = written(world.publish_everything(), tmp_path / "scene")

    def colors(layer: str, frame: int) -> list[tuple[int, int, int]]:
        return [rgb(each) for each in scene[layout.POINTS][frame][layout.color_component(f"{layer}/{EVALUATION}")]]

    sure, half, unsure = (tuple(round(value) for value in stop) for stop in uncertainty_colors.STOPS)
    assert colors("uncertainty", 1) == [half, sure, unsure, uncertainty_colors.UNKNOWN]
    assert colors("uncertainty", scene_world.PEAK) == [unsure] * len(PLACES)
    car = ONTOLOGY.by_id("car").color_rgb
    predicted, true = colors("prediction", 1), colors("truth", 1)
    assert [each == car for each in predicted] == [True, False, False, False]
    assert [each == car for each in true] == [True, False, True, False]
    assert true[3] == uncertainty_colors.UNKNOWN


@pytest.mark.requirement("CAT-12")
def test_classes_have_the_ontologys_colours_and_no_two_look_alike(world: SceneWorld, tmp_path: Path) -> None:
    source = world.publish_everything()
    names = ("ground", "Car", "van", "obstacle")
    colors = source.class_colors(replace(source.evaluations[0], class_names=names)).tolist()
    assert tuple(colors[1]) == ONTOLOGY.by_id("car").color_rgb
    assert tuple(colors[2]) == ONTOLOGY.by_id("van").color_rgb
    assert tuple(colors[-1]) == uncertainty_colors.UNKNOWN
    apart = [sum(abs(a - b) for a, b in zip(one, other, strict=True)) for n, one in enumerate(colors) for other in colors[:n]]
    assert min(apart) > 80
    about, _ = written(source, tmp_path / "scene")
    [told] = about["evaluations"]
    assert [each["name"] for each in told["classes"]] == list(scene_world.CLASSES)
    assert told["classes"][1]["color"] == ONTOLOGY.by_id("car").color
    assert told["scores"] == ["mutual_information"]


def test_a_frame_that_an_evaluation_does_not_have_is_grey_and_other_kinds_of_score_have_a_line_of_their_own(
    world: SceneWorld, tmp_path: Path
) -> None:
    more = [
        scene_world.row(n, evaluation="boxes", score=0.25 * n, score_kind=kind)
        for n, kind in ((0, "box_disagreement"), (1, "least_confidence"))
    ]
    world.publish_uncertainty(*more)
    _, scene = written(world.source("frame_uncertainty"), tmp_path / "scene")
    grey = [rgb(each) for each in scene[layout.POINTS][2][layout.color_component("uncertainty/boxes")]]
    assert grey == [uncertainty_colors.UNKNOWN] * len(PLACES)
    lines = {entity: moments(frames) for entity, frames in scene.items() if entity.startswith(f"{layout.UNCERTAINTY_PLOT}/boxes")}
    assert lines == {f"{layout.UNCERTAINTY_PLOT}/boxes/{kind}": [n] for n, kind in ((0, "box_disagreement"), (1, "least_confidence"))}


def test_the_time_series_have_every_frame_on_both_timelines(world: SceneWorld, tmp_path: Path) -> None:
    _, scene = written(world.publish_everything(), tmp_path / "scene")
    series = scene[f"{layout.UNCERTAINTY_PLOT}/{EVALUATION}/mutual_information"]
    assert [series[n]["Scalars:scalars"] for n in range(FRAMES)] == [[0.1], [0.1], [0.9], [0.1]]
    cars = scene[f"{layout.OBJECTS_PLOT}/car"]
    assert [cars[n]["Scalars:scalars"] for n in range(FRAMES)] == [[1.0], [1.0], [0.0], [0.0]]


@pytest.mark.parametrize("assets", [(), ("detections",), ("detections", "boxes_3d"), ("frame_uncertainty",), OPTIONAL])
def test_a_scene_shows_what_there_is_and_says_what_there_is_not(world: SceneWorld, tmp_path: Path, assets: tuple[str, ...]) -> None:
    world.publish_everything()
    about, scene = written(world.source(*assets), tmp_path / "scene")
    told = " ".join(about["missing"])
    assert ("no detections" in told) == ("detections" not in assets)
    assert ("no 3D boxes" in told) == ("boxes_3d" not in assets)
    assert ("no uncertainty" in told) == ("frame_uncertainty" not in assets)
    assert (layout.BOXES_3D in scene) == ("boxes_3d" in assets)
    assert moments(scene[layout.POINTS]) == list(range(FRAMES))


def test_images_that_are_not_rectified_have_no_place_in_space(tmp_path: Path) -> None:
    about, scene = written(SceneWorldWithout(tmp_path / "root").source("detections"), tmp_path / "scene")
    assert "The images are not rectified, so nothing has a place in space." in about["missing"]
    assert about["points"] == 0
    assert layout.POINTS not in scene
    assert moments(scene[layout.BOXES_2D]) == list(range(FRAMES))


class SceneWorldWithout(SceneWorld):
    """The recording, not rectified."""

    def _write_frames(self, folder: Path) -> None:
        World._write_frames(self, folder)


def test_one_frame_is_a_scene(tmp_path: Path) -> None:
    about, scene = written(ShortWorld(tmp_path / "root").source(), tmp_path / "scene")
    assert about["frames"] == 1
    assert moments(scene[layout.POINTS]) == [0]


def test_no_frame_is_none_and_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no frames to show"):
        write_scene(EmptyWorld(tmp_path / "root").source(), SceneViewSettings(), tmp_path)


def test_damaged_files_are_counted_and_the_frame_is_shown_without_them(world: SceneWorld, tmp_path: Path) -> None:
    source = world.source()
    for name, content in (("image_left/000001.png", b"no image"), ("velodyne/000002.bin", b"odd")):
        path = world.frames.file(name)
        path.chmod(0o644)
        path.write_bytes(content)
    about, scene = written(source, tmp_path / "scene")
    assert about["damaged_files"] == ["frame 1: 000001.png", "frame 2: 000002.bin"]
    assert scene[layout.POINTS][2]["Points3D:positions"] == []
    assert len(scene[layout.POINTS][1]["Points3D:positions"]) == len(PLACES)


def test_a_scene_that_is_still_loading_shows_no_objects_of_earlier_frames(world: SceneWorld, tmp_path: Path) -> None:
    """A viewer shows the latest that it has: each frame is emptied before the first one is written."""
    written(world.publish_everything(), tmp_path / "scene")
    for entity, content in (
        (layout.BOXES_2D, "Boxes2D:labels"),
        (layout.BOXES_3D, "Boxes3D:labels"),
        (layout.MASKS, "SegmentationImage:buffer"),
        (layout.TRAILS, "LineStrips3D:strips"),
    ):
        rows = rows_in_order(tmp_path / "scene/scene.rrd", entity)
        emptied = [frame for frame, components in rows if "Clear:is_recursive" in components]
        assert emptied == list(range(FRAMES)), entity
        assert all(content not in components for _, components in rows[:FRAMES])
        assert [frame for frame, _ in rows[FRAMES:]] == list(range(FRAMES))


def test_a_file_of_scores_for_other_points_is_refused(world: SceneWorld, tmp_path: Path) -> None:
    path = world.publish_uncertainty().file("points/1.npy")
    path.chmod(0o644)
    np.save(path, np.zeros((9, 5), np.float16))
    with pytest.raises(InputError, match=r"is for \(9, 5\) values, the frame has \(4, 5\)"):
        write_scene(world.source("frame_uncertainty"), SceneViewSettings(), tmp_path, workers=1)


def test_a_file_of_classes_that_is_gone_is_refused(world: SceneWorld, tmp_path: Path) -> None:
    world.publish_uncertainty().file("classes/1.npy").unlink()
    with pytest.raises(InputError, match=r"cannot be read.*Materialize `frame_uncertainty` again"):
        write_scene(world.source("frame_uncertainty"), SceneViewSettings(), tmp_path, workers=1)
