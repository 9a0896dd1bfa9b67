"""JSON files with one long list, whose elements are read one at a time and in any order: `{"level": 2, "frames": [{...}, {...}]}`.

Written with one element a line. Read in any layout: the list is found and its elements are told apart without holding more than one of
them, so that files of other tools, pretty-printed and of any size, are read in the same memory.
"""

import json
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import IO, Any

from lamm_pipeline.errors import InputError

_CHUNK = 1 << 16


class TooLongError(ValueError):
    """A value takes more bytes than allowed."""


@dataclass(frozen=True)
class Span:
    """Where an element lies in the file, bytes."""

    offset: int
    length: int


def write(path: Path, head: Mapping[str, Any], key: str, elements: Iterable[Mapping[str, Any]]) -> None:
    """Write `{**head, key: [element, ...]}`, streaming `elements`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        file.write("{\n")
        file.writelines(f"{json.dumps(name)}: {_line(value)},\n" for name, value in head.items())
        file.write(f"{json.dumps(key)}: [")
        separator = "\n"
        for element in elements:
            file.write(f"{separator}{_line(element)}")
            separator = ",\n"
        file.write("\n]\n}\n")


def spans(path: Path, key: str, head: dict[str, Any] | None = None, *, most_bytes: float = inf) -> Iterator[Span]:
    """Where the elements of the list `key` lie, in their order.

    Args:
        path: of the file.
        key: of the list, in the outermost object.
        head: gets everything beside the list, where it is wanted.
        most_bytes: that an element, or a value beside the list, may take.

    Raises:
        InputError: the file is missing, no JSON, has no such list, or a longer value.
    """
    try:
        with path.open("rb") as file:
            yield from _Scanner(file, most_bytes).list_elements(key, {} if head is None else head)
    except FileNotFoundError:
        raise InputError(f"{path} is missing. Run the stage that writes it, or correct the path.") from None
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON with a list {key!r} ({error}). Restore the file or make it again.") from error


def elements(file: IO[bytes], key: str) -> Iterator[Any]:
    """The elements of the list `key` of a file that is open, each once, in their order.

    Raises:
        ValueError: it is no JSON, or has no such list.
    """
    scanner = _Scanner(file)
    for span in scanner.list_elements(key, {}):
        yield scanner.passed(span)


def read(path: Path, span: Span) -> Any:
    """The element at a place that `spans` told.

    Raises:
        InputError: the file has changed since.
    """
    try:
        with path.open("rb") as file:
            file.seek(span.offset)
            return json.loads(file.read(span.length))
    except (FileNotFoundError, ValueError) as error:
        raise InputError(f"{path} was changed or removed while it was read ({error}). Run again.") from None


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


class _Scanner:
    """Walks through JSON byte by byte as far as needed: bytes are read as Latin-1, so that places in the text are places in the file."""

    def __init__(self, file: IO[bytes], most_bytes: float = inf) -> None:
        self._file = file
        self._most_bytes = most_bytes
        self._decoder = json.JSONDecoder()
        self._text = ""
        self._base = 0
        self._at = 0

    def list_elements(self, key: str, head: dict[str, Any]) -> Iterator[Span]:
        """Places of the elements of the list under `key` of the outermost object; the rest of the file is read into `head`."""
        self._skip_mark()
        self._expect("{")
        found = False
        while not self._take("}"):
            name = self._text_value()
            self._expect(":")
            if name == key and self._take("["):
                found = True
                yield from self._elements()
            else:
                head[str(name)] = self._text_value()
            if not self._take(","):
                self._expect("}")
                break
        if not found:
            raise ValueError("there is none")
        self._skip_space()
        if self._at < len(self._text):
            raise ValueError(f"something follows its end at byte {self._base + self._at}")

    def passed(self, span: Span) -> Any:
        """The value that was passed last, with its texts read as UTF-8."""
        return json.loads(self._text[span.offset - self._base : self._at].encode("latin-1").decode("utf-8"))

    def _elements(self) -> Iterator[Span]:
        while not self._take("]"):
            yield self._next()
            if not self._take(","):
                self._expect("]")
                return

    def _text_value(self) -> Any:
        """The next value, with its texts read as UTF-8."""
        return self.passed(self._next())

    def _next(self) -> Span:
        """Go behind the next value, and tell where it lies; more of the file is read until it is whole."""
        self._skip_space()
        wanted = _CHUNK
        while True:
            wrong = ""
            try:
                length = self._decoder.raw_decode(self._text, self._at)[1] - self._at
            except json.JSONDecodeError as error:
                length, wrong = len(self._text) - self._at, f"{error.msg} at byte {self._base + error.pos}"
            if length > self._most_bytes:
                raise TooLongError(f"the value at byte {self._base + self._at} takes more than {self._most_bytes:,.0f} bytes")
            whole = not wrong and self._at + length < len(self._text)  # a number may go on in the next piece
            if whole or not self._fill(wanted):
                break
            wanted *= 2
        if wrong:
            raise ValueError(wrong)
        self._at += length
        return Span(self._base + self._at - length, length)

    def _skip_mark(self) -> None:
        """Pass over the mark that some editors begin a text in UTF-8 with."""
        self._fill(_CHUNK)
        if self._text.startswith(BOM_UTF8.decode("latin-1")):
            self._at = len(BOM_UTF8)

    def _skip_space(self) -> None:
        while True:
            while self._at < len(self._text) and self._text[self._at] in " \t\r\n":
                self._at += 1
            if self._at < len(self._text) or not self._fill(_CHUNK):
                return

    def _take(self, sign: str) -> bool:
        self._skip_space()
        if self._text[self._at : self._at + 1] != sign:
            return False
        self._at += 1
        return True

    def _expect(self, sign: str) -> None:
        if not self._take(sign):
            raise ValueError(f"{sign!r} is missing at byte {self._base + self._at}")

    def _fill(self, size: int) -> bool:
        """Read on; what lies behind is let go. False at the end of the file."""
        more = self._file.read(size)
        self._text = self._text[self._at :] + more.decode("latin-1")
        self._base += self._at
        self._at = 0
        return bool(more)
