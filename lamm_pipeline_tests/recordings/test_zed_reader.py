"""The reader over the ZED SDK, against a fake of it: no machine of the tests has the SDK."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lamm_pipeline.errors import InputError
from lamm_pipeline.recordings import zed_probe, zed_reader
from lamm_pipeline.recordings.open_recording import Backend, open_recording
from lamm_pipeline.recordings.reader import BadFrame
from lamm_pipeline.recordings.svo2_reader import Svo2Reader
from lamm_pipeline.recordings.zed_reader import ZedFrame, ZedReader, open_zed
from lamm_pipeline.recordings.zed_sdk import UNAVAILABLE, ZedOptions, ZedUnavailable, depth_mode, load_sdk
from lamm_pipeline_tests.recordings import fake_pyzed
from lamm_pipeline_tests.recordings.fake_pyzed import BASELINE_M, FIRST_NS, FOCAL, HEIGHT, PERIOD_NS, SERIAL, VERSIONS, WIDTH
from lamm_pipeline_tests.recordings.svo2_files import rewrite, with_frames, write_recording


@pytest.fixture(autouse=True)
def _forget() -> Any:
    yield
    fake_pyzed.forget()


@pytest.fixture
def behave_apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> fake_pyzed.Behave:
    def apply(**behaviour: Any) -> None:
        fake_pyzed.install(monkeypatch, tmp_path / "sdk", **behaviour)

    return apply


@pytest.fixture
def behave(behave_apart: fake_pyzed.Behave, monkeypatch: pytest.MonkeyPatch) -> fake_pyzed.Behave:
    """The trial of opening is made in this process, which is ten times faster."""
    fake_pyzed.try_here(monkeypatch)
    return behave_apart


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Only opened by the native reader; the fake makes up what is in it."""
    return write_recording(tmp_path_factory.mktemp("zed") / "drive.svo2", frames=6)


def log(path: Path) -> list[str]:
    return path.read_text().splitlines()


@pytest.mark.requirement("ING-10")
@pytest.mark.parametrize("version", VERSIONS)
def test_raw_images_stamps_and_sensors_come_out_of_every_version(behave_apart: fake_pyzed.Behave, recording: Path, version: str) -> None:
    behave_apart(version=version)
    with open_zed(recording) as reader:
        info = reader.info
        assert (info.serial, info.model, info.width, info.height, info.codec) == (SERIAL, "ZED 2i", WIDTH, HEIGHT, "zed_sdk")
        assert info.frame_timestamps_ns == tuple(FIRST_NS + index * PERIOD_NS for index in range(6))
        frames = list(reader.frames())  # all are held at once: views on the SDK's memory would have changed
        assert [frame.index for frame in frames] == list(range(6))
        for frame in frames:
            assert isinstance(frame, ZedFrame)
            assert frame.depth is None
            left, right = frame.images()
            assert np.array_equal(left, fake_pyzed.image(frame.index, "LEFT_UNRECTIFIED")[..., :3])
            assert np.array_equal(right, fake_pyzed.image(frame.index, "RIGHT_UNRECTIFIED")[..., :3])
        samples = list(reader.frame_sensors())
    assert [sample.timestamp_ns for sample in samples] == list(info.frame_timestamps_ns)
    assert samples[0].angular_velocity == pytest.approx((1.0, 0.0, 0.0))
    assert samples[0].linear_acceleration == pytest.approx((0.0, -9.81, 0.0))
    assert samples[0].pressure_hpa == pytest.approx(1013.5)


@pytest.mark.parametrize("version", VERSIONS)
def test_depth_comes_with_the_rectified_images_it_belongs_to(behave: fake_pyzed.Behave, recording: Path, version: str) -> None:
    behave(version=version)
    with open_zed(recording, ZedOptions(depth_mode="neural", rectified=True)) as reader:
        frames = list(reader.frames(1, 6, 2))
        calibration = reader.opening.calibration
    assert [frame.index for frame in frames] == [1, 3, 5]
    for frame in frames:
        assert isinstance(frame, ZedFrame)
        assert frame.depth is not None
        np.testing.assert_array_equal(frame.depth, fake_pyzed.depth(frame.index))
        assert np.array_equal(frame.images()[0], fake_pyzed.image(frame.index, "LEFT")[..., :3])
    assert (calibration.left, calibration.left.fx) == (calibration.right, FOCAL)
    assert (calibration.rotation_vector, calibration.translation_m) == ((0.0, 0.0, 0.0), (-BASELINE_M, 0.0, 0.0))


