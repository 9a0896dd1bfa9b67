"""A dataset version in one format as one ZIP: what is in it, the same for the browser and the command line."""

import os
import uuid
from functools import partial
from pathlib import Path

from lamm_pipeline.datasets.settings import ExportFormat
from lamm_pipeline.errors import InputError
from lamm_pipeline.storage.artifacts import Artifact, ArtifactKey, ArtifactStore
from lamm_pipeline.storage.atomic import TEMPORARY, fsync_folder
from lamm_pipeline.storage.zip_stream import ZipEntry, zip_bytes


def download_path(version: str, export_format: ExportFormat) -> str:
    """Where the report server has the ZIP."""
    return f"/datasets/{version}/{export_format}.zip"


def find_export(store: ArtifactStore, version: str, export_format: ExportFormat) -> Artifact | None:
    """A version as written in one format; None where it is not."""
    return store.current(ArtifactKey("datasets", version, f"{export_format}_dataset"))


def zip_entries(export: Artifact) -> list[ZipEntry]:
    """All files of a written dataset, by name, with the folder that is named after the format. In a bucket each is fetched at its turn."""
    files = sorted(export.manifest.files.items())
    return [ZipEntry(name, entry.size, partial(export.file, name)) for name, entry in files]


def write_zip(export: Artifact, path: Path) -> int:
    """Write a dataset as a ZIP: whole, or not at all.

    Args:
        export: a written dataset.
        path: of the ZIP; what is there is replaced.

    Returns:
        Its size in bytes.

    Raises:
        InputError: its folder does not exist, or it is a folder itself.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder. Name the ZIP that is to be written, such as {path / f'{export.key.partition}.zip'}.")
    if not path.parent.is_dir():
        raise InputError(f"The folder {path.parent} does not exist. Make it, or name another one with --to.")
    partial_file = path.with_name(f".{uuid.uuid4().hex}{TEMPORARY}")
    written = 0
    try:
        with partial_file.open("wb") as file:
            for piece in zip_bytes(zip_entries(export)):
                written += file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        partial_file.replace(path)
    except BaseException:
        partial_file.unlink(missing_ok=True)
        raise
    fsync_folder(path.parent)
    return written
