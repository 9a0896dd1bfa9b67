"""A whole small run whose artifacts are published to a bucket, read back with plain boto3."""

import hashlib
import json
import logging
import zipfile
from pathlib import Path
from typing import Any

import cv2
import dagster as dg
import numpy as np
import pytest
from datasets import load_from_disk  # noqa: TID253
from pycocotools.coco import COCO

from lamm_pipeline.orchestration.instance import open_instance
from lamm_pipeline.sample.render import render_sample
from lamm_pipeline.sample.settings import SampleSettings
from lamm_pipeline.storage.s3_bucket import Bucket
from lamm_pipeline_tests.command_line import lamm, printed
from lamm_pipeline_tests.conftest import S3_KEY_ID, S3_SECRET
from lamm_pipeline_tests.imports.zips import a_frame, members, picture, write_zip

pytestmark = pytest.mark.usefixtures("own_environment")

FAST = ("--stereo", "half", "--tiles", "full")


@pytest.fixture
def bucket(s3_server: str, s3_bucket: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("LAMM_STORE", f"s3://{s3_bucket.name}/team/data")
    monkeypatch.setenv("LAMM_S3_ENDPOINT", s3_server)
    return s3_bucket


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sample") / "street.svo2"
    render_sample(path, SampleSettings(frames=12, width=672, height=376))
    return path


def secrets_in(root: Path) -> list[Path]:
    """Files below `root` with anything of the credentials: catalog, Dagster's events and logs, metadata, manifests."""
    files = [path for path in root.rglob("*") if path.is_file()]
    return [path for path in files if any(secret.encode() in path.read_bytes() for secret in (S3_SECRET, S3_KEY_ID))]


@pytest.mark.requirement("NFR-10", "NFR-12")
def test_a_run_publishes_to_the_bucket_and_other_machines_go_on_from_there(
    sample: Path, bucket: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied: list[str] = []
    copy = Bucket.copy

    def noted(of: Bucket, source: str, name: str, size: int) -> bool:
        copied.append(name)
        return copy(of, source, name, size)

    monkeypatch.setattr(Bucket, "copy", noted)
    with caplog.at_level(logging.DEBUG):
        outcome = lamm("run", sample, "--root", tmp_path / "one", "--json", *FAST)
    facts = json.loads(outcome.stdout)
    objects = {each.key: each.get()["Body"].read() for each in bucket.objects.all()}
    assert all(key.startswith("team/data/") for key in objects)
    for asset in ("recording", "frames", "detections", "boxes_3d", "tracks"):
        base = f"team/data/recordings/street/{asset}"
        version = json.loads(objects[f"{base}/current.json"])["version"]
        manifest = json.loads(objects[f"{base}/{version}/manifest.json"])
        for name, entry in manifest["files"].items():
            content = objects[f"{base}/{version}/{manifest['folder']}/{name}"]
            assert (len(content), hashlib.sha256(content).hexdigest()) == (entry["size"], entry["sha256"])
    assert facts["recordings"][0]["artifacts"]["frames"]["folder"].startswith(f"s3://{bucket.name}/team/data/recordings/street/frames/")
    coco = facts["dataset"]["exports"]["coco"].removeprefix(f"s3://{bucket.name}/")
    [annotations] = [content for key, content in objects.items() if key == f"{coco}/train/annotations.json"]
    images = {key for key in objects if key.startswith(coco) and key.endswith(".png") and "/masks/" not in key}
    assert len(images) > 3
    assert images <= {f"team/data/{name}" for name in copied}
    (tmp_path / "train.json").write_bytes(annotations)
    assert len(COCO(str(tmp_path / "train.json")).getImgIds()) > 0
    assert not list((tmp_path / "one" / "recordings").glob("*/*/*/manifest.json"))

    assert printed("verify", "--root", tmp_path / "one")["damage"] == []
    before = {each.key: each.e_tag for each in bucket.objects.all()}
    lamm("run", sample, "--root", tmp_path / "two", "--no-export", *FAST)
    assert {each.key: each.e_tag for each in bucket.objects.all()} == before  # all was there: nothing was computed or sent again
    fetched = tmp_path / "two" / "s3" / bucket.name / "team" / "data" / "recordings" / "street" / "frames"
    assert not list(fetched.rglob("*.bin"))  # a reused stage fetches only what it shows

    assert secrets_in(tmp_path) == []
    assert not any(secret in text for secret in (S3_SECRET, S3_KEY_ID) for text in (outcome.output, caplog.text))
    assert not any(secret.encode() in content for secret in (S3_SECRET, S3_KEY_ID) for content in objects.values())


@pytest.mark.requirement("PIP-01", "PIP-04", "NFR-12")
def test_training_data_is_prepared_and_grows_in_the_bucket(bucket: Any, tmp_path: Path) -> None:
    root = tmp_path / "root"
    first = write_zip(tmp_path / "first.zip", members([a_frame(index) for index in range(8)]))
    more = write_zip(tmp_path / "more.zip", members([a_frame(index) for index in range(8, 12)]))
    random = ("--strategy", "random", "--split", "0.5/0.25/0.25")
    lamm("prepare", first, "--name", "drives", *random, "--format", "huggingface", "--format", "sam2", "--root", root)
    old = {each.key: each.e_tag for each in bucket.objects.all() if each.key.startswith("team/data/datasets/drives.v1/")}
    assert len(old) > 8
    lamm("prepare", more, "--name", "drives", "--root", root)
    now = {each.key: each.e_tag for each in bucket.objects.all()}
    assert old.items() <= now.items()

    lamm("dataset", "zip", "drives.v2", "--format", "huggingface", "--to", tmp_path / "loaded.zip", "--root", root)
    zipfile.ZipFile(tmp_path / "loaded.zip").extractall(tmp_path / "loaded")
    [folder] = {path.parent for path in (tmp_path / "loaded").rglob("dataset_dict.json")}
    loaded = load_from_disk(str(folder))
    rows = {row["frame_index"]: row for part in loaded.values() for row in part}
    assert sorted(rows) == list(range(12))
    (tmp_path / "picture.png").write_bytes(picture(9))
    assert np.array_equal(np.asarray(rows[9]["image"]), cv2.imread(str(tmp_path / "picture.png"))[..., ::-1])
    assert printed("verify", "--root", root)["damage"] == []
    assert [row for row in printed("gc", "--root", root)["garbage"] if not row["path"].endswith(".lock")] == []
    assert secrets_in(tmp_path) == []


@pytest.mark.requirement("UNC-01", "CAT-07", "NFR-12")
def test_uncertainty_scenes_and_exports_of_a_recording_live_in_the_bucket(sample: Path, bucket: Any, tmp_path: Path) -> None:
    root = tmp_path / "root"
    lamm("run", sample, "--root", root, *FAST)
    lamm("evaluation", "ensemble", "street", "--root", root)
    lamm("scenes", "refresh", "--root", root)
    [scene] = printed("scenes", "--root", root)
    assert scene["max_uncertainty"] > 0.0
    lamm("dataset", "sam2", "street.v1", tmp_path / "zips", "--fps", "all", "--yes", "--root", root)
    [archive] = (tmp_path / "zips").glob("*.zip")
    [taken] = printed("import", archive, "--recording", "street", "--root", root)
    assert taken["recording"] == "street"
    assert taken["counts"]["frames"] > 0
    assets = {"/".join(each.key.split("/")[2:5]) for each in bucket.objects.all()}
    assert {"recordings/street/frame_uncertainty", "recordings/street/scene_previews", "summaries/all/scene_library"} <= assets
    assert printed("verify", "--root", root)["damage"] == []
    assert secrets_in(tmp_path) == []


@pytest.mark.usefixtures("bucket")
def test_a_run_without_its_bucket_fails_at_once_with_a_sentence_and_tells_no_secret(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("LAMM_STORE", "s3://no-such-bucket")
    with caplog.at_level(logging.DEBUG):
        outcome = lamm("run", sample, "--root", tmp_path, "--no-export", *FAST, code=2)
    assert "has no bucket 'no-such-bucket'" in outcome.output
    with open_instance(tmp_path) as instance:
        [run] = instance.get_runs()
        events = [record.event_log_entry for record in instance.get_records_for_run(run.run_id).records]
    kinds = {event.dagster_event.event_type for event in events if event.dagster_event is not None}
    assert dg.DagsterEventType.STEP_FAILURE in kinds
    assert dg.DagsterEventType.STEP_UP_FOR_RETRY not in kinds
    assert secrets_in(tmp_path) == []
    assert not any(secret in text for secret in (S3_SECRET, S3_KEY_ID) for text in (outcome.output, caplog.text))
