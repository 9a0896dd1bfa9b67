"""Reads the time of each image from the text files that datasets bring along."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path

from lamm_pipeline.errors import InputError

_DATE = re.compile(r"(\d{4}-\d{2}-\d{2})[ T](\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?$")
_NS = 10**9


def read_times(path: Path, stems: Sequence[str]) -> tuple[int, ...]:
    """Stamps of the images named `stems`, Unix nanoseconds.

    A line is `[name] time`; the time is `2011-09-26 14:06:05.020328192` (taken as UTC, to the nanosecond) or seconds (`1.036e-01`). With
    names, lines are matched to images by name, leading zeros aside; without, one by one.

    Raises:
        InputError: the file is missing or malformed, or does not fit the images.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist: give the file with the images' times, or a frame rate.")
    lines = [line.strip() for line in path.read_text().splitlines() if line.strip()]
    entries = [_parse(line, path, number) for number, line in enumerate(lines, start=1)]
    if entries and all(name is not None for name, _ in entries):
        named = {_key(name): stamp for name, stamp in entries if name is not None}
        missing = [stem for stem in stems if _key(stem) not in named]
        if missing:
            raise InputError(f"{path} has no time for {len(missing)} of {len(stems)} images, the first being {missing[0]!r}: complete it.")
        return tuple(named[_key(stem)] for stem in stems)
    if len(entries) != len(stems):
        raise InputError(f"{path} has {len(entries)} times for {len(stems)} images: it must have one line an image.")
    return tuple(stamp for _, stamp in entries)


def _parse(line: str, path: Path, number: int) -> tuple[str | None, int]:
    found = _DATE.search(line)
    if found is not None:
        name = line[: found.start()].strip()
        day, time, fraction = found.groups()
        try:
            whole = int(datetime.fromisoformat(f"{day}T{time}").replace(tzinfo=UTC).timestamp())
        except ValueError as error:
            raise InputError(f"{path}, line {number}: {line!r} is not a date and time.") from error
        return name or None, whole * _NS + int((fraction or "0").ljust(9, "0"))
    *names, seconds = line.split()
    try:
        stamp = int((Decimal(seconds) * _NS).to_integral_value())
    except (InvalidOperation, ValueError, OverflowError) as error:
        raise InputError(f"{path}, line {number}: {line!r} is neither `[name] seconds` nor `[name] date time`.") from error
    return (names[0] if names else None), stamp


def _key(name: str) -> str:
    return name.lstrip("0") or "0"
