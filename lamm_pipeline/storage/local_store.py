"""The artifact store on a local or mounted disk. Drafts lie beside what is published, and are published by a rename."""

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

from lamm_pipeline.storage.artifacts import (
    CURRENT,
    MANIFEST,
    RUN,
    Artifact,
    ArtifactKey,
    Garbage,
    Identity,
    Manifest,
    Source,
    StoredFile,
    read_manifest,
)
from lamm_pipeline.storage.atomic import sha256_file, write_json
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline.storage.drafts import PARTIAL, REPLACED, Drafts, put_in_place, remove_from_disk, seal, size_on_disk


class LocalStore:
    """Artifacts under `root`. Publishing is a sync of the disk and a rename, so a kill at any moment leaves no half artifact visible."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.drafts = Drafts(root)

    def current(self, key: ArtifactKey) -> Artifact | None:
        """See `ArtifactStore.current`."""
        version = self.current_version(key)
        return None if version is None else self.find(key, version)

    def current_version(self, key: ArtifactKey) -> str | None:
        """See `ArtifactStore.current_version`."""
        pointer = self.root / key.path / CURRENT
        return str(json.loads(pointer.read_text())["version"]) if pointer.is_file() else None

    def find(self, key: ArtifactKey, version: str) -> Artifact | None:
        """See `ArtifactStore.find`."""
        folder = self.root / key.path / version
        if not (folder / MANIFEST).is_file():
            return None
        return Artifact(key, read_manifest(folder / MANIFEST), folder)

    def versions(self, key: ArtifactKey) -> list[str]:
        """See `ArtifactStore.versions`."""
        manifests = sorted((self.root / key.path).glob(f"*/{MANIFEST}"), key=lambda path: (path.stat().st_mtime_ns, path))
        return [path.parent.name for path in manifests if path.parent.suffix != REPLACED]

    def make_current(self, artifact: Artifact) -> None:
        """See `ArtifactStore.make_current`."""
        write_json(self.root / artifact.key.path / CURRENT, {"version": artifact.version})

    def all_keys(self) -> list[ArtifactKey]:
        """See `ArtifactStore.all_keys`."""
        return self.drafts.keys()

    def drop_drafts(self, key: ArtifactKey) -> list[str]:
        """See `ArtifactStore.drop_drafts`."""
        return self.drafts.drop(key)

    def draft(self, key: ArtifactKey, version: str, *, restart: bool = False) -> AbstractContextManager[Draft]:
        """See `ArtifactStore.draft`."""
        return self.drafts.open(key, version, restart=restart)

    def publish(
        self,
        key: ArtifactKey,
        draft: Draft,
        identity: Identity,
        counts: Mapping[str, Any],
        run: Mapping[str, Any],
        sources: Sequence[Source] = (),
    ) -> Artifact:
        """See `ArtifactStore.publish`."""
        draft.close()
        manifest = Manifest(identity.version, identity, counts, seal(draft.directory), tuple(sources))
        write_json(draft.directory / RUN, run)
        write_json(draft.directory / MANIFEST, manifest.to_json())
        folder = self.root / key.path / identity.version
        partial_folder = draft.directory.parent
        put_in_place(draft, folder)
        artifact = Artifact(key, manifest, folder)
        self.make_current(artifact)
        shutil.rmtree(partial_folder)
        return artifact

    def run(self, artifact: Artifact) -> Mapping[str, Any] | None:
        """See `ArtifactStore.run`."""
        path = artifact.folder / RUN
        return dict(json.loads(path.read_text())) if path.is_file() else None

    def link(self, artifact: Artifact, name: str, seconds: int = 3600) -> str | None:  # noqa: ARG002  the protocol's
        """See `ArtifactStore.link`. There is none: files of a disk are shown by the report server."""
        return None

    def contents(self, artifact: Artifact) -> dict[str, StoredFile]:
        """See `ArtifactStore.contents`."""
        files = [path for path in artifact.folder.rglob("*") if path.is_file()]
        states = {path.relative_to(artifact.folder).as_posix(): path.stat() for path in files}
        return {
            name: StoredFile(state.st_size, (state.st_dev, state.st_ino)) for name, state in states.items() if name not in {MANIFEST, RUN}
        }

    def digest(self, artifact: Artifact, name: str) -> str:
        """See `ArtifactStore.digest`."""
        return sha256_file(artifact.folder / name)

    def held(self, keys: Iterable[ArtifactKey]) -> AbstractContextManager[bool]:
        """See `ArtifactStore.held`."""
        return self.drafts.held(keys)

    def garbage(self, key: ArtifactKey, kept: set[str], oldest: float) -> Iterator[Garbage]:
        """See `ArtifactStore.garbage`."""
        for folder in sorted((self.root / key.path).iterdir()):
            if not folder.is_dir() or folder.suffix in {PARTIAL, REPLACED}:
                continue
            reason = None
            if not (folder / MANIFEST).is_file():
                reason = "left by a removal that was cut off"
            elif folder.name not in kept:
                reason = "not in force, pinned by no dataset version, and nothing kept was made from it"
            if reason is not None:
                yield Garbage(str(folder), reason, size_on_disk(folder), partial(remove_from_disk, folder))
        yield from self.drafts.garbage(key, lambda version: self.find(key, version) is not None, oldest)

    def remove(self, key: ArtifactKey) -> int:
        """See `ArtifactStore.remove`."""
        folder = self.root / key.path
        size = size_on_disk(folder)
        (folder / CURRENT).unlink(missing_ok=True)
        for version in [path for path in folder.glob("*") if path.is_dir()]:
            remove_from_disk(version)
        shutil.rmtree(folder, ignore_errors=True)
        return size
