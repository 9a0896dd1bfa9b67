"""Making a dataset version from the Launchpad: the job `create_dataset`, and the sensor that exports what it made."""

from pathlib import Path

import dagster as dg
from pydantic import Field

from lamm_pipeline.curation.assets import refreshed
from lamm_pipeline.datasets.creation import create_dataset_version, refresh_selections
from lamm_pipeline.datasets.settings import DatasetSettings, FilterSettings, SplitSettings
from lamm_pipeline.orchestration.config import CheckedConfig, parse
from lamm_pipeline.orchestration.failures import sentences_as_failures
from lamm_pipeline.orchestration.instance import ACTOR_TAG, add_version_partitions
from lamm_pipeline.orchestration.metadata import table
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.settings import actor

VERSION_TAG = "lamm/dataset_version"

export = dg.define_asset_job(
    "export",
    selection=dg.AssetSelection.assets("curated_dataset", "splits", "kitti_dataset", "coco_dataset", "sam2_dataset", "lineage"),
    description="Curate, split and export one dataset version, and write its lineage.",
)


class FiltersConfig(FilterSettings, dg.Config):
    """Which frames and annotations get into a dataset version."""


class SplitConfig(SplitSettings, dg.Config):
    """How the frames of a version are divided into train, val and test."""


class NewVersionConfig(DatasetSettings, CheckedConfig):
    """The next version of a dataset."""

    name: str = Field(description="Name of the dataset, e.g. night_drives; the version number is given.")
    recordings: list[str] = Field([], description="Recording keys; empty takes all recordings that have detections.")
    title: str = Field("", description="Title for people.")
    description: str = Field("", description="Description for people.")
    filters: FiltersConfig = Field(FiltersConfig(), description="Which frames and annotations get in.")
    split: SplitConfig = Field(SplitConfig(), description="How they are divided into train, val and test.")


@dg.op(description="Renew selections that lack the latest decisions, pin the recordings' artifacts, write the manifest, add the partition.")
def write_version(context: dg.OpExecutionContext, config: NewVersionConfig, workspace: Workspace) -> str:
    """Create a dataset version; returns its key."""
    with sentences_as_failures():
        for artifact, planned in refresh_selections(workspace.store, workspace.catalog, workspace.ontology, config.recordings):
            context.log_event(refreshed(artifact, planned))
        values = config.model_dump(mode="json", include=set(DatasetSettings.model_fields))
        version, new = create_dataset_version(
            Path(workspace.root),
            workspace.store,
            workspace.catalog,
            workspace.ontology,
            config.name,
            config.recordings,
            parse(DatasetSettings, values, "the dataset version"),
            actor=actor(context.run.tags.get(ACTOR_TAG)),
            title=config.title,
            description=config.description,
            source_job_id=context.run_id,
        )
        add_version_partitions(context.instance, [version.key])
        context.instance.add_run_tags(context.run_id, {VERSION_TAG: version.key})
        context.log.info(f"Dataset version {version.key}" + ("" if new else " has exactly this content already; no new version is made."))
        context.add_output_metadata(
            {"version": version.key, "recordings": table([{"recording": inputs.recording} for inputs in version.recordings])}
        )
        return version.key


@dg.job(description="Create the next version of a dataset from recordings, filters and a split; its export starts when this job is done.")
def create_dataset() -> None:
    """Create a dataset version."""
    write_version()


@dg.run_status_sensor(
    run_status=dg.DagsterRunStatus.SUCCESS,
    monitored_jobs=[create_dataset],
    request_job=export,
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=5,
    description="Exports the dataset version that a run of create_dataset has made.",
)
def export_new_versions(context: dg.RunStatusSensorContext) -> dg.RunRequest | dg.SkipReason:
    """Launch `export` for the version that the finished run names in its tags."""
    run = context.instance.get_run_by_id(context.dagster_run.run_id)
    key = run.tags.get(VERSION_TAG) if run is not None else None
    if key is None:
        return dg.SkipReason(f"Run {context.dagster_run.run_id} has made no version.")
    tags = {ACTOR_TAG: run.tags[ACTOR_TAG]} if run is not None and ACTOR_TAG in run.tags else {}
    return dg.RunRequest(run_key=f"{key}-{context.dagster_run.run_id}", partition_key=key, tags=tags)
