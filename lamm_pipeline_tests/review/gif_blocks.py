"""The structure of a GIF file, read block by block from the specification (GIF89a, 31 July 1990), so that no library fills anything in."""

import struct
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class GifFrame:
    delay_ms: int
    disposal: int
    transparent_index: int | None
    box: tuple[int, int, int, int]
    local_colors: int


@dataclass
class GifFile:
    signature: bytes
    width: int
    height: int
    global_colors: int
    loops: int | None = None
    frames: list[GifFrame] = field(default_factory=list)


def read_gif(path: Path) -> GifFile:
    data = path.read_bytes()
    width, height, packed = struct.unpack_from("<HHB", data, 6)
    gif = GifFile(data[:6], width, height, _colors(packed))
    at = 13 + 3 * gif.global_colors
    control = (0, 0, None)
    while data[at] != 0x3B:  # trailer
        if data[at] == 0x21:  # extension
            label, content = data[at + 1], data[at + 3 : at + 3 + data[at + 2]]
            at += 3 + data[at + 2]
            blocks, at = _sub_blocks(data, at)
            if label == 0xF9:
                flags, delay, transparent = struct.unpack("<BHB", content)
                control = (10 * delay, flags >> 2 & 7, transparent if flags & 1 else None)
            elif label == 0xFF and content == b"NETSCAPE2.0":
                gif.loops = struct.unpack("<H", blocks[1:3])[0]
        else:
            assert data[at] == 0x2C, f"no block begins with {data[at]:#x}"
            left, top, wide, high, packed = struct.unpack_from("<HHHHB", data, at + 1)
            local = _colors(packed)
            gif.frames.append(GifFrame(*control, (left, top, left + wide, top + high), local))
            at += 10 + 3 * local + 1  # one byte tells the size of the codes
            _, at = _sub_blocks(data, at)
    assert at == len(data) - 1, "something follows the trailer"
    return gif


def _colors(packed: int) -> int:
    return 2 << (packed & 7) if packed & 0x80 else 0


def _sub_blocks(data: bytes, at: int) -> tuple[bytes, int]:
    content = b""
    while data[at]:
        content += data[at + 1 : at + 1 + data[at]]
        at += 1 + data[at]
    return content, at + 1
