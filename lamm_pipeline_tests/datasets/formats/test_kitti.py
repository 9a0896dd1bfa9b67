"""KITTI exports, read with a reader written for these tests from KITTI's own description."""

import shutil
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from lamm_pipeline.datasets.formats import files
from lamm_pipeline.datasets.settings import DatasetSettings, ExportFormat, FilterSettings, SplitSettings
from lamm_pipeline.datasets.splits.split_table import read_splits
from lamm_pipeline.errors import InputError
from lamm_pipeline_tests.datasets.world import HEIGHT, WIDTH, box_xyxy_of, make_recording, make_world, mask_of

UNKNOWN_3D = [-1, -1, -1, -1000, -1000, -1000, -10]


def read_labels(path: Path):
    """`type, 14 numbers` of each line of an object label."""
    return [(line.split()[0], [float(field) for field in line.split()[1:]]) for line in path.read_text().splitlines()]


def read_matrices(path: Path):
    lines = [line.split(":") for line in path.read_text().splitlines() if line.strip()]
    return {name: np.array([float(value) for value in values.split()]).reshape(3, -1) for name, values in lines}


def corners_of(numbers):
    """`(8, 3)` corners in the camera frame, as the development kit computes them."""
    height, width, length, x, y, z, rotation_y = numbers[7:14]
    across = np.array([1, 1, -1, -1, 1, 1, -1, -1]) * length / 2
    up = np.array([0, 0, 0, 0, -1, -1, -1, -1]) * height
    along = np.array([1, -1, -1, 1, 1, -1, -1, 1]) * width / 2
    turn = np.array([[np.cos(rotation_y), 0, np.sin(rotation_y)], [0, 1, 0], [-np.sin(rotation_y), 0, np.cos(rotation_y)]])
    return (turn @ np.stack([across, up, along])).T + np.array([x, y, z])


def tree(folder: Path):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def settings_of(**options):
    return DatasetSettings(split=SplitSettings(train_ratio=0.5, val_ratio=0.3, test_ratio=0.2, guard_frames=1), **options)


@pytest.fixture
def world(tmp_path):
    inputs = make_recording(tmp_path, "a", range(0, 24, 2), lambda index: ("car", "person", "sign") if index % 4 == 0 else ("car",))
    return make_world(tmp_path, [inputs], settings_of())


@pytest.mark.requirement("EXP-05", "EXP-01")
def test_the_layout_is_kittis(world):
    summary = world.export(ExportFormat.kitti)
    root = world.folder("kitti_dataset") / "kitti"
    assert summary.frames == {"train": 5, "val": 3, "test": 2}
    assert {path.name for path in root.iterdir()} == {"train", "val", "test", "ImageSets", "frames.csv"}
    for split, count in summary.frames.items():
        names = [f"{number:06d}" for number in range(count)]
        assert (root / "ImageSets" / f"{split}.txt").read_text().split() == names
        for folder, suffix in (
            ("image_2", "png"),
            ("image_3", "png"),
            ("label_2", "txt"),
            ("calib", "txt"),
            ("velodyne", "bin"),
            ("depth", "npy"),
        ):
            assert sorted(path.name for path in (root / split / folder).iterdir()) == [f"{name}.{suffix}" for name in names]
    assert (root / "train" / "masks" / "000000_2.png").is_file()


