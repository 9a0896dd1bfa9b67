"""One CLI call's hold on the house: settings, workspace, Dagster's instance, and running assets in this process."""

import json
import logging
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import dagster as dg
import typer

from lamm_pipeline.cli.options import note
from lamm_pipeline.cli.run_log import sentences
from lamm_pipeline.datasets.creation import create_dataset_version, refresh_selections
from lamm_pipeline.datasets.hard_cases import HardCases
from lamm_pipeline.datasets.settings import DatasetSettings, ExportFormat
from lamm_pipeline.datasets.splits.split_summary import why_in_no_split
from lamm_pipeline.datasets.splits.split_table import SUMMARY_FILE, read_summary
from lamm_pipeline.datasets.validation.report import REPORT_FILE, read_report
from lamm_pipeline.datasets.versions import read_version
from lamm_pipeline.errors import InputError
from lamm_pipeline.orchestration.instance import ACTOR_TAG, add_version_partitions, dagster_home, open_instance
from lamm_pipeline.orchestration.produce import PROGRESS_TAG
from lamm_pipeline.orchestration.runs import CANCELED_TAG, NO_RETRIES, PARTITION_TAG, PAUSED_TAG, holding, newest_run, state_of, stop_note
from lamm_pipeline.orchestration.stages import STAGES
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.recordings.recorded import recorded_between
from lamm_pipeline.settings import Settings, actor
from lamm_pipeline.storage.artifacts import Artifact, ArtifactKey

STOPPED = 130
EXPORTS = {str(each): f"{each}_dataset" for each in ExportFormat}


