"""The artifact store on a local or mounted disk."""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lamm_pipeline.storage.artifacts import MANIFEST, RUN, Artifact, ArtifactKey, FileEntry, Identity, Manifest, read_manifest
from lamm_pipeline.storage.atomic import fsync_folder, sha256_file, write_json
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline.streaming import default_workers

CURRENT = "current.json"
PARTIAL = ".partial"


class LocalStore:
    """Artifacts under `root`. Publishing is fsync + rename, so a kill at any moment leaves no half artifact visible."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def current(self, key: ArtifactKey) -> Artifact | None:
        """See `ArtifactStore.current`."""
        pointer = self.root / key.path / CURRENT
        if not pointer.is_file():
            return None
        return self.find(key, json.loads(pointer.read_text())["version"])

    def find(self, key: ArtifactKey, version: str) -> Artifact | None:
        """See `ArtifactStore.find`."""
        folder = self.root / key.path / version
        if not (folder / MANIFEST).is_file():
            return None
        return Artifact(key, read_manifest(folder / MANIFEST), folder)

    def versions(self, key: ArtifactKey) -> list[str]:
        """See `ArtifactStore.versions`."""
        manifests = sorted((self.root / key.path).glob(f"*/{MANIFEST}"), key=lambda path: (path.stat().st_mtime_ns, path))
        return [path.parent.name for path in manifests if not path.parent.name.endswith(PARTIAL)]

    def make_current(self, artifact: Artifact) -> None:
        """See `ArtifactStore.make_current`."""
        write_json(self.root / artifact.key.path / CURRENT, {"version": artifact.version})

    @contextmanager
    def draft(self, key: ArtifactKey, version: str, *, restart: bool = False) -> Iterator[Draft]:
        """See `ArtifactStore.draft`. A second writer of the same version waits until the first one ends."""
        folder = self.root / key.path / f"{version}{PARTIAL}"
        folder.parent.mkdir(parents=True, exist_ok=True)
        with (folder.parent / f".{version}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if restart and folder.exists():
                shutil.rmtree(folder)
            draft = Draft.open(folder)
            try:
                yield draft
            finally:
                draft.close()

    def publish(self, key: ArtifactKey, draft: Draft, identity: Identity, counts: Mapping[str, Any], run: Mapping[str, Any]) -> Artifact:
        """See `ArtifactStore.publish`."""
        draft.finish()
        version = identity.version
        manifest = Manifest(version, identity, counts, _make_durable(draft.directory))
        write_json(draft.directory / RUN, run)
        write_json(draft.directory / MANIFEST, manifest.to_json())
        folder = self.root / key.path / version
        if folder.exists():  # a forced re-run: the same identity, so the same bytes
            replaced = folder.with_name(f"{version}.replaced")
            folder.rename(replaced)
            draft.directory.rename(folder)
            shutil.rmtree(replaced)
        else:
            draft.directory.rename(folder)
        fsync_folder(folder.parent)
        artifact = Artifact(key, manifest, folder)
        self.make_current(artifact)
        return artifact


def _make_durable(folder: Path) -> dict[str, FileEntry]:
    """Digest, write-protect and fsync every file below `folder`; returns them by relative name."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    with ThreadPoolExecutor(default_workers()) as pool:
        entries = dict(zip([path.relative_to(folder).as_posix() for path in files], pool.map(_seal, files), strict=True))
    for directory in [folder, *(path for path in folder.rglob("*") if path.is_dir())]:
        fsync_folder(directory)
    return entries


def _seal(path: Path) -> FileEntry:
    entry = FileEntry(path.stat().st_size, sha256_file(path))
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    path.chmod(0o444)
    return entry
