import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction.calib_txt import read_calib
from lamm_pipeline.extraction.rectify import Rectifier
from lamm_pipeline.geometry.box_3d import Box3D
from lamm_pipeline.geometry.boxes_3d import transform
from lamm_pipeline.reconstruction import kitti_labels
from lamm_pipeline.recordings.calibration import find_calibration
from lamm_pipeline.recordings.reader import BadFrame
from lamm_pipeline.recordings.svo2_reader import open_svo2
from lamm_pipeline.sample.render import SampleResult, render_sample
from lamm_pipeline.sample.scene import ACTORS
from lamm_pipeline.sample.settings import SampleSettings
from lamm_pipeline_tests.sample.conftest import SMALL

TINY = SampleSettings(frames=4, width=320, height=180)


def left_images(path: Path) -> list[NDArray[np.uint8]]:
    with open_svo2(path) as reader:
        frames = list(reader.frames())
        assert not any(isinstance(frame, BadFrame) for frame in frames)
        return [frame.images()[0] for frame in frames if not isinstance(frame, BadFrame)]


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.requirement("NFR-08", "ING-10")
def test_the_recording_reads_back_complete_and_is_marked_as_synthetic(small_sample: SampleResult) -> None:
    with open_svo2(small_sample.recording) as reader:
        info = reader.info
        stamps = [sample.timestamp_ns for sample in reader.sensors()]
        frame_stamps = [sample.timestamp_ns for sample in reader.frame_sensors()]
    assert info.synthetic
    assert info.serial == small_sample.serial == 900_079
    assert (info.width, info.height, info.frame_count, info.nominal_fps) == (384, 216, SMALL.frames, 15.0)
    assert tuple(frame_stamps) == info.frame_timestamps_ns
    assert np.diff(info.frame_timestamps_ns) == pytest.approx(1e9 / 15, abs=1)
    assert np.diff(stamps).tolist() == [2_500_000] * (len(stamps) - 1)
    assert stamps[0] < frame_stamps[0] - 200_000_000
    assert len(left_images(small_sample.recording)) == SMALL.frames


def test_the_imu_of_the_file_is_at_rest_during_the_static_stretch(small_sample: SampleResult) -> None:
    with open_svo2(small_sample.recording) as reader:
        stamps = reader.info.frame_timestamps_ns
        start, stop = (stamps[SMALL.static_frames[n]] for n in (0, -1))
        still = [sample for sample in reader.sensors() if start <= sample.timestamp_ns <= stop]
    force = np.array([sample.linear_acceleration for sample in still])
    assert len(still) > 40
    assert force.mean(axis=0)[1] == pytest.approx(-9.81, abs=0.02)
    assert np.linalg.norm(np.mean([sample.angular_velocity for sample in still], axis=0)) < 0.001


def test_the_calibration_beside_the_file_leads_to_the_camera_of_the_truth(small_sample: SampleResult, truth: Path) -> None:
    calibration = find_calibration(small_sample.recording, small_sample.serial, SMALL.width, SMALL.height)
    assert calibration is not None
    camera = Rectifier(calibration).camera
    assert camera == small_sample.camera
    from_text = read_calib(truth / "calib.txt").camera(SMALL.width, SMALL.height)
    assert from_text.fx == pytest.approx(camera.fx)
    assert from_text.baseline_m == pytest.approx(camera.baseline_m)


def test_the_duplicate_stretch_repeats_one_picture_and_its_truth(small_sample: SampleResult, truth: Path) -> None:
    images = left_images(small_sample.recording)
    first, *repeats = SMALL.duplicate_frames
    usual = np.abs(images[first].astype(int) - images[first - 1]).mean()
    for repeat in repeats:
        assert np.abs(images[repeat].astype(int) - images[first]).mean() < usual / 3
        for name in ("depth/{:06d}.npy", "masks/{:06d}.png", "label_2/{:06d}.txt"):
            assert (truth / name.format(repeat)).read_bytes() == (truth / name.format(first)).read_bytes()
    last = SMALL.duplicate_frames[-1]
    assert (truth / f"depth/{last + 1:06d}.npy").read_bytes() != (truth / f"depth/{last:06d}.npy").read_bytes()


