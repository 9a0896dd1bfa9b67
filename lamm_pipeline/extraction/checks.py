"""Checks of extraction: is there room on the disk before frames are written, and do their eyes match row by row afterwards?"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from lamm_pipeline import partitions
from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction.frame_files import estimate_bytes_per_frame
from lamm_pipeline.extraction.settings import FrameSettings
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.recordings.assets import FILE_NAME

HEADROOM = 1.5
MAX_ROW_OFFSET_PX = 1.0

RECTIFICATION = dg.AssetCheckSpec(
    "rectification_good",
    asset="frames",
    description=f"The same thing lies on the same row of both rectified images: at most {MAX_ROW_OFFSET_PX:g} px apart in the median.",
    partitions_def=partitions.recordings,
)


def rectification(counts: Mapping[str, Any]) -> dg.AssetCheckResult:
    """The verdict on the row offset that extraction measured; a wrong calibration shows here.

    Args:
        counts: of the artifact `frames`.
    """
    offset = counts.get("row_offset_px")
    if not counts["rectified"]:
        sentence = "The images are not rectified; there is nothing to measure."
    elif offset is None:
        sentence = "Too few features match between the eyes to measure the row offset."
    elif offset <= MAX_ROW_OFFSET_PX:
        sentence = f"Matching points are {offset:.2f} px apart in height in the median."
    else:
        sentence = (
            f"Matching points are {offset:.2f} px apart in height in the median, more than {MAX_ROW_OFFSET_PX:g}: the calibration does not "
            "fit this camera, so depth and 3D are not to be trusted. Get the SN<serial>.conf of this very camera."
        )
    return dg.AssetCheckResult(
        passed=offset is None or offset <= MAX_ROW_OFFSET_PX,
        check_name=RECTIFICATION.name,
        severity=dg.AssetCheckSeverity.WARN,
        description=sentence,
        metadata={} if offset is None else {"row_offset_px": offset},
    )


@dg.asset_check(
    asset="recording",
    partitions_def=partitions.recordings,
    description="The disk has room for all frames of the recording at full rate, with half as much again to spare.",
)
def disk_headroom(context: dg.AssetCheckExecutionContext, workspace: Workspace) -> dg.AssetCheckResult:
    """Warn when extracting the whole recording would leave the disk nearly full."""
    artifact = workspace.recording_artifact(context.partition_key, "recording")
    facts = json.loads(artifact.file(FILE_NAME).read_text())
    needed = estimated_bytes(facts, FrameSettings())
    free = shutil.disk_usage(workspace.root).free
    return dg.AssetCheckResult(
        passed=free > HEADROOM * needed,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{facts['frame_count']} frames need about {needed / 1e9:.1f} GB; {free / 1e9:.1f} GB are free.",
        metadata={"needed_gb": needed / 1e9, "free_gb": free / 1e9, "mb_per_frame": needed / 1e6 / max(1, facts["frame_count"])},
    )


def require_space(root: Path, facts: Mapping[str, Any], settings: FrameSettings) -> None:
    """Refuse work that cannot fit.

    Raises:
        InputError: the frames asked for need more space than is free.
    """
    needed = estimated_bytes(facts, settings)
    free = shutil.disk_usage(root).free
    if needed > free:
        raise InputError(
            f"The frames of {facts['file_name']} need about {needed / 1e9:.1f} GB, but {root} has {free / 1e9:.1f} GB free. "
            "Free some space, or take fewer frames (target_fps, frame_skip, start_frame, end_frame)."
        )


def estimated_bytes(facts: Mapping[str, Any], settings: FrameSettings) -> int:
    """Disk space that extraction with these settings takes, from measured averages a frame.

    Args:
        facts: content of `recording.json`.
        settings: of the extraction.
    """
    return wanted_frames(facts, settings) * estimate_bytes_per_frame(facts["width"], facts["height"], settings)


def wanted_frames(facts: Mapping[str, Any], settings: FrameSettings) -> int:
    """Number of frames that extraction with these settings takes, as far as it is known without the stamps of all frames.

    Args:
        facts: content of `recording.json`.
        settings: of the extraction.
    """
    stop = min(facts["frame_count"], settings.end_frame or facts["frame_count"])
    wanted = len(range(settings.start_frame, stop, settings.frame_skip))
    if settings.target_fps is not None and facts["measured_fps"]:
        wanted = min(wanted, round(max(0, stop - settings.start_frame) * settings.target_fps / facts["measured_fps"]) + 1)
    return wanted
