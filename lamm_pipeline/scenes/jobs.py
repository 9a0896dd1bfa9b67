"""The summaries of all scenes: the sensor that keeps them fresh, the job that does it, and the schedule that shows what to curate next."""

import dagster as dg

from lamm_pipeline.orchestration.run_history import REFRESH_JOB

SUMMARIES = dg.AssetSelection.assets("scene_library", "uncertainty_hotspots", "dashboard")

scene_summaries = dg.AutomationConditionSensorDefinition(
    "scene_summaries",
    target=SUMMARIES,
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=60,
    description="Brings the scene library, the hotspots and the dashboard up to the present when anything they are made of has changed, "
    "and every hour.",
)

refresh_scenes = dg.define_asset_job(
    REFRESH_JOB,
    selection=SUMMARIES,
    description="The scene library, the hotspots and the dashboard, brought up to the present now.",
)

weekly_proposals = dg.ScheduleDefinition(
    "weekly_proposals",
    job=refresh_scenes,
    cron_schedule="0 6 * * 1",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Brings the summaries up to the present every Monday at 6:00 UTC; uncertainty_hotspots shows the frames to curate next.",
)
