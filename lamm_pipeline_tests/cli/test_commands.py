"""The command line as scripts and people meet it: JSON shapes, exit codes, sentences, help. The whole job is in `test_pipeline.py`."""

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest

from lamm_pipeline.catalog.catalog import Catalog
from lamm_pipeline.cli.running import asset_config_of
from lamm_pipeline.extraction.frame_registry import read
from lamm_pipeline.recordings.ingest import take_in
from lamm_pipeline.sample.render import render_sample
from lamm_pipeline.sample.settings import SampleSettings
from lamm_pipeline.storage.artifacts import Source, read_manifest
from lamm_pipeline_tests.command_line import lamm, printed, refused

pytestmark = pytest.mark.usefixtures("own_environment")

FRAMES = 3
COMMANDS = ("browse", "info", "sample", "pack", "add", "scan", "run", "status", "up", "reports", "evaluate")
COMMANDS += ("pause", "resume", "cancel", "restart", "checkout", "verify", "gc", "gifs", "decide", "decisions")
LABEL_COMMANDS = ("show", "status", "labeler", "tag", "export", "import")


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recordings") / "day" / "street.svo2"
    render_sample(path, SampleSettings(frames=FRAMES, width=336, height=188))
    return path


@pytest.mark.parametrize(
    "command",
    [
        (),
        *((name,) for name in COMMANDS),
        ("dataset",),
        ("sequences",),
        *(("sequences", name) for name in ("run", "compare", "export")),
        *(("dataset", name) for name in ("create", "list", "show")),
        ("label",),
        *(("label", name) for name in LABEL_COMMANDS),
    ],
)
def test_every_command_has_help_that_teaches(command: tuple[str, ...]) -> None:
    text = lamm(*command, "--help").output
    assert "Usage:" in text
    if command[1:] or command in {(name,) for name in COMMANDS}:
        assert "--log-level" in text
        assert "--as" in text
        assert ("--json" in text) == (command not in (("up",), ("reports",), ("sequences", "export")))


@pytest.mark.requirement("ING-01", "ING-02", "ING-06")
def test_browse_lists_what_is_below_a_folder_and_says_what_cannot_be_read(recording: Path, tmp_path: Path) -> None:
    shutil.copytree(recording.parent, tmp_path / "in")
    (tmp_path / "in" / "bad.svo2").write_bytes(b"no recording")
    bad, good = printed("browse", tmp_path / "in")
    assert set(bad) == set(good) == {"file", "size_mb", "camera", "eye", "frames", "problem"}
    assert (good["frames"], good["eye"], good["problem"]) == (FRAMES, "336x188", "")
    assert bad["frames"] is None
    assert "bad.svo2" in bad["problem"]
    assert "street.svo2" in lamm("browse", tmp_path / "in").stdout
    empty = tmp_path / "empty"
    empty.mkdir()
    assert printed("browse", empty) == []
    assert "no .svo2 files" in lamm("browse", empty).stdout
    assert "is no folder" in refused("browse", tmp_path / "gone")


@pytest.mark.requirement("ING-03", "ING-04", "ING-07")
def test_info_tells_what_a_recording_holds(recording: Path, tmp_path: Path) -> None:
    facts = printed("info", recording)
    assert facts["frame_count"] == FRAMES
    assert {"serial", "model", "width", "height", "measured_fps", "duration_s", "codec", "synthetic"} <= facts.keys()
    assert facts["integrity"]["readable"] is True
    assert "complete and readable" in lamm("info", recording).stdout
    cut = tmp_path / "cut.svo2"
    cut.write_bytes(recording.read_bytes()[:-3000])
    assert printed("info", cut)["integrity"]["problems"]
    (tmp_path / "text.svo2").write_text("not an mcap")
    assert "text.svo2" in refused("info", tmp_path / "text.svo2")
    assert "gone.svo2" in refused("info", tmp_path / "gone.svo2")
    assert str(tmp_path) in refused("info", tmp_path)


