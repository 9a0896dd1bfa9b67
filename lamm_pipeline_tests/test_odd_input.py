"""Odd files, names, disks and moments, through the command line and the assets.

Each ends in a sentence or in as much as can be had; other recordings are unaffected, and nothing half-written is visible. What the reader
makes of damaged files is shown in `recordings/test_svo2_damage.py`.
"""

import json
import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import dagster as dg
import numpy as np
import pytest
from typer.testing import CliRunner

from lamm_pipeline.cli.app import app
from lamm_pipeline.extraction import assets as extraction
from lamm_pipeline.extraction import frame_registry
from lamm_pipeline.orchestration import produce
from lamm_pipeline.sample.render import render_sample
from lamm_pipeline.sample.settings import SampleSettings
from lamm_pipeline.storage.artifacts import MANIFEST, Artifact, read_manifest
from lamm_pipeline_tests.command_line import PROGRAM, lamm, printed
from lamm_pipeline_tests.recordings.svo2_files import VIDEO, cut, noisy_payload, rewrite, with_frame, without, write_recording

pytestmark = pytest.mark.usefixtures("own_environment")

FRAMES = 5
EXTRACT = ("--stage", "extraction", "--stereo", "half")


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sample") / "street.svo2"
    render_sample(path, SampleSettings(frames=FRAMES, width=336, height=188))
    return path


