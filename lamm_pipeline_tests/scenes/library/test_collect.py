"""Rows of the library from catalog and manifests: all columns, only what changed is read, nothing broken stops the others."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import pytest

from lamm_pipeline.errors import InputError
from lamm_pipeline.scenes.library import previews
from lamm_pipeline.scenes.library.collect import collect, known, uncertainty_of, with_present
from lamm_pipeline.scenes.library.gps import read_gps
from lamm_pipeline.scenes.library.scene_table import FILE_NAME, Scene, read, to_arrow, write
from lamm_pipeline.storage.artifacts import Artifact, ArtifactKey
from lamm_pipeline.uncertainty import frame_uncertainty
from lamm_pipeline.uncertainty.frame_uncertainty import FrameUncertainty
from lamm_pipeline_tests.review.worlds import World
from lamm_pipeline_tests.scenes.library.scene_worlds import publish_uncertainty, scene

pytestmark = pytest.mark.usefixtures("own_environment")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "root")


def rows(world: World, previous: dict[str, Scene] | None = None, *, draw: bool = False) -> dict[str, Scene]:
    found = collect(world.store, known(world.catalog, world.root), previous or {}, draw=draw)
    return {each.scene_id: each for each in found}


@pytest.mark.requirement("CAT-07", "UNC-02", "CAT-15")
def test_a_scene_without_labels_uncertainty_and_gps_says_so_by_unknown_values(world: World) -> None:
    found = rows(world)["drive"]
    assert (found.scene_id, found.name, found.status, found.labeler, found.tags, found.datasets) == (
        "drive",
        "drive",
        "unlabelled",
        None,
        (),
        (),
    )
    assert (found.max_uncertainty, found.avg_uncertainty, found.uncertainty_model) == (None, None, None)
    assert (found.gps_start_lat, found.points, found.duration_s, found.captured_at) == (None, None, None, None)
    assert found.problem is None
    assert {each.asset for each in found.artifacts} == {"frames", "detections"}
    assert found.storage_bytes == len("drive") + world.frames.manifest.size + world.detections.manifest.size


@pytest.mark.requirement("UNC-02")
def test_the_highest_score_of_all_models_counts_and_the_newest_evaluation_of_equal_ones(world: World) -> None:
    scores = [("b", "3", 0.25), ("b", "3", 0.75), ("a", "9", 0.75), ("a", "9", 0.5), ("c", "5", float("nan")), ("c", "5", 0.0)]
    publish_uncertainty(world.store, "drive", scores)
    found = rows(world)["drive"]
    assert (found.max_uncertainty, found.uncertainty_model, found.uncertainty_evaluation) == (0.75, "model-a", "a")
    assert found.avg_uncertainty == pytest.approx((0.25 + 0.75 + 0.75 + 0.5 + 0.0) / 5)
    assert found.uncertainty_score == "mutual_information_mean"


@pytest.mark.requirement("UNC-02")
def test_scores_of_frames_that_were_extracted_otherwise_count_for_nothing(world: World) -> None:
    row = FrameUncertainty("a", "model-a", datetime(2026, 1, 1, tzinfo=UTC), "drive:000000", 0, 0, None, 0.5, "box_disagreement")
    scored = world._publish("frame_uncertainty", {}, lambda folder: frame_uncertainty.write(folder / frame_uncertainty.FILE_NAME, [row]))
    before = rows(world)
    assert before["drive"].max_uncertainty == 0.5
    world.frames = world._publish("frames", {"other": 1}, world._write_frames)
    after = rows(world, before)["drive"]
    assert (after.max_uncertainty, after.uncertainty_model) == (None, None)
    assert scored.version in {each.version for each in after.artifacts}, "it is stored all the same"


def test_the_average_is_of_one_kind_of_score_that_of_the_highest(world: World) -> None:
    scores = [("a", "1", 0.75), ("a", "1", 0.25), ("b", "9", 0.1), ("c", "5", 0.2)]
    publish_uncertainty(world.store, "drive", scores, {"a": "predictive_entropy_mean", "c": "predictive_entropy_mean"})
    found = rows(world)["drive"]
    assert (found.uncertainty_score, found.max_uncertainty) == ("predictive_entropy_mean", 0.75)
    assert found.avg_uncertainty == pytest.approx((0.75 + 0.25 + 0.2) / 3)


def test_scores_that_are_all_no_numbers_are_no_uncertainty(world: World) -> None:
    artifact = publish_uncertainty(world.store, "drive", [("a", "1", float("nan")), ("a", "1", float("inf"))])
    assert uncertainty_of(artifact.file("frame_uncertainty.parquet")) == {}


def test_only_what_has_changed_is_read_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    first = rows(world, draw=True)
    opened: list[str] = []
    find, file = world.store.find, Artifact.file
    monkeypatch.setattr(world.store, "find", lambda key, version: (opened.append(key.asset), find(key, version))[1])
    monkeypatch.setattr(Artifact, "file", lambda self, name: (opened.append(name), file(self, name))[1])
    assert rows(world, first) == first
    assert opened == []
    publish_uncertainty(world.store, "drive", [("a", "1", 0.5)])
    again = rows(world, first)
    assert again["drive"].max_uncertainty == 0.5
    assert "frame_registry.json" not in opened
    assert again == {key: replace(each, problem=None) for key, each in rows(world).items()}


@pytest.mark.requirement("CAT-07")
def test_previews_are_drawn_once_for_a_version_of_the_frames(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert rows(world)["drive"].image_preview is None
    found = rows(world, draw=True)["drive"]
    assert found.points_preview is None
    scope, partition, asset, version, name = str(found.image_preview).split("/")
    artifact = world.store.find(ArtifactKey(scope, partition, asset), version)
    assert artifact is not None
    image = cv2.imread(str(artifact.file(name)))
    assert image.shape == (previews.HEIGHT, previews.WIDTH, 3)
    assert abs(int(image.mean()) - 80) <= 2  # the middle frame of four
    monkeypatch.setattr(previews, "_draw", lambda *_: pytest.fail("drawn again"))
    assert rows(world, {"drive": found}, draw=True)["drive"] == found


def test_points_from_above_are_where_they_lie() -> None:
    points = np.array([[9.0, 0.0, 0.0, 1], [9.0, 8.0, 0.0, 1], [np.nan, 0, 0, 1], [9.0, 0.0, 2.0, 1], [500.0, 0, 0, 1]], np.float32)
    picture = previews.from_above(points)
    lit = np.argwhere((picture != picture[0, 0]).any(axis=2))
    scale = previews.HEIGHT / previews.AHEAD_M
    expected = {(round(134 - 9 * scale - 0.5), round(120 - 8 * scale)), (round(134 - 9 * scale - 0.5), 120)}
    assert {tuple(each) for each in lit.tolist()} == expected
    high = previews.from_above(points[3:4])[lit[1][0], lit[1][1]]
    assert (picture[lit[1][0], lit[1][1]] == high).all()  # the higher of two points in one pixel
    assert (previews.from_above(points) == previews.from_above(points[::-1].copy())).all()
    assert previews.from_above(np.zeros((0, 4), np.float32)).std(axis=(0, 1)).sum() == 0


@pytest.mark.requirement("CAT-07")
def test_a_broken_scene_stays_in_the_library_with_its_reason_and_the_others_are_whole(tmp_path: Path) -> None:
    good, bad = World(tmp_path / "root"), World(tmp_path / "root", "broken")
    damaged = publish_uncertainty(bad.store, "broken", [("a", "1", 0.5)]).file("frame_uncertainty.parquet")
    damaged.chmod(0o600)
    damaged.write_bytes(b"no table")
    (tmp_path / "root" / "broken.gps.json").write_text('{"start": [99, 0]}')
    found = rows(good)
    assert found["drive"].problem is None
    assert "broken.gps.json" in str(found["broken"].problem)
    assert "ArrowInvalid" in str(found["broken"].problem)
    assert found["broken"].storage_bytes > 0
    # what was broken is tried again the next time
    (tmp_path / "root" / "broken.gps.json").unlink()
    publish_uncertainty(bad.store, "broken", [("a", "1", 0.25)])
    assert (rows(good, found)["broken"].problem, rows(good, found)["broken"].max_uncertainty) == (None, 0.25)


@pytest.mark.requirement("CAT-07")
def test_gps_comes_from_a_file_beside_the_recording(world: World) -> None:
    beside = world.root / "drive.gps.json"
    beside.write_text(json.dumps({"start": [48.1372, 11.5755], "end": [48.1401, -11]}))
    found = rows(world)["drive"]
    assert (found.gps_start_lat, found.gps_start_lon, found.gps_end_lat, found.gps_end_lon) == (48.1372, 11.5755, 48.1401, -11.0)
    beside.write_text('{"start": [1, 2]}')
    assert read_gps(world.root / "drive.svo2") == ((1.0, 2.0), None)
    for wrong in (
        "",
        "[]",
        "{}",
        '{"start": [1]}',
        '{"start": [NaN, 1]}',
        '{"start": ["1", 2]}',
        '{"start": [true, 2]}',
        '{"start": [0, 181]}',
    ):
        beside.write_text(wrong)
        with pytest.raises(InputError, match="is no GPS file"):
            read_gps(world.root / "drive.svo2")


@pytest.mark.requirement("CAT-14")
def test_what_the_catalog_says_is_always_of_the_moment(world: World) -> None:
    before = rows(world)
    world.catalog.tags.add(["drive"], ["rain"], "eve")
    world.catalog.labelling.set(["drive"], "eve", status="in_review", labeler="bob")
    present = with_present(before, known(world.catalog, world.root))
    assert [(each.tags, each.status, each.labeler) for each in present] == [(("rain",), "in_review", "bob")]
    assert [each.frames for each in present] == [before["drive"].frames]
    new = World(world.root, "new")
    assert {each.scene_id for each in with_present(before, known(new.catalog, new.root))} == {"drive", "new"}


def test_the_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    scenes = [scene(number) for number in range(20)] + [Scene("bare", "bare", None, "/bare.svo2")]
    assert write(tmp_path / FILE_NAME, scenes) == 21
    assert list(read(tmp_path / FILE_NAME)) == scenes
    assert to_arrow([]).num_rows == 0
