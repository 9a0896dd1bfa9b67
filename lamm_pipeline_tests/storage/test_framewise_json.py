import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamm_pipeline.errors import InputError
from lamm_pipeline.storage import framewise_json

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(st.text(max_size=5).filter(lambda name: name != "frames"), values, max_size=3)


@given(head=objects, frames=st.dictionaries(st.text(max_size=8), objects, max_size=4), tail=objects)
def test_written_files_are_ordinary_json_and_stream_back(
    tmp_path_factory: pytest.TempPathFactory, head: dict[str, object], frames: dict[str, dict[str, object]], tail: dict[str, object]
) -> None:
    tail = {name: value for name, value in tail.items() if name not in head}
    path = tmp_path_factory.mktemp("json") / "a.json"
    framewise_json.write(path, head, "frames", frames.items(), tail)
    assert json.loads(path.read_text(encoding="utf-8")) == {**head, "frames": frames, **tail}
    assert list(framewise_json.read_frames(path, "frames")) == list(frames.items())
    assert framewise_json.read_head(path, "frames") == {**head, **tail}


@given(frames=st.dictionaries(st.text(max_size=3), objects, max_size=5), chosen=st.sets(st.text(max_size=3)), data=st.data())
def test_of_a_file_only_the_wanted_frames_are_read(
    tmp_path_factory: pytest.TempPathFactory, frames: dict[str, dict[str, object]], chosen: set[str], data: st.DataObject
) -> None:
    wanted = chosen | set(data.draw(st.lists(st.sampled_from(sorted(frames)), max_size=3)) if frames else [])
    path = tmp_path_factory.mktemp("json") / "a.json"
    framewise_json.write(path, {}, "frames", frames.items())
    expected = [(frame_id, frame) for frame_id, frame in frames.items() if frame_id in wanted]
    assert list(framewise_json.read_frames(path, "frames", wanted)) == expected
    path.write_text(json.dumps({"frames": frames}, indent=4))
    assert list(framewise_json.read_frames(path, "frames", wanted)) == expected


def test_a_file_in_another_layout_is_read_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "edited.json"
    path.write_text(json.dumps({"a": 1, "frames": {"r:000000": {"n": 1}, "r:000001": {"n": 2}}}, indent=4))
    assert list(framewise_json.read_frames(path, "frames")) == [("r:000000", {"n": 1}), ("r:000001", {"n": 2})]
    assert framewise_json.read_head(path, "frames") == {"a": 1}


def test_the_tail_may_be_counted_while_frames_are_written(tmp_path: Path) -> None:
    tail = {"total": 0}

    def counted():
        for n in range(3):
            tail["total"] += 1
            yield str(n), {}

    framewise_json.write(tmp_path / "a.json", {}, "frames", counted(), tail)
    assert json.loads((tmp_path / "a.json").read_text())["total"] == 3


@pytest.mark.parametrize("cut", [10, 40, 60])
def test_a_cut_file_is_refused_with_its_name(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "cut.json"
    framewise_json.write(path, {"head": "value"}, "frames", [("r:000000", {"n": 1}), ("r:000001", {"n": 2})])
    path.write_text(path.read_text()[:cut])
    with pytest.raises(InputError, match=r"cut\.json"):
        list(framewise_json.read_frames(path, "frames"))


def test_a_missing_file_is_refused_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.json is missing"):
        list(framewise_json.read_frames(tmp_path / "nowhere.json", "frames"))
