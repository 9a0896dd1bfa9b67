"""The sensor `new_annotation_exports`: ZIPs that appear in watched folders become partitions and runs."""

import dagster as dg

from lamm_pipeline import partitions
from lamm_pipeline.imports.taking_in import export_shelf
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.recordings.sensors import outcome
from lamm_pipeline.recordings.watch import WatchState, tick

NAME = "new_annotation_exports"


@dg.sensor(
    name=NAME,
    job_name="import_exports",
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Takes in annotation exports (ZIP) that are new or changed in the folders of LAMM_WATCH_EXPORTS, once they have stopped "
    "growing, and launches import_exports for each; at most LAMM_WATCH_BATCH at a tick.",
)
def new_annotation_exports(context: dg.SensorEvaluationContext, workspace: Workspace) -> dg.SensorResult:
    """Look for new annotation exports."""
    settings = workspace.settings
    found = tick(
        export_shelf(workspace.catalog),
        settings.watch_export_folders,
        settings.root,
        WatchState.from_cursor(context.cursor),
        batch=settings.watch_batch,
        actor=NAME,
    )
    return outcome(context, found, NAME, partitions.annotation_exports)