def test_sample_writes_recording_calibration_and_truth(tmp_path: Path) -> None:
    made = printed("sample", tmp_path / "a.svo2", "--frames", "2", "--size", "336x188")
    assert made["frames"] == 2
    assert all(Path(made[name]).exists() for name in ("recording", "calibration_file", "truth"))
    assert "size" in refused("sample", tmp_path / "b.svo2", "--size", "huge").lower()
    assert "frames = 0" in refused("sample", tmp_path / "b.svo2", "--frames", "0")
    assert not (tmp_path / "b.svo2").exists()


def test_pack_makes_a_recording_of_image_folders(tmp_path: Path) -> None:
    for eye in ("image_0", "image_1"):
        (tmp_path / eye).mkdir()
        for n in range(2):
            cv2.imwrite(str(tmp_path / eye / f"{n:06d}.png"), np.full((96, 160, 3), 60 * n, np.uint8))
    rows = {name: f"100 0 79.5 {shift} 0 100 47.5 0 0 0 1 0" for name, shift in (("P0", 0), ("P1", -12), ("P2", 0), ("P3", -12))}
    (tmp_path / "calib.txt").write_text("".join(f"{name}: {row}\n" for name, row in rows.items()))
    folders = (tmp_path / "image_0", tmp_path / "image_1")
    made = printed("pack", *folders, tmp_path / "out.svo2", "--calibration", tmp_path / "calib.txt", "--fps", "10")
    assert made["frames"] == 2
    assert printed("info", made["recording"])["frame_count"] == 2
    gone = (tmp_path / "gone", folders[1])
    assert "holds no images" in refused("pack", *gone, tmp_path / "b.svo2", "--calibration", tmp_path / "calib.txt", "--fps", "10")


