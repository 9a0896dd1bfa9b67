"""Importing one export from what the catalog knows: its inputs, the version they give, and making it.

The asset `annotation_export`, the command line and whatever else needs an import share this, so that all make the very same version.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lamm_pipeline.catalog.catalog import Catalog
from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction import frame_registry
from lamm_pipeline.imports.images import FolderImages, ImageSource, images_in
from lamm_pipeline.imports.importing import ImportSource, import_export
from lamm_pipeline.imports.settings import ImportSettings, ZipLimits
from lamm_pipeline.imports.taking_in import current_digest
from lamm_pipeline.ontology.ontology import Ontology
from lamm_pipeline.storage.artifacts import Artifact, ArtifactKey, ArtifactStore, Identity, Source
from lamm_pipeline.storage.atomic import digest_json, sha256_file
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline.storage.in_force import artifacts_in_force
from lamm_pipeline.storage.making import find_or_make
from lamm_pipeline.streaming import Progress, default_workers, no_progress

SCOPE = "annotation_exports"
ASSET = "annotation_export"
CODE_VERSION = "3"


@dataclass(frozen=True)
class ImportPlan:
    """An import before it is made.

    Attributes:
        source: the ZIP, and the images that take the place of its own.
        settings: how it is read.
        limits: what the ZIP may hold; no part of the version.
        ontology: the classes there are.
        files: digests of all that is read, by role.
        sources: of the recording that the images are of.
    """

    source: ImportSource
    settings: ImportSettings
    limits: ZipLimits
    ontology: Ontology
    files: Mapping[str, str]
    sources: tuple[Source, ...]

    @property
    def key(self) -> ArtifactKey:
        """Of the import."""
        return ArtifactKey(SCOPE, self.source.key, ASSET)

    @property
    def science(self) -> dict[str, Any]:
        """The settings that decide what is written; where a folder of images lies does not, its files do."""
        return {**self.settings.model_dump(mode="json", exclude={"images_folder"}), "file_name": self.source.path.name}

    @property
    def identity(self) -> Identity:
        """Everything that decides the import."""
        return Identity(ASSET, CODE_VERSION, self.science, {}, self.files)

    def make(self, draft: Draft, progress: Progress = no_progress, *, workers: int | None = None) -> dict[str, Any]:
        """Write the import; returns its counts."""
        source = replace(self.source, artifact=f"{self.key.path}/{self.identity.version}")
        return import_export(source, self.settings, self.limits, self.ontology, draft, workers=workers, progress=progress)


def plan(
    store: ArtifactStore, catalog: Catalog, ontology: Ontology, key: str, settings: ImportSettings, limits: ZipLimits | None = None
) -> ImportPlan:
    """Find what an import would be made of now.

    Args:
        store: where artifacts are.
        catalog: knows the ZIP.
        ontology: the classes there are.
        key: of the export.
        settings: how it is read.
        limits: what the ZIP may hold; None for the defaults.

    Raises:
        InputError: the ZIP or the images are gone, or two places are named for images.
    """
    row = catalog.exports.get(key)
    if settings.images_folder is not None and settings.from_recording is not None:
        raise InputError("images_folder and from_recording both say where the images are. Give one of them.")
    digest = current_digest(catalog, row)
    files = {"export": digest, "ontology": ontology.digest}
    images: ImageSource | None = None
    sources: tuple[Source, ...] = ()
    if settings.images_folder is not None:
        images = images_in(Path(settings.images_folder).expanduser())
        files["images"] = _digest(images)
    elif settings.from_recording is not None:
        frames = artifacts_in_force(store, settings.from_recording, ["frames"])["frames"]
        images, sources = _frames_of(frames), frames.manifest.sources
        files["frames"] = frames.version
    source = ImportSource(Path(row.path), digest, key, "", images, settings.from_recording)
    return ImportPlan(source, settings, limits or ZipLimits(), ontology, files, sources)


def bring_about(store: ArtifactStore, planned: ImportPlan, progress: Progress = no_progress, *, workers: int | None = None) -> Artifact:
    """Put a planned import in force: the published one if there is, else made now.

    Raises:
        InputError: the ZIP is refused or cannot be used; nothing of it is left.
    """
    with nothing_left(store, planned.key):
        return find_or_make(
            store, planned.key, planned.identity, lambda draft: (planned.make(draft, progress, workers=workers), {}), planned.sources
        )


@contextmanager
def nothing_left(store: ArtifactStore, key: ArtifactKey) -> Iterator[None]:
    """Drop the draft of an import that is refused; one that was interrupted is kept, to go on with."""
    try:
        yield
    except InputError:
        store.drop_drafts(key)
        raise


def _digest(images: FolderImages) -> str:
    """Digest of the names and contents of all images."""
    paths = [images.folder / name for name in images.names.values()]
    with ThreadPoolExecutor(default_workers()) as pool:
        return digest_json([[path.name, digest] for path, digest in zip(paths, pool.map(sha256_file, paths), strict=True)])


def _frames_of(frames: Artifact) -> FolderImages:
    """The left images of a recording's frames."""
    registry = frame_registry.read(frames.file(frame_registry.FILE_NAME))
    names = {each.svo2_frame_index: each.image_left for each in registry.frames if each.image_left is not None}
    return FolderImages(frames.folder, names)
