"""The table of contents, held against a snapshot, so that no asset, check, sensor, job or resource vanishes unnoticed."""

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from lamm_pipeline.definitions import build_definitions
from lamm_pipeline.settings import Settings

SNAPSHOT = Path(__file__).with_name("definitions_snapshot.json")


def contents(definitions: dg.Definitions) -> dict[str, Any]:
    repository = definitions.get_repository_def()
    graph = repository.asset_graph
    return {
        "assets": {
            key.to_user_string(): {
                "deps": sorted(parent.to_user_string() for parent in graph.get(key).parent_keys),
                "partitions": str(getattr(graph.get(key).partitions_def, "name", None)),
                "group": graph.get(key).group_name,
                "pools": sorted(graph.get(key).pools or ()),
            }
            for key in sorted(graph.get_all_asset_keys())
        },
        "checks": {
            f"{key.asset_key.to_user_string()}/{key.name}": {"blocking": graph.get(key).blocking}
            for key in sorted(graph.asset_check_keys, key=lambda key: (key.asset_key, key.name))
        },
        "jobs": sorted(job.name for job in repository.get_all_jobs() if not job.name.startswith("__")),
        "sensors": sorted(sensor.name for sensor in repository.sensor_defs),
        "schedules": sorted(schedule.name for schedule in repository.schedule_defs),
        "resources": sorted(definitions.resources or {}),
    }


@pytest.mark.requirement("NFR-01", "NFR-03", "NFR-06", "NFR-13", "STA-01", "STA-02")
def test_the_definitions_are_those_of_the_snapshot(tmp_path: Path) -> None:
    found = contents(build_definitions(Settings.from_environment({}, root=tmp_path)))
    assert found == json.loads(SNAPSHOT.read_text()), (
        f"If the change is meant, write this into {SNAPSHOT.name}:\n{json.dumps(found, indent=2)}"
    )


def test_gpu_placement_is_applied_only_when_the_device_is_a_gpu() -> None:
    from lamm_pipeline.orchestration.placement import model_placement

    assert model_placement(Settings.from_environment({})).pool is None
    placed = model_placement(Settings.from_environment({"LAMM_DEVICE": "cuda"}))
    assert placed.pool == "gpu"
    assert placed.op_tags["dagster-celery/queue"] == "gpu"
