"""The job `prepare`, as the Launchpad runs it: from ZIPs to a version, whose export the sensor launches, and a dataset that grows."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from datasets import load_from_disk  # noqa: TID253

from lamm_pipeline.datasets import jobs
from lamm_pipeline.datasets.settings import DatasetSettings
from lamm_pipeline.datasets.versions import VersionManifest, list_versions, read_version
from lamm_pipeline.definitions import build_definitions
from lamm_pipeline.orchestration.instance import open_instance
from lamm_pipeline.settings import Settings
from lamm_pipeline_tests.docs.feature_list import REPOSITORY
from lamm_pipeline_tests.imports.zips import a_frame, an_object, members, write_zip

pytestmark = pytest.mark.usefixtures("own_environment")


class House:
    """A root with Dagster's instance, and ZIPs beside it."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance) -> None:
        self.folder = folder
        self.root = folder / "root"
        self.instance = instance
        self.definitions = build_definitions(Settings.from_environment({}, root=self.root))

    def zip(self, name: str, first: int, last: int) -> str:
        """A ZIP with frames `first` to `last - 1` of one video."""
        frames = [a_frame(index, [an_object(x=4 + index % 20)]) for index in range(first, last)]
        return str(write_zip(self.folder / f"{name}.zip", members(frames)))

    def prepare(self, **config: Any) -> dg.ExecuteInProcessResult:
        """A run of the job with what somebody has typed into the Launchpad."""
        job = self.definitions.resolve_job_def("prepare")
        typed = {"ops": {"import_and_write_version": {"config": config}}}
        return job.execute_in_process(instance=self.instance, run_config=typed, raise_on_error=False)

    def prepared(self, **config: Any) -> VersionManifest:
        """The version that such a run makes."""
        result = self.prepare(**config)
        assert result.success
        return read_version(self.root, result.output_for_node("import_and_write_version"))

    def failure(self, **config: Any) -> str:
        """The sentence with which such a run fails."""
        result = self.prepare(**config)
        failures = [event.step_failure_data.user_failure_data for event in result.all_events if event.is_step_failure]
        assert len(failures) == 1
        assert failures[0] is not None
        return str(failures[0].description)

    def refusal(self, **config: Any) -> str:
        """The same of a run that fails before anything is imported."""
        sentence = self.failure(**config)
        assert not (self.root / "annotation_exports").exists()
        assert list_versions(self.root) == []
        return sentence


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    (tmp_path / "root").mkdir()
    with open_instance(tmp_path / "root") as instance:
        yield House(tmp_path, instance)


@pytest.mark.requirement("PIP-01", "LLM-01", "LLM-03")
def test_the_job_makes_a_version_of_a_zip_whose_export_the_sensor_launches(house: House) -> None:
    made = house.prepare(zips=[house.zip("street", 0, 60)], title="Streets")
    assert made.output_for_node("import_and_write_version") == "street.v1"
    assert "street" in house.instance.get_dynamic_partitions("annotation_exports")
    imported = house.instance.get_latest_materialization_event(dg.AssetKey("annotation_export"))
    assert imported is not None
    assert imported.asset_materialization is not None
    assert imported.asset_materialization.partition == "street"
    sensor = house.definitions.get_repository_def().get_sensor_def("export_new_versions")
    context = dg.build_run_status_sensor_context(sensor.name, made.all_events[-1], house.instance, made.dagster_run)
    request: Any = sensor(context)
    export = house.definitions.resolve_job_def("export").execute_in_process(instance=house.instance, partition_key=request.partition_key)
    assert export.success
    [metadata] = [each.metadata for each in export.asset_materializations_for_node("huggingface_dataset")]
    data: Any = load_from_disk(str(metadata["dataset"].value))
    assert list(data) == ["train", "validation", "test"]
    assert sum(part.num_rows for part in data.values()) == metadata["frames"].value > 30
    assert str(metadata["download"].value).endswith("/datasets/street.v1/huggingface.zip")


