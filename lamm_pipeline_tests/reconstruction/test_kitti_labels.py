"""KITTI's label files: byte for byte as KITTI writes them, and strict about what is read."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamm_pipeline.errors import InputError
from lamm_pipeline.geometry.box_3d import Box3D
from lamm_pipeline.reconstruction.kitti_labels import (
    NO_BOX_3D,
    KittiObject,
    dont_care,
    format_line,
    parse_line,
    read,
    read_tracking,
    write,
    write_tracking,
)

CAR = "Car 0.41 0 2.05 190.82 190.62 367.85 374.00 1.63 1.65 3.91 -3.77 1.84 6.72 1.56"


@pytest.mark.requirement("REC-04", "REC-05")
def test_columns_go_where_kitti_says():
    car = parse_line(CAR + " 0.8750")
    assert car.box == Box3D(x=-3.77, y=1.84, z=6.72, length=3.91, width=1.65, height=1.63, rotation_y=1.56)
    assert car.box_xyxy == (190.82, 190.62, 367.85, 374.0)
    assert (car.type, car.truncated, car.occluded, car.alpha, car.score) == ("Car", 0.41, 0, 2.05, 0.875)
    assert parse_line(CAR).score is None


@pytest.mark.requirement("REC-05")
def test_a_region_to_ignore_has_kittis_own_blanks():
    line = format_line(dont_care((503.89, 169.71, 590.61, 190.13)))
    assert line == "DontCare -1 -1 -10 503.89 169.71 590.61 190.13 -1 -1 -1 -1000 -1000 -1000 -10"
    assert not parse_line(line).has_box_3d


@pytest.mark.requirement("REC-05", "EXP-12")
def test_kittis_own_label_files_come_back_byte_for_byte(shared_data: Path, tmp_path: Path):
    files = [*sorted(shared_data.glob("kitti_*/label_2/*.txt")), shared_data / "kitti_object_stereo_lidar" / "label_2.txt"]
    assert len(files) > 15
    for file in files:
        write(tmp_path / "copy.txt", read(file))
        assert (tmp_path / "copy.txt").read_text().split() == file.read_text().split()


@pytest.mark.requirement("REC-05")
def test_kittis_own_tracking_files_come_back_unchanged(shared_data: Path, tmp_path: Path):
    for name in ("0000", "0012"):
        file = shared_data / "kitti_tracking" / "label_02" / f"{name}.txt"
        frames = read_tracking(file)
        write_tracking(tmp_path / "copy.txt", frames)
        assert (tmp_path / "copy.txt").read_text().split() == file.read_text().split()
        assert frames[0][0].track_id == -1


def test_files_without_objects_are_empty_and_numbers_have_no_negative_zero(tmp_path: Path):
    write(tmp_path / "label_2" / "000000.txt", [])
    assert (tmp_path / "label_2" / "000000.txt").read_bytes() == b""
    assert read(tmp_path / "label_2" / "000000.txt") == []
    line = format_line(KittiObject("Misc", 0.0, 0, -0.001, (0.0, 0.0, 1.0, 1.0), Box3D(-0.004, 1, 5, 1, 1, 1, -0.0), score=0.5))
    assert line == "Misc 0.00 0 0.00 0.00 0.00 1.00 1.00 1.00 1.00 1.00 0.00 1.00 5.00 0.00 0.5000"


@pytest.mark.requirement("AV-17")
@pytest.mark.parametrize("distance", [65.6, 80.0, 99.99])
def test_far_objects_keep_their_distance(distance):
    item = KittiObject("Car", 0.0, 0, 0.0, (0.0, 0.0, 9.0, 9.0), Box3D(-60.0, 1.5, distance, 4, 1.6, 1.5, 0.0), score=0.9)
    assert parse_line(format_line(item)).box.z == distance


@given(
    st.builds(
        KittiObject,
        type=st.sampled_from(["Car", "Pedestrian", "Cyclist", "Misc"]),
        truncated=st.floats(0, 1),
        occluded=st.integers(0, 3),
        alpha=st.floats(-3.14159, 3.14159),
        box_xyxy=st.tuples(st.floats(0, 600), st.floats(0, 180), st.floats(600, 1242), st.floats(180, 375)),
        box=st.builds(
            Box3D,
            x=st.floats(-80, 80),
            y=st.floats(-5, 5),
            z=st.floats(0, 100),
            length=st.floats(0.05, 20),
            width=st.floats(0.05, 8),
            height=st.floats(0.05, 8),
            rotation_y=st.floats(-3.14159, 3.14159),
        ),
        score=st.none() | st.floats(0, 1),
    )
)
def test_any_object_survives_the_file_to_the_centimetre(item):
    line = format_line(item)
    back = parse_line(line)
    assert format_line(back) == line
    assert back.box.z == pytest.approx(item.box.z, abs=0.0051)
    assert back.box.rotation_y == pytest.approx(item.box.rotation_y, abs=0.0051)
    assert (back.score is None) == (item.score is None)
    assert len(line.split()) == (15 if item.score is None else 16)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (CAR.rsplit(" ", 1)[0], "14 columns"),
        (CAR + " 0.9 7", "17 columns"),
        (CAR.replace("Car", "car"), "type is 'car'"),
        (CAR.replace("0.41", "3.5"), "truncated is 3.5"),
        (CAR.replace(" 0 ", " 5 "), "occluded is 5"),
        (CAR.replace(" 0 ", " 0.5 "), "occluded is 0.5"),
        (CAR.replace("367.85", "90.00"), "ends before it starts"),
        (CAR.replace("3.91", "0.00"), "not positive"),
        (CAR.replace(" 1.56", " 156.0"), "rotation_y"),
        (CAR.replace(" 2.05", " 20.5"), "alpha"),
        (CAR.replace("6.72", "nan"), "no finite number"),
        (CAR.replace("6.72", "near"), "near"),
    ],
)
def test_a_line_that_is_not_kittis_is_refused_with_file_and_line(tmp_path: Path, line, complaint):
    path = tmp_path / "000007.txt"
    path.write_text(f"{CAR}\n{line}\n")
    with pytest.raises(InputError, match=complaint) as caught:
        read(path)
    assert f"{path}:2" in str(caught.value)


def test_tracking_rows_need_frame_and_identity(tmp_path: Path):
    path = tmp_path / "0000.txt"
    path.write_text(f"0 3 {CAR}\n{CAR}\n")
    with pytest.raises(InputError, match=r"0000.txt:2 does not start with frame and track id"):
        read_tracking(path)
    path.write_text("4 1\n")
    with pytest.raises(InputError, match="0 columns"):
        read_tracking(path)
    with pytest.raises(ValueError, match="no track id"):
        write_tracking(path, {0: [parse_line(CAR)]})


def test_missing_and_binary_files_end_in_a_sentence(tmp_path: Path):
    with pytest.raises(InputError, match="does not exist"):
        read(tmp_path / "none.txt")
    (tmp_path / "image.txt").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(InputError, match="not a text file"):
        read(tmp_path / "image.txt")


def test_frames_of_a_tracking_file_are_written_in_order_and_a_2d_only_object_stays_one(tmp_path: Path):
    flat = KittiObject("Pedestrian", 0.0, 0, -10.0, (1.0, 2.0, 3.0, 4.0), NO_BOX_3D, 0.5, track_id=7)
    write_tracking(tmp_path / "t.txt", {5: [flat], 2: [flat]})
    lines = (tmp_path / "t.txt").read_text().splitlines()
    assert lines[0].startswith("2 7 Pedestrian 0 0 -10.000000 1.000000")
    assert lines[1].endswith(" -1000.000000 -10.000000 -1.000000 -1.000000 -1.000000 0.500000")
    assert read_tracking(tmp_path / "t.txt") == {2: [flat], 5: [flat]}
