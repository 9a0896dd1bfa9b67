"""Conditions on scenes, written as people write them and turned into SQL with parameters.

    max_uncertainty > 0.6 and 'rain' in tags
    0 < frames <= 500 and not gps and labeler is None
    status == 'labelled' or captured_at >= '2026-03-01'

The text is parsed as a Python expression, of which a few forms are allowed; none of it is ever executed or pasted into SQL: names are
looked up in a table of columns, values become parameters. What is not known is equal to nothing but None, and neither smaller nor larger
than anything.
"""

import ast
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from lamm_pipeline.errors import InputError

MAX_LENGTH = 2000
MAX_PARTS = 400


class Kind(StrEnum):
    """What a column holds."""

    text = "text"
    number = "number"
    flag = "flag"
    time = "time"
    words = "words"


@dataclass(frozen=True)
class Condition:
    """A condition of SQL.

    Attributes:
        sql: with a question mark for each parameter.
        parameters: in their order.
    """

    sql: str
    parameters: tuple[Any, ...] = ()


ALL = Condition("TRUE")

_ORDER = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}
_MIRRORED = {ast.Lt: ast.Gt, ast.LtE: ast.GtE, ast.Gt: ast.Lt, ast.GtE: ast.LtE, ast.Eq: ast.Eq, ast.NotEq: ast.NotEq}
_EXAMPLE = "Write for example: max_uncertainty > 0.6 and 'rain' in tags"


def parse_condition(text: str, columns: Mapping[str, Kind]) -> Condition:
    """Turn a condition into SQL.

    Args:
        text: what somebody wrote; nothing but blanks allows everything.
        columns: the names that it may use.

    Raises:
        InputError: it is no condition; the sentence says why.
    """
    if not text.strip():
        return ALL
    if len(text) > MAX_LENGTH:
        raise InputError(f"A condition has at most {MAX_LENGTH} characters; this one has {len(text)}.")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        parts = sum(1 for _ in ast.walk(tree))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise InputError(f"{_short(text)} is no condition. {_EXAMPLE}.") from None
    if parts > MAX_PARTS:
        raise InputError(f"The condition has {parts} parts, more than {MAX_PARTS}. Ask for less at once.")
    try:
        return _Translation(columns).condition(tree)
    except RecursionError:
        raise InputError("The condition is nested too deeply.") from None


