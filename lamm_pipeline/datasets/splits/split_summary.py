"""What `splits.json` says of a split: settings, ratios reached, and counts by split, recording and class."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from lamm_pipeline.datasets.settings import SplitSettings
from lamm_pipeline.datasets.splits.split_frames import GUARD_GAP, LOOK_ALIKE, NEAR_DUPLICATE, NOWHERE, SPLITS, SplitFrames
from lamm_pipeline.datasets.splits.split_plans import SplitPlan

DIGITS = 6


def summarize(dataset: str, settings: SplitSettings, frames: SplitFrames, plan: SplitPlan) -> dict[str, Any]:
    """Count what a plan does.

    Args:
        dataset: key of the version.
        settings: the plan was made with.
        frames: of the version.
        plan: where they go.

    Returns:
        The content of `splits.json`. In `class_shares`, `share` is how many of a split's frames have the class, `points` by how many
        percentage points that differs from all frames in a split, and `deviation` by how much the split's part of the frames with the
        class differs from the split's ratio.
    """
    parts = {name: _part(frames, plan, code) for code, name in enumerate(SPLITS)}
    total = sum(part["frames"] for part in parts.values())
    table = {name: {split: parts[split]["classes"].get(name, 0) for split in SPLITS} for name in frames.classes}
    notes = list(plan.notes)
    for class_id, by_split in table.items():
        absent = [split for split in SPLITS if settings.ratios[split] > 0 and by_split[split] == 0]
        if not any(by_split.values()):
            notes.append(f"Class {class_id!r} is only on frames that are in no split, so nothing of it is exported.")
        elif absent:
            notes.append(f"Class {class_id!r} has no annotations in {' and '.join(absent)}.")
    left_out = {reason: int(np.count_nonzero(plan.codes == code)) for reason, code in ((GUARD_GAP, NOWHERE), (NEAR_DUPLICATE, LOOK_ALIKE))}
    return {
        "dataset": dataset,
        "strategy": settings.strategy,
        "strategy_used": plan.strategy,
        "group": plan.group,
        "balance_by": settings.balance_by,
        "seed": settings.seed,
        "ratios": settings.ratios,
        "achieved_ratios": {split: round(part["frames"] / total, DIGITS) for split, part in parts.items()},
        "near_duplicate_radius": settings.near_duplicate_radius,
        "guard_frames": settings.guard_frames,
        "guard_frames_used": dict(plan.guard_frames),
        "total_frames": total,
        "total_annotations": sum(part["annotations"] for part in parts.values()),
        "total_recordings": len(frames.recordings),
        "splits": parts,
        "classes": table,
        "class_shares": _class_shares(frames, plan, settings),
        "unassigned_frames": {reason: count for reason, count in left_out.items() if count},
        "notes": notes,
    }


def why_in_no_split(summary: Mapping[str, Any]) -> list[str]:
    """Sentences on the frames that are in no split: how many, why, and how that is changed. None where all are in one.

    Args:
        summary: content of `splits.json`.
    """
    left_out = summary["unassigned_frames"]
    found = []
    if GUARD_GAP in left_out:
        widths = sorted({*summary["guard_frames_used"].values()} or {summary["guard_frames"]})
        width = str(widths[0]) if len(widths) == 1 else f"{widths[0]} to {widths[-1]}"
        found.append(
            f"{left_out[GUARD_GAP]} frames are in no split because they lie in gaps of {width} frames between two splits of their "
            "recording. A smaller guard_frames (--guard-frames) leaves out fewer, whole recordings (strategy recording) none."
        )
    if NEAR_DUPLICATE in left_out:
        found.append(
            f"{left_out[NEAR_DUPLICATE]} frames are in no split because they look like frames of another one. A smaller "
            "near_duplicate_radius leaves out fewer."
        )
    if found and summary["newcomers"]["kept"]:
        found.append("Frames of the version before keep their place, also in no split; --resplit divides all anew.")
    return found


def _part(frames: SplitFrames, plan: SplitPlan, code: int) -> dict[str, Any]:
    inside = plan.codes == code
    annotated = np.bincount(frames.owner, minlength=len(frames)) > 0
    recordings = np.bincount(frames.recording[inside], minlength=len(frames.recordings)).tolist()
    classes = np.bincount(frames.label[inside[frames.owner]], minlength=len(frames.classes)).tolist()
    by_recording = {name: count for name, count in zip(frames.recordings, recordings, strict=True) if count}
    return {
        "frames": int(np.count_nonzero(inside)),
        "annotations": sum(classes),
        "negative_frames": int(np.count_nonzero(inside & ~annotated)),
        "recording_count": len(by_recording),
        "recordings": by_recording,
        "classes": {name: count for name, count in zip(frames.classes, classes, strict=True) if count},
    }


def _class_shares(frames: SplitFrames, plan: SplitPlan, settings: SplitSettings) -> dict[str, Any]:
    owner, label = frames.classes_on
    inside = plan.codes[owner] >= 0
    cells = label[inside] * len(SPLITS) + plan.codes[owner[inside]]
    with_class = np.bincount(cells, minlength=len(frames.classes) * len(SPLITS)).reshape(-1, len(SPLITS))
    sizes = np.bincount(plan.codes[plan.codes >= 0], minlength=len(SPLITS))
    found = {}
    for name, row in zip(frames.classes, with_class, strict=True):
        if row.any():
            overall = row.sum() / sizes.sum()
            found[name] = {
                split: {
                    "frames": int(row[code]),
                    "share": round(float(row[code] / sizes[code]), DIGITS),
                    "points": round(float(100 * (row[code] / sizes[code] - overall)), DIGITS),
                    "deviation": round(float(row[code] / row.sum() - settings.ratios[split]), DIGITS),
                }
                for code, split in enumerate(SPLITS)
                if sizes[code]
            }
    return found