@pytest.fixture
def without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries come at once."""
    monkeypatch.setattr(dg.RetryPolicy, "calculate_delay", lambda self, attempt_num: 0)  # noqa: ARG005


def status(root: Path) -> dict[str, Any]:
    return {row["key"]: row for row in printed("status", "--root", root)}


def assert_nothing_half_written(root: Path) -> None:
    """Below each asset there are whole versions, drafts marked as such, and the pointer to the version in force."""
    for asset in root.glob("recordings/*/*"):
        for path in asset.iterdir():
            if path.is_dir() and not path.name.endswith(".partial"):
                for name, entry in read_manifest(path / MANIFEST).files.items():
                    assert (path / name).stat().st_size == entry.size
            elif path.is_file():
                assert path.name == "current.json" or path.name.startswith("."), path
        if (asset / "current.json").exists():
            assert (asset / json.loads((asset / "current.json").read_text())["version"] / MANIFEST).is_file()


def beside(sample: Path, folder: Path, name: str) -> Path:
    """A copy of the sample under another name, with its calibration."""
    folder.mkdir(exist_ok=True)
    for conf in sample.parent.glob("SN*.conf"):
        shutil.copyfile(conf, folder / conf.name)
    return Path(shutil.copyfile(sample, folder / name))


@pytest.mark.requirement("ING-04", "PIP-06", "NFR-11")
def test_files_that_are_no_recordings_end_in_their_sentences_and_the_others_go_on(sample: Path, tmp_path: Path) -> None:
    source = write_recording(tmp_path / "source.svo2", frames=6)
    files = {
        "old": (b"SVO\x00version 1" + bytes(500), "an SVO version 1 file has to be converted with ZED_SVO_Editor first"),
        "empty": (b"", "is empty: the recording was never written"),
        "begun": (b"\x89MCAP0", "cut off at its very beginning"),
        "no_frames": (rewrite(source, tmp_path / "a", without(VIDEO)).read_bytes(), "holds no video frame"),
    }
    for name, (content, _) in files.items():
        (tmp_path / f"{name}.svo2").write_bytes(content)
    paths = [tmp_path / f"{name}.svo2" for name in files]
    outcome = lamm("run", *paths, sample, "--root", tmp_path / "root", *EXTRACT, code=1)
    for name, (_, sentence) in files.items():
        assert re.search(rf"Error: recording: .*{name}\.svo2.*{re.escape(sentence)}", outcome.stderr)
    facts = status(tmp_path / "root")
    assert all(facts[name]["artifacts"] == {} for name in files)
    assert facts["street"]["artifacts"]["frames"]["counts"]["extracted_frames"] == FRAMES
    assert_nothing_half_written(tmp_path / "root")


@pytest.mark.requirement("ING-04")
def test_recordings_cut_anywhere_give_their_frames_or_a_sentence(sample: Path, tmp_path: Path) -> None:
    size = sample.stat().st_size
    lengths = [int(length) for length in np.random.default_rng(11).integers(1, size, 3)]
    files = [beside(sample, tmp_path, f"cut{number}.svo2") for number in range(len(lengths))]
    for path, length in zip(files, lengths, strict=True):
        cut(sample, path, length)
    outcome = CliRunner().invoke(app, ["run", *map(str, files), str(sample), "--root", str(tmp_path / "root"), *EXTRACT])
    assert "Traceback" not in outcome.output
    facts = status(tmp_path / "root")
    for path in files:
        published = facts[path.stem]["artifacts"]
        if "frames" in published:
            assert 0 < published["frames"]["counts"]["extracted_frames"] <= FRAMES
        else:
            assert re.search(rf"Error: recording: .*{path.name}", outcome.stderr)
    assert any("frames" in facts[path.stem]["artifacts"] for path in files)
    assert "frames" in facts["street"]["artifacts"]
    assert_nothing_half_written(tmp_path / "root")


@pytest.mark.requirement("ING-04", "PIP-06")
def test_damaged_pictures_in_the_middle_are_listed_and_the_rest_is_extracted(tmp_path: Path) -> None:
    source = write_recording(tmp_path / "source.svo2", frames=12, gop=4)
    one = rewrite(source, tmp_path / "one.svo2", with_frame(7, noisy_payload))
    half = rewrite(source, tmp_path / "half.svo2", lambda content: with_frame(0, noisy_payload)(with_frame(4, noisy_payload)(content)))
    outcome = lamm("run", one, half, "--root", tmp_path / "root", *EXTRACT, code=1)
    facts = status(tmp_path / "root")
    counts = facts["one"]["artifacts"]["frames"]["counts"]
    assert (counts["extracted_frames"], counts["failed_frames"]) == (11, 1)
    registry = frame_registry.read(Path(facts["one"]["artifacts"]["frames"]["folder"]) / frame_registry.FILE_NAME)
    assert [failed.index for failed in registry.failed_frames] == [7]
    assert registry.failed_frames[0].reason
    assert "frames" not in facts["half"]["artifacts"]
    assert re.search(r"Error: frames: half\.svo2: \d of 12 frames could not be extracted, more than max_bad_share", outcome.stderr)
    assert_nothing_half_written(tmp_path / "root")


@pytest.mark.requirement("EXT-16")
def test_the_calibration_of_another_camera_is_measured_and_said(sample: Path, tmp_path: Path) -> None:
    wrong = beside(sample, tmp_path / "wrong", "wrong.svo2")
    [conf] = wrong.parent.glob("SN*.conf")
    text = conf.read_text()
    right_eye = text[text.index("[RIGHT_CAM") :]
    found = re.search(r"cy = ([0-9.]+)", right_eye)
    assert found is not None
    conf.write_text(text.replace(right_eye, right_eye.replace(found[0], f"cy = {float(found[1]) + 5}", 1)))
    outcome = lamm("run", wrong, sample, "--root", tmp_path / "root", *EXTRACT)
    facts = status(tmp_path / "root")
    assert facts["wrong"]["artifacts"]["frames"]["counts"]["row_offset_px"] == pytest.approx(5.0, abs=1.0)
    assert facts["street"]["artifacts"]["frames"]["counts"]["row_offset_px"] < 0.5
    warnings = re.findall(r"warn: frames/rectification_good: (.*)", outcome.stderr)
    assert len(warnings) == 1
    assert re.match(r"Matching points are \d\.\d\d px apart .* Get the SN<serial>\.conf of this very camera\.", warnings[0])


@pytest.mark.requirement("ING-01")
def test_any_file_name_works(sample: Path, tmp_path: Path) -> None:
    names = ["day 1, left_Straße_夜.svo2", f"{'x' * 245}.svo2", "-[v2] 'q'#%.svo2"]
    files = [beside(sample, tmp_path / "odd, names", name) for name in names]
    lamm("run", "--root", tmp_path / "root", *EXTRACT, "--end", "1", "--", *files)
    facts = status(tmp_path / "root")
    assert {row["path"] for row in facts.values()} == {str(path) for path in files}
    for key, row in facts.items():
        assert re.fullmatch(r"[A-Za-z0-9_.-]{1,100}", key)
        assert row["artifacts"]["frames"]["counts"]["rectified"] is True
    copied = json.loads(lamm("scan", tmp_path / "odd, names", "--root", tmp_path / "other", "--prepare", "copy", "--json").stdout)
    assert sorted(Path(row["file"]).name for row in copied) == sorted(names)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """An empty disk of 12 MB that can be made read-only; only the superuser can make one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if (
        sys.platform != "linux"
        or os.geteuid() != 0
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "lamm-test", folder], check=False).returncode
    ):
        pytest.skip("a small disk can only be mounted by the superuser")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)  # a database may be open still