class _Translation:
    """Turns the forms that are allowed into SQL; each method raises `InputError` for all others."""

    def __init__(self, columns: Mapping[str, Kind]) -> None:
        self.columns = columns

    def condition(self, node: ast.expr) -> Condition:
        if isinstance(node, ast.BoolOp):
            word = " AND " if isinstance(node.op, ast.And) else " OR "
            parts = [self.condition(each) for each in node.values]
            return Condition(f"({word.join(each.sql for each in parts)})", tuple(value for each in parts for value in each.parameters))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            inner = self.condition(node.operand)
            return Condition(f"(NOT {inner.sql})", inner.parameters)
        if isinstance(node, ast.Compare):
            operands = [node.left, *node.comparators]
            parts = [self.comparison(one, op, other) for one, op, other in zip(operands, node.ops, operands[1:], strict=False)]
            return Condition(f"({' AND '.join(each.sql for each in parts)})", tuple(value for each in parts for value in each.parameters))
        if isinstance(node, ast.Name):
            kind = self.kind(node)
            if kind is not Kind.flag:
                raise InputError(f"`{node.id}` alone says neither yes nor no: compare it with something.")
            return Condition(f'"{node.id}"')
        if isinstance(node, ast.Constant) and isinstance(node.value, bool):
            return Condition("TRUE" if node.value else "FALSE")
        raise InputError(f"`{_source(node)}` cannot stand in a condition. {_EXAMPLE}.")

    def comparison(self, one: ast.expr, op: ast.cmpop, other: ast.expr) -> Condition:
        if isinstance(op, (ast.In, ast.NotIn)):
            inside = self.inside(one, other)
            return Condition(f"(NOT {inside.sql})", inside.parameters) if isinstance(op, ast.NotIn) else inside
        if isinstance(op, (ast.Is, ast.IsNot)):
            if not (isinstance(one, ast.Name) and isinstance(other, ast.Constant) and other.value is None):
                raise InputError("`is` goes with None alone, as in: labeler is None.")
            if self.kind(one) is Kind.words:
                raise InputError(f"`{one.id}` is a list, which may be empty and is never unknown.")
            return self.equal(one, None, differs=isinstance(op, ast.IsNot))
        if not isinstance(one, ast.Name) and isinstance(other, ast.Name):
            one, op, other = other, _MIRRORED[type(op)](), one
        if not isinstance(one, ast.Name) or isinstance(other, ast.Name):
            raise InputError(f"`{_source(one)}` and `{_source(other)}` cannot be compared: compare a column with a value.")
        kind = self.kind(one)
        if kind is Kind.words:
            raise InputError(f"`{one.id}` is a list: ask whether something is in it, as in: 'rain' in {one.id}.")
        if isinstance(op, (ast.Eq, ast.NotEq)):
            return self.equal(one, self.value(kind, other, nothing=True), differs=isinstance(op, ast.NotEq))
        if kind is Kind.flag:
            raise InputError(f"`{one.id}` is neither small nor large.")
        return Condition(f'COALESCE("{one.id}" {_ORDER[type(op)]} ?, FALSE)', (self.value(kind, other),))

    def equal(self, column: ast.Name, value: Any, *, differs: bool) -> Condition:
        return Condition(f'("{column.id}" IS {"" if differs else "NOT "}DISTINCT FROM ?)', (value,))

    def inside(self, one: ast.expr, other: ast.expr) -> Condition:
        """`'rain' in tags`, `'night' in scene_id`, `status in ('labelled', 'in_review')`."""
        if isinstance(other, ast.Name):
            kind = self.kind(other)
            if kind is Kind.words:
                return Condition(f'list_contains("{other.id}", ?)', (self.value(Kind.text, one),))
            if kind is Kind.text:
                return Condition(f'COALESCE(contains(lower("{other.id}"), lower(?)), FALSE)', (self.value(Kind.text, one),))
            raise InputError(f"Nothing can be in `{other.id}`.")
        if isinstance(one, ast.Name) and isinstance(other, (ast.Tuple, ast.List, ast.Set)):
            kind = self.kind(one)
            if kind is Kind.words:
                raise InputError(f"`{one.id}` is a list: ask whether something is in it, as in: 'rain' in {one.id}.")
            values = tuple(self.value(kind, each) for each in other.elts)
            if not values:
                return Condition("FALSE")
            return Condition(f'COALESCE("{one.id}" IN ({", ".join("?" * len(values))}), FALSE)', values)
        raise InputError(f"`{_source(one)} in {_source(other)}` has no column. {_EXAMPLE}.")

    def kind(self, node: ast.Name) -> Kind:
        if node.id not in self.columns:
            raise InputError(f"There is no column {_short(node.id)}. There are: {', '.join(self.columns)}.")
        return self.columns[node.id]

    def value(self, kind: Kind, node: ast.expr, *, nothing: bool = False) -> Any:
        """The value that a column of a kind is compared with."""
        sign = 1
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
            sign, node = (-1 if isinstance(node.op, ast.USub) else 1), node.operand
            if kind is not Kind.number:
                raise InputError(f"`{_source(node)}` has a sign and is compared with what is no number.")
        if not isinstance(node, ast.Constant):
            raise InputError(f"`{_source(node)}` is no value: write a number, a text in quotes, True, False or None.")
        value = node.value
        if value is None and nothing:
            return None
        if kind is Kind.number and isinstance(value, (int, float)) and not isinstance(value, bool):
            return sign * _number(value)
        if kind is Kind.text and isinstance(value, str):
            return _text(value)
        if kind is Kind.time and isinstance(value, str):
            return _time(value)
        if kind is Kind.flag and isinstance(value, bool):
            return value
        expected = {Kind.number: "a number", Kind.text: "a text in quotes", Kind.flag: "True or False"}.get(
            kind, "a date such as '2026-03-01'"
        )
        raise InputError(f"{_short(_source(node))} is not {expected}, which the column is compared with.")


def _number(value: float) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise InputError("A number in the condition is too large.")
    return number


def _text(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InputError("A text in the condition has half a character.") from None
    return value


def _time(value: str) -> datetime:
    try:
        found = datetime.fromisoformat(value)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise InputError(f"{_short(value)} is no date such as '2026-03-01' or '2026-03-01T14:00'.") from None


def _source(node: ast.AST) -> str:
    try:
        return _short(ast.unparse(node), quote=False)
    except (RecursionError, ValueError):
        return "..."


def _short(text: str, *, quote: bool = True) -> str:
    shown = text if len(text) <= 60 else f"{text[:60]}..."
    shown = shown.encode("utf-8", "replace").decode()
    return repr(shown) if quote else shown
