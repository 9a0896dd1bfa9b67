"""Deleting a dataset version: its manifest and everything that was made for it. Recordings and what was made of them stay."""

import shutil
from pathlib import Path

from lamm_pipeline.catalog.catalog import Catalog
from lamm_pipeline.datasets.versions import MANIFEST, list_versions
from lamm_pipeline.errors import InputError
from lamm_pipeline.storage.artifacts import ArtifactKey, ArtifactStore


def delete_version(root: Path, store: ArtifactStore, catalog: Catalog, key: str, actor: str) -> int:
    """Delete a dataset version, or finish a deletion that was cut off. Its number is not used again.

    Args:
        root: the root folder.
        store: where its artifacts are.
        catalog: remembers that it was there.
        key: of the version.
        actor: who does it.

    Returns:
        The bytes that were given back.

    Raises:
        InputError: there is no such version, somebody is writing it, or a later version has still to read its split.
    """
    for later in list_versions(root):
        follows = later.previous_split is not None and later.previous_split.version == key
        if follows and store.current_version(ArtifactKey("datasets", later.key, "splits")) is None:
            raise InputError(
                f"The frames of {later.key} are to stay where {key} has put them, and it is not divided yet. Materialize the splits of "
                f"{later.key} first, or delete it."
            )
    folder = root / "datasets" / key
    deleted = {row.key for row in catalog.versions.all(deleted=True) if row.deleted_at is not None}
    artifacts = [each for each in store.all_keys() if each.scope == "datasets" and each.partition == key]
    with store.held(artifacts) as free:
        if not free:
            raise InputError(f"Dataset version {key!r} is being written. Wait for the run, or cancel it (`lamm cancel {key}`).")
        if key not in deleted or not (folder.exists() or artifacts):
            catalog.versions.delete(key, actor)
        (folder / MANIFEST).unlink(missing_ok=True)
        size = sum(store.remove(each) for each in artifacts)
        shutil.rmtree(folder, ignore_errors=True)
    return size
