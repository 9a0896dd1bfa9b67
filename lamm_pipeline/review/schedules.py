"""The schedule `yesterdays_recordings`."""

from datetime import timedelta

import dagster as dg

from lamm_pipeline.orchestration.instance import ACTOR_TAG, add_recording_partitions
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.recordings.recorded import recorded_between

NAME = "yesterdays_recordings"


@dg.schedule(
    name=NAME,
    job_name="annotate_only",
    cron_schedule="0 3 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Every night at three (UTC): annotate_only for each recording of the day before, so that its sequence annotations can be "
    "reviewed in the morning. What is published already is not computed again.",
)
def yesterdays_recordings(context: dg.ScheduleEvaluationContext, workspace: Workspace) -> list[dg.RunRequest] | dg.SkipReason:
    """Launch `annotate_only` for the recordings of the day before."""
    day = (context.scheduled_execution_time - timedelta(days=1)).date()
    keys, problems = recorded_between(workspace.catalog, day, day)
    for sentence in problems:
        context.log.warning(sentence)
    if not keys:
        return dg.SkipReason(f"No known recording was recorded on {day}.")
    add_recording_partitions(context.instance, keys)
    return [dg.RunRequest(run_key=f"{day}-{key}", partition_key=key, tags={ACTOR_TAG: NAME}) for key in keys]