@pytest.mark.requirement("EXP-05")
def test_exported_files_are_those_of_the_right_frames(world):
    world.export(ExportFormat.kitti)
    root, frames = world.folder("kitti_dataset") / "kitti", world.root / "recordings/a/frames/f1"
    # train has the frames 0 2 4 6 8, the gap is 10, val has 12 14 16
    val = root / "val"
    assert (val / "image_2/000001.png").read_bytes() == (frames / "image_left/000014.png").read_bytes()
    assert (val / "image_3/000001.png").read_bytes() == (frames / "image_right/000014.png").read_bytes()
    assert np.load(val / "depth/000001.npy").max() == 5.0 + 14
    assert np.fromfile(val / "velodyne/000001.bin", np.float32).reshape(-1, 4)[0, 0] == 14
    mask = cv2.imread(str(val / "masks/000000_0.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(mask > 0, mask_of(box_xyxy_of("car")))


@pytest.mark.requirement("EXP-12", "EXP-05", "AV-18")
def test_labels_are_ground_truth_of_15_columns_whose_3d_boxes_project_onto_the_objects(world):
    world.export(ExportFormat.kitti)
    train = world.folder("kitti_dataset") / "kitti" / "train"
    labels = read_labels(train / "label_2/000000.txt")
    assert [(kind, len(numbers)) for kind, numbers in labels] == [("Car", 14), ("Pedestrian", 14), ("Misc", 14)]
    projection = read_matrices(train / "calib/000000.txt")["P2"]
    for kind, numbers in labels[:2]:
        pixels = (projection @ np.c_[corners_of(numbers), np.ones(8)].T).T
        pixels = pixels[:, :2] / pixels[:, 2:]
        expected = [*pixels.min(axis=0), *pixels.max(axis=0)]
        np.testing.assert_allclose(numbers[3:7], expected, atol=0.35, err_msg=kind)
        assert 0 < numbers[3] < numbers[5] < WIDTH
        assert 0 < numbers[4] < numbers[6] < HEIGHT
        x, z, rotation_y = numbers[10], numbers[12], numbers[13]
        assert numbers[2] == pytest.approx(rotation_y - np.arctan2(x, z), abs=0.02)


@pytest.mark.requirement("EXP-05")
def test_calibration_has_every_matrix_of_kitti_and_both_eyes(world):
    world.export(ExportFormat.kitti)
    matrices = read_matrices(world.folder("kitti_dataset") / "kitti/test/calib/000001.txt")
    assert set(matrices) == {"P0", "P1", "P2", "P3", "R0_rect", "Tr_velo_to_cam", "Tr_imu_to_velo"}
    assert matrices["P3"][0, 3] == pytest.approx(-60.0 * 0.12)
    np.testing.assert_allclose(matrices["Tr_velo_to_cam"][:, :3] @ [1, 0, 0], [0, 0, 1], atol=1e-9)


@pytest.mark.requirement("EXP-12")
def test_an_object_without_3d_box_keeps_its_line_and_its_type(world):
    summary = world.export(ExportFormat.kitti)
    kind, numbers = read_labels(world.folder("kitti_dataset") / "kitti/train/label_2/000000.txt")[2]
    assert kind == "Misc"
    assert numbers[:3] == [-1, -1, -10]
    assert numbers[3:7] == list(box_xyxy_of("sign"))
    assert numbers[7:] == UNKNOWN_3D
    assert summary.counts["without_box_3d"] == 6
    assert summary.counts["boxes_3d"] == 16


@pytest.mark.requirement("EXP-03")
def test_what_is_not_asked_for_is_not_written(tmp_path):
    options = dict.fromkeys(("include_masks", "include_depth", "include_3d_boxes", "include_right_images", "include_point_clouds"), False)
    world = make_world(tmp_path, [make_recording(tmp_path, "a", range(10))], settings_of(**options))
    summary = world.export(ExportFormat.kitti)
    train = world.folder("kitti_dataset") / "kitti" / "train"
    assert {path.name for path in train.iterdir()} == {"image_2", "label_2", "calib"}
    assert all(numbers[7:] == UNKNOWN_3D for _, numbers in read_labels(train / "label_2/000000.txt"))
    assert "masks" not in summary.counts


def test_pictures_are_linked_and_text_is_copied(world):
    summary = world.export(ExportFormat.kitti)
    train, frames = world.folder("kitti_dataset") / "kitti/train", world.root / "recordings/a/frames/f1"
    assert (train / "image_2/000000.png").stat().st_ino == (frames / "image_left/000000.png").stat().st_ino
    assert (train / "calib/000000.txt").read_bytes() == (frames / "calib.txt").read_bytes()
    assert (train / "calib/000000.txt").stat().st_ino != (frames / "calib.txt").stat().st_ino
    assert summary.counts["hard_linked"] == 10 * 4
    assert "copied" not in summary.counts


def test_a_recording_without_calibration_is_exported_in_2d_and_says_so(tmp_path):
    world = make_world(tmp_path, [make_recording(tmp_path, "a", range(10), rectified=False)], settings_of())
    summary = world.export(ExportFormat.kitti)
    assert not (world.folder("kitti_dataset") / "kitti/train/calib").exists()
    assert {name: summary.counts[name] for name in ("without_calibration", "without_depth", "without_point_cloud")} == {
        "without_calibration": 8,
        "without_depth": 8,
        "without_point_cloud": 8,
    }
    assert summary.counts["without_box_3d"] == 16


def test_negative_frames_have_an_empty_label(tmp_path):
    inputs = make_recording(tmp_path, "a", range(10), lambda index: () if index == 1 else ("car",))
    world = make_world(tmp_path, [inputs], settings_of(filters=FilterSettings(empty_frames="keep_as_negative")))
    world.export(ExportFormat.kitti)
    train = world.folder("kitti_dataset") / "kitti/train"
    assert (train / "label_2/000001.txt").read_bytes() == b""
    assert (train / "image_2/000001.png").is_file()


@pytest.mark.requirement("AV-21")
@pytest.mark.parametrize("export_format", [ExportFormat.kitti, ExportFormat.coco])
def test_an_interrupted_export_continues_and_ends_with_the_same_bytes(tmp_path, monkeypatch, export_format):
    monkeypatch.setattr(files, "FRAMES_PER_CHECKPOINT", 5)
    inputs = [make_recording(tmp_path, key, range(8)) for key in ("a", "b", "c")]
    world = make_world(tmp_path, inputs, settings_of())
    whole = world.export(export_format, "whole")
    told = Counter()

    def stop_at_13(done, total):
        assert total == 24
        told["first run"] += 1
        if done == 13:
            raise KeyboardInterrupt

    def count(_done, _total):
        told["second run"] += 1

    with pytest.raises(KeyboardInterrupt):
        world.export(export_format, "again", progress=stop_at_13)
    # the files of the three frames behind the checkpoint may be anything after a kill
    behind = [row for row in read_splits(world.folder("splits")) if row.recording == "b" and row.frame_index in (2, 3, 4)]
    patterns = [f"{row.split}/*/{row.output_index:06d}*" for row in behind]
    half_written = [
        path for pattern in patterns for path in (world.folder("again") / export_format).glob(pattern) if path.stat().st_nlink == 1
    ]
    assert len(half_written) >= 3 * 2
    for path in half_written:
        path.write_bytes(b"half")
    assert world.export(export_format, "again", workers=3, progress=count) == whole
    assert told == {"first run": 13, "second run": 14}
    assert tree(world.folder("again")) == tree(world.folder("whole"))


def test_a_missing_image_is_a_sentence(world):
    shutil.rmtree(world.root / "recordings/a/frames/f1/image_left")
    with pytest.raises(InputError, match=r"image_left/000000\.png is missing"):
        world.export(ExportFormat.kitti)