@pytest.mark.requirement("ING-01")
def test_add_takes_files_in_once_and_remembers_who_did_it(recording: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    rows = printed("add", recording, "--root", root, "--as", "bob")
    assert rows == [{"recording": "street", "status": "added", "file": str(recording)}]
    assert printed("add", recording, "--root", root)[0]["status"] == "unchanged"
    events = Catalog(f"sqlite:///{root / 'catalog.sqlite'}").audit.events()
    assert [(event.actor, event.action, event.subject) for event in events] == [("bob", "recording.add", "street")]
    assert "does not exist" in refused("add", tmp_path / "gone.svo2", "--root", root)
    assert "is no file" in refused("add", tmp_path, "--root", root)


def test_status_shows_every_recording_with_what_is_published(recording: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    assert printed("status", "--root", root) == []
    assert "lamm add" in lamm("status", "--root", root).stdout
    lamm("add", recording, "--root", root)
    [row] = printed("status", "--root", root)
    assert {"key": "street", "path": str(recording), "artifacts": {}}.items() <= row.items()
    assert "street" in lamm("status", "--root", root).stdout


@pytest.mark.requirement("ING-05", "ING-06", "ING-08")
def test_scan_takes_a_folder_in_as_a_source_dataset(recording: Path, tmp_path: Path) -> None:
    root, folder = tmp_path / "root", recording.parent
    [row] = printed("scan", folder, "--root", root, "--prepare", "copy", "--as", "eve")
    assert (row["recording"], row["status"]) == ("street", "added")
    assert Path(row["file"]).is_relative_to(root / "prepared" / "day")
    assert list(Path(row["file"]).parent.glob("SN*.conf"))
    assert printed("scan", folder, "--root", root)[0]["status"] == "unchanged"
    catalog = Catalog(f"sqlite:///{root / 'catalog.sqlite'}")
    assert [(event.actor, event.action) for event in catalog.audit.events()] == [("eve", "dataset.add"), ("eve", "recording.add")]
    other = tmp_path / "day"
    other.mkdir()
    assert "another --name" in refused("scan", other, "--root", root)
    assert "names a folder" in refused("scan", folder, "--root", root, "--name", "../outside")
    assert "is no folder" in refused("scan", tmp_path / "gone", "--root", root, "--name", "gone")


@pytest.mark.requirement("DSB-05", "EXP-02")
def test_dataset_commands_refuse_with_sentences_what_cannot_be(recording: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    lamm("add", recording, "--root", root)
    assert printed("dataset", "list", "--root", root) == []
    assert "lamm dataset create" in lamm("dataset", "list", "--root", root).stdout
    assert "is no dataset version" in refused("dataset", "show", "night.v1", "--root", root)
    assert "is no dataset version" in refused("dataset", "show", "../../etc", "--root", root)
    assert "'street' has no frames yet" in refused("dataset", "create", "night", "street", "--root", root)
    assert "No recording has detections yet" in refused("dataset", "create", "night", "--root", root)
    assert "'gone'" in refused("dataset", "create", "night", "gone", "--root", root)
    assert "cannot be called '../x'" in refused("dataset", "create", "../x", "street", "--root", root)
    assert "must sum to 1" in refused("dataset", "create", "night", "--split", "0.9/0.2/0.1", "--root", root)
    assert "min_score" in refused("dataset", "create", "night", "--min-score", "2", "--root", root)
    assert not list(root.glob("datasets/*"))


def test_evaluate_prints_the_scores_the_scripts_rely_on(tmp_path: Path) -> None:
    line = "Car 0.00 0 0.10 100.00 80.00 200.00 150.00 1.50 1.80 4.20 -1.00 1.60 12.00 0.20"
    for side, text in (("truth", line), ("result", f"{line} 0.9000")):
        (tmp_path / side / "label_2").mkdir(parents=True)
        (tmp_path / side / "label_2" / "000004.txt").write_text(f"{text}\n")
    scores = printed("evaluate", tmp_path / "result", "--truth", tmp_path / "truth")
    assert {"recall", "precision", "ap", "tp", "fp", "fn"} <= scores["detection"]["Car"].keys()
    assert scores["detection"]["vehicle"]["recall"] == scores["detection"]["Car"]["ap"] == 1.0
    assert {"distance_error_m", "iou_3d", "iou_bev", "by_range"} <= scores["boxes_3d"].keys()
    assert scores["boxes_3d"]["iou_3d"]["median"] == pytest.approx(1.0)
    assert scores["tracks"] is None
    assert "1 frames compared" in lamm("evaluate", tmp_path / "result", "--truth", tmp_path / "truth").stdout
    assert "has no ground truth" in refused("evaluate", tmp_path / "result", "--truth", tmp_path)
    assert "holds no result" in refused("evaluate", tmp_path, "--truth", tmp_path / "truth")
    assert "--frame-offset" in refused("evaluate", tmp_path / "result", "--truth", tmp_path / "truth", "--frame-offset", "7")
    assert "overlap threshold" in refused("evaluate", tmp_path / "result", "--truth", tmp_path / "truth", "--iou", "0")


def test_an_unknown_option_or_environment_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "No such option" in lamm("status", "--nothing", code=2).output
    monkeypatch.setenv("LAMM_DEVICE", "tpu")
    assert "LAMM_DEVICE is 'tpu'" in refused("status", "--root", tmp_path)


@pytest.mark.requirement("ING-15")
def test_recordings_of_a_range_of_days_are_shown_and_run(recording: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (tmp_path / "broken.svo2").write_bytes(b"no recording")
    lamm("add", recording, tmp_path / "broken.svo2", "--root", root)
    day = datetime.fromtimestamp(printed("info", recording)["recorded_at_ns"] / 1e9, UTC).date()
    before, after = str(day - timedelta(days=1)), str(day + timedelta(days=1))
    [row] = printed("status", "--root", root, "--from", str(day), "--to", str(day))
    assert (row["key"], row["recorded_at"][:10]) == ("street", str(day))
    assert [each["key"] for each in printed("status", "--root", root, "--from", before)] == ["street"]
    assert printed("status", "--root", root, "--from", after, "--to", after) == []
    assert printed("status", "--root", root, "--to", before) == []
    assert "broken is left out" in lamm("status", "--root", root, "--from", before).stderr
    for command in ("status", "run"):
        assert (
            f"--from {after} lies behind --to {day}" in refused(command, "--root", root, "--from", after, "--to", str(day)).splitlines()[0]
        )
    assert "one of the two" in refused("run", "--root", root)
    assert "one of the two" in refused("run", "street", "--root", root, "--from", str(day))
    ran = printed("run", "--root", root, "--from", before, "--to", after, "--stage", "extraction", "--stereo", "half")
    assert [each["key"] for each in ran["recordings"]] == ["street"]
    assert ran["recordings"][0]["artifacts"]["frames"]["counts"]["extracted_frames"] == FRAMES


def test_fast_is_small_stereo_and_few_looks_and_refuses_what_contradicts_it(recording: Path, tmp_path: Path) -> None:
    root, stage = tmp_path / "root", ("--stage", "extraction")
    config = tmp_path / "settings.yaml"
    config.write_text("detections: {tiles: accurate}")
    for contradiction in (("--stereo", "full"), ("--set", "frames.stereo.quality=full"), ("--tiles", "full"), ("--config", config)):
        assert "Leave one of the two out" in refused("run", recording, "--root", root, "--fast", *contradiction)
    [row] = printed("run", recording, "--root", root, "--fast", *stage, "--tiles", "fast", "--end", "1")["recordings"]
    registry = read(Path(row["artifacts"]["frames"]["folder"]) / "frame_registry.json")
    assert registry.config["stereo"]["quality"] == "half"
    assert asset_config_of(None, [], {}, fast=True) == {"frames": {"stereo": {"quality": "half"}}, "detections": {"tiles": "fast"}}


@pytest.mark.requirement("CFG-03", "CFG-04")
def test_what_a_stage_needs_keeps_the_settings_it_was_made_with_unless_others_are_given(recording: Path, tmp_path: Path) -> None:
    def frames_of(*arguments: object) -> str:
        return str(printed("run", *arguments, "--root", tmp_path / "root")["recordings"][0]["artifacts"]["frames"]["version"])

    [calibration] = recording.parent.glob("*.conf")
    alone = tmp_path / "no-calibration-beside" / recording.name
    alone.parent.mkdir()
    shutil.copy(recording, alone)
    calibrated = ("--calibration", calibration)
    first = frames_of(alone, "--stage", "extraction", "--stereo", "half", "--end", "2", "--set", "frames.point_cloud=false", *calibrated)
    assert frames_of("street", "--stage", "segmentation", "--tiles", "fast") == first
    told = lamm("run", "street", "--stage", "review", "--root", tmp_path / "root").stderr
    assert 'detections keep the settings they were made with: tiles "fast"' in told
    assert "end_frame 2" in told
    one_less = frames_of("street", "--stage", "segmentation", "--tiles", "fast", "--end", "1")
    registry = read(tmp_path / "root/recordings/street/frames" / one_less / "frame_registry.json")
    assert (registry.config["end_frame"], registry.config["point_cloud"], registry.config["stereo"]["quality"]) == (1, False, "half")
    assert registry.rectified
    assert frames_of("street", "--stage", "extraction", "--end", "1") != one_less  # the stage itself has the settings that are given


@pytest.mark.requirement("ING-08", "ING-09")
@pytest.mark.parametrize("mode", ["copy", "hardlink", "symlink"])
def test_a_prepared_recording_runs_and_what_is_made_of_it_names_its_origin(recording: Path, tmp_path: Path, mode: str) -> None:
    root = tmp_path / "root"
    folder = tmp_path / "in"
    shutil.copytree(recording.parent, folder)
    lamm("scan", folder, "--root", root, "--prepare", mode, "--name", "night")
    whole = mode == "copy"
    lamm("run", "street", "--root", root, "--stereo", "half", "--tiles", "full", *(["--no-export"] if whole else ["--stage", "extraction"]))
    catalog = Catalog(f"sqlite:///{root / 'catalog.sqlite'}")
    row, dataset = catalog.recordings.get("street"), catalog.source_datasets.find("night")
    assert dataset is not None
    assert Path(row.path).is_relative_to(root / "prepared" / "night")
    assert row.source_path == str(folder / "street.svo2")
    assets = {"recording", "frames"}
    if whole:
        assets |= {"detections", "boxes_3d", "tracks", "curated_dataset", "splits", "kitti_dataset", "coco_dataset", "lineage"}
        made = printed("dataset", "create", "night", "street", "--root", root, "--empty-frames", "keep_as_negative", "--split", "1/0/0")
        lineage = json.loads(Path(made["lineage"]).read_text())
        assert lineage["source_dataset_id"] == dataset.id
        assert lineage["recordings"][0]["source"] == {"path": row.source_path, "digest": row.digest, "size": row.size}
    manifests = [read_manifest(path) for path in root.glob("*/*/*/*/manifest.json")]
    assert {each.identity.asset for each in manifests} >= assets
    assert {each.sources for each in manifests} == {(Source("street", dataset.id, str(row.digest)),)}


@pytest.mark.requirement("ING-08", "ING-12")
def test_what_the_sensor_found_in_a_prepared_dataset_is_prepared_when_it_is_read(recording: Path, tmp_path: Path) -> None:
    root, folder = tmp_path / "root", tmp_path / "in"
    folder.mkdir()
    assert printed("scan", folder, "--root", root, "--prepare", "copy") == []
    shutil.copytree(recording.parent, folder, dirs_exist_ok=True)
    catalog = Catalog(f"sqlite:///{root / 'catalog.sqlite'}")
    dataset = catalog.source_datasets.find("in")
    assert dataset is not None
    take_in(catalog, folder / "street.svo2", dataset.id, "new_recordings")
    lamm("run", "street", "--root", root, "--stage", "extraction", "--stereo", "half")
    prepared = Path(catalog.recordings.get("street").path)
    assert prepared.is_relative_to(root / "prepared" / "in")
    assert prepared.read_bytes() == recording.read_bytes()


def test_a_run_says_before_work_what_it_will_take_and_a_dry_run_stops_there(
    recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "root"
    expected = printed("run", recording, "--root", root, "--dry-run")
    assert set(expected) == {"recordings", "frames", "size_bytes", "seconds", "measured", "suggested_fps"}
    assert (expected["recordings"], expected["frames"], expected["measured"], expected["suggested_fps"]) == (1, FRAMES, [], None)
    assert printed("run", recording, "--root", root, "--dry-run", "--end", "1")["frames"] == 1
    small = printed("run", recording, "--root", root, "--dry-run", "--set", "frames.depth_format=png16")
    assert small["size_bytes"] < expected["size_bytes"]
    assert printed("run", recording, "--root", root, "--dry-run", "--stage", "extraction")["seconds"] < expected["seconds"]
    assert "default rates" in lamm("run", recording, "--root", root, "--dry-run").stdout
    assert printed("status", "--root", root) == []
    ran = lamm("run", recording, "--root", root, "--stage", "extraction", "--stereo", "half")
    assert f"1 recordings, {FRAMES} frames: about 0.0 GB" in ran.stderr.splitlines()[0]
    taken = sum(path.stat().st_size for path in root.glob("recordings/street/frames/*/**/*") if path.is_file())
    assert 0.3 < taken / expected["size_bytes"] < 3
    monkeypatch.setattr("lamm_pipeline.cli.estimate.MIN_UNITS", 1)
    run_file = next(root.glob("recordings/street/frames/*/run.json"))
    run_file.chmod(0o644)
    run_file.write_text(json.dumps({"units": FRAMES, "units_per_second": 0.001}))
    slow = printed("run", "street", "--root", root, "--dry-run", "--stage", "extraction")
    assert slow["measured"] == ["frames", "diversity_metrics"]
    assert slow["seconds"] == pytest.approx(FRAMES * 1000, rel=0.01)
    assert slow["suggested_fps"] == 2.0
    assert "--fps 2" in lamm("run", "street", "--root", root, "--dry-run", "--stage", "extraction").stdout


def test_a_long_recording_gets_the_highest_rate_that_is_bearable(recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = {"frame_count": 18_000, "width": 1280, "height": 720, "measured_fps": 30.0, "file_name": "long.svo2"}
    monkeypatch.setattr("lamm_pipeline.cli.estimate._facts", lambda *_: facts)
    expected = printed("run", recording, "--root", tmp_path, "--dry-run")
    assert expected["frames"] == 18_000
    assert expected["size_bytes"] > 100e9
    assert expected["suggested_fps"] == 2.0
    assert printed("run", recording, "--root", tmp_path, "--dry-run", "--fps", "2")["suggested_fps"] is None
