"""The asset `dashboard`, and what is gathered for it: numbers of a known root, a new root, failures, and that it waits for nobody."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from lamm_pipeline.definitions import build_definitions
from lamm_pipeline.orchestration.run_history import RunHistory
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.scenes.dashboard import dashboard as room
from lamm_pipeline.scenes.dashboard.assets import dashboard
from lamm_pipeline.scenes.dashboard.dashboard import FILE_NAME, KEY, Dashboard, Known, gather, published
from lamm_pipeline.scenes.library.collect import POINT_BYTES
from lamm_pipeline.scenes.library.dataset_draft import change_draft
from lamm_pipeline.scenes.library.present import SceneLibrary
from lamm_pipeline.scenes.library.scene_table import StoredAsset
from lamm_pipeline.settings import Settings
from lamm_pipeline_tests.orchestration.small_runs import SmallRuns
from lamm_pipeline_tests.reports.exported import export
from lamm_pipeline_tests.review.worlds import World
from lamm_pipeline_tests.scenes.dashboard.evaluated import publish
from lamm_pipeline_tests.scenes.library.scene_worlds import populate, publish_library, scene

pytestmark = pytest.mark.usefixtures("own_environment")


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as found:
        yield found


def gathered(root: Path, instance: dg.DagsterInstance, known: Known | None = None) -> Dashboard:
    workspace = Workspace(root=str(root))
    library = SceneLibrary(workspace.store, workspace.catalog, root)
    return gather(workspace, library, RunHistory(instance), known or Known(), workers=1)


def materialize(root: Path, instance: dg.DagsterInstance) -> dg.AssetMaterialization:
    definitions = dg.Definitions([dashboard], resources={"workspace": Workspace(root=str(root))})
    result = definitions.resolve_implicit_global_asset_job_def().execute_in_process(instance=instance)
    return result.asset_materializations_for_node("dashboard")[0]


@pytest.mark.requirement("CAT-01", "CAT-02", "CAT-03")
def test_the_numbers_are_those_of_the_scenes(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    scenes = [scene(number) for number in range(60)]
    reviewable = StoredAsset("sequence_annotations", "1" * 16, 7)
    scenes = [replace(each, artifacts=(*each.artifacts, reviewable), storage_bytes=each.storage_bytes + 1007) for each in scenes]
    catalog, _ = populate(tmp_path, [*scenes[:-1], replace(scenes[-1], problem="recording.json cannot be read.")])
    catalog.recordings.set_missing([scenes[0].scene_id], "ada", missing=True)
    change_draft(tmp_path, "city", "eve", add=[scenes[0].scene_id])
    found = gathered(tmp_path, instance)
    statuses = Counter(each.status for each in scenes)
    assert found.scenes.scenes == 60
    assert {each.status: each.scenes for each in found.labelling} == statuses
    assert found.scenes.frames == sum(each.frames or 0 for each in scenes)
    points = sum(each.points or 0 for each in scenes)
    stored = sum(part.bytes for each in scenes for part in each.artifacts)
    assert found.volume.recordings == 60 * 1000
    assert found.volume.point_clouds == points * POINT_BYTES
    assert found.volume.recordings + found.volume.point_clouds + found.volume.other_artifacts == stored + 60_000
    assert [(each.count, each.what) for each in found.waiting] == [
        (statuses["unlabelled"] + statuses["in_progress"], "recordings to review"),
        (statuses["in_review"], "scenes to approve"),
        (1, "dataset draft to save"),
        (1, "recording without its file"),
        (1, "scene not fully readable"),
    ]
    best = sorted((each.max_uncertainty for each in scenes if each.max_uncertainty is not None), reverse=True)[: room.UNCERTAIN]
    assert [each.score for each in found.uncertain] == best
    key = next(each.scene_id for each in scenes if each.status == "unlabelled")
    catalog.labelling.set([key], "eve", status="labelled")
    assert {each.status: each.scenes for each in gathered(tmp_path, instance).labelling}["labelled"] == statuses["labelled"] + 1


@pytest.mark.requirement("CAT-03")
def test_datasets_are_weighed_once(tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path / "root")
    export(world)
    known = Known()
    volume = gathered(world.root, instance, known).volume
    keys = [key for key in world.store.all_keys() if key.scope == "datasets"]
    there = [world.store.current(key) for key in keys]
    assert volume.datasets == sum(each.manifest.size for each in there if each is not None) > 0
    assert volume.total == volume.recordings + volume.point_clouds + volume.other_artifacts + volume.datasets
    monkeypatch.setattr(room, "_weigh", lambda *_: pytest.fail("weighed again"))
    assert gathered(world.root, instance, known).volume == volume


@pytest.mark.requirement("CAT-05", "UNC-09")
def test_an_uncertain_scene_leads_to_the_very_frame_once_there_is_a_3d_view(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    world = World(tmp_path / "root")
    publish(world, [0.1, 0.7, 0.7, 0.2])
    [found] = gathered(world.root, instance).uncertain
    assert (found.scene, found.score, found.evaluation, found.frame) == ("drive", 0.7, "night-v3", 1)
    assert (found.href, found.frame_href) == ("/scenes/drive", None)
    world._publish("scene_view", {}, lambda folder: (folder / "scene.rrd").write_bytes(b""))
    [found] = gathered(world.root, instance).uncertain
    assert found.frame_href == "/scenes/drive/view?frame=1"


@pytest.mark.requirement("CAT-04", "CAT-05")
def test_failed_runs_and_checks_show_up_and_go_once_they_are_mended(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    world = World(tmp_path / "root")
    runs = SmallRuns(instance)
    runs.rows("drive", fails="The file ends in the middle of a frame.")
    runs.rows("night", sound=False)
    found = gathered(world.root, instance)
    [failed], [check] = found.failed, found.checks
    assert (failed.partition, failed.partition_href) == ("drive", "/scenes/drive")
    assert failed.problem == "The file ends in the middle of a frame."
    assert (check.partition, check.partition_href, check.check, check.severity) == ("night", None, "sound", "WARN")
    assert failed.href == f"http://127.0.0.1:3000/runs/{failed.run_id}"
    assert [each.kind for each in found.feed.entries if each.bad] == ["check", "run"]
    runs.rows("drive")
    runs.rows("night")
    found = gathered(world.root, instance)
    assert (found.failed, found.checks) == ((), ())


@pytest.mark.requirement("CAT-01", "CAT-02", "CAT-03", "CAT-04", "CAT-05", "CAT-06", "UNC-07", "NFR-06")
def test_the_asset_has_numbers_to_plot_tables_and_links(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    world = World(tmp_path / "root")
    publish(world, [0.1, 0.3])
    world.catalog.tags.add(["drive"], ["<b>rain</b>"], "eve")
    told = materialize(world.root, instance).metadata
    numbers = {name: told[name].value for name in ("scenes", "unlabelled", "labelled", "active_runs", "failed_runs", "failing_checks")}
    assert numbers == {"scenes": 1, "unlabelled": 1, "labelled": 0, "active_runs": 0, "failed_runs": 0, "failing_checks": 0}
    assert told["newest_evaluation_mean"].value == pytest.approx(0.2)
    assert "frames" not in told  # nobody knows
    assert told["page"].value == "http://127.0.0.1:3001/"
    assert told["labelling"].value.startswith("![Labelling](data:image/svg+xml;base64,")
    assert "/jobs/create_dataset/playground" in told["quick_links"].value
    assert "no model is registered yet" in told["quick_links"].value
    assert [row.data["what"] for row in told["activity"].value.records] == ["tagged drive <b>rain</b>", "added drive"]
    assert [row.data["scene"] for row in told["uncertain_scenes"].value.records] == ["drive"]
    first = world.store.current_version(KEY)
    assert materialize(world.root, instance).metadata["version"].value == first  # nothing has happened
    world.catalog.tags.add(["drive"], ["night"], "eve")
    materialize(world.root, instance)
    assert world.store.current_version(KEY) != first
    artifact = world.store.current(KEY)
    assert artifact is not None
    assert json.loads(artifact.file(FILE_NAME).read_bytes())["feed"]["entries"][0]["text"] == "tagged drive night"
    assert [each.evaluation for some in published(world.store).tallies.values() for each in some] == ["night-v3"]


@pytest.mark.requirement("CAT-01")
def test_a_new_root_has_zeros_and_nothing_invented(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    found = gathered(tmp_path, instance)
    assert (found.scenes.scenes, found.scenes.frames, found.volume.total) == (0, None, 0)
    assert [each.share for each in found.labelling] == [0.0] * 4
    assert (found.active, found.failed, found.checks, found.waiting, found.uncertain, found.evaluations) == ((),) * 6
    assert (found.feed.entries, found.feed.after) == ((), None)
    told = materialize(tmp_path, instance).metadata
    assert (told["scenes"].value, told["storage_gb"].value) == (0, 0.0)
    assert "max_uncertainty" not in told
    assert "NaN" not in json.dumps(found.to_json())


@pytest.mark.requirement("NFR-03")
def test_a_recording_that_never_finishes_does_not_hold_the_dashboard_up(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    definitions = build_definitions(Settings.from_environment({}, root=tmp_path))
    instance.add_dynamic_partitions("recordings", ["drive", "stuck"])

    def wanted(cursor: Any) -> Any:
        selected = dg.AssetSelection.assets("dashboard")
        return dg.evaluate_automation_conditions(defs=definitions, instance=instance, asset_selection=selected, cursor=cursor)

    first = wanted(None)
    assert first.total_requested == 0
    instance.report_runless_asset_event(dg.AssetMaterialization("scene_library"))
    second = wanted(first.cursor)
    assert second.total_requested == 1
    assert wanted(second.cursor).total_requested == 0


def test_a_damaged_dashboard_is_gathered_anew(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    world = World(tmp_path / "root")
    materialize(world.root, instance)
    artifact = world.store.current(KEY)
    assert artifact is not None
    path = artifact.file(FILE_NAME)
    path.chmod(0o644)
    path.write_text("{")
    assert published(world.store).runs.deeds == {}
    publish_library(world.store, [])
    assert gathered(world.root, instance, published(world.store)).scenes.scenes == 1
