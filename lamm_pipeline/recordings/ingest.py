"""How recordings enter: picked files, or a source dataset over a folder. Both end as rows of the catalog with a partition key each."""

import hashlib
import itertools
import os
import re
import shutil
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from lamm_pipeline.catalog.catalog import Catalog
from lamm_pipeline.catalog.models import Recording, SourceDataset, now
from lamm_pipeline.errors import InputError

SUFFIX = ".svo2"
MAX_SLUG = 80
QUICK_BYTES = 64 * 1024


class Prepare(StrEnum):
    """How a source dataset's files are laid out below the root, one folder per camera."""

    reference = "reference"
    hardlink = "hardlink"
    symlink = "symlink"
    copy = "copy"


@dataclass(frozen=True)
class Added:
    """What became of one file: `status` is `added`, `unchanged`, `changed` or `moved`."""

    key: str
    path: Path
    status: str


def find_recordings(folder: Path) -> Iterator[Path]:
    """Paths of all SVO2 files below `folder`, sorted.

    Raises:
        InputError: `folder` is no folder.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder. Give the folder that holds the {SUFFIX} files.")
    yield from sorted(path for path in folder.rglob("*") if path.suffix.lower() == SUFFIX and path.is_file())


def add_files(catalog: Catalog, files: Iterable[Path], actor: str) -> list[Added]:
    """Take picked files in, without a source dataset.

    Raises:
        InputError: a file does not exist.
    """
    return [_add(catalog, path, path.expanduser().resolve(), None, actor) for path in files]


def scan(catalog: Catalog, dataset: SourceDataset, root: Path, serial_of: Callable[[Path], int], actor: str) -> list[Added]:
    """Take in every recording of a source dataset's folder, prepared the way the dataset says.

    Args:
        catalog: where the recordings are remembered.
        dataset: the source dataset.
        root: the root; prepared files lie at `prepared/<dataset>/SN<serial>/<file>` below it.
        serial_of: tells the camera's serial number of a file.
        actor: who does it.

    Raises:
        InputError: the folder is gone or a file cannot be prepared.
    """
    added = []
    for source in find_recordings(Path(dataset.folder)):
        prepared = source
        if dataset.prepare != Prepare.reference:
            prepared = (
                root
                / "prepared"
                / dataset.name
                / f"SN{serial_of(source)}"
                / source.relative_to(dataset.folder).as_posix().replace("/", "_")
            )
            _prepare(source, prepared, Prepare(dataset.prepare))
        added.append(_add(catalog, source.resolve(), prepared, dataset.id, actor))
    return added


def recording_slug(stem: str) -> str:
    """A partition key from a file's stem: ASCII letters, digits, `_`, `-` and `.`, at most `MAX_SLUG` characters.

    Dagster itself accepts any text, but a comma breaks backfills, and a slash or a colon breaks paths and frame ids.
    """
    ascii_only = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^A-Za-z0-9_.-]+", "_", ascii_only)
    return re.sub(r"\.{2,}", ".", slug).strip("._-")[:MAX_SLUG].rstrip("._-") or "recording"


def quick_digest(path: Path) -> str:
    """Hex SHA-256 over the file's size and its first and last 64 KiB: tells files apart without reading them whole."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        digest.update(file.read(QUICK_BYTES))
        file.seek(max(0, size - QUICK_BYTES))
        digest.update(file.read(QUICK_BYTES))
    return digest.hexdigest()


def _add(catalog: Catalog, source: Path, path: Path, dataset_id: str | None, actor: str) -> Added:
    if not path.is_file():
        raise InputError(f"{source} does not exist or is no file. Check the path.")
    stat = path.stat()
    digest = quick_digest(path)
    known = catalog.recording_from(source)
    if known is not None:
        same = (known.size, known.quick_digest) == (stat.st_size, digest)
        if same and known.path == str(path):
            return Added(known.key, path, "unchanged")
        _put(catalog, known.key, known.dataset_id or dataset_id, source, path, digest, actor, "recording.change")
        return Added(known.key, path, "changed")
    moved = _gone_twin(catalog, digest)
    if moved is not None:
        _put(catalog, moved.key, moved.dataset_id or dataset_id, source, path, digest, actor, "recording.move")
        return Added(moved.key, path, "moved")
    key = _free_key(catalog, recording_slug(source.stem), digest)
    _put(catalog, key, dataset_id, source, path, digest, actor, "recording.add")
    return Added(key, path, "added")


def _put(catalog: Catalog, key: str, dataset_id: str | None, source: Path, path: Path, digest: str, actor: str, action: str) -> None:
    stat = path.stat()
    row = Recording(
        key=key,
        dataset_id=dataset_id,
        source_path=str(source),
        path=str(path),
        size=stat.st_size,
        mtime_ns=stat.st_mtime_ns,
        quick_digest=digest,
        digest=None,
        added_at=now(),
        added_by=actor,
    )
    catalog.put_recording(row, action)


def _gone_twin(catalog: Catalog, digest: str) -> Recording | None:
    """A recording of the same content whose file is no longer where it was found: the file was moved."""
    return next((row for row in catalog.recordings_like(digest) if not Path(row.source_path).exists()), None)


def _free_key(catalog: Catalog, slug: str, digest: str) -> str:
    """The bare slug for its first holder, the slug with a piece of the content digest for later ones."""
    candidates = itertools.chain(
        [slug], (f"{slug}-{digest[:length]}" for length in (8, 16)), (f"{slug}-{digest[:16]}-{n}" for n in itertools.count(2))
    )
    return next(key for key in candidates if not catalog.has_recording(key))


def _prepare(source: Path, target: Path, mode: Prepare) -> None:
    if target.exists() or target.is_symlink():
        if target.exists() and quick_digest(target) == quick_digest(source):
            return
        target.unlink()
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    partial.unlink(missing_ok=True)
    try:
        match mode:
            case Prepare.hardlink:
                os.link(source, partial)
            case Prepare.symlink:
                partial.symlink_to(source.resolve())
            case _:
                shutil.copy2(source, partial)
    except OSError as error:
        raise InputError(
            f"{source} cannot be prepared as {mode} at {target}: {error.strerror}. Choose another mode, e.g. reference."
        ) from error
    partial.replace(target)
