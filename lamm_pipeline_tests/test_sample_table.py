"""The sample table gives back what it was given, and pandas reads it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamm_pipeline import sample_table
from lamm_pipeline.errors import InputError
from lamm_pipeline.geometry import rle
from lamm_pipeline.geometry.box_3d import Box3D
from lamm_pipeline.geometry.camera import RectifiedCamera
from lamm_pipeline.sample_table import Annotation, PlacedBox, Sample

FOLDER = Path("artifact")
MASK = rle.encode(np.eye(4, 6))
BOX = PlacedBox(Box3D(1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 0.5), alpha=-0.25, truncated=0.125, occluded=2, source="track")
FULL = Annotation("drive:000007:0", "car", (0.5, 1.0, 3.25, 4.0), MASK, 4, None, 0.75, "model", 3, 9, BOX, "human", True, ("class", "box"))
BARE = Annotation("drive:000007:1", "dog", (0.0, 0.0, 1.0, 1.0), None, 0, "the runs sum up to 5 pixels")
SAMPLE = Sample(
    frame_id="drive:000007",
    recording="drive",
    frame_index=7,
    timestamp_ns=1_700_000_000_000_000_001,
    width=6,
    height=4,
    artifact="recordings/drive/frames/f1",
    folder=FOLDER,
    image="image_left/000007.png",
    state="kept",
    annotations=(FULL, BARE),
    image_right="image_right/000007.png",
    depth="depth/000007.npy",
    point_cloud="velodyne/000007.bin",
    calibration="calib.txt",
    camera=RectifiedCamera(6, 4, 5.0, 5.0, 2.5, 1.5, 0.12),
    image_hash=2**64 - 1,
)
EMPTY = replace(SAMPLE, frame_id="drive:000008", frame_index=8, annotations=(), state="reviewed_empty", camera=None, depth=None)


def stored(tmp_path: Path, *samples: Sample) -> Path:
    path = tmp_path / sample_table.FILE_NAME
    assert sample_table.write(path, samples) == len(samples)
    return path


def test_every_field_comes_back(tmp_path: Path) -> None:
    path = stored(tmp_path, SAMPLE, EMPTY)
    assert list(sample_table.read(path, lambda _: FOLDER)) == [SAMPLE, EMPTY]


@given(lengths=st.lists(st.integers(0, 4), max_size=5), rows=st.integers(1, 3))
def test_annotations_stay_with_their_frame(tmp_path_factory: pytest.TempPathFactory, lengths: list[int], rows: int) -> None:
    samples = [
        replace(
            SAMPLE, frame_id=f"drive:{n:06d}", annotations=tuple(replace(FULL, detection_id=f"drive:{n:06d}:{k}") for k in range(length))
        )
        for n, length in enumerate(lengths)
    ] * rows
    path = stored(tmp_path_factory.mktemp("table"), *samples)
    assert list(sample_table.read(path, lambda _: FOLDER)) == samples


def test_each_artifact_is_looked_up_once(tmp_path: Path) -> None:
    asked: list[str] = []

    def folder(reference: str) -> Path:
        asked.append(reference)
        return FOLDER / reference

    other = replace(SAMPLE, artifact="annotation_exports/street/annotation_export/a1")
    found = list(sample_table.read(stored(tmp_path, SAMPLE, other, EMPTY), folder))
    assert asked == [SAMPLE.artifact, other.artifact]
    assert found[1].path(found[1].image) == FOLDER / other.artifact / "image_left/000007.png"
    assert found[2].path(found[2].depth) is None


def test_pandas_reads_it(tmp_path: Path) -> None:
    frame = pd.read_parquet(stored(tmp_path, SAMPLE, EMPTY))
    assert list(frame["frame_id"]) == ["drive:000007", "drive:000008"]
    assert [each["class_id"] for each in frame["annotations"][0]] == ["car", "dog"]
    assert frame["annotations"][0][0]["box_3d"]["rotation_y"] == BOX.box.rotation_y
    assert int(frame["image_hash"][0]) == SAMPLE.image_hash


def test_another_file_is_refused_with_a_sentence(tmp_path: Path) -> None:
    other = tmp_path / "other.parquet"
    pd.DataFrame({"frame_id": ["a"]}).to_parquet(other)
    with pytest.raises(InputError, match=r"other\.parquet is no table of samples"):
        list(sample_table.read(other, lambda _: FOLDER))
    with pytest.raises(InputError, match="cannot be read"):
        list(sample_table.read(tmp_path / "none.parquet", lambda _: FOLDER))
