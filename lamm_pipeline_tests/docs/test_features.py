"""docs/features.md is what the requirements and the tests say, and both say only what is true."""

import textwrap
from collections import Counter
from pathlib import Path

import pytest

from lamm_pipeline_tests.docs import feature_list
from lamm_pipeline_tests.docs.feature_list import FEATURES_FILE, REPOSITORY, Group, MarkedTest

COUNTS_BY_GROUP = (
    "ING 17, CFG 15, EXT 16, SEG 9, REC 7, TRK 5, VOS 30, SEQ 24, GIF 16, CUR 11, EXP 12, STA 8, API 19, LLM 8, VAL 10, SPL 10, PIP 6, "
    "CAT 15, DSB 6, RUN 6, REG 6, UNC 13, OPT 5, NFR 14, AV 26"
)
COUNTS = {group: int(count) for group, count in (part.split() for part in COUNTS_BY_GROUP.split(", "))}


@pytest.fixture(scope="module")
def groups() -> list[Group]:
    return feature_list.read_groups()


@pytest.fixture(scope="module")
def tests() -> list[MarkedTest]:
    return feature_list.marked_tests()


def test_the_feature_page_is_up_to_date(groups: list[Group], tests: list[MarkedTest]) -> None:
    assert FEATURES_FILE.read_text(encoding="utf-8") == feature_list.render(groups, tests), "docs/features.md is out of date: run make docs"


def test_every_id_of_the_specification_is_listed_once(groups: list[Group]) -> None:
    expected = [f"{group}-{number:02d}" for group, count in COUNTS.items() for number in range(1, count + 1)]
    assert [requirement.id for group in groups for requirement in group.requirements] == expected
    assert [group.id for group in groups] == list(COUNTS)
    assert len(expected) == 288 + 26


def test_every_marker_names_a_requirement(groups: list[Group], tests: list[MarkedTest]) -> None:
    known = {requirement.id for group in groups for requirement in group.requirements}
    unknown = [(test.path, test.name, each) for test in tests for each in test.requirement_ids if each not in known]
    assert not unknown, f"no such requirement: {unknown}"


def test_every_place_named_exists(groups: list[Group]) -> None:
    missing = [
        (each.id, path) for group in groups for each in group.requirements for path in each.where if not (REPOSITORY / path).is_file()
    ]
    assert not missing, f"requirements.yaml names files that are not there: {missing}"


def test_what_has_tests_is_not_called_missing(groups: list[Group], tests: list[MarkedTest]) -> None:
    shown = feature_list.tests_by_requirement(tests)
    missing = [each.id for group in groups for each in group.requirements if not each.where and each.id in shown]
    assert not missing, f"these have tests, but requirements.yaml does not say where they live: {missing}"


def test_texts_are_short_and_do_not_break_a_table(groups: list[Group]) -> None:
    for requirement in (each for group in groups for each in group.requirements):
        assert 0 < len(requirement.text) <= 140, requirement.id
        assert not set("|\n") & set(requirement.text + (requirement.note or "")), requirement.id
        assert requirement.note is None or (requirement.where and requirement.note.startswith("part: ")), requirement.id
        assert not [path for path, count in Counter(requirement.where).items() if count > 1], requirement.id


def test_markers_are_found_on_functions_classes_methods_and_modules(tmp_path: Path) -> None:
    source = """
        import pytest

        pytestmark = [pytest.mark.requirement("A-01"), pytest.mark.slow]

        @pytest.mark.parametrize("x", [1])
        @pytest.mark.requirement("A-02", "A-03")
        def test_function(x): ...

        @pytest.mark.requirement("A-04")
        class TestClass:
            pytestmark = pytest.mark.requirement("A-05")

            @pytest.mark.requirement("A-06")
            async def test_method(self): ...

        @pytest.mark.slow
        def test_other(): ...
    """
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "test_a.py").write_text(textwrap.dedent(source), encoding="utf-8")
    assert feature_list.marked_tests(tmp_path) == [
        MarkedTest("sub/test_a.py", "", ("A-01",)),
        MarkedTest("sub/test_a.py", "test_function", ("A-02", "A-03")),
        MarkedTest("sub/test_a.py", "TestClass", ("A-04",)),
        MarkedTest("sub/test_a.py", "TestClass", ("A-05",)),
        MarkedTest("sub/test_a.py", "TestClass::test_method", ("A-06",)),
    ]
