"""Checks of a dataset version: no neighbours in two splits, gaps as wide as asked, and masks that can be trusted."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from lamm_pipeline import partitions
from lamm_pipeline.datasets.curate import read_selection
from lamm_pipeline.datasets.samples import ArtifactFolders, samples_of
from lamm_pipeline.datasets.splits import Leak
from lamm_pipeline.datasets.versions import VersionManifest
from lamm_pipeline.geometry import rle
from lamm_pipeline.orchestration.metadata import table

NO_VIDEO_LEAKAGE = dg.AssetCheckSpec(
    "no_video_leakage",
    asset="splits",
    blocking=True,
    partitions_def=partitions.dataset_versions,
    description="No recording is in two splits; where one is cut into blocks, the guard gap lies between them.",
)
GUARD_GAP = dg.AssetCheckSpec(
    "guard_gap",
    asset="splits",
    partitions_def=partitions.dataset_versions,
    description="Recordings are split as a whole, or the gaps between their blocks are as wide as asked.",
)
MASK_INTEGRITY = dg.AssetCheckSpec(
    "mask_integrity",
    asset="curated_dataset",
    blocking=True,
    partitions_def=partitions.dataset_versions,
    description="Every kept mask decodes, has its image's size, and covers as many pixels as its annotation says.",
)
COUNTS_ADD_UP = dg.AssetCheckSpec(
    "counts_add_up",
    asset="curated_dataset",
    blocking=True,
    partitions_def=partitions.dataset_versions,
    description="Every frame and annotation of the recordings is kept once or dropped once with a reason, and the counts say so.",
)


def no_video_leakage(leaks: Sequence[Leak]) -> dg.AssetCheckResult:
    """The verdict on a split."""
    rows = [
        {
            "recording": leak.recording,
            "splits": " and ".join(leak.splits),
            "frames": " and ".join(leak.frame_ids),
            "between": leak.frames_between,
        }
        for leak in leaks
    ]
    sentence = f"{len(leaks)} recordings touch two splits." if leaks else "No recording touches two splits."
    return dg.AssetCheckResult(passed=not leaks, check_name="no_video_leakage", description=sentence, metadata={"leaks": table(rows)})


def guard_gap(summary: Mapping[str, Any]) -> dg.AssetCheckResult:
    """The verdict on the gaps of a split.

    Args:
        summary: content of `splits.json`.
    """
    used, wanted = summary["guard_frames_used"], summary["guard_frames"]
    narrow = [{"recording": name, "guard_frames": frames, "wanted": wanted} for name, frames in used.items() if frames < wanted]
    sentence = "All recordings are split as a whole."
    if used:
        sentence = f"{len(used)} recordings are cut into blocks, {len(narrow)} of them with gaps narrower than {wanted} frames."
    return dg.AssetCheckResult(
        passed=not narrow,
        check_name="guard_gap",
        severity=dg.AssetCheckSeverity.WARN,
        description=sentence,
        metadata={"narrow": table(narrow)},
    )


def curation_verdicts(
    version: VersionManifest, folders: ArtifactFolders, selection_folder: Path, counts: Mapping[str, Any]
) -> list[dg.AssetCheckResult]:
    """The verdicts on a version's masks and counts, from the recordings and the published selection alone; one pass over both.

    Args:
        version: the version.
        folders: where its pinned artifacts lie.
        selection_folder: of its artifact `curated_dataset`.
        counts: what that artifact says of itself.
    """
    problems: list[dict[str, Any]] = []
    found: Counter[str] = Counter()
    unaccounted: list[dict[str, Any]] = []
    for row, sample in zip(read_selection(selection_folder), samples_of(version, folders), strict=True):  # one order, frame by frame
        kept = frozenset(row.kept_detection_ids)
        listed = sorted([*row.kept_detection_ids, *row.dropped_detection_ids])
        found.update(frames=1, annotations=len(sample.annotations), kept_frames=row.kept, kept_annotations=len(kept))
        known = sorted(annotation.detection_id for annotation in sample.annotations)
        if row.frame_id != sample.frame_id or listed != known or row.kept == (row.reason is not None):
            unaccounted.append({"frame": sample.frame_id, "there are": len(known), "listed": len(listed), "reason": row.reason})
        for annotation in sample.annotations:
            if annotation.detection_id in kept:
                problem = rle_problem(annotation.mask_rle, sample.height, sample.width, annotation.area)
                if problem is not None:
                    problems.append({"annotation": annotation.detection_id, "problem": problem})
    return [_mask_integrity(problems, found["kept_annotations"]), _counts_add_up(unaccounted, found, counts)]


def _mask_integrity(problems: list[dict[str, Any]], checked: int) -> dg.AssetCheckResult:
    sentence = f"{len(problems)} of {checked} masks are wrong." if problems else f"All {checked} masks are sound."
    return dg.AssetCheckResult(
        passed=not problems, check_name="mask_integrity", description=sentence, metadata={"masks": checked, "problems": table(problems)}
    )


def _counts_add_up(unaccounted: list[dict[str, Any]], found: Mapping[str, int], counts: Mapping[str, Any]) -> dg.AssetCheckResult:
    rows = []
    for what in ("frames", "annotations"):
        original, filtered = counts["original"][what], counts["filtered"][what]
        dropped = sum(counts[f"dropped_{what}"].values())
        right = (original, filtered) == (found[what], found[f"kept_{what}"]) and original == filtered + dropped
        rows.append(
            {"what": what, "there are": found[what], "original": original, "filtered": filtered, "dropped": dropped, "right": right}
        )
    passed = not unaccounted and all(row["right"] for row in rows)
    sentence = "Every frame and annotation is kept or dropped, and the counts say so."
    if not passed:
        sentence = f"{len(unaccounted)} frames are not accounted for, or the counts are wrong."
    metadata = {"counts": table(rows), "unaccounted": table(unaccounted)}
    return dg.AssetCheckResult(passed=passed, check_name="counts_add_up", description=sentence, metadata=metadata)


def rle_problem(mask_rle: Any, height: int, width: int, area: int) -> str | None:
    """What is wrong with a mask, or None.

    Args:
        mask_rle: COCO's compressed runs.
        height: of the image, pixels.
        width: of the image, pixels.
        area: that the annotation claims, pixels.
    """
    if list(mask_rle["size"]) != [height, width]:
        return f"size {list(mask_rle['size'])} is not the image's [{height}, {width}]"
    try:
        covered = rle.area(mask_rle)
    except (ValueError, TypeError, RuntimeError) as error:
        return f"does not decode: {error}"
    if covered == 0:
        return "is empty"
    return None if covered == area else f"covers {covered} pixels, the annotation says {area}"