def test_in_the_static_stretch_only_the_noise_differs(small_sample: SampleResult, truth: Path) -> None:
    images = left_images(small_sample.recording)
    first, *others = SMALL.static_frames
    for frame in others:
        depths = [np.load(truth / "depth" / f"{n:06d}.npy") for n in (first, frame)]
        assert np.array_equal(depths[0], depths[1], equal_nan=True)
        difference = np.abs(images[frame].astype(int) - images[first])
        assert 0 < difference.mean() < 3


@pytest.mark.requirement("AV-18")
def test_labels_are_kitti_lines_without_score_for_every_frame(truth: Path) -> None:
    tracks = kitti_labels.read_tracking(truth / "tracks.txt")
    kinds: set[str] = set()
    for frame in range(SMALL.frames):
        lines = (truth / "label_2" / f"{frame:06d}.txt").read_text().splitlines()
        assert all(len(line.split()) == 15 for line in lines)
        objects = kitti_labels.read(truth / "label_2" / f"{frame:06d}.txt")
        assert [item.type for item in objects] == [item.type for item in tracks[frame]]
        kinds |= {item.type for item in objects}
        mask = cv2.imread(str(truth / "masks" / f"{frame:06d}.png"), cv2.IMREAD_UNCHANGED)
        for item in tracks[frame]:
            rows, columns = np.nonzero(mask == (item.track_id or 0) + 1)
            x1, y1, x2, y2 = item.box_xyxy
            assert x1 - 1 <= columns.min() <= columns.max() <= x2 + 1
            assert y1 - 1 <= rows.min() <= rows.max() <= y2 + 1
    assert kinds == {"Pedestrian", "Misc"}


def test_labels_poses_and_paths_in_the_world_agree(truth: Path) -> None:
    described = json.loads((truth / "objects.json").read_text())
    tracks = kitti_labels.read_tracking(truth / "tracks.txt")
    poses = np.loadtxt(truth / "poses.txt").reshape(-1, 3, 4)
    assert {each["class_id"] for each in described.values()} == {"person", "cat"}
    assert len(described) == len(ACTORS)
    for frame, objects in tracks.items():
        rotation, position = poses[frame, :, :3], poses[frame, :, 3]
        yaw = float(np.arctan2(rotation[0, 2], rotation[0, 0]))
        for item in objects:
            size, (x, y, z, heading) = described[str(item.track_id)]["size_m"], described[str(item.track_id)]["path_world"][frame]
            shift = -rotation.T @ position
            expected = transform(Box3D(x, y, z, **size, rotation_y=heading), -yaw, (shift[0], shift[1], shift[2]))
            got = item.box
            assert (got.x, got.y, got.z, got.rotation_y) == pytest.approx(
                (expected.x, expected.y, expected.z, expected.rotation_y), abs=2e-5
            )


@pytest.mark.requirement("NFR-09")
def test_the_same_settings_give_the_same_bytes_with_any_number_of_threads(tmp_path: Path) -> None:
    first = render_sample(tmp_path / "a" / "same.svo2", TINY, workers=1)
    second = render_sample(tmp_path / "b" / "same.svo2", TINY, workers=3)
    assert first.recording.read_bytes() == second.recording.read_bytes()
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_another_seed_gives_another_recording_of_the_same_scene(tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    one = render_sample(tmp_path / "one.svo2", TINY, progress=lambda done, total: told.append((done, total)))
    other = render_sample(tmp_path / "other.svo2", TINY.model_copy(update={"seed": 8}))
    assert told == [(n, 4) for n in range(1, 5)]
    assert one.serial != other.serial
    assert one.recording.read_bytes() != other.recording.read_bytes()
    assert (one.truth / "tracks.txt").read_bytes() == (other.truth / "tracks.txt").read_bytes()


def test_a_sample_replaces_an_earlier_one_but_no_foreign_folder(tmp_path: Path) -> None:
    first = render_sample(tmp_path / "s.svo2", TINY)
    fewer = render_sample(tmp_path / "s.svo2", TINY.model_copy(update={"frames": 2}))
    assert len(list((fewer.truth / "depth").iterdir())) == 2
    shutil.rmtree(first.truth)
    first.truth.mkdir()
    (first.truth / "mine.txt").write_text("not a sample")
    with pytest.raises(InputError, match="not the truth of a sample"):
        render_sample(tmp_path / "s.svo2", TINY)
    assert (first.truth / "mine.txt").is_file()


def test_a_path_that_is_no_svo2_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="svo2"):
        render_sample(tmp_path / "sample.mp4", TINY)
