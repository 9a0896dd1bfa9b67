"""ZIP archives from anywhere, read without trusting them.

The list of members is checked as a whole before anything is read: names that lead outside, links and special files, encrypted members, two
names that are one on some system, members that overlap, and sizes beyond the limits are refused. Contents are never unpacked by name:
callers take the bytes of a member and store them under a name of their own. Sizes are enforced again while a member is unpacked, because
the list may lie.
"""

import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lamm_pipeline.errors import InputError
from lamm_pipeline.imports.settings import RAISE_THE_LIMIT, ZipLimits

CHUNK = 1 << 20
MEGABYTE = 1_000_000
MAX_NAME = 1000

_END, _END_LENGTH, _LONGEST_COMMENT = b"PK\x05\x06", 22, 0xFFFF
_END_64_LOCATOR, _END_64_LOCATOR_LENGTH, _END_64, _END_64_LENGTH = b"PK\x06\x07", 20, b"PK\x06\x06", 56
_LOCAL, _LOCAL_LENGTH = b"PK\x03\x04", 30
_ENTRY_BYTES = 512  # of the list of members, for one with a long name
_ENCRYPTED, _UTF_8 = 0x1, 0x800


@dataclass(frozen=True)
class SafeZip:
    """A ZIP whose list of members was checked. Members can be read by several threads at once.

    Attributes:
        path: of the ZIP.
        members: the files in it, by name (without the `./` that some archivers begin all names with), in the archive's order.
    """

    path: Path
    members: Mapping[str, zipfile.ZipInfo]

    def read(self, name: str) -> bytes:
        """The content of a member.

        Raises:
            InputError: it is damaged, or not as the list of members says.
        """
        return b"".join(self.chunks(name))

    def copy(self, name: str, target: Path) -> None:
        """Write the content of a member to `target`, in bounded memory.

        Raises:
            InputError: as `read`.
        """
        with target.open("wb") as file:
            file.writelines(self.chunks(name))

    def chunks(self, name: str) -> Iterator[bytes]:
        """The content of a member in pieces.

        Raises:
            InputError: as `read`, after the sound pieces.
        """
        info = self.members[name]
        size = checksum = 0
        for piece in self._unpacked(info):
            size += len(piece)
            checksum = zlib.crc32(piece, checksum)
            if size > info.file_size:
                break
            yield piece
        if size != info.file_size or checksum != info.CRC:
            raise self._damaged(name)

    def _unpacked(self, info: zipfile.ZipInfo) -> Iterator[bytes]:
        packed = self._packed(info)
        if info.compress_type == zipfile.ZIP_STORED:
            yield from packed
            return
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            for piece in packed:
                yield inflate.decompress(piece, CHUNK)
                while inflate.unconsumed_tail:
                    yield inflate.decompress(inflate.unconsumed_tail, CHUNK)
        except zlib.error:
            raise self._damaged(info.orig_filename) from None

    def _packed(self, info: zipfile.ZipInfo) -> Iterator[bytes]:
        """The bytes of a member as they lie in the file."""
        name = info.orig_filename.encode("utf-8" if info.flag_bits & _UTF_8 else "cp437")
        with self.path.open("rb") as file:
            file.seek(info.header_offset)
            header = file.read(_LOCAL_LENGTH)
            if len(header) != _LOCAL_LENGTH or not header.startswith(_LOCAL):
                raise self._damaged(info.orig_filename)
            name_length, extra_length = struct.unpack("<HH", header[26:30])
            if file.read(name_length) != name:
                raise self._damaged(info.orig_filename)
            file.seek(extra_length, 1)
            left = info.compress_size
            while left and (piece := file.read(min(left, CHUNK))):
                left -= len(piece)
                yield piece

    def _damaged(self, name: str) -> InputError:
        return InputError(f"{name} in {self.path.name} is damaged: its content does not fit its size and checksum.")


