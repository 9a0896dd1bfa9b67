"""The sensor `new_recordings`: files that appear in watched folders become partitions and runs."""

import dagster as dg

from lamm_pipeline import partitions
from lamm_pipeline.orchestration.instance import ACTOR_TAG
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.recordings.watch import Tick, WatchState, recording_shelf, tick

NAME = "new_recordings"
SHOWN_PROBLEMS = 20


@dg.sensor(
    name=NAME,
    job_name="annotate_only",
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Takes in recordings that are new or changed in the folders of the source datasets and in LAMM_WATCH, once they have "
    "stopped growing, and launches annotate_only for each; at most LAMM_WATCH_BATCH at a tick.",
)
def new_recordings(context: dg.SensorEvaluationContext, workspace: Workspace) -> dg.SensorResult:
    """Look for new recordings."""
    settings = workspace.settings
    shelf = recording_shelf(workspace.catalog)
    found = tick(
        shelf,
        [*shelf.folders, *settings.watch_folders],
        settings.root,
        WatchState.from_cursor(context.cursor),
        batch=settings.watch_batch,
        actor=NAME,
    )
    return outcome(context, found, NAME, partitions.recordings)


def outcome(context: dg.SensorEvaluationContext, found: Tick, name: str, partition: dg.DynamicPartitionsDefinition) -> dg.SensorResult:
    """What a sensor on folders asks of Dagster after a tick: the runs that are wanted, and partitions for them.

    Args:
        context: of the sensor.
        found: what the tick found.
        name: of the sensor, which the runs are tagged with.
        partition: gets the new keys.
    """
    for sentence in found.problems[:SHOWN_PROBLEMS]:
        context.log.warning(sentence)
    for key in found.missing:
        context.log.warning(f"The file of {key!r} is gone. What was made of it stays.")
    for each in found.added:
        context.log.info(f"{each.key}: {each.status}, {each.path}")
    state = WatchState(found.state.after, found.state.seen, tuple(run_key for _, run_key in found.wanted))
    cursor = state.to_cursor()
    if not found.wanted:
        problems = f"; {len(found.problems)} cannot be read, the first: {found.problems[0]}" if found.problems else ""
        return dg.SensorResult(
            skip_reason=f"Nothing to launch; {found.waiting} files wait until they stop changing{problems}.", cursor=cursor
        )
    return dg.SensorResult(
        run_requests=[dg.RunRequest(run_key=run_key, partition_key=key, tags={ACTOR_TAG: name}) for key, run_key in found.wanted],
        dynamic_partitions_requests=[partition.build_add_request([key for key, _ in found.wanted])],
        cursor=cursor,
    )