@pytest.mark.requirement("PIP-01", "VAL-08", "SPL-09")
def test_what_the_launchpad_leaves_out_is_prepares_default_also_where_a_part_is_given(house: House) -> None:
    settings = house.prepared(zips=[house.zip("street", 0, 20)], split={"strategy": "random"}, validation={"masks": "quick"}).settings
    assert settings == DatasetSettings.model_validate(
        {
            "split": {"strategy": "random", "train_ratio": 0.8, "val_ratio": 0.1, "test_ratio": 0.1},
            "validation": {"level": "strict", "masks": "quick"},
            "formats": ["huggingface"],
        }
    )


def test_the_launchpad_offers_every_setting_and_fills_none_in(house: House) -> None:
    job = house.definitions.resolve_job_def("prepare")
    filled: Any = dg.validate_run_config(job, {"ops": {"import_and_write_version": {"config": {"zips": ["street.zip"]}}}})
    config = filled["ops"]["import_and_write_version"]["config"]
    assert {name: config[name] for name in DatasetSettings.model_fields} == dict.fromkeys(DatasetSettings.model_fields)


def test_the_config_that_the_documentation_shows_is_valid(house: House) -> None:
    page = (REPOSITORY / "docs/prepare-datasets.md").read_text(encoding="utf-8")
    [shown] = re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL)
    checked: Any = dg.validate_run_config(house.definitions.resolve_job_def("prepare"), yaml.safe_load(shown))
    assert checked["ops"]["import_and_write_version"]["config"]["validation"]["level"] == "lenient"


@pytest.mark.requirement("PIP-03")
def test_a_dataset_that_grows_from_the_launchpad_keeps_the_settings_that_are_not_given(house: House) -> None:
    given = {
        "split": {"train_ratio": 0.5, "val_ratio": 0.3, "test_ratio": 0.2, "seed": 7},
        "validation": {"level": "lenient"},
        "formats": ["llava", "coco"],
        "include_3d_boxes": False,
    }
    first = house.prepared(zips=[house.zip("street", 0, 20)], **given)
    second = house.prepared(zips=[house.zip("more", 20, 30)], name="street", formats=[])
    assert second.key == "street.v2"
    assert [each.key for each in second.imports] == ["street", "more"]
    assert second.settings == first.settings
    third = house.prepared(zips=[house.zip("last", 30, 40)], name="street", split={"strategy": "blocks"}, validation={"level": "strict"})
    changed = {**given, "split": {**given["split"], "strategy": "blocks"}, "validation": {"level": "strict"}}
    assert third.settings == DatasetSettings.model_validate(changed)


@pytest.mark.requirement("PIP-06")
def test_what_is_wrong_in_the_launchpad_is_a_sentence_before_anything_is_imported(house: House) -> None:
    archive = house.zip("street", 0, 3)
    assert "Name at least one in `zips`" in house.refusal(zips=[])
    assert "sum to 1.6" in house.refusal(zips=[archive], split={"train_ratio": 0.8, "val_ratio": 0.7})
    assert "A dataset cannot be called 'a b'" in house.refusal(zips=[archive], name="a b")
    assert "nowhere.zip does not exist" in house.refusal(zips=[str(house.folder / "nowhere.zip")])


@pytest.mark.requirement("PIP-03")
def test_what_somebody_else_adds_meanwhile_is_not_lost(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.prepared(zips=[house.zip("street", 0, 60)])
    theirs, ours = house.zip("theirs", 60, 80), house.zip("ours", 80, 100)
    genuine = jobs.refresh_selections

    def meanwhile(*arguments: Any) -> Any:
        monkeypatch.undo()
        assert house.prepared(zips=[theirs], name="street").key == "street.v2"
        return genuine(*arguments)

    monkeypatch.setattr(jobs, "refresh_selections", meanwhile)
    assert "street.v2 was made meanwhile" in house.failure(zips=[ours], name="street")
    grown = house.prepared(zips=[ours], name="street")
    assert (grown.key, [each.key for each in grown.imports]) == ("street.v3", ["street", "theirs", "ours"])
