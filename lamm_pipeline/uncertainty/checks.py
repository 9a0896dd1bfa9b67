"""Checks of `frame_uncertainty`: are the predictions as they should be, and of the frames there are now? Both warn."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from lamm_pipeline import partitions
from lamm_pipeline.orchestration.metadata import table
from lamm_pipeline.uncertainty.score_recording import SCORED, STALE

PREDICTIONS_USABLE = dg.AssetCheckSpec(
    "predictions_usable",
    asset="frame_uncertainty",
    partitions_def=partitions.recordings,
    description="Every frame that an evaluation predicts for can be scored, and its truth can be read.",
)
EVALUATIONS_FRESH = dg.AssetCheckSpec(
    "evaluations_fresh",
    asset="frame_uncertainty",
    partitions_def=partitions.recordings,
    description="Every evaluation is of the frames there are now, not of ones that were extracted otherwise.",
)


def predictions_usable(counts: Mapping[str, Any]) -> dg.AssetCheckResult:
    """The verdict on bad frames; stale evaluations have a check of their own."""
    evaluations = [each for each in counts["evaluations"] if each["status"] != STALE]
    bad = sum(each["bad_frames"] for each in evaluations)
    refused = [each for each in evaluations if each["status"] != SCORED]
    bad_labels = sum(each["frames_with_bad_labels"] for each in evaluations)
    sentence = f"{bad} frames are bad, {bad_labels} have truth that is; {len(refused)} of {len(evaluations)} evaluations are not scored."
    return dg.AssetCheckResult(
        passed=not bad and not bad_labels and not refused,
        check_name=PREDICTIONS_USABLE.name,
        severity=dg.AssetCheckSeverity.WARN,
        description=sentence if bad or bad_labels or refused else f"All frames of {len(evaluations)} evaluations are scored.",
        metadata={
            "bad": table(counts["bad"]),
            "bad_labels": table(counts["bad_labels"]),
            "refused": table([_reason(each) for each in refused]),
        },
    )


def evaluations_fresh(counts: Mapping[str, Any]) -> dg.AssetCheckResult:
    """The verdict on evaluations of other frames."""
    stale = [each for each in counts["evaluations"] if each["status"] == STALE]
    return dg.AssetCheckResult(
        passed=not stale,
        check_name=EVALUATIONS_FRESH.name,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{len(stale)} evaluations are of other frames; run their models again."
        if stale
        else "No evaluation is of other frames.",
        metadata={"stale": table([_reason(each) for each in stale])},
    )


def _reason(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    return {"evaluation": evaluation["evaluation"], "status": evaluation["status"], "reason": evaluation["reason"]}
