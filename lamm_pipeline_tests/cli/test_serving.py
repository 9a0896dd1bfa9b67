"""`lamm up` and `lamm reports`: the report server as a process, and that it ends with what started it."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lamm_pipeline.cli import serving
from lamm_pipeline_tests.command_line import PROGRAM, lamm, refused
from lamm_pipeline_tests.reports.sites import Site
from lamm_pipeline_tests.review.worlds import World

pytestmark = pytest.mark.usefixtures("own_environment")

TOKEN = "token-of-the-tests-0123456789"  # noqa: S105
PATIENCE_S = 120
STARTER = """
import os, sys
from pathlib import Path
from lamm_pipeline.cli.serving import _start_report_server
from lamm_pipeline.reports.server import listen
listener = listen("127.0.0.1", 0)
print(listener.getsockname()[1], flush=True)
_start_report_server(Path(sys.argv[1]), listener, dict(os.environ))
os.execvp("sleep", ["sleep", "600"])
"""
"""What `lamm up` does, with `sleep` in the place of Dagster."""


@contextmanager
def started(command: list[str], log: Path, environment: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=os.environ | (environment or {}))
    try:
        yield process
    finally:
        process.kill()
        process.wait(60)


def port_in(log: Path, pattern: str) -> int:
    deadline = time.monotonic() + PATIENCE_S
    while not (found := re.search(pattern, log.read_text())):
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    return int(found[1])


def answers(port: int, host: str = "127.0.0.1") -> bool:
    with contextlib.suppress(OSError):
        try:
            with urllib.request.urlopen(f"http://{host}:{port}/login", timeout=10) as page:
                return bool(page.status == 200)
        except urllib.error.HTTPError:
            return False
    return False


def eventually(port: int, *, up: bool) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while answers(port) != up:
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_the_report_server_ends_with_what_lamm_up_has_become(tmp_path: Path, stop: signal.Signals) -> None:
    World(tmp_path / "root")
    command = ["env", "--default-signal=INT", sys.executable, "-c", STARTER, str(tmp_path / "root")]
    with started(command, tmp_path / "log") as process:
        port = port_in(tmp_path / "log", r"^(\d+)\n")
        eventually(port, up=True)
        assert Site(port).get("/api/recordings").content["total"] == 1
        process.send_signal(stop)
        eventually(port, up=False)


def test_what_was_started_in_the_background_of_a_script_can_be_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    became: list[object] = []
    monkeypatch.setattr(serving, "_start_report_server", lambda *_: None)
    monkeypatch.setattr(os, "execve", lambda *_: became.append(signal.getsignal(signal.SIGINT)))
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        lamm("up", "--root", tmp_path / "root", "--report-port", "0")
    finally:
        signal.signal(signal.SIGINT, before)
    assert became == [signal.SIG_DFL]


@pytest.mark.requirement("SEQ-23")
def test_the_report_server_starts_alone_and_stops_at_once(tmp_path: Path) -> None:
    World(tmp_path / "root")
    command = ["env", "--default-signal=INT", *PROGRAM, "reports", "--root", str(tmp_path / "root"), "--port", "0"]
    with started(command, tmp_path / "log") as process:
        port = port_in(tmp_path / "log", r"http://127\.0\.0\.1:(\d+)")
        eventually(port, up=True)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) in (0, 130, -signal.SIGINT)


def test_the_token_is_in_no_log(tmp_path: Path) -> None:
    World(tmp_path / "root")
    command = [*PROGRAM, "reports", "--root", str(tmp_path / "root"), "--host", "0.0.0.0", "--port", "0", "--log-level", "debug"]  # noqa: S104
    with started(command, tmp_path / "log", {"LAMM_REPORT_TOKEN": TOKEN}):
        port = port_in(tmp_path / "log", r"http://0\.0\.0\.0:(\d+)")
        eventually(port, up=True)
        site = Site(port)
        assert site.get("/api/recordings").status == 401
        assert site.get(f"/api/recordings?token={TOKEN}").status == 401
        assert site.post("/login", {"token": TOKEN}).status == 200
        assert site.get("/api/recordings", Authorization=f"Bearer {TOKEN}").status == 200
        assert site.get("/api/recordings/%00", Authorization=f"Bearer {TOKEN}").status == 404
    assert TOKEN not in (tmp_path / "log").read_text()


def test_what_cannot_be_started_is_told_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "set LAMM_REPORT_TOKEN" in refused("reports", "--root", tmp_path, "--host", "0.0.0.0", "--port", "0")  # noqa: S104
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert "Choose another port" in refused("reports", "--root", tmp_path, "--port", port)
        assert "Choose another port" in refused("up", "--root", tmp_path, "--report-port", port)
    monkeypatch.setenv("LAMM_REPORT_TOKEN", "short")
    assert "at least 16" in refused("reports", "--root", tmp_path)
    assert "at least 16" in refused("up", "--root", tmp_path)
