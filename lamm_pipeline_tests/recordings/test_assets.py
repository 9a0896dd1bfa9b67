"""The asset `recording` and what `frames` makes of it, where only the ZED SDK can read the file; the SDK is a fake."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from lamm_pipeline.recordings.integrity import check
from lamm_pipeline.recordings.zed_reader import open_zed
from lamm_pipeline_tests.command_line import lamm, printed
from lamm_pipeline_tests.recordings import fake_pyzed
from lamm_pipeline_tests.recordings.fake_pyzed import FIRST_NS, SERIAL
from lamm_pipeline_tests.recordings.svo2_files import rewrite, with_frames, write_recording

pytestmark = pytest.mark.usefixtures("own_environment")

EXTRACT = ("--stage", "extraction", "--stereo", "half")


def lossless(folder: Path) -> Path:
    return rewrite(
        write_recording(folder / "sound", frames=6),
        folder / "drive.svo2",
        with_frames(lambda _, data: data[:8] + b"\x89PNG\r\n\x1a\n" + data[16:]),
    )


def version_1(folder: Path) -> Path:
    path = folder / "drive.svo"
    path.write_bytes(b"SVO\x00version 1" + bytes(500))
    return path


@pytest.fixture
def behave(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[fake_pyzed.Behave]:
    fake_pyzed.try_here(monkeypatch)
    yield lambda **behaviour: fake_pyzed.install(monkeypatch, tmp_path / "sdk", **behaviour)
    fake_pyzed.forget()


def facts(root: Path) -> dict[str, Any]:
    """Content of the one `recording.json`."""
    [path] = root.glob("recordings/drive/recording/*/recording.json")
    read: dict[str, Any] = json.loads(path.read_text())
    return read


def warnings(outcome: Any) -> list[str]:
    return [line for line in outcome.stderr.splitlines() if line.strip().startswith(("warn:", "error:"))]


@pytest.mark.requirement("ING-10", "NFR-08")
@pytest.mark.parametrize("make", [lossless, version_1])
def test_what_only_the_sdk_can_read_is_extracted_with_it_without_being_asked(
    behave: fake_pyzed.Behave, tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    behave()
    path, root = make(tmp_path), tmp_path / "root"
    outcome = lamm("run", path, "--root", root, *EXTRACT)
    assert {line.split(":")[1].strip() for line in warnings(outcome)} == {"recording/calibration_found"}
    read = facts(root)
    assert (read["codec"], read["frame_count"], read["serial"], read["recorded_at_ns"]) == ("zed_sdk", 6, SERIAL, FIRST_NS)
    assert (read["key_frame_count"], read["bitrate_bits_s"], read["imu_rate_hz"], read["complete"]) == (None, None, None, None)
    assert (read["integrity"]["footer"], read["integrity"]["first_decodable_frame"], read["integrity"]["problems"]) == ("unread", 0, [])
    for index in range(6):
        [image] = root.glob(f"recordings/drive/frames/*/image_left/{index:06d}.png")
        assert np.array_equal(cv2.imread(str(image)), fake_pyzed.image(index, "LEFT_UNRECTIFIED")[..., :3])
    assert printed("info", path)["codec"] == "zed_sdk"


@pytest.mark.requirement("NFR-08")
@pytest.mark.parametrize(("make", "sentence"), [(lossless, "LOSSLESS mode"), (version_1, "SVO version 1 file")])
def test_without_the_sdk_it_is_said_what_is_missing(tmp_path: Path, make: Callable[[Path], Path], sentence: str) -> None:
    said = lamm("run", make(tmp_path), "--root", tmp_path / "root", *EXTRACT, code=1).stderr
    assert f"Error: recording: {tmp_path / 'drive.svo'}" in said
    assert sentence in said
    assert "Nor can the ZED SDK read it here: The ZED SDK is not installed" in said


def test_native_can_be_insisted_on(behave: fake_pyzed.Behave, tmp_path: Path) -> None:
    behave()
    said = lamm("run", lossless(tmp_path), "--root", tmp_path / "root", *EXTRACT, "--set", "recording.reader=native", code=1).stderr
    assert "LOSSLESS mode" in said
    assert "ZED SDK reads" not in said


def test_frames_of_a_machine_without_the_sdk_refuse_what_only_the_sdk_has_read(
    behave: fake_pyzed.Behave, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    behave()
    path, root = lossless(tmp_path), tmp_path / "root"
    lamm("run", path, "--root", root, *EXTRACT, "--end", "1")
    fake_pyzed.forget()
    monkeypatch.setitem(sys.modules, "pyzed.sl", None)
    said = lamm("run", "drive", "--root", root, *EXTRACT, "--end", "2", code=1).stderr
    assert "Error: frames: Only the ZED SDK has read drive.svo2, and it cannot be used here: The ZED SDK is not installed" in said


def test_a_recording_that_the_sdk_is_asked_to_read_is_another_version(behave: fake_pyzed.Behave, tmp_path: Path) -> None:
    path, root = write_recording(tmp_path / "drive.svo2", frames=6), tmp_path / "root"
    ask = ("--set", "recording.reader=zed")
    without = lamm("run", path, "--root", root, *EXTRACT, *ask)
    assert "The native reader takes over." in without.stderr
    native = facts(root)
    assert native["codec"] != "zed_sdk"
    lamm("run", path, "--root", root, *EXTRACT)
    assert facts(root) == native  # no second version: the SDK was not there, so this is what native makes
    behave()
    lamm("run", path, "--root", root, *EXTRACT, *ask)
    codecs = {json.loads(found.read_text())["codec"] for found in root.glob("recordings/drive/recording/*/recording.json")}
    assert codecs == {native["codec"], "zed_sdk"}


def test_frames_that_the_sdk_counts_and_does_not_deliver_are_missing(
    behave: fake_pyzed.Behave, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    behave(grab={"2": "CORRUPTED_FRAME"})
    with open_zed(write_recording(tmp_path / "drive.svo2", frames=6)) as reader:
        sound = check(reader)
        assert (sound.complete, sound.footer, sound.first_decodable_frame, sound.problems) == (True, "unread", 0, ())
        monkeypatch.setattr(reader, "opening", type(reader.opening)(**vars(reader.opening) | {"frame_count": 9}))
        cut = check(reader)
    assert cut.complete is False
    assert cut.problems == ("The file is cut off or damaged: the ZED SDK counts 9 frames and delivers 6.",)
