"""The artifacts of a recording that a stage reads: those in force, made from each other."""

from collections.abc import Iterable, Mapping

from lamm_pipeline.errors import InputError
from lamm_pipeline.storage.artifacts import Artifact, ArtifactKey, ArtifactStore


def artifacts_in_force(store: ArtifactStore, recording: str, assets: Iterable[str]) -> dict[str, Artifact]:
    """The versions in force of several assets of a recording.

    Args:
        store: where they are.
        recording: recording key.
        assets: their names.

    Raises:
        InputError: one is missing, or was made, over whatever stages lie between, from another version of one of the others.
    """
    found = {asset: _present(store, recording, asset) for asset in assets}
    for asset, artifact in found.items():
        _refuse_others(store, artifact, found, (asset,))
    return found


def _present(store: ArtifactStore, recording: str, asset: str) -> Artifact:
    artifact = store.current(ArtifactKey("recordings", recording, asset))
    if artifact is None:
        raise InputError(f"There is no {asset!r} of {recording!r} yet. Materialize {asset!r} for this partition first.")
    return artifact


def _refuse_others(store: ArtifactStore, artifact: Artifact, found: Mapping[str, Artifact], path: tuple[str, ...]) -> None:
    """Follow what an artifact was made of as far as one of `found`; `path` are the assets on the way, the first of them in `found`."""
    for source, version in artifact.manifest.identity.inputs.items():
        key = ArtifactKey(artifact.key.scope, artifact.key.partition, source)
        made_of = found[source] if source in found else store.find(key, version)
        if made_of is None or made_of.version != version:
            stale = " and ".join(f"`{asset}`" for asset in reversed(path))
            raise InputError(f"The {path[0]} of {key.partition!r} were made from other {source}. Materialize {stale} first.")
        if source not in found:
            _refuse_others(store, made_of, found, (*path, source))
