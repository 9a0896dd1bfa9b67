"""Runs of a small graph through Dagster itself: they succeed, fail, or succeed with a check that does not."""

from typing import Any

import dagster as dg

PARTITIONS = dg.DynamicPartitionsDefinition(name="recordings")


class SmallRuns:
    """The asset `rows` of recordings, with the check `sound`, and the summary `summary` of all of them."""

    def __init__(self, instance: dg.DagsterInstance, *recordings: str) -> None:
        self.instance = instance
        instance.add_dynamic_partitions("recordings", list(recordings or ("drive", "night")))

    def rows(self, recording: str, *, fails: str | None = None, sound: bool = True, **tags: str) -> str:
        """Materialize `rows`; returns the run's id."""

        @dg.asset(partitions_def=PARTITIONS, check_specs=[dg.AssetCheckSpec("sound", asset="rows")])
        def rows() -> dg.MaterializeResult:  # type: ignore[type-arg]
            if fails is not None:
                raise dg.Failure(fails, allow_retries=False)
            check = dg.AssetCheckResult(passed=sound, severity=dg.AssetCheckSeverity.WARN, description="Two rows are missing.")
            return dg.MaterializeResult(check_results=[check])

        return self._run([rows], partition_key=recording, tags={name.replace("__", "/"): value for name, value in tags.items()})

    def summary(self, *, fails: bool = False) -> str:
        """Materialize `summary`; returns the run's id."""

        @dg.asset
        def summary() -> None:
            if fails:
                raise dg.Failure("The disk is full.", allow_retries=False)

        return self._run([summary])

    def _run(self, assets: Any, **how: Any) -> str:
        definitions = dg.Definitions(assets=assets)
        job = definitions.resolve_implicit_global_asset_job_def()
        selected = [asset.key for asset in assets]  # as the UI launches them
        return job.execute_in_process(instance=self.instance, raise_on_error=False, asset_selection=selected, **how).run_id
