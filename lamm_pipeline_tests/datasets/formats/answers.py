"""Reads what an answer says from its text alone, so that it can be compared with the annotations it was made from.

It knows the phrases for classes and the form of the sentences, and nothing of the code that writes them.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

BOX = re.compile(r"\[(-?\d+), (-?\d+), (-?\d+), (-?\d+)\]")


@dataclass(frozen=True)
class Words:
    """Phrases for one kind of object."""

    one: str
    many: str


class Reader:
    """Reads sentences about these kinds of objects."""

    def __init__(self, kinds: Iterable[Words]) -> None:
        self.kinds = {text: kind.one for kind in kinds for text in (kind.one, kind.many)}
        longest_first = sorted(self.kinds, key=len, reverse=True)
        self.name = f"(?:{'|'.join(map(re.escape, longest_first))})"

    def counts(self, text: str) -> dict[str, int]:
        """`2 cars`, `1 person`: how many of each kind a text says there are; the form of the noun has to fit the number."""
        found: dict[str, int] = {}
        for number, name in re.findall(rf"\b(\d+) ({self.name})(?= with its| with boxes|[:,.]| and \d|$)", text):
            assert (int(number) == 1) == (name == self.kinds[name]), text
            assert self.kinds[name] not in found, text
            found[self.kinds[name]] = int(number)
        return found

    def named(self, text: str, pattern: str) -> tuple[str, ...]:
        """The parts of a sentence of this form, in which `NAME` stands for a phrase; kinds instead of phrases."""
        match = re.fullmatch(pattern.replace("NAME", f"({self.name})"), text)
        assert match is not None, (text, pattern)
        return tuple(self.kinds.get(part, part) for part in match.groups())

    def asked(self, text: str) -> list[str]:
        """The kinds that a question names, in its order."""
        return [self.kinds[name] for name in re.findall(rf"\b{self.name}\b", text)]


def boxes(text: str) -> list[tuple[int, ...]]:
    """All boxes in a text."""
    return [tuple(map(int, match)) for match in BOX.findall(text)]


def masks(text: str) -> list[int]:
    """`mask 2`, `masks 1, 3 and 4`: the numbers."""
    match = re.search(r"\bmasks? ((?:\d+)(?:, \d+)*(?: and \d+)?)", text)
    assert match is not None, text
    return [int(number) for number in re.findall(r"\d+", match[1])]


def metres(text: str) -> list[float]:
    """All distances in a text."""
    return [float(number) for number in re.findall(r"(\d+\.\d) m\b", text)]
