"""Which reader and which depth an extraction gets, and the SDK's depth in its files; the SDK is a fake."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction.extract import extract_frames
from lamm_pipeline.extraction.frame_files import DepthReason, depth_reason
from lamm_pipeline.extraction.frame_registry import FrameRegistry
from lamm_pipeline.extraction.frame_source import FrameSource, frame_source
from lamm_pipeline.extraction.settings import FrameSettings
from lamm_pipeline.extraction.zed_depth import ZedMatcher
from lamm_pipeline.recordings.calibration import write_conf
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline_tests.extraction.fake_reader import FakeReader, calibration
from lamm_pipeline_tests.recordings import fake_pyzed
from lamm_pipeline_tests.recordings.fake_pyzed import BASELINE_M, FOCAL, HEIGHT, SERIAL, WIDTH
from lamm_pipeline_tests.recordings.svo2_files import write_recording

FACTS = {"serial": SERIAL, "width": WIDTH, "height": HEIGHT, "codec": "h264"}
ZED_DEPTH = {"stereo": {"matcher": "zed"}}


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    write_conf(tmp_path / f"SN{SERIAL}.conf", calibration(WIDTH, HEIGHT))
    (tmp_path / f"SN{SERIAL}.conf").write_text((tmp_path / f"SN{SERIAL}.conf").read_text().replace("= 7\n", f"= {SERIAL}\n"))
    return write_recording(tmp_path / "drive.svo2", frames=6)


@pytest.fixture
def behave(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    fake_pyzed.try_here(monkeypatch)
    yield lambda **behaviour: fake_pyzed.install(monkeypatch, tmp_path / "sdk", **behaviour)
    fake_pyzed.forget()


def source(path: Path, values: dict[str, Any], calibration_file: Path | None = None) -> FrameSource:
    settings = FrameSettings.model_validate(values)
    return frame_source(path, FACTS, settings, calibration_file=calibration_file, calibration_folder=None)


def extract(found: FrameSource, folder: Path) -> FrameRegistry:
    with found.open() as reader:
        return extract_frames(
            reader,
            found.calibration,
            found.settings,
            Draft.open(folder),
            recording="drive",
            svo2_file="drive.svo2",
            svo2_hash="ab" * 32,
            lineage={},
            workers=2,
            matcher=found.matcher,
        )


def in_force(found: FrameSource) -> tuple[str, str]:
    return found.settings.reader.value, found.settings.stereo.matcher.value


@pytest.mark.requirement("EXT-15")
def test_depth_of_the_sdk_has_nan_for_unknown_and_the_reason_beside_it(behave: Any, recording: Path, tmp_path: Path) -> None:
    behave()
    found = source(recording, ZED_DEPTH)
    assert in_force(found) == ("zed", "zed")
    registry = extract(found, tmp_path / "out")
    assert registry.camera is not None
    assert (registry.camera.fx, registry.camera.baseline_m, registry.rectified) == (FOCAL, BASELINE_M, True)
    assert registry.config["stereo_matcher"]["sdk_version"] == "5.4.0"
    for frame in registry.frames:
        left = cv2.imread(str(tmp_path / "out" / str(frame.image_left)))
        assert np.array_equal(left, fake_pyzed.image(frame.svo2_frame_index, "LEFT")[..., :3])
        depth = np.load(tmp_path / "out" / str(frame.depth))
        assert np.isnan(depth[:3]).all()
        assert (depth[3:] == 2.0 + frame.svo2_frame_index).all()
        reason = cv2.imread(str(tmp_path / "out" / "depth_reason" / f"{frame.filename_base}.png"), cv2.IMREAD_UNCHANGED)
        assert (reason.dtype, reason.shape) == (np.uint8, (HEIGHT, WIDTH))
        rows = (DepthReason.occluded, DepthReason.too_far, DepthReason.too_near, DepthReason.measured)
        assert [set(reason[row].tolist()) for row in range(4)] == [{value} for value in rows]
        assert ((reason == DepthReason.measured) == np.isfinite(depth)).all()


def test_zero_and_negative_depth_count_as_unknown() -> None:
    values = np.array([[0.0, -1.0, np.nan, np.inf, -np.inf, 2.0]], np.float32)
    assert depth_reason(values).tolist() == [[1, 1, 1, 2, 3, 0]]


def test_raw_images_of_the_sdk_are_rectified_and_matched_by_this_package(behave: Any, recording: Path, tmp_path: Path) -> None:
    behave()
    found = source(recording, {"reader": "zed"})
    assert in_force(found) == ("zed", "sgbm")
    assert found.calibration is not None
    assert found.matcher is None
    registry = extract(found, tmp_path / "out")
    assert registry.config["stereo_matcher"]["matcher"] == "sgbm_3way"
    assert not (tmp_path / "out" / "depth_reason").exists()


@pytest.mark.requirement("NFR-08")
@pytest.mark.parametrize("values", [{"reader": "zed"}, ZED_DEPTH, {"reader": "zed", **ZED_DEPTH}])
def test_without_the_sdk_the_version_is_that_of_the_native_reader_and_a_sentence_says_so(recording: Path, values: dict[str, Any]) -> None:
    native = source(recording, {})
    assert (in_force(native), native.remarks) == (("native", "sgbm"), ())
    found = source(recording, values)
    assert in_force(found) == ("native", "sgbm")
    assert (found.science, found.digests) == (native.science, native.digests)
    assert "not installed" in found.remarks[0]
    assert "over." in found.remarks[0]


def test_the_sdk_and_its_calibration_are_part_of_the_version(behave: Any, recording: Path) -> None:
    behave(version="5.4")
    new = source(recording, ZED_DEPTH)
    fake_pyzed.forget()
    behave(version="4.2")
    old = source(recording, ZED_DEPTH)
    assert new.digests["zed_sdk"] != old.digests["zed_sdk"]
    assert new.science == old.science
    assert {"zed_sdk", "calibration"} == set(new.digests)


def test_warnings_of_opening_are_told(behave: Any, recording: Path) -> None:
    behave(open="POTENTIAL_CALIBRATION_ISSUE")
    assert source(recording, ZED_DEPTH).remarks == ("The ZED SDK warns about drive.svo2: POTENTIAL_CALIBRATION_ISSUE.",)


def test_the_sdk_gets_the_folder_of_the_calibration_and_needs_its_name(behave: Any, recording: Path, tmp_path: Path) -> None:
    behave(log=str(tmp_path / "log"))
    source(recording, ZED_DEPTH)
    assert (tmp_path / "log").read_text().splitlines()[0] == f"open NONE {tmp_path}"
    other = tmp_path / "other.conf"
    other.write_text("")
    with pytest.raises(InputError, match=f"only under the name SN{SERIAL}.conf"):
        source(recording, ZED_DEPTH, calibration_file=other)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"reader": "native", **ZED_DEPTH}, "set reader to zed or auto"),
        ({"rectify": False, **ZED_DEPTH}, "leave rectify and depth on"),
        ({"depth": False, **ZED_DEPTH}, "leave rectify and depth on"),
        ({"reader": "fast"}, "'auto', 'native' or 'zed'"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        FrameSettings.model_validate(values)


def test_frames_of_another_reader_have_no_depth_of_the_sdk() -> None:
    frame = next(FakeReader().frames())
    with pytest.raises(TypeError, match="frames of its reader"):
        ZedMatcher(FrameSettings().stereo, "5.4.0").frame_depth(frame)  # type: ignore[arg-type]
