"""JSON files with one frame a line: ordinary JSON for everybody, and a stream for those who know.

    {
    "recording": "drive",
    "frames": {
    "drive:000000": {...},
    "drive:000002": {...}
    },
    "total_frames": 2
    }

A file in another layout (edited by hand, pretty-printed) is still read, as a whole.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from lamm_pipeline.errors import InputError


def write(
    path: Path,
    head: Mapping[str, Any],
    key: str,
    frames: Iterable[tuple[str, Mapping[str, Any]]],
    tail: Mapping[str, Any] | None = None,
) -> None:
    """Write `{**head, key: {frame id: frame, ...}, **tail}`, streaming `frames`.

    `tail` is read after the last frame, so it may be filled while the frames are written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        file.write("{\n")
        file.writelines(f"{_entry(name, value)},\n" for name, value in head.items())
        file.write(f"{json.dumps(key)}: {{")
        separator = "\n"
        for frame_id, frame in frames:
            file.write(f"{separator}{_entry(frame_id, frame)}")
            separator = ",\n"
        file.write("\n}")
        for name, value in (tail or {}).items():
            file.write(f",\n{_entry(name, value)}")
        file.write("\n}\n")


def read_frames(path: Path, key: str, only: Collection[str] | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Stream `(frame id, frame)` in file order.

    Args:
        path: of the file.
        key: under which the frames are.
        only: ids of the frames that are wanted, None for all; the others are passed over without being decoded.

    Raises:
        InputError: the file is missing, not JSON, or has no object under `key`.
    """
    with _open(path) as file:
        if _seek_frames(file, key):
            for line in file:
                if line.startswith("}"):
                    return
                if only is not None and (name := _plain_id(line)) is not None and name not in only:
                    continue
                try:
                    decoded = json.loads(f"{{{line.rstrip().removesuffix(',')}}}")
                except json.JSONDecodeError as error:
                    raise InputError(f"{path} is not valid JSON ({error}). Restore the file or run its stage again.") from error
                yield from _wanted(decoded, only)
            raise InputError(f"{path} ends in the middle of {key!r}. Restore the file or run its stage again.")
    whole = _load(path)
    if not isinstance(whole.get(key), dict):
        raise InputError(f"{path} has no object {key!r}; it is not a file of this kind.")
    yield from _wanted(whole[key], only)


def read_head(path: Path, key: str) -> dict[str, Any]:
    """Everything in the file but the frames under `key`."""
    outer: dict[str, Any] = {}
    with _open(path) as file:
        for before in iter(file.readline, ""):
            if before.startswith(f"{json.dumps(key)}: {{"):
                for line in file:
                    if line.startswith("}"):
                        tail: dict[str, Any] = json.loads("{" + line[1:].lstrip().removeprefix(",") + file.read())
                        return outer | tail
                break
            if before.strip() != "{":
                try:
                    outer |= json.loads(f"{{{before.rstrip().removesuffix(',')}}}")
                except json.JSONDecodeError:
                    break
    whole = _load(path)
    whole.pop(key, None)
    return whole


def _entry(name: str, value: Any) -> str:
    return f"{json.dumps(name, ensure_ascii=False)}: {json.dumps(value, ensure_ascii=False, separators=(',', ':'), allow_nan=False)}"


def _plain_id(line: str) -> str | None:
    """The frame id that a line begins with; None where it is written with escapes."""
    name = line[1 : line.find('"', 1)]
    return None if "\\" in name else name


def _wanted(frames: Mapping[str, Any], only: Collection[str] | None) -> Iterator[tuple[str, dict[str, Any]]]:
    return ((frame_id, frame) for frame_id, frame in frames.items() if only is None or frame_id in only)


def _open(path: Path) -> TextIO:
    try:
        return path.open(encoding="utf-8")
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing. Run the stage that writes it.") from error


def _seek_frames(file: TextIO, key: str) -> bool:
    """Stand behind the line that opens `key`; False when the file has another layout."""
    opening = f"{json.dumps(key)}: {{"
    return any(line.startswith(opening) and line.rstrip() == opening for line in iter(file.readline, ""))


def _load(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise InputError(f"{path} is not valid JSON ({error}). Restore the file or run its stage again.") from error
    if not isinstance(value, dict):
        raise InputError(f"{path} holds no JSON object; it is not a file of this kind.")
    return value
