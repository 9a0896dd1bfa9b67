"""The camera's motion from images, against KITTI's poses and the sample's."""

from itertools import pairwise

import cv2
import numpy as np
import pytest

from lamm_pipeline.extraction.rectify import Rectifier
from lamm_pipeline.extraction.settings import FrameSettings
from lamm_pipeline.extraction.stereo import SgbmMatcher
from lamm_pipeline.geometry.camera import RectifiedCamera
from lamm_pipeline.recordings.calibration import read_conf
from lamm_pipeline.recordings.svo2_reader import open_svo2
from lamm_pipeline.sample.render import render_sample
from lamm_pipeline.sample.settings import SampleSettings
from lamm_pipeline.tracking.odometry import camera_motion, sight_of

MATCHER = SgbmMatcher(FrameSettings().stereo)


def poses_of(path):
    return [np.vstack([row.reshape(3, 4), [0.0, 0.0, 0.0, 1.0]]) for row in np.loadtxt(path)]


def error_of(motion, earlier_pose, later_pose):
    """Metres and degrees."""
    error = np.linalg.inv(motion.matrix) @ np.linalg.inv(earlier_pose) @ later_pose
    return np.linalg.norm(error[:3, 3]), np.degrees(np.linalg.norm(cv2.Rodrigues(error[:3, :3])[0]))


@pytest.fixture(scope="module")
def drive(shared_data):
    """Left images, depth maps, true poses and camera of six frames of a car in a bend at 36 km/h."""
    folder = shared_data / "kitti_odometry_gray_stereo_poses"
    pairs = zip(sorted((folder / "image_l").iterdir()), sorted((folder / "image_r").iterdir()), strict=True)
    left, right = zip(*([cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in pair] for pair in pairs), strict=True)
    height, width = left[0].shape
    camera = RectifiedCamera(width, height, 718.856, 718.856, 607.1928, 185.2157, 386.1448 / 718.856)
    depth = [MATCHER.depth(a, b, camera) for a, b in zip(left, right, strict=True)]
    return left, depth, poses_of(folder / "poses.txt"), camera


@pytest.mark.requirement("TRK-02")
def test_the_motion_of_a_real_drive_is_the_true_one_although_its_cameras_are_not_quite_aligned(drive):
    images, depth, poses, camera = drive
    sights = [sight_of(image, known, camera) for image, known in zip(images, depth, strict=True)]
    for n in range(1, len(images)):
        motion = camera_motion(sights[n - 1], sights[n], camera)
        metres, degrees = error_of(motion, poses[n - 1], poses[n])
        assert degrees < 0.1  # it turns by 2.5 degrees a frame
        assert metres < 0.02  # and goes 1 m
        assert abs(np.linalg.norm(motion.translation) / np.linalg.norm((np.linalg.inv(poses[n - 1]) @ poses[n])[:3, 3]) - 1.0) < 0.015
        assert 0.6 < motion.disparity_offset_px < 1.1  # without it translations would be 4 to 10 % too long


@pytest.mark.requirement("TRK-02")
def test_two_frames_apart_the_motion_of_a_real_drive_is_still_found(drive):
    images, depth, poses, camera = drive
    sights = [sight_of(image, known, camera) for image, known in zip(images, depth, strict=True)]
    for n in range(2, len(images)):
        metres, degrees = error_of(camera_motion(sights[n - 2], sights[n], camera), poses[n - 2], poses[n])
        assert degrees < 0.15
        assert metres < 0.05


@pytest.mark.requirement("TRK-02")
def test_the_motion_in_the_sample_is_the_true_one(tmp_path):
    made = render_sample(tmp_path / "sample.svo2", SampleSettings(frames=12, width=672, height=376))
    sights, truth = [], poses_of(made.truth / "poses.txt")
    with open_svo2(made.recording) as reader:
        rectifier = Rectifier(read_conf(made.calibration_file, reader.info.width, reader.info.height))
        for frame in reader.frames():
            left, right = rectifier.rectify(*frame.images())
            depth = MATCHER.depth(left, right, made.camera)
            sights.append(sight_of(cv2.cvtColor(left, cv2.COLOR_BGR2GRAY), depth, made.camera))
    motions = [camera_motion(earlier, later, made.camera) for earlier, later in pairwise(sights)]
    errors = np.array([error_of(motion, truth[n], truth[n + 1]) for n, motion in enumerate(motions)])
    assert np.median(errors, axis=0)[0] < 0.0005
    assert np.median(errors, axis=0)[1] < 0.005
    assert errors[:, 0].max() < 0.002
    assert errors[:, 1].max() < 0.02


@pytest.mark.requirement("TRK-02")
def test_the_same_images_give_the_same_motion_to_the_bit(drive):
    images, depth, _, camera = drive
    first, again = (camera_motion(sight_of(images[0], depth[0], camera), sight_of(images[1], None, camera), camera) for _ in range(2))
    assert first.matrix.tobytes() == again.matrix.tobytes()


@pytest.mark.requirement("TRK-02")
def test_images_without_features_or_depth_tell_no_motion(drive):
    images, depth, _, camera = drive
    seen, later = sight_of(images[0], depth[0], camera), sight_of(images[1], depth[1], camera)
    blank = sight_of(np.full_like(images[0], 90), depth[0], camera)
    assert camera_motion(seen, later, camera) is not None
    assert camera_motion(blank, later, camera) is None
    assert camera_motion(seen, blank, camera) is None
    assert camera_motion(sight_of(images[0], np.full_like(depth[0], np.nan), camera), later, camera) is None
    assert camera_motion(sight_of(images[0], None, camera), later, camera) is None
