"""Running recordings as `lamm` does, in this process or in one of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lamm_pipeline.cli.session import Session, open_session
from lamm_pipeline.orchestration.instance import add_recording_partitions
from lamm_pipeline.recordings.ingest import add_files
from lamm_pipeline.storage.artifacts import RUN, Artifact, ArtifactKey
from lamm_pipeline_tests.benchmarks import lamm_worker


@dataclass(frozen=True)
class House:
    """A root with one recording in it."""

    session: Session
    key: str

    def run(self, assets: Sequence[str], config: Mapping[str, Any] | None = None) -> None:
        self.session.materialize("production", self.key, assets, config)

    def artifact(self, asset: str) -> Artifact:
        found = self.session.workspace.store.current(ArtifactKey("recordings", self.key, asset))
        assert found is not None
        return found

    def work_seconds(self, asset: str) -> float:
        """Wall time of the asset's own work, without what surrounds it."""
        return float(json.loads((self.artifact(asset).folder / RUN).read_text())["seconds"])


@contextmanager
def house(root: Path, recording: Path) -> Iterator[House]:
    """Open a root and take the recording in."""
    before = os.environ.get("DAGSTER_HOME")
    try:
        with open_session(root) as session:
            key = add_files(session.workspace.catalog, [recording], "bench")[0].key
            add_recording_partitions(session.instance, [key])
            yield House(session, key)
    finally:
        os.environ.pop("DAGSTER_HOME", None)
        if before is not None:
            os.environ["DAGSTER_HOME"] = before


def lamm(report: Path, *arguments: str | Path) -> dict[str, float]:
    """Run `lamm` in a process of its own; returns its peak memory in bytes."""
    with report.with_suffix(".log").open("w") as log:
        command = [sys.executable, "-m", lamm_worker.__name__, report, *arguments]
        if subprocess.run(command, stdout=log, stderr=log, check=False).returncode:
            raise RuntimeError(f"lamm {' '.join(map(str, arguments))} failed: {report.with_suffix('.log').read_text()[-2000:]}")
    facts: dict[str, float] = json.loads(report.read_text())
    return facts
