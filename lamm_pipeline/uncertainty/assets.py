"""The asset `frame_uncertainty`."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import dagster as dg

from lamm_pipeline import partitions
from lamm_pipeline.orchestration.config import StageConfig
from lamm_pipeline.orchestration.failures import IO_RETRIES, sentences_as_failures
from lamm_pipeline.orchestration.metadata import frame_link, review_url, table
from lamm_pipeline.orchestration.placement import model_placement
from lamm_pipeline.orchestration.produce import produce, result
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.settings import Settings
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline.streaming import Progress
from lamm_pipeline.uncertainty import checks
from lamm_pipeline.uncertainty.planning import CODE_VERSION, plan_recording
from lamm_pipeline.uncertainty.score_recording import score_recording
from lamm_pipeline.uncertainty.settings import OPERATIONAL_FIELDS, UncertaintySettings

_PLACEMENT = model_placement(Settings.from_environment())
_BAR = "█"
_BAR_WIDTH = 30
_SHOWN_HISTOGRAMS = 2


class FrameUncertaintyConfig(UncertaintySettings, StageConfig):
    """How evaluations are scored."""

    OPERATIONAL = OPERATIONAL_FIELDS


@dg.asset(
    partitions_def=partitions.recordings,
    deps=["frames", "boxes_3d"],
    group_name="uncertainty",
    code_version=CODE_VERSION,
    retry_policy=IO_RETRIES,
    pool=_PLACEMENT.pool,
    op_tags=_PLACEMENT.op_tags,
    check_specs=[checks.PREDICTIONS_USABLE, checks.EVALUATIONS_FRESH],
    description="How unsure models are of every frame: all evaluations of the recording, against truth where there is any.",
)
def frame_uncertainty(context: dg.AssetExecutionContext, config: FrameUncertaintyConfig, workspace: Workspace) -> dg.MaterializeResult:
    """Score the evaluations of a recording."""
    with sentences_as_failures():
        plan = plan_recording(workspace.store, workspace.catalog, context.partition_key, config, workspace.settings.device)

        def work(draft: Draft, progress: Progress) -> Mapping[str, Any]:
            inputs = plan.inputs(afresh=config.force)
            taken = [each.evaluation.id for each in inputs if each.published is not None]
            if taken:
                context.log.info(f"Taken from what is published: {', '.join(taken)}.")
            return score_recording(
                inputs, len(plan.registry.selected_frames), config.max_bad_share, draft, workers=config.workers, progress=progress
            )

        artifact = produce(
            context,
            workspace,
            work,
            config=config,
            code_version=CODE_VERSION,
            inputs=plan.artifacts,
            files=plan.files,
            settings=plan.settings,
        )
        counts = artifact.counts
        link = partial(frame_link, workspace.settings, context.partition_key)
        return result(
            artifact,
            {
                "evaluations": len(counts["evaluations"]),
                "frames_scored": counts["rows"],
                "bad_frames": sum(each["bad_frames"] for each in counts["evaluations"]),
                **_numbers(counts["evaluations"]),
                "by_evaluation": table([_joined(each) for each in counts["evaluations"]]),
                "top": table([{**row, "link": link(row["frame_index"])} for row in counts["top"]]),
                "histogram": dg.MetadataValue.md(histogram_text(counts["histogram"])),
                "bad": table(counts["bad"]),
                "review": review_url(workspace.settings, context.partition_key),
            },
            [checks.predictions_usable(counts), checks.evaluations_fresh(counts)],
        )


def histogram_text(histograms: Sequence[Mapping[str, Any]]) -> str:
    """The frames of each bucket of 0.1, as Markdown; of the newest evaluations."""
    parts = []
    for each in histograms[-_SHOWN_HISTOGRAMS:]:
        buckets = {name: count for name, count in each.items() if name != "evaluation"}
        most = max(buckets.values())
        lines = [f"{name} {_BAR * round(_BAR_WIDTH * count / most) if most else ''} {count}" for name, count in buckets.items()]
        parts.append("\n".join([f"**{each['evaluation']}**", "```", *lines, "```"]))
    return "\n\n".join(parts) or "No evaluation predicts for this recording. `lamm evaluation add` takes one in."


def _joined(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """Lists as text, for a table."""
    return {**evaluation, **{name: ", ".join(evaluation[name] or ()) for name in ("score_kinds", "sources")}}


def _numbers(evaluations: Sequence[Mapping[str, Any]]) -> dict[str, float | str]:
    """Numbers that plot over partitions: the highest over all evaluations, and mean and 95th percentile of the newest scored one."""
    scored = [each for each in evaluations if each["frames"]]
    if not scored:
        return {}
    newest = scored[-1]
    return {
        "max_score": max(each["max"] for each in scored),
        "newest_evaluation": newest["evaluation"],
        "newest_mean_score": newest["mean"],
        "newest_p95_score": newest["p95"],
    }
