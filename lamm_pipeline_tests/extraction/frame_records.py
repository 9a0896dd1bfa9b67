"""Frames as the registry of a recording lists them, for the tests of whatever reads it."""

from typing import Any

from lamm_pipeline.extraction.frame_registry import FrameRecord


def frame_record(recording: str, index: int, timestamp_ns: int, **values: Any) -> FrameRecord:
    """A frame that was kept, with no file but those that `values` name."""
    nothing = ("image_left", "image_right", "depth", "point_cloud", "imu", "sensor_json", "source_name", "valid_depth_ratio", "drop_reason")
    given: dict[str, Any] = {
        **dict.fromkeys(nothing),
        "frame_id": f"{recording}:{index:06d}",
        "sequence_index": index,
        "svo2_frame_index": index,
        "svo2_file": f"{recording}.svo2",
        "timestamp_ns": timestamp_ns,
        "filename_base": f"{index:06d}",
        "selected": True,
    }
    return FrameRecord(**(given | values))
