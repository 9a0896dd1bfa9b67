"""Checks on tracks and masklets: what no tracker may do, and signs that one lost its objects."""

import dagster as dg

from lamm_pipeline import partitions
from lamm_pipeline.orchestration.metadata import table
from lamm_pipeline.tracking.masklets.quality import Quality
from lamm_pipeline.tracking.tracks import TrackSet, find_inconsistencies

MAX_BROKEN_SHARE = 0.2
MAX_FLIPPED_SHARE = 0.2
MIN_COVERAGE = 0.95

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


MASKLETS_UNIQUE, MASKLETS_UNBROKEN, MASKLETS_OF_ONE_CLASS, MASKLETS_COVER = MASKLET_CHECKS = tuple(
    dg.AssetCheckSpec(name, asset="masklets", partitions_def=partitions.recordings, description=description)
    for name, description in (
        ("masklet_ids_unique", "A masklet has at most one mask a frame, and no id is in two levels."),
        ("masklets_unbroken", f"At most {MAX_BROKEN_SHARE:.0%} of the masklets miss frames between their first and their last."),
        ("masklets_of_one_class", f"At most {MAX_FLIPPED_SHARE:.0%} of the masklets change their class along the way."),
        ("masklets_cover_candidates", f"At least {MIN_COVERAGE:.0%} of the frames with candidates have masklets."),
    )
)


def masklet_checks(found: Quality) -> list[dg.AssetCheckResult]:
    """The verdicts on a recording's masklets."""
    count = max(1, found.masklets)
    unique = dg.AssetCheckResult(
        passed=not found.repeated,
        check_name=MASKLETS_UNIQUE.name,
        description=found.repeated[0] if found.repeated else f"The ids of all {found.masklets} masklets are unique.",
        metadata={"problems": table([{"problem": problem} for problem in found.repeated])},
    )
    of_all = f"of {found.masklets} masklets"
    return [
        unique,
        _sign(MASKLETS_UNBROKEN, found.broken / count <= MAX_BROKEN_SHARE, f"{found.broken} {of_all} miss frames along the way."),
        _sign(MASKLETS_OF_ONE_CLASS, found.flipped / count <= MAX_FLIPPED_SHARE, f"{found.flipped} {of_all} change their class."),
        _sign(
            MASKLETS_COVER,
            found.coverage >= MIN_COVERAGE,
            f"{found.covered} of {found.frames_with_candidates} frames with candidates have masklets.",
        ),
    ]


def _sign(spec: dg.AssetCheckSpec, passed: bool, sentence: str) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=passed, check_name=spec.name, severity=dg.AssetCheckSeverity.WARN, description=sentence)
