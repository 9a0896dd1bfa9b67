"""`lamm hotspots`, and datasets of hard cases, as a person and a script use them."""

import json
from pathlib import Path

import pytest

from lamm_pipeline_tests.command_line import lamm, printed, refused
from lamm_pipeline_tests.review.worlds import World
from lamm_pipeline_tests.scenes.hotspots.scored import ENTROPY, Evaluated, Scored

pytestmark = pytest.mark.usefixtures("own_environment")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three recordings that datasets can be made of, scored by two models."""
    found = tmp_path / "root"
    worlds = [World(found, name) for name in ("drive", "rainy", "calm")]
    scored = Scored(found)
    scored.score(worlds[0].key, Evaluated([0.2, 0.6, 0.1, 0.3]))
    scored.score(worlds[1].key, Evaluated([0.9, 0.7, 0.1, 0.8]), Evaluated([0.5, 0.4, 0.3, 0.2], "model-b", "other"))
    scored.score(worlds[2].key, Evaluated([0.01, 0.02, 0.03, 0.04]))
    scored.catalog.tags.add(["rainy"], ["rain"], "eve")
    return found


@pytest.mark.requirement("UNC-10", "UNC-11", "UNC-12")
def test_hotspots_are_ranked_for_all_models_one_model_and_a_tag(root: Path) -> None:
    at = ("--root", root)
    assert "There are no hotspots yet" in refused("hotspots", *at)
    found = printed("hotspots", "--refresh", *at)
    assert [(each["scene_id"], each["max_score"]) for each in found["ranking"]] == [("rainy", 0.9), ("drive", 0.6), ("calm", 0.04)]
    assert found["ranking"][0]["link"] == "http://127.0.0.1:3001/scenes/rainy"
    only = printed("hotspots", "--model", "model-b", *at)
    assert [(each["scene_id"], each["max_score"]) for each in only["ranking"]] == [("rainy", 0.5)]
    assert [each["model_id"] for each in only["views"]] == ["model-b"]
    assert [each["scene_id"] for each in printed("hotspots", "--tag", "rain", *at)["ranking"]] == ["rainy"]
    told = lamm("hotspots", *at).stdout
    for words in ("rainy", "0.9", "mutual information", "model-b", "(all scenes)", "To curate next", "2026-01-02"):
        assert words in told
    assert "There are: model-a, model-b." in refused("hotspots", "--model", "nobody", *at)
    assert "There is: rain." in refused("hotspots", "--tag", "snow", *at)


def test_hotspots_that_are_not_of_the_present_say_so(root: Path) -> None:
    at = ("--root", root)
    lamm("hotspots", "--refresh", *at)
    assert "have changed since" not in lamm("hotspots", *at).stderr
    Scored(root).score("calm", Evaluated([0.99], "model-c", kind=ENTROPY))
    told = lamm("hotspots", *at)
    assert "have changed since" in told.stderr
    assert "different kinds" not in told.stderr
    told = lamm("hotspots", "--refresh", *at)
    assert "different kinds" in told.stderr


def test_an_empty_root_has_no_hotspots_and_no_problem(tmp_path: Path) -> None:
    told = lamm("hotspots", "--refresh", "--root", tmp_path / "empty")
    assert "No scene has uncertainty yet." in told.stdout


@pytest.mark.requirement("UNC-03")
def test_a_dataset_of_hard_cases_is_made_and_shown(root: Path) -> None:
    at = ("--root", root)
    all_train = ("--split", "1/0/0", "--format", "coco")
    assert "no ranking of frames yet" in lamm("dataset", "create", "hard", "--hard-cases-top", "3", *at, code=2).stderr
    lamm("hotspots", "--refresh", *at)
    made = printed("dataset", "create", "hard", "--hard-cases-top", "3", "--hard-cases-model", "model-a", *all_train, *at)
    assert made["hard_cases"]["frame_ids"] == ["rainy:000000", "rainy:000001", "rainy:000003"]
    assert (made["recordings"], made["statistics"]["total_frames"]) == (["rainy"], 3)
    written = json.loads((root / "datasets/hard.v1/version.json").read_text())
    assert written["hard_cases"]["condition"]["models"] == ["model-a"]
    assert "3 frames: top 3, models ['model-a']" in lamm("dataset", "show", "hard.v1", *at).stdout
    options = ("--hard-cases-above", "0.2", "--hard-cases-per-recording", "1", "--hard-cases-gap", "2", "--hard-cases-score")
    more = printed("dataset", "create", "hard", *options, "mutual_information_mean", *all_train, *at)
    assert (more["version"], more["hard_cases"]["frame_ids"]) == ("hard.v2", ["drive:000001", "rainy:000000"])
    tagged = printed("dataset", "create", "wet", "--hard-cases-per-tag", "1", "--hard-cases-tag", "rain", *all_train, *at)
    assert tagged["hard_cases"]["frame_ids"] == ["rainy:000000"]
    named = printed("dataset", "create", "named", "drive", "--hard-cases-top", "1", *all_train, *at)
    assert named["hard_cases"]["frame_ids"] == ["drive:000001"]
    assert "none is above 0.95" in refused("dataset", "create", "hard", "--hard-cases-above", "0.95", *at)
    assert "Leave the imports out" in refused("dataset", "create", "hard", "drive", "--import", "x", "--hard-cases-top", "1", *at)
    assert "say how many hard cases" in refused("dataset", "create", "hard", "--hard-cases-tag", "rain", *at)


def test_a_wrong_condition_is_refused_before_anything_is_renewed(root: Path) -> None:
    at = ("--root", root)
    for condition in (("--hard-cases-above", "0.95"), ("--import", "x", "--hard-cases-top", "1")):
        told = lamm("dataset", "create", "hard", "drive", *condition, *at, code=2).stderr
        assert "renewed" not in told
        assert not list(root.glob("recordings/*/selection"))


def test_the_difference_of_versions_shows_a_changed_condition_of_hard_cases(root: Path) -> None:
    at = ("--split", "1/0/0", "--format", "coco", "--root", root)
    lamm("hotspots", "--refresh", "--root", root)
    for condition in ((), ("--hard-cases-top", "3"), ("--hard-cases-top", "3", "--hard-cases-tag", "rain")):
        lamm("dataset", "create", "hard", *condition, *at)
    found = printed("dataset", "diff", "hard.v2", "hard.v3", "--root", root)["settings"]
    assert found == {"hard_cases.tags": [[], ["rain"]]}
    assert "hard_cases.tags: [] -> ['rain']" in lamm("dataset", "diff", "hard.v2", "hard.v3", "--root", root).stdout
    assert printed("dataset", "diff", "hard.v1", "hard.v2", "--root", root)["settings"]["hard_cases.top"] == [None, 3]


def test_gc_keeps_the_ranking_that_a_version_was_made_of(root: Path) -> None:
    at = ("--root", root)
    lamm("hotspots", "--refresh", *at)
    lamm("dataset", "create", "hard", "--hard-cases-top", "3", "--split", "1/0/0", *at)
    first = json.loads((root / "datasets/hard.v1/version.json").read_text())["hard_cases"]["ranking"]
    for n in range(2):
        Scored(root).catalog.tags.add(["calm"], [f"tag{n}"], "eve")
        lamm("hotspots", "--refresh", *at)
    removed = [each["path"] for each in printed("gc", "--yes", *at)["garbage"] if not each["path"].endswith(".lock")]
    ranked = [path for path in removed if "uncertainty_hotspots" in path]
    assert len(ranked) == 1  # of three versions one is in force, and one is what hard.v1 was made of
    assert (root / first / "frame_ranking.parquet").is_file()
