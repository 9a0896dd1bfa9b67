"""Reads an MCAP file block by block, whatever state it is in.

The usual MCAP readers trust the summary at the end and give up at the first broken byte. Recordings are cut off by empty batteries and
full disks, so this module walks the data section itself, one chunk in memory at a time, and saves what is whole: of a chunk that is cut,
the part that still decompresses. A block is a chunk, or a record that stands outside of chunks.
"""

import struct
import threading
import zlib
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import BinaryIO, NamedTuple

import lz4.frame  # type: ignore[import-untyped]
import zstandard
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Channel, Metadata, Statistics

MAGIC = b"\x89MCAP0\r\n"

_RECORD = struct.Struct("<BQ")
_MESSAGE = struct.Struct("<HIQQ")
_CHUNK = struct.Struct("<QQQII")
_CHUNK_INDEX = struct.Struct("<QQQ")
_FOOTER = struct.Struct("<BQQQI")
_SALVAGE_STEP = 1 << 14
_KEPT_BLOCKS = 4
_OPCODES = frozenset(int(opcode) for opcode in Opcode)
_LAST_STAMP = (1 << 63) - 1


class Block(NamedTuple):
    """Where a block's bytes lie in the file. `intact` is False when they are cut off or fail their checksum."""

    offset: int
    size: int
    compression: str
    uncompressed_size: int
    intact: bool


class Message(NamedTuple):
    """A message inside a block's bytes: `data[start:end]`."""

    channel_id: int
    log_time: int
    start: int
    end: int


class Summary(NamedTuple):
    """What the end of a complete file says about it."""

    topics: dict[int, str]
    message_counts: dict[int, int]
    chunk_offsets: list[int]


class DataSection:
    """Walks all blocks of a file once. `complete` and `metadata` are filled while iterating.

    Attributes:
        complete: the data section and the file end as they should.
        metadata: MCAP metadata records by name.
    """

    def __init__(self, file: BinaryIO, size: int, chunk_offsets: Sequence[int] = ()) -> None:
        self._file = file
        self._size = size
        self._chunk_offsets = sorted(chunk_offsets)
        self._checksums_hold = False
        self.complete = False
        self.metadata: dict[str, dict[str, str]] = {}

    def __iter__(self) -> Iterator[tuple[Block, bytes]]:
        """Yield each block with its uncompressed bytes. Behind an unreadable record it goes on at the next chunk that the summary names."""
        position = len(MAGIC)
        while position + _RECORD.size <= self._size:
            self._file.seek(position)
            opcode, length = _RECORD.unpack(self._file.read(_RECORD.size))
            content = position + _RECORD.size
            limit = self._next_chunk(position)
            whole = content + length <= limit
            if opcode == Opcode.DATA_END and whole:
                self._file.seek(self._size - len(MAGIC))
                self.complete = self._file.read() == MAGIC and self._size > content + length
                return
            if opcode == Opcode.CHUNK:
                yield from self._chunk(content, min(length, limit - content), whole)
            elif not whole or opcode not in _OPCODES:
                if limit == self._size:
                    return
                whole = False
                yield Block(position, limit - position, "", 0, intact=False), b""
            elif opcode in (Opcode.MESSAGE, Opcode.CHANNEL):
                yield Block(position, _RECORD.size + length, "", 0, intact=True), self._read(position, _RECORD.size + length)
            elif opcode == Opcode.METADATA:
                self._add_metadata(self._read(content, length))
            position = content + length if whole else limit

    def _next_chunk(self, position: int) -> int:
        following = bisect_right(self._chunk_offsets, position)
        return self._chunk_offsets[following] if following < len(self._chunk_offsets) else self._size

    def _chunk(self, start: int, length: int, whole: bool) -> Iterator[tuple[Block, bytes]]:
        raw = self._read(start, length)
        try:
            _, _, uncompressed_size, crc, name_length = _CHUNK.unpack_from(raw)
            compression = raw[_CHUNK.size : _CHUNK.size + name_length].decode()
            head = _CHUNK.size + name_length + 8
        except (struct.error, UnicodeDecodeError):
            yield Block(start, length, "", 0, intact=False), b""
            return
        stored = Block(start + head, max(0, length - head), compression, uncompressed_size, intact=False)
        data = decompress(raw[head:], stored)
        intact = whole and len(data) == uncompressed_size and self._checksum_agrees(data, crc)
        yield stored._replace(intact=intact), data

    def _checksum_agrees(self, data: bytes, crc: int) -> bool:
        """Cameras write something else than the CRC-32 of the MCAP specification, so it only counts where it has held before."""
        agrees = zlib.crc32(data) == crc
        self._checksums_hold = self._checksums_hold or agrees
        return agrees or crc == 0 or not self._checksums_hold

    def _add_metadata(self, data: bytes) -> None:
        try:
            record = Metadata.read(ReadDataStream(BytesIO(data)))
        except (McapError, struct.error, UnicodeDecodeError):
            return
        self.metadata[record.name] = record.metadata

    def _read(self, offset: int, size: int) -> bytes:
        self._file.seek(offset)
        return self._file.read(size)


