"""The file that extraction hands on."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction.frame_registry import FailedFrame, FrameRecord, FrameRegistry, read, write, write_table
from lamm_pipeline.geometry.camera import RectifiedCamera

FRAME = FrameRecord(
    frame_id="drive:000002",
    sequence_index=0,
    svo2_frame_index=2,
    svo2_file="drive.svo2",
    timestamp_ns=1_700_000_000_123_456_789,
    filename_base="000002",
    image_left="image_left/000002.png",
    image_right="image_right/000002.png",
    depth="depth/000002.npy",
    point_cloud="velodyne/000002.bin",
    imu="oxts/000002.txt",
    sensor_json="sensors/000002.json",
    source_name="000281",
    valid_depth_ratio=0.8125,
    selected=True,
    drop_reason=None,
)
DROPPED = replace(
    FRAME,
    frame_id="drive:000003",
    sequence_index=1,
    svo2_frame_index=3,
    selected=False,
    drop_reason="still: ä",
    **dict.fromkeys(("image_left", "image_right", "depth", "point_cloud", "imu", "sensor_json", "valid_depth_ratio")),
)
REGISTRY = FrameRegistry(
    recording="drive",
    svo2_file="drive.svo2",
    svo2_hash="ab" * 32,
    total_frames=5,
    extracted_frames=1,
    failed_frames=(FailedFrame(4, "no key frame before it"),),
    config={"frame_skip": 1, "start_frame": 0, "end_frame": None, "enable_diversity_filter": True},
    lineage={"dataset_id": None},
    rectified=True,
    camera=RectifiedCamera(1280, 720, 530.1, 530.1, 640.3, 360.7, 0.12),
    width=1280,
    height=720,
    frames=(FRAME, DROPPED),
)


@pytest.mark.requirement("EXT-05")
def test_the_json_has_the_keys_of_the_original_format(tmp_path: Path) -> None:
    write(tmp_path / "frame_registry.json", REGISTRY)
    stored = json.loads((tmp_path / "frame_registry.json").read_text())
    assert {"svo2_file", "svo2_hash", "total_frames", "extracted_frames", "config", "lineage", "frames"} <= stored.keys()
    assert (stored["diversity_filtered"], stored["frames_removed_by_diversity"]) == (True, 1)
    original = (
        "frame_id sequence_index svo2_frame_index svo2_file timestamp_ns filename_base image_left image_right depth point_cloud imu "
        "sensor_json segmentation_complete reconstruction_complete tracking_complete detection_count"
    )
    assert set(original.split()) <= stored["frames"][0].keys()
    assert stored["frames"][0]["timestamp_ns"] == 1_700_000_000_123_456_789


@pytest.mark.requirement("EXT-05")
@pytest.mark.parametrize("registry", [REGISTRY, replace(REGISTRY, rectified=False, camera=None, frames=(), failed_frames=())])
def test_what_is_written_reads_back(tmp_path: Path, registry: FrameRegistry) -> None:
    write(tmp_path / "frame_registry.json", registry)
    assert read(tmp_path / "frame_registry.json") == registry


@pytest.mark.requirement("EXT-06")
def test_the_table_holds_the_same_frames(tmp_path: Path) -> None:
    write_table(tmp_path / "frames.parquet", REGISTRY)
    table = pd.read_parquet(tmp_path / "frames.parquet").astype(object).replace({np.nan: None})
    assert list(table.columns) == list(FrameRecord.__dataclass_fields__)
    assert table["frame_id"].tolist() == ["drive:000002", "drive:000003"]
    assert table["timestamp_ns"].tolist()[0] == 1_700_000_000_123_456_789
    assert table["depth"].tolist() == ["depth/000002.npy", None]
    assert table["selected"].tolist() == [True, False]


def test_only_selected_frames_go_to_later_stages() -> None:
    assert REGISTRY.selected_frames == (FRAME,)
    assert REGISTRY.frames_removed_by_diversity == 1


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"frames": 3}'])
def test_a_file_that_is_no_registry_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "frame_registry.json"
    with pytest.raises(InputError, match="extract the frames of the recording first"):
        read(path)
    path.write_text(text)
    with pytest.raises(InputError, match="is not a frame registry"):
        read(path)
