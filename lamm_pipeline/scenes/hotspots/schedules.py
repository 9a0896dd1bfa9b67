"""The schedule `weekly_proposals`: what to curate next, every Monday morning."""

import dagster as dg

from lamm_pipeline.scenes.hotspots.assets import hotspots

weekly_proposals = dg.ScheduleDefinition(
    "weekly_proposals",
    job=hotspots,
    cron_schedule="0 6 * * 1",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Brings the hotspots up to the present every Monday at 6:00 UTC; the run shows the frames to curate next with their links.",
)
