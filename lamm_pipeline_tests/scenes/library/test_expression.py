"""Conditions mean in SQL what they mean in Python, and whatever else is written becomes a sentence."""

import ast
import string
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lamm_pipeline.errors import InputError
from lamm_pipeline.scenes.library.expression import MAX_LENGTH, parse_condition
from lamm_pipeline.scenes.library.query import COLUMNS, Question, SceneQueries
from lamm_pipeline_tests.scenes.library.scene_worlds import scene

SCENES = sorted((scene(number) for number in range(60)), key=lambda each: each.scene_id)
QUERIES = SceneQueries(SCENES)


def ids(where: str) -> list[str]:
    return QUERIES.ids(Question(where))


def by_python(where: str) -> list[str]:
    """The scenes for which Python says yes; a comparison with what is not known is no, as documented."""
    return [each.scene_id for each in SCENES if eval(where, {"__builtins__": {}}, Known(vars(each)))]  # noqa: S307


class Unknown:
    """Neither smaller nor larger than anything, and equal to nothing."""

    def __lt__(self, _: object) -> bool:
        return False

    __le__ = __gt__ = __ge__ = __contains__ = __lt__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Unknown) or other is None

    __hash__ = None  # type: ignore[assignment]


class Known(dict[str, Any]):
    def __getitem__(self, name: str) -> Any:
        value = super().__getitem__(name)
        return Unknown() if value is None else value


@pytest.mark.requirement("CAT-08", "UNC-03")
@pytest.mark.parametrize(
    "where",
    [
        "max_uncertainty > 0.6 and 'rain' in tags",
        "'rain' in tags or 'night' in tags and not status == 'labelled'",
        "not max_uncertainty > 0.6",
        "0.2 < max_uncertainty <= 0.9",
        "0.5 <= max_uncertainty",
        "labeler != 'eve'",
        "labeler == None",
        "status in ('labelled', 'in_review')",
        "status not in ['labelled']",
        "'harbour' in scene_id",
        "frames >= 1000 and frames < 3e3",
        "gps_start_lat > -90 and True",
        "False or frames == 1",
        "status in ()",
    ],
)
def test_a_condition_means_what_it_means_in_python(where: str) -> None:
    assert ids(where) == by_python(where)


@pytest.mark.requirement("CAT-08")
def test_none_flags_dates_and_letters() -> None:
    assert ids("max_uncertainty is None") == [each.scene_id for each in SCENES if each.max_uncertainty is None]
    assert ids("max_uncertainty is not None") == [each.scene_id for each in SCENES if each.max_uncertainty is not None]
    assert ids("gps") == [each.scene_id for each in SCENES if each.gps_start_lat is not None]
    assert ids("gps == False") == ids("not gps")
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    late = [each.scene_id for each in SCENES if each.captured_at is not None and each.captured_at >= noon]
    assert 0 < len(late) < len(SCENES)
    assert ids("captured_at >= '2026-01-01T12:00'") == ids("captured_at >= '2026-01-01T13:00+01:00'") == late
    assert ids("'HARBOUR' in scene_id") == ids("'harbour' in scene_id")
    assert ids("  ") == ids("") == [each.scene_id for each in SCENES]


@pytest.mark.requirement("CAT-08")
@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("max_uncertainty >> 3", "cannot stand in a condition"),
        ("max_uncertainty", "neither yes nor no"),
        ("nonsense > 3", "There is no column 'nonsense'"),
        ("__import__('os').system('id')", "cannot stand in a condition"),
        ("frames.__class__ == 3", "cannot be compared"),
        ("(lambda: 1)() > 0", "cannot be compared"),
        ("frames > 'three'", "is not a number"),
        ("status == 3", "is not a text in quotes"),
        ("captured_at > 'yesterday'", "is no date"),
        ("tags == 'rain'", "'rain' in tags"),
        ("'rain' in frames", "Nothing can be in `frames`"),
        ("frames is 3", "goes with None alone"),
        ("frames > points", "compare a column with a value"),
        ("1 < 2", "compare a column with a value"),
        ("frames > 1e999", "too large"),
        (f"frames > {'9' * 400}", "too large"),
        ("frames > True", "is not a number"),
        ("-status == 'x'", "cannot be compared"),
        ("gps > 1", "neither small nor large"),
        ("frames >", "is no condition"),
        ("frames > 1; DROP TABLE scenes", "is no condition"),
        ("frames > 1 --", "is no condition"),
        ("'a\\ud800' in scene_id", "half a character"),
        ("frames > 1\x00", "is no condition"),
        ("(" * 1500, "is no condition"),
        ("not " * 450 + "gps", "parts"),
        (f"frames in ({'1,' * 500})", "parts"),
        ("x" * (MAX_LENGTH + 1), "at most"),
        ("[frames for frames in (1,)] == 1", "cannot be compared"),
        ("frames := 3", "is no condition"),
        ("f'{frames}' == '3'", "cannot be compared"),
    ],
)
def test_what_is_no_condition_is_a_sentence(where: str, said: str) -> None:
    with pytest.raises(InputError, match=said.replace("(", r"\(")):
        ids(where)


def test_a_hostile_text_stays_a_text() -> None:
    for text in ("'; DROP TABLE scenes; --", '" OR TRUE --', "\\' OR 1=1", "?", "%", "_"):
        assert ids(f"status == {text!r}") == []
        assert ids(f"{text!r} in tags") == []
    assert len(ids("")) == len(SCENES)


@settings(max_examples=400)
@given(st.text(max_size=120) | st.text(alphabet=string.printable, max_size=120))
@example("frames > 1 or read_csv('/etc/passwd') is None")
@example("frames in (select(1),)")
def test_any_text_is_answered_or_refused_with_a_sentence(where: str) -> None:
    try:
        found = ids(where)
    except InputError:
        return
    assert set(found) <= {each.scene_id for each in SCENES}


NAMES = st.sampled_from(list(COLUMNS))
LEAVES = st.one_of(
    NAMES.map(ast.Name),
    st.one_of(st.text(max_size=6), st.integers(), st.floats(), st.booleans(), st.none()).map(ast.Constant),
)
OPERATORS = [ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq, ast.In, ast.NotIn, ast.Is, ast.IsNot]
TREES = st.recursive(
    st.builds(lambda one, op, other: ast.Compare(one, [op()], [other]), LEAVES, st.sampled_from(OPERATORS), LEAVES),
    lambda inner: st.one_of(
        st.builds(
            lambda word, parts: ast.BoolOp(word(), parts), st.sampled_from([ast.And, ast.Or]), st.lists(inner, min_size=2, max_size=3)
        ),
        inner.map(lambda each: ast.UnaryOp(ast.Not(), each)),
        st.builds(lambda one, other: ast.Call(one, [other], []), inner, inner),
    ),
    max_leaves=8,
)


@settings(max_examples=300)
@given(TREES)
def test_values_never_get_into_the_sql(tree: ast.expr) -> None:
    try:
        text = ast.unparse(tree)
        condition = parse_condition(text, COLUMNS)
    except InputError:
        return
    assert condition.sql.count("?") == len(condition.parameters)
    words = set(condition.sql.replace('"', " ").replace("(", " ").replace(")", " ").replace(",", " ").split())
    known = {"AND", "OR", "NOT", "IS", "IN", "DISTINCT", "FROM", "COALESCE", "FALSE", "TRUE", "list_contains", "contains", "lower", "?"}
    assert words <= known | {"<", "<=", ">", ">="} | set(COLUMNS)
    assert set(ids(text)) <= {each.scene_id for each in SCENES}
