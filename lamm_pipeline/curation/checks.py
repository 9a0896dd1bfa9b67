"""The check of a selection: nothing vanishes."""

from typing import Any

import dagster as dg

from lamm_pipeline import partitions
from lamm_pipeline.curation import selection
from lamm_pipeline.curation.selecting import SelectionPlan
from lamm_pipeline.extraction import frame_registry
from lamm_pipeline.extraction.in_frame_order import InFrameOrder
from lamm_pipeline.orchestration.metadata import table
from lamm_pipeline.segmentation import detections
from lamm_pipeline.storage.artifacts import Artifact

NOTHING_VANISHES = dg.AssetCheckSpec(
    "nothing_vanishes",
    asset="selection",
    blocking=True,
    partitions_def=partitions.recordings,
    description="Every frame and annotation of the recording is in the selection once, kept or with a reason, and the counts say so.",
)


def nothing_vanishes(planned: SelectionPlan, artifact: Artifact) -> dg.AssetCheckResult:
    """The verdict on a published selection, from the frames and detections themselves.

    Args:
        planned: what the selection was made of.
        artifact: the selection.
    """
    registry = frame_registry.read(planned.inputs["frames"].file(frame_registry.FILE_NAME))
    found = detections.read(planned.inputs["detections"].file(detections.FILE_NAME))
    in_order = InFrameOrder(found, planned.recording, "detections")
    rows = InFrameOrder(selection.read(artifact.file(selection.FILE_NAME)), planned.recording, selection.FILE_NAME)
    problems: list[dict[str, Any]] = []
    total = 0
    for record in sorted(registry.frames, key=lambda frame: frame.svo2_frame_index):
        frame, row = in_order.at(record), rows.at(record)
        known = sorted(each.detection_id for each in frame.detections) if frame is not None else []
        listed = sorted([*row.kept_detection_ids, *row.dropped_detection_ids]) if row is not None else []
        total += len(known)
        if row is None or listed != known or (row.state in ("excluded", "unlabelled")) != (row.reason is not None):
            problems.append({"frame": record.frame_id, "there are": len(known), "listed": len(listed)})
    rows.finish()
    original = {"frames": len(registry.frames), "annotations": total}
    counted = artifact.counts["original"]
    for what, filtered in artifact.counts["filtered"].items():
        if counted[what] != original[what] or original[what] != filtered + sum(artifact.counts[f"dropped_{what}"].values()):
            problems.append({"frame": f"all {what}", "there are": original[what], "listed": counted[what]})
    sentence = f"{len(problems)} frames or counts are wrong." if problems else f"All {len(registry.frames)} frames are accounted for."
    return dg.AssetCheckResult(
        passed=not problems, check_name="nothing_vanishes", description=sentence, metadata={"problems": table(problems)}
    )
