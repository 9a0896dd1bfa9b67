"""A root in which the whole job ran undisturbed, and copies of it that lack one stage."""

import json
import os
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lamm_pipeline.cli.importing import import_files
from lamm_pipeline.cli.session import open_session
from lamm_pipeline.datasets.settings import DatasetSettings, ExportFormat
from lamm_pipeline.orchestration.instance import add_recording_partitions
from lamm_pipeline.recordings.ingest import add_files
from lamm_pipeline.sample.render import render_sample
from lamm_pipeline.sample.settings import SampleSettings
from lamm_pipeline.storage.artifacts import Artifact, ArtifactKey
from lamm_pipeline.storage.local_store import LocalStore
from lamm_pipeline.streaming import no_progress
from lamm_pipeline.uncertainty.ground_ensemble import write_ensemble
from lamm_pipeline.uncertainty.taking_in import add_evaluation
from lamm_pipeline_tests.imports.zips import a_frame, members, write_zip

RECORDING = "street"
VERSION = "street.v1"
ASSETS = ["recording", "frames", "detections", "boxes_3d", "tracks", "mask_candidates", "masklets"]
SCOPES = ("recordings", "datasets", "annotation_exports")
UNCERTAINTY, IMPORT = "frame_uncertainty", "annotation_export"
EXPORT = "drive"
CONFIG: dict[str, Any] = {"frames": {"stereo": {"quality": "half"}}, "detections": {"tiles": "full"}}


@dataclass(frozen=True)
class World:
    """One root."""

    root: Path

    @cached_property
    def store(self) -> LocalStore:
        return LocalStore(self.root)

    def key(self, asset: str) -> ArtifactKey:
        if asset == IMPORT:
            return ArtifactKey("annotation_exports", EXPORT, asset)
        of_recording = asset in (*ASSETS, UNCERTAINTY)
        return ArtifactKey("recordings", RECORDING, asset) if of_recording else ArtifactKey("datasets", VERSION, asset)

    def job(self, asset: str) -> str:
        """The job that makes an asset."""
        others = {IMPORT: "import_exports", UNCERTAINTY: "uncertainty"}
        return others.get(asset, "production" if asset in ASSETS else "export")

    def artifact(self, asset: str) -> Artifact:
        found = self.store.current(self.key(asset))
        assert found is not None
        return found

    def run(self, asset: str) -> dict[str, Any]:
        """What `run.json` tells about the run that made an artifact."""
        facts: dict[str, Any] = json.loads((self.artifact(asset).folder / "run.json").read_text())
        return facts

    def checkpointed(self, asset: str) -> int:
        """How many frames the stage's draft has behind its checkpoint."""
        [*found] = (self.root / self.key(asset).path).glob("*.partial/checkpoint.json")
        return int(json.loads(found[0].read_text())["state"]["done"]) if found else 0

    def published(self) -> dict[str, bytes]:
        """The whole published tree: every manifest (with the digests of all files) and every pointer to the version in force."""
        return {
            path.relative_to(self.root).as_posix(): path.read_bytes()
            for scope in SCOPES
            for path in (self.root / scope).rglob("*.json")
            if path.name in ("manifest.json", "current.json")
        }

    def without(self, asset: str, root: Path) -> "World":
        """A copy in which the stage has not run."""

        def link(source: str, target: str) -> None:
            os.link(source, target)

        for scope in SCOPES:
            shutil.copytree(self.root / scope, root / scope, copy_function=link, ignore=shutil.ignore_patterns("*.lock"))
        shutil.copytree(self.root / "dagster", root / "dagster")
        shutil.copyfile(self.root / "catalog.sqlite", root / "catalog.sqlite")
        copy = World(root)
        shutil.rmtree(root / copy.key(asset).path)
        return copy


def undisturbed(folder: Path, frames: int) -> World:
    """Run the whole job on a small sample."""
    sample = folder / "in" / f"{RECORDING}.svo2"
    render_sample(sample, SampleSettings(frames=frames, width=320, height=180))
    root = folder / "root"
    with open_session(root) as session:
        add_recording_partitions(session.instance, [row.key for row in add_files(session.workspace.catalog, [sample], "ada")])
        session.materialize("production", RECORDING, ASSETS, CONFIG)
        settings = DatasetSettings.model_validate({"filters": {"empty_frames": "keep_as_negative"}, "formats": list(ExportFormat)})
        assert session.create_version(RECORDING, [RECORDING], settings) == VERSION
        write_ensemble(folder / "predictions" / "ground", session.workspace.recording_artifact(RECORDING, "frames"), progress=no_progress)
        add_evaluation(session.workspace.catalog, folder / "predictions" / "ground", "ada")
        session.materialize("uncertainty", RECORDING, [UNCERTAINTY])
        import_files(session, [write_zip(folder / f"{EXPORT}.zip", members([a_frame(index) for index in range(frames)]))], {})
    return World(root)
