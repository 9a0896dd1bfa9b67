"""The resource every asset asks for: where artifacts, recordings and the catalog are."""

from functools import cached_property
from pathlib import Path

import dagster as dg

from lamm_pipeline.catalog.catalog import Catalog
from lamm_pipeline.errors import InputError
from lamm_pipeline.ontology.false_positives import load_false_positive_types
from lamm_pipeline.ontology.ontology import Ontology, load_ontology
from lamm_pipeline.settings import Settings
from lamm_pipeline.storage.artifacts import Artifact, ArtifactKey, ArtifactStore
from lamm_pipeline.storage.in_force import artifacts_in_force
from lamm_pipeline.storage.local_store import LocalStore


class Workspace(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The root folder with all that was made, and the catalog of what is known.

    Passwords stay out of it: the catalog's URL comes from the environment.
    """

    root: str

    @cached_property
    def settings(self) -> Settings:
        """The environment this process runs in."""
        return Settings.from_environment(root=Path(self.root))

    @cached_property
    def store(self) -> ArtifactStore:
        """Published artifacts."""
        if self.settings.store is None:
            return LocalStore(Path(self.root))
        from lamm_pipeline.storage.s3_store import open_s3_store  # noqa: PLC0415  boto3 takes a quarter of a second to load

        return open_s3_store(self.settings.store, self.settings.s3_endpoint, Path(self.root))

    @cached_property
    def catalog(self) -> Catalog:
        """Recordings, datasets, versions, audit."""
        return Catalog(self.settings.catalog_url)

    @cached_property
    def ontology(self) -> Ontology:
        """The classes in force."""
        return load_ontology(self.settings.ontology_file)

    @cached_property
    def false_positive_types(self) -> tuple[str, ...]:
        """The words for what a false alarm is instead."""
        return load_false_positive_types(self.settings.false_positives_file)

    def recording_artifact(self, recording: str, asset: str) -> Artifact:
        """The version in force of a recording's artifact.

        Raises:
            InputError: the asset was not materialized for this recording.
        """
        return self.recording_artifacts(recording, asset)[asset]

    def recording_artifacts(self, recording: str, *assets: str) -> dict[str, Artifact]:
        """The versions in force of several artifacts of a recording, by asset.

        Raises:
            InputError: an asset was not materialized for this recording, or was made from another version of one of the others.
        """
        return artifacts_in_force(self.store, recording, assets)

    def version_artifact(self, version_key: str, asset: str) -> Artifact:
        """The artifact of a dataset version.

        Raises:
            InputError: the asset was not materialized for this version.
        """
        artifact = self.store.current(ArtifactKey("datasets", version_key, asset))
        if artifact is None:
            raise InputError(f"There is no {asset!r} of {version_key!r} yet. Materialize {asset!r} for this partition first.")
        return artifact