def test_depth_is_computed_for_wanted_frames_only_and_far_ones_are_jumped_to(
    behave: fake_pyzed.Behave, recording: Path, tmp_path: Path
) -> None:
    behave(frames=200, log=str(tmp_path / "log"))
    with open_zed(recording, ZedOptions(depth_mode="performance", rectified=True)) as reader:
        (tmp_path / "log").unlink()
        assert [frame.index for frame in reader.frames(2, 200, 150)] == [2, 152]
    assert log(tmp_path / "log") == ["open PERFORMANCE ", "grab 0", "grab 1", "grab 2 with depth", "seek 152", "grab 152 with depth"]


def test_a_jump_that_the_sdk_does_not_confirm_is_made_by_reading_on(behave: fake_pyzed.Behave, recording: Path) -> None:
    behave(frames=100, seeks_wrong=True)
    with open_zed(recording) as reader:
        [frame] = reader.frames(80, 81)
    assert isinstance(frame, ZedFrame)
    assert (frame.index, frame.timestamp_ns) == (80, FIRST_NS + 80 * PERIOD_NS)


@pytest.mark.parametrize("version", VERSIONS)
def test_corrupted_frames_are_bad_and_other_warnings_are_counted(behave: fake_pyzed.Behave, recording: Path, version: str) -> None:
    behave(version=version, grab={"2": "CORRUPTED_FRAME", "4": "SENSORS_DATA_REQUIRED"}, open="CONFIGURATION_FALLBACK")
    with open_zed(recording) as reader:
        frames = list(reader.frames())
        assert reader.warnings == {"CONFIGURATION_FALLBACK": 1, "CORRUPTED_FRAME": 2, "SENSORS_DATA_REQUIRED": 2}
    assert [frame.index for frame in frames if isinstance(frame, BadFrame)] == [2]
    assert len(frames) == 6


def test_a_failure_without_a_reason_is_tried_once_more_and_then_refused(behave: fake_pyzed.Behave, recording: Path) -> None:
    behave(open_failures=1, grab_failures={"3": 1})
    with open_zed(recording) as reader:
        assert len(list(reader.frames())) == 6
    behave(open_failures=2)
    with pytest.raises(InputError, match=r"failed 2 times without a reason.*\(FAILURE\)"):
        open_zed(recording)
    behave(grab_failures={"3": 2})
    with pytest.raises(InputError, match=r"\(FAILURE\)"):
        open_zed(recording)


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("INVALID_SVO_FILE", "damaged, encrypted or no recording"),
        ("CALIBRATION_FILE_NOT_AVAILABLE", "SN<serial>.conf"),
        ("INVALID_CALIBRATION_FILE", "SN<serial>.conf"),
        ("NOT_ENOUGH_GPU_MEMORY", "lighter zed_depth_mode"),
    ],
)
def test_a_file_that_the_sdk_refuses_is_refused_with_a_sentence(
    behave: fake_pyzed.Behave, recording: Path, code: str, sentence: str
) -> None:
    behave(open=code)
    for open_it in (open_zed, lambda path: open_recording(path, Backend.zed)):
        with pytest.raises(InputError, match=sentence) as error:
            open_it(recording)
        assert not isinstance(error.value, ZedUnavailable)
        assert str(recording) in str(error.value)


def test_a_call_that_should_not_have_been_made_is_a_bug_not_bad_input(behave: fake_pyzed.Behave, recording: Path) -> None:
    behave(open="INVALID_FUNCTION_PARAMETERS")
    with pytest.raises(RuntimeError, match="INVALID_FUNCTION_PARAMETERS"):
        open_zed(recording)


@pytest.mark.requirement("NFR-08")
@pytest.mark.parametrize("code", UNAVAILABLE)
def test_where_the_sdk_cannot_work_the_native_reader_takes_over_and_says_so(
    behave: fake_pyzed.Behave, recording: Path, caplog: pytest.LogCaptureFixture, code: str
) -> None:
    behave(open=code)
    with open_recording(recording, Backend.zed) as reader:
        assert isinstance(reader, Svo2Reader)
        assert reader.info.frame_count == 6
    assert f"{UNAVAILABLE[code]} ({code}). The native reader takes over." in caplog.text


@pytest.mark.requirement("NFR-02", "NFR-08")
def test_a_missing_broken_or_wrong_package_is_told_apart(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, recording: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ZedUnavailable, match="not installed"):
        load_sdk()
    package = tmp_path / "pyzed"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    (package / "sl.py").write_text("raise OSError('libsl_zed.so: cannot open shared object file')\n")
    with pytest.raises(ZedUnavailable, match="libraries or CUDA are missing"):
        load_sdk()
    (package / "sl.py").write_text("__version__ = '0.0.1'\nPLACEHOLDER = True\n")
    sys.modules.pop("pyzed.sl", None)
    with pytest.raises(ZedUnavailable, match="another one of that name"):
        load_sdk()
    with open_recording(recording, Backend.zed) as reader:
        assert isinstance(reader, Svo2Reader)
    assert "another one of that name" in caplog.text