def open_zip(path: Path, limits: ZipLimits) -> SafeZip:
    """Check the list of members of a ZIP.

    Args:
        path: of the ZIP.
        limits: what it may hold at most.

    Raises:
        InputError: it is no ZIP, damaged, or holds what is refused; the sentence names the member.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist or is no file. Check the path.")
    _check_list_size(path, limits)
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, ValueError, OverflowError, EOFError, struct.error) as error:
        raise InputError(f"{path} cannot be read as a ZIP ({error}). It is damaged or cut off: copy it again.") from None
    files = [info for info in infos if not info.orig_filename.endswith("/")]
    for info in infos:
        _check_name(info, path)
    for info in files:
        _check_kind(info, path)
    _check_sizes(files, path, limits)
    _check_places(files, path)
    _check_unique(files, path)
    return SafeZip(path, {_plain(info): info for info in files})


def _check_list_size(path: Path, limits: ZipLimits) -> None:
    """Refuse a list of members that would not fit into memory, before anybody reads it."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - _LONGEST_COMMENT - _END_LENGTH - _END_64_LOCATOR_LENGTH - _END_64_LENGTH))
        tail = file.read()
    place = tail.rfind(_END)
    if place < 0 or len(tail) - place < _END_LENGTH:
        raise InputError(f"{path} is no ZIP, or its end is missing. If it was copied or downloaded, do it again.")
    list_bytes = int.from_bytes(tail[place + 12 : place + 16], "little")
    if tail[max(0, place - _END_64_LOCATOR_LENGTH) : place].startswith(_END_64_LOCATOR):
        record = tail.rfind(_END_64, 0, place)
        list_bytes = max(list_bytes if list_bytes != 0xFFFFFFFF else 0, int.from_bytes(tail[record + 40 : record + 48], "little"))
    if min(list_bytes, size) > limits.max_members * _ENTRY_BYTES:
        raise InputError(f"{path} lists more than the {limits.max_members} files that are allowed (max_members). {RAISE_THE_LIMIT}")


def _check_name(info: zipfile.ZipInfo, path: Path) -> None:
    name = info.orig_filename
    parts = name.rstrip("/").split("/")
    leads_outside = name.startswith("/") or ".." in parts or "\\" in name or (len(parts[0]) > 1 and parts[0][1] == ":")
    if leads_outside:
        raise InputError(f"{path} is refused: its member {name!r} leads outside of the folder it is unpacked to. Pack it with plain names.")
    if not name.isprintable() or len(name) > MAX_NAME or "" in parts:
        raise InputError(f"{path} is refused: its member {name[:100]!r} has no usable name. Pack it with plain names.")


def _check_kind(info: zipfile.ZipInfo, path: Path) -> None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in {0, stat.S_IFREG}:
        raise InputError(f"{path} is refused: its member {info.orig_filename!r} is a link or a special file. Pack the files themselves.")
    if info.flag_bits & _ENCRYPTED:
        raise InputError(f"{path} is refused: its member {info.orig_filename!r} is encrypted. Pack it without a password.")
    if info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise InputError(
            f"{path} is refused: its member {info.orig_filename!r} is packed in a way that is not read here. Use stored or deflate."
        )


def _check_sizes(files: Sequence[zipfile.ZipInfo], path: Path, limits: ZipLimits) -> None:
    if len(files) > limits.max_members:
        raise InputError(
            f"{path} holds {len(files)} files, more than the {limits.max_members} that are allowed (max_members). {RAISE_THE_LIMIT}"
        )
    total = sum(info.file_size for info in files)
    if total > limits.max_total_gb * 1e9:
        raise InputError(
            f"{path} is refused: unpacked it takes {total / 1e9:.1f} GB, more than the {limits.max_total_gb:g} that are allowed "
            f"(max_total_gb). {RAISE_THE_LIMIT}"
        )
    for info in files:
        if info.file_size > max(MEGABYTE, limits.max_ratio * info.compress_size):
            raise InputError(
                f"{path} is refused: its member {info.orig_filename!r} is more than {limits.max_ratio:g} times larger than packed "
                f"(max_ratio), as in a ZIP bomb. {RAISE_THE_LIMIT}"
            )


def _check_places(files: Sequence[zipfile.ZipInfo], path: Path) -> None:
    """Refuse members that share bytes, the trick of bombs whose sizes look harmless one by one."""
    end = 0
    for info in sorted(files, key=lambda info: info.header_offset):
        if info.header_offset < end:
            raise InputError(f"{path} is refused: its member {info.orig_filename!r} overlaps another one. Pack it again.")
        end = info.header_offset + _LOCAL_LENGTH + len(info.orig_filename) + info.compress_size


def _plain(info: zipfile.ZipInfo) -> str:
    return info.orig_filename.removeprefix("./")


def _check_unique(files: Sequence[zipfile.ZipInfo], path: Path) -> None:
    names: dict[str, str] = {}
    for info in files:
        folded = unicodedata.normalize("NFKC", _plain(info)).casefold()
        if folded in names:
            raise InputError(f"{path} is refused: its members {names[folded]!r} and {info.orig_filename!r} are one file on some systems.")
        names[folded] = info.orig_filename
