"""Published artifacts: immutable folders under a version made of everything that decided their content.

    <root>/<scope>/<partition>/<asset>/<version>/manifest.json, run.json, files...
    <root>/<scope>/<partition>/<asset>/current.json        which version is in force

A version is published as a whole or not at all; published files are read-only and never change. The root is a folder (`LocalStore`) or a
prefix in a bucket (`S3Store`).
"""

import json
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from lamm_pipeline.errors import InputError
from lamm_pipeline.storage.atomic import Json, digest_json
from lamm_pipeline.storage.draft import Draft

MANIFEST = "manifest.json"
RUN = "run.json"
CURRENT = "current.json"
UNPARTITIONED = "all"
"""What stands for the partition of an artifact that is of the whole root."""


@dataclass(frozen=True)
class ArtifactKey:
    """Which artifact.

    Attributes:
        scope: `recordings`, `annotation_exports`, `datasets` or `summaries`.
        partition: the partition key, `UNPARTITIONED` for summaries.
        asset: the asset's name.
    """

    scope: str
    partition: str
    asset: str

    @property
    def path(self) -> str:
        """Folder of all versions, relative to the root."""
        return f"{self.scope}/{self.partition}/{self.asset}"


@dataclass(frozen=True)
class Identity:
    """Everything that decides the content of an artifact of one partition. Equal identities in one partition give equal bytes.

    The partition itself is no part of it, although its key stands in files (frame ids, a dataset version's name and date).

    Attributes:
        asset: the asset's name.
        code_version: raised by hand whenever the code would write other bytes.
        config: science settings; operational ones (workers, force, paths) are no part of it.
        inputs: versions of the artifacts read, by asset.
        files: digests of every other file read (calibration, ontology, weights, predictions), by role.
    """

    asset: str
    code_version: str
    config: Mapping[str, Json]
    inputs: Mapping[str, str]
    files: Mapping[str, str]

    @property
    def version(self) -> str:
        """Sixteen hex digits naming the artifact's version."""
        return digest_json(asdict(self))[:16]


@dataclass(frozen=True)
class Source:
    """A recording that an artifact was made of.

    Attributes:
        recording: its key.
        dataset_id: the source dataset it belongs to, None when it was picked.
        digest: SHA-256 of its file.
    """

    recording: str
    dataset_id: str | None
    digest: str


