"""A process that runs one stage of one partition and may be hit by a signal at a chosen frame."""

import os
import sys
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import typer

from lamm_pipeline.cli.session import open_session
from lamm_pipeline.orchestration.progress import StageProgress

CHECKPOINT_EVERY = 4
_CONTEXT = get_context("forkserver")
_CONTEXT.set_forkserver_preload(["lamm_pipeline.definitions", "lamm_pipeline_tests.stress.victim"])


def start(
    root: Path, job: str, partition: str, asset: str, config: dict[str, Any], hit: tuple[int, int] | None = None
) -> ForkServerProcess:
    """Start the process; `hit` is (frame, signal)."""
    process = _CONTEXT.Process(target=_run, args=(root, job, partition, asset, config, hit))
    process.start()
    return process


def _run(root: Path, job: str, partition: str, asset: str, config: dict[str, Any], hit: tuple[int, int] | None) -> None:
    sys.stdout = sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - open as long as the process lives
    for name, module in list(sys.modules.items()):
        for constant in ("CHECKPOINT_EVERY", "FRAMES_PER_CHECKPOINT"):
            if name.startswith("lamm_pipeline.") and hasattr(module, constant):
                setattr(module, constant, CHECKPOINT_EVERY)
    if hit is not None:
        _aim(asset, *hit)
    try:
        with open_session(root) as session:
            session.materialize(job, partition, [asset], config)
    except typer.Exit as stopped:
        sys.exit(stopped.exit_code)


def _aim(asset: str, frame: int, signal_number: int) -> None:
    told = StageProgress.__call__

    def tell(self: StageProgress, done: int, total: int | None) -> None:
        told(self, done, total)
        if self._name == asset and done == frame:
            os.kill(os.getpid(), signal_number)

    StageProgress.__call__ = tell  # type: ignore[method-assign]
