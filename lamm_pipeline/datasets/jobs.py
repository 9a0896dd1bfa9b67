"""Making a dataset version from the Launchpad: the jobs `create_dataset` and `prepare`, and the sensor that exports what they made."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from lamm_pipeline.curation.assets import refreshed
from lamm_pipeline.datasets.creation import create_dataset_version, refresh_selections
from lamm_pipeline.datasets.hard_cases import HardCases
from lamm_pipeline.datasets.preparing import PREPARED, dataset_name, grow, with_said
from lamm_pipeline.datasets.settings import BoxSource, DatasetSettings, ExportFormat, FilterSettings, OnConflict, SplitSettings
from lamm_pipeline.datasets.validation.settings import ValidationSettings
from lamm_pipeline.datasets.versions import check_name
from lamm_pipeline.errors import InputError
from lamm_pipeline.imports.assets import imported
from lamm_pipeline.imports.planning import bring_about, plan
from lamm_pipeline.imports.settings import ImportSettings
from lamm_pipeline.imports.taking_in import add_exports
from lamm_pipeline.orchestration.config import CheckedConfig, parse
from lamm_pipeline.orchestration.failures import sentences_as_failures
from lamm_pipeline.orchestration.instance import ACTOR_TAG, add_export_partitions, add_version_partitions
from lamm_pipeline.orchestration.metadata import table
from lamm_pipeline.orchestration.progress import StageProgress
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.settings import actor

VERSION_TAG = "lamm/dataset_version"

export = dg.define_asset_job(
    "export",
    selection=dg.AssetSelection.assets(
        "curated_dataset",
        "splits",
        "validation_report",
        *(f"{each}_dataset" for each in ExportFormat),
        "lineage",
    ),
    description="Curate, split, validate and export one dataset version, and write its lineage.",
)


class FiltersConfig(FilterSettings, dg.Config):
    """Which frames and annotations get into a dataset version."""


class SplitConfig(SplitSettings, dg.Config):
    """How the frames of a version are divided into train, val and test."""


class ValidationConfig(ValidationSettings, dg.Config):
    """What a version is validated for."""


class VersionConfig(CheckedConfig):
    """What is said of the next version of a dataset beside its settings."""

    imports: list[str] = Field([], description="Keys of imports, in the order in which they are to be believed.")
    resplit: bool = Field(False, description="Divide all frames anew; else those of the version before stay where they are.")
    title: str = Field("", description="Title for people.")
    description: str = Field("", description="Description for people.")


class HardCasesConfig(HardCases, dg.Config):
    """Only the frames that models are least sure of."""


class CreateConfig(DatasetSettings, VersionConfig):
    """The next version of a dataset, perhaps of hard cases alone."""

    name: str = Field(description="Name of the dataset, e.g. night_drives; the version number is given.")
    recordings: list[str] = Field(
        [], description="Recording keys; empty takes all recordings that have detections, or none at all where imports are named."
    )
    filters: FiltersConfig = Field(FiltersConfig(), description="Which frames and annotations get in.")
    split: SplitConfig = Field(SplitConfig(), description="How they are divided into train, val and test.")
    validation: ValidationConfig = Field(ValidationConfig(), description="What the version is validated for before it is exported.")
    hard_cases: HardCasesConfig = Field(
        HardCasesConfig(),
        description="Only the frames that models are least sure of, by the asset uncertainty_hotspots; without a limit all.",
    )


class ImportFields(ImportSettings, dg.Config):
    """How annotation exports are read."""


def _unsaid(name: str) -> Any:
    """A setting of `DatasetSettings` without a default, which the Launchpad would write down as if somebody had given it."""
    return Field(None, description=DatasetSettings.model_fields[name].description)


class PrepareConfig(VersionConfig):
    """Annotation exports, and the version that is made of them and of what the dataset has.

    A setting that is not given is as in the newest version of the dataset, and in a new one as in `PREPARED`.
    """

    zips: list[str] = Field(description="Paths of SAM2 export ZIPs.")
    name: str = Field("", description="Name of the dataset; one that exists grows. Empty: the first ZIP's.")
    recordings: list[str] = Field([], description="Keys of recordings to add as well.")
    importing: ImportFields = Field(ImportFields(), description="How the ZIPs are read.")
    filters: FiltersConfig | None = _unsaid("filters")
    split: SplitConfig | None = _unsaid("split")
    validation: ValidationConfig | None = _unsaid("validation")
    formats: list[ExportFormat] | None = Field(
        None, description="Formats to write: kitti, coco, huggingface, llava, sam2. A new dataset is written as huggingface."
    )
    on_conflict: OnConflict | None = _unsaid("on_conflict")
    include_masks: bool | None = _unsaid("include_masks")
    include_depth: bool | None = _unsaid("include_depth")
    include_3d_boxes: bool | None = _unsaid("include_3d_boxes")
    box_source: BoxSource | None = _unsaid("box_source")
    include_right_images: bool | None = _unsaid("include_right_images")
    include_point_clouds: bool | None = _unsaid("include_point_clouds")
    embed_images: bool | None = _unsaid("embed_images")
    conversation_turns: int | None = _unsaid("conversation_turns")


@dg.op(description="Renew selections that lack the latest decisions, pin what is published, write the manifest, add the partition.")
def write_version(context: dg.OpExecutionContext, config: CreateConfig, workspace: Workspace) -> str:
    """Create a dataset version; returns its key."""
    with sentences_as_failures():
        hard_cases = parse(HardCases, config.hard_cases.model_dump(), "the hard cases")
        settings = _settings(config.model_dump(mode="json", include=set(DatasetSettings.model_fields)))
        return _write_version(context, workspace, config, config.name, config.recordings, config.imports, settings, hard_cases)


@dg.op(description="Import every ZIP, put it beside what the dataset has, write the manifest of the next version, add the partitions.")
def import_and_write_version(context: dg.OpExecutionContext, config: PrepareConfig, workspace: Workspace) -> str:
    """Create the version of a dataset that its exports make; returns its key."""
    with sentences_as_failures():
        if not config.zips:
            raise InputError("There is no ZIP to prepare. Name at least one in `zips`.")
        said = _said(context, config)
        _settings(with_said(PREPARED, said))  # so that a wrong value is refused before anything is imported
        if config.name:
            check_name(config.name)
        who = actor(context.run.tags.get(ACTOR_TAG))
        added = add_exports(workspace.catalog, [Path(each) for each in config.zips], who)
        add_export_partitions(context.instance, [each.key for each in added])
        importing = ImportSettings(**config.importing.model_dump())
        for each in added:
            planned = plan(workspace.store, workspace.catalog, workspace.ontology, each.key, importing)
            artifact = bring_about(workspace.store, planned, StageProgress(context.log.info, each.key))
            context.log_event(imported(artifact, workspace))
        name = config.name or dataset_name(added[0].key)
        growth = grow(Path(workspace.root), workspace.catalog, name, [*config.imports, *(each.key for each in added)])
        recordings = list(dict.fromkeys([*growth.recordings, *config.recordings]))
        settings = _settings(with_said(growth.settings, said))
        return _write_version(context, workspace, config, name, recordings, growth.imports, settings, after=growth.number)


def _said(context: dg.OpExecutionContext, config: PrepareConfig) -> dict[str, Any]:
    """The settings of the version that the run's config gives, of a group of settings those of its fields that it gives."""
    run_config: Any = context.run.run_config
    given = run_config["ops"][context.op.name]["config"]
    return {
        name: {field: value[field] for field in given[name]} if isinstance(value, dict) else value
        for name, value in config.model_dump(mode="json", include=set(DatasetSettings.model_fields)).items()
        if value not in (None, [])
    }


