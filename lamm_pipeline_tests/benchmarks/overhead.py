"""What versions, manifests, digests and events add to the stages' own work in an in-process run, and what starting a step takes."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from lamm_pipeline.orchestration.stages import STAGES, assets_of
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline.storage.local_store import LocalStore
from lamm_pipeline_tests.benchmarks.harness import Means, Row, Took, now
from lamm_pipeline_tests.benchmarks.house import House, house
from lamm_pipeline_tests.benchmarks.recordings import recording

ASSETS = assets_of(STAGES)


def run(means: Means) -> list[Row]:
    width, height, frames = (320, 180, 4) if means.tiny else (1280, 720, 300)
    job, steps = ("curate", ["selection"]) if means.tiny else ("production", ASSETS)
    path = recording(means.cache, width, height, frames)
    import lamm_pipeline.definitions  # noqa: F401 - loading them is no part of a run

    with house(means.folder / "root", path) as home:
        with _watched() as watch:
            began = now()
            home.run(ASSETS)
            total = now() - began
        outside = total - watch["work"]
        idle = [_idle_step_seconds(home, job, steps, in_process=in_process) for in_process in (True, False)]
    note = f"reference: the whole run, {frames} frames of {width}x{height}, {len(ASSETS)} steps"
    return [
        Row("seconds outside the stages' work", outside.wall, total.wall, at_most=0.03, note=note),
        Row("CPU seconds outside the stages' work", outside.cpu, total.cpu),
        Row("of them publishing: digests, sync, manifests", watch["publishing"].wall, total.wall),
        Row("seconds of checkpoints, within the work", watch["checkpoints"].wall, total.wall),
        Row("seconds a step with nothing to do, in_process", idle[0], note="versions, events, checks"),
        Row("seconds a step with nothing to do, multiprocess", idle[1], note="and the start of its process"),
    ]


@contextmanager
def _watched() -> Iterator[dict[str, Took]]:
    """Time of the work on drafts, of the checkpoints within it, and of publishing."""
    spent = {name: Took(0.0, 0.0) for name in ("work", "checkpoints", "publishing")}
    draft, publish, checkpoint = LocalStore.draft, LocalStore.publish, Draft.checkpoint
    since: list[Took] = []

    @contextmanager
    def watched_draft(*arguments: Any, **options: Any) -> Iterator[Draft]:
        with draft(*arguments, **options) as opened:
            since[:] = [now()]
            yield opened

    def watched_publish(*arguments: Any) -> Any:
        began = now()
        spent["work"] += began - since[0]
        published = publish(*arguments)
        spent["publishing"] += now() - began
        return published

    def watched_checkpoint(of: Draft, state: Mapping[str, Any]) -> None:
        began = now()
        checkpoint(of, state)
        spent["checkpoints"] += now() - began

    with (
        patch.object(LocalStore, "draft", watched_draft),
        patch.object(LocalStore, "publish", watched_publish),
        patch.object(Draft, "checkpoint", watched_checkpoint),
    ):
        yield spent


def _idle_step_seconds(home: House, job: str, steps: Sequence[str], *, in_process: bool) -> float:
    """Run time of a step of a job that finds its version published."""
    if in_process:
        home.session.materialize(job, home.key, steps)
    else:
        command = [sys.executable, "-m", "dagster", "job", "execute", "-m", "lamm_pipeline.definitions", "-j", job]
        tags = ["--tags", json.dumps({"dagster/partition": home.key})]
        environment = os.environ | {"LAMM_ROOT": str(home.session.settings.root), "LAMM_EXECUTOR": "multiprocess"}
        subprocess.run([*command, *tags], check=True, env=environment, capture_output=True)
    record = home.session.instance.get_run_records(limit=1)[0]
    assert record.start_time is not None
    assert record.end_time is not None
    return (record.end_time - record.start_time) / len(steps)
