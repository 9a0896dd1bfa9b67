"""The asset `uncertainty_hotspots`: rankings, numbers by tag, insights, and what is left out."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import dagster as dg
import numpy as np
import pytest

from lamm_pipeline.datasets import frame_ranking
from lamm_pipeline.definitions import build_definitions
from lamm_pipeline.scenes.hotspots import scene_ranking
from lamm_pipeline.scenes.hotspots.published import published
from lamm_pipeline.settings import Settings
from lamm_pipeline.storage.artifacts import ArtifactKey
from lamm_pipeline_tests.scenes.hotspots.scored import ENTROPY, MI, Evaluated, Scored

pytestmark = pytest.mark.usefixtures("own_environment")


@pytest.fixture
def root(tmp_path: Path) -> Scored:
    return Scored(tmp_path / "root")


def rainy(root: Scored, scenes: int = 24, *, every: int = 2, shift: float = 0.2, model: str = "model-a") -> None:
    """Scenes whose models are less sure in the rain."""
    rng = np.random.default_rng(1)
    for n in range(scenes):
        wet = n % every == 0
        score = float(np.clip(0.2 + shift * wet + rng.normal(0, 0.04), 0, 1))
        root.scene(f"s{n:02d}", Evaluated([score, score + 0.02], model), tags=["rain", "all"] if wet else ["all"])


@pytest.mark.requirement("UNC-10")
def test_the_ranking_is_by_the_highest_score_over_all_evaluations_with_the_very_frame(root: Scored) -> None:
    root.scene("calm", Evaluated([0.1, 0.2, 0.15]), tags=["night"])
    root.scene("wild", Evaluated([0.3, 0.2], day=5), Evaluated([0.1, 0.7], "model-b", "older", 2), tags=["rain"])
    root.scene("unscored")
    found = root.hotspots()
    first, second = found.ranking()
    assert (first.scene_id, first.max_score, first.model_id, first.evaluation, first.frame_id) == (
        "wild",
        0.7,
        "model-b",
        "older",
        "wild:000001",
    )
    assert (first.tags, f"{first.captured_at:%Y-%m-%d %H:%M}", first.score_kind) == (("rain",), "2026-01-01 09:00", MI)
    assert (second.scene_id, second.max_score, second.frame_index) == ("calm", 0.2, 1)
    assert found.summary["counts"] == {
        "scenes": 2,
        "frames": 5,
        "rows": 7,
        "views": 2,
        "comparisons": 0,
        "insights": 0,
        "proposals": 2,
        "left_out": 0,
        "frames_without_score": 0,
    }


@pytest.mark.requirement("UNC-10")
def test_of_equal_scores_that_of_the_newest_evaluation_counts(root: Scored) -> None:
    root.scene("a", Evaluated([0.5], name="old", day=1), Evaluated([0.5], "model-b", "new", 9), Evaluated([0.5], name="between", day=4))
    root.scene("b", Evaluated([0.5, 0.5], name="middle", day=6))
    first, second = root.hotspots().ranking()
    assert (first.scene_id, first.evaluation, first.model_id) == ("a", "new", "model-b")
    assert (second.scene_id, second.evaluation, second.frame_index) == ("b", "middle", 0)
    table = root.store.current(frame_ranking.KEY)
    assert table is not None
    rows = {each.recording: each for each in frame_ranking.read(table.file(frame_ranking.FILE_NAME))}
    assert {each.evaluation for each in rows["a"].scorings} == {"between", "new"}  # of one model the newest of equal ones


@pytest.mark.requirement("UNC-11")
def test_a_ranking_for_one_model_knows_no_other(root: Scored) -> None:
    root.scene("a", Evaluated([0.5]), Evaluated([0.9], "model-b", "other"))
    root.scene("b", Evaluated([0.6]), tags=["rain"])
    found = root.hotspots()
    assert [(row.scene_id, row.max_score) for row in found.ranking()] == [("a", 0.9), ("b", 0.6)]
    assert [(row.scene_id, row.max_score) for row in found.ranking("model-a")] == [("b", 0.6), ("a", 0.5)]
    assert [row.scene_id for row in found.ranking("model-b")] == ["a"]
    assert [row.scene_id for row in found.ranking(tag="rain")] == ["b"]
    assert found.ranking("nobody") == []


@pytest.mark.requirement("UNC-12")
def test_averages_by_tag_count_scenes_once_by_the_newest_evaluation(root: Scored) -> None:
    root.scene("long", Evaluated([0.2] * 50), tags=["rain"])
    root.scene("short", Evaluated([0.9], name="old", day=1), Evaluated([0.4], name="new", day=2), tags=["rain", "night"])
    [view] = root.hotspots().summary["views"]
    assert (view["model_id"], view["score_kind"], view["scenes"], view["frames"]) == ("model-a", MI, 2, 51)
    everything, night, rain = view["tags"]
    assert (everything["tag"], everything["scenes"]) == (None, 2)
    assert (night["tag"], night["scenes"], night["mean"], night["interval"]) == ("night", 1, pytest.approx(0.4), None)
    assert (rain["tag"], rain["scenes"], rain["mean"]) == ("rain", 2, pytest.approx(0.3))  # not 0.204, the mean of the frames
    assert (rain["box"]["minimum"], rain["box"]["maximum"]) == (pytest.approx(0.2), pytest.approx(0.4))


@pytest.mark.requirement("UNC-13")
def test_a_difference_that_is_there_is_told_with_its_numbers(root: Scored) -> None:
    rainy(root)
    [insight] = root.hotspots().summary["insights"]
    assert insight["sentence"].startswith("model-a is less sure of scenes tagged rain: mutual information 0.4")
    assert insight["sentence"].endswith("12 against 12 scenes): record more of them.")
    assert f"p = {insight['p']:.2g}" in insight["sentence"]
    assert insight["low"] < insight["difference"] < insight["high"]
    assert insight["difference"] == pytest.approx(0.2, abs=0.05)
    assert insight["p"] <= 0.01
    assert "corrected" not in insight["sentence"]  # one comparison: all scenes have the tag `all`


@pytest.mark.requirement("UNC-13")
def test_a_tag_that_models_are_surer_of_asks_for_nothing(root: Scored) -> None:
    rainy(root, shift=-0.15)
    [insight] = root.hotspots().summary["insights"]
    assert insight["sentence"].startswith("model-a is surer of scenes tagged rain")
    assert "record" not in insight["sentence"]


@pytest.mark.requirement("UNC-13")
def test_few_scenes_and_chance_make_no_sentence(root: Scored) -> None:
    rainy(root, 8)  # four with the tag, four without
    found = root.hotspots().summary
    assert (found["insights"], found["counts"]["comparisons"]) == ([], 0)
    found = root.hotspots(min_scenes=4).summary
    assert found["counts"]["comparisons"] == 1


def test_tags_that_say_nothing_make_no_sentence(root: Scored) -> None:
    rainy(root, shift=0.0)
    found = root.hotspots().summary
    assert (found["insights"], found["counts"]["comparisons"]) == ([], 1)


@pytest.mark.requirement("UNC-12", "UNC-13")
def test_models_and_kinds_of_scores_are_compared_among_themselves_only(root: Scored) -> None:
    """Entropies are high and only of scenes in the rain: rain would look uncertain if they were mixed with mutual information."""
    rng = np.random.default_rng(3)
    for n in range(24):
        score = float(0.2 + rng.normal(0, 0.02))
        kinds = [Evaluated([score]), Evaluated([score + 0.6], "model-b", "other", kind=ENTROPY)] if n % 2 else [Evaluated([score])]
        root.scene(f"s{n:02d}", *kinds, tags=["rain"] if n % 2 else ["sun"])
    found = root.hotspots().summary
    assert [(view["model_id"], view["score_kind"], view["scenes"]) for view in found["views"]] == [
        ("model-a", MI, 24),
        ("model-b", ENTROPY, 12),
    ]
    assert found["insights"] == []


@pytest.mark.parametrize("scenes", [0, 1])
@pytest.mark.requirement("UNC-10")
def test_no_scene_and_one_scene_are_told_without_inventing_anything(root: Scored, scenes: int) -> None:
    for n in range(scenes):
        root.scene(f"s{n}", Evaluated([0.3, 0.4]), tags=["rain"])
    with dg.instance_for_test() as instance:
        told = root.materialize(instance).metadata
    assert (told["scenes"].value, told["frames"].value, told["insights"].value) == (scenes, 2 * scenes, 0)
    found = published(root.store)
    assert found is not None
    assert len(found.ranking()) == scenes
    assert all(each["interval"] is None for view in found.summary["views"] for each in view["tags"])


def test_scores_that_are_no_numbers_are_counted_and_left_out(root: Scored) -> None:
    root.scene("a", Evaluated([0.2, None, float("nan"), float("inf"), 0.3]))
    root.scene("nothing", Evaluated([None, float("nan")]))
    found = root.hotspots()
    assert (found.summary["counts"]["frames_without_score"], found.summary["counts"]["frames"]) == (5, 2)
    assert [(row.scene_id, row.max_score, row.frame_index, row.frames) for row in found.ranking()] == [("a", 0.3, 4, 2)]


def test_frames_that_were_extracted_again_are_left_out_with_the_reason(root: Scored) -> None:
    for name in ("kept", "again", "gone"):
        root.scene(name, Evaluated([0.5]))
    root.extract("again", "2")
    stale = {"evaluation": "late", "status": "stale", "reason": "its predictions are for version 3 of the frames, in force is 1"}
    fine = {"evaluation": "nightly", "status": "scored", "reason": None}
    root.score("kept", Evaluated([0.6]), evaluations=[stale, fine])
    table = root.store.current(ArtifactKey("recordings", "gone", "frame_uncertainty"))
    assert table is not None
    path = table.file("frame_uncertainty.parquet")
    path.parent.chmod(0o755)
    path.chmod(0o644)
    path.write_bytes(b"damaged")
    found = root.hotspots()
    assert [row.scene_id for row in found.ranking()] == ["kept"]
    by_name = {each["recording"]: each for each in found.summary["left_out"]}
    assert "extracted again" in by_name["again"]["reason"]
    assert "cannot be read" in by_name["gone"]["reason"]
    assert by_name["kept"] == {"recording": "kept", "evaluation": "late", "reason": f"stale: {stale['reason']}"}
    assert found.summary["counts"]["left_out"] == 3


@pytest.mark.requirement("UNC-10", "UNC-12", "UNC-13")
def test_dagster_shows_ranking_insights_box_plots_and_proposals_with_links(root: Scored) -> None:
    rainy(root)
    with dg.instance_for_test() as instance:
        told = root.materialize(instance).metadata
        version = told["version"].value
        assert root.materialize(instance).metadata["version"].value == version  # nothing new: nothing is made
        root.catalog.tags.add(["s00"], ["tunnel"], "eve")
        assert root.materialize(instance).metadata["version"].value != version
    assert told["hotspots_page"].value.endswith("/hotspots")
    rows = [row.data for row in told["ranking"].value.records]
    assert len(rows) == 24
    assert [row["max_score"] for row in rows] == sorted((row["max_score"] for row in rows), reverse=True)
    assert rows[0]["link"].endswith(f"/scenes/{rows[0]['scene']}")
    assert "less sure of scenes tagged rain" in told["insights_in_words"].value
    assert "data:image/svg+xml;base64," in told["box_plot_0"].value
    assert {row.data["tag"] for row in told["by_tag"].value.records} == {"(all scenes)", "all", "rain"}
    assert len(told["next_to_curate"].value.records) == 20


def test_links_lead_into_3d_where_there_is_a_scene_view(root: Scored) -> None:
    root.scene("a", Evaluated([0.1, 0.9]))
    root.publish("a", "scene_view", {}, {}, lambda _: None)
    with dg.instance_for_test() as instance:
        told = root.materialize(instance).metadata
    assert told["ranking"].value.records[0].data["link"].endswith("/scenes/a/view?frame=1")
    assert told["next_to_curate"].value.records[0].data["link"].endswith("/scenes/a/view?frame=1")


@pytest.mark.requirement("UNC-12")
def test_box_plots_are_svg_whatever_tags_are_called(root: Scored) -> None:
    root.scene("a", Evaluated([0.2]), tags=["<b>&'\"", "x" * 40])
    root.hotspots()
    artifact = root.store.current(frame_ranking.KEY)
    assert artifact is not None
    drawing = ElementTree.fromstring(artifact.file("tags/0.svg").read_text())  # noqa: S314  our own
    texts = [each.text for each in drawing.iter("{http://www.w3.org/2000/svg}text")]
    assert "<b>&'\"" in texts
    assert {"all scenes", "0.2, 1 scene"} <= set(texts)


def test_equal_inputs_give_equal_bytes(tmp_path: Path) -> None:
    digests = []
    for name in ("one", "other"):
        root = Scored(tmp_path / name)
        rainy(root)
        root.hash("s00", {0: 5, 1: 6})
        root.hotspots(workers=1 if name == "one" else 4)
        artifact = root.store.current(frame_ranking.KEY)
        assert artifact is not None
        digests.append({name: entry.sha256 for name, entry in artifact.manifest.files.items()})
    assert digests[0] == digests[1]
    assert set(digests[0]) == {"frame_ranking.parquet", "scene_ranking.parquet", "hotspots.json", "tags/0.svg"}


def test_what_cannot_be_read_counts_as_not_there(root: Scored) -> None:
    assert published(root.store) is None
    root.scene("a", Evaluated([0.2]))
    root.hotspots()
    artifact = root.store.current(frame_ranking.KEY)
    assert artifact is not None
    path = artifact.file(scene_ranking.FILE_NAME)
    path.parent.chmod(0o755)
    path.chmod(0o644)
    path.write_bytes(b"damaged")
    assert published(root.store) is None


def test_a_recording_that_never_finishes_does_not_hold_the_hotspots_up(root: Scored) -> None:
    definitions = build_definitions(Settings.from_environment({}, root=root.root))
    with dg.instance_for_test() as instance:
        instance.add_dynamic_partitions("recordings", ["drive", "stuck"])

        def wanted(cursor: Any) -> Any:
            return dg.evaluate_automation_conditions(
                defs=definitions, instance=instance, asset_selection=dg.AssetSelection.assets("uncertainty_hotspots"), cursor=cursor
            )

        first = wanted(None)
        instance.report_runless_asset_event(dg.AssetMaterialization("frame_uncertainty", partition="drive"))
        assert wanted(first.cursor).total_requested == 1
        schedule = definitions.resolve_schedule_def("weekly_proposals")
        assert (schedule.job_name, schedule.default_status) == ("refresh_scenes", dg.DefaultScheduleStatus.STOPPED)


def test_the_summary_is_plain_json(root: Scored) -> None:
    rainy(root)
    found = root.hotspots().summary
    assert json.loads(json.dumps(found, allow_nan=False)) == found
