"""Making a dataset version: pin what is published of each recording, write the manifest, remember it in the catalog."""

from collections.abc import Iterable
from pathlib import Path

from lamm_pipeline.catalog.catalog import Catalog
from lamm_pipeline.catalog.models import DatasetVersion, now
from lamm_pipeline.datasets.settings import DatasetSettings
from lamm_pipeline.datasets.versions import (
    MANIFEST,
    ArtifactVersions,
    RecordingInputs,
    SourceFile,
    VersionManifest,
    check_name,
    create_version,
    list_versions,
)
from lamm_pipeline.errors import InputError
from lamm_pipeline.ontology.ontology import Ontology
from lamm_pipeline.storage.artifacts import ArtifactKey, ArtifactStore
from lamm_pipeline.storage.atomic import sha256_file


def create_dataset_version(
    root: Path,
    store: ArtifactStore,
    catalog: Catalog,
    ontology: Ontology,
    name: str,
    recordings: Iterable[str],
    settings: DatasetSettings,
    *,
    actor: str,
    title: str = "",
    description: str = "",
    source_job_id: str | None = None,
) -> tuple[VersionManifest, bool]:
    """Create the next version of dataset `name` from what is in force of each recording now.

    Args:
        root: the root folder.
        store: published artifacts.
        catalog: where recordings and versions are remembered.
        ontology: the classes in force.
        name: of the dataset.
        recordings: keys; none means all recordings that have detections.
        settings: filters, split, formats.
        actor: who does it.
        title: a line for people.
        description: more for people.
        source_job_id: the run that creates the version, None for the command line.

    Returns:
        The version, and whether it is new: when the newest version of this name has exactly this content, that one is returned.

    Raises:
        InputError: a recording is unknown or not processed, or the name or settings cannot be used.
    """
    check_name(name)
    keys = list(dict.fromkeys(recordings)) or [row.key for row in catalog.recordings() if _current(store, row.key, "detections")]
    if not keys:
        raise InputError(
            "No recording has detections yet, so there is nothing to make a dataset of. Process recordings first (`lamm run`)."
        )
    pinned = [_pin(store, catalog, key) for key in keys]
    known = [row.number for row in catalog.versions(name)]
    created = now()
    before = list_versions(root, name)
    if before and before[-1].content_digest == _content(name, pinned, settings, ontology):
        return before[-1], False
    version = create_version(
        root,
        name,
        recordings=pinned,
        settings=settings,
        ontology=ontology,
        created_at=created.isoformat(timespec="seconds"),
        created_by=actor,
        title=title,
        description=description,
        source_job_id=source_job_id,
        taken=known,
    )
    manifest = root / "datasets" / version.key / MANIFEST
    catalog.add_version(
        DatasetVersion(
            key=version.key,
            name=version.name,
            number=version.number,
            title=title,
            description=description,
            manifest_path=str(manifest),
            manifest_digest=sha256_file(manifest),
            created_at=created,
            created_by=actor,
        )
    )
    return version, True


def _content(name: str, pinned: list[RecordingInputs], settings: DatasetSettings, ontology: Ontology) -> str:
    """Content digest that a version of exactly these parts would have."""
    return VersionManifest(
        name=name,
        number=1,
        title="",
        description="",
        created_at="",
        created_by="",
        ontology_digest=ontology.digest,
        recordings=tuple(sorted(pinned, key=lambda inputs: inputs.recording)),
        settings=settings,
    ).content_digest


def _pin(store: ArtifactStore, catalog: Catalog, key: str) -> RecordingInputs:
    row = catalog.recording(key)
    frames, detections = _current(store, key, "frames"), _current(store, key, "detections")
    if frames is None or detections is None:
        missing = "frames" if frames is None else "detections"
        raise InputError(f"Recording {key!r} has no {missing} yet. Materialize them first, or leave the recording out.")
    artifacts = ArtifactVersions(
        frames=frames, detections=detections, boxes_3d=_current(store, key, "boxes_3d"), tracks=_current(store, key, "tracks")
    )
    return RecordingInputs(
        recording=key,
        artifacts=artifacts,
        source=SourceFile(path=row.path, digest=row.digest or row.quick_digest, size=row.size),
    )


def _current(store: ArtifactStore, recording: str, asset: str) -> str | None:
    artifact = store.current(ArtifactKey("recordings", recording, asset))
    return None if artifact is None else artifact.version
