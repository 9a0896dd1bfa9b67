"""A recording through `deploy/dagster.postgres.yaml`, with the catalog on the same server: a real one, started here."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from lamm_pipeline.sample.render import render_sample
from lamm_pipeline.sample.settings import SampleSettings
from lamm_pipeline_tests.command_line import PROGRAM
from lamm_pipeline_tests.imports.zips import a_frame, members, write_zip
from lamm_pipeline_tests.postgres import USER, Server, running_server

SETTINGS = Path(__file__).resolve().parents[2] / "deploy" / "dagster.postgres.yaml"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server("runs", "catalog") as found:
        yield found


@pytest.mark.requirement("STA-02")
def test_a_recording_runs_with_dagster_and_catalog_on_postgres(server: Server, tmp_path: Path) -> None:
    sample = tmp_path / "in" / "street.svo2"
    render_sample(sample, SampleSettings(frames=12, width=320, height=180))
    home, root = tmp_path / "home", tmp_path / "root"
    home.mkdir()
    shutil.copyfile(SETTINGS, home / "dagster.yaml")
    environment = os.environ | {
        "DAGSTER_HOME": str(home),
        "LAMM_PG_HOST": "127.0.0.1",
        "LAMM_PG_PORT": str(server.port),
        "LAMM_PG_USER": USER,
        "LAMM_PG_PASSWORD": server.password,
        "LAMM_PG_DB": "runs",
        "LAMM_CATALOG_URL": server.url("catalog"),
    }
    facts = json.loads(_lamm(environment, "run", sample, "--root", root, "--stereo", "half", "--tiles", "full", "--json"))
    assert "tracks" in facts["recordings"][0]["artifacts"]
    assert facts["recordings"][0]["run"]["state"] == "complete"
    assert facts["dataset"]["version"] == "street.v1"
    assert server.rows("runs", "SELECT DISTINCT status FROM runs") == [("SUCCESS",)]
    assert ("frames",) in {(json.loads(str(key))[0],) for (key,) in server.rows("runs", "SELECT asset_key FROM asset_keys")}
    assert server.rows("catalog", "SELECT key FROM recordings") == [("street",)]
    assert server.rows("catalog", "SELECT key FROM dataset_versions") == [("street.v1",)]
    export = write_zip(tmp_path / "drive.zip", members([a_frame(index) for index in range(8)]))
    prepared = json.loads(_lamm(environment, "prepare", export, "--strategy", "random", "--root", root, "--json"))
    assert prepared["version"] == "drive.v1"
    _lamm(environment, "evaluation", "ensemble", "street", "--root", root)
    _lamm(environment, "scenes", "tag", "add", "rain", "--where", "scene_id == 'street'", "--root", root)
    [scene] = json.loads(_lamm(environment, "scenes", "--where", "max_uncertainty > 0 and 'rain' in tags", "--root", root, "--json"))
    assert scene["datasets"] == ["street.v1"]
    assert server.rows("catalog", "SELECT key FROM annotation_exports") == [("drive",)]
    assert server.rows("catalog", "SELECT id FROM evaluations") == [("ground-filters",)]
    assert [path.name for path in [*root.rglob("*.sqlite"), *home.rglob("*.db")]] == []
    assert json.loads(_lamm(environment, "verify", "--root", root, "--json"))["damage"] == []


def _lamm(environment: Mapping[str, str], *arguments: str | Path) -> str:
    command = [*PROGRAM, *arguments]
    return subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
