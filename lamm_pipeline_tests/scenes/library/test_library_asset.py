"""The asset `scene_library` in Dagster: its table and link, that it waits for nobody, and exports of versions built in the browser."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from lamm_pipeline.definitions import build_definitions
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.scenes.library.assets import scene_library
from lamm_pipeline.scenes.library.collect import KEY, published
from lamm_pipeline.scenes.library.dataset_draft import BUILT
from lamm_pipeline.scenes.library.sensors import export_built_versions
from lamm_pipeline.settings import Settings
from lamm_pipeline_tests.reports.exported import export
from lamm_pipeline_tests.review.worlds import World
from lamm_pipeline_tests.scenes.library.scene_worlds import publish_uncertainty

pytestmark = pytest.mark.usefixtures("own_environment")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "root")


def refresh(world: World, instance: dg.DagsterInstance) -> dg.AssetMaterialization:
    result = dg.materialize([scene_library], instance=instance, resources={"workspace": Workspace(root=str(world.root))})
    assert result.success
    return result.asset_materializations_for_node("scene_library")[0]


@pytest.mark.requirement("CAT-07", "UNC-02", "UNC-03")
def test_the_library_is_a_table_numbers_and_a_link_with_the_least_sure_scene_first(world: World) -> None:
    for name, score in (("sure", 0.1), ("unsure", 0.9)):
        publish_uncertainty(World(world.root, name).store, name, [("e", "2", score)])
    with dg.instance_for_test() as instance:
        told = refresh(world, instance).metadata
        table = told["scenes_table"].value
        assert [row.data["scene"] for row in table.records] == ["unsure", "sure", "drive"]
        assert table.records[0].data["gps"] == "no GPS"
        assert told["scenes_page"].value.endswith("/scenes")
        assert (told["scenes"].value, told["with_uncertainty"].value, told["not_readable"].value) == (3, 2, 0)
        first = world.store.current_version(KEY)
        assert set(published(world.store)) == {"drive", "sure", "unsure"}
        assert refresh(world, instance).metadata["version"].value == first
        world.catalog.tags.add(["drive"], ["rain"], "eve")
        refresh(world, instance)
        assert world.store.current_version(KEY) != first
        assert published(world.store)["drive"].tags == ("rain",)


def test_no_recording_at_all_is_an_empty_library(tmp_path: Path) -> None:
    with dg.instance_for_test() as instance:
        root = Workspace(root=str(tmp_path))
        result = dg.materialize([scene_library], instance=instance, resources={"workspace": root})
        assert result.asset_materializations_for_node("scene_library")[0].metadata["scenes"].value == 0
        assert published(root.store) == {}


@pytest.mark.requirement("NFR-03")
def test_a_recording_that_never_finishes_does_not_hold_the_library_up(world: World) -> None:
    definitions = build_definitions(Settings.from_environment({}, root=world.root))
    with dg.instance_for_test() as instance:
        instance.add_dynamic_partitions("recordings", ["drive", "stuck"])

        def wanted(cursor: Any) -> Any:
            return dg.evaluate_automation_conditions(
                defs=definitions, instance=instance, asset_selection=dg.AssetSelection.assets("scene_library"), cursor=cursor
            )

        first = wanted(None)
        assert first.total_requested == 0
        instance.report_runless_asset_event(dg.AssetMaterialization("frames", partition="drive"))
        second = wanted(first.cursor)
        assert second.total_requested == 1  # although `stuck` has nothing yet
        assert wanted(second.cursor).total_requested == 0


@pytest.mark.requirement("DSB-05")
def test_versions_built_in_the_browser_are_exported_once(world: World) -> None:
    export(world)
    with dg.instance_for_test() as instance:
        workspace = Workspace(root=str(world.root))

        def tick(cursor: str | None) -> dg.SensorResult:
            context = dg.build_sensor_context(instance=instance, cursor=cursor, resources={"workspace": workspace})
            return export_built_versions(context)

        assert tick(None).run_requests == []
        world.catalog.audit.add("eve", BUILT, "night.v1", {})
        world.catalog.audit.add("eve", BUILT, "gone.v1", {})
        found = tick(None)
        assert [(each.partition_key, each.tags["lamm/actor"]) for each in found.run_requests] == [("night.v1", "eve")]
        assert tick(found.cursor).run_requests == []
