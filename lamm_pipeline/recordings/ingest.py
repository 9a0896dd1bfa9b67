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
from lamm_pipeline.storage.atomic import quick_digest

SUFFIX = ".svo2"
MAX_SLUG = 80


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
    resolved = [path.expanduser().resolve() for path in files]
    return [_add(catalog, path, path, None, actor) for path in resolved]


def take_in(catalog: Catalog, source: Path, dataset_id: str | None, actor: str) -> Added:
    """Take in one file that was found, and want a run for it when its content is new.

    It is taken in where it lies; what its source dataset wants prepared is prepared by `ensure_prepared` when it is read.

    Raises:
        InputError: the file does not exist any more.
    """
    return _add(catalog, source, None, dataset_id, actor, want_run=True)


def ensure_prepared(catalog: Catalog, row: Recording, root: Path, serial_of: Callable[[Path], int]) -> Recording:
    """The recording, prepared the way its source dataset says; `row` itself when there is nothing to do.

    Raises:
        InputError: the file cannot be prepared.
    """
    dataset = None if row.dataset_id is None or row.path != row.source_path else catalog.source_datasets.get(row.dataset_id)
    source = Path(row.source_path)
    if dataset is None or dataset.prepare == Prepare.reference or not source.is_relative_to(dataset.folder) or not source.is_file():
        return row
    path = _prepared(dataset, source, Path(dataset.folder), root, serial_of)
    catalog.recordings.set_path(row.key, path)
    return catalog.recordings.get(row.key)


def scan(catalog: Catalog, dataset: SourceDataset, root: Path, serial_of: Callable[[Path], int], actor: str) -> list[Added]:
    """Take in every recording of a source dataset's folder, prepared the way the dataset says.

    Prepared files keep their folders, so that no two of them meet, and their calibration comes along: it is searched for beside them.
    Files below the root are the pipeline's own and are not taken in.

    Args:
        catalog: where the recordings are remembered.
        dataset: the source dataset.
        root: the root; prepared files lie at `prepared/<dataset>/SN<serial>/<path in the folder>` below it.
        serial_of: tells the camera's serial number of a file.
        actor: who does it.

    Raises:
        InputError: the folder is gone or a file cannot be prepared.
    """
    added = []
    folder, root = Path(dataset.folder).resolve(), root.resolve()
    for source in find_recordings(folder):
        if source.is_relative_to(root):
            continue
        prepared = source.resolve()
        if dataset.prepare != Prepare.reference:
            prepared = _prepared(dataset, source, folder, root, serial_of)
        added.append(_add(catalog, source.resolve(), prepared, dataset.id, actor))
    return added


def recording_slug(stem: str) -> str:
    """A partition key from a file's stem: ASCII letters, digits, `_`, `-` and `.`, at most `MAX_SLUG` characters.

    Dagster itself accepts any text, but a comma breaks backfills, and a slash or a colon breaks paths and frame ids.
    """
    ascii_only = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^A-Za-z0-9_.-]+", "_", ascii_only)
    return re.sub(r"\.{2,}", ".", slug).strip("._-")[:MAX_SLUG].rstrip("._-") or "recording"


def free_key(slug: str, digest: str, taken: Callable[[str], bool]) -> str:
    """The bare slug for its first holder, the slug with a piece of the content digest for later ones."""
    candidates = itertools.chain(
        [slug], (f"{slug}-{digest[:length]}" for length in (8, 16)), (f"{slug}-{digest[:16]}-{n}" for n in itertools.count(2))
    )
    return next(key for key in candidates if not taken(key))


def run_key(key: str, digest: str) -> str:
    """Names what was found, its content and the moment: a file that gets a former content back is work again."""
    return f"{key}:{digest[:16]}:{now():%Y%m%dT%H%M%S%f}"


def _add(catalog: Catalog, source: Path, path: Path | None, dataset_id: str | None, actor: str, *, want_run: bool = False) -> Added:
    """Take in the file at `source`, which stages read at `path`; None = where they read it so far, or at `source` when it is new."""
    read = path or source
    if not read.is_file():
        raise InputError(f"{source} does not exist or is no file. Check the path.")
    seen = source.stat()  # before its content is read: a change after this moment shows as another stamp
    stat = read.stat()
    row = Recording(
        key="",
        dataset_id=dataset_id,
        source_path=str(source),
        path=str(read),
        size=stat.st_size,
        mtime_ns=stat.st_mtime_ns,
        quick_digest=quick_digest(read),
        digest=None,
        added_at=now(),
        added_by=actor,
        seen_size=seen.st_size,
        seen_mtime_ns=seen.st_mtime_ns,
    )
    known = catalog.recordings.found_at(source)
    if known is not None:
        same_content = (known.size, known.quick_digest) == (row.size, row.quick_digest)
        if same_content and (path is None or known.path == row.path):
            catalog.recordings.set_seen(known.key, seen.st_size, seen.st_mtime_ns)
            return Added(known.key, Path(known.path), "unchanged")
        return _replace(catalog, known, row, actor, "changed", same_content=same_content, want_run=want_run)
    moved = _gone_twin(catalog, row.quick_digest)
    if moved is not None:
        return _replace(catalog, moved, row, actor, "moved", same_content=True)
    row.key = free_key(recording_slug(source.stem), row.quick_digest, catalog.recordings.has)
    row.run_key = run_key(row.key, row.quick_digest) if want_run else None
    if not catalog.recordings.add(row):
        # another process took this key or added this file meanwhile: look again
        return _add(catalog, source, path, dataset_id, actor, want_run=want_run)
    return Added(row.key, read, "added")


def _replace(
    catalog: Catalog, known: Recording, row: Recording, actor: str, status: str, *, same_content: bool, want_run: bool = False
) -> Added:
    """Put what was found in the place of what is known of the same recording."""
    row.key, row.dataset_id = known.key, known.dataset_id or row.dataset_id
    row.added_at, row.added_by = known.added_at, known.added_by
    row.recorded_at = row.missing_since = None
    row.run_key = run_key(row.key, row.quick_digest) if want_run and not same_content else known.run_key
    if same_content:
        row.digest, row.mtime_ns, row.recorded_at = known.digest, known.mtime_ns, known.recorded_at
    catalog.recordings.replace(row, actor, f"recording.{status.removesuffix('d')}")
    return Added(row.key, Path(row.path), status)


def _gone_twin(catalog: Catalog, digest: str) -> Recording | None:
    """A recording of the same content whose file is no longer where it was found: the file was moved."""
    return next((row for row in catalog.recordings.like(digest) if not Path(row.source_path).exists()), None)


def _prepared(dataset: SourceDataset, source: Path, folder: Path, root: Path, serial_of: Callable[[Path], int]) -> Path:
    """Prepare a file of a source dataset, with its calibration; returns where it lies below the root."""
    serial = serial_of(source)
    prepared = root / "prepared" / dataset.name / f"SN{serial}" / source.relative_to(folder)
    _prepare(source, prepared, Prepare(dataset.prepare))
    calibration = source.with_name(f"SN{serial}.conf")
    if calibration.is_file():
        _prepare(calibration, prepared.with_name(calibration.name), Prepare.copy)
    return prepared


def _prepare(source: Path, target: Path, mode: Prepare) -> None:
    if target.exists() or target.is_symlink():
        if target.exists() and quick_digest(target) == quick_digest(source):
            return
        target.unlink()
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(target.name.encode()).hexdigest()  # a longer name than the target's own may be too long
    partial = target.with_name(f".{digest[:32]}.partial")
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
