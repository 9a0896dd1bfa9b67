"""How annotation exports enter: picked ZIPs and watched folders end as rows of the catalog with a partition key each."""

from collections.abc import Iterable
from pathlib import Path

from lamm_pipeline.catalog.catalog import Catalog
from lamm_pipeline.catalog.exports import ExportCatalog
from lamm_pipeline.catalog.models import AnnotationExport, now
from lamm_pipeline.errors import InputError
from lamm_pipeline.recordings.ingest import Added, free_key, recording_slug, run_key
from lamm_pipeline.recordings.watch import Shelf
from lamm_pipeline.storage.atomic import quick_digest, sha256_file

SUFFIX = ".zip"


def export_shelf(catalog: Catalog) -> Shelf:
    """Where annotation exports are taken in."""
    return Shelf(catalog.exports, [], SUFFIX, lambda path, actor: take_in(catalog.exports, path, actor, want_run=True))


def add_exports(catalog: Catalog, files: Iterable[Path], actor: str) -> list[Added]:
    """Take picked ZIPs in.

    Raises:
        InputError: a file does not exist.
    """
    return [take_in(catalog.exports, path.expanduser().resolve(), actor) for path in files]


def take_in(exports: ExportCatalog, path: Path, actor: str, *, want_run: bool = False) -> Added:
    """Take in one ZIP where it lies.

    Args:
        exports: the catalog's.
        path: of the file.
        actor: who does it.
        want_run: whether the sensor is to ask for a run when the content is new.

    Raises:
        InputError: the file does not exist.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist or is no file. Check the path.")
    stat = path.stat()  # before its content is read: a change after this moment shows as another stamp
    row = AnnotationExport(
        key="",
        path=str(path),
        size=stat.st_size,
        mtime_ns=stat.st_mtime_ns,
        quick_digest=quick_digest(path),
        digest=None,
        added_at=now(),
        added_by=actor,
        missing_since=None,
        run_key=None,
    )
    known = exports.found_at(path)
    if known is not None and (known.size, known.quick_digest) == (row.size, row.quick_digest):
        exports.set_seen(known.key, row.size, row.mtime_ns)
        return Added(known.key, path, "unchanged")
    if known is not None:
        row.run_key = run_key(known.key, row.quick_digest) if want_run else known.run_key
        return _replace(exports, known, row, actor, "changed")
    moved = next((each for each in exports.like(row.quick_digest) if not Path(each.path).exists()), None)
    if moved is not None:
        row.digest, row.run_key = moved.digest, moved.run_key
        return _replace(exports, moved, row, actor, "moved")
    row.key = free_key(recording_slug(path.stem), row.quick_digest, exports.has)
    row.run_key = run_key(row.key, row.quick_digest) if want_run else None
    if not exports.add(row):  # another process took this key or added this file meanwhile: look again
        return take_in(exports, path, actor, want_run=want_run)
    return Added(row.key, path, "added")


def current_digest(catalog: Catalog, row: AnnotationExport) -> str:
    """Digest of the ZIP as it is now; computed again only when size or stamp have changed.

    Raises:
        InputError: the file is gone.
    """
    path = Path(row.path)
    if not path.is_file():
        raise InputError(f"The file of the annotation export {row.key!r} is gone: {path}. Put it back, or import it from its new place.")
    stat = path.stat()
    if row.digest is not None and (row.size, row.mtime_ns) == (stat.st_size, stat.st_mtime_ns):
        return row.digest
    digest = sha256_file(path)
    catalog.exports.set_digest(row.key, digest, stat.st_size, stat.st_mtime_ns)
    return digest


def _replace(exports: ExportCatalog, known: AnnotationExport, row: AnnotationExport, actor: str, status: str) -> Added:
    """Put what was found in the place of what is known of the same export."""
    row.key, row.added_at, row.added_by = known.key, known.added_at, known.added_by
    exports.replace(row, actor, f"export.{status.removesuffix('d')}")
    return Added(row.key, Path(row.path), status)
