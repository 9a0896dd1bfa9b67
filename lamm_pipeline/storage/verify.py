"""Whether published artifacts still are what their manifests say: every file is digested again."""

import json
from collections.abc import Hashable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from lamm_pipeline.storage.artifacts import MANIFEST, Artifact, ArtifactKey, ArtifactStore, FileEntry, StoredFile
from lamm_pipeline.streaming import default_workers

FOREIGN = "was not published with it"


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


def verify(store: ArtifactStore, keys: Iterable[ArtifactKey] | None = None) -> Verification:
    """Digest every file of every published version again.

    A file with several names (exports are hard links to frames) is read once.

    Args:
        store: where the artifacts are.
        keys: which artifacts; None means all.
    """
    damage: list[Damage] = []
    artifacts = files = size = 0
    digests: dict[Hashable, str] = {}
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
            damage += (Damage(name, file, problem) for file, problem in _damage(store, artifact, version, digests))
    return Verification(artifacts, files, size, tuple(damage))


def _damage(store: ArtifactStore, artifact: Artifact, version: str, digests: dict[Hashable, str]) -> Iterator[tuple[str, str]]:
    if not artifact.manifest.identity.version == artifact.version == version:
        yield MANIFEST, "does not belong to this version"
    contents = store.contents(artifact)

    def problem(item: tuple[str, FileEntry]) -> str | None:
        name, entry = item
        return _problem(store, artifact, name, entry, contents.get(name), digests)

    with ThreadPoolExecutor(default_workers()) as pool:
        entries = artifact.manifest.files.items()
        for (file, _), found in zip(entries, pool.map(problem, entries)):  # noqa: B905
            if found is not None:
                yield file, found
    for file in sorted(contents.keys() - artifact.manifest.files.keys()):
        yield file, FOREIGN


def _problem(
    store: ArtifactStore, artifact: Artifact, name: str, entry: FileEntry, stored: StoredFile | None, digests: dict[Hashable, str]
) -> str | None:
    if stored is None:
        return "is missing"
    if stored.size != entry.size:
        return f"has {stored.size} bytes instead of {entry.size}"
    try:
        if stored.place not in digests:
            digests[stored.place] = store.digest(artifact, name)
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    return None if digests[stored.place] == entry.sha256 else "has another content"


def _lost_pointer(store: ArtifactStore, key: ArtifactKey) -> Iterator[Damage]:
    """A `current.json` that is unreadable or names a version that is not there."""
    try:
        version = store.current_version(key)
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        yield Damage(key.path, "current.json", f"cannot be read: {error}")
        return
    if version is not None and version not in store.versions(key):
        yield Damage(f"{key.path}/{version}", MANIFEST, "is missing, although this version is in force")
