"""Reading, deriving, searching and writing SN<serial>.conf."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamm_pipeline.errors import InputError
from lamm_pipeline.geometry.camera import CameraModel, StereoCalibration
from lamm_pipeline.recordings.calibration import RESOLUTION_NAMES, find_calibration, read_conf, write_conf

STEREO = """
[STEREO]
Baseline=119.998
TY=-0.194
TZ=0.175
CV_HD=0.0012
RX_HD=-0.0034
RZ_HD=0.00056
CV_FHD1200=0.002
RX_FHD1200=0.003
RZ_FHD1200=0.004
CV_2K=0.005
RX_2K=0.006
RZ_2K=0.007
"""
HD = """[LEFT_CAM_HD]
fx=531.2
fy=531.3
cx=639.9
cy=366.5
k1=-0.05
k2=0.03
p1=0.001
p2=0.002
k3=-0.01
[RIGHT_CAM_HD]
fx=532.9
fy=533.0
cx=635.1
cy=358.6
k3=-0.04
k1=-0.06
k2=0.02
"""


def save(folder: Path, text: str, name: str = "SN12345.conf") -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.requirement("EXT-16")
def test_the_classic_file_gives_intrinsics_distortion_and_pose_in_the_vendors_convention(tmp_path: Path) -> None:
    calibration = read_conf(save(tmp_path, HD + STEREO), 1280, 720)
    assert calibration.serial == 12345
    assert calibration.left == CameraModel(531.2, 531.3, 639.9, 366.5, (-0.05, 0.03, 0.001, 0.002, -0.01), "pinhole")
    assert calibration.right.distortion == (-0.06, 0.02, 0.0, 0.0, -0.04)
    np.testing.assert_allclose(calibration.translation_m, (-0.119998, -0.000194, 0.000175))
    assert calibration.rotation_vector == (-0.0034, 0.0012, 0.00056)
    # A point straight ahead appears further left in the right image: the sign that the vendor's C++ samples get wrong.
    rotation = cv2.Rodrigues(np.array(calibration.rotation_vector).reshape(3, 1))[0]
    assert (rotation @ [0, 0, 10] + calibration.translation_m)[0] < 0


def test_sections_keys_spaces_comments_and_byte_order_mark_do_not_matter(tmp_path: Path) -> None:
    text = "\ufeff# made by hand\n" + (HD + STEREO).replace("=", "  =  ").replace("[LEFT_CAM_HD]", "[left_cam_hd]").replace("fx", "FX")
    path = tmp_path / "SN12345.conf"
    path.write_text(text, encoding="utf-8")
    assert read_conf(path, 1280, 720) == read_conf(save(tmp_path, HD + STEREO), 1280, 720)


def test_a_separate_distortion_section_is_the_rational_model(tmp_path: Path) -> None:
    disto = "".join(f"[{side}_DISTO]\nk1=1\nk2=2\nk3=5\nk4=6\nk5=7\nk6=8\np1=3\np2=4\n" for side in ("LEFT", "RIGHT"))
    calibration = read_conf(save(tmp_path, HD + disto + STEREO), 1280, 720)
    assert calibration.left.distortion == (1, 2, 3, 4, 5, 6, 7, 8)
    assert calibration.left.lens == "pinhole"


def test_a_distortion_section_of_k1_to_k4_alone_is_a_fisheye_lens(tmp_path: Path) -> None:
    disto = "".join(f"[{side}_DISTO]\nk1=0.1\nk2=0.2\nk3=0.3\nk4=0.4\n" for side in ("LEFT", "RIGHT"))
    calibration = read_conf(save(tmp_path, HD + disto + STEREO), 1280, 720)
    assert calibration.right == CameraModel(532.9, 533.0, 635.1, 358.6, (0.1, 0.2, 0.3, 0.4), "fisheye")


def test_ty_and_tz_may_be_given_per_resolution(tmp_path: Path) -> None:
    text = HD + STEREO.replace("TY=", "TY_HD=").replace("TZ=", "TZ_HD=")
    np.testing.assert_allclose(read_conf(save(tmp_path, text), 1280, 720).translation_m[1:], (-0.000194, 0.000175))


def test_sizes_of_the_zed_x_family_are_derived_from_1200_rows(tmp_path: Path) -> None:
    path = save(tmp_path, HD.replace("_HD", "_FHD1200") + STEREO)
    full = read_conf(path, 1920, 1200)
    cropped = read_conf(path, 1920, 1080)
    halved = read_conf(path, 960, 600)
    assert (cropped.left.fx, cropped.left.cx, cropped.left.cy) == (full.left.fx, full.left.cx, full.left.cy - 60)
    assert (halved.right.fx, halved.right.cy) == (full.right.fx / 2, full.right.cy / 2)
    assert cropped.rotation_vector == halved.rotation_vector == (0.003, 0.002, 0.004)
    assert "derived from FHD1200" in halved.source


def test_hd_of_a_usb_camera_is_derived_from_2k_only_on_request(tmp_path: Path) -> None:
    path = save(tmp_path, HD.replace("_HD", "_2K") + STEREO)
    with pytest.raises(InputError, match=r"no calibration for 1280x720.*it has 2K.*allow deriving"):
        read_conf(path, 1280, 720)
    derived = read_conf(path, 1280, 720, derive_usb_hd=True)
    assert derived.left.fx == 531.2 / 2
    assert derived.left.cx == pytest.approx((639.9 - 1104) / 2 + 640)
    assert derived.rotation_vector == (0.006, 0.005, 0.007)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<!DOCTYPE html><html>not found</html>", "holds a web page"),
        ("hello", "not a calibration file"),
        ("[GENERAL]\na=1\n", "no section LEFT_CAM"),
        (HD.replace("fy=533.0\n", "") + STEREO, r"no fy in \[RIGHT_CAM_HD\]"),
        (HD.partition("[RIGHT")[0] + STEREO, "no section RIGHT_CAM_HD"),
        (HD, r"no baseline in \[STEREO\]"),
        (HD + STEREO.replace("RX_HD=-0.0034\n", ""), r"no rx_hd in \[STEREO\]"),
        (HD.replace("531.2", "nan") + STEREO, "fx = 'nan'"),
        (HD.replace("531.2", "1e999") + STEREO, "not a finite number"),
        (HD.replace("531.2", "5 31") + STEREO, "fx = '5 31'"),
        (HD.replace("531.2", "-531.2") + STEREO, "focal lengths must be positive"),
        (HD + STEREO.replace("119.998", "-119.998"), "Baseline = -119.998"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_a_sentence_that_names_it(tmp_path: Path, text: str, message: str) -> None:
    path = save(tmp_path, text)
    with pytest.raises(InputError, match=message) as caught:
        read_conf(path, 1280, 720)
    assert str(path) in str(caught.value)


@pytest.mark.requirement("EXT-16")
def test_the_search_goes_from_the_explicit_file_over_the_neighbour_to_the_folders(tmp_path: Path) -> None:
    places = [tmp_path / name for name in ("explicit", "beside", "folder", "sdk")]
    for number, place in enumerate(places):
        place.mkdir()
        save(place, HD.replace("531.2", f"{500 + number}") + STEREO)
    explicit = places[0] / "SN12345.conf"
    for number, place in enumerate(places):
        found = find_calibration(
            tmp_path / "beside" / "a.svo2",
            12345,
            1280,
            720,
            explicit=explicit if explicit.exists() else None,
            folder=places[2],
            sdk_folders=[places[3]],
        )
        assert found is not None
        assert found.left.fx == 500 + number
        (place / "SN12345.conf").unlink()
    assert find_calibration(tmp_path / "beside" / "a.svo2", 12345, 1280, 720, folder=places[2], sdk_folders=[places[3]]) is None


@pytest.mark.requirement("EXT-16")
def test_an_explicit_file_must_exist_and_belong_to_the_camera(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.conf does not exist"):
        find_calibration(tmp_path / "a.svo2", 1, 1280, 720, explicit=tmp_path / "absent.conf")
    with pytest.raises(InputError, match=r"calibration of camera 12345, but a\.svo2 was recorded by camera 1"):
        find_calibration(tmp_path / "a.svo2", 1, 1280, 720, explicit=save(tmp_path, HD + STEREO))
    unnamed = save(tmp_path, HD + STEREO, "mine.conf")
    found = find_calibration(tmp_path / "a.svo2", 1, 1280, 720, explicit=unnamed)
    assert found is not None
    assert found.serial == 1


def numbers(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False, allow_subnormal=False)


@st.composite
def eyes(draw: st.DrawFn) -> CameraModel:
    lens, count = draw(st.sampled_from([("pinhole", 5), ("pinhole", 8), ("fisheye", 4)]))
    intrinsics = [draw(numbers(10, 5000)) for _ in range(4)]
    return CameraModel(*intrinsics, tuple(draw(numbers(-1, 1)) for _ in range(count)), lens)  # type: ignore[arg-type]


@given(
    left=eyes(),
    right=eyes(),
    size=st.sampled_from([*RESOLUTION_NAMES, (1242, 375), (640, 480)]),
    rotation=st.tuples(*(numbers(-0.1, 0.1),) * 3),
    shift=st.tuples(numbers(-2, -0.01), numbers(-0.01, 0.01), numbers(-0.01, 0.01)),
    serial=st.integers(0, 2**31),
)
def test_what_is_written_reads_back_the_same(
    tmp_path_factory: pytest.TempPathFactory,
    left: CameraModel,
    right: CameraModel,
    size: tuple[int, int],
    rotation: tuple[float, float, float],
    shift: tuple[float, float, float],
    serial: int,
) -> None:
    path = tmp_path_factory.getbasetemp() / "roundtrip.conf"
    written = StereoCalibration(serial, *size, left, right, rotation, shift, "test")
    write_conf(path, written)
    read = read_conf(path, *size)
    assert (read.left, read.right, read.rotation_vector, read.serial) == (left, right, rotation, serial)
    np.testing.assert_allclose(read.translation_m, shift, rtol=1e-14, atol=1e-18)


def test_a_right_eye_on_the_left_is_not_written(tmp_path: Path) -> None:
    eye = CameraModel(500, 500, 320, 240)
    with pytest.raises(InputError, match="swap the eyes"):
        write_conf(tmp_path / "a.conf", StereoCalibration(1, 640, 480, eye, eye, (0, 0, 0), (0.12, 0, 0), "test"))
