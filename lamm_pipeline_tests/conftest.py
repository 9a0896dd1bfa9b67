"""Fixtures that several folders of tests share."""

import contextlib
import gc
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import hypothesis
import pytest
import sqlalchemy
from alembic.config import Config
from alembic.script import ScriptDirectory

S3_KEY_ID = "AKIALAMMTESTKEY"
S3_SECRET = "secretOfTheTests/0123456789+abcdef"  # noqa: S105  of the test server


def pytest_configure() -> None:
    """Heed interruptions, and have the processes that tests start heed them, when the tests run in the background of a script."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    hypothesis.settings.register_profile("untimed", deadline=None)  # how long an example takes says how busy the machine is
    hypothesis.settings.load_profile("untimed")
    _spare_the_disk()
    _read_migrations_once()


def pytest_collection_finish() -> None:
    """The libraries and the tests are there to stay: the garbage collector need not look through them again and again."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """Libraries complain of what is left over at the end, so it is thrown away as ever."""
    gc.unfreeze()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real recordings and ground truth that is not part of the project: `LAMM_SHARED_DATA`, or `../shared/data`."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("LAMM_SHARED_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"real recordings are not here ({folder} is no folder; set LAMM_SHARED_DATA)")
    return folder


@pytest.fixture(scope="module")
def own_environment() -> Iterator[None]:
    """No settings from outside; who acts is `ada`."""
    with pytest.MonkeyPatch.context() as patch:
        for name in {*(name for name in os.environ if name.startswith("LAMM_")), "DAGSTER_HOME"} - {"LAMM_SHARED_DATA"}:
            patch.setenv(name, "")  # so that the value comes back even if a test sets it
            patch.delenv(name)
        patch.setenv("LAMM_USER", "ada")
        yield


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Endpoint of an S3 server (moto's) in a process of its own; buckets live as long as the tests."""
    for _ in range(5):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if _answers(server, port):
            break
    else:
        pytest.fail("moto's server does not start")
    yield f"http://127.0.0.1:{port}"
    server.terminate()
    server.wait(10)


@pytest.fixture
def s3_bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A new bucket on the test server, as plain boto3 sees it; credentials are in the environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", S3_KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", S3_SECRET)
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_CONFIG_FILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    bucket = boto3.resource("s3", endpoint_url=s3_server, region_name="us-east-1").Bucket(f"test-{uuid.uuid4().hex[:12]}")
    bucket.create()
    return bucket


def _answers(server: subprocess.Popen[bytes], port: int) -> bool:
    """Whether the server takes connections within a minute; False once it has ended."""
    until = time.monotonic() + 60
    while server.poll() is None and time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        time.sleep(0.1)
    server.kill()
    return False


def _spare_the_disk() -> None:
    """SQLite need not wait for the disk at each commit: what a killed process has written is there all the same; no test cuts the power.

    Dagster commits each of its events in a connection of its own, and would spend a third of a run of small recordings waiting.
    """

    @sqlalchemy.event.listens_for(sqlalchemy.Engine, "connect")
    def _(connection: Any, _: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous = OFF").close()


def _read_migrations_once() -> None:
    """Dagster reads its ninety migrations anew for each database that it opens, which takes most of the time; they do not change."""
    read, known = ScriptDirectory.from_config, {}

    def from_config(config: Config) -> ScriptDirectory:
        location = config.get_alembic_option("script_location")
        if location not in known:
            found = read(config)
            found.get_current_head()  # which reads them
            known[location] = found
        return known[location]

    ScriptDirectory.from_config = from_config  # type: ignore[method-assign]
