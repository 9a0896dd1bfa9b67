"""Checks on a recording. Only an unreadable one blocks; real recordings have gaps, cut ends and missing calibrations."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from lamm_pipeline import partitions
from lamm_pipeline.orchestration.metadata import table

_DESCRIPTIONS = {
    "recording_readable": "At least one frame can be decoded.",
    "recording_complete": "The container was closed properly: footer and index are there and agree with the frames.",
    "no_gaps": "No frame is missing between two others.",
    "recording_unique": "No other recording has the same content.",
    "calibration_found": "A calibration file for the camera is there; without it there is no depth and nothing in 3D.",
}
BLOCKING = "recording_readable"

SPECS = [
    dg.AssetCheckSpec(name, asset="recording", description=description, blocking=name == BLOCKING, partitions_def=partitions.recordings)
    for name, description in _DESCRIPTIONS.items()
]


def evaluate(facts: Mapping[str, Any], *, twins: Sequence[str], calibration: tuple[bool, str]) -> list[dg.AssetCheckResult]:
    """The verdicts on one recording.

    Args:
        facts: content of `recording.json`.
        twins: keys of recordings with the same content.
        calibration: whether a calibration was found, and where or why not.
    """
    integrity = facts["integrity"]
    first = integrity["first_decodable_frame"]
    return [
        _result(
            "recording_readable",
            first is not None,
            "No frame of this recording can be decoded. Copy the file again from the camera, or leave it out."
            if first is None
            else f"Frames can be decoded from frame {first} on.",
            severity=dg.AssetCheckSeverity.ERROR,
        ),
        _result(
            "recording_complete",
            integrity["complete"]
            and integrity["footer"] in {"agrees", "unread"}
            and not integrity["damaged_chunks"]
            and not integrity["bad_frame_count"],
            " ".join(integrity["problems"]) or "The container is complete.",
            {"damaged_chunks": integrity["damaged_chunks"], "footer": integrity["footer"], "bad_frames": table(integrity["bad_frames"])},
        ),
        _result(
            "no_gaps",
            facts["gap_count"] == 0,
            f"{facts['gap_count']} gaps, about {facts['dropped_frames_estimate']} frames missing.",
            {"gaps": facts["gap_count"], "largest": table(facts["gaps"])},
        ),
        _result("recording_unique", not twins, f"Same content as {', '.join(twins)}." if twins else "No other recording has this content."),
        _result("calibration_found", *calibration),
    ]


def _result(
    name: str,
    passed: bool,
    sentence: str,
    metadata: Mapping[str, Any] | None = None,
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.WARN,
) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=passed, check_name=name, severity=severity, description=sentence, metadata=dict(metadata or {}))
