"""Where drafts are kept between runs: on a disk of this machine, whichever store they are published to.

    <root>/<scope>/<partition>/<asset>/<version>.partial/files/      the outputs of a draft; beside them its checkpoint and logs
    <root>/<scope>/<partition>/<asset>/<version>/                    what was published, where the store keeps it on disk
    <root>/<scope>/<partition>/<asset>/<version>.replaced/           former files, while a forced run puts new ones in their place

A draft ends by renaming `files/`, so its checkpoint lives until the version is visible: a kill at any moment costs at most the work since
the last checkpoint.
"""

import fcntl
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial as bound
from itertools import chain
from pathlib import Path
from typing import IO

from lamm_pipeline.storage.artifacts import MANIFEST, RUN, ArtifactKey, FileEntry, Garbage
from lamm_pipeline.storage.atomic import TEMPORARY, fsync_folder, sha256_file, sync_file_system
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline.streaming import default_workers

PARTIAL = ".partial"
REPLACED = ".replaced"
LOCK = ".lock"
FILES = "files"
_SEALED_AT_ONCE = 32  # files that go to a thread together: to hand over each costs as much as a small one's digest
SCOPES = ("recordings", "annotation_exports", "datasets", "summaries")


class Drafts:
    """The drafts below `root`, and the locks by which one writer at a time holds each."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def keys(self) -> list[ArtifactKey]:
        """Every artifact that there is a folder for."""
        folders = (path for scope in SCOPES for path in sorted((self.root / scope).glob("*/*")) if path.is_dir())
        return [ArtifactKey(*folder.relative_to(self.root).parts) for folder in folders]

    @contextmanager
    def open(self, key: ArtifactKey, version: str, *, restart: bool = False) -> Iterator[Draft]:
        """See `ArtifactStore.draft`. A second writer of the same version waits until the first one ends."""
        folder = self.root / key.path / version
        partial = _beside(folder, PARTIAL)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(_lock_of(folder)):
            _finish_replacing(folder)
            if restart or not (partial / FILES).is_dir():
                shutil.rmtree(partial, ignore_errors=True)
            _reopen(partial / FILES)
            draft = Draft.open(partial / FILES, partial)
            try:
                yield draft
            finally:
                draft.close()

    def drop(self, key: ArtifactKey) -> list[str]:
        """See `ArtifactStore.drop_drafts`."""
        dropped = []
        for partial in sorted((self.root / key.path).glob(f"*{PARTIAL}")):
            with locked_at_once(_lock_of(partial.with_suffix(""))) as free:
                if free:
                    shutil.rmtree(partial)
                    dropped.append(partial.stem)
        return dropped

    @contextmanager
    def held(self, keys: Iterable[ArtifactKey]) -> Iterator[bool]:
        """See `ArtifactStore.held`."""
        locks = [path for key in keys for path in sorted((self.root / key.path).glob(f".*{LOCK}"))]
        with ExitStack() as stack:
            yield all(stack.enter_context(locked_at_once(lock)) for lock in locks)

    def garbage(self, key: ArtifactKey, published: Callable[[str], bool], oldest: float) -> Iterator[Garbage]:
        """What runs left here that can go: drafts, unfinished writes, replaced files, locks.

        Args:
            key: the artifact.
            published: whether a version is.
            oldest: time stamp; what is younger may still be wanted.
        """
        folder = self.root / key.path
        kept: set[str] = set()
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            reason = None
            if path.name.endswith(TEMPORARY):
                reason = "left by a write that was cut off" if path.stat().st_mtime < oldest else None
            elif path.suffix == PARTIAL:
                reason = _of_draft(path, oldest, published=published(path.stem))
                kept |= {path.stem} if reason is None else set()
            elif path.suffix == REPLACED:
                reason = "former files of a version" if published(path.stem) else None
            if reason is not None:
                yield Garbage(str(path), reason, size_on_disk(path), bound(remove_from_disk, path))
        for lock in sorted(folder.glob(f".*{LOCK}")):
            if lock.stem[1:] not in kept:
                yield Garbage(str(lock), "lock that nobody holds", 0, bound(remove_from_disk, lock))


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path`, waiting for whoever holds it. Its holder may remove it: who waited then takes the new one."""
    while True:
        with path.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if _is_still(lock, path):
                yield
                return