def test_a_read_only_root_is_said(sample: Path, small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    outcome = lamm("run", sample, "--root", small_disk / "root", *EXTRACT, code=1)
    assert re.search(r"Error: .*root.*: the disk is read-only; choose another root", outcome.stderr)


if os.geteuid() != 0:  # the superuser may write everywhere; for it a disk is mounted read-only above and below

    def test_a_root_without_permission_is_said(sample: Path, tmp_path: Path) -> None:
        tmp_path.chmod(0o555)
        outcome = lamm("run", sample, "--root", tmp_path / "root", *EXTRACT, code=1)
        assert "permission is denied" in outcome.stderr


def test_a_root_that_was_made_read_only_is_said(sample: Path, small_disk: Path) -> None:
    # in another process, since files that are open keep a disk from becoming read-only
    subprocess.run([*PROGRAM, "status", "--root", small_disk / "root"], check=True, capture_output=True)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    outcome = lamm("run", sample, "--root", small_disk / "root", *EXTRACT, code=1)
    assert re.search(r"Error: .*can be written", outcome.stderr)


@pytest.mark.requirement("NFR-10", "NFR-11", "EXT-14")
@pytest.mark.usefixtures("without_waiting")
def test_a_full_disk_is_said_retried_and_goes_on_when_there_is_space(
    sample: Path, small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    monkeypatch.setenv("LAMM_CATALOG_URL", f"sqlite:///{tmp_path / 'catalog.sqlite'}")
    root = small_disk / "root"
    lamm("run", sample, "--root", root, "--stage", "extraction", "--end", "1", "--stereo", "half")
    ballast = small_disk / "ballast"
    with ballast.open("wb") as file:
        file.write(bytes(shutil.disk_usage(small_disk).free - 300_000))
    monkeypatch.setattr(extraction, "require_space", lambda *_: None)  # as if the space were taken by others meanwhile
    outcome = lamm("run", sample, "--root", root, *EXTRACT, code=1)
    assert len(re.findall(r"frames: the disk is full; .* It is tried again", outcome.stderr)) == 3
    assert re.search(r"Error: frames: .*the disk is full; free some space", outcome.stderr)
    assert_nothing_half_written(root)
    assert status(root)["street"]["artifacts"]["frames"]["counts"]["extracted_frames"] == 1
    ballast.unlink()
    lamm("run", sample, "--root", root, *EXTRACT)
    assert status(root)["street"]["artifacts"]["frames"]["counts"]["extracted_frames"] == FRAMES
    for image in root.glob("recordings/street/frames/*/image_left/*.png"):
        assert cv2.imread(str(image)) is not None


@pytest.mark.requirement("NFR-11")
@pytest.mark.usefixtures("without_waiting")
def test_a_file_size_limit_in_the_middle_leaves_a_draft_only(sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same without a disk to fill: the system refuses files above a size."""
    found_or_made = produce._found_or_made

    def limited(*arguments: Any) -> Artifact:
        if arguments[2].asset != "frames":
            return found_or_made(*arguments)
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
        try:
            return found_or_made(*arguments)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    monkeypatch.setattr(produce, "_found_or_made", limited)
    root = tmp_path / "root"
    outcome = lamm("run", sample, "--root", root, *EXTRACT, code=1)
    assert re.search(r"Error: frames: .*the file is larger than this system allows", outcome.stderr)
    assert_nothing_half_written(root)
    assert set(status(root)["street"]["artifacts"]) == {"recording"}


@pytest.mark.requirement("NFR-10")
def test_two_processes_on_one_recording_make_one_version(sample: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    lamm("add", sample, "--root", root)
    command = [*PROGRAM, "run", "street", "--root", str(root), *EXTRACT, "--json"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    answers = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], answers
    versions = {json.loads(said)["recordings"][0]["artifacts"]["frames"]["version"] for said, _ in answers}
    assert len(versions) == 1
    assert [path.parent.name for path in root.glob(f"recordings/street/frames/*/{MANIFEST}")] == list(versions)
    assert not list(root.glob("recordings/*/*/*.partial"))
    assert_nothing_half_written(root)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("frames: [1, 2", "cannot be read as YAML"),
        ("- frames", "must map asset names to settings"),
        ("frames: {reader: fast}", "reader = 'fast'"),
        ("frames: {reader: native, stereo: {matcher: zed}}", "set reader to zed or auto"),
        ("frames: {stereo: {max_depth_m: 0.1}}", "max_depth_m = 0.1"),
    ],
)
def test_a_wrong_config_file_is_refused_before_any_work(sample: Path, tmp_path: Path, content: str, sentence: str) -> None:
    (tmp_path / "config.yaml").write_text(content)
    outcome = lamm("run", sample, "--root", tmp_path / "root", "--config", tmp_path / "config.yaml", code=2)
    assert sentence in outcome.stderr
    assert not (tmp_path / "root" / "recordings").exists()


@pytest.mark.requirement("NFR-08")
def test_asking_for_the_zed_sdk_where_there_is_none_goes_on_without_it_and_says_so(sample: Path, tmp_path: Path) -> None:
    outcome = lamm("run", sample, "--root", tmp_path / "root", *EXTRACT, "--end", "1", "--set", "frames.reader=zed")
    assert "warning: frames: The ZED SDK is not installed" in outcome.stderr
    assert "The native reader takes over." in outcome.stderr