class Session:
    """What a command works with. Get one from `open_session`."""

    def __init__(self, settings: Settings, workspace: Workspace, opened: ExitStack) -> None:
        self.settings = settings
        self.workspace = workspace
        self.actor = actor()
        self.home = dagster_home(settings.root)
        self._opened = opened

    @cached_property
    def instance(self) -> dg.DagsterInstance:
        """Dagster's instance; to open it takes a second, two where there is none yet."""
        return self._opened.enter_context(open_instance(self.settings.root))

    @cached_property
    def definitions(self) -> dg.Definitions:
        """The whole graph of this house; to load it takes a second."""
        # the definitions read the environment when they load, and a wrong variable is to end in a sentence
        from lamm_pipeline.definitions import build_definitions  # noqa: PLC0415

        return build_definitions(self.settings)

    def materialize(self, job_name: str, partition: str, assets: Iterable[str], config: Mapping[str, Any] | None = None) -> None:
        """Materialize assets of one partition in this process; the run shows in the UI like any other.

        Raises:
            InputError: an asset failed; the sentence is the first failure's.
        """
        wanted = list(assets)
        operations = {name: {"config": dict(values)} for name, values in (config or {}).items() if name in wanted and values}
        self.execute(job_name, partition, wanted, operations)

    def execute(
        self,
        job_name: str,
        partition: str | None,
        assets: Iterable[str] | None,
        operations: Mapping[str, Any],
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Execute a job in this process.

        Args:
            job_name: of the job.
            partition: recording or dataset version, None for a job without partitions.
            assets: which of the job's assets; None means all.
            operations: run config by asset.
            tags: further tags of the run.

        Raises:
            InputError: an asset failed (the sentence is the first failure's), or somebody paused or canceled the run.
            Exit: the run was stopped in this terminal.
        """
        definitions = self.definitions
        level = logging.getLogger().level
        if level >= logging.WARNING:  # Dagster's own logger shows a stack trace for every failure
            definitions = dg.Definitions.merge(definitions, dg.Definitions(loggers={"console": sentences}))
        job = definitions.resolve_job_def(job_name)
        run_id = str(uuid.uuid4())
        with holding(self.home, run_id):
            result = job.execute_in_process(
                instance=self.instance,
                run_id=run_id,
                partition_key=partition,
                asset_selection=None if assets is None else [dg.AssetKey(name) for name in assets],
                run_config={"loggers": {"console": {"config": {"log_level": logging.getLevelName(level)}}}, "ops": dict(operations)},
                tags={ACTOR_TAG: self.actor, **NO_RETRIES, **(tags or {})},
                raise_on_error=False,
            )
            stopped = self._settle_stop(result)
        for event in result.all_events:
            if event.event_type_value == "STEP_SUCCESS":
                stats = event.step_success_data
                note(f"  {event.step_key:<18} {stats.duration_ms / 1000:6.1f} s")
            elif event.event_type_value == "ASSET_CHECK_EVALUATION":
                check = event.asset_check_evaluation_data
                if not check.passed:
                    name = f"{check.asset_key.path[-1]}/{check.check_name}"
                    note(f"  {check.severity.value.lower()}: {name}: {check.description or 'did not pass'}")
        if stopped is not None:
            _explain_stop(stopped, partition or job_name)
        if not result.success:
            raise InputError(_first_failure(result) + f" (run {result.run_id}; see it in the UI, or use --log-level info)")

    def recorded_between(self, first: date | None, last: date | None) -> list[str]:
        """Keys of the recordings whose first frame is of one of the days `first` to `last` (UTC, both inclusive), oldest first.

        Args:
            first: None = from the beginning.
            last: None = today.

        Raises:
            InputError: the first day lies behind the last.
        """
        if first is not None and first > (last := last or datetime.now(UTC).date()):
            raise InputError(f"--from {first} lies behind --to {last}. Give the earlier day first.")
        keys, problems = recorded_between(self.workspace.catalog, first, last)
        for sentence in problems:
            note(sentence)
        return keys

    def _settle_stop(self, result: dg.ExecuteInProcessResult) -> Mapping[str, str] | None:
        """Have a run that was stopped rather than failed stand as canceled; returns who stopped it, nobody = Ctrl-C, None = it was not."""
        by = stop_note(self.home, result.run_id)
        interrupted = any(event.is_step_failure and event.step_failure_data.error_source.name == "INTERRUPT" for event in result.all_events)
        if result.success or not (by or interrupted):
            return None
        run = self.instance.get_run_by_id(result.run_id)
        if run is not None and run.status is not dg.DagsterRunStatus.CANCELED:
            self.instance.report_run_canceled(run, "Stopped from the terminal it ran in, or from another one.")
        return by

    def create_version(
        self,
        name: str,
        recordings: Iterable[str],
        settings: DatasetSettings,
        *,
        imports: Iterable[str] = (),
        hard_cases: HardCases | None = None,
        resplit: bool = False,
        after: int | None = None,
        title: str = "",
        description: str = "",
    ) -> str:
        """Create a dataset version of what is in force, the latest decisions among it, and export it; returns its key."""
        # the assets read the environment when they load, and a wrong variable is to end in a sentence
        from lamm_pipeline.curation.assets import refreshed  # noqa: PLC0415

        workspace, chosen, imported = self.workspace, list(recordings), list(imports)
        for artifact, planned in refresh_selections(workspace.store, workspace.catalog, workspace.ontology, chosen, imported, hard_cases):
            note(f"  selection of {planned.recording} renewed")
            self.instance.report_runless_asset_event(refreshed(artifact, planned))
        version, new = create_dataset_version(
            self.settings.root,
            workspace.store,
            workspace.catalog,
            workspace.ontology,
            name,
            chosen,
            settings,
            actor=self.actor,
            imports=imported,
            hard_cases=hard_cases,
            resplit=resplit,
            after=after,
            title=title,
            description=description,
        )
        note(f"Dataset version {version.key}" + ("" if new else ": nothing differs from it, so no new version is made"))
        add_version_partitions(self.instance, [version.key])
        formats = [EXPORTS[name] for name in version.settings.formats]
        self.materialize("export", version.key, ["curated_dataset", "splits", "validation_report", *formats, "lineage"])
        return version.key

    def recording_facts(self, key: str) -> dict[str, Any]:
        """What is known of a recording and published of it, as JSON values."""
        row = self.workspace.catalog.recordings.get(key)
        artifacts = {}
        for name in (asset for stage in STAGES.values() for asset in stage.assets):
            artifact = self.workspace.store.current(ArtifactKey("recordings", key, name))
            if artifact is not None:
                artifacts[name] = {"version": artifact.version, "folder": artifact.location, "counts": dict(artifact.counts)}
        run = newest_run(self.instance, key)
        last = None if run is None else {"id": run.run_id, "state": state_of(self.home, run), "progress": run.tags.get(PROGRESS_TAG)}
        return {
            "key": key,
            "path": row.path,
            "size": row.size,
            "digest": row.digest,
            "recorded_at": f"{row.recorded_at:%Y-%m-%dT%H:%M:%SZ}" if row.recorded_at is not None else None,
            "run": last,
            "artifacts": artifacts,
        }

    def version_facts(self, key: str) -> dict[str, Any]:
        """What is known of a dataset version, as JSON values."""
        version = read_version(self.settings.root, key)
        row = self.workspace.catalog.versions.get(key)
        lineage, report, split = (
            self.workspace.store.current(ArtifactKey("datasets", key, asset)) for asset in ("lineage", "validation_report", "splits")
        )
        exports = {
            name: f"{artifact.location}/{name}"
            for name, asset in EXPORTS.items()
            if (artifact := self.workspace.store.current(ArtifactKey("datasets", key, asset))) is not None
        }
        content = json.loads(lineage.file("lineage.json").read_text()) if lineage is not None else {}
        return {
            "version": key,
            "title": row.title,
            "description": row.description,
            "created_at": version.created_at,
            "created_by": version.created_by,
            "recordings": [inputs.recording for inputs in version.recordings],
            "imports": [inputs.key for inputs in version.imports],
            "validation": None if report is None else _findings(report),
            "settings": version.settings.model_dump(mode="json"),
            "hard_cases": None if version.hard_cases is None else version.hard_cases.model_dump(mode="json"),
            "training_dataset_id": content.get("training_dataset_id"),
            "curated_dataset_id": content.get("curated_dataset_id"),
            "statistics": content.get("statistics"),
            **_split_facts(split),
            "exports": exports,
            "lineage": str(lineage.file("lineage.json")) if lineage is not None else None,
        }


@contextmanager
def open_session(root: Path | None) -> Iterator[Session]:
    """Open the house at `root` (default: the environment's) for one command."""
    settings = Settings.from_environment(root=root)
    os.environ["DAGSTER_HOME"] = str(dagster_home(settings.root))
    with ExitStack() as opened:
        yield Session(settings, Workspace(root=str(settings.root)), opened)


def _split_facts(split: Artifact | None) -> dict[str, Any]:
    """How a version was split, how many frames are in no split, by reason, and what there is to say of both."""
    if split is None:
        return {"split": None, "in_no_split": None}
    summary = read_summary(split.file(SUMMARY_FILE).parent)
    return {
        "split": {name: summary[name] for name in ("strategy_used", "achieved_ratios", "notes")},
        "in_no_split": {"frames": summary["unassigned_frames"], "why": why_in_no_split(summary)},
    }


def _findings(report: Artifact) -> dict[str, Any]:
    """What a validation report says of all."""
    found = read_report(report.file(REPORT_FILE).parent)
    return {name: found[name] for name in ("status", "errors", "warnings", "recommendations")}


def _explain_stop(by: Mapping[str, str], partition: str) -> NoReturn:
    """Say who stopped a run; Ctrl-C ends this command as well."""
    if PAUSED_TAG in by:
        raise InputError(f"{partition} was paused by {by[PAUSED_TAG]}; `lamm resume {partition}` goes on with it.")
    if CANCELED_TAG in by:
        raise InputError(f"{partition} was canceled by {by[CANCELED_TAG]}; `lamm restart {partition}` begins it anew.")
    note(f"Stopped. What was done up to the last checkpoint is kept: `lamm resume {partition}` goes on, and so does the same command.")
    raise typer.Exit(STOPPED)


def _first_failure(result: dg.ExecuteInProcessResult) -> str:
    for event in result.all_events:
        if event.event_type_value == "STEP_FAILURE":
            data = event.step_failure_data
            if data.user_failure_data is not None and data.user_failure_data.description:
                return f"{event.step_key}: {data.user_failure_data.description}"
            blocked = [
                f"{check.check_name}: {check.description or 'did not pass'}"
                for check in result.get_asset_check_evaluations()
                if check.asset_key.path[-1] == event.step_key and not check.passed and check.severity is dg.AssetCheckSeverity.ERROR
            ]
            if blocked and event.step_key == "validation_report":
                version = result.dagster_run.tags[PARTITION_TAG]
                return f"{event.step_key}: {' '.join(blocked)} `lamm dataset validate {version}` names all that it is about."
            if blocked:
                return f"{event.step_key}: {' '.join(blocked)}"
            return f"{event.step_key}: {(data.error.message if data.error else 'failed').strip()}"
    return "The run failed."
