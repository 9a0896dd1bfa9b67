"""KITTI calibration files."""

from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest

from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction.calib_txt import read_calib, write_calib
from lamm_pipeline.extraction.point_cloud import camera_to_velodyne
from lamm_pipeline.geometry.camera import RectifiedCamera

CAMERA = RectifiedCamera(1280, 720, 530.25, 531.5, 640.125, 360.5, 0.12)


@pytest.mark.requirement("EXT-09")
def test_the_file_projects_cloud_points_into_the_images(tmp_path: Path) -> None:
    """Read as KITTI tools do: plain text, `P2 R0_rect Tr_velo_to_cam x`."""
    write_calib(tmp_path / "calib.txt", CAMERA)
    rows = dict(line.split(": ") for line in (tmp_path / "calib.txt").read_text().splitlines())
    assert list(rows) == ["P0", "P1", "P2", "P3", "R0_rect", "Tr_velo_to_cam", "Tr_imu_to_velo"]
    matrices = {name: np.array(text.split(), float).reshape(3, -1) for name, text in rows.items()}
    point_camera = np.array([1.5, -0.5, 12.0])
    point_velodyne = camera_to_velodyne(point_camera[None])[0]
    in_camera = matrices["R0_rect"] @ matrices["Tr_velo_to_cam"] @ [*point_velodyne, 1]
    np.testing.assert_allclose(in_camera, point_camera)
    left, right = (matrices[name] @ [*in_camera, 1] for name in ("P2", "P3"))
    u, v = left[:2] / left[2]
    assert (u, v) == pytest.approx((1.5 / 12 * 530.25 + 640.125, -0.5 / 12 * 531.5 + 360.5))
    assert u - right[0] / right[2] == pytest.approx(530.25 * 0.12 / 12)
    np.testing.assert_array_equal(matrices["P0"], matrices["P2"])
    np.testing.assert_array_equal(matrices["P1"], matrices["P3"])
    assert matrices["P3"][0, 3] == pytest.approx(-530.25 * 0.12)


@pytest.mark.requirement("EXT-09")
def test_what_is_written_reads_back(tmp_path: Path) -> None:
    write_calib(tmp_path / "calib.txt", CAMERA)
    calibration = read_calib(tmp_path / "calib.txt")
    assert astuple(calibration.camera(1280, 720)) == pytest.approx(astuple(CAMERA), rel=1e-12)
    assert calibration.rectification is not None
    np.testing.assert_array_equal(calibration.rectification, np.eye(3))


@pytest.mark.parametrize(
    ("file", "pair", "focal", "baseline"),
    [
        ("kitti_raw_0039_stereo/calib.txt", ("P0", "P1"), 721.5377, 0.53715),
        ("kitti_raw_0039_stereo/calib.txt", None, 721.5377, 0.53273),  # the colour pair
        ("kitti_odometry_gray_stereo_poses/calib.txt", None, 718.856, 0.53716),  # two bare lines
        ("kitti_odometry_color_stereo/calib.txt", None, 718.856, 0.53234),
        ("kitti_object/calib/000001.txt", None, 721.5377, 0.53273),
        ("kitti_tracking/calib/0000.txt", None, 721.5377, 0.53273),
    ],
)
def test_real_kitti_files_of_every_kind_are_read(
    shared_data: Path, file: str, pair: tuple[str, str] | None, focal: float, baseline: float
) -> None:
    camera = read_calib(shared_data / file).camera(1242, 375, pair)
    assert camera.fx == pytest.approx(focal)
    assert camera.baseline_m == pytest.approx(baseline, abs=2e-4)


@pytest.mark.parametrize("text", ["P0: 1 2 3\n", "P0: a b c d e f g h i j k l\n", "R0_rect: 1 0 0 0 1 0 0 0 1\n", ""])
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "calib.txt").write_text(text)
    with pytest.raises(InputError, match=r"calib\.txt"):
        read_calib(tmp_path / "calib.txt")


def test_a_pair_that_is_not_there_or_not_rectified_is_refused(tmp_path: Path) -> None:
    write_calib(tmp_path / "calib.txt", CAMERA)
    calibration = read_calib(tmp_path / "calib.txt")
    with pytest.raises(InputError, match="no pair P2, P9"):
        calibration.camera(1280, 720, ("P2", "P9"))
    with pytest.raises(InputError, match="no rectified pair"):
        calibration.camera(1280, 720, ("P3", "P2"))
