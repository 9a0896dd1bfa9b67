"""Files of published artifacts for the browser, and every way around them."""

import io
import os
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest
from PIL import Image

from lamm_pipeline.extraction import frame_registry
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.recordings.ingest import add_files
from lamm_pipeline.reports.files import find_artifact, published_file
from lamm_pipeline.storage.artifacts import Artifact, ArtifactKey, ArtifactStore, Identity
from lamm_pipeline.storage.s3_store import open_s3_store
from lamm_pipeline_tests.reports.sites import Site, running
from lamm_pipeline_tests.review.worlds import HEIGHT, WIDTH, World

pytestmark = pytest.mark.usefixtures("own_environment")

SECRET = b"nobody outside may read this"


def publish(store: ArtifactStore, scope: str, partition: str, files: dict[str, bytes]) -> Artifact:
    key = ArtifactKey(scope, partition, "validation_report")
    identity = Identity(key.asset, "1", {"files": sorted(files)}, {}, {})
    with store.draft(key, identity.version) as draft:
        for name, content in files.items():
            (draft.directory / name).parent.mkdir(parents=True, exist_ok=True)
            (draft.directory / name).write_bytes(content)
        return store.publish(key, draft, identity, {}, {})


def address(artifact: Artifact, name: str) -> str:
    return f"/files/{artifact.key.path}/{artifact.version}/{name}"


def test_images_are_shown_whole_and_small(world: World, site: Site) -> None:
    whole = site.get(f"/recordings/drive/images/{world.frames.version}/1")
    assert (whole.status, whole.headers["content-type"]) == (200, "image/png")
    assert whole.body == world.frames.file("image_left/000001.png").read_bytes()
    assert "immutable" in whole.headers["cache-control"]
    small = site.get(f"/recordings/drive/images/{world.frames.version}/1?small=1")
    assert small.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(small.body)).size == (WIDTH, HEIGHT)
    for gone in (f"{world.frames.version}/77", "0000000000000000/1", f"{world.frames.version}/99999999999999999999999", "../../1"):
        assert site.raw_get(f"/recordings/drive/images/{gone}").status == 404


def test_thumbnails_of_large_images_are_small_and_damaged_images_are_not_found(world: World, site: Site) -> None:
    path = world.frames.file("image_left/000001.png")
    path.chmod(0o644)
    cv2.imwrite(str(path), np.zeros((720, 1280, 3), np.uint8))
    assert Image.open(io.BytesIO(site.get(f"/recordings/drive/images/{world.frames.version}/1?small=1").body)).size == (240, 135)
    path.write_bytes(b"no image")
    assert site.get(f"/recordings/drive/images/{world.frames.version}/1?small=1").status == 404


def test_html_reports_are_shown_but_their_scripts_are_those_of_a_foreign_page(world: World, site: Site) -> None:
    report = publish(world.store, "datasets", "street.v1", {"report.html": b"<script>1</script>", "table.csv": b"a,b", "x.svg": b"<svg/>"})
    found = site.get(address(report, "report.html"))
    assert (found.status, found.body) == (200, b"<script>1</script>")
    assert found.headers["content-type"] == "text/html; charset=utf-8"
    policy = found.headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts")
    assert "allow-same-origin" not in policy
    assert "default-src 'none'" in policy
    assert site.get(address(report, "table.csv")).headers["content-type"].startswith("text/plain")
    saved = site.get(address(report, "x.svg"))
    assert saved.headers["content-type"] == "application/octet-stream"
    assert saved.headers["content-disposition"].startswith("attachment")


@pytest.mark.parametrize(
    "name",
    [
        "..%2fcatalog.sqlite",
        "../../../../../catalog.sqlite",
        "image_left/../../../../../../catalog.sqlite",
        "%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/catalog.sqlite",
        "%252e%252e%252f%252e%252e%252fcatalog.sqlite",
        "..%5c..%5ccatalog.sqlite",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "image_left/000001.png%00.txt",
        "%00",
        "%c0%ae%c0%ae/%c0%ae%c0%ae/catalog.sqlite",
        "image_left/./000001.png",
        "image_left//000001.png",
        "IMAGE_LEFT/000001.png",
        "image_left/000001.png/",
        "image_left/",
        "image_left",
        "",
        "manifest.json",
        "run.json",
        "../current.json",
    ],
)
def test_only_what_the_manifest_names_is_a_file(world: World, site: Site, name: str) -> None:
    for found in (site.raw_get(address(world.frames, name)), site.raw_get(f"/files/recordings/drive/frames/{world.frames.version}{name}")):
        assert found.status == 404
        assert b"SQLite" not in found.body
        assert b"root:" not in found.body