@contextmanager
def locked_at_once(path: Path) -> Iterator[bool]:
    """Hold the lock file `path` if nobody holds it; tells whether it is held now."""
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield _is_still(lock, path)


def seal(folder: Path) -> dict[str, FileEntry]:
    """Digest, write-protect and make durable every file below `folder`; returns them by relative name."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    groups = [files[start : start + _SEALED_AT_ONCE] for start in range(0, len(files), _SEALED_AT_ONCE)]
    with ThreadPoolExecutor(default_workers()) as pool:
        sealed = chain.from_iterable(pool.map(lambda group: [_seal(path) for path in group], groups))
        entries = dict(zip([path.relative_to(folder).as_posix() for path in files], sealed, strict=True))
    sync_file_system(folder)  # at once: to wait for the disk file by file costs a millisecond each
    return entries


def put_in_place(draft: Draft, folder: Path) -> None:
    """Rename a draft's outputs to `folder`, replacing what is there: a forced run made it again."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.exists():
        shutil.rmtree(_beside(folder, REPLACED), ignore_errors=True)
        folder.rename(_beside(folder, REPLACED))
    draft.directory.rename(folder)
    fsync_folder(folder.parent)
    _finish_replacing(folder)


def size_on_disk(path: Path) -> int:
    """Bytes that removing it gives back; files with other names elsewhere give nothing back."""
    states = [each.stat() for each in [path, *path.rglob("*")] if each.is_file()]
    return sum(state.st_size for state in states if state.st_nlink == 1)


def remove_from_disk(path: Path) -> None:
    """Remove a file or a folder."""
    if path.is_dir():
        (path / MANIFEST).unlink(missing_ok=True)  # first, so that a removal that is cut off leaves nothing that looks published
        shutil.rmtree(path)
    else:
        path.unlink()


def _is_still(lock: IO[str], path: Path) -> bool:
    """Whether the open file is the one that the path names."""
    try:
        return os.path.samestat(os.fstat(lock.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}{LOCK}")


def _beside(folder: Path, suffix: str) -> Path:
    return folder.with_name(folder.name + suffix)


def _finish_replacing(folder: Path) -> None:
    """End a replacement, one that was cut off by a kill too: where the new files did not arrive, the former ones are put back."""
    replaced = _beside(folder, REPLACED)
    if not replaced.exists():
        return
    if folder.exists():
        shutil.rmtree(replaced)
    else:
        replaced.rename(folder)


def _reopen(files: Path) -> None:
    """Undo what a killed run left in a draft's outputs: half a publication (manifest, write protection) and unfinished writes.

    Files with several names are hard links into other artifacts and keep their protection; whoever made them replaces, never rewrites them.
    """
    for path in [*files.glob(MANIFEST), *files.glob(RUN), *files.rglob(f".*{TEMPORARY}")]:
        path.unlink()
    for path in files.rglob("*"):
        state = path.stat()
        if path.is_file() and state.st_nlink == 1 and not state.st_mode & stat.S_IWUSR:
            path.chmod(state.st_mode | stat.S_IWUSR)


def _seal(path: Path) -> FileEntry:
    state = path.stat()
    entry = FileEntry(state.st_size, sha256_file(path))
    if state.st_mode & 0o222:  # a hard link may be another user's file, whose mode only its owner may change
        path.chmod(0o444)
    return entry


def _of_draft(partial: Path, oldest: float, *, published: bool) -> str | None:
    """Why a draft can go; it is written to at its top, where its checkpoint and logs lie."""
    if published:
        return "draft of a version that is published"
    touched = max(path.stat().st_mtime for path in [partial, *partial.iterdir()])
    return "draft that nobody continued" if touched < oldest else None
