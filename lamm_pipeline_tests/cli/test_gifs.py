"""`lamm gifs` on a root with two small recordings."""

import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from lamm_pipeline.catalog.models import Recording, now
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.review import sequence_annotations as annotations_file
from lamm_pipeline.review.sequence_annotations import SequenceAnnotations
from lamm_pipeline.storage.artifacts import ArtifactKey, Identity
from lamm_pipeline_tests.command_line import lamm, printed, refused
from lamm_pipeline_tests.reports.sites import running
from lamm_pipeline_tests.review.gif_frames import sequence
from lamm_pipeline_tests.review.gif_house import House

pytestmark = pytest.mark.usefixtures("own_environment")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """`drive` has two sequence annotations, `empty` nothing at all."""
    house = House(tmp_path)
    facts = {"source_path": "empty.svo2", "path": "empty.svo2", "size": 1, "mtime_ns": 1, "quick_digest": "e"}
    assert house.workspace.catalog.recordings.add(Recording(key="empty", **facts, added_at=now(), added_by="ada"))
    return tmp_path


def made(root: Path, *arguments: str) -> dict[str, Any]:
    [facts] = printed("gifs", *arguments, "--root", root)
    return dict(facts)


@pytest.mark.requirement("GIF-10", "GIF-11", "GIF-13", "GIF-14")
def test_gifs_of_a_recording_are_planned_and_then_made(root: Path) -> None:
    plan = printed("gifs", "drive", "--dry-run", "--max-frames", "2", "--root", root)
    assert [(each["sequence"], each["frames"], each["thinned_frames"]) for each in plan] == [("drive:s0001", 2, 6), ("drive:s0002", 2, 1)]
    assert not (root / "recordings" / "drive" / "review_gifs").exists()
    facts = made(root, "drive", "--max-concurrent", "1", "--continue-on-error")
    assert (facts["recording"], facts["gifs"], facts["frames"], facts["skipped images"], facts["stage"]) == (
        "drive",
        4,
        11,
        0,
        "unlabelled",
    )
    assert all((Path(facts["folder"]) / name).is_file() for files in facts["files"].values() for name in files.values())
    assert "drive      4     11" in lamm("gifs", "drive", "--root", root).stdout


@pytest.mark.requirement("GIF-10")
def test_single_annotations_join_those_that_have_gifs_already(root: Path) -> None:
    assert list(made(root, "--annotation", "drive:s0002")["files"]) == ["drive:s0002"]
    assert list(made(root, "--annotation", "drive:s0001")["files"]) == ["drive:s0001", "drive:s0002"]
    both = made(root, "drive")["folder"]
    assert made(root, "--annotation", "drive:s0001,drive:s0002")["folder"] == both
    assert "no sequence annotation 'drive:s0009'" in refused("gifs", "--annotation", "drive:s0009", "--root", root)
    assert "of the form drive:s0003" in refused("gifs", "--annotation", "7", "--root", root)


@pytest.mark.requirement("GIF-10", "GIF-12")
def test_all_imported_are_those_that_nobody_has_begun(root: Path) -> None:
    outcome = lamm("gifs", "--all-imported", "--update-stage", "--root", root)
    assert "in_progress" in outcome.stdout
    assert "no sequence annotations yet: empty" in outcome.stderr
    assert printed("gifs", "--all-imported", "--root", root) == []


@pytest.mark.requirement("GIF-10")
def test_recordings_of_a_range_of_days(root: Path) -> None:
    for key in ("drive", "empty"):
        Workspace(root=str(root)).catalog.recordings.set_recorded_at(key, round(now().timestamp() * 1e9))
    today = f"{now():%Y-%m-%d}"
    assert made(root, "--from", today, "--to", today)["recording"] == "drive"
    assert printed("gifs", "--to", "2001-01-01", "--root", root) == []
    assert "lies behind" in refused("gifs", "--from", "2024-01-02", "--to", "2024-01-01", "--root", root)


