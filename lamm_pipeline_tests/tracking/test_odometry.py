"""The camera's motion from images, against KITTI's poses."""

import cv2
import numpy as np
import pytest

from lamm_pipeline.extraction.settings import FrameSettings
from lamm_pipeline.extraction.stereo import SgbmMatcher
from lamm_pipeline.geometry.camera import RectifiedCamera
from lamm_pipeline.tracking.odometry import camera_motion


@pytest.fixture(scope="module")
def drive(shared_data):
    """Left images, depth maps, true poses and camera of six frames of a car in a bend at 36 km/h."""
    folder = shared_data / "kitti_odometry_gray_stereo_poses"
    pairs = zip(sorted((folder / "image_l").iterdir()), sorted((folder / "image_r").iterdir()), strict=True)
    left, right = zip(*((cv2.imread(str(a)), cv2.imread(str(b))) for a, b in pairs), strict=True)
    height, width = left[0].shape[:2]
    camera = RectifiedCamera(width, height, 718.856, 718.856, 607.1928, 185.2157, 386.1448 / 718.856)
    matcher = SgbmMatcher(FrameSettings().stereo)
    depth = [matcher.depth(a, b, camera) for a, b in zip(left, right, strict=True)]
    poses = [np.vstack([row.reshape(3, 4), [0.0, 0.0, 0.0, 1.0]]) for row in np.loadtxt(folder / "poses.txt")[: len(left)]]
    return [cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) for image in left], depth, poses, camera


@pytest.mark.requirement("TRK-02")
def test_the_motion_of_a_real_drive_is_near_the_true_one(drive):
    images, depth, poses, camera = drive
    for n in range(1, len(images)):
        motion = camera_motion(images[n - 1], depth[n - 1], images[n], camera)
        assert motion is not None
        error = np.linalg.inv(motion.matrix) @ np.linalg.inv(poses[n - 1]) @ poses[n]
        assert np.degrees(np.linalg.norm(cv2.Rodrigues(error[:3, :3])[0])) < 0.15  # it turns by 2.5 degrees a frame
        assert np.linalg.norm(error[:3, 3]) < 0.2  # and goes 1 m; little of the scene is near enough to tell


@pytest.mark.requirement("TRK-02")
def test_the_same_images_give_the_same_motion_to_the_bit(drive):
    images, depth, _, camera = drive
    first, again = (camera_motion(images[0], depth[0], images[1], camera) for _ in range(2))
    assert first.matrix.tobytes() == again.matrix.tobytes()


@pytest.mark.requirement("TRK-02")
def test_images_without_features_or_depth_tell_no_motion(drive):
    images, depth, _, camera = drive
    blank = np.full_like(images[0], 90)
    assert camera_motion(blank, depth[0], blank, camera) is None
    assert camera_motion(images[0], np.full_like(depth[0], np.nan), images[1], camera) is None
    assert camera_motion(images[0], depth[0], blank, camera) is None
