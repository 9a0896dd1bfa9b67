"""Check on tracks: what no tracker may do."""

import dagster as dg

from lamm_pipeline import partitions
from lamm_pipeline.orchestration.metadata import table
from lamm_pipeline.tracking.tracks import TrackSet, find_inconsistencies

TRACKS_CONSISTENT = dg.AssetCheckSpec(
    "tracks_consistent",
    asset="tracks",
    partitions_def=partitions.recordings,
    description="Ids are unique, a track has at most one box a frame, its frames ascend, and no detection is in two tracks.",
)


def tracks_consistent(found: TrackSet) -> dg.AssetCheckResult:
    """The verdict on a recording's tracks."""
    problems = find_inconsistencies(found)
    sentence = problems[0] if problems else f"All {len(found.tracks)} tracks are consistent."
    return dg.AssetCheckResult(
        passed=not problems,
        check_name="tracks_consistent",
        description=sentence,
        metadata={"problems": table([{"problem": problem} for problem in problems])},
    )
