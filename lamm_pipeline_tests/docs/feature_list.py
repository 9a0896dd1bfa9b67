"""Writes docs/features.md: every requirement, the modules that realise it, and the tests that show it.

What a requirement asks and where it lives is in `requirements.yaml` beside this file. The tests are found by reading the sources for
`@pytest.mark.requirement("ID", ...)` on functions and classes and in `pytestmark`; nothing is imported. `make docs` runs this module.
"""

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).parents[2]
TESTS = REPOSITORY / "lamm_pipeline_tests"
REQUIREMENTS_FILE = Path(__file__).with_name("requirements.yaml")
FEATURES_FILE = REPOSITORY / "docs" / "features.md"

BUILT, PARTLY, NOT_YET = "built", "partly", "not yet"
STATES = (BUILT, PARTLY, NOT_YET)
MARKER = "requirement"

INTRODUCTION = """\
# Features

Every requirement of the specification with the modules that realise it and the tests that show it. This page is generated from
`lamm_pipeline_tests/docs/requirements.yaml` and from the tests' `@pytest.mark.requirement("ID")`; run `make docs` after a change of either.

- *built*: there and complete.
- *partly*: the row says what is there and what is missing.
- *not yet*: nothing of it is there.
"""


@dataclass(frozen=True)
class Requirement:
    """One line of the specification.

    Attributes:
        where: repository paths of the modules that realise it; empty = not yet.
        note: what is there and what is missing, None when it is complete.
    """

    id: str
    text: str
    where: tuple[str, ...]
    note: str | None

    @property
    def state(self) -> str:
        """One of `STATES`."""
        if not self.where:
            return NOT_YET
        return BUILT if self.note is None else PARTLY


@dataclass(frozen=True)
class Group:
    """Requirements that belong together; their ids begin with the group's."""

    id: str
    title: str
    requirements: tuple[Requirement, ...]

    def count(self, state: str) -> int:
        """Number of requirements in a state."""
        return sum(each.state == state for each in self.requirements)


@dataclass(frozen=True)
class MarkedTest:
    """A test, a class of tests or a module of tests that shows requirements.

    Attributes:
        path: of the file, relative to the tests' folder.
        name: `function`, `Class`, `Class::method`, or empty for a whole module.
        requirement_ids: as written in the markers.
    """

    path: str
    name: str
    requirement_ids: tuple[str, ...]


def read_groups(path: Path = REQUIREMENTS_FILE) -> list[Group]:
    """Read the requirements, in the order of the file."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    return [Group(group["id"], group["title"], tuple(map(_requirement, group["requirements"]))) for group in content["groups"]]


def marked_tests(folder: Path = TESTS) -> list[MarkedTest]:
    """All tests below `folder` that carry the marker, by path and then in the order of the file."""
    found = []
    for path in sorted(folder.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
        name = path.relative_to(folder).as_posix()
        found += [MarkedTest(name, test, ids) for test, ids in _marked(tree, "")]
    return found


def tests_by_requirement(tests: Iterable[MarkedTest]) -> dict[str, list[MarkedTest]]:
    """The tests of each requirement id."""
    by_id: dict[str, list[MarkedTest]] = defaultdict(list)
    for test in tests:
        for requirement_id in dict.fromkeys(test.requirement_ids):
            by_id[requirement_id].append(test)
    return dict(by_id)


def render(groups: Sequence[Group], tests: Iterable[MarkedTest]) -> str:
    """The whole page."""
    shown_by = tests_by_requirement(tests)
    parts = [INTRODUCTION, _summary(groups)]
    for group in groups:
        rows = [f"| {each.id} | {each.text} | {_where(each)} | {_tests(shown_by.get(each.id, []))} |" for each in group.requirements]
        parts.append(
            "\n".join([f"## {group.id}: {group.title}", "", *_table("id", "requirement", "where it lives", "tests"), *rows]) + "\n"
        )
    return "\n".join(parts)


def main() -> None:
    """Write docs/features.md."""
    FEATURES_FILE.parent.mkdir(exist_ok=True)
    FEATURES_FILE.write_text(render(read_groups(), marked_tests()), encoding="utf-8", newline="\n")


def _requirement(entry: Mapping[str, Any]) -> Requirement:
    return Requirement(entry["id"], entry["text"], tuple(entry["where"]), entry.get("note"))


def _marked(scope: ast.Module | ast.ClassDef, prefix: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Name and requirement ids of everything marked in a module or class."""
    for node in scope.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = f"{prefix}::{node.name}" if prefix else node.name
            ids = _ids(node.decorator_list)
            if ids:
                yield name, ids
            if isinstance(node, ast.ClassDef):
                yield from _marked(node, name)
        elif _assigns_pytestmark(node):
            ids = _ids(ast.walk(node))
            if ids:
                yield prefix, ids


def _assigns_pytestmark(node: ast.stmt) -> bool:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return any(isinstance(target, ast.Name) and target.id == "pytestmark" for target in targets)


def _ids(nodes: Iterable[ast.AST]) -> tuple[str, ...]:
    """Requirement ids of all markers among these nodes."""
    return tuple(
        str(ast.literal_eval(argument))
        for node in nodes
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and ast.unparse(node.func) == f"pytest.mark.{MARKER}"
        for argument in node.args
    )


def _summary(groups: Sequence[Group]) -> str:
    requirements = [group for group in groups if group.id != "AV"]
    totals = {state: sum(group.count(state) for group in requirements) for state in STATES}
    total = sum(totals.values())
    sentence = f"Of {total} requirements {totals[BUILT]} are built, {totals[PARTLY]} partly, {totals[NOT_YET]} not yet."
    vectors = [group for group in groups if group.id == "AV"]
    for group in vectors:
        counts = ", ".join(f"{group.count(state)} {state}" for state in STATES)
        sentence += f" Of {len(group.requirements)} acceptance vectors: {counts}."
    rows = [
        f"| [{group.id}](#{_anchor(group)}) | {group.title} | " + " | ".join(str(group.count(state)) for state in STATES) + " |"
        for group in groups
    ]
    return "\n".join([sentence, "", *_table("group", "subject", *STATES), *rows]) + "\n"


def _table(*columns: str) -> tuple[str, str]:
    return f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"


def _anchor(group: Group) -> str:
    kept = "".join(each for each in f"{group.id} {group.title}".lower() if each.isalnum() or each in " -")
    return kept.replace(" ", "-")


def _where(requirement: Requirement) -> str:
    if not requirement.where:
        return NOT_YET
    links = [f"[{path.removeprefix('lamm_pipeline/')}](../{path})" for path in requirement.where]
    return "<br>".join([*links, *([f"*{requirement.note}*"] if requirement.note is not None else [])])


def _tests(tests: Sequence[MarkedTest]) -> str:
    return "<br>".join(f"[{'::'.join(filter(None, (test.path, test.name)))}](../{TESTS.name}/{test.path})" for test in tests)


if __name__ == "__main__":
    main()
