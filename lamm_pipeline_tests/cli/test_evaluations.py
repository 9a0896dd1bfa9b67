"""`lamm evaluation`: from predictions to how unsure a model is, on the sample recording."""

import json
from pathlib import Path

import pytest

from lamm_pipeline.uncertainty.evaluation_files import read_evaluation
from lamm_pipeline_tests.command_line import lamm, printed, refused
from lamm_pipeline_tests.uncertainty.rides import FRAMES, KEY, Ride, predict

pytestmark = pytest.mark.usefixtures("own_environment")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with a recording that has frames and boxes."""
    ride = Ride(tmp_path_factory.mktemp("house") / "root")
    ride.extract(points=2000)
    ride.rebuild()
    return ride.root


@pytest.mark.requirement("UNC-01", "UNC-07", "UNC-08", "UNC-09")
def test_an_ensemble_of_ground_filters_is_scored_against_derived_truth_and_shown(root: Path) -> None:
    done = printed("evaluation", "ensemble", KEY, "--root", root)
    assert (done["scored"], done["not_scored"]) == ([KEY], {})
    assert done["evaluations"][0]["frames"] == FRAMES
    assert read_evaluation(root / "predictions" / "ground-filters").members == 6
    shown = printed("evaluation", "show", "ground-filters", "--root", root)["recordings"][KEY]
    assert (shown["status"], shown["frames"], shown["labels"]["sources"]) == ("scored", FRAMES, ["derived"])
    assert sum(bucket["frames"] for bucket in shown["histogram"]) == FRAMES
    assert shown["labels"]["accuracy"] > 0.9
    text = lamm("evaluation", "show", "ground-filters", "--root", root).stdout
    assert f"/scenes/{KEY}/view?frame={shown['top'][0]['frame_index']}" in text
    [row] = printed("evaluation", "list", "--root", root)
    assert (row["evaluation"], row["frames"], row["members"]) == ("ground-filters", FRAMES, 6)


def test_predictions_are_added_and_scored_and_bad_ones_told(root: Path, tmp_path: Path) -> None:
    predict(tmp_path / "predictions", "night", points=2000)
    predict(tmp_path / "predictions", "day", points=1999, day=2)
    done = printed("evaluation", "add", tmp_path / "predictions", "--root", root)
    assert [row["evaluation"] for row in done["evaluations"]] == ["day", "night"]
    assert done["scored"] == [KEY]
    assert printed("evaluation", "show", "night", "--root", root)["recordings"][KEY]["status"] == "scored"
    stale = printed("evaluation", "show", "day", "--recording", KEY, "--root", root)["recordings"][KEY]
    assert (stale["status"], stale["mean"]) == ("stale", None)
    assert "stale" in lamm("evaluation", "show", "day", "--root", root).stdout
    assert {row["evaluation"] for row in printed("evaluation", "list", "--recording", KEY, "--root", root)} >= {"day", "night"}


def test_what_cannot_be_scored_is_told(root: Path, tmp_path: Path) -> None:
    folder = predict(tmp_path, "abroad")
    (folder / KEY).rename(folder / "abroad")
    outcome = lamm("evaluation", "add", folder, "--root", root, "--json", code=1)
    assert "no recording is called so" in json.loads(outcome.stdout)["not_scored"]["abroad"]
    assert printed("evaluation", "add", folder, "--root", root, "--no-score")["scored"] == []
    assert "not scored" in lamm("evaluation", "show", "abroad", "--root", root).stdout
    assert "predicts nothing for 'drive'" in refused("evaluation", "show", "abroad", "--recording", KEY, "--root", root)
    assert "No evaluation is called" in refused("evaluation", "show", "nobody", "--root", root)
    assert "is no evaluation" in refused("evaluation", "add", tmp_path / "nothing", "--root", root)
    assert "No recording is called" in refused("evaluation", "ensemble", "nobody", "--root", root)
    assert "No evaluation was taken in" in lamm("evaluation", "list", "--root", tmp_path / "other").stdout
