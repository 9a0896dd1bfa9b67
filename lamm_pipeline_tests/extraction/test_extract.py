"""The whole extraction, on recordings in memory whose depth is known."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction import frame_registry
from lamm_pipeline.extraction.calib_txt import read_calib
from lamm_pipeline.extraction.frame_files import FrameWriter, Pair, estimate_bytes_per_frame
from lamm_pipeline.extraction.rectify import Rectifier
from lamm_pipeline.extraction.settings import FrameSettings, StereoSettings
from lamm_pipeline.extraction.stereo import SgbmMatcher, StereoMatcher
from lamm_pipeline.geometry.camera import CameraModel, StereoCalibration
from lamm_pipeline.storage.draft import CHECKPOINT_EVERY
from lamm_pipeline_tests.extraction.extracting import STEREO, ConstantMatcher, digests, extract
from lamm_pipeline_tests.extraction.fake_reader import (
    BASELINE,
    BOARD,
    BOARD_ROWS,
    FOCAL,
    START_NS,
    FakeReader,
    board_columns,
    calibration,
    scene,
)


@pytest.mark.requirement("EXT-03", "EXT-05", "EXT-06", "EXT-07", "EXT-09", "EXT-10")
def test_a_recording_becomes_the_documented_folder(tmp_path: Path) -> None:
    registry = extract(tmp_path, FakeReader(count=2, source_names=("a", "b"), without_sensors=frozenset({1})))
    assert sorted(digests(tmp_path)) == [
        "calib.txt",
        "calibration.json",
        "depth/000000.npy",
        "depth/000001.npy",
        "frame_registry.json",
        "frames.parquet",
        "image_left/000000.png",
        "image_left/000001.png",
        "image_right/000000.png",
        "image_right/000001.png",
        "oxts/000000.txt",
        "sensors/000000.json",
        "velodyne/000000.bin",
        "velodyne/000001.bin",
    ]
    assert frame_registry.read(tmp_path / "frame_registry.json") == registry
    first, second = registry.frames
    assert (first.frame_id, first.svo2_frame_index, first.sequence_index, first.timestamp_ns) == ("drive:000000", 0, 0, START_NS)
    assert (first.source_name, second.source_name) == ("a", "b")
    assert (first.imu, second.imu, second.sensor_json) == ("oxts/000000.txt", None, None)
    assert (registry.total_frames, registry.extracted_frames, registry.failed_frames) == (2, 2, ())
    assert registry.lineage == {
        "dataset_id": "d1",
        "original_unix_timestamp": None,
        "camera_serial": 7,
        "use_enhanced_naming": False,
    }
    assert registry.config["depth_format"] == "npy"
    assert registry.config["stereo_matcher"]["matcher"] == "sgbm_3way"
    left, right = scene(1)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / str(second.image_left))), left)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / str(second.image_right))), right)
    assert read_calib(tmp_path / "calib.txt").camera(320, 192).baseline_m == pytest.approx(BASELINE)
    stored = json.loads((tmp_path / "calibration.json").read_text())
    assert stored["factory"]["source"] == "SN7.conf"
    assert stored["rectified"]["fx"] == FOCAL


@pytest.mark.requirement("EXT-03", "EXT-15")
def test_depth_and_cloud_of_a_frame_are_true(tmp_path: Path) -> None:
    registry = extract(tmp_path, FakeReader(count=1))
    frame = registry.frames[0]
    depth = np.load(tmp_path / str(frame.depth))
    assert depth.dtype == np.float32
    assert frame.valid_depth_ratio == np.isfinite(depth).mean() > 0.7
    board = depth[BOARD_ROWS, board_columns(0)]
    true_depth = FOCAL * BASELINE / BOARD
    assert np.nanmedian(board) == pytest.approx(true_depth, rel=0.02)
    cloud = np.fromfile(tmp_path / str(frame.point_cloud), np.float32).reshape(-1, 4)
    near = cloud[np.abs(cloud[:, 0] - true_depth) < 0.1]
    columns = board_columns(0)
    left_edge, right_edge = (-(u - 160) / FOCAL * true_depth for u in (columns.start, columns.stop))
    assert np.quantile(near[:, 1], [0.02, 0.98]) == pytest.approx([right_edge, left_edge], abs=0.06)
    assert np.quantile(near[:, 2], [0.02, 0.98]) == pytest.approx([-(140 - 96) / FOCAL * 1.5, (96 - 60) / FOCAL * 1.5], abs=0.06)


@pytest.mark.requirement("AV-17", "EXT-15")
@pytest.mark.parametrize("metres", [65.6, 80.0])
def test_far_depth_survives_in_every_file_and_sentinels_become_nan(tmp_path: Path, metres: float) -> None:
    matcher: StereoMatcher = ConstantMatcher(metres)
    registry = extract(tmp_path, FakeReader(count=1), matcher=matcher)
    depth = np.load(tmp_path / "depth/000000.npy")
    assert np.isnan(depth[0, :5]).all()
    assert (depth[1:] == np.float32(metres)).all()
    cloud = np.fromfile(tmp_path / "velodyne/000000.bin", np.float32).reshape(-1, 4)
    np.testing.assert_array_equal(cloud[:, 0], np.float32(metres))
    assert registry.frames[0].valid_depth_ratio == 1 - 5 / depth.size


@pytest.mark.requirement("EXT-16")
def test_without_a_calibration_images_stay_raw_and_there_is_no_depth(tmp_path: Path) -> None:
    registry = extract(tmp_path, FakeReader(count=1), calibration=None)
    assert not registry.rectified
    assert registry.camera is None
    assert registry.frames[0].depth is registry.frames[0].point_cloud is registry.frames[0].valid_depth_ratio is None
    assert registry.frames[0].image_left == "image_left/000000.png"
    assert {path.split("/")[0] for path in digests(tmp_path)} == {
        "frame_registry.json",
        "frames.parquet",
        "image_left",
        "image_right",
        "oxts",
        "sensors",
    }


def test_parts_can_be_left_out(tmp_path: Path) -> None:
    raw = extract(tmp_path / "raw", FakeReader(count=1), FrameSettings(rectify=False, sensors=False))
    assert not raw.rectified
    assert json.loads((tmp_path / "raw" / "calibration.json").read_text())["rectified"] is None
    assert not (tmp_path / "raw" / "oxts").exists()
    no_depth = extract(tmp_path / "images", FakeReader(count=1), FrameSettings(depth=False))
    assert no_depth.rectified
    assert no_depth.config["stereo_matcher"] is None
    assert no_depth.frames[0].depth is no_depth.frames[0].point_cloud is None
    no_cloud = extract(tmp_path / "depth", FakeReader(count=1), FrameSettings(point_cloud=False, stereo=STEREO))
    assert no_cloud.frames[0].depth is not None
    assert no_cloud.frames[0].point_cloud is None


@pytest.mark.requirement("CFG-08", "EXT-02")
def test_skipped_frames_leave_gaps_in_the_names_and_are_never_converted(tmp_path: Path) -> None:
    reader = FakeReader(count=10)
    registry = extract(tmp_path, reader, FrameSettings(frame_skip=3, start_frame=1, end_frame=9, depth=False))
    assert [frame.filename_base for frame in registry.frames] == ["000001", "000004", "000007"]
    assert [frame.sequence_index for frame in registry.frames] == [0, 1, 2]
    assert sorted(reader.converted) == reader.delivered == [1, 4, 7]
    assert (registry.total_frames, registry.extracted_frames) == (10, 3)
    assert (tmp_path / "oxts/000004.txt").is_file()


@pytest.mark.requirement("OPT-01")
def test_a_target_rate_thins_the_frames(tmp_path: Path) -> None:
    registry = extract(tmp_path, FakeReader(count=10), FrameSettings(target_fps=2.5, depth=False))
    assert [frame.svo2_frame_index for frame in registry.frames] == [0, 4, 8]


@pytest.mark.requirement("EXT-08")
def test_frames_that_fail_are_listed_with_their_reason_and_the_run_goes_on(tmp_path: Path) -> None:
    reader = FakeReader(count=8, bad=frozenset({2}), missing=frozenset({4}), wrong_size=frozenset({6}))
    registry = extract(tmp_path, reader, FrameSettings(max_bad_share=0.5, depth=False))
    reasons = {failed.index: failed.reason for failed in registry.failed_frames}
    assert reasons[2] == "no key frame before it"
    assert "not in the file" in reasons[4]
    assert "shape (191, 320, 3) instead of 320x192" in reasons[6]
    assert [frame.svo2_frame_index for frame in registry.frames] == [0, 1, 3, 5, 7]
    assert registry.extracted_frames == 5
    assert not (tmp_path / "image_left/000006.png").exists()


@pytest.mark.requirement("EXT-08")
def test_too_many_bad_frames_end_in_a_sentence(tmp_path: Path) -> None:
    reader = FakeReader(count=8, bad=frozenset({0, 1, 2}))
    with pytest.raises(InputError, match=r"drive\.svo2: 2 of 8 frames.*max_bad_share = 0\.2.*frame 0: no key frame before it"):
        extract(tmp_path, reader)
    assert max(reader.delivered) < 7
    with pytest.raises(InputError, match="none of 2 frames"):
        extract(tmp_path / "all", FakeReader(count=2, bad=frozenset({0, 1})), FrameSettings(max_bad_share=1))


def test_faults_of_the_machine_are_not_taken_for_bad_frames(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="the disk is gone"):
        extract(tmp_path, FakeReader(count=4, fail_at=2))


def test_a_calibration_of_another_size_is_refused_before_work(tmp_path: Path) -> None:
    reader = FakeReader(count=2)
    with pytest.raises(InputError, match=r"SN7\.conf is a calibration for 640x480, but the recording has 320x192"):
        extract(tmp_path, reader, calibration=calibration(640, 480))
    assert reader.delivered == []


@pytest.mark.requirement("EXT-04", "CFG-09")
def test_the_diversity_filter_lists_dropped_frames_without_files_and_renumbers_nothing(tmp_path: Path) -> None:
    reader = FakeReader(count=6, scenes=(0, 0, 1, 0, 2, 2), bad=frozenset({4}))
    registry = extract(tmp_path, reader, FrameSettings(enable_diversity_filter=True, stereo=STEREO))
    assert [frame.svo2_frame_index for frame in registry.frames] == [0, 1, 2, 3, 5]
    assert [frame.sequence_index for frame in registry.frames] == [0, 1, 2, 3, 4]
    assert [frame.selected for frame in registry.frames] == [True, False, True, False, True]
    assert str(registry.frames[1].drop_reason).startswith("still: motion 0.0000")
    assert str(registry.frames[3].drop_reason).startswith("repeated: similarity 1.0000 to drive:000000")
    assert registry.frames[3].image_left is None
    assert sorted(path.name for path in (tmp_path / "depth").iterdir()) == ["000000.npy", "000002.npy", "000005.npy"]
    assert sorted(path.name for path in (tmp_path / "image_left").iterdir()) == ["000000.png", "000002.png", "000005.png"]
    assert (registry.extracted_frames, registry.frames_removed_by_diversity) == (3, 2)


SMALL = {"width": 128, "height": 96}
MANY = CHECKPOINT_EVERY + 15


@pytest.mark.requirement("NFR-09", "AV-21")
@pytest.mark.parametrize("diverse", [False, True])
def test_a_killed_extraction_continues_from_its_checkpoint_with_the_same_bytes(tmp_path: Path, diverse: bool) -> None:
    settings = FrameSettings(stereo=StereoSettings(max_disparity=16), enable_diversity_filter=diverse, max_bad_share=0.5)
    scenes = tuple(number // 2 % 11 for number in range(MANY))
    options: dict[str, Any] = {"count": MANY, "scenes": scenes, "bad": frozenset({3, CHECKPOINT_EVERY}), **SMALL}
    undisturbed = extract(tmp_path / "undisturbed", FakeReader(**options), settings)
    with pytest.raises(OSError, match="the disk is gone"):
        extract(tmp_path / "killed", FakeReader(fail_at=MANY - 3, **options), settings)
    reader = FakeReader(**options)
    resumed = extract(tmp_path / "killed", reader, settings)
    assert resumed == undisturbed
    assert digests(tmp_path / "killed") == digests(tmp_path / "undisturbed")
    # Frame 25 was bad; everything before the checkpoint at 25 frames is not even decoded again.
    assert sorted(reader.converted) == list(range(CHECKPOINT_EVERY + 1, MANY))
    assert resumed.frames_removed_by_diversity == (0 if not diverse else sum(not frame.selected for frame in undisturbed.frames))
    assert diverse == (resumed.frames_removed_by_diversity > 0)


@pytest.mark.requirement("NFR-09")
@pytest.mark.parametrize("diverse", [False, True])
def test_the_number_of_workers_does_not_change_a_byte(tmp_path: Path, diverse: bool) -> None:
    settings = FrameSettings(stereo=StereoSettings(max_disparity=32), enable_diversity_filter=diverse)
    for workers in (1, 3):
        extract(tmp_path / str(workers), FakeReader(count=8, scenes=(0, 0, 1, 2, 3, 3, 1, 4)), settings, workers=workers)
    assert digests(tmp_path / "1") == digests(tmp_path / "3")


@pytest.mark.requirement("NFR-11")
@pytest.mark.parametrize(("diverse", "in_flight"), [(False, 4), (True, 8)])
def test_only_a_few_frames_are_in_memory_at_a_time(tmp_path: Path, diverse: bool, in_flight: int) -> None:
    reader = FakeReader(count=40, **SMALL)
    ahead = []
    extract(
        tmp_path,
        reader,
        FrameSettings(depth=False, enable_diversity_filter=diverse),
        progress=lambda done, _: ahead.append(len(reader.delivered) - done),
    )
    assert len(ahead) == 40
    assert max(ahead) <= in_flight


def test_progress_is_told_for_every_frame_and_opencv_gets_its_threads_back(tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    threads = []

    def progress(done: int, total: int | None) -> None:
        told.append((done, total))
        threads.append(cv2.getNumThreads())

    before = cv2.getNumThreads()
    cv2.setNumThreads(3)
    try:
        extract(tmp_path, FakeReader(count=3, bad=frozenset({1})), FrameSettings(depth=False, max_bad_share=0.5), progress=progress)
        assert cv2.getNumThreads() == 3
    finally:
        cv2.setNumThreads(before)
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert set(threads) == {1}


@pytest.mark.requirement("EXT-13")
def test_the_estimated_size_of_a_frame_is_near_that_of_real_frames(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "kitti_odometry_color_stereo"
    camera = read_calib(folder / "calib.txt").camera(1241, 376)
    eye = CameraModel(camera.fx, camera.fy, camera.cx, camera.cy)
    known = StereoCalibration(0, 1241, 376, eye, eye, (0, 0, 0), (-camera.baseline_m, 0, 0), "calib.txt")
    left, right = (np.asarray(cv2.imread(str(min((folder / name).glob("*.png")))), np.uint8) for name in ("image_2", "image_3"))
    settings = FrameSettings()
    writer = FrameWriter(
        tmp_path,
        recording="drive",
        svo2_file="drive.svo2",
        size=(1241, 376),
        source_names=(),
        settings=settings,
        rectifier=Rectifier(known),
        matcher=SgbmMatcher(settings.stereo),
    )
    assert isinstance(writer.write(Pair(0, 0, None, left, right)), frame_registry.FrameRecord)
    written = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    estimate = estimate_bytes_per_frame(1241, 376, settings)
    assert 0.75 < written / estimate < 1.25
    assert estimate_bytes_per_frame(1241, 376, settings, rectified=False) < 0.6 * estimate
