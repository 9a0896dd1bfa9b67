"""Whether published artifacts still are what their manifests say: every file is digested again."""

import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from lamm_pipeline.storage.artifacts import MANIFEST, RUN, Artifact, ArtifactKey, FileEntry
from lamm_pipeline.storage.atomic import sha256_file
from lamm_pipeline.storage.local_store import LocalStore
from lamm_pipeline.streaming import default_workers


@dataclass(frozen=True)
class Damage:
    """One thing that is not as it was published."""

    artifact: str
    file: str
    problem: str


@dataclass(frozen=True)
class Verification:
    """What was looked at, and what was found."""

    artifacts: int
    files: int
    bytes: int
    damage: tuple[Damage, ...]


def verify(store: LocalStore, keys: Iterable[ArtifactKey] | None = None) -> Verification:
    """Digest every file of every published version again.

    A file with several names (exports are hard links to frames) is read once.

    Args:
        store: where the artifacts are.
        keys: which artifacts; None means all.
    """
    damage: list[Damage] = []
    artifacts = files = size = 0
    digests: dict[tuple[int, int], str] = {}
    for key in store.all_keys() if keys is None else keys:
        damage += _lost_pointer(store, key)
        for version in store.versions(key):
            name = f"{key.path}/{version}"
            try:
                artifact = store.find(key, version)
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                damage.append(Damage(name, MANIFEST, f"cannot be read: {error}"))
                continue
            if artifact is None:
                continue
            artifacts += 1
            files += len(artifact.manifest.files)
            size += artifact.manifest.size
            damage += (Damage(name, file, problem) for file, problem in _damage(artifact, digests))
    return Verification(artifacts, files, size, tuple(damage))


def _damage(artifact: Artifact, digests: dict[tuple[int, int], str]) -> Iterator[tuple[str, str]]:
    if artifact.manifest.identity.version != artifact.version or artifact.folder.name != artifact.version:
        yield MANIFEST, "does not belong to this version"
    with ThreadPoolExecutor(default_workers()) as pool:
        entries = artifact.manifest.files.items()
        for (file, _), problem in zip(entries, pool.map(lambda item: _problem(artifact.folder / item[0], item[1], digests), entries)):  # noqa: B905
            if problem is not None:
                yield file, problem
    present = {path.relative_to(artifact.folder).as_posix() for path in artifact.folder.rglob("*") if not path.is_dir()}
    for file in sorted(present - artifact.manifest.files.keys() - {MANIFEST, RUN}):
        yield file, "was not published with it"


def _problem(path: Path, entry: FileEntry, digests: dict[tuple[int, int], str]) -> str | None:
    try:
        state = path.stat()
        if state.st_size != entry.size:
            return f"has {state.st_size} bytes instead of {entry.size}"
        inode = (state.st_dev, state.st_ino)
        if inode not in digests:
            digests[inode] = sha256_file(path)
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return None if digests[inode] == entry.sha256 else "has another content"


def _lost_pointer(store: LocalStore, key: ArtifactKey) -> Iterator[Damage]:
    """A `current.json` that is unreadable or names a version that is not there."""
    try:
        version = store.current_version(key)
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        yield Damage(key.path, "current.json", f"cannot be read: {error}")
        return
    if version is not None and version not in store.versions(key):
        yield Damage(f"{key.path}/{version}", MANIFEST, "is missing, although this version is in force")
