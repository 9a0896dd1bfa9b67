"""Datasets as ZIPs from the report server: the same bytes that the command line writes, in little memory, and for nobody else."""

import io
import os
import shutil
import socket
import subprocess
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from lamm_pipeline.datasets.downloads import find_export, write_zip, zip_entries
from lamm_pipeline.datasets.settings import ExportFormat
from lamm_pipeline.reports.security import access_for
from lamm_pipeline.storage.s3_store import open_s3_store
from lamm_pipeline.storage.zip_stream import zip_length
from lamm_pipeline_tests.reports.exported import FILES, export, publish
from lamm_pipeline_tests.reports.sites import LOCAL, Site, running
from lamm_pipeline_tests.review.worlds import World

pytestmark = pytest.mark.usefixtures("own_environment")

MEGABYTE = 1 << 20


@pytest.mark.requirement("EXP-09")
def test_a_dataset_comes_as_one_zip_with_the_bytes_of_the_command_line(world: World, site: Site, tmp_path: Path) -> None:
    artifact = export(world)
    found = site.get("/datasets/night.v1/coco.zip")
    assert (found.status, found.headers["content-type"]) == (200, "application/zip")
    assert found.headers["content-disposition"] == 'attachment; filename="night.v1-coco.zip"'
    assert int(found.headers["content-length"]) == len(found.body)
    with zipfile.ZipFile(io.BytesIO(found.body)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == FILES
    assert write_zip(artifact, tmp_path / "night.zip") == len(found.body)
    assert (tmp_path / "night.zip").read_bytes() == found.body
    if shutil.which("unzip"):
        told = subprocess.run(["unzip", "-t", str(tmp_path / "night.zip")], capture_output=True, text=True, check=True)
        assert "No errors" in told.stdout
    head = site.request("HEAD", "/datasets/night.v1/coco.zip")
    assert (head.status, head.headers["content-length"], head.body) == (200, str(len(found.body)), b"")


@pytest.mark.requirement("EXP-09")
def test_the_page_lists_what_can_be_downloaded(world: World, site: Site) -> None:
    export(world)
    export(world, version="night.v2")
    listed = site.get("/api/datasets").content
    assert listed["total"] == 2
    assert [each["version"] for each in listed["datasets"]] == ["night.v2", "night.v1"]
    assert listed["datasets"][0] | {"formats": []} == {
        "version": "night.v2",
        "title": "<b>Night</b>",
        "created_at": "2026-01-02 00:00",
        "created_by": "ada",
        "formats": [],
    }
    assert listed["datasets"][0]["formats"] == [{"format": "coco", "bytes": sum(map(len, FILES.values()))}]
    assert site.get("/api/datasets?offset=1").content["datasets"][0]["version"] == "night.v1"
    assert b"/static/datasets.js" in site.get("/datasets").body
    assert b'href="/datasets"' in site.get("/").body


@pytest.mark.parametrize(
    "path",
    [
        "/datasets/night.v1/kitti.zip",
        "/datasets/night.v9/coco.zip",
        "/datasets/night.v1/coco",
        "/datasets/night.v1/frames.zip",
        "/datasets/night.v1/..%2fcoco.zip",
        "/datasets/../coco.zip",
        "/datasets/%2e%2e/coco.zip",
        "/datasets/night.v1%00/coco.zip",
        "/datasets/night.v1/coco.zip/",
        "/datasets//coco.zip",
    ],
)
def test_there_is_nothing_else(world: World, site: Site, path: str) -> None:
    export(world)
    assert site.raw_get(path).status == 404


@pytest.mark.requirement("EXP-09")
def test_it_is_for_those_who_know_the_token_and_the_name(world: World, site: Site) -> None:
    export(world)
    assert site.get("/datasets/night.v1/coco.zip", Host="evil.example").status == 421
    with running(world.root, access_for("0.0.0.0", "a token nobody knows")) as guarded:  # noqa: S104  nothing listens there
        for path in ("/datasets/night.v1/coco.zip", "/datasets", "/api/datasets"):
            assert guarded.get(path).status == 401
            assert guarded.get(path, Authorization="Bearer a token nobody knows").status == 200


@pytest.mark.requirement("EXP-09")
def test_a_slow_browser_costs_no_memory_and_one_that_goes_leaves_nothing_open(world: World, site: Site) -> None:
    artifact = export(world, sparse=600 * MEGABYTE)
    large = artifact.file("coco/large.bin").resolve()
    with socket.create_connection((LOCAL, site.port), 60) as connection:
        connection.sendall(f"GET /datasets/night.v1/coco.zip HTTP/1.1\r\nHost: {LOCAL}:{site.port}\r\n\r\n".encode())
        received = connection.recv(MEGABYTE)
        while len(received) < 4 * MEGABYTE:
            received += connection.recv(MEGABYTE)
        before = resident()
        time.sleep(1.0)  # the server could go on reading meanwhile
        assert resident() - before < 50 * MEGABYTE
        assert large in open_files()
        head = received.partition(b"\r\n\r\n")[0].decode().lower()
        assert f"content-length: {zip_length(zip_entries(artifact))}" in head
    deadline = time.monotonic() + 20
    while large in open_files() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert large not in open_files()
    assert site.get("/api/datasets").status == 200


def resident() -> int:
    """Memory of this process, in which the server runs too."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def open_files() -> set[Path]:
    found = set()
    for each in Path("/proc/self/fd").iterdir():
        try:
            found.add(each.readlink())
        except FileNotFoundError:
            continue
    return found


@pytest.mark.requirement("EXP-09")
def test_a_dataset_that_changes_under_a_download_is_no_whole_zip(world: World, site: Site, tmp_path: Path) -> None:
    path = export(world).file("coco/train/images/000000.png")
    path.chmod(0o644)
    path.write_bytes(b"short")
    with socket.create_connection((LOCAL, site.port), 60) as connection:
        connection.sendall(f"GET /datasets/night.v1/coco.zip HTTP/1.1\r\nHost: {LOCAL}:{site.port}\r\n\r\n".encode())
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    length = next(int(line.split(b": ")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
    assert len(body) < length
    found = find_export(world.store, "night.v1", ExportFormat.coco)
    assert found is not None
    with pytest.raises(OSError, match="instead of"):
        write_zip(found, tmp_path / "night.zip")
    assert not (tmp_path / "night.zip").exists()
    assert [each.name for each in tmp_path.iterdir() if each.suffix == ".lamm-tmp" or each.name.endswith(".lamm-tmp")] == []


@pytest.mark.requirement("EXP-09")
def test_from_a_bucket_the_files_are_fetched_as_they_are_sent(
    s3_server: str, s3_bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = f"s3://{s3_bucket.name}/house"
    monkeypatch.setenv("LAMM_STORE", place)
    monkeypatch.setenv("LAMM_S3_ENDPOINT", s3_server)
    publish(open_s3_store(place, s3_server, tmp_path / "who made it"), FILES, "night.v1")
    with running(tmp_path / "another machine") as site:
        found = site.get("/datasets/night.v1/coco.zip")
    assert int(found.headers["content-length"]) == len(found.body)
    with zipfile.ZipFile(io.BytesIO(found.body)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == FILES
