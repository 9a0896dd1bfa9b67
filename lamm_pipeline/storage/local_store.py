"""The artifact store on a local or mounted disk.

    <asset>/<version>/                    published
    <asset>/<version>.partial/files/      the outputs of a draft; beside them its checkpoint and logs
    <asset>/<version>.replaced/           the former files of a version while a forced run puts new ones in their place

A draft is published by renaming `files/`, so its checkpoint lives until the version is visible: a kill at any moment costs at most the work
since the last checkpoint.
"""

import fcntl
import json
import os
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from lamm_pipeline.storage.artifacts import MANIFEST, RUN, Artifact, ArtifactKey, FileEntry, Identity, Manifest, Source, read_manifest
from lamm_pipeline.storage.atomic import TEMPORARY, fsync, fsync_folder, sha256_file, write_json
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline.streaming import default_workers

CURRENT = "current.json"
PARTIAL = ".partial"
REPLACED = ".replaced"
LOCK = ".lock"
FILES = "files"
SCOPES = ("recordings", "datasets")


class LocalStore:
    """Artifacts under `root`. Publishing is fsync + rename, so a kill at any moment leaves no half artifact visible."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def current(self, key: ArtifactKey) -> Artifact | None:
        """See `ArtifactStore.current`."""
        version = self.current_version(key)
        return None if version is None else self.find(key, version)

    def current_version(self, key: ArtifactKey) -> str | None:
        """Name of the version in force, whether it can be read or not; None when none is."""
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
        folders = (path for scope in SCOPES for path in sorted((self.root / scope).glob("*/*")) if path.is_dir())
        return [ArtifactKey(*folder.relative_to(self.root).parts) for folder in folders]

    def drop_drafts(self, key: ArtifactKey) -> list[str]:
        """See `ArtifactStore.drop_drafts`."""
        dropped = []
        for partial in sorted((self.root / key.path).glob(f"*{PARTIAL}")):
            with locked_at_once(_lock_of(partial.with_suffix(""))) as free:
                if free:
                    shutil.rmtree(partial)
                    dropped.append(partial.stem)
        return dropped

    @contextmanager
    def draft(self, key: ArtifactKey, version: str, *, restart: bool = False) -> Iterator[Draft]:
        """See `ArtifactStore.draft`. A second writer of the same version waits until the first one ends."""
        folder = self.root / key.path / version
        partial = _beside(folder, PARTIAL)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(_lock_of(folder)):
            _finish_replacing(folder)
            if restart or not (partial / FILES).is_dir():
                shutil.rmtree(partial, ignore_errors=True)
            _reopen(partial / FILES)
            draft = Draft.open(partial / FILES, partial)
            try:
                yield draft
            finally:
                draft.close()

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
        manifest = Manifest(identity.version, identity, counts, _make_durable(draft.directory), tuple(sources))
        write_json(draft.directory / RUN, run)
        write_json(draft.directory / MANIFEST, manifest.to_json())
        folder = self.root / key.path / identity.version
        if folder.exists():  # a forced re-run: the same identity, so the same bytes
            folder.rename(_beside(folder, REPLACED))
        draft.directory.rename(folder)
        fsync_folder(folder.parent)
        _finish_replacing(folder)
        artifact = Artifact(key, manifest, folder)
        self.make_current(artifact)
        shutil.rmtree(_beside(folder, PARTIAL))
        return artifact


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path`, waiting for whoever holds it. Its holder may remove it: who waited then takes the new one."""
    while True:
        with path.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if _is_still(lock, path):
                yield
                return


@contextmanager
def locked_at_once(path: Path) -> Iterator[bool]:
    """Hold the lock file `path` if nobody holds it; tells whether it is held now."""
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield _is_still(lock, path)


def _is_still(lock: IO[str], path: Path) -> bool:
    """Whether the open file is the one that the path names."""
    try:
        return os.path.samestat(os.fstat(lock.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}{LOCK}")


def _beside(folder: Path, suffix: str) -> Path:
    return folder.with_name(folder.name + suffix)


def _finish_replacing(folder: Path) -> None:
    """End a replacement, one that was cut off by a kill too: where the new files did not arrive, the former ones are put back."""
    replaced = _beside(folder, REPLACED)
    if not replaced.exists():
        return
    if folder.exists():
        shutil.rmtree(replaced)
    else:
        replaced.rename(folder)


def _reopen(files: Path) -> None:
    """Undo what a killed run left in a draft's outputs: half a publication (manifest, write protection) and unfinished writes.

    Files with several names are hard links into other artifacts and keep their protection; whoever made them replaces, never rewrites them.
    """
    for path in [*files.glob(MANIFEST), *files.glob(RUN), *files.rglob(f".*{TEMPORARY}")]:
        path.unlink()
    for path in files.rglob("*"):
        state = path.stat()
        if path.is_file() and state.st_nlink == 1 and not state.st_mode & stat.S_IWUSR:
            path.chmod(state.st_mode | stat.S_IWUSR)


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
    fsync(path)
    if path.stat().st_mode & 0o222:  # a hard link may be another user's file, whose mode only its owner may change
        path.chmod(0o444)
    return entry
