"""The sensor `new_evaluations`: predictions that appear in watched folders are scored."""

import dagster as dg

from lamm_pipeline import partitions
from lamm_pipeline.orchestration.instance import ACTOR_TAG
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.storage.artifacts import ArtifactKey
from lamm_pipeline.uncertainty.watch import WatchState, tick

NAME = "new_evaluations"
SHOWN_PROBLEMS = 20


@dg.sensor(
    name=NAME,
    job_name="uncertainty",
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Takes in evaluations that are new or changed in the folders of LAMM_WATCH_EVALUATIONS, once they have stopped changing, "
    "and scores the recordings that they predict for.",
)
def new_evaluations(context: dg.SensorEvaluationContext, workspace: Workspace) -> dg.SensorResult:
    """Look for new evaluations."""
    settings = workspace.settings
    found = tick(
        workspace.catalog,
        settings.watch_evaluation_folders,
        lambda recording: workspace.store.current_version(ArtifactKey("recordings", recording, "frames")),
        WatchState.from_cursor(context.cursor),
        batch=settings.watch_batch,
        actor=NAME,
    )
    for sentence in found.problems[:SHOWN_PROBLEMS]:
        context.log.warning(sentence)
    for each in found.added:
        context.log.info(f"{each.id}: {each.status}, {sum(each.recordings.values())} frames of {len(each.recordings)} recordings")
    cursor = found.state.to_cursor()
    if not found.wanted:
        problems = f"; {len(found.problems)} cannot be taken in, the first: {found.problems[0]}" if found.problems else ""
        return dg.SensorResult(
            skip_reason=f"Nothing to score; {found.waiting} evaluations wait until they stop changing{problems}.", cursor=cursor
        )
    return dg.SensorResult(
        run_requests=[dg.RunRequest(run_key=run_key, partition_key=key, tags={ACTOR_TAG: NAME}) for key, run_key in found.wanted],
        dynamic_partitions_requests=[partitions.recordings.build_add_request([key for key, _ in found.wanted])],
        cursor=cursor,
    )
