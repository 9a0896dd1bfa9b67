"""What needs Dagster's daemon: runs that wait for a pool, and runs that the daemon executes and `lamm` pauses."""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster_graphql import DagsterGraphQLClient

from lamm_pipeline.orchestration.instance import open_instance
from lamm_pipeline.sample.render import render_sample
from lamm_pipeline.sample.settings import SampleSettings
from lamm_pipeline_tests.command_line import PROGRAM, printed

pytestmark = [pytest.mark.stress, pytest.mark.usefixtures("own_environment")]

FRAMES = 160
HELD_BACK_S = 25
PATIENCE_S = 240


@dataclass(frozen=True)
class Live:
    """A root with `lamm up` on it."""

    root: Path
    client: DagsterGraphQLClient

    def launch(self, recording: str, config: dict[str, Any]) -> str:
        return self.client.submit_job_execution(
            "production",
            tags={"dagster/partition": recording},
            run_config={"ops": config},
            asset_selection=[dg.AssetKey("frames")],
        )

    def status(self, run_id: str) -> dg.DagsterRunStatus:
        return self.client.get_run_status(run_id)

    def lamm(self, *arguments: str) -> Any:
        # in this process: the start of another one takes as long as the run that it is to meet
        return printed(*arguments, "--root", self.root)


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("live")
    root = folder / "root"
    for name in ("first", "second"):
        render_sample(folder / f"{name}.svo2", SampleSettings(frames=FRAMES, width=320, height=180, seed=len(name)))
        run = [*PROGRAM, "run", folder / f"{name}.svo2", "--root", root, "--stage", "extraction", "--end", "2"]
        subprocess.run(run, check=True, stdout=subprocess.DEVNULL)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with (folder / "log").open("w") as log:
        # a test runner in the background may ignore SIGINT, and its children would inherit that
        command = ["env", "--default-signal=INT", *PROGRAM, "up", "--root", str(root), "--port", str(port), "--report-port", "0"]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield Live(root, _connect(port))
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def _connect(port: int) -> DagsterGraphQLClient:
    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/server_info"):
                return True
        except OSError:
            return False

    eventually(answers)
    return DagsterGraphQLClient("127.0.0.1", port_number=port)


def set_pool(root: Path, limit: int) -> None:
    os.environ.pop("DAGSTER_HOME", None)
    with open_instance(root) as instance:
        instance.event_log_storage.set_concurrency_slots("io", limit)


@pytest.mark.requirement("STA-06")
def test_a_pool_of_no_places_holds_a_run_back_until_it_is_raised(live: Live) -> None:
    set_pool(live.root, 0)
    run_id = live.launch("first", {})
    until = time.monotonic() + HELD_BACK_S
    while time.monotonic() < until:
        assert live.status(run_id) is dg.DagsterRunStatus.QUEUED
        time.sleep(1)
    set_pool(live.root, 2)
    eventually(lambda: live.status(run_id) is dg.DagsterRunStatus.SUCCESS)


@pytest.mark.requirement("STA-05", "STA-06")
def test_a_run_of_the_daemon_is_paused_and_resumed_from_its_checkpoint(live: Live) -> None:
    run_id = live.launch("second", {"frames": {"config": {"workers": 1}}})
    eventually(lambda: any(live.root.glob("recordings/second/frames/*.partial/checkpoint.json")))
    paused = live.lamm("pause", "second")
    assert (paused["run"], paused["state"]) == (run_id, "paused")
    assert live.status(run_id) is dg.DagsterRunStatus.CANCELED
    assert live.lamm("resume", "second")["state"] == "complete"
    made = [json.loads(path.read_text()) for path in live.root.glob("recordings/second/frames/*/run.json")]
    first, resumed = sorted(facts["units"] for facts in made)
    assert first == 2
    assert resumed <= FRAMES - 25
