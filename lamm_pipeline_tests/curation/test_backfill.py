"""Fifty recordings are curated again with other settings: what runs, what is reused, and that no image is needed."""

import json
import shutil
from pathlib import Path

import dagster as dg
import pytest

from lamm_pipeline.definitions import build_definitions
from lamm_pipeline.settings import Settings
from lamm_pipeline_tests.curation.houses import House

RECORDINGS = 50
UPSTREAM = ("frames", "detections", "diversity_metrics")


def backfill(root: Path, instance: dg.DagsterInstance, keys: list[str], config: dict[str, object]) -> list[dg.ExecuteInProcessResult]:
    """One run of the job `curate` for each partition, as a backfill launches them."""
    job = build_definitions(Settings.from_environment({"LAMM_EXECUTOR": "in_process"}, root=root)).resolve_job_def("curate")
    run_config = {"ops": {"selection": {"config": config}}}
    return [
        job.execute_in_process(instance=instance, partition_key=key, run_config=run_config, tags={"dagster/backfill": "b1"}) for key in keys
    ]


def manifests(root: Path) -> dict[str, tuple[int, bytes]]:
    """Every published version, with its time and its content."""
    return {
        path.relative_to(root).as_posix(): (path.stat().st_mtime_ns, path.read_bytes())
        for path in root.glob("recordings/*/*/*/manifest.json")
    }


@pytest.mark.requirement("STA-04", "CUR-06", "CUR-10")
def test_a_backfill_with_other_settings_runs_selections_alone_and_touches_no_pixel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LAMM_ROOT", "LAMM_CATALOG_URL", "LAMM_STORE"):
        monkeypatch.delenv(name, raising=False)
    root, home = tmp_path / "root", tmp_path / "dagster-home"
    root.mkdir(), home.mkdir()
    keys = [f"drive_{number:02d}" for number in range(RECORDINGS)]
    for number, key in enumerate(keys):
        house = House(root, key)
        house.measure([0, number % 2, 9, 2**40], [1.0, 1.0, 1.0, 1.0])
        house.curate()
    for folder in root.glob("recordings/*/frames/*/image_left"):
        shutil.rmtree(folder)
    with dg.DagsterInstance.local_temp(str(home)) as instance:
        instance.add_dynamic_partitions("recordings", keys)
        before = manifests(root)
        runs = backfill(root, instance, keys, {"diversity": True, "similarity_threshold": 0.99})
        after = manifests(root)
        runs += backfill(root, instance, keys[:3], {})
        ran = {
            event.step_key
            for run in instance.get_runs(dg.RunsFilter(tags={"dagster/backfill": "b1"}))
            for event in instance.get_records_for_run(run.run_id, of_type=dg.DagsterEventType.STEP_START).records
            for event in [event.event_log_entry.dagster_event]
            if event is not None
        }
    assert all(run.success for run in runs)
    assert ran == {"selection"}
    assert {path.split("/")[2] for path in before} == {*UPSTREAM, "selection"}
    assert {path: made for path, made in after.items() if path in before} == before
    new = sorted(path for path in after if path not in before)
    assert [(path.split("/")[1], path.split("/")[2]) for path in new] == [(key, "selection") for key in keys]
    inputs = {path: json.loads(after[path][1])["identity"]["inputs"] for path in new}
    for path, made_from in inputs.items():
        assert made_from.keys() == set(UPSTREAM)
        assert all(f"recordings/{path.split('/')[1]}/{asset}/{version}/manifest.json" in before for asset, version in made_from.items())
    counts = [json.loads(after[path][1])["counts"]["states"]["kept"] for path in new]
    assert counts == [2 + number % 2 for number in range(RECORDINGS)]
    assert manifests(root) == after
    in_force = [json.loads((root / "recordings" / key / "selection" / "current.json").read_text())["version"] for key in keys]
    reused = {path.split("/")[1]: path.split("/")[3] for path in before if "/selection/" in path}
    assert [version == reused[key] for key, version in zip(keys, in_force, strict=True)] == [True] * 3 + [False] * (RECORDINGS - 3)
