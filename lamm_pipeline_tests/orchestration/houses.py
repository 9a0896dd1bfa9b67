"""A graph of one asset, run through Dagster itself: the recipe of `produce` in the smallest house there is."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from lamm_pipeline.orchestration.config import StageConfig
from lamm_pipeline.orchestration.failures import IO_RETRIES, sentences_as_failures
from lamm_pipeline.orchestration.produce import produce, result
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.storage.artifacts import Artifact, ArtifactKey
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline.streaming import Progress

ROWS = 7
PARTITIONS = dg.DynamicPartitionsDefinition(name="recordings")
KEY = ArtifactKey("recordings", "drive", "rows")


class RowsConfig(StageConfig):
    """Config of the one asset."""

    scale: int = Field(1, ge=1, description="Science.")


class House:
    """The asset `rows` writes seven files with a checkpoint every three, and calls `before` ahead of each."""

    def __init__(self, root: Path) -> None:
        self.workspace = Workspace(root=str(root))
        self.instance = dg.DagsterInstance.ephemeral()
        self.instance.add_dynamic_partitions("recordings", ["drive"])
        self.code_version = "1"
        self.retries: dg.RetryPolicy | None = IO_RETRIES
        self.computed: list[int] = []
        self.before: Callable[[int], None] = lambda _: None

    def run(self, **config: Any) -> dg.ExecuteInProcessResult:
        """Materialize; `computed` then holds the rows this run computed."""
        self.computed = []
        return dg.materialize(
            [self._asset()],
            instance=self.instance,
            partition_key="drive",
            resources={"workspace": self.workspace},
            run_config={"ops": {"rows": {"config": config}}},
            raise_on_error=False,
        )

    @property
    def current(self) -> Artifact:
        found = self.workspace.store.current(KEY)
        assert found is not None
        return found

    def _asset(self) -> dg.AssetsDefinition:
        house = self

        @dg.asset(partitions_def=PARTITIONS, retry_policy=house.retries)
        def rows(context: dg.AssetExecutionContext, config: RowsConfig, workspace: Workspace) -> dg.MaterializeResult:
            with sentences_as_failures():

                def work(draft: Draft, progress: Progress) -> Mapping[str, Any]:
                    log = draft.log("rows.jsonl")
                    for row in range(draft.state.get("done", 0), ROWS):
                        house.before(row)
                        house.computed.append(row)
                        (draft.directory / f"{row}.txt").write_text(str(row * config.scale))
                        log.append({"row": row})
                        progress(row + 1, ROWS)
                        if (row + 1) % 3 == 0:
                            draft.checkpoint({"done": row + 1})
                    (draft.directory / "all.json").write_text(json.dumps(list(log)))
                    return {"rows": len(log), "pair": (1, 2), "by_number": {1: "one"}}

                artifact = produce(context, workspace, work, config=config, code_version=house.code_version)
                return result(artifact, {"rows": artifact.counts["rows"]})

        return rows


def events(outcome: dg.ExecuteInProcessResult) -> list[str]:
    """Types of all events of a run."""
    return [event.event_type_value for event in outcome.all_events]


def failure(outcome: dg.ExecuteInProcessResult) -> str:
    """What a failed run says to people."""
    data = next(event for event in outcome.all_events if event.event_type_value == "STEP_FAILURE").step_failure_data
    return str(data.user_failure_data.description) if data.user_failure_data is not None else str(data.error)
