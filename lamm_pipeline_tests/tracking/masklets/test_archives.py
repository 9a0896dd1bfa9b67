import base64
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from lamm_pipeline.errors import InputError
from lamm_pipeline.geometry.packed_mask import pack, unpack
from lamm_pipeline.tracking.masklets import archives

Mask = NDArray[np.bool_]


def read_by_the_specification(path: Path) -> dict[int, dict[int, Mask]]:
    """Section 4.5, and nothing of this package."""
    found: dict[int, dict[int, Mask]] = {}
    with zipfile.ZipFile(path) as archive:
        manifest = json.loads(archive.read("manifest.json"))
        for listed in manifest["frames"]:
            frame = json.loads(archive.read(listed["entry"]))
            assert listed["entry"] == f"frames/frame_{listed['frame_index']:06d}.json"
            assert frame["frame_index"] == listed["frame_index"]
            assert frame["frame_name"] == listed["frame_name"]
            assert [int(number) for number in listed["objects"]] == sorted(int(number) for number in frame["objects"])
            masks = {}
            for number, packed in frame["objects"].items():
                bits = np.frombuffer(base64.b64decode(packed["packed_bits_b64"]), np.uint8)
                count = int(np.prod(packed["shape"]))
                masks[int(number)] = np.unpackbits(bits, count=count).reshape(packed["shape"]).astype(bool)
            found[frame["frame_index"]] = masks
    return found


def write(path: Path, frames: dict[int, dict[int, Mask]], ratio: float = 1.0) -> None:
    with archives.VideoArchiveWriter(path, meta={"level": 2}, mask_scale_ratio=ratio) as writer:
        for index, masks in frames.items():
            writer.add(index, f"{index:06d}.png", {number: pack(mask, ratio) for number, mask in masks.items()})


def square(x: int) -> Mask:
    mask = np.zeros((12, 20), bool)
    mask[3:9, x : x + 5] = True
    return mask


videos = st.dictionaries(
    st.integers(0, 10_000), st.dictionaries(st.integers(1, 300), arrays(np.bool_, (5, 9)), max_size=4), max_size=5
).map(lambda frames: dict(sorted(frames.items())))


@pytest.mark.requirement("VOS-13")
@given(videos)
def test_what_is_written_is_what_the_specification_reads_and_what_we_read(
    tmp_path_factory: pytest.TempPathFactory, frames: dict[int, dict[int, Mask]]
) -> None:
    path = tmp_path_factory.mktemp("archive") / "video_segments.npz"
    write(path, frames)
    by_specification = read_by_the_specification(path)
    ours = {index: {number: unpack(mask) for number, mask in masks.items()} for index, _, masks in archives.read_video_archive(path)}
    for found in (by_specification, ours):
        assert list(found) == list(frames)
        for index, masks in frames.items():
            assert list(found[index]) == sorted(masks)
            for number, mask in masks.items():
                np.testing.assert_array_equal(found[index][number], mask)


@pytest.mark.requirement("VOS-13", "VOS-03", "NFR-10")
def test_the_manifest_and_the_bytes_are_fixed(tmp_path: Path) -> None:
    frames = {4: {11: square(1), 2: square(9)}, 5: {}, 9: {2: square(10)}}
    for name in ("a", "b"):
        write(tmp_path / name / "video_segments_scale0.5x.npz", frames, 0.5)
    path = tmp_path / "a" / "video_segments_scale0.5x.npz"
    assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_DEFLATED}
        manifest = json.loads(archive.read("manifest.json"))
        frame = json.loads(archive.read("frames/frame_000004.json"))
    assert manifest == {
        "meta": {"level": 2, "mask_scale_ratio": 0.5},
        "frames": [
            {"frame_index": 4, "frame_name": "000004.png", "entry": "frames/frame_000004.json", "objects": ["2", "11"]},
            {"frame_index": 5, "frame_name": "000005.png", "entry": "frames/frame_000005.json", "objects": []},
            {"frame_index": 9, "frame_name": "000009.png", "entry": "frames/frame_000009.json", "objects": ["2"]},
        ],
    }
    assert list(frame["objects"]) == ["2", "11"]
    assert frame["objects"]["2"]["shape"] == [6, 10]
    assert frame["objects"]["2"]["full_resolution_shape"] == [12, 20]
    assert archives.read_meta(path) == {"level": 2, "mask_scale_ratio": 0.5}


