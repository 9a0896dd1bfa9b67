"""The artifact that an identity names: the published one, else made now."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lamm_pipeline.storage.artifacts import Artifact, ArtifactKey, ArtifactStore, Identity, Source
from lamm_pipeline.storage.draft import Draft

Make = Callable[[Draft], tuple[Mapping[str, Any], Mapping[str, Any]]]
"""Writes the files into the draft; returns the counts for the manifest, and what to remember of this run."""


def find_or_make(
    store: ArtifactStore,
    key: ArtifactKey,
    identity: Identity,
    make: Make,
    sources: Sequence[Source],
    *,
    restart: bool = False,
    force: bool = False,
) -> Artifact:
    """Put the version that an identity names in force, making it if need be.

    Args:
        store: where it is or will be.
        key: which artifact.
        identity: everything that decides its content.
        make: called at most once.
        sources: recordings it is made of.
        restart: begin anew, not at the last checkpoint.
        force: make it again although it is published.
    """
    published = None if force else _put_in_force(store, key, identity)
    if published is not None:
        return published
    with store.draft(key, identity.version, restart=restart or force) as draft:
        published = None if force else _put_in_force(store, key, identity)
        if published is not None:  # somebody made it while this one waited for the draft
            draft.finish()
            return published
        counts, run = make(draft)
        return store.publish(key, draft, identity, json.loads(json.dumps(counts)), run, sources)  # counts as they will be read


def _put_in_force(store: ArtifactStore, key: ArtifactKey, identity: Identity) -> Artifact | None:
    published = store.find(key, identity.version)
    if published is not None:
        store.make_current(published)
    return published
