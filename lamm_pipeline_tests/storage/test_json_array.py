import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamm_pipeline.errors import InputError
from lamm_pipeline.storage import json_array

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
elements = st.lists(st.dictionaries(st.text(), values, max_size=4), max_size=6)


def everything(path: Path, key: str = "frames") -> list[Any]:
    return [json_array.read(path, span) for span in json_array.spans(path, key)]


@given(elements, st.dictionaries(st.text().filter(lambda name: name != "frames"), values, max_size=3))
def test_what_is_written_is_json_and_comes_back(
    tmp_path_factory: pytest.TempPathFactory, frames: list[dict[str, Any]], head: dict[str, Any]
) -> None:
    path = tmp_path_factory.mktemp("array") / "frames.json"
    json_array.write(path, head, "frames", frames)
    assert json.loads(path.read_text(encoding="utf-8")) == {**head, "frames": frames}
    assert everything(path) == frames


@given(elements, st.sampled_from([None, 0, 2]), st.booleans(), st.dictionaries(st.text(), values, max_size=3))
def test_any_layout_is_read(
    tmp_path_factory: pytest.TempPathFactory, frames: list[Any], indent: int | None, plain: bool, around: dict[str, Any]
) -> None:
    path = tmp_path_factory.mktemp("array") / "frames.json"
    whole = {**around, "before": {"frames": [1]}, "frames": frames, "after": 3.25}
    path.write_text(json.dumps(whole, indent=indent, ensure_ascii=plain), encoding="utf-8")
    assert everything(path) == frames


def test_elements_are_read_in_any_order(tmp_path: Path) -> None:
    path = tmp_path / "frames.json"
    json_array.write(path, {"name": "Straße"}, "frames", ({"number": number, "text": "ü" * number} for number in range(50)))
    places = list(json_array.spans(path, "frames"))
    assert [json_array.read(path, places[number])["number"] for number in (49, 0, 7)] == [49, 0, 7]


def test_memory_holds_an_element_not_the_file(tmp_path: Path) -> None:
    path = tmp_path / "frames.json"
    path.write_text(json.dumps({"frames": [{"mask": "x" * 300_000} for _ in range(60)]}, indent=2))
    tracemalloc.start()
    count = sum(1 for _ in json_array.spans(path, "frames"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 60
    assert peak < path.stat().st_size / 4


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{",
        '{"frames": {}}',
        '{"other": []}',
        '{"frames": [1, 2',
        '{"frames": [1 2]}',
        '{"frames": [1],',
        "no JSON",
        '{"frames": [1]} {}',
        '{"frames": []}}',
    ],
)
def test_what_is_no_such_file_is_refused_with_a_sentence(tmp_path: Path, content: str) -> None:
    path = tmp_path / "frames.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"frames\.json is not valid JSON with a list 'frames'"):
        everything(path)


def test_a_text_may_begin_with_the_mark_of_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "frames.json"
    path.write_text('{"frames": [{"text": "ü"}]}', encoding="utf-8-sig")
    assert everything(path) == [{"text": "ü"}]


def test_elements_of_an_open_file_come_whole(tmp_path: Path) -> None:
    frames = [{"number": number, "text": "ü" * number * 1000} for number in range(100)]
    json_array.write(tmp_path / "frames.json", {"head": 1}, "frames", frames)
    with (tmp_path / "frames.json").open("rb") as file:
        assert list(json_array.elements(file, "frames")) == frames


@pytest.mark.parametrize("content", ['{"frames": ["%s"]}', '{"head": "%s", "frames": []}', '{"frames": [[%s]]}'])
def test_a_value_that_is_too_long_is_refused_before_all_of_it_is_read(tmp_path: Path, content: str) -> None:
    path = tmp_path / "frames.json"
    path.write_text(content % ("7, " * 4_000_000))
    tracemalloc.start()
    with pytest.raises(InputError, match=r"takes more than 100,000 bytes"):
        list(json_array.spans(path, "frames", most_bytes=100_000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000


def test_a_missing_file_is_refused_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is missing"):
        everything(tmp_path / "frames.json")
    with pytest.raises(InputError, match="was changed or removed"):
        json_array.read(tmp_path / "frames.json", json_array.Span(0, 3))
