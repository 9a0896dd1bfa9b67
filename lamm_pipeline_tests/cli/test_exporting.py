"""`lamm dataset sam2`, on a version that was made of an import."""

import json
import zipfile
from pathlib import Path

import pytest

from lamm_pipeline.catalog.models import DatasetVersion, now
from lamm_pipeline.cli import exporting
from lamm_pipeline.cli.session import open_session
from lamm_pipeline.datasets.formats import sam2_export
from lamm_pipeline.datasets.settings import DatasetSettings, ExportFormat, FilterSettings, SplitSettings
from lamm_pipeline.datasets.versions import ImportInputs, SourceFile, create_version
from lamm_pipeline.errors import InputError
from lamm_pipeline.orchestration.instance import add_version_partitions
from lamm_pipeline_tests.command_line import lamm, printed, refused
from lamm_pipeline_tests.imports.zips import ONTOLOGY, a_frame, members, write_zip

pytestmark = pytest.mark.usefixtures("own_environment")

FRAMES = 60


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, own_environment: None) -> Path:  # noqa: ARG001  no settings from outside
    """A root with the version `drives.v1` of one import of 60 frames at 10 frames a second."""
    base = tmp_path_factory.mktemp("house")
    frames = [a_frame(index, [each | {"bbox": [4, 5, 8, 6]} for each in a_frame(index % 7)["objects"]]) for index in range(FRAMES)]
    path = write_zip(base / "drive.zip", members(frames))
    root = base / "root"
    [row] = printed("import", path, "--root", root)
    settings = DatasetSettings(
        filters=FilterSettings(), split=SplitSettings(strategy="blocks", guard_frames=1), formats=[ExportFormat.sam2]
    )
    inputs = ImportInputs(key="drive", recording=row["recording"], artifact=row["version"], source=SourceFile(**row["counts"]["source"]))
    manifest = create_version(
        root,
        "drives",
        recordings=[],
        settings=settings,
        ontology=ONTOLOGY,
        created_at="2026-01-01T00:00:00Z",
        created_by="ada",
        imports=[inputs],
    )
    with open_session(root) as session:
        session.workspace.catalog.versions.add(
            DatasetVersion(
                key=manifest.key,
                name="drives",
                number=1,
                title="",
                description="",
                manifest_path="",
                manifest_digest="",
                created_at=now(),
                created_by="ada",
            )
        )
        add_version_partitions(session.instance, [manifest.key])
        session.materialize("export", manifest.key, ["curated_dataset", "splits", "validation_report", "sam2_dataset", "lineage"])
    return root


@pytest.mark.requirement("OPT-01", "OPT-02", "OPT-03", "LLM-01")
def test_a_version_is_written_by_time_with_its_size_said_first(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    outcome = lamm("dataset", "sam2", "drives.v1", out, "--root", root)
    assert "6 frames, about 0.0 MB" in outcome.stderr
    assert outcome.stdout.split() == [str(out / "Drive_7.zip")]
    assert [each.name for each in out.iterdir()] == ["Drive_7.zip"]
    with zipfile.ZipFile(out / "Drive_7.zip") as archive:
        document = json.loads(archive.read("annotations.json"))
    assert document["export_config"]["target_fps"] == 1.0
    assert len(document["annotations"]) == 6
    [again] = printed("import", out / "Drive_7.zip", "--root", root)
    assert (again["recording"], again["counts"]["frames"]) == ("Drive_7", 6)
    assert "has Drive_7.zip already" in refused_after_estimate("dataset", "sam2", "drives.v1", out, "--root", root)
    assert [each.name for each in out.iterdir()] == ["Drive_7.zip"]


def test_what_is_there_already_is_found_before_anything_is_written(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sam2_export, "write_sam2", None)
    (tmp_path / "Drive_7.zip").touch()
    assert "has Drive_7.zip already" in refused_after_estimate("dataset", "sam2", "drives.v1", tmp_path, "--root", root)


@pytest.mark.requirement("OPT-03", "OPT-05")
def test_a_large_export_is_not_written_unasked_and_leaves_nothing(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sam2_export, "WARN_MB", 0.001)
    monkeypatch.setattr(sam2_export, "CONFIRM_MB", 0.002)
    call = ("dataset", "sam2", "drives.v1", tmp_path / "out", "--fps", "all", "--root", root)
    assert "Give --yes, or a lower --fps" in refused_after_estimate(*call)
    assert not (tmp_path / "out").exists()
    assert "This is more than" not in lamm(*call, "--yes").stderr
    with pytest.raises(InputError):
        exporting._confirm(1.0, yes=False)
    monkeypatch.setattr(sam2_export, "CONFIRM_MB", 1000.0)
    warned = lamm(*call[:3], tmp_path / "warned", *call[4:])
    assert "This is more than 0.001 MB; a lower --fps gives less." in warned.stderr
    assert [each.name for each in (tmp_path / "warned").iterdir()] == ["Drive_7.zip"]


@pytest.mark.requirement("OPT-05")
def test_an_export_that_fails_leaves_no_partial_files(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise InputError("The disk is full.")

    monkeypatch.setattr(sam2_export._ZipWriter, "finish", fail)
    assert "The disk is full." in refused_after_estimate("dataset", "sam2", "drives.v1", tmp_path / "out", "--root", root)
    assert list((tmp_path / "out").iterdir()) == []


def test_the_asset_writes_every_frame_and_the_lineage_agrees(root: Path) -> None:
    [path] = (root / "datasets" / "drives.v1" / "sam2_dataset").glob("*/sam2/Drive_7.zip")
    with zipfile.ZipFile(path) as archive:
        entries = json.loads(archive.read("annotations.json"))["annotations"]
    lineage = printed("dataset", "show", "drives.v1", "--root", root)
    assert lineage["statistics"]["total_frames"] == len(entries) > 50
    assert "no dataset version" in refused("dataset", "sam2", "none.v1", "x", "--root", root)


def refused_after_estimate(*arguments: str | Path) -> str:
    outcome = lamm(*arguments, code=2)
    assert outcome.stdout == ""
    return str(outcome.stderr)