@pytest.mark.parametrize(("fault", "sentence"), [("hang", "within 3 s: it hangs"), ("abort", r"signal 6\) while it opened")])
def test_an_sdk_that_hangs_or_aborts_takes_only_its_own_process_along(
    behave_apart: fake_pyzed.Behave, recording: Path, fault: str, sentence: str
) -> None:
    behave_apart(**{fault: True})
    with pytest.raises(InputError, match=sentence) as error:
        open_zed(recording, ZedOptions(timeout_s=3.0 if fault == "hang" else 120.0))
    assert str(recording) in str(error.value)


def test_the_trial_is_made_without_depth_and_in_the_calibrations_folder(
    behave_apart: fake_pyzed.Behave, recording: Path, tmp_path: Path
) -> None:
    behave_apart(log=str(tmp_path / "log"))
    opening = zed_probe.probe(recording, ZedOptions(depth_mode="neural", calibration_folder=tmp_path))
    assert log(tmp_path / "log") == [f"open NONE {tmp_path}", "grab 0"]
    assert (opening.sdk_version, opening.frame_count, opening.calibration.serial) == ("5.4.0", 6, SERIAL)


def test_a_depth_mode_that_the_version_lacks_is_refused(behave: fake_pyzed.Behave, recording: Path) -> None:
    behave(version="4.2")
    with pytest.raises(InputError, match="no depth mode neural_light"):
        open_zed(recording, ZedOptions(depth_mode="neural_light"))
    behave(version="5.1")
    assert depth_mode(load_sdk(), "neural_light").name == "NEURAL_LIGHT"


def test_sensor_values_that_the_sdk_leaves_at_zero_are_read_from_the_container(behave: fake_pyzed.Behave, recording: Path) -> None:
    behave(imu=False)
    with open_zed(recording) as reader:
        samples = list(reader.frame_sensors())
        assert len(list(reader.sensors())) == 6 * 40
    assert len(samples) == 6
    assert samples[0].linear_acceleration[1] < -8
    assert samples[0].magnetic_field_ut is not None


def test_a_recording_without_frames_is_refused(behave: fake_pyzed.Behave, recording: Path, tmp_path: Path) -> None:
    behave(frames=0)
    with pytest.raises(InputError, match="no video frame"):
        open_zed(recording)
    with pytest.raises(InputError, match="does not exist"):
        open_zed(tmp_path / "gone.svo2")


def test_auto_is_native_and_the_sdk_only_for_video_that_native_cannot_read(
    behave: fake_pyzed.Behave, recording: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    png = with_frames(lambda _, data: data[:8] + b"\x89PNG\r\n\x1a\n" + data[16:])
    lossless = rewrite(recording, tmp_path / "lossless.svo2", png)
    with pytest.raises(InputError, match=r"LOSSLESS mode.* Nor can the ZED SDK read it here: .*not installed"):
        open_recording(lossless)
    behave()
    with open_recording(recording) as reader:
        assert isinstance(reader, Svo2Reader)
    with open_recording(lossless) as reader:
        assert isinstance(reader, ZedReader)
        assert reader.info.frame_count == 6
        assert list(reader.sensors()) == []
    assert "LOSSLESS mode" in caplog.text
    assert "The ZED SDK reads it instead." in caplog.text
    with pytest.raises(InputError, match="LOSSLESS mode"):
        open_recording(lossless, Backend.native)


def test_the_fake_refuses_what_the_documentation_does_not_know(behave: fake_pyzed.Behave) -> None:
    behave()
    sdk = load_sdk()
    with pytest.raises(AttributeError):
        sdk.Resolution()
    with pytest.raises(AttributeError):
        sdk.InitParameters().no_such_setting = 1
    with pytest.raises(TypeError):
        sdk.InitParameters().depth_mode = "neural"
    with pytest.raises(TypeError):
        sdk.Camera().grab()
    behave(version="4.2")
    old = load_sdk()
    with pytest.raises(TypeError):
        assert old.ERROR_CODE.SUCCESS <= old.ERROR_CODE.FAILURE
    assert not hasattr(old.ERROR_CODE, "POTENTIAL_CALIBRATION_ISSUE")


def test_negative_ranges_are_refused(behave: fake_pyzed.Behave, recording: Path) -> None:
    behave()
    with open_zed(recording) as reader, pytest.raises(ValueError, match="step >= 1"):
        list(reader.frames(step=0))
    assert zed_reader.CODEC == "zed_sdk"
