"""The asset `validation_report`."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from lamm_pipeline import partitions
from lamm_pipeline.datasets.classes import version_classes
from lamm_pipeline.datasets.samples import pinned_folders
from lamm_pipeline.datasets.settings import EmptyFrames
from lamm_pipeline.datasets.splits.split_frames import SPLITS
from lamm_pipeline.datasets.splits.split_table import PlacedSample, placed_samples, read_summary
from lamm_pipeline.datasets.validation.checks import CHECKS, validation_verdicts
from lamm_pipeline.datasets.validation.page import as_short_text
from lamm_pipeline.datasets.validation.report import PAGE_FILE, REPORT_FILE, Validated, read_report, require_valid, validate
from lamm_pipeline.datasets.versions import VersionManifest, read_version
from lamm_pipeline.errors import InputError
from lamm_pipeline.ontology.ontology import Ontology
from lamm_pipeline.orchestration.config import StageConfig
from lamm_pipeline.orchestration.failures import IO_RETRIES, sentences_as_failures
from lamm_pipeline.orchestration.metadata import file_url, table
from lamm_pipeline.orchestration.produce import produce, result
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.storage.artifacts import Artifact
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline.streaming import Progress

VALIDATION_VERSION = "2"


@dg.asset(
    partitions_def=partitions.dataset_versions,
    deps=["curated_dataset", "splits"],
    group_name="datasets",
    code_version=VALIDATION_VERSION,
    retry_policy=IO_RETRIES,
    check_specs=CHECKS,
    description="Whether the version is fit for training: every rule over every frame, with all that they object to. Exports and training "
    "wait for a version that failed.",
)
def validation_report(context: dg.AssetExecutionContext, config: StageConfig, workspace: Workspace) -> dg.MaterializeResult:
    """Validate a version."""
    with sentences_as_failures():
        workspace.catalog.versions.get(context.partition_key)
        version = read_version(Path(workspace.root), context.partition_key)
        curated = workspace.version_artifact(context.partition_key, "curated_dataset")
        split = workspace.version_artifact(context.partition_key, "splits")
        validated = what_is_validated(version, workspace.ontology)

        def work(draft: Draft, progress: Progress) -> Mapping[str, Any]:
            def frames() -> Iterator[PlacedSample]:
                return placed_samples(curated.folder, split.folder, pinned_folders(workspace.store))

            summary = read_summary(split.folder)
            total = summary["total_frames"] + sum(summary["unassigned_frames"].values())
            report = validate(validated, frames, draft, progress, total=total)
            return {name: report[name] for name in ("status", "frames", "annotations")} | {
                "errors": len(report["errors"]),
                "warnings": len(report["warnings"]),
                "failures": sum(rule["failures"] for rule in report["rules"]),
            }

        artifact = produce(
            context,
            workspace,
            work,
            scope="datasets",
            config=config,
            code_version=VALIDATION_VERSION,
            inputs={"curated_dataset": curated, "splits": split},
            files={"ontology": workspace.ontology.digest},
            settings=version.settings.validation.model_dump(mode="json") | {"empty_frames": str(version.settings.empty_frames)},
        )
        report = read_report(artifact.file(REPORT_FILE).parent)
        return result(
            artifact,
            {
                **artifact.counts,
                "report": dg.MetadataValue.md(as_short_text(report)),
                "url": file_url(workspace.settings, artifact, PAGE_FILE),
                "rules": table([_rule_row(rule) for rule in report["rules"]]),
                "first_ids": table([{"rule": rule["name"], "id": subject} for rule in report["rules"] for subject in rule["first"]]),
            },
            validation_verdicts(report),
        )


def what_is_validated(version: VersionManifest, ontology: Ontology) -> Validated:
    """A version as validation sees it.

    Raises:
        InputError: the ontology is not the one that the version was created with.
    """
    settings = version.settings
    return Validated(
        dataset=version.key,
        settings=settings.validation,
        splits=SPLITS,
        wanted=[name for name in SPLITS if settings.split.ratios[name] > 0],
        classes={each.id: each for each in version_classes(version, ontology).all},
        empty_frames_refused=settings.empty_frames is EmptyFrames.error,
        empty_frames_wanted=settings.empty_frames is EmptyFrames.keep_as_negative,
    )


def require_validated(workspace: Workspace, version_key: str, inputs: Mapping[str, Artifact]) -> None:
    """Go on only with a version whose validation did not fail; for everything that makes something of a version.

    Args:
        workspace: has the report.
        version_key: of the version.
        inputs: its `curated_dataset` and `splits`, which the report has to be about.

    Raises:
        InputError: there is no report, it is about others, or it failed.
    """
    artifact = workspace.version_artifact(version_key, "validation_report")
    if dict(artifact.manifest.identity.inputs) != {name: each.version for name, each in inputs.items()}:
        raise InputError(
            f"The validation_report of {version_key!r} is about an earlier curated_dataset or splits. Materialize validation_report again."
        )
    require_valid(read_report(artifact.file(REPORT_FILE).parent))


def _rule_row(rule: Mapping[str, Any]) -> dict[str, Any]:
    outcome = "passed" if rule["passed"] else rule["severity"]
    return {"rule": rule["name"], "result": outcome, "finding": rule["sentence"], "failures": rule["failures"]}