@dataclass(frozen=True)
class FileEntry:
    """One file of an artifact."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a published artifact consists of. Holds nothing that differs between two runs of the same work.

    `sources` are handed on from artifact to artifact, so that each tells by itself where it came from; artifacts published before there
    were any have none.
    """

    version: str
    identity: Identity
    counts: Mapping[str, Any]
    files: Mapping[str, FileEntry]
    sources: tuple[Source, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(entry.size for entry in self.files.values())

    def to_json(self) -> dict[str, Any]:
        """The content of `manifest.json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Manifest":
        """The inverse of `to_json`."""
        files = {name: FileEntry(**entry) for name, entry in value["files"].items()}
        sources = tuple(Source(**source) for source in value.get("sources", ()))
        return cls(value["version"], Identity(**value["identity"]), value["counts"], files, sources)


class Artifact:
    """A published artifact, ready to be read.

    Attributes:
        location: where it lies, for people: a folder or an `s3://` address.
    """

    def __init__(
        self,
        key: ArtifactKey,
        manifest: Manifest,
        folder: Path,
        location: str | None = None,
        fetch: Callable[[Iterable[str]], None] | None = None,
    ) -> None:
        """Made by stores.

        Args:
            key: which artifact.
            manifest: what it consists of.
            folder: where its files are to be read.
            location: where it lies when that is not `folder`.
            fetch: brings the named files into `folder`; None where they are there.
        """
        self.key = key
        self.manifest = manifest
        self.location = location or str(folder)
        self._folder = folder
        self._fetch = fetch

    @property
    def version(self) -> str:
        """The version's name."""
        return self.manifest.version

    @property
    def counts(self) -> Mapping[str, Any]:
        """Numbers the stage reported when it made the artifact."""
        return self.manifest.counts

    @property
    def folder(self) -> Path:
        """Folder with all its files; they are fetched first where the store is not on a disk. For some of them take `file`."""
        if self._fetch is not None:
            self._fetch(self.manifest.files)
            self._fetch = None
        return self._folder

    def file(self, name: str) -> Path:
        """Path of one file to read.

        Raises:
            InputError: the artifact has no such file.
        """
        if name not in self.manifest.files:
            raise InputError(f"The artifact {self.key.path}/{self.version} has no file {name!r}. Run its stage again.")
        if self._fetch is not None:
            self._fetch([name])
        return self._folder / name


@dataclass(frozen=True)
class StoredFile:
    """A file as it lies in the store now.

    Attributes:
        size: in bytes.
        place: files with equal places are the same one under several names.
    """

    size: int
    place: Hashable


@dataclass(frozen=True)
class Garbage:
    """One thing that can go.

    Attributes:
        place: path or `s3://` address, for people.
        reason: why it can go, for people.
        size: bytes it gives back; files with other names elsewhere give nothing back.
        remove: removes it.
    """

    place: str
    reason: str
    size: int
    remove: Callable[[], None]


class ArtifactStore(Protocol):
    """Where artifacts live. `LocalStore` is the one on a disk, `S3Store` the one in a bucket."""

    def current(self, key: ArtifactKey) -> Artifact | None:
        """The version in force, or None."""
        ...

    def current_version(self, key: ArtifactKey) -> str | None:
        """Name of the version in force, whether it can be read or not; None when none is."""
        ...

    def find(self, key: ArtifactKey, version: str) -> Artifact | None:
        """One published version, or None."""
        ...

    def versions(self, key: ArtifactKey) -> list[str]:
        """All published versions, oldest first."""
        ...

    def all_keys(self) -> list[ArtifactKey]:
        """Every artifact that there is a folder for, published or in the making."""
        ...

    def drop_drafts(self, key: ArtifactKey) -> list[str]:
        """Throw away what interrupted runs left of this artifact; returns their versions. A draft that is being written stays."""
        ...

    def make_current(self, artifact: Artifact) -> None:
        """Put a published version in force."""
        ...

    def draft(self, key: ArtifactKey, version: str, *, restart: bool = False) -> AbstractContextManager[Draft]:
        """A draft of this version: a new one, or the one an interrupted run left. Held by one writer at a time.

        Args:
            key: the artifact.
            version: its version; only a draft of the same version is continued.
            restart: throw an interrupted draft away first.
        """
        ...

    def publish(
        self,
        key: ArtifactKey,
        draft: Draft,
        identity: Identity,
        counts: Mapping[str, Any],
        run: Mapping[str, Any],
        sources: Sequence[Source] = (),
    ) -> Artifact:
        """Turn a draft into a published version and put it in force; atomic."""
        ...

    def run(self, artifact: Artifact) -> Mapping[str, Any] | None:
        """What `publish` was told about the run that made it, or None."""
        ...

    def link(self, artifact: Artifact, name: str, seconds: int = 3600) -> str | None:
        """An address under which a browser can read one file, without our help and for so many seconds; None where there is none.

        Never to be stored: it holds a signature.
        """
        ...

    def contents(self, artifact: Artifact) -> dict[str, StoredFile]:
        """The files that lie in the store as this artifact, whatever its manifest says."""
        ...

    def digest(self, artifact: Artifact, name: str) -> str:
        """Hex SHA-256 of a file as it lies in the store now."""
        ...

    def held(self, keys: Iterable[ArtifactKey]) -> AbstractContextManager[bool]:
        """Hold all drafts of these artifacts, so that nobody on this machine writes; False if somebody does already."""
        ...

    def garbage(self, key: ArtifactKey, kept: set[str], oldest: float) -> Iterable[Garbage]:
        """What can go of one artifact.

        Args:
            key: the artifact; `held`.
            kept: the versions that must stay.
            oldest: time stamp; what somebody may still be working with stays when it is younger.
        """
        ...

    def remove(self, key: ArtifactKey) -> int:
        """Remove an artifact, which is `held`, with all that there is of it: in force, other versions, drafts; returns the bytes."""
        ...


def read_manifest(path: Path) -> Manifest:
    """Read a `manifest.json`."""
    return Manifest.from_json(json.loads(path.read_text()))
