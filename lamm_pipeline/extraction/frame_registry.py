"""`frame_registry.json`: the list of frames that extraction hands on, and the same list as a table.

The keys are those of the format's first tool, with ours beside them. `svo2_frame_index` is the frame's name everywhere (files, frame id);
`sequence_index` only counts the listed frames. Frames that the diversity filter dropped stay listed, without files, with their reason.
"""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lamm_pipeline.errors import InputError
from lamm_pipeline.geometry.camera import RectifiedCamera
from lamm_pipeline.storage.atomic import write_text

FILE_NAME = "frame_registry.json"
TABLE_NAME = "frames.parquet"

# Readers of the original format expect these on every frame. They describe the moment of extraction; what was done later is known to the
# assets made later.
LATER_STAGES: dict[str, Any] = {
    "segmentation_complete": False,
    "reconstruction_complete": False,
    "tracking_complete": False,
    "detection_count": 0,
}


@dataclass(frozen=True)
class FrameRecord:
    """One frame. Paths are relative to the artifact's folder; None = not written.

    Attributes:
        frame_id: `<recording>:<svo2_frame_index, 6 digits>`.
        sequence_index: place in the list, 0-based, dropped frames included.
        svo2_frame_index: frame index in the recording.
        svo2_file: name of the recording's file.
        timestamp_ns: Unix time of the image.
        filename_base: stem of all files of the frame, the index with 6 digits.
        image_left, image_right: PNG. depth: `(H, W)`, see `depth_map.py`. point_cloud: float32 x, y, z, intensity.
        imu: oxts text line. sensor_json: all sensor values.
        source_name: name of the image the frame was packed from.
        valid_depth_ratio: share of pixels with depth.
        selected: False when the diversity filter dropped the frame.
        drop_reason: why.
        depth_out_of_range: pixels whose depth the file's format could not hold; unknown in it.
    """

    frame_id: str
    sequence_index: int
    svo2_frame_index: int
    svo2_file: str
    timestamp_ns: int
    filename_base: str
    image_left: str | None
    image_right: str | None
    depth: str | None
    point_cloud: str | None
    imu: str | None
    sensor_json: str | None
    source_name: str | None
    valid_depth_ratio: float | None
    selected: bool
    drop_reason: str | None
    depth_out_of_range: int = 0


@dataclass(frozen=True)
class FailedFrame:
    """A frame that could not be extracted."""

    index: int
    reason: str


@dataclass(frozen=True)
class FrameRegistry:
    """What extraction made of a recording.

    Attributes:
        recording: key of the recording.
        svo2_file: name of its file.
        svo2_hash: digest of its file.
        total_frames: frames stored in the file.
        extracted_frames: frames with files here.
        failed_frames: frames that were wanted and could not be had.
        config: the settings of extraction.
        lineage: where the recording came from.
        rectified: True when the images are rectified; only then there can be depth.
        camera: the rectified pair, None when not rectified.
        width, height: pixels of an image.
        frames: all listed frames in file order.
    """

    recording: str
    svo2_file: str
    svo2_hash: str
    total_frames: int
    extracted_frames: int
    failed_frames: tuple[FailedFrame, ...]
    config: dict[str, Any]
    lineage: dict[str, Any]
    rectified: bool
    camera: RectifiedCamera | None
    width: int
    height: int
    frames: tuple[FrameRecord, ...]

    @property
    def selected_frames(self) -> tuple[FrameRecord, ...]:
        """The frames that later stages work on: those with files."""
        return tuple(frame for frame in self.frames if frame.selected)

    @property
    def frames_removed_by_diversity(self) -> int:
        """Number of listed frames without files."""
        return sum(not frame.selected for frame in self.frames)


def write(path: Path, registry: FrameRegistry) -> None:
    """Write the registry as JSON, one frame a line."""
    head = {
        "recording": registry.recording,
        "svo2_file": registry.svo2_file,
        "svo2_hash": registry.svo2_hash,
        "total_frames": registry.total_frames,
        "extracted_frames": registry.extracted_frames,
        "diversity_filtered": bool(registry.config.get("enable_diversity_filter", False)),
        "frames_removed_by_diversity": registry.frames_removed_by_diversity,
        "rectified": registry.rectified,
        "camera": asdict(registry.camera) if registry.camera is not None else None,
        "width": registry.width,
        "height": registry.height,
        "config": registry.config,
        "lineage": registry.lineage,
        "failed_frames": [asdict(failed) for failed in registry.failed_frames],
    }
    opening = json.dumps(head, indent=2, ensure_ascii=False, allow_nan=False).removesuffix("\n}")
    lines = ",\n".join("    " + json.dumps(asdict(frame) | LATER_STAGES, ensure_ascii=False, allow_nan=False) for frame in registry.frames)
    write_text(path, f'{opening},\n  "frames": [\n{lines}\n  ]\n}}\n')


def read(path: Path) -> FrameRegistry:
    """Read a registry.

    Raises:
        InputError: the file is not one.
    """
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        names = [field.name for field in fields(FrameRecord)]
        return FrameRegistry(
            **{name: stored[name] for name in ("recording", "svo2_file", "svo2_hash", "total_frames", "extracted_frames")},
            failed_frames=tuple(FailedFrame(**failed) for failed in stored["failed_frames"]),
            **{name: stored[name] for name in ("config", "lineage", "rectified", "width", "height")},
            camera=RectifiedCamera(**stored["camera"]) if stored["camera"] is not None else None,
            frames=tuple(FrameRecord(**{name: frame[name] for name in names if name in frame}) for frame in stored["frames"]),
        )
    except FileNotFoundError:
        raise InputError(f"There is no frame registry {path}; extract the frames of the recording first.") from None
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not a frame registry of this version ({error!r}); extract the frames again.") from None


FRAME_SCHEMA = pa.schema(
    [
        ("frame_id", pa.string()),
        ("sequence_index", pa.int64()),
        ("svo2_frame_index", pa.int64()),
        ("svo2_file", pa.string()),
        ("timestamp_ns", pa.int64()),
        ("filename_base", pa.string()),
        ("image_left", pa.string()),
        ("image_right", pa.string()),
        ("depth", pa.string()),
        ("point_cloud", pa.string()),
        ("imu", pa.string()),
        ("sensor_json", pa.string()),
        ("source_name", pa.string()),
        ("valid_depth_ratio", pa.float64()),
        ("selected", pa.bool_()),
        ("drop_reason", pa.string()),
        ("depth_out_of_range", pa.int64()),
    ]
)


def write_table(path: Path, registry: FrameRegistry) -> None:
    """Write the frames as a Parquet table, one row a frame, columns as in `FrameRecord`."""
    pq.write_table(pa.Table.from_pylist([asdict(frame) for frame in registry.frames], schema=FRAME_SCHEMA), path)
