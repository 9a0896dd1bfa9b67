"""Versions that nothing refers to, and what killed runs left behind."""

import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from lamm_pipeline.storage.artifacts import MANIFEST, ArtifactKey
from lamm_pipeline.storage.atomic import TEMPORARY
from lamm_pipeline.storage.local_store import LOCK, PARTIAL, REPLACED, LocalStore, locked_at_once

Pins = Mapping[ArtifactKey, frozenset[str]]
DAY_S = 86_400.0


@dataclass(frozen=True)
class Garbage:
    """One thing that can go.

    Attributes:
        path: file or folder.
        reason: why it can go, for people.
        size: bytes it gives back; files with other names elsewhere give nothing back.
    """

    path: Path
    reason: str
    size: int


@dataclass(frozen=True)
class Collection:
    """What can go, and the partitions that were left alone because a run is writing there."""

    garbage: tuple[Garbage, ...]
    busy: tuple[str, ...]

    @property
    def size(self) -> int:
        """Bytes that all of it gives back."""
        return sum(each.size for each in self.garbage)


def find_garbage(store: LocalStore, pinned: Pins, *, draft_days: float) -> Collection:
    """Find what nothing refers to.

    Kept are the versions in force, the pinned ones, and everything those were made from. Drafts are kept until nobody has touched them for
    `draft_days`, because a paused run goes on in them. A partition that a run is writing is left alone as a whole: its draft may read
    a version that is in force no more.

    Args:
        store: where the artifacts are.
        pinned: versions that others rely on, by artifact.
        draft_days: age of a draft from which it counts as abandoned.
    """
    return _collect(store, pinned, draft_days, remove=False)


def remove_garbage(store: LocalStore, pinned: Pins, *, draft_days: float) -> Collection:
    """Remove what `find_garbage` finds at this moment; returns what was removed."""
    return _collect(store, pinned, draft_days, remove=True)


def _collect(store: LocalStore, pinned: Pins, draft_days: float, *, remove: bool) -> Collection:
    partitions: dict[tuple[str, str], list[ArtifactKey]] = {}
    for key in store.all_keys():
        partitions.setdefault((key.scope, key.partition), []).append(key)
    garbage: list[Garbage] = []
    busy: list[str] = []
    oldest = time.time() - draft_days * DAY_S
    for (scope, partition), keys in partitions.items():
        locks = [path for key in keys for path in sorted((store.root / key.path).glob(f".*{LOCK}"))]
        with ExitStack() as held:
            if not all(held.enter_context(locked_at_once(lock)) for lock in locks):
                busy.append(f"{scope}/{partition}")
                continue
            kept = _referred(store, keys, pinned)
            found = [each for key in keys for each in _in_artifact(store, key, kept[key], oldest)]
            garbage += found
            if remove:
                for each in found:
                    _remove(each.path)
    return Collection(tuple(garbage), tuple(busy))


def _referred(store: LocalStore, keys: list[ArtifactKey], pinned: Pins) -> dict[ArtifactKey, set[str]]:
    """Versions of one partition's artifacts that must stay, with everything they were made from."""
    kept: dict[ArtifactKey, set[str]] = {key: set() for key in keys}
    queue = [(key, version) for key in keys for version in pinned.get(key, ())]
    queue += [(key, version) for key in keys if (version := store.current_version(key)) is not None]
    while queue:
        key, version = queue.pop()
        if version in kept.setdefault(key, set()):
            continue
        kept[key].add(version)
        artifact = store.find(key, version)
        if artifact is not None:
            queue += [
                (ArtifactKey(key.scope, key.partition, asset), made_from) for asset, made_from in artifact.manifest.identity.inputs.items()
            ]
    return kept


def _in_artifact(store: LocalStore, key: ArtifactKey, kept: set[str], oldest: float) -> Iterator[Garbage]:
    drafts: set[str] = set()
    for path in sorted((store.root / key.path).iterdir()):
        reason = None
        if path.name.endswith(TEMPORARY):
            reason = "left by a write that was cut off" if path.stat().st_mtime < oldest else None
        elif path.suffix == PARTIAL:
            reason = _of_draft(path, oldest, published=store.find(key, path.stem) is not None)
            drafts |= {path.stem} if reason is None else set()
        elif path.suffix == REPLACED:
            reason = "former files of a version" if store.find(key, path.stem) is not None else None
        elif path.is_dir():
            reason = _of_version(path, kept)
        if reason is not None:
            yield Garbage(path, reason, _size(path))
    for lock in sorted((store.root / key.path).glob(f".*{LOCK}")):
        if lock.stem[1:] not in drafts:
            yield Garbage(lock, "lock that nobody holds", 0)


def _of_draft(partial: Path, oldest: float, *, published: bool) -> str | None:
    """Why a draft can go; it is written to at its top, where its checkpoint and logs lie."""
    if published:
        return "draft of a version that is published"
    touched = max(path.stat().st_mtime for path in [partial, *partial.iterdir()])
    return "draft that nobody continued" if touched < oldest else None


def _of_version(folder: Path, kept: set[str]) -> str | None:
    """Why a version's folder can go."""
    if not (folder / MANIFEST).is_file():
        return "left by a removal that was cut off"
    return None if folder.name in kept else "not in force, pinned by no dataset version, and nothing kept was made from it"


def _size(path: Path) -> int:
    """Bytes that removing it gives back; files with other names elsewhere give nothing back."""
    states = [each.stat() for each in [path, *path.rglob("*")] if each.is_file()]
    return sum(state.st_size for state in states if state.st_nlink == 1)


def _remove(path: Path) -> None:
    if path.is_dir():
        (path / MANIFEST).unlink(missing_ok=True)  # first, so that a removal that is cut off leaves nothing that looks published
        shutil.rmtree(path)
    else:
        path.unlink()
