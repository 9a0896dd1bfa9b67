"""Exports of a dataset version in a store, with files of any content."""

from datetime import UTC, datetime

from lamm_pipeline.catalog.models import DatasetVersion
from lamm_pipeline.storage.artifacts import Artifact, ArtifactKey, ArtifactStore, Identity
from lamm_pipeline_tests.review.worlds import World

FILES = {"coco/train/annotations.json": b'{"images":[]}', "coco/train/images/000000.png": bytes(range(256)) * 9000}


def publish(store: ArtifactStore, files: dict[str, bytes], version: str, sparse: int = 0) -> Artifact:
    key = ArtifactKey("datasets", version, "coco_dataset")
    identity = Identity(key.asset, "1", {"files": sorted(files), "sparse": sparse}, {}, {})
    with store.draft(key, identity.version) as draft:
        for name, content in files.items():
            (draft.directory / name).parent.mkdir(parents=True, exist_ok=True)
            (draft.directory / name).write_bytes(content)
        if sparse:
            with (draft.directory / "coco/large.bin").open("wb") as file:
                file.truncate(sparse)
        return store.publish(key, draft, identity, {}, {})


def export(world: World, files: dict[str, bytes] = FILES, version: str = "night.v1", sparse: int = 0) -> Artifact:
    """Publish a version as COCO; with `sparse` also a file of so many zeros that takes no place on the disk."""
    artifact = publish(world.store, files, version, sparse)
    number = int(version.rpartition("v")[2])
    world.catalog.versions.add(
        DatasetVersion(
            key=version,
            name="night",
            number=number,
            title="<b>Night</b>",
            description="",
            manifest_path="m",
            manifest_digest="d",
            created_at=datetime(2026, 1, number, tzinfo=UTC),
            created_by="ada",
        )
    )
    return artifact