class BlockStore:
    """Random access to blocks found before. Keeps the last few uncompressed blocks; safe to use from several threads."""

    def __init__(self, file: BinaryIO, blocks: list[Block]) -> None:
        self._file = file
        self._blocks = blocks
        self._lock = threading.Lock()
        self._cache: OrderedDict[int, bytes] = OrderedDict()

    def block(self, number: int) -> bytes:
        """Uncompressed bytes of block `number`."""
        with self._lock:
            if number in self._cache:
                self._cache.move_to_end(number)
                return self._cache[number]
            where = self._blocks[number]
            self._file.seek(where.offset)
            data = decompress(self._file.read(where.size), where)
            self._cache[number] = data
            if len(self._cache) > _KEPT_BLOCKS:
                self._cache.popitem(last=False)
            return data


def messages(data: bytes, topics: dict[int, str] | None = None) -> Iterator[Message]:
    """Yield the messages in a block's bytes up to where they end or are cut; channels met on the way are added to `topics`."""
    position = 0
    end = len(data)
    while position + _RECORD.size <= end:
        opcode, length = _RECORD.unpack_from(data, position)
        start = position + _RECORD.size
        position = start + length
        if position > end:
            return
        if opcode == Opcode.MESSAGE and length >= _MESSAGE.size:
            channel_id, _, log_time, _ = _MESSAGE.unpack_from(data, start)
            yield Message(channel_id, min(log_time, _LAST_STAMP), start + _MESSAGE.size, position)
        elif opcode == Opcode.CHANNEL and topics is not None:
            _add_channel(topics, data[start:position])


def read_summary(file: BinaryIO, size: int) -> Summary | None:
    """Read channels and message counts from the end of the file; None when it has no sound summary."""
    tail_size = _FOOTER.size + len(MAGIC)
    if size < tail_size:
        return None
    file.seek(size - tail_size)
    tail = file.read(tail_size)
    opcode, length, start, _, crc = _FOOTER.unpack_from(tail)
    if not tail.endswith(MAGIC) or opcode != Opcode.FOOTER or length != 20 or not 0 < start <= size - tail_size:
        return None
    file.seek(start)
    data = file.read(size - tail_size - start)
    if crc not in (0, zlib.crc32(data + tail[: _FOOTER.size - 4])):
        return None
    summary = Summary({}, {}, [])
    position = 0
    while position + _RECORD.size <= len(data):
        opcode, length = _RECORD.unpack_from(data, position)
        content = data[position + _RECORD.size : position + _RECORD.size + length]
        position += _RECORD.size + length
        if opcode == Opcode.CHANNEL:
            _add_channel(summary.topics, content)
        elif opcode == Opcode.STATISTICS:
            try:
                summary.message_counts.update(Statistics.read(ReadDataStream(BytesIO(content))).channel_message_counts)
            except (McapError, struct.error):
                return None
        elif opcode == Opcode.CHUNK_INDEX and len(content) >= _CHUNK_INDEX.size:
            summary.chunk_offsets.append(_CHUNK_INDEX.unpack_from(content)[2])
    return summary


def decompress(stored: bytes, block: Block) -> bytes:
    """Uncompressed bytes of a block; of a damaged one as much as comes out."""
    try:
        if block.compression == "lz4":
            return bytes(lz4.frame.decompress(stored))
        if block.compression == "zstd":
            return zstandard.ZstdDecompressor().decompress(stored, max_output_size=block.uncompressed_size)
    except (RuntimeError, MemoryError, zstandard.ZstdError):
        return _salvage(stored, block)
    return stored if block.compression == "" else b""


def _salvage(stored: bytes, block: Block) -> bytes:
    """Both compressions work in blocks of 64 to 128 KiB; those before the damage are whole."""
    decompressor = lz4.frame.LZ4FrameDecompressor() if block.compression == "lz4" else zstandard.ZstdDecompressor().decompressobj()
    parts: list[bytes] = []
    for start in range(0, len(stored), _SALVAGE_STEP):
        try:
            parts.append(decompressor.decompress(stored[start : start + _SALVAGE_STEP]))
        except (RuntimeError, EOFError, MemoryError, zstandard.ZstdError):
            break
    return b"".join(parts)[: block.uncompressed_size]


def _add_channel(topics: dict[int, str], content: bytes) -> None:
    try:
        channel = Channel.read(ReadDataStream(BytesIO(content)))
    except (McapError, struct.error, UnicodeDecodeError):
        return
    topics[channel.id] = channel.topic
