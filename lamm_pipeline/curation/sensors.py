"""The sensor `decisions_changed`: what people decide reaches the selections, once they pause."""

from datetime import timedelta

import dagster as dg

from lamm_pipeline import partitions
from lamm_pipeline.catalog.models import now
from lamm_pipeline.curation.selecting import ASSET, settings_in_force
from lamm_pipeline.orchestration.instance import ACTOR_TAG
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.storage.artifacts import ArtifactKey

NAME = "decisions_changed"
QUIET = timedelta(seconds=60)
"""A recording waits until nobody has decided anything about it for so long."""


@dg.sensor(
    name=NAME,
    job_name="curate",
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Makes the selection of a recording again, with the settings in force, when people have decided something about it and "
    f"nobody has decided anything more for {QUIET.total_seconds():.0f} seconds.",
)
def decisions_changed(context: dg.SensorEvaluationContext, workspace: Workspace) -> dg.SensorResult:
    """Look for decisions that no selection was asked to know yet."""
    done = _whole(context.cursor)
    news = {key: mark for key, mark in workspace.catalog.decisions.watermarks().items() if mark.decision_id > done}
    waiting = {key: mark for key, mark in news.items() if now() - mark.at < QUIET}
    ready = {
        key: mark
        for key, mark in sorted(news.items())
        if key not in waiting and workspace.store.current_version(ArtifactKey("recordings", key, "detections")) is not None
    }
    # up to the cursor everything is asked for; what was asked for beyond it is not launched twice, because of its run key
    newest = max((mark.decision_id for mark in news.values()), default=done)
    cursor = str(max(done, min((mark.decision_id - 1 for mark in waiting.values()), default=newest)))
    if not ready:
        return dg.SensorResult(skip_reason=f"Nothing to curate; {len(waiting)} recordings are being reviewed.", cursor=cursor)
    return dg.SensorResult(
        run_requests=[
            dg.RunRequest(
                run_key=f"{key}:{mark.decision_id}",
                partition_key=key,
                tags={ACTOR_TAG: NAME},
                run_config={"ops": {ASSET: {"config": settings_in_force(workspace.store, key).model_dump(mode="json")}}},
            )
            for key, mark in ready.items()
        ],
        dynamic_partitions_requests=[partitions.recordings.build_add_request(list(ready))],
        cursor=cursor,
    )


def _whole(cursor: str | None) -> int:
    """The id that a cursor holds; 0 where it is none of ours."""
    return int(cursor) if cursor is not None and cursor.isdecimal() else 0
