"""Making a dataset version: pin what is published of each recording and import, write the manifest, remember it in the catalog.

The versions of a dataset grow: a frame that an earlier version has put into a split stays there, unless a new division is asked for.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from lamm_pipeline.catalog.catalog import Catalog
from lamm_pipeline.catalog.models import DatasetVersion, Recording, now
from lamm_pipeline.curation.selecting import SelectionPlan, refresh
from lamm_pipeline.datasets.frame_ranking import REFRESH
from lamm_pipeline.datasets.hard_cases import HardCaseFrames, HardCases, choose
from lamm_pipeline.datasets.settings import DatasetSettings
from lamm_pipeline.datasets.versions import (
    MANIFEST,
    ArtifactVersions,
    ImportInputs,
    PreviousSplit,
    RecordingInputs,
    SourceFile,
    VersionManifest,
    check_name,
    create_version,
    list_versions,
)
from lamm_pipeline.errors import InputError
from lamm_pipeline.imports import planning
from lamm_pipeline.ontology.ontology import Ontology
from lamm_pipeline.storage.artifacts import Artifact, ArtifactKey, ArtifactStore
from lamm_pipeline.storage.atomic import sha256_file

PINNED = tuple(ArtifactVersions.model_fields)
NEEDED = ("frames", "detections")
LISTED = 5


def wanted_recordings(store: ArtifactStore, catalog: Catalog, recordings: Iterable[str], imports: Sequence[str] = ()) -> list[str]:
    """The recordings named, each once; where neither recordings nor imports are named, all that have detections.

    Raises:
        InputError: nothing is named, and no recording has detections.
    """
    named = list(dict.fromkeys(recordings))
    if named or imports:
        return named
    ready = [key for key in catalog.recordings.all_keys() if store.current(ArtifactKey("recordings", key, "detections"))]
    if not ready:
        raise InputError(
            "No recording has detections yet, so there is nothing to make a dataset of. Process recordings first (`lamm run`)."
        )
    return ready


def refresh_selections(
    store: ArtifactStore,
    catalog: Catalog,
    ontology: Ontology,
    recordings: Iterable[str],
    imports: Sequence[str] = (),
    hard_cases: HardCases | None = None,
) -> Iterator[tuple[Artifact, SelectionPlan]]:
    """Bring the selections of recordings up to the latest decisions, so that the next version pins them.

    Recordings without detections have none; `create_dataset_version` refuses them.

    Args:
        store: published artifacts.
        catalog: has the decisions.
        ontology: the classes in force.
        recordings: keys; none means all recordings that have detections, or none at all where imports are named.
        imports: keys.
        hard_cases: the condition of the version; only recordings with such frames get in.

    Yields:
        Each selection that was renewed, and what it was made of.

    Raises:
        InputError: a recording is unknown, or there are no hard cases; nothing is renewed then.
    """
    keys, _, _ = _with_hard_cases(store, catalog, wanted_recordings(store, catalog, recordings, imports), imports, hard_cases)
    for key in keys:
        catalog.recordings.get(key)
    for key in keys:
        ready = all(store.current_version(ArtifactKey("recordings", key, asset)) for asset in NEEDED)
        if ready and (renewed := refresh(store, catalog, ontology, key)) is not None:
            yield renewed


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
    imports: Iterable[str] = (),
    hard_cases: HardCases | None = None,
    resplit: bool = False,
    after: int | None = None,
    title: str = "",
    description: str = "",
    source_job_id: str | None = None,
) -> tuple[VersionManifest, bool]:
    """Create the next version of dataset `name` from what is in force of each recording and import now.

    Args:
        root: the root folder.
        store: published artifacts.
        catalog: where recordings and versions are remembered.
        ontology: the classes in force.
        name: of the dataset.
        recordings: keys; none means all recordings that have detections, or none at all where imports are named.
        settings: filters, split, formats.
        actor: who does it.
        imports: keys of imports, in the order in which they are to be believed.
        hard_cases: take only the frames that fulfil this condition now, and the recordings that have such; None takes all.
        resplit: divide all frames anew; else those of the newest version whose split is published stay where they are.
        after: number of the version that recordings and imports were reckoned from, 0 when there was none; None where they were not.
        title: a line for people.
        description: more for people.
        source_job_id: the run that creates the version, None for the command line.

    Returns:
        The version, and whether it is new: when the newest version of this name has exactly this content, that one is returned.

    Raises:
        InputError: a recording or import is unknown or not processed, its artifacts do not belong together, no frame is a hard case, the
            uncertainty of one is that of other frames, the dataset has grown meanwhile, or the name or settings cannot be used.
    """
    check_name(name)
    imported = list(dict.fromkeys(imports))
    keys = wanted_recordings(store, catalog, recordings, imported)
    keys, hard, scored = _with_hard_cases(store, catalog, keys, imported, hard_cases)
    rows = catalog.versions.all(name, deleted=True)
    known = [row.number for row in rows]
    gone = {row.number for row in rows if row.deleted_at is not None}
    before = [each for each in list_versions(root, name) if each.number not in gone]
    if after is not None and before and before[-1].number != after:
        raise InputError(
            f"{before[-1].key} was made meanwhile, and what it has more would be missing here. Give the same command again: it grows that "
            "version, and what is imported already is not imported again."
        )
    found = [_import(store, key) for key in imported]
    content = _Content(
        recordings=tuple(sorted((_pin(store, catalog, key) for key in keys), key=lambda inputs: inputs.recording)),
        imports=tuple(_pin_import(artifact) for artifact in found),
        extra_classes=_extra_classes(found, ontology, before[-1].extra_classes if before else ()),
        previous_split=None if resplit else _previous_split(store, before),
        hard_cases=hard,
    )
    _refuse_other_frames(content.recordings, scored)
    if before and _same(before[-1], content, settings, ontology, resplit=resplit):
        if before[-1].number not in known:  # whoever wrote the manifest was killed before the catalog had it
            _remember(root, catalog, before[-1])
        return before[-1], False
    version = create_version(
        root,
        name,
        recordings=content.recordings,
        imports=content.imports,
        extra_classes=content.extra_classes,
        previous_split=content.previous_split,
        hard_cases=content.hard_cases,
        settings=settings,
        ontology=ontology,
        created_at=now().isoformat(timespec="seconds"),
        created_by=actor,
        title=title,
        description=description,
        source_job_id=source_job_id,
        taken=known,
    )
    _remember(root, catalog, version)
    return version, True


@dataclass(frozen=True)
class _Content:
    """What a version pins."""

    recordings: tuple[RecordingInputs, ...]
    imports: tuple[ImportInputs, ...]
    extra_classes: tuple[str, ...]
    previous_split: PreviousSplit | None
    hard_cases: HardCaseFrames | None


def _with_hard_cases(
    store: ArtifactStore, catalog: Catalog, keys: list[str], imports: Sequence[str], condition: HardCases | None
) -> tuple[list[str], HardCaseFrames | None, Mapping[str, str]]:
    """The recordings that have hard cases, what a manifest keeps of them, and the versions of `frames` that were scored.

    Raises:
        InputError: a recording is unknown, imports are named beside a condition, or no frame fulfils it.
    """
    if condition is None or not condition.wanted:
        return keys, None, {}
    if imports:
        raise InputError("Hard cases are frames of recordings; nobody knows the uncertainty of imports. Leave the imports out.")
    for key in keys:
        catalog.recordings.get(key)
    hard, scored = choose(store, condition, keys)
    return list(scored), hard, scored


def _refuse_other_frames(recordings: Iterable[RecordingInputs], scored: Mapping[str, str]) -> None:
    """Refuse hard cases whose uncertainty is that of other frames than those that are pinned; `scored` are versions by recording."""
    others = [each.recording for each in recordings if each.recording in scored and scored[each.recording] != each.artifacts.frames]
    if others:
        listed = f"{', '.join(map(repr, others[:LISTED]))}{f' and {len(others) - LISTED} more' if len(others) > LISTED else ''}"
        raise InputError(
            f"The frames of {listed} were extracted again since their uncertainty was ranked, so nobody knows which of them are hard now. "
            f"Run the models on the new frames, take the predictions in (`lamm evaluation add`), then {REFRESH}; or leave these recordings "
            "out."
        )


def _remember(root: Path, catalog: Catalog, version: VersionManifest) -> None:
    manifest = root / "datasets" / version.key / MANIFEST
    catalog.versions.add(
        DatasetVersion(
            key=version.key,
            name=version.name,
            number=version.number,
            title=version.title,
            description=version.description,
            manifest_path=str(manifest),
            manifest_digest=sha256_file(manifest),
            created_at=datetime.fromisoformat(version.created_at),
            created_by=version.created_by,
        )
    )


def _same(newest: VersionManifest, content: _Content, settings: DatasetSettings, ontology: Ontology, *, resplit: bool) -> bool:
    """Whether the newest version has this content. It need not follow itself: its split stays as it is, unless another is asked for."""
    previous = content.previous_split if resplit else newest.previous_split
    update = {**vars(content), "previous_split": previous, "settings": settings, "ontology_digest": ontology.digest}
    return newest.model_copy(update=update).content_digest == newest.content_digest


def _previous_split(store: ArtifactStore, before: Sequence[VersionManifest]) -> PreviousSplit | None:
    """The newest split of the dataset that is published."""
    for version in reversed(before):
        artifact = store.current_version(ArtifactKey("datasets", version.key, "splits"))
        if artifact is not None:
            return PreviousSplit(version=version.key, artifact=artifact)
    return None


def _extra_classes(imports: Iterable[Artifact], ontology: Ontology, before: Sequence[str]) -> tuple[str, ...]:
    """Labels that the ontology lacks; those that the dataset had before keep their place, and with it their category id."""
    labels = {label for artifact in imports for label in artifact.counts["extra_classes"]} - {known.id for known in ontology.classes}
    return (*before, *sorted(labels - set(before)))


def _import(store: ArtifactStore, key: str) -> Artifact:
    artifact = store.current(ArtifactKey(planning.SCOPE, key, planning.ASSET))
    if artifact is None:
        raise InputError(f"There is no import {key!r}. Import its ZIP first (`lamm import`), or see `lamm import --list`.")
    return artifact


def _pin_import(artifact: Artifact) -> ImportInputs:
    return ImportInputs(
        key=artifact.key.partition,
        recording=artifact.counts["recording"],
        artifact=artifact.version,
        source=SourceFile(**artifact.counts["source"]),
    )


def _pin(store: ArtifactStore, catalog: Catalog, key: str) -> RecordingInputs:
    row = catalog.recordings.get(key)
    found = {asset: artifact for asset in PINNED if (artifact := store.current(ArtifactKey("recordings", key, asset))) is not None}
    for asset in NEEDED:
        if asset not in found:
            raise InputError(f"Recording {key!r} has no {asset} yet. Materialize them first, or leave the recording out.")
    for asset, artifact in found.items():
        for source, version in artifact.manifest.identity.inputs.items():
            if source in PINNED and (source not in found or found[source].version != version):
                raise InputError(
                    f"The {asset} of recording {key!r} were made from other {source} than those in force now and may not fit them. "
                    f"Run the recording again (`lamm run {key}`), or leave it out."
                )
    return RecordingInputs(
        recording=key,
        artifacts=ArtifactVersions(**{asset: artifact.version for asset, artifact in found.items()}),
        source=SourceFile(path=row.source_path, digest=_digest(store, row, found["frames"]), size=row.size),
    )


def _digest(store: ArtifactStore, row: Recording, frames: Artifact) -> str:
    """Digest of the file that the frames were taken from.

    Raises:
        InputError: the file is another one now.
    """
    read = store.find(ArtifactKey("recordings", row.key, "recording"), frames.manifest.identity.inputs.get("recording", ""))
    digest = read.manifest.identity.files.get("recording") if read is not None else None
    if digest is not None and digest != row.digest:
        raise InputError(
            f"The file of recording {row.key!r} ({row.path}) has changed since its frames were extracted. Run the recording again "
            f"(`lamm run {row.key}`), or leave it out."
        )
    return digest or row.digest or row.quick_digest
