import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from lamm_pipeline.errors import InputError
from lamm_pipeline.geometry.camera import CameraModel, StereoCalibration
from lamm_pipeline.recordings.calibration import find_calibration
from lamm_pipeline.recordings.image_times import read_times
from lamm_pipeline.recordings.pack import pack
from lamm_pipeline.recordings.svo2_reader import open_svo2
from lamm_pipeline_tests.recordings.svo2_files import sample, stereo_pair

KITTI = "kitti_raw_0039_stereo"


def calibration(width: int, height: int, serial: int = 900001) -> StereoCalibration:
    eye = CameraModel(700.0, 701.0, width / 2, height / 2)
    return StereoCalibration(serial, width, height, eye, eye, (0.0, 0.0, 0.0), (-0.12, 0.0, 0.0), "test")


def write_images(folder: Path, width: int = 99, height: int = 61, *, grey: bool = False) -> Path:
    for side, eye in (("left", 0), ("right", 1)):
        (folder / side).mkdir(parents=True)
        for number, stem in enumerate(("000005", "000007", "000008")):
            image = stereo_pair(number, width, height)[eye]
            cv2.imwrite(str(folder / side / f"{stem}.png"), image[:, :, 0] if grey else image)
    return folder


def pack_folder(folder: Path, out: Path, size: tuple[int, int] = (99, 61), **options):
    return pack(folder / "left", folder / "right", calibration(*size), out, **({"fps": 10.0} | options))


@pytest.mark.parametrize(("size", "padded"), [((99, 61), (1, 1)), ((98, 60), (0, 0)), ((98, 61), (0, 1))])
@pytest.mark.parametrize("codec", ["h264", "jpeg"])
def test_images_of_any_size_come_back_at_that_size(tmp_path: Path, size, padded, codec) -> None:
    result = pack_folder(write_images(tmp_path / "in", *size), tmp_path / "out.svo2", size, codec=codec)
    assert (result.frames, (result.width, result.height), result.padded) == (3, size, padded)
    with open_svo2(result.recording) as reader:
        assert (reader.info.width, reader.info.height, reader.info.serial) == (*size, 900001)
        for number, frame in enumerate(reader.frames()):
            for image, original in zip(frame.images(), stereo_pair(number, *size), strict=True):
                assert image.shape == original.shape
                assert np.abs(image.astype(int) - original).mean() < 2.5


def test_frames_map_back_to_their_images_and_are_marked_as_packed(tmp_path: Path) -> None:
    result = pack_folder(write_images(tmp_path / "in"), tmp_path / "out.svo2")
    with open_svo2(result.recording) as reader:
        assert reader.info.source_names == result.source_names == ("000005", "000007", "000008")
        assert reader.index.metadata["origin"] == "packed"
        assert (reader.info.synthetic, reader.info.model) == (False, "unknown")


def test_no_imu_data_is_made_up(tmp_path: Path) -> None:
    result = pack_folder(write_images(tmp_path / "in"), tmp_path / "out.svo2")
    with open_svo2(result.recording) as reader:
        assert {"Camera_SN900001/sensors", "Camera_SN900001/integrated_sensors"} <= set(reader.index.topics.values())
        assert list(reader.sensors()) == list(reader.frame_sensors()) == []


def test_given_imu_data_is_kept(tmp_path: Path) -> None:
    samples = [sample(n * 10_000_000 + 1) for n in range(25)]
    result = pack_folder(write_images(tmp_path / "in"), tmp_path / "out.svo2", sensors=samples)
    with open_svo2(result.recording) as reader:
        assert [s.timestamp_ns for s in reader.sensors()] == [s.timestamp_ns for s in samples]
        assert [s.timestamp_ns for s in reader.frame_sensors()] == [100_000_000, 200_000_000]


def test_calibration_lies_beside_the_recording_where_it_is_found(tmp_path: Path) -> None:
    result = pack_folder(write_images(tmp_path / "in"), tmp_path / "out.svo2")
    assert result.calibration_file == tmp_path / "SN900001.conf"
    found = find_calibration(result.recording, 900001, 99, 61, explicit=None, folder=None)
    assert found is not None
    assert (found.left.fx, found.left.cx, found.translation_m[0]) == pytest.approx((700.0, 49.5, -0.12))


def test_another_calibration_is_never_replaced(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "in")
    pack_folder(folder, tmp_path / "a.svo2")
    pack_folder(folder, tmp_path / "b.svo2")
    (tmp_path / "SN900001.conf").write_text("[LEFT_CAM_HD]\nfx=1\n")
    with pytest.raises(InputError, match="holds another calibration"):
        pack_folder(folder, tmp_path / "c.svo2")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["SN900001.conf", "a.svo2", "b.svo2", "in"]
    pack_folder(folder, tmp_path / "a.svo2", overwrite=True)
    assert "700" in (tmp_path / "SN900001.conf").read_text()


def test_grey_images_stay_grey(tmp_path: Path) -> None:
    result = pack_folder(write_images(tmp_path / "in", grey=True), tmp_path / "out.svo2")
    with open_svo2(result.recording) as reader:
        image = next(reader.frames()).images()[0].astype(int)
    assert np.ptp(image, axis=2).max() <= 3


