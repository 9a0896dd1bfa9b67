"""Kill and stop every stage at seeded points: what is published afterwards is what an undisturbed run publishes.

A few points in every run of the tests; `make stress` has twenty kills and twenty interruptions for each stage.
"""

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamm_pipeline.orchestration.instance import dagster_home, open_instance
from lamm_pipeline.orchestration.runs import RunState, newest_run, state_of
from lamm_pipeline.storage.verify import verify
from lamm_pipeline_tests.stress.victim import CHECKPOINT_EVERY, start
from lamm_pipeline_tests.stress.worlds import CONFIG, World, undisturbed

FRAMES = 26
STAGES = (
    *("frames", "detections", "boxes_3d", "tracks", "masklets", "frame_uncertainty", "annotation_export", "curated_dataset"),
    *("kitti_dataset", "coco_dataset", "llava_dataset"),
)
WITHOUT_FRAMES = ("huggingface_dataset", "sam2_dataset")
"""Their checkpoints are files that are full, not numbers of frames."""
SIGNALS = {"kill": signal.SIGKILL, "interrupt": signal.SIGINT, "terminate": signal.SIGTERM}
FEW = {*(("kill", asset) for asset in STAGES), ("interrupt", "frames"), ("interrupt", "tracks")}
BY_FRAME, BY_TIME = 10, 10
PATIENCE_S = 120


def points() -> list[object]:
    """Stage, kind and number of every point by frame; but for one kill a stage and two interruptions they are for `make stress`."""
    return [
        pytest.param(asset, kind, number, marks=() if number == 0 and (kind, asset) in FEW else pytest.mark.stress)
        for asset in STAGES
        for kind in ("kill", "interrupt")
        for number in range(BY_FRAME)
    ]


@pytest.fixture(scope="module", autouse=True)
def _no_outside_settings() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("LAMM_ROOT", "LAMM_CATALOG_URL", "LAMM_CALIBRATION_DIR", "LAMM_ONTOLOGY"):
            patch.delenv(name, raising=False)
        patch.setenv("DAGSTER_HOME", "")  # opening a session sets it; the former value comes back
        yield


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return undisturbed(tmp_path_factory.mktemp("undisturbed"), FRAMES)


@pytest.fixture(autouse=True)
def _instance_in_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)


def hit(world: World, asset: str, *, frame: tuple[int, int] | None = None, moment: tuple[float, int] | None = None) -> int | None:
    """Run the stage in a process of its own, hit at a frame or at a moment of its work; returns the exit code."""
    key = world.key(asset)
    process = start(world.root, world.job(asset), key.partition, asset, CONFIG, frame)
    if moment is not None:
        delay_s, signal_number = moment
        folder, deadline = world.root / key.path, time.monotonic() + PATIENCE_S
        while not any(folder.glob("*.partial")) and not any(folder.glob("*/manifest.json")) and time.monotonic() < deadline:
            time.sleep(0.001)
        process.join(delay_s)
        if process.is_alive() and process.pid is not None:
            os.kill(process.pid, signal_number)
    process.join(PATIENCE_S)
    return process.exitcode


def state(world: World, asset: str) -> RunState:
    with open_instance(world.root) as instance:
        run = newest_run(instance, world.key(asset).partition)
        assert run is not None
        return state_of(dagster_home(world.root), run)


def goes_on_to_the_same_tree(cut: World, world: World, asset: str) -> None:
    """The stage is run again and ends as if nothing had happened, without the frames before its checkpoint."""
    done = cut.checkpointed(asset)
    published = cut.store.current(cut.key(asset)) is not None
    assert hit(cut, asset) == 0
    if not published and asset not in WITHOUT_FRAMES:
        assert cut.run(asset)["units"] == world.run(asset)["units"] - done
    assert cut.published() == world.published()
    assert verify(cut.store).damage == ()


@pytest.mark.requirement("STA-05", "NFR-10", "AV-21")
@pytest.mark.parametrize(("asset", "kind", "number"), points())
def test_a_stage_hit_at_any_frame_goes_on_at_its_checkpoint(world: World, tmp_path: Path, asset: str, kind: str, number: int) -> None:
    frame = random.Random(f"{asset} {kind} {number}").randint(1, world.run(asset)["units"])
    cut = world.without(asset, tmp_path / "root")
    code = hit(cut, asset, frame=(frame, SIGNALS[kind]))
    assert code == (-signal.SIGKILL if kind == "kill" else 130)
    assert state(cut, asset) is (RunState.failed if kind == "kill" else RunState.paused)
    assert cut.store.versions(cut.key(asset)) == []
    assert cut.checkpointed(asset) == (frame - 1) // CHECKPOINT_EVERY * CHECKPOINT_EVERY
    goes_on_to_the_same_tree(cut, world, asset)


@pytest.mark.stress
@pytest.mark.parametrize("asset", [*STAGES, *WITHOUT_FRAMES])
@pytest.mark.parametrize("kind", ["kill", "terminate"])
@pytest.mark.parametrize("number", range(BY_TIME))
def test_a_stage_hit_at_any_moment_shows_nothing_half_done(world: World, tmp_path: Path, asset: str, kind: str, number: int) -> None:
    share = random.Random(f"{asset} {kind} {number}").random()
    cut = world.without(asset, tmp_path / "root")
    hit(cut, asset, moment=(share * world.run(asset)["seconds"], SIGNALS[kind]))
    assert state(cut, asset) in (RunState.failed if kind == "kill" else RunState.paused, RunState.complete)
    visible = cut.published()
    assert {name: content for name, content in world.published().items() if name in visible} == visible
    assert verify(cut.store).damage == ()
    goes_on_to_the_same_tree(cut, world, asset)
