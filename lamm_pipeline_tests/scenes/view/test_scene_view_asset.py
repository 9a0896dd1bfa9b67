"""The asset `scene_view`, run by Dagster on a recording of a few small frames."""

import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.scenes.view.assets import scene_view
from lamm_pipeline.storage.artifacts import Artifact, ArtifactKey
from lamm_pipeline_tests.review.worlds import FOUND, FRAMES
from lamm_pipeline_tests.scenes.view.scene_files import need_rerun
from lamm_pipeline_tests.scenes.view.scene_world import PLACES, SceneWorld

pytestmark = pytest.mark.usefixtures("own_environment")


@pytest.fixture
def world(tmp_path: Path) -> SceneWorld:
    return SceneWorld(tmp_path / "root")


def run(world: SceneWorld, **config: Any) -> dg.ExecuteInProcessResult:
    instance = dg.DagsterInstance.ephemeral()
    instance.add_dynamic_partitions("recordings", [world.key])
    return dg.materialize(
        [scene_view],
        instance=instance,
        partition_key=world.key,
        resources={"workspace": Workspace(root=str(world.root))},
        run_config={"ops": {"scene_view": {"config": config}}},
        raise_on_error=False,
    )


def metadata(outcome: dg.ExecuteInProcessResult) -> dict[str, Any]:
    (made,) = outcome.asset_materializations_for_node("scene_view")
    return {name: getattr(value, "value", value) for name, value in made.metadata.items()}


def sentences(value: dg.TableMetadataValue) -> list[Any]:
    return [record.data["what"] for record in value.records if "what" in record.data]


def current(world: SceneWorld) -> Artifact | None:
    return world.store.current(ArtifactKey("recordings", world.key, "scene_view"))


@pytest.mark.requirement("CAT-12")
def test_the_metadata_says_what_is_shown_and_links_to_it(world: SceneWorld) -> None:
    need_rerun()
    world.publish_everything()
    told = metadata(run(world))
    assert told["frames"] == FRAMES
    assert told["points_per_frame"] == len(PLACES)
    assert told["url"].endswith("/scenes/drive/view")
    assert 0 < told["megabytes"] < 1
    assert sentences(told["missing"]) == sentences(told["thinned"]) == []
    artifact = current(world)
    assert artifact is not None
    assert sorted(artifact.manifest.files) == ["scene.json", "scene.rrd"]
    assert metadata(run(world))["version"] == told["version"], "nothing changed, so nothing is made again"


def test_what_was_made_from_other_inputs_is_left_out_and_told(world: SceneWorld) -> None:
    need_rerun()
    world.publish_everything()
    world.detect(FOUND, threshold=0.6)
    told = metadata(run(world))
    assert told["frames"] == FRAMES
    left_out = sentences(told["missing"])
    assert left_out[0].startswith("Left out: The boxes_3d of 'drive' were made from other detections.")
    assert "There are no 3D boxes." in left_out


def test_without_rerun_the_failure_says_what_to_install(world: SceneWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rerun", None)
    outcome = run(world)
    (event,) = (each for each in outcome.all_events if each.event_type_value == "STEP_FAILURE")
    failure = event.step_failure_data.user_failure_data
    assert failure is not None
    assert "pip install 'lamm-pipeline[view]'" in str(failure.description)
    assert current(world) is None


def test_a_wrong_setting_is_refused(world: SceneWorld) -> None:
    assert not run(world, max_megabytes=0).success
