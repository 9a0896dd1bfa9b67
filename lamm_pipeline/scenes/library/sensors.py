"""The sensor `export_built_versions`: dataset versions that were saved in the browser are exported."""

import dagster as dg

from lamm_pipeline.orchestration.instance import ACTOR_TAG
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.scenes.library.dataset_draft import BUILT


@dg.sensor(
    job_name="export",
    minimum_interval_seconds=15,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Exports the dataset versions that people have saved in the dataset builder of the scene library.",
)
def export_built_versions(context: dg.SensorEvaluationContext, workspace: Workspace) -> dg.SensorResult:
    """Look for versions that were saved since the last time."""
    done = int(context.cursor) if context.cursor is not None and context.cursor.isdecimal() else 0
    events = workspace.catalog.audit.events(action=BUILT, after=done)
    there = {row.key for row in workspace.catalog.versions.all()}
    wanted = [each for each in events if each.subject in there]
    return dg.SensorResult(
        run_requests=[
            dg.RunRequest(run_key=f"{each.subject}-{each.id}", partition_key=each.subject, tags={ACTOR_TAG: each.actor}) for each in wanted
        ],
        cursor=str(max((each.id for each in events), default=done)),
    )
