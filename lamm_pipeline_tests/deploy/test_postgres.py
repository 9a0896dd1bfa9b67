"""A recording through `deploy/dagster.postgres.yaml`, with the catalog on the same server: a real one, started here."""

import json
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy

from lamm_pipeline.sample.render import render_sample
from lamm_pipeline.sample.settings import SampleSettings
from lamm_pipeline_tests.command_line import PROGRAM

SETTINGS = Path(__file__).resolve().parents[2] / "deploy" / "dagster.postgres.yaml"
PROGRAMS = max(Path("/usr/lib/postgresql").glob("*/bin/initdb"), default=Path(shutil.which("initdb") or "initdb")).parent
USER = "lamm"


@dataclass(frozen=True)
class Server:
    """A PostgreSQL server of our own."""

    port: int
    password: str

    def url(self, database: str) -> str:
        return f"postgresql+psycopg2://{USER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def rows(self, database: str, query: str) -> list[tuple[object, ...]]:
        engine = sqlalchemy.create_engine(self.url(database))
        with engine.connect() as connection:
            found = [tuple(row) for row in connection.execute(sqlalchemy.text(query))]
        engine.dispose()
        return found


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    if not (PROGRAMS / "initdb").exists():
        reason = "PostgreSQL's programs are not here (Debian: apt-get install postgresql)"
        if os.environ.get("LAMM_TEST_NO_SKIPS"):
            pytest.fail(reason)
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="lamm-postgres-"))  # pytest's own folders are closed to the server's user
    data, found = folder / "data", Server(_free_port(), secrets.token_hex(8))
    (folder / "password").write_text(found.password)
    as_user = _as_unprivileged(folder)
    options = f"-h 127.0.0.1 -p {found.port} -k {folder}"
    try:
        _call(
            [*as_user, PROGRAMS / "initdb", "-D", data, "-U", USER, "-A", "scram-sha-256", f"--pwfile={folder / 'password'}", "-E", "UTF8"],
            folder,
        )
        _call([*as_user, PROGRAMS / "pg_ctl", "-D", data, "-l", folder / "log", "-w", "-o", options, "start"], folder)
        try:
            for database in ("runs", "catalog"):
                _create(found, database)
            yield found
        finally:
            _call([*as_user, PROGRAMS / "pg_ctl", "-D", data, "-w", "-m", "fast", "stop"], folder)
    finally:
        shutil.rmtree(folder)


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
    assert [path.name for path in [*root.rglob("*.sqlite"), *home.rglob("*.db")]] == []
    assert json.loads(_lamm(environment, "verify", "--root", root, "--json"))["damage"] == []


def _lamm(environment: Mapping[str, str], *arguments: str | Path) -> str:
    command = [*PROGRAM, *arguments]
    return subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout


def _as_unprivileged(folder: Path) -> list[str]:
    """Words before a command so that root runs it as somebody else, who then owns `folder`: the server refuses to run as root."""
    if os.geteuid() != 0:
        return []
    name = next(each.pw_name for each in pwd.getpwall() if each.pw_name in ("postgres", "nobody"))
    for path in (folder, *folder.iterdir()):
        shutil.chown(path, name)
    return ["runuser", "-u", name, "--"]


def _call(command: Sequence[str | Path], folder: Path) -> None:
    subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL)


def _create(server: Server, database: str) -> None:
    engine = sqlalchemy.create_engine(server.url("postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(f"CREATE DATABASE {database}"))
    engine.dispose()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
