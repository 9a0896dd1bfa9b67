"""The asset `validation_report` in Dagster: its checks, its link, and that exports wait for a version that failed."""

from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dagster as dg
import pytest

from lamm_pipeline.datasets.assets import coco_dataset, curated_dataset, splits
from lamm_pipeline.datasets.creation import create_dataset_version
from lamm_pipeline.datasets.settings import DatasetSettings, ExportFormat, FilterSettings
from lamm_pipeline.datasets.validation.assets import validation_report
from lamm_pipeline.datasets.validation.settings import RuleName, ValidationSettings
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.storage.artifacts import Artifact, ArtifactKey
from lamm_pipeline_tests.datasets.shops import ALL_TRAIN
from lamm_pipeline_tests.reports.sites import running
from lamm_pipeline_tests.review.worlds import FOUND, ONTOLOGY, World

KEY = "night.v1"


class Factory:
    """A recording of four frames, one of them without annotations, and a version of it in Dagster."""

    def __init__(self, root: Path, **settings: Any) -> None:
        self.world = World(root)
        self.instance = dg.DagsterInstance.ephemeral()
        self.instance.add_dynamic_partitions("dataset_versions", [KEY])
        self.settings = DatasetSettings(split=ALL_TRAIN, formats=[ExportFormat.coco], **settings)

    def create(self) -> None:
        world = self.world
        create_dataset_version(world.root, world.store, world.catalog, ONTOLOGY, "night", [], self.settings, actor="ada")

    def run(self, *assets: dg.AssetsDefinition) -> dg.ExecuteInProcessResult:
        return dg.materialize(
            [curated_dataset, splits, validation_report, coco_dataset],
            selection=list(assets) or None,
            instance=self.instance,
            partition_key=KEY,
            resources={"workspace": Workspace(root=str(self.world.root))},
            raise_on_error=False,
        )

    def current(self, asset: str) -> Artifact | None:
        return self.world.store.current(ArtifactKey("datasets", KEY, asset))


def failure(outcome: dg.ExecuteInProcessResult, step: str) -> str:
    """The sentence that a step failed with."""
    (event,) = [event for event in outcome.all_events if event.event_type_value == "STEP_FAILURE" and event.step_key == step]
    return str(event.step_failure_data.user_failure_data.description)


def listed(metadata: Any) -> list[dict[str, Any]]:
    """The rows of a table in metadata."""
    return [dict(row.data) for row in metadata.records]


def verdicts(outcome: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    return {each.check_name: each for each in outcome.get_asset_check_evaluations() if each.asset_key.path[-1] == "validation_report"}


@pytest.mark.requirement("VAL-02", "VAL-03", "VAL-08")
def test_a_version_that_failed_is_not_exported(tmp_path: Path) -> None:
    factory = Factory(tmp_path, validation=ValidationSettings(level="strict"))
    factory.create()
    outcome = factory.run()
    assert not outcome.success
    assert factory.current("coco_dataset") is None
    report = factory.current("validation_report")
    assert report is not None
    assert report.counts["status"] == "FAILED"
    found = verdicts(outcome)
    assert set(found) == set(RuleName)
    missing = found["missing_annotations"]
    assert (missing.passed, missing.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert str(missing.description).startswith("1 frames (25.0%) have no annotations")
    assert listed(missing.metadata["first"]) == [{"id": "drive:000002"}]
    (made,) = outcome.asset_materializations_for_node("validation_report")
    assert {"rule": "missing_annotations", "id": "drive:000002"} in listed(made.metadata["first_ids"])

    alone = factory.run(coco_dataset)
    assert not alone.success
    assert failure(alone, "coco_dataset").startswith(
        "Dataset version 'night.v1' failed its validation: 1 frames (25.0%) have no annotations"
    )
    assert factory.current("coco_dataset") is None


@pytest.mark.requirement("VAL-05", "VAL-08")
def test_a_version_that_passed_with_warnings_is_exported(tmp_path: Path) -> None:
    factory = Factory(tmp_path, filters=FilterSettings(empty_frames="keep_as_negative"))
    factory.create()
    outcome = factory.run()
    assert outcome.success
    report, exported = factory.current("validation_report"), factory.current("coco_dataset")
    assert report is not None
    assert report.counts["status"] == "PASSED_WITH_WARNINGS"
    assert exported is not None
    missing = verdicts(outcome)["missing_annotations"]
    assert (missing.passed, missing.severity) == (False, dg.AssetCheckSeverity.WARN)


def test_lenient_is_the_default_and_drops_empty_frames(tmp_path: Path) -> None:
    factory = Factory(tmp_path)
    factory.create()
    assert factory.run().success
    report = factory.current("validation_report")
    assert report is not None
    assert report.counts["status"] == "PASSED"
    assert report.counts["frames"] == 3


@pytest.mark.requirement("VAL-06")
def test_a_broken_mask_blocks_the_exports_in_lenient_too_unless_the_rule_is_switched_off(tmp_path: Path) -> None:
    broken = {**FOUND, 1: [replace(FOUND[1][0], mask_rle={**FOUND[1][0].mask_rle, "counts": "oooo"})]}
    factory = Factory(tmp_path / "on")
    factory.world.detect(broken)
    factory.create()
    assert not factory.run().success
    assert factory.current("coco_dataset") is None

    factory = Factory(tmp_path / "weighed", validation=ValidationSettings(severities={"mask_integrity": "warning", "density": "off"}))
    factory.world.detect(broken)
    factory.create()
    outcome = factory.run(curated_dataset, splits, validation_report)
    assert outcome.success
    found = verdicts(outcome)
    assert found["mask_integrity"].severity == dg.AssetCheckSeverity.WARN
    assert found["density"].description == "Switched off in the version's settings."


def test_an_export_wants_a_report_on_exactly_what_it_writes(tmp_path: Path) -> None:
    factory = Factory(tmp_path)
    factory.create()
    assert factory.run(curated_dataset, splits).success
    assert "no 'validation_report' of 'night.v1' yet" in failure(factory.run(coco_dataset), "coco_dataset")
    assert factory.run(validation_report).success
    assert factory.run(coco_dataset).success


@pytest.mark.requirement("VAL-09")
def test_the_metadata_has_a_short_text_and_a_link_that_the_report_server_answers(tmp_path: Path) -> None:
    factory = Factory(tmp_path, filters=FilterSettings(empty_frames="keep_as_negative"))
    factory.create()
    (made,) = factory.run().asset_materializations_for_node("validation_report")
    text, url = str(made.metadata["report"].value), str(made.metadata["url"].value)
    assert text.startswith("**PASSED_WITH_WARNINGS**")
    assert len(text) < 1000
    rules = made.metadata["rules"]
    assert isinstance(rules, dg.TableMetadataValue)
    assert {row.data["rule"] for row in rules.records} == set(RuleName)
    with running(tmp_path) as site:
        page = site.get(urlsplit(url).path)
        assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert b"Passed with warnings" in page.body
        assert site.get(urlsplit(url).path.replace("report.html", "failures.parquet")).status == 200
