"""The places that the tests of artifact stores run on: a disk, and a bucket."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lamm_pipeline.storage.artifacts import Artifact, ArtifactKey, Identity
from lamm_pipeline.storage.local_store import LocalStore
from lamm_pipeline.storage.s3_bucket import Bucket
from lamm_pipeline.storage.s3_store import S3Store

SMALLEST_PART = 5 * 1024 * 1024
Store = LocalStore | S3Store


@dataclass(frozen=True)
class Place:
    """Where stores can be opened.

    Attributes:
        folder: a disk.
        bucket: as boto3 sees it; None to have stores on the disk.
        endpoint: of the bucket's server.
    """

    folder: Path
    bucket: Any = None
    endpoint: str | None = None

    def open(self, name: str = "store", machine: str = "one") -> Store:
        """A store as a new process opens it. On a disk all machines share it; of a bucket each has its own drafts and fetched files."""
        if self.bucket is None:
            return LocalStore(self.folder / name)
        bucket = Bucket(f"s3://{self.bucket.name}/{name}", self.endpoint, part_bytes=SMALLEST_PART)
        bucket.__dict__["_client"] = self._client
        return S3Store(bucket, self.folder / machine / name)

    @cached_property
    def _client(self) -> Any:
        """One for all stores: it holds nothing of theirs, and making one takes longer than what most tests do with it."""
        return Bucket(f"s3://{self.bucket.name}", self.endpoint)._client

    def published(self, name: str = "store") -> dict[str, bytes]:
        """Everything that is published, as other programs see it."""
        if self.bucket is not None:
            return {each.key: each.get()["Body"].read() for each in self.bucket.objects.filter(Prefix=f"{name}/")}
        root = self.folder / name
        files = {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        return {name: content for name, content in files.items() if ".partial/" not in name and not name.endswith(".lock")}


def publish(store: Store, key: ArtifactKey, identity: Identity, files: Mapping[str, str]) -> Artifact:
    """Publish files with these texts."""
    with store.draft(key, identity.version) as draft:
        for name, text in files.items():
            path = draft.directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return store.publish(key, draft, identity, {"rows": 1}, {"seconds": 1.0})


def manifest(place: Place, name: str, artifact: Artifact) -> dict[str, Any]:
    """The `manifest.json` of an artifact, as other programs see it."""
    [found] = [content for path, content in place.published(name).items() if path.endswith(f"{artifact.version}/manifest.json")]
    return dict(json.loads(found))