def test_what_cannot_be_is_said_in_a_sentence(root: Path) -> None:
    assert "Choose by one of these" in refused("gifs", "--root", root)
    assert "Choose by one of these" in refused("gifs", "drive", "--all-imported", "--root", root)
    assert "no 'sequence_annotations' of 'empty' yet" in refused("gifs", "empty", "--root", root)
    assert "max_concurrent = 11" in refused("gifs", "drive", "--max-concurrent", "11", "--root", root)


@pytest.mark.requirement("GIF-14", "GIF-16")
def test_a_failure_stops_or_is_reported_as_chosen(root: Path) -> None:
    outcome = lamm("gifs", "empty", "drive", "--continue-on-error", "--root", root, code=1)
    assert "empty failed: There is no 'sequence_annotations' of 'empty' yet" in outcome.stderr
    assert "drive      4     11" in outcome.stdout


@pytest.mark.requirement("GIF-15")
def test_a_debug_log_shows_images_and_sizes(root: Path) -> None:
    said = lamm("gifs", "drive", "--log-level", "debug", "--root", root).stderr
    assert "drive:000003 read" in said
    assert "main: 80x60, quality standard" in said
    assert "bytes, gifs/sequence_0001/crop_" in said


def exported(root: Path) -> list[tuple[str | None, str | None]]:
    [document] = json.loads(lamm("sequences", "export", "drive", "--s4", "--root", root).stdout)
    return [(each["gif_url_main"], each["gif_url_crop"]) for each in document["annotation"]["sequences_bbox"]]


@pytest.mark.requirement("SEQ-07", "GIF-09", "SEQ-23")
def test_an_export_names_gifs_by_addresses_of_the_report_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    House(tmp_path, (sequence(1), sequence(2, range(90, 92))))
    assert exported(tmp_path) == [(None, None), (None, None)]
    lamm("gifs", "drive", "--root", tmp_path)
    with running(tmp_path) as site:
        monkeypatch.setenv("LAMM_REPORT_URL", f"{site.url}/")
        first, second = exported(tmp_path)
        assert second == (None, None)  # none of its images is there
        for kind, address in zip(("main", "crop"), first, strict=True):
            assert str(address).startswith(f"{site.url}/files/recordings/drive/review_gifs/")
            assert f"/gifs/sequence_0001/{kind}_" in str(address)
            with urllib.request.urlopen(str(address), timeout=30) as answer:  # noqa: S310  our own server's
                assert answer.read(6) == b"GIF89a"


@pytest.mark.requirement("SEQ-07", "GIF-08", "GIF-09")
def test_an_export_names_gifs_in_a_bucket_by_signed_addresses(
    tmp_path: Path, s3_bucket: Any, s3_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAMM_STORE", f"s3://{s3_bucket.name}/lamm")
    monkeypatch.setenv("LAMM_S3_ENDPOINT", s3_server)
    House(tmp_path)
    lamm("gifs", "drive", "--root", tmp_path)
    for address in (each for pair in exported(tmp_path) for each in pair):
        assert str(address).startswith(f"{s3_server}/{s3_bucket.name}/lamm/recordings/drive/review_gifs/")
        with urllib.request.urlopen(str(address), timeout=30) as answer:  # noqa: S310  the test server's
            assert answer.read(6) == b"GIF89a"


@pytest.mark.requirement("GIF-09")
def test_gifs_of_former_sequence_annotations_are_not_named(tmp_path: Path) -> None:
    house = House(tmp_path)
    lamm("gifs", "drive", "--root", tmp_path)
    assert None not in exported(tmp_path)[0]
    listed = SequenceAnnotations("drive", "cluster", "union_find", {}, {}, None, (sequence(1, range(3)),))
    key, identity = ArtifactKey("recordings", "drive", "sequence_annotations"), Identity("sequence_annotations", "1", {"n": 2}, {}, {})
    with house.workspace.store.draft(key, identity.version) as draft:
        annotations_file.write(draft.directory / annotations_file.FILE_NAME, listed)
        house.workspace.store.publish(key, draft, identity, {}, {}, [])
    assert exported(tmp_path) == [(None, None)]
