"""`lamm dataset`: versions that are made after decisions, compared, renamed and deleted."""

import json
import zipfile
from pathlib import Path

import dagster as dg
import pytest
from datasets import load_from_disk  # noqa: TID253
from typer.testing import CliRunner

from lamm_pipeline.catalog.catalog import Catalog
from lamm_pipeline.cli.app import app
from lamm_pipeline.datasets.splits.split_table import read_summary
from lamm_pipeline.datasets.versions import read_version
from lamm_pipeline.orchestration.instance import open_instance
from lamm_pipeline.storage.artifacts import ArtifactKey
from lamm_pipeline.storage.local_store import LocalStore
from lamm_pipeline_tests.command_line import lamm, printed, refused
from lamm_pipeline_tests.curation.houses import House

pytestmark = pytest.mark.usefixtures("own_environment")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with two versions; before the second one somebody has decided."""
    root = tmp_path_factory.mktemp("house")
    House(root)
    create(root)
    lamm("decide", "drive", "--root", root, "--exclude", "000000:1", "--set-class", "000000:0=truck", "--note", "a poster")
    create(root)
    return root


def create(root: Path, *options: str) -> str:
    made = printed("dataset", "create", "night", "drive", "--root", root, "--split", "1/0/0", "--format", "coco", *options)
    return str(made["version"])


@pytest.mark.requirement("SPL-08", "SPL-10")
def test_frames_in_no_split_are_counted_with_the_reason_and_how_to_change_it(tmp_path: Path) -> None:
    root = tmp_path / "house"
    House(root)
    create(root)
    halves = ("--split", "0.5/0.5/0", "--strategy", "blocks", "--empty-frames", "keep_as_negative", "--format", "coco", "--root", root)
    made = printed("dataset", "create", "halves", "drive", "--guard-frames", "1", *halves)
    assert made["in_no_split"]["frames"] == {"guard_gap": 1}
    shown = lamm("dataset", "show", "halves.v1", "--root", root).stdout
    assert "1 frames are in no split because they lie in gaps of 1 frames between two splits of their recording." in shown
    assert "--guard-frames" in shown
    assert "in no split" not in lamm("dataset", "show", "night.v1", "--root", root).stdout
    assert "  split        blocks\n" in shown
    otherwise = lamm("dataset", "create", "halves", "drive", "--guard-frames", "2", *halves).stdout
    assert "--resplit" in otherwise
    assert "The split of halves.v1 was made with other settings (guard_frames), and its frames keep their places" in otherwise


@pytest.mark.requirement("CUR-09", "STA-04")
def test_a_decision_taken_after_a_version_is_in_the_next_and_the_difference_tells_what_and_why(root: Path) -> None:
    found = printed("dataset", "diff", "night.v1", "night.v2", "--root", root)
    assert [(each["annotation_id"], each["change"], each["reason"]) for each in found["annotations"]] == [
        ("drive:000000:1", "out", "decision"),
        ("drive:000000:0", "changed", "human"),
    ]
    assert "a poster" in found["annotations"][0]["detail"]
    shown = lamm("dataset", "diff", "night.v1", "night.v2", "--root", root, "--list", "1").stdout
    assert "night.v1: 3 frames. night.v2: 3 frames." in shown
    assert "... and 2 more" in shown


def test_dagster_knows_the_selection_that_was_renewed_for_a_version(root: Path) -> None:
    with open_instance(root) as instance:
        [newest] = instance.fetch_materializations(dg.AssetKey("selection"), limit=1).records
    assert newest.partition_key == "drive"
    [row] = Catalog(f"sqlite:///{root / 'catalog.sqlite'}").versions.all("night")[1:]
    assert row.key == "night.v2"
    assert newest.asset_materialization.tags["dagster/data_version"] in (root / "datasets/night.v2/version.json").read_text()


@pytest.mark.requirement("CUR-08")
def test_title_and_description_can_be_edited_and_nothing_else(root: Path) -> None:
    before = (root / "datasets/night.v1/version.json").read_bytes()
    edited = printed("dataset", "edit", "night.v1", "--title", "Night", "--description", "all of it", "--root", root)
    assert edited == {"version": "night.v1", "title": "Night", "description": "all of it"}
    assert printed("dataset", "edit", "night.v1", "--title", "Nights", "--root", root)["description"] == "all of it"
    shown = printed("dataset", "show", "night.v1", "--root", root)
    assert (shown["title"], shown["description"]) == ("Nights", "all of it")
    assert (root / "datasets/night.v1/version.json").read_bytes() == before
    catalog = Catalog(f"sqlite:///{root / 'catalog.sqlite'}")
    events = [event for event in catalog.audit.events("night.v1") if event.action == "version.edit"]
    assert events[-1].details == {
        "before": {"title": "Night", "description": "all of it"},
        "after": {"title": "Nights", "description": "all of it"},
    }
    assert "nothing to change" in refused("dataset", "edit", "night.v1", "--root", root)


@pytest.mark.requirement("CUR-08", "CUR-07", "API-18")
def test_a_deleted_version_is_gone_and_its_number_is_not_used_again(root: Path) -> None:
    key = create(root, "--exclude-class", "cone")
    assert key == "night.v3"
    declined = CliRunner().invoke(app, ["dataset", "delete", key, "--root", str(root)], input="n\n")
    assert declined.exit_code == 1
    assert printed("dataset", "show", key, "--root", root)["version"] == key
    assert printed("dataset", "delete", key, "--yes", "--root", root)["deleted"] == key
    assert not (root / "datasets" / key).exists()
    assert [row["version"] for row in printed("dataset", "list", "--root", root)] == ["night.v1", "night.v2"]
    with open_instance(root) as instance:
        assert key not in instance.get_dynamic_partitions("dataset_versions")
    assert "was deleted on" in refused("dataset", "show", key, "--root", root)
    assert "was deleted on" in refused("dataset", "delete", key, "--yes", "--root", root)
    assert create(root, "--exclude-class", "cone") == "night.v4"
    assert lamm("verify", "drive", "--root", root).stdout.strip().endswith("Everything is as it was published.")
    assert (root / "recordings" / "drive" / "frames").is_dir()


def test_a_deletion_that_was_cut_off_is_finished_by_the_next(root: Path) -> None:
    key = create(root, "--exclude-class", "van")
    Catalog(f"sqlite:///{root / 'catalog.sqlite'}").versions.delete(key, "ada")
    assert create(root, "--exclude-class", "van") != key
    assert (root / "datasets" / key).exists()
    assert printed("dataset", "delete", key, "--yes", "--root", root)["deleted"] == key
    assert not (root / "datasets" / key).exists()


def test_a_version_that_somebody_writes_is_not_deleted(root: Path) -> None:
    with LocalStore(root).draft(ArtifactKey("datasets", "night.v1", "splits"), "ab"):
        assert "is being written" in refused("dataset", "delete", "night.v1", "--yes", "--root", root)
    assert Catalog(f"sqlite:///{root / 'catalog.sqlite'}").versions.get("night.v1").deleted_at is None
    assert "no dataset version" in refused("dataset", "delete", "night.v77", "--yes", "--root", root)


@pytest.mark.requirement("VAL-08", "VAL-09")
def test_validate_shows_the_report_and_ends_with_1_when_the_version_failed(root: Path) -> None:
    sound = lamm("dataset", "validate", "night.v2", "--root", root).stdout
    assert sound.startswith("night.v2: PASSED, 3 frames")
    assert "- Dataset is ready for training" in sound
    refusal = lamm("dataset", "create", "strict", "drive", "--root", root, "--validation", "strict", "--split", "1/0/0", code=2).stderr
    assert "Error: validation_report: missing_annotations: 1 frames (25.0%) have no annotations" in refusal
    failed = lamm("dataset", "validate", "strict.v1", "--root", root, code=1).stdout
    assert "missing_annotations: drive:000002" in failed
    report = json.loads(lamm("dataset", "validate", "strict.v1", "--root", root, "--json", code=1).stdout)
    assert report["errors"] == ["1 frames (25.0%) have no annotations"]
    assert (Path(report["folder"]) / "report.html").is_file()
    assert "'nothing.v1' is no dataset version" in refused("dataset", "validate", "nothing.v1", "--root", root)


@pytest.mark.requirement("EXP-09", "LLM-03", "LLM-06")
def test_a_version_in_every_format_for_language_models_and_each_as_a_zip(root: Path, tmp_path: Path) -> None:
    made = printed(
        "dataset", "create", "words", "drive", "--root", root, "--split", "1/0/0", "--format", "huggingface", "--format", "llava"
    )
    assert set(made["exports"]) == {"huggingface", "llava"}
    assert made["statistics"]["total_frames"] > 0
    with open_instance(root) as instance:
        [newest] = instance.fetch_materializations(dg.AssetKey("llava_dataset"), limit=1).records
    said = newest.asset_materialization.metadata  # type: ignore[union-attr]
    assert str(said["download"].value).endswith("/datasets/words.v1/llava.zip")
    for name, inside in (("huggingface", "huggingface/dataset_dict.json"), ("llava", "llava/manifest.json")):
        target = tmp_path / f"{name}.zip"
        told = printed("dataset", "zip", "words.v1", "--format", name, "--to", target, "--root", root)
        assert told["bytes"] == target.stat().st_size
        with zipfile.ZipFile(target) as archive:
            assert archive.testzip() is None
            assert inside in archive.namelist()
            archive.extractall(tmp_path)
    assert len(load_from_disk(str(tmp_path / "huggingface"))["train"]) == made["statistics"]["total_frames"]
    assert "not written as kitti" in refused("dataset", "zip", "words.v1", "--format", "kitti", "--root", root)
    nowhere = tmp_path / "nowhere" / "a.zip"
    assert "does not exist" in refused("dataset", "zip", "words.v1", "--format", "llava", "--to", nowhere, "--root", root)
    assert "is a folder. Name the ZIP" in refused("dataset", "zip", "words.v1", "--format", "llava", "--to", tmp_path, "--root", root)


@pytest.mark.requirement("SPL-01", "SPL-03")
def test_strategy_and_group_of_the_split_are_options_and_part_of_the_version(root: Path) -> None:
    key = create(root, "--strategy", "stratified", "--group", "frame")
    split = read_version(root, key).settings.split
    assert (split.strategy, split.group) == ("stratified", "frame")
    artifact = LocalStore(root).current(ArtifactKey("datasets", key, "splits"))
    assert artifact is not None
    summary = read_summary(artifact.folder)
    assert (summary["strategy_used"], summary["group"], summary["splits"]["train"]["frames"]) == ("stratified", "frame", 3)
