"""Files that are either whole or not there, and their digests."""

import ctypes
import hashlib
import json
import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

TEMPORARY = ".lamm-tmp"
"""Suffix of files that a write has not finished; a kill may leave one behind."""

QUICK_BYTES = 64 * 1024
_PIECE = 64 * 1024  # larger ones are taken from the system and given back each time, which costs small files more than their digest

Json = Mapping[str, Any] | Sequence[Any] | str | int | float | bool | None


def write_bytes(path: Path, data: bytes) -> None:
    """Replace `path` by a file with `data`: a reader sees the old content or the new, after a crash too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{uuid.uuid4().hex}{TEMPORARY}")  # process ids are not unique: threads, containers on a shared disk
    with partial.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    fsync_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """`write_bytes` of UTF-8 text."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Json) -> None:
    """`write_bytes` of indented JSON. Key order is the caller's, so that equal values give equal bytes."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file, streamed."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def quick_digest(path: Path) -> str:
    """Hex SHA-256 over the file's size and its first and last 64 KiB: tells files apart without reading them whole."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        digest.update(file.read(QUICK_BYTES))
        file.seek(max(0, size - QUICK_BYTES))
        digest.update(file.read(QUICK_BYTES))
    return digest.hexdigest()


def digest_json(value: Json) -> str:
    """Hex SHA-256 of the canonical JSON of `value`: independent of key order and white space."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def fsync_folder(folder: Path) -> None:
    """Make renames inside `folder` durable. Where folders cannot be opened (Windows) there is nothing to do."""
    if hasattr(os, "O_DIRECTORY"):
        fsync(folder)


def fsync(path: Path | str) -> None:
    """Make a file's content durable, or the names in a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file_system(folder: Path) -> None:
    """Make everything written to the disk of `folder` durable.

    Takes as long as what is still unwritten, however many files there are. Where the system knows no `syncfs`, all disks are flushed.
    """
    syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None) if hasattr(os, "O_DIRECTORY") else None
    if syncfs is None:
        if hasattr(os, "sync"):
            os.sync()
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(folder))
    finally:
        os.close(descriptor)
