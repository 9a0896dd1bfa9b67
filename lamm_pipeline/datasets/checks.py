"""Checks of a dataset version: nothing is lost, its sources agree, no neighbours are in two splits, gaps are as wide as asked."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import dagster as dg

from lamm_pipeline import partitions, sample_table
from lamm_pipeline.curation.selection import FrameDrop
from lamm_pipeline.datasets.curate import read_selection
from lamm_pipeline.datasets.samples import source_frames
from lamm_pipeline.datasets.settings import SplitStrategy, StratifiedGroup
from lamm_pipeline.datasets.splits.split_table import Leak
from lamm_pipeline.datasets.versions import VersionManifest
from lamm_pipeline.orchestration.metadata import table
from lamm_pipeline.sample_table import ArtifactFolder

POINTS = 5

NO_VIDEO_LEAKAGE = dg.AssetCheckSpec(
    "no_video_leakage",
    asset="splits",
    blocking=True,
    partitions_def=partitions.dataset_versions,
    description="No recording is in two splits; where one is cut into blocks, the guard gap lies between them. "
    "Where single frames were to be split, this only warns.",
)
GUARD_GAP = dg.AssetCheckSpec(
    "guard_gap",
    asset="splits",
    partitions_def=partitions.dataset_versions,
    description="Recordings are split as a whole, or the gaps between their blocks are as wide as asked.",
)
STRATIFIED = dg.AssetCheckSpec(
    "stratified_within_5_points",
    asset="splits",
    partitions_def=partitions.dataset_versions,
    description="After a stratified split each class is on as large a share of the frames of each split as of all, within five points.",
)
SOURCES_AGREE = dg.AssetCheckSpec(
    "sources_agree",
    asset="curated_dataset",
    partitions_def=partitions.dataset_versions,
    description="Where several sources have the same frame, they say the same about it.",
)
COUNTS_ADD_UP = dg.AssetCheckSpec(
    "counts_add_up",
    asset="curated_dataset",
    blocking=True,
    partitions_def=partitions.dataset_versions,
    description="Every frame and annotation of the recordings is kept once or dropped once with a reason, and the counts say so.",
)


def no_video_leakage(leaks: Sequence[Leak], summary: Mapping[str, Any]) -> dg.AssetCheckResult:
    """The verdict on a split.

    Args:
        leaks: that were found.
        summary: content of `splits.json`.
    """
    rows = [
        {
            "recording": leak.recording,
            "splits": " and ".join(leak.splits),
            "frames": " and ".join(leak.frame_ids),
            "between": leak.frames_between,
        }
        for leak in leaks
    ]
    asked_for = summary["strategy_used"] == SplitStrategy.random or summary["group"] == StratifiedGroup.frame
    sentence = f"{len({leak.recording for leak in leaks})} recordings touch two splits." if leaks else "No recording touches two splits."
    if leaks and asked_for:
        sentence += " Single frames were to be split, so figures on val and test will look better than they are."
    elif leaks and summary["newcomers"]["kept"]:
        sentence += " Frames keep their places from the version before; a version that divides all anew (resplit) parts no neighbours."
    return dg.AssetCheckResult(
        passed=not leaks,
        check_name="no_video_leakage",
        severity=dg.AssetCheckSeverity.WARN if asked_for else dg.AssetCheckSeverity.ERROR,
        description=sentence,
        metadata={"leaks": table(rows)},
    )


def stratified_within_5_points(summary: Mapping[str, Any]) -> dg.AssetCheckResult:
    """The verdict on the classes of a stratified split.

    Args:
        summary: content of `splits.json`.
    """
    rows = [
        {"class": name, "split": split, "frames": numbers["frames"], "points": numbers["points"]}
        for name, by_split in summary["class_shares"].items()
        for split, numbers in by_split.items()
        if abs(numbers["points"]) > POINTS
    ]
    asked_for = summary["strategy_used"] == SplitStrategy.stratified
    sentence = f"{len({row['class'] for row in rows})} classes are more than {POINTS} points off in a split."
    if not asked_for:
        sentence = f"The split is not to be stratified. {sentence}"
    return dg.AssetCheckResult(
        passed=not (asked_for and rows),
        check_name="stratified_within_5_points",
        severity=dg.AssetCheckSeverity.WARN,
        description=sentence,
        metadata={"off": table(rows)},
    )


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
    version: VersionManifest, folders: ArtifactFolder, curated_folder: Path, counts: Mapping[str, Any]
) -> list[dg.AssetCheckResult]:
    """The verdicts on a version's counts and sources, from its recordings and imports and what was published of them; one pass over all.

    Args:
        version: the version.
        folders: where its pinned artifacts lie.
        curated_folder: of its artifact `curated_dataset`.
        counts: what that artifact says of itself.
    """
    found: Counter[str] = Counter()
    unaccounted: list[dict[str, Any]] = []
    conflicts: list[dict[str, Any]] = []
    samples = _written_ids(curated_folder / sample_table.FILE_NAME)
    for row, frame in zip(read_selection(curated_folder), source_frames(version, folders), strict=True):  # one order, frame by frame
        known = sorted(annotation.detection_id for annotation in frame.sample.annotations)
        listed = sorted([*row.kept_detection_ids, *row.dropped_detection_ids])
        found.update(frames=1, annotations=len(known), kept_frames=row.kept, kept_annotations=len(row.kept_detection_ids))
        written = next(samples, None) if row.kept else None
        kept = (row.frame_id, list(row.kept_detection_ids)) if row.kept else None
        if row.frame_id != frame.sample.frame_id or listed != known or row.kept == (row.reason is not None) or written != kept:
            unaccounted.append({"frame": frame.sample.frame_id, "there are": len(known), "listed": len(listed), "reason": row.reason})
        if row.reason == FrameDrop.conflicting_frame:
            conflicts.append({"frame": row.frame_id, "what": row.detail})
    return [_counts_add_up(unaccounted, found, counts), _sources_agree(conflicts, counts["dropped_frames"].get(FrameDrop.same_frame, 0))]


def _written_ids(table_file: Path) -> Iterator[tuple[str, list[str]]]:
    """Frame id and annotation ids of every sample."""
    for batch in sample_table.read_batches(table_file, ["frame_id", "annotations.list.element.detection_id"]):
        annotations = batch.column("annotations")
        ids = iter(annotations.flatten().field("detection_id").to_pylist())
        for frame_id, length in zip(batch.column("frame_id").to_pylist(), annotations.value_lengths().to_pylist(), strict=True):
            yield frame_id, list(islice(ids, length))


def _sources_agree(conflicts: list[dict[str, Any]], same: int) -> dg.AssetCheckResult:
    sentence = f"{same} frames are in several sources, which say the same about them." if same else "No frame is in several sources."
    if conflicts:
        sentence = f"{len(conflicts)} frames are in several sources, which differ about them; on_conflict decided which is taken."
    return dg.AssetCheckResult(
        passed=not conflicts,
        check_name="sources_agree",
        severity=dg.AssetCheckSeverity.WARN,
        description=sentence,
        metadata={"same": same, "conflicts": table(conflicts)},
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
