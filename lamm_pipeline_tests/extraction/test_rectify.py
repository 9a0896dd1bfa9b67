"""Rectification against published results and against geometry."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction.calib_txt import read_calib
from lamm_pipeline.extraction.rectify import Rectifier
from lamm_pipeline.geometry.camera import CameraModel, RectifiedCamera, StereoCalibration
from lamm_pipeline.recordings.calibration import read_conf, write_conf
from lamm_pipeline_tests.extraction.fake_reader import calibration, scene

Image = NDArray[np.uint8]


def kitti_calibration(path: Path) -> StereoCalibration:
    """Cameras 0 and 1 before rectification; the file gives each pose relative to camera 0."""
    rows = dict(line.split(":", 1) for line in path.read_text().splitlines())

    def matrix(name: str, *shape: int) -> NDArray[np.float64]:
        return np.array([float(word) for word in rows[name].split()]).reshape(shape or -1)

    eyes = []
    for camera in ("00", "01"):
        k = matrix(f"K_{camera}", 3, 3)
        eyes.append(CameraModel(k[0, 0], k[1, 1], k[0, 2], k[1, 2], tuple(matrix(f"D_{camera}"))))
    rotation = matrix("R_01", 3, 3) @ matrix("R_00", 3, 3).T
    translation = matrix("T_01") - rotation @ matrix("T_00")
    vector = cv2.Rodrigues(rotation)[0].ravel()
    width, height = (int(value) for value in matrix("S_00"))
    return StereoCalibration(0, width, height, eyes[0], eyes[1], tuple(vector), tuple(translation), str(path))


def matches(first: Image, second: Image) -> NDArray[np.float64]:
    """`(N, 4)`: x, y in the first and x, y in the second image of distinctive features."""
    sift = cv2.SIFT_create(3000)
    (points_a, features_a), (points_b, features_b) = (sift.detectAndCompute(image, None) for image in (first, second))
    pairs = cv2.BFMatcher(cv2.NORM_L2).knnMatch(features_a, features_b, k=2)
    return np.array([(*points_a[a.queryIdx].pt, *points_b[a.trainIdx].pt) for a, b in pairs if a.distance < 0.7 * b.distance])


def read_pair(folder: Path, left: str, right: str, name: str) -> tuple[Image, Image]:
    return tuple(cv2.imread(str(folder / eye / name)) for eye in (left, right))  # type: ignore[return-value]


@pytest.mark.requirement("EXT-09")
@pytest.mark.parametrize("name", ["000281.png", "000291.png"])
def test_matches_of_a_real_raw_pair_fall_on_the_same_row(shared_data: Path, tmp_path: Path, name: str) -> None:
    folder = shared_data / "kitti_raw_0039_unrectified"
    raw = kitti_calibration(folder / "calib_cam_to_cam.txt")
    write_conf(tmp_path / "SN0.conf", raw)  # through the file, so that the whole path is shown
    rectifier = Rectifier(read_conf(tmp_path / "SN0.conf", raw.width, raw.height))
    left, right = read_pair(folder, "image_00", "image_01", name)
    before, after = matches(left, right), matches(*rectifier.rectify(left, right))
    assert np.median(np.abs(before[:, 1] - before[:, 3])) > 5
    assert np.median(np.abs(after[:, 1] - after[:, 3])) < 0.5
    assert len(after) > 500


def test_ranges_from_our_rectification_agree_with_the_published_one(shared_data: Path) -> None:
    """Raw frame 291 is the published rectified frame 286; focal length and view differ, the distance to a feature must not."""
    raw_folder, published_folder = shared_data / "kitti_raw_0039_unrectified", shared_data / "kitti_raw_0039_stereo"
    rectifier = Rectifier(kitti_calibration(raw_folder / "calib_cam_to_cam.txt"))
    ours = rectifier.rectify(*read_pair(raw_folder, "image_00", "image_01", "000291.png"))
    published = read_pair(published_folder, "image_0", "image_1", "000286.png")
    published_camera = read_calib(published_folder / "calib.txt").camera(1242, 375, ("P0", "P1"))
    assert rectifier.camera.baseline_m == pytest.approx(published_camera.baseline_m, rel=1e-3)

    def ranges(pair: tuple[Image, Image], camera: RectifiedCamera) -> dict[tuple[float, float], float]:
        found = {}
        for x, y, x_right, y_right in matches(*pair):
            if x - x_right > 15 and abs(y - y_right) < 1.5:
                z = camera.fx * camera.baseline_m / (x - x_right)
                ray = np.array([(x - camera.cx) / camera.fx, (y - camera.cy) / camera.fy, 1.0])
                found[(round(x, 2), round(y, 2))] = float(z * np.linalg.norm(ray))
        return found

    ours_at, published_at = ranges(ours, rectifier.camera), ranges(published, published_camera)
    ratios = [
        ours_at[a] / published_at[b]
        for x, y, u, v in matches(ours[0], published[0])
        if (a := (round(x, 2), round(y, 2))) in ours_at and (b := (round(u, 2), round(v, 2))) in published_at
    ]
    assert len(ratios) > 200
    assert np.median(ratios) == pytest.approx(1.0, abs=0.003)
    assert np.median(np.abs(np.array(ratios) - 1)) < 0.01


@pytest.mark.parametrize("lens", ["pinhole", "fisheye"])
def test_known_points_land_where_the_rectified_camera_says(lens: str) -> None:
    """Points drawn into distorted, tilted eyes appear in the rectified images on one row, at the disparity of their depth."""
    coefficients = (-0.05, 0.02, 0.001, -0.001, 0.0) if lens == "pinhole" else (0.02, -0.01, 0.003, 0.0)
    eyes = [CameraModel(400.0, 402.0, 330.0 + dx, 238.0, coefficients, lens) for dx in (0, -9)]  # type: ignore[arg-type]
    raw = StereoCalibration(1, 640, 480, eyes[0], eyes[1], (0.01, -0.008, 0.012), (-0.12, 0.002, -0.001), "test")
    rectifier = Rectifier(raw)
    points = np.array([[x, y, z] for x, y, z in [(-0.6, -0.4, 2.0), (0.5, 0.3, 3.0), (0.1, -0.2, 1.5), (-1.0, 0.6, 4.0)]])
    rotation = cv2.Rodrigues(np.array(raw.rotation_vector).reshape(3, 1))[0]
    images = []
    for eye, turn, shift in ((raw.left, np.eye(3), np.zeros(3)), (raw.right, rotation, np.array(raw.translation_m))):
        project = cv2.fisheye.projectPoints if lens == "fisheye" else cv2.projectPoints
        seen = np.asarray((turn @ points.T).T + shift).reshape(-1, 1, 3)
        zero, distortion = np.zeros((3, 1)), np.array(eye.distortion).reshape(-1, 1)
        pixels = project(seen, zero, zero, eye.matrix, distortion)[0]
        image = np.zeros((480, 640), np.float32)
        v, u = np.mgrid[0:480, 0:640]
        for x, y in pixels.reshape(-1, 2):
            image += 250 * np.exp(-((u - x) ** 2 + (v - y) ** 2) / 8)
        images.append(np.clip(image, 0, 255).astype(np.uint8))
    spots = [centroids(image) for image in rectifier.rectify(*images)]
    camera = rectifier.camera
    assert [len(found) for found in spots] == [4, 4]
    for left, right in zip(*spots, strict=True):
        assert left[1] == pytest.approx(right[1], abs=0.15)
    depths = sorted(camera.fx * camera.baseline_m / (left[0] - right[0]) for left, right in zip(*spots, strict=True))
    assert depths == pytest.approx([1.5, 2.0, 3.0, 4.0], rel=0.03)
    assert camera.baseline_m == pytest.approx(np.linalg.norm(raw.translation_m))


def centroids(image: Image) -> list[tuple[float, float]]:
    """Centres of the bright spots, in the order of their rows."""
    count, labels = cv2.connectedComponents((image > 40).astype(np.uint8))
    found = []
    for label in range(1, count):
        v, u = np.nonzero(labels == label)
        weights = image[v, u].astype(float)
        found.append((float(np.average(u, weights=weights)), float(np.average(v, weights=weights))))
    return sorted(found, key=lambda spot: spot[1])


def test_rectified_images_pass_untouched_and_the_camera_stays() -> None:
    left, right = scene(1)
    rectifier = Rectifier(calibration())
    new_left, new_right = rectifier.rectify(left, right)
    assert rectifier.is_identity
    assert np.array_equal(new_left, left)
    assert np.array_equal(new_right, right)
    assert rectifier.camera == RectifiedCamera(320, 192, 200.0, 200.0, 160.0, 96.0, 0.12)


@pytest.mark.parametrize(
    "change",
    [
        {"rotation_vector": (0.0, 1e-4, 0.0)},
        {"translation_m": (-0.12, 1e-4, 0.0)},
        {"right": CameraModel(200.0, 200.0, 161.0, 96.0)},
        {"left": CameraModel(200.0, 200.0, 160.0, 96.0, (0.001, 0.0, 0.0, 0.0, 0.0))},
    ],
)
def test_any_difference_between_the_eyes_is_rectified(change: dict[str, object]) -> None:
    assert not Rectifier(replace(calibration(), **change)).is_identity  # type: ignore[arg-type]


def test_images_of_another_size_and_mixed_lenses_are_refused() -> None:
    with pytest.raises(InputError, match="does not fit the calibration for 320x192"):
        Rectifier(calibration()).rectify(np.zeros((100, 320, 3), np.uint8), np.zeros((192, 320, 3), np.uint8))
    fisheye = CameraModel(200.0, 200.0, 160.0, 96.0, (0.0, 0.0, 0.0, 0.0), "fisheye")
    with pytest.raises(InputError, match="fisheye lens"):
        Rectifier(replace(calibration(), right=fisheye))


@pytest.mark.parametrize("baseline_m", [0.0, -0.12, float("nan")])
def test_a_rectified_pair_without_a_right_eye_to_the_right_is_refused(baseline_m: float) -> None:
    with pytest.raises(InputError, match="leads to no usable rectification"):
        Rectifier(replace(calibration(), translation_m=(-baseline_m, 0.0, 0.0)))
