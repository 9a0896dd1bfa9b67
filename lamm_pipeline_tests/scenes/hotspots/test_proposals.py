"""What is proposed for curation: uncertain first, nothing that looks like what is proposed already, what people have begun with last."""

from pathlib import Path

import pytest

from lamm_pipeline.catalog.decisions import NewDecision
from lamm_pipeline.datasets.creation import create_dataset_version
from lamm_pipeline.datasets.settings import DatasetSettings
from lamm_pipeline.scenes.hotspots.proposals import standings
from lamm_pipeline_tests.review.worlds import ONTOLOGY, World
from lamm_pipeline_tests.scenes.hotspots.scored import ENTROPY, Evaluated, Scored

pytestmark = pytest.mark.usefixtures("own_environment")
ALL, LOW = 2**64 - 1, 2**32 - 1


@pytest.fixture
def root(tmp_path: Path) -> Scored:
    return Scored(tmp_path / "root")


def proposed(root: Scored, **settings: int) -> list[tuple[str, int]]:
    found = root.hotspots(**{"proposals_per_scene": 1, **settings}).summary["proposals"]
    return [(each["scene_id"], each["frame_index"]) for each in found]


@pytest.mark.requirement("UNC-13")
def test_what_looks_like_a_proposal_comes_after_what_looks_different(root: Scored) -> None:
    for name, score, image in (("first", 0.9, 0), ("twin", 0.8, 0b111), ("other", 0.3, ALL), ("copy", 0.7, 0)):
        root.scene(name, Evaluated([score]))
        root.hash(name, {0: image})
    # standings .875, .625, .125, .375; novelty of the twin 3 of 16 bits, of the copy none, of the other full
    assert proposed(root) == [("first", 0), ("other", 0), ("twin", 0)]  # 0.125 * 1 > 0.625 * 3 / 16; the copy shows nothing new
    assert proposed(root, different_bits=1) == [("first", 0), ("twin", 0), ("other", 0)]
    found = root.hotspots(proposals_per_scene=1).summary["proposals"]
    assert [each["nearest_bits"] for each in found] == [None, 64, 3]


def test_without_hashes_uncertainty_alone_decides(root: Scored) -> None:
    for name, score in (("a", 0.2), ("b", 0.9), ("c", 0.5)):
        root.scene(name, Evaluated([score]))
    root.hash("b", {0: 0})
    root.extract("c")
    assert proposed(root) == [("b", 0), ("c", 0), ("a", 0)]
    assert proposed(root, proposals=1) == [("b", 0)]
    assert proposed(root, proposals=0) == []


def test_hashes_of_other_frames_are_not_believed(root: Scored) -> None:
    root.scene("a", Evaluated([0.9]))
    root.add("b")
    root.extract("b", "1")
    root.hash("b", {0: 0})
    root.extract("b", "2")
    root.score("b", Evaluated([0.5]))
    root.hash("a", {0: 0})
    assert proposed(root) == [("a", 0), ("b", 0)]  # they would be copies


def test_frames_of_a_scene_are_apart_and_few(root: Scored) -> None:
    root.scene("a", Evaluated({0: 0.9, 10: 0.89, 40: 0.8, 80: 0.7}))
    root.scene("b", Evaluated([0.1]))
    assert proposed(root, proposals_per_scene=2) == [("a", 0), ("a", 40), ("b", 0)]
    assert proposed(root, proposals_per_scene=3, min_gap_frames=5) == [("a", 0), ("a", 10), ("a", 40), ("b", 0)]


def test_what_people_have_begun_with_comes_last_with_the_reason(root: Scored) -> None:
    for name, score in (("labelled", 0.9), ("decided", 0.8), ("fresh", 0.1), ("begun", 0.7)):
        root.scene(name, Evaluated([score]))
    root.catalog.labelling.set(["labelled"], "eve", status="labelled")
    root.catalog.labelling.set(["begun"], "eve", status="in_progress")
    root.catalog.decisions.add("decided", [NewDecision("frame", "decided:000000", "exclude")], "eve")
    found = root.hotspots().summary["proposals"]
    assert [(each["scene_id"], each["later"]) for each in found] == [
        ("fresh", None),
        ("labelled", "is labelled"),
        ("decided", "has been looked at"),
        ("begun", "is being labelled"),
    ]


def test_scenes_of_a_dataset_come_last_with_its_name(tmp_path: Path) -> None:
    world = World(tmp_path / "root")
    create_dataset_version(world.root, world.store, world.catalog, ONTOLOGY, "night", [], DatasetSettings(), actor="ada")
    root = Scored(world.root)
    root.score("drive", Evaluated([0.9]))
    root.scene("fresh", Evaluated([0.1]))
    found = root.hotspots().summary["proposals"]
    assert [(each["scene_id"], each["later"]) for each in found] == [("fresh", None), ("drive", "is in night.v1")]


def test_scenes_of_different_kinds_of_scores_are_compared_by_their_standing(root: Scored) -> None:
    """An entropy of .9 that is the lowest of its model is no reason to look at the scene."""
    for n, score in enumerate((0.9, 0.95, 0.99)):
        root.scene(f"entropy-{n}", Evaluated([score], "model-b", kind=ENTROPY))
    for n, score in enumerate((0.01, 0.02, 0.03)):
        root.scene(f"information-{n}", Evaluated([score]))
    assert [name for name, _ in proposed(root)] == [
        "entropy-2",
        "information-2",
        "entropy-1",
        "information-1",
        "entropy-0",
        "information-0",
    ]


def test_standing_is_the_share_of_scenes_that_are_less_uncertain(root: Scored) -> None:
    for name, score in (("a", 0.1), ("b", 0.5), ("c", 0.5), ("d", 0.9)):
        root.scene(name, Evaluated([score]))
    found = {scene: value for (scene, *_), value in standings(root.hotspots().scores).items()}
    assert found == {"a": (0.125, 4), "b": (0.5, 4), "c": (0.5, 4), "d": (0.875, 4)}