@pytest.mark.requirement("VOS-14")
def test_the_archive_by_object_names_the_entries_of_the_other(tmp_path: Path) -> None:
    path = tmp_path / "tracking" / "object_segments.npz"
    archives.write_object_archive(path, {12: [7, 4], 2: [4]}, level=4, linked_video="video_segments.npz", mask_scale_ratio=1.0)
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["manifest.json"]
        manifest = json.loads(archive.read("manifest.json"))
    assert manifest == {
        "meta": {"level": 4, "linked_video": "video_segments.npz", "mask_scale_ratio": 1.0},
        "objects": {
            "2": [{"frame_index": 4, "frame_entry": "frames/frame_000004.json"}],
            "12": [
                {"frame_index": 4, "frame_entry": "frames/frame_000004.json"},
                {"frame_index": 7, "frame_entry": "frames/frame_000007.json"},
            ],
        },
    }
    assert archives.read_object_archive(path) == archives.ObjectArchive(manifest["meta"], {2: [4], 12: [4, 7]})


@pytest.mark.requirement("VOS-15")
@pytest.mark.parametrize(
    ("ratio", "name"), [(1.0, "v.npz"), (0.3, "v_scale0.3x.npz"), (0.25, "v_scale0.25x.npz"), (1 / 3, "v_scale0.333x.npz")]
)
def test_the_scale_shows_in_the_name(ratio: float, name: str) -> None:
    assert archives.archive_name("v", ratio) == name


@pytest.mark.requirement("VOS-13")
def test_archives_of_the_first_tool_are_read(tmp_path: Path) -> None:
    """Channels of one, objects before their frame's name, no frame name at all, ids sorted as text."""
    mask = square(4)
    bits = base64.b64encode(np.packbits(mask.reshape(-1)).tobytes()).decode()
    objects = {
        "10": {"shape": [1, 12, 20], "packed_bits_b64": bits},
        "9": {"shape": [12, 20], "packed_bits_b64": bits, "full_resolution_shape": [1, 40]},
    }
    manifest = {
        "meta": {"mask_scale_ratio": 1.0},
        "frames": [{"frame_index": 3, "frame_name": None, "entry": "frames/frame_000003.json", "objects": ["10", "9"]}],
    }
    path = tmp_path / "video_segments.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("frames/frame_000003.json", json.dumps({"frame_index": 3, "frame_name": None, "objects": objects}))
        archive.writestr("manifest.json", json.dumps(manifest))
    ((index, name, found),) = archives.read_video_archive(path)
    assert (index, name) == (3, "")
    for packed in found.values():
        np.testing.assert_array_equal(unpack(packed), mask)


def damaged(path: Path, kind: str) -> None:
    content = path.read_bytes()
    if kind == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "flipped":
        middle = content.index(b"frames/frame_000004.json") + 40
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :])
    elif kind == "numpy":
        np.savez_compressed(path, data=np.zeros(3))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            entries: dict[str, Any] = {
                "entry missing": {"frames": [{"entry": "frames/frame_000001.json"}]},
                "no frames": {"meta": {}},
                "frames of numbers": {"frames": [1, 2]},
                "a list": [1],
            }
            archive.writestr("manifest.json", "{" if kind == "no JSON" else json.dumps(entries[kind]))


@pytest.mark.requirement("VOS-13", "VOS-27")
@pytest.mark.parametrize(
    "kind", ["cut", "empty", "flipped", "numpy", "no JSON", "entry missing", "no frames", "frames of numbers", "a list"]
)
def test_a_damaged_archive_is_refused_with_a_sentence_that_names_it(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "video_segments.npz"
    write(path, {4: {1: square(1)}})
    damaged(path, kind)
    with pytest.raises(InputError, match=r"archive .*video_segments\.npz"):
        list(archives.read_video_archive(path))


@pytest.mark.parametrize("kind", ["cut", "numpy", "no JSON", "no frames", "a list"])
def test_a_damaged_archive_by_object_is_refused_too(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "object_segments.npz"
    archives.write_object_archive(path, {1: [4]}, level=2, linked_video="video_segments.npz", mask_scale_ratio=1.0)
    damaged(path, kind)
    with pytest.raises(InputError, match=r"archive .*object_segments\.npz"):
        archives.read_object_archive(path)


def test_an_archive_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        next(archives.read_video_archive(tmp_path / "video_segments.npz"))


def test_an_error_while_writing_leaves_no_archive(tmp_path: Path) -> None:
    path = tmp_path / "video_segments.npz"
    with pytest.raises(ValueError, match="ascending"):
        write_twice(path, 4)
    assert not path.exists()


def write_twice(path: Path, index: int) -> None:
    with archives.VideoArchiveWriter(path, meta={}, mask_scale_ratio=1.0) as writer:
        writer.add(index, "a.png", {})
        writer.add(index, "a.png", {})
