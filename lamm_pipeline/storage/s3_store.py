"""The artifact store in an S3 bucket. Drafts are made on this machine's disk; what is published is read through a copy there.

    <prefix>/<scope>/<partition>/<asset>/current.json                    which version is in force
    <prefix>/<scope>/<partition>/<asset>/<version>/manifest.json         written last: with it the version becomes visible
    <prefix>/<scope>/<partition>/<asset>/<version>/run.json
    <prefix>/<scope>/<partition>/<asset>/<version>/<content>/...         the files

`content` is made of the digests of all files, and `manifest.json` names it as `folder`. Two machines that publish one version at once write
the same objects where their bytes are equal, and into different folders where they are not, so files of two runs never mix and the manifest
that is written last decides as a whole. What lies there from a cut-off upload is known to be right and is not sent again.

On the disk the same names are used: drafts as `drafts.py` says, and the files of published versions as they were made or fetched. They are
fetched when they are asked for, checked by their digests, write-protected, and can be removed at any time while nobody reads them.
"""

import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from lamm_pipeline.errors import InputError
from lamm_pipeline.storage.artifacts import (
    CURRENT,
    MANIFEST,
    RUN,
    Artifact,
    ArtifactKey,
    FileEntry,
    Garbage,
    Identity,
    Manifest,
    Source,
    StoredFile,
)
from lamm_pipeline.storage.atomic import TEMPORARY, digest_json
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline.storage.drafts import PARTIAL, SCOPES, Drafts, put_in_place, remove_from_disk, seal, size_on_disk
from lamm_pipeline.storage.s3_bucket import PARALLEL_FILES, Bucket, StoredObject

TRIES = 3

_T = TypeVar("_T")
_R = TypeVar("_R")