@pytest.mark.parametrize(
    ("scope", "partition", "asset", "version"),
    [
        ("..", "drive", "frames", None),
        ("recordings", "..", "frames", None),
        ("recordings", "%2e%2e", "frames", None),
        ("recordings", "drive", "..", None),
        ("recordings", "drive", "frames", ".."),
        ("recordings", "drive", "frames", "."),
        ("recordings", "drive", "%2e%2e%2fdrive%2fframes", None),
        ("recordings%2fdrive", "frames", "..", None),
        ("dagster", "storage", "frames", None),
        ("recordings", "drive%00", "frames", None),
        ("recordings", "drive", "frames", "{version}.partial"),
        ("recordings", "drive", "frames", "{version}%0a"),
        ("recordings", "", "frames", None),
    ],
)
def test_only_names_of_artifacts_become_paths(
    world: World, site: Site, scope: str, partition: str, asset: str, version: str | None
) -> None:
    shown = (version or "{version}").format(version=world.frames.version)
    found = site.raw_get(f"/files/{scope}/{partition}/{asset}/{shown}/image_left/000001.png")
    assert found.status == 404
    assert not found.body.startswith(b"\x89PNG")


def test_there_are_no_lists_of_files(world: World, site: Site) -> None:
    for path in (
        "/files",
        "/files/",
        "/files/recordings",
        "/files/recordings/drive/",
        f"/files/recordings/drive/frames/{world.frames.version}/",
    ):
        assert site.raw_get(path).status == 404


def test_links_out_of_an_artifact_are_not_followed(world: World, site: Site, tmp_path: Path) -> None:
    report = publish(world.store, "recordings", "drive", {"a.txt": b"a", "folder/b.txt": b"b", "c.txt": b"c", "d.txt": b"d"})
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "b.txt").write_bytes(SECRET)
    folder = report.folder
    for each in (folder, folder / "folder"):
        each.chmod(0o755)
    (folder / "a.txt").unlink()
    (folder / "a.txt").symlink_to(tmp_path / "secret" / "b.txt")
    (folder / "folder" / "b.txt").unlink()
    (folder / "folder").rmdir()
    (folder / "folder").symlink_to(tmp_path / "secret")
    (folder / "c.txt").unlink()
    (folder / "c.txt").mkdir()
    (folder / "d.txt").unlink()
    os.mkfifo(folder / "d.txt")
    for name in ("a.txt", "folder/b.txt", "c.txt", "d.txt"):
        found = site.get(address(report, name))
        assert found.status == 404
        assert SECRET not in found.body


def test_a_root_that_is_reached_by_a_link_is_no_obstacle(world: World, tmp_path: Path) -> None:
    (tmp_path / "linked").symlink_to(world.root)
    with running(tmp_path / "linked") as site:
        assert site.get(f"/recordings/drive/images/{world.frames.version}/1").status == 200


def test_a_file_that_is_gone_is_not_found(world: World, site: Site) -> None:
    path = world.frames.file("image_left/000001.png")
    path.parent.chmod(0o755)
    path.unlink()
    assert site.get(f"/recordings/drive/images/{world.frames.version}/1").status == 404


@pytest.mark.requirement("GIF-08")
def test_files_in_a_bucket_are_links_signed_when_they_are_read(
    s3_server: str, s3_bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAMM_STORE", f"s3://{s3_bucket.name}/house")
    monkeypatch.setenv("LAMM_S3_ENDPOINT", s3_server)
    world = World(tmp_path)
    store = open_s3_store(f"s3://{s3_bucket.name}/house", s3_server, tmp_path)
    frames = _copied(store, world.frames)
    _copied(store, world.detections)
    with running(tmp_path) as site:
        found = site.get(f"/recordings/drive/images/{frames.version}/1")
        assert found.status == 307
        assert found.headers["cache-control"] == "no-store"
        link = found.headers["location"]
        assert "X-Amz-Signature=" in link
        with urllib.request.urlopen(link) as answer:  # noqa: S310  of the test server
            assert answer.read() == world.frames.file("image_left/000001.png").read_bytes()
        policy = site.get("/recordings/drive").headers["content-security-policy"]
        assert f"img-src 'self' {urlsplit(s3_server).scheme}://{urlsplit(s3_server).netloc};" in policy
        assert site.get(f"/recordings/drive/images/{frames.version}/1?small=1").headers["content-type"] == "image/jpeg"
        report = publish(store, "recordings", "drive", {"report.html": b"<p>"})
        assert site.get(address(report, "report.html")).headers["content-security-policy"].startswith("sandbox")
    unknown = find_artifact(store, "recordings", "drive", "frames", frames.version)
    assert unknown is not None
    assert published_file(store, unknown, "../x") is None


def _copied(store: ArtifactStore, artifact: Artifact) -> Artifact:
    """The same artifact in another store."""
    with store.draft(artifact.key, artifact.version) as draft:
        for name in artifact.manifest.files:
            target = draft.directory / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(artifact.file(name).read_bytes())
        return store.publish(artifact.key, draft, artifact.manifest.identity, artifact.counts, {})


def test_a_workspace_that_shows_nothing_yet_says_so(tmp_path: Path) -> None:
    world = World(tmp_path)
    (world.root / "other.svo2").write_text("other")
    add_files(Workspace(root=str(tmp_path)).catalog, [world.root / "other.svo2"], "ada")
    with running(tmp_path) as site:
        assert site.get("/recordings/other").status == 200
        assert "nothing to see of 'other' yet" in site.get("/api/recordings/other/data").content["error"]
        assert site.get("/api/recordings/other/summary").content["ready"] is False
    assert frame_registry.FILE_NAME in world.frames.manifest.files