def _settings(values: dict[str, Any]) -> DatasetSettings:
    checked: DatasetSettings = parse(DatasetSettings, values, "the dataset version")
    return checked


def _write_version(
    context: dg.OpExecutionContext,
    workspace: Workspace,
    config: VersionConfig,
    name: str,
    recordings: Sequence[str],
    imports: Sequence[str],
    settings: DatasetSettings,
    hard_cases: HardCases | None = None,
    after: int | None = None,
) -> str:
    for artifact, planned in refresh_selections(workspace.store, workspace.catalog, workspace.ontology, recordings, imports, hard_cases):
        context.log_event(refreshed(artifact, planned))
    version, new = create_dataset_version(
        Path(workspace.root),
        workspace.store,
        workspace.catalog,
        workspace.ontology,
        name,
        recordings,
        settings,
        actor=actor(context.run.tags.get(ACTOR_TAG)),
        imports=imports,
        hard_cases=hard_cases,
        resplit=config.resplit,
        after=after,
        title=config.title,
        description=config.description,
        source_job_id=context.run_id,
    )
    add_version_partitions(context.instance, [version.key])
    context.instance.add_run_tags(context.run_id, {VERSION_TAG: version.key})
    context.log.info(f"Dataset version {version.key}" + ("" if new else " has exactly this content already; no new version is made."))
    members = [{"recording": each.recording} for each in version.recordings]
    members += [{"recording": each.recording, "import": each.key} for each in version.imports]
    hard = {} if version.hard_cases is None else {"hard_cases": len(version.hard_cases.frame_ids)}
    context.add_output_metadata({"version": version.key, "members": table(members), **hard})
    return version.key


@dg.job(description="Create the next version of a dataset from recordings, filters and a split; its export starts when this job is done.")
def create_dataset() -> None:
    """Create a dataset version."""
    write_version()


@dg.job(
    description="From SAM2 export ZIPs to training data: import them, put them beside what the dataset has, and make its next version; "
    "validation, conversion and saving start when this job is done. Of a dataset that exists, what is not given is as in its newest version"
)
def prepare() -> None:
    """Prepare training data."""
    import_and_write_version()


@dg.run_status_sensor(
    run_status=dg.DagsterRunStatus.SUCCESS,
    monitored_jobs=[create_dataset, prepare],
    request_job=export,
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=5,
    description="Exports the dataset version that a run of create_dataset or prepare has made.",
)
def export_new_versions(context: dg.RunStatusSensorContext) -> dg.RunRequest | dg.SkipReason:
    """Launch `export` for the version that the finished run names in its tags."""
    run = context.instance.get_run_by_id(context.dagster_run.run_id)
    key = run.tags.get(VERSION_TAG) if run is not None else None
    if key is None:
        return dg.SkipReason(f"Run {context.dagster_run.run_id} has made no version.")
    tags = {ACTOR_TAG: run.tags[ACTOR_TAG]} if run is not None and ACTOR_TAG in run.tags else {}
    return dg.RunRequest(run_key=f"{key}-{context.dagster_run.run_id}", partition_key=key, tags=tags)
