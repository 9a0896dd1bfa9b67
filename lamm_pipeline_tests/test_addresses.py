"""Where storage and the report server are is set from outside, and what is set is what is used."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lamm_pipeline.errors import InputError
from lamm_pipeline.orchestration.metadata import review_url
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.settings import REPORT_URL, Settings
from lamm_pipeline.storage.artifacts import ArtifactKey, Identity
from lamm_pipeline_tests.storage.places import publish

pytestmark = pytest.mark.usefixtures("own_environment")

KEY, IDENTITY = ArtifactKey("recordings", "drive", "frames"), Identity("frames", "1", {}, {}, {})


@contextmanager
def refusing_server() -> Iterator[tuple[str, list[str]]]:
    """A server that is none of S3's, and the paths that it was asked for."""
    asked: list[str] = []

    class Refuses(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(403)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refuses) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
        server.shutdown()


@pytest.mark.requirement("SEQ-23", "NFR-10")
def test_artifacts_go_to_the_storage_server_that_is_set_and_to_no_other(
    tmp_path: Path, s3_server: str, s3_bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAMM_STORE", f"s3://{s3_bucket.name}/team")
    monkeypatch.setenv("LAMM_S3_ENDPOINT", s3_server)
    store = Workspace(root=str(tmp_path / "one")).store
    artifact = publish(store, KEY, IDENTITY, {"calib.txt": "P2: 1"})
    [content] = [each.get()["Body"].read() for each in s3_bucket.objects.filter(Prefix="team/recordings/drive/") if "calib" in each.key]
    assert content == b"P2: 1"
    assert str(store.link(artifact, "calib.txt")).startswith(f"{s3_server}/{s3_bucket.name}/team/")
    with refusing_server() as (elsewhere, asked):
        monkeypatch.setenv("LAMM_S3_ENDPOINT", elsewhere)
        with pytest.raises((InputError, OSError)):
            Workspace(root=str(tmp_path / "two")).store.current(KEY)
    assert any(path.startswith(f"/{s3_bucket.name}/team/recordings/drive/frames/") for path in asked)


@pytest.mark.requirement("SEQ-23")
def test_links_name_the_report_server_that_is_set() -> None:
    assert review_url(Settings.from_environment({}), "drive").value == f"{REPORT_URL}/recordings/drive"
    chosen = Settings.from_environment({"LAMM_REPORT_URL": "https://review.example/lamm/"})
    assert review_url(chosen, "drive").value == "https://review.example/lamm/recordings/drive"
