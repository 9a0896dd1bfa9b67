"""Versions that nothing refers to, and what killed runs left behind."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from lamm_pipeline.storage.artifacts import ArtifactKey, ArtifactStore, Garbage

Pins = Mapping[ArtifactKey, frozenset[str]]
DAY_S = 86_400.0


@dataclass(frozen=True)
class Collection:
    """What can go, and the partitions that were left alone because a run is writing there."""

    garbage: tuple[Garbage, ...]
    busy: tuple[str, ...]

    @property
    def size(self) -> int:
        """Bytes that all of it gives back."""
        return sum(each.size for each in self.garbage)


def find_garbage(store: ArtifactStore, pinned: Pins, *, draft_days: float) -> Collection:
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


def remove_garbage(store: ArtifactStore, pinned: Pins, *, draft_days: float) -> Collection:
    """Remove what `find_garbage` finds at this moment; returns what was removed."""
    return _collect(store, pinned, draft_days, remove=True)


def _collect(store: ArtifactStore, pinned: Pins, draft_days: float, *, remove: bool) -> Collection:
    partitions: dict[tuple[str, str], list[ArtifactKey]] = {}
    for key in store.all_keys():
        partitions.setdefault((key.scope, key.partition), []).append(key)
    garbage: list[Garbage] = []
    busy: list[str] = []
    oldest = time.time() - draft_days * DAY_S
    for (scope, partition), keys in partitions.items():
        with store.held(keys) as free:
            if not free:
                busy.append(f"{scope}/{partition}")
                continue
            kept = _referred(store, keys, pinned)
            found = [each for key in keys for each in store.garbage(key, kept[key], oldest)]
            garbage += found
            if remove:
                for each in found:
                    each.remove()
    return Collection(tuple(garbage), tuple(busy))


def _referred(store: ArtifactStore, keys: list[ArtifactKey], pinned: Pins) -> dict[ArtifactKey, set[str]]:
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
