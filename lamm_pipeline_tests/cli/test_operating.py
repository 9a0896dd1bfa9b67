"""`lamm pause, resume, cancel, restart, checkout, verify, gc`: as a person gives them, on runs that are under way, stopped or dead."""

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

from lamm_pipeline.catalog.catalog import Catalog
from lamm_pipeline.cli.session import open_session
from lamm_pipeline.errors import InputError
from lamm_pipeline.imports.taking_in import add_exports
from lamm_pipeline.orchestration.instance import add_export_partitions
from lamm_pipeline.sample.render import render_sample
from lamm_pipeline.sample.settings import SampleSettings
from lamm_pipeline_tests.command_line import PROGRAM, lamm, printed, refused
from lamm_pipeline_tests.imports.zips import members, write_zip

pytestmark = pytest.mark.usefixtures("own_environment")

FRAMES = 45
RUN = ("--stage", "extraction", "--stereo", "half", "--set", "frames.workers=1")
PATIENCE_S = 120


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recordings") / "street.svo2"
    render_sample(path, SampleSettings(frames=FRAMES, width=320, height=180))
    return path


@pytest.fixture(scope="module")
def finished(recording: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root in which the extraction ran undisturbed."""
    root = tmp_path_factory.mktemp("finished")
    subprocess.run([*PROGRAM, "run", recording, "--root", root, *RUN], check=True, capture_output=True)
    return root


def state(root: Path) -> str:
    return str(printed("status", "--root", root)[0]["run"]["state"])


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def run_to_checkpoint(recording: Path, root: Path) -> subprocess.Popen[str]:
    """A `lamm run` that stands still since its first checkpoint of `frames`."""
    process = subprocess.Popen(
        [*PROGRAM, "run", recording, "--root", root, *RUN], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    eventually(lambda: process.poll() is not None or any(root.glob("recordings/street/frames/*.partial/checkpoint.json")))
    process.send_signal(signal.SIGSTOP)
    return process


@contextmanager
def going_on_when_told_to_stop(process: subprocess.Popen[str], root: Path) -> Iterator[None]:
    """Let a process that stands still go on as soon as somebody tells its run to stop."""

    def go_on() -> None:
        eventually(lambda: any(root.glob("dagster/running/*.stop.json")))
        process.send_signal(signal.SIGCONT)

    waiting = Thread(target=go_on)
    waiting.start()
    yield
    waiting.join()


def manifests(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.glob("recordings/*/*/*/manifest.json")}


def units(root: Path) -> int:
    [path] = root.glob("recordings/street/frames/*/run.json")
    return int(json.loads(path.read_text())["units"])


@pytest.mark.requirement("STA-05", "STA-06")
def test_a_run_is_paused_from_another_terminal_and_resumed_to_the_same_bytes(recording: Path, finished: Path, tmp_path: Path) -> None:
    process = run_to_checkpoint(recording, tmp_path)
    assert "is running" in refused("resume", "street", "--root", tmp_path)
    with going_on_when_told_to_stop(process, tmp_path):
        paused = printed("pause", "street", "--root", tmp_path, "--as", "eve")
    assert (paused["partition"], paused["state"]) == ("street", "paused")
    assert "paused by eve" in process.communicate(timeout=PATIENCE_S)[1]
    assert process.returncode == 1
    assert state(tmp_path) == "paused"
    before = manifests(tmp_path)
    assert before.keys() < manifests(finished).keys()
    resumed = printed("resume", paused["run"][:8], "--root", tmp_path)
    assert resumed["state"] == "complete"
    assert units(tmp_path) <= FRAMES - 25
    assert manifests(tmp_path) == manifests(finished)
    assert "nothing left to do" in refused("pause", "street", "--root", tmp_path)
    events = Catalog(f"sqlite:///{tmp_path / 'catalog.sqlite'}").audit.events("street")
    assert [(event.actor, event.action) for event in events if event.action.startswith("run.")] == [
        ("eve", "run.pause"),
        ("ada", "run.resume"),
    ]


@pytest.mark.requirement("STA-05", "STA-07")
def test_a_killed_run_is_known_as_failed_and_can_be_resumed(recording: Path, finished: Path, tmp_path: Path) -> None:
    process = run_to_checkpoint(recording, tmp_path)
    process.kill()
    process.communicate()
    assert state(tmp_path) == "failed"
    assert "is failed, so one cannot cancel it" in refused("cancel", "street", "--root", tmp_path)
    assert printed("resume", "street", "--root", tmp_path)["state"] == "complete"
    assert units(tmp_path) <= FRAMES - 25
    assert manifests(tmp_path) == manifests(finished)


@pytest.mark.requirement("STA-06", "STA-07")
def test_a_canceled_run_leaves_no_draft_and_can_only_be_restarted(recording: Path, finished: Path, tmp_path: Path) -> None:
    process = run_to_checkpoint(recording, tmp_path)
    with going_on_when_told_to_stop(process, tmp_path):
        canceled = printed("cancel", "street", "--root", tmp_path)
    process.communicate(timeout=PATIENCE_S)
    assert canceled["state"] == "canceled"
    assert len(canceled["dropped"]) == 1
    assert not list(tmp_path.glob("recordings/*/*/*.partial"))
    for action in ("resume", "cancel", "pause"):
        assert "Restart it" in refused(action, "street", "--root", tmp_path)
    assert printed("restart", "street", "--root", tmp_path)["state"] == "complete"
    assert units(tmp_path) == FRAMES
    assert manifests(tmp_path) == manifests(finished)


def test_ctrl_c_stops_a_run_at_once_and_a_paused_one_can_be_canceled(recording: Path, tmp_path: Path) -> None:
    process = run_to_checkpoint(recording, tmp_path)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGCONT)
    assert "lamm resume street" in process.communicate(timeout=PATIENCE_S)[1]
    assert process.returncode == 130
    assert state(tmp_path) == "paused"
    assert printed("cancel", "street", "--root", tmp_path)["state"] == "canceled"
    assert not list(tmp_path.glob("recordings/*/*/*.partial"))


def test_what_was_never_run_is_refused_with_a_sentence(tmp_path: Path) -> None:
    for action in ("pause", "resume", "cancel", "restart"):
        assert "'gone' is neither a run nor" in refused(action, "gone", "--root", tmp_path)


def test_what_failed_after_materialize_in_the_ui_goes_on_whatever_asset_it_was(tmp_path: Path) -> None:
    export = write_zip(tmp_path / "drive.zip", members())
    with open_session(tmp_path / "root") as session:
        add_exports(session.workspace.catalog, [export], "ada")
        add_export_partitions(session.instance, ["drive"])
        export.rename(tmp_path / "elsewhere.zip")
        with pytest.raises(InputError, match=r"drive\.zip"):
            session.materialize("__ASSET_JOB", "drive", ["annotation_export"])
    (tmp_path / "elsewhere.zip").rename(export)
    assert "complete" in lamm("resume", "drive", "--root", tmp_path / "root").stdout
    [row] = printed("import", "--list", "--root", tmp_path / "root")
    assert row["frames"] == 3, row


@pytest.fixture
def root(finished: Path, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    shutil.copytree(finished, tmp_path / "root")
    return tmp_path / "root"


@pytest.mark.requirement("EXT-07")
def test_checkout_lays_a_recording_out_as_one_tree_that_can_be_edited(root: Path, tmp_path: Path) -> None:
    made = printed("checkout", "street", tmp_path / "out", "--root", root)
    tree = tmp_path / "out" / "street"
    assert Path(made["folder"]) == tree
    assert made["linked"] + made["copied"] == sum(path.is_file() for path in tree.rglob("*"))
    assert (tree / "image_left" / "000000.png").stat().st_nlink == 2
    (tree / "calib.txt").write_text("edited")
    assert printed("verify", "--root", root)["damage"] == []
    assert "exists already" in refused("checkout", "street", tmp_path / "out", "--root", root)
    assert "'gone'" in refused("checkout", "gone", tmp_path / "out", "--root", root)


def test_verify_names_what_is_damaged_missing_or_foreign(root: Path) -> None:
    clean = printed("verify", "street", "--root", root)
    assert clean["damage"] == []
    assert clean["artifacts"] == 3
    assert clean["files"] == sum(len(json.loads(content)["files"]) for content in manifests(root).values())
    [frames] = root.glob("recordings/street/frames/*/image_left")
    (frames / "000003.png").unlink()
    (frames / "note.txt").write_text("x")
    for name, change in (("000001.png", lambda data: data[:-1] + bytes([data[-1] ^ 1])), ("000002.png", lambda data: data[:-1])):
        (frames / name).chmod(0o644)
        (frames / name).write_bytes(change((frames / name).read_bytes()))
    found = {row["file"].removeprefix("image_left/"): row["problem"] for row in printed("verify", "--root", root, code=1)["damage"]}
    assert found.keys() == {"000001.png", "000002.png", "000003.png", "note.txt"}
    assert found["000001.png"] == "has another content"
    assert found["000003.png"] == "is missing"
    told = lamm("verify", "street", "--root", root, code=1)
    assert "note.txt" in told.stdout
    assert "Files that were not published can be deleted" in told.stderr
    assert "--set ASSET.force=true" in told.stderr
    assert "Nothing is published of 'gone'" in refused("verify", "gone", "--root", root)


def test_gc_shows_first_and_removes_only_what_nothing_refers_to(root: Path) -> None:
    lamm("run", "street", "--root", root, "--stage", "extraction", "--stereo", "half", "--end", "5")
    superseded = {row["path"] for row in printed("gc", "--root", root)["garbage"] if not row["path"].endswith(".lock")}
    assert {Path(path).parts[2] for path in superseded} == {"frames", "diversity_metrics"}
    assert all((root / path).is_dir() for path in superseded)
    assert "Nothing was removed" in lamm("gc", "--root", root).stderr
    removed = printed("gc", "--root", root, "--yes")
    assert removed["removed"] is True
    assert removed["bytes"] > 0
    assert not any((root / path).exists() for path in superseded)
    assert printed("gc", "--root", root)["garbage"] == []
    assert printed("verify", "--root", root)["damage"] == []
    assert Catalog(f"sqlite:///{root / 'catalog.sqlite'}").audit.events()[-1].action == "gc"
