"""`lamm scenes` as a person and a script use it."""

from pathlib import Path

import pytest

from lamm_pipeline_tests.command_line import lamm, printed, refused
from lamm_pipeline_tests.review.worlds import FRAMES, World
from lamm_pipeline_tests.scenes.library.scene_worlds import publish_uncertainty
from lamm_pipeline_tests.scenes.view.scene_files import need_rerun

pytestmark = pytest.mark.usefixtures("own_environment")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three scenes, of two of which a model is unsure, one more than the other."""
    world = World(tmp_path / "root")
    for name, score in (("rainy", 0.9), ("sunny", 0.4)):
        publish_uncertainty(World(world.root, name).store, name, [("nightly", "2", score)])
    return world.root


@pytest.mark.requirement("CAT-08", "CAT-09", "CAT-10", "UNC-03")
def test_scenes_are_found_tagged_and_labelled(root: Path) -> None:
    at = ("--root", root)
    assert [each["scene_id"] for each in printed("scenes", "--sort", "-max_uncertainty", *at)] == ["rainy", "sunny", "drive"]
    assert printed("scenes", "tag", "add", "hard", "--where", "max_uncertainty > 0.6", *at) == {"chosen": 1, "changed": 1}
    assert printed("scenes", "tag", "add", "all of them", "--all", *at) == {"chosen": 3, "changed": 3}
    assert lamm("scenes", "--where", "'hard' in tags", "--ids", *at).stdout == "rainy\n"
    assert printed("scenes", "label", "--labeler", "eve", "--status", "annotated", "--search", "hard", *at)["changed"] == 1
    told = lamm("scenes", "--where", "labeler == 'eve'", *at).stdout
    assert "rainy" in told
    assert "in_review" in told
    assert "no GPS" in told
    assert "1 scenes" in told
    assert printed("scenes", "tag", "remove", "hard", "--search", "rainy", *at) == {"chosen": 1, "changed": 1}
    assert lamm("scenes", "--where", "'hard' in tags", *at).stdout.startswith("No scene fits.")


@pytest.mark.requirement("CAT-08")
def test_what_cannot_be_is_a_sentence(root: Path) -> None:
    at = ("--root", root)
    assert "is no condition" in refused("scenes", "--where", "max_uncertainty >", *at)
    assert "cannot stand in a condition" in refused("scenes", "--where", "open('x')", *at)
    assert "There is no column" in refused("scenes", "--sort", "beauty", *at)
    assert "--where, --search, or --all" in refused("scenes", "tag", "add", "x", *at)
    assert "nothing to change" in refused("scenes", "label", "--all", *at)
    assert "is no tag" in refused("scenes", "tag", "add", " ", "--all", *at)


@pytest.mark.requirement("CAT-07")
def test_the_library_is_refreshed_from_the_terminal_and_empty_roots_are_no_problem(root: Path, tmp_path: Path) -> None:
    assert printed("scenes", "refresh", "--root", root)["scenes"] == 3
    assert all(each["image_preview"] for each in printed("scenes", "--root", root))
    assert printed("scenes", "--root", tmp_path / "empty") == []
    assert "There are no scenes yet." in lamm("scenes", "--root", tmp_path / "empty").stdout


@pytest.mark.requirement("CAT-12")
def test_a_scene_view_is_made_from_the_terminal(root: Path) -> None:
    need_rerun()
    [told] = printed("scenes", "view", "sunny", "--root", root)
    assert (told["scene"], told["frames"]) == ("sunny", FRAMES)
    assert told["link"].endswith("/scenes/sunny/view")
    assert "sunny" in lamm("scenes", "view", "sunny", "--force", "--root", root).stdout
    assert "nobody" in refused("scenes", "view", "nobody", "--root", root)


def test_what_cannot_be_read_is_told_beside_the_answer(root: Path) -> None:
    (root / "rainy.gps.json").write_text("{}")
    outcome = lamm("scenes", "--root", root)
    assert "rainy: rainy.gps.json is no GPS file" in outcome.stderr
    assert "sunny" in outcome.stdout