class S3Store:
    """Artifacts in a bucket. `manifest.json` is written last, so a kill at any moment leaves no half artifact visible."""

    def __init__(self, bucket: Bucket, root: Path) -> None:
        """Nothing is connected to before the first use.

        Args:
            bucket: where artifacts are published.
            root: folder of this machine for drafts and fetched files; of no other store.
        """
        self.bucket = bucket
        self.root = root
        self.drafts = Drafts(root)
        self._read: set[str] = set()

    def current(self, key: ArtifactKey) -> Artifact | None:
        """See `ArtifactStore.current`."""
        version = self.current_version(key)
        return None if version is None else self.find(key, version)

    def current_version(self, key: ArtifactKey) -> str | None:
        """See `ArtifactStore.current_version`."""
        pointer = self.bucket.read(f"{key.path}/{CURRENT}")
        return None if pointer is None else str(json.loads(pointer)["version"])

    def find(self, key: ArtifactKey, version: str) -> Artifact | None:
        """See `ArtifactStore.find`."""
        text = self.bucket.read(f"{key.path}/{version}/{MANIFEST}")
        if text is None:
            return None
        return self._artifact(
            key, version, Manifest.from_json({name: value for name, value in json.loads(text).items() if name != "folder"})
        )

    def versions(self, key: ArtifactKey) -> list[str]:
        """See `ArtifactStore.versions`; to the second, by the server's clock."""
        found = _in_parallel(self.bucket.find, [f"{key.path}/{version}/{MANIFEST}" for version in self.bucket.folders(key.path)])
        manifests = sorted((each for each in found if each is not None), key=lambda each: (each.modified, each.name))
        return [PurePosixPath(each.name).parent.name for each in manifests]

    def make_current(self, artifact: Artifact) -> None:
        """See `ArtifactStore.make_current`. Nothing is written when it is in force: by its age `garbage` knows since when."""
        if self.current_version(artifact.key) != artifact.version:
            self.bucket.write(f"{artifact.key.path}/{CURRENT}", _json({"version": artifact.version}))

    def all_keys(self) -> list[ArtifactKey]:
        """See `ArtifactStore.all_keys`."""
        partitions = [f"{scope}/{partition}" for scope in SCOPES for partition in self.bucket.folders(scope)]
        assets = _in_parallel(self.bucket.folders, partitions)
        published = (
            ArtifactKey(*f"{folder}/{asset}".split("/")) for folder, names in zip(partitions, assets, strict=True) for asset in names
        )
        return sorted({*published, *self.drafts.keys()}, key=lambda key: (SCOPES.index(key.scope), key.path))

    def drop_drafts(self, key: ArtifactKey) -> list[str]:
        """See `ArtifactStore.drop_drafts`."""
        return self.drafts.drop(key)

    def draft(self, key: ArtifactKey, version: str, *, restart: bool = False) -> AbstractContextManager[Draft]:
        """See `ArtifactStore.draft`; writers on other machines have drafts of their own."""
        return self.drafts.open(key, version, restart=restart)

    def publish(
        self,
        key: ArtifactKey,
        draft: Draft,
        identity: Identity,
        counts: Mapping[str, Any],
        run: Mapping[str, Any],
        sources: Sequence[Source] = (),
    ) -> Artifact:
        """See `ArtifactStore.publish`."""
        draft.close()
        manifest = Manifest(identity.version, identity, counts, seal(draft.directory), tuple(sources))
        artifact = self._artifact(key, identity.version, manifest)
        base = f"{key.path}/{identity.version}"
        # a forced run sends all files again, because what lies there may be damaged
        again = self.bucket.read(f"{base}/{MANIFEST}") is not None
        self._upload(draft.directory, artifact, {} if again else self.contents(artifact))
        self.bucket.write(f"{base}/{RUN}", _json(run))
        self.bucket.write(f"{base}/{MANIFEST}", _json({**manifest.to_json(), "folder": _content(manifest)}))
        partial_folder = draft.directory.parent
        put_in_place(draft, self.root / _place(artifact))
        self.make_current(artifact)
        shutil.rmtree(partial_folder)
        return artifact

    def run(self, artifact: Artifact) -> Mapping[str, Any] | None:
        """See `ArtifactStore.run`."""
        text = self.bucket.read(f"{artifact.key.path}/{artifact.version}/{RUN}")
        return None if text is None else dict(json.loads(text))

    def link(self, artifact: Artifact, name: str, seconds: int = 3600) -> str | None:
        """See `ArtifactStore.link`; it holds for seven days at most."""
        if name not in artifact.manifest.files:
            raise InputError(f"The artifact {artifact.key.path}/{artifact.version} has no file {name!r}. Run its stage again.")
        return self.bucket.link(f"{_place(artifact)}/{name}", seconds)

    def contents(self, artifact: Artifact) -> dict[str, StoredFile]:
        """See `ArtifactStore.contents`."""
        place = _place(artifact)
        return {each.name.removeprefix(f"{place}/"): StoredFile(each.size, each.name) for each in self.bucket.below(place)}

    def digest(self, artifact: Artifact, name: str) -> str:
        """See `ArtifactStore.digest`."""
        return self.bucket.download(f"{_place(artifact)}/{name}")

    def held(self, keys: Iterable[ArtifactKey]) -> AbstractContextManager[bool]:
        """See `ArtifactStore.held`."""
        return self.drafts.held(keys)

    def garbage(self, key: ArtifactKey, kept: set[str], oldest: float) -> Iterator[Garbage]:
        """See `ArtifactStore.garbage`.

        Locks do not reach other machines. What they may be publishing or reading is spared by age: objects count once they are older than
        `oldest`, and versions once another one has been in force since then. Fetched files can go when nobody has read them since then.
        """
        stored: dict[str, list[StoredObject]] = {}
        pointer_modified = 0.0
        for each in self.bucket.below(key.path):
            version, _, rest = each.name.removeprefix(f"{key.path}/").partition("/")
            if rest:
                stored.setdefault(version, []).append(each)
            else:
                pointer_modified = each.modified
        for version, objects in stored.items():
            yield from self._of_version(key, version, objects, version in kept, pointer_modified, oldest)
        for upload in self.bucket.unfinished(key.path):
            if upload.started < oldest:
                place = self.bucket.address(upload.name)
                yield Garbage(place, "parts of an upload that was cut off", 0, partial(self.bucket.abort, upload))
        yield from self._of_disk(key, oldest)
        yield from self.drafts.garbage(key, lambda version: self.find(key, version) is not None, oldest)

    def remove(self, key: ArtifactKey) -> int:
        """See `ArtifactStore.remove`."""
        stored = list(self.bucket.below(key.path))
        pointer = [each.name for each in stored if each.name == f"{key.path}/{CURRENT}"]
        manifests = [each.name for each in stored if each.name.endswith(f"/{MANIFEST}")]
        rest = sorted({each.name for each in stored} - {*pointer, *manifests})
        for names in (pointer, manifests, rest):  # in this order, so that a removal that is cut off leaves nothing that looks published
            _in_parallel(self.bucket.remove, names)
        for upload in self.bucket.unfinished(key.path):
            self.bucket.abort(upload)
        shutil.rmtree(self.root / key.path, ignore_errors=True)
        return sum(each.size for each in stored)

    def _of_version(
        self, key: ArtifactKey, version: str, objects: list[StoredObject], kept: bool, pointer_modified: float, oldest: float
    ) -> Iterator[Garbage]:
        base = f"{key.path}/{version}"
        artifact = self.find(key, version)
        if artifact is None:
            reason, going = "left by an upload or a removal that was cut off", objects
        elif not kept:
            reason, going = "not in force, pinned by no dataset version, and nothing kept was made from it", objects
        else:
            files = (f"{_place(artifact)}/", f"{base}/{MANIFEST}", f"{base}/{RUN}")
            reason, going = (
                "left by an upload that was cut off, or former files",
                [each for each in objects if not each.name.startswith(files)],
            )
        changed = max((each.modified for each in going), default=oldest)
        if artifact is not None and not kept:
            changed = max(changed, pointer_modified)
        if changed < oldest:
            names = sorted((each.name for each in going), key=lambda name: name != f"{base}/{MANIFEST}")
            yield Garbage(self.bucket.address(base), reason, sum(each.size for each in going), partial(self._remove, names))

    def _of_disk(self, key: ArtifactKey, oldest: float) -> Iterator[Garbage]:
        folder = self.root / key.path
        for fetched in sorted(folder.iterdir()) if folder.is_dir() else ():
            if fetched.is_dir() and fetched.suffix != PARTIAL and fetched.stat().st_mtime < oldest:
                yield Garbage(str(fetched), "copy that can be fetched again", size_on_disk(fetched), partial(remove_from_disk, fetched))

    def _remove(self, names: Sequence[str]) -> None:
        self.bucket.remove(names[0])  # the manifest, so that a removal that is cut off leaves nothing that looks published
        _in_parallel(self.bucket.remove, names[1:])

    def _artifact(self, key: ArtifactKey, version: str, manifest: Manifest) -> Artifact:
        for name in manifest.files:
            if name.startswith("/") or ".." in name.split("/"):
                raise InputError(
                    f"{self.bucket.address(f'{key.path}/{version}/{MANIFEST}')} names {name!r}, which lies outside. Do not use it."
                )
        place = f"{key.path}/{version}/{_content(manifest)}"
        fetch = partial(self._fetch, place, manifest.files)
        return Artifact(key, manifest, self.root / place, self.bucket.address(place), fetch)

    def _upload(self, folder: Path, artifact: Artifact, present: Mapping[str, StoredFile]) -> None:
        """Send a draft's files. What this process has fetched and linked into the draft is copied by the server instead."""
        place = _place(artifact)
        fetched = self._fetched_twins(folder)

        def send(item: tuple[str, FileEntry]) -> None:
            name, entry = item
            if name in present and present[name].size == entry.size:
                return
            path = folder / name
            twin = fetched.get(_inode(path))
            if twin is None or not self.bucket.copy(twin, f"{place}/{name}", entry.size):
                self.bucket.upload(path, f"{place}/{name}")

        _in_parallel(send, list(artifact.manifest.files.items()))

    def _fetched_twins(self, folder: Path) -> dict[tuple[int, int], str]:
        """Objects that lie in `folder` as hard links, by inode; on the disk files have the names of their objects."""
        states = (path.stat() for path in folder.rglob("*") if path.is_file())
        linked = {(state.st_dev, state.st_ino) for state in states if state.st_nlink > 1}
        if not linked:
            return {}
        files = (path for place in sorted(self._read) for path in (self.root / place).rglob("*") if path.is_file())
        return {inode: path.relative_to(self.root).as_posix() for path in files if (inode := _inode(path)) in linked}

    def _fetch(self, place: str, entries: Mapping[str, FileEntry], names: Iterable[str]) -> None:
        """Bring files of a published version to the disk, those that are not there yet."""
        self._read.add(place)
        folder = self.root / place
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder.parent)  # when it was read last
        missing = [name for name in names if not _is_there(folder / name, entries[name])]
        _in_parallel(lambda name: self._fetch_file(f"{place}/{name}", folder / name, entries[name]), missing)

    def _fetch_file(self, name: str, path: Path, entry: FileEntry) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{uuid.uuid4().hex}{TEMPORARY}")
        try:
            for _ in range(TRIES):
                with unfinished.open("wb") as file:
                    digest = self.bucket.download(name, file)
                    file.flush()
                    os.fsync(file.fileno())
                if digest == entry.sha256:
                    unfinished.chmod(0o444)
                    unfinished.replace(path)
                    return
        except FileNotFoundError:
            raise InputError(
                f"{self.bucket.address(name)} is missing, although it was published. Run its stage again with force."
            ) from None
        finally:
            unfinished.unlink(missing_ok=True)
        raise InputError(
            f"{self.bucket.address(name)} is not what was published ({TRIES} times another digest). Run its stage again with force."
        )


def open_s3_store(address: str, endpoint: str | None, root: Path) -> S3Store:
    """The store at an address, with its part of the disk below `root`.

    Raises:
        InputError: the address or the endpoint is none.
    """
    bucket = Bucket(address, endpoint)
    return S3Store(bucket, root / "s3" / bucket.name / bucket.prefix)


def _content(manifest: Manifest) -> str:
    """Name of the folder with the files: equal for equal files."""
    return digest_json({name: entry.sha256 for name, entry in manifest.files.items()})[:16]


def _place(artifact: Artifact) -> str:
    return f"{artifact.key.path}/{artifact.version}/{_content(artifact.manifest)}"


def _is_there(path: Path, entry: FileEntry) -> bool:
    try:
        return path.stat().st_size == entry.size
    except FileNotFoundError:
        return False


def _inode(path: Path) -> tuple[int, int]:
    state = path.stat()
    return state.st_dev, state.st_ino


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _in_parallel(work: Callable[[_T], _R], items: Sequence[_T]) -> list[_R]:
    with ThreadPoolExecutor(PARALLEL_FILES) as pool:
        return list(pool.map(work, items))
