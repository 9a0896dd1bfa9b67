"""A ZIP of files that is made while it is sent: nothing of it is ever on a disk, and memory does not grow with it.

Files are stored as they are (images do not get smaller), names are UTF-8, dates are fixed; so equal files give equal bytes. Sizes and check
sums come after each file's bytes, and beyond 4 GiB or 65,535 files they are in ZIP64's fields: zipfile, unzip and the archivers of desktops
read it from its table of contents. The length of the whole is known before anything is read.
"""

import io
import os
import zipfile
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHUNK = 1 << 20
_HEADER, _ENTRY, _FIELD = 30, 46, 4  # bytes before a file, of its line in the table of contents, before the sizes of ZIP64
_SUMS, _SUMS_ZIP64 = 16, 24
_END, _END_ZIP64 = 22, 56 + 20


@dataclass(frozen=True)
class ZipEntry:
    """One file of a ZIP.

    Attributes:
        name: in the ZIP.
        size: in bytes, which has to be that of the file.
        path: gives the file when its turn has come.
    """

    name: str
    size: int
    path: Callable[[], Path]


def zip_bytes(entries: Iterable[ZipEntry]) -> Generator[bytes, None, None]:
    """The bytes of a ZIP, a piece at a time.

    Raises:
        OSError: a file is gone, or has another size than was said.
    """
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for entry in entries:
            about = zipfile.ZipInfo(entry.name)
            about.external_attr = 0o644 << 16
            with entry.path().open("rb") as source:
                found = os.fstat(source.fileno()).st_size
                if found != entry.size:
                    raise OSError(f"{source.name} has {found} bytes instead of {entry.size}")
                with archive.open(about, "w", force_zip64=_is_large(entry.size)) as target:
                    while piece := source.read(CHUNK):
                        target.write(piece)
                        yield sink.taken()
            yield sink.taken()
    yield sink.taken()


def zip_length(entries: Iterable[ZipEntry]) -> int:
    """How many bytes `zip_bytes` gives."""
    offset = table = count = 0
    for entry in entries:
        name, large = len(entry.name.encode()), _is_large(entry.size)
        extra = 8 * (2 * (entry.size > zipfile.ZIP64_LIMIT) + (offset > zipfile.ZIP64_LIMIT))
        table += _ENTRY + name + (_FIELD + extra if extra else 0)
        offset += _HEADER + name + (_FIELD + 16 if large else 0) + entry.size + (_SUMS_ZIP64 if large else _SUMS)
        count += 1
    beyond = count > zipfile.ZIP_FILECOUNT_LIMIT or offset > zipfile.ZIP64_LIMIT or table > zipfile.ZIP64_LIMIT
    return offset + table + _END + (_END_ZIP64 if beyond else 0)


class _Sink(io.RawIOBase):
    """Takes what zipfile writes until it is taken away; it cannot seek, so zipfile never wants to change what is gone."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self._pieces.append(piece)
        return len(piece)

    def taken(self) -> bytes:
        """What was written since the last call."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


def _is_large(size: int) -> bool:
    return size * 1.05 > zipfile.ZIP64_LIMIT  # zipfile's own rule: it leaves room for what compression may add
