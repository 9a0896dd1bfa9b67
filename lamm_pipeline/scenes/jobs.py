"""The job `refresh_scenes`: all summaries of all scenes, and the schedule that shows what to curate next."""

import dagster as dg

refresh_scenes = dg.define_asset_job(
    "refresh_scenes",
    selection=dg.AssetSelection.assets("scene_library", "uncertainty_hotspots", "dashboard"),
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