def test_equal_input_gives_equal_bytes_and_names_may_hold_spaces(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "my imagés")
    digests = {hashlib.sha256(pack_folder(folder, tmp_path / f"{n} ü.svo2").recording.read_bytes()).hexdigest() for n in range(2)}
    assert len(digests) == 1


def test_stamps_come_from_the_rate_or_from_the_times(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "in")
    times = tmp_path / "times.txt"
    times.write_text("5 2011-09-26 14:06:05.5\n6 2011-09-26 14:06:06\n7 2011-09-26 14:06:06.000000001\n8 2011-09-26 14:06:07\n")
    for options, stamps, fps in [
        ({}, (0, 100_000_000, 200_000_000), 10),
        ({"fps": 4.0, "start_ns": 7}, (7, 250_000_007, 500_000_007), 4),
        ({"times": (5, 10**9, 3 * 10**9)}, (5, 10**9, 3 * 10**9), 1),
        ({"times": times}, (1317045965_500000000, 1317045966_000000001, 1317045967_000000000), 1),
    ]:
        result = pack_folder(folder, tmp_path / "out.svo2", overwrite=True, **options)
        with open_svo2(result.recording) as reader:
            assert reader.info.frame_timestamps_ns == stamps
            assert reader.info.nominal_fps == fps


def refuse(tmp_path: Path, sentence: str, **options) -> None:
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=sentence):
        pack_folder(tmp_path / "in", tmp_path / "out.svo2", **options)
    assert sorted(tmp_path.rglob("*")) == before


def test_images_without_a_partner_are_refused(tmp_path: Path) -> None:
    write_images(tmp_path / "in")
    (tmp_path / "in/right/000007.png").unlink()
    (tmp_path / "in/left/notes.txt").write_text("not an image")
    refuse(tmp_path, "1 images have no partner.*'000007'")


def test_unusable_images_are_refused_and_nothing_is_left(tmp_path: Path) -> None:
    write_images(tmp_path / "in")
    refuse(tmp_path, "the calibration is for 640x480", size=(640, 480))
    (tmp_path / "in/right/000008.png").write_bytes(b"")
    refuse(tmp_path, "000008.png cannot be read as an image")
    (tmp_path / "in/right/000008.jpg").write_bytes(b"x")
    refuse(tmp_path, "two images named '000008'")


def test_empty_and_missing_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "in/left").mkdir(parents=True)
    refuse(tmp_path, "right is not a folder")
    (tmp_path / "in/right").mkdir()
    refuse(tmp_path, "hold no images")


def test_times_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    write_images(tmp_path / "in")
    refuse(tmp_path, "give one of them", fps=None)
    refuse(tmp_path, "2 times are given for 3 images", times=(1, 2))
    refuse(tmp_path, "do not increase at '000008'", times=(1, 3, 2))
    refuse(tmp_path, "does not exist", times=tmp_path / "times.txt")


def test_existing_recording_is_not_replaced_unasked(tmp_path: Path) -> None:
    write_images(tmp_path / "in")
    (tmp_path / "out.svo2").write_bytes(b"precious")
    refuse(tmp_path, "exists already")
    assert (tmp_path / "out.svo2").read_bytes() == b"precious"


@pytest.mark.parametrize(
    ("text", "stamps"),
    [
        ("0.0\n1.036224e-01\n2.5\n", (0, 103_622_400, 2_500_000_000)),
        ("2011-09-26 14:06:05\n2011-09-26T14:06:05.1\n\n2011-09-26 14:06:05.123456789\n", (0, 100_000_000, 123_456_789)),
        ("b 2\na 1\nc 3\nd 4\n", (10**9, 2 * 10**9, 3 * 10**9)),
    ],
)
def test_times_are_read_to_the_nanosecond(tmp_path: Path, text: str, stamps: tuple[int, ...]) -> None:
    (tmp_path / "times.txt").write_text(text)
    offset = 1317045965 * 10**9 if "2011" in text else 0
    assert read_times(tmp_path / "times.txt", ["a", "b", "c"]) == tuple(offset + stamp for stamp in stamps)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("1\n2\n", "2 times for 3 images"),
        ("a 1\nb 2\n", "1 of 3 images.*'c'"),
        ("1\nx y z\n3\n", "line 2"),
        ("2011-13-01 14:06:05\n1\n2\n", "line 1"),
    ],
)
def test_malformed_times_are_refused(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "times.txt").write_text(text)
    with pytest.raises(InputError, match=sentence):
        read_times(tmp_path / "times.txt", ["a", "b", "c"])


def test_kitti_drive_packs_with_its_times_and_hardly_loses_quality(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / KITTI
    result = pack(source / "image_0", source / "image_1", calibration(1242, 375, 800000), tmp_path / "k.svo2", times=source / "times.txt")
    assert (result.frames, result.padded) == (30, (0, 1))
    with open_svo2(result.recording) as reader:
        assert (reader.info.width, reader.info.height) == (1242, 375)
        assert reader.info.frame_timestamps_ns[0] == 1317045965_020328192
        assert reader.info.source_names[0] == "000281"
        for frame in reader.frames(0, 30, 10):
            original = cv2.imread(str(source / "image_0" / f"{result.source_names[frame.index]}.png"))
            assert cv2.PSNR(frame.images()[0], original) > 43
