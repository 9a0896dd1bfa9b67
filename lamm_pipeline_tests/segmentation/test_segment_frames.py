import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from lamm_pipeline.errors import InputError
from lamm_pipeline.ontology.ontology import load_ontology
from lamm_pipeline.segmentation import detections
from lamm_pipeline.segmentation.segment_frames import segment_frames
from lamm_pipeline.segmentation.settings import SegmentationSettings
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline_tests.segmentation.bright_squares import HEIGHT, WIDTH, BrightSquares, KilledError, frame, registry, tree, write_files

ONTOLOGY = load_ontology()


@pytest.mark.requirement("SEG-02", "SEG-03", "SEG-04", "SEG-05", "REC-07")
def test_the_files_have_the_specified_layout_and_keys(tmp_path: Path) -> None:
    frames = [frame(0), frame(2), frame(3, selected=False), frame(7, depth=False)]
    write_files(tmp_path / "frames", frames)
    draft = Draft.open(tmp_path / "out")
    settings = SegmentationSettings(write_masks=True)
    summary = segment_frames(registry(frames), tmp_path / "frames", BrightSquares(), ONTOLOGY, settings, draft)
    draft.finish()

    assert sorted(tree(tmp_path / "out")) == [
        "detections/detections.json",
        "detections/masks/000002_0.png",
        "detections/masks/000007_0.png",
    ]
    whole = json.loads((tmp_path / "out" / "detections" / "detections.json").read_text())
    assert whole["total_frames"] == 3
    assert whole["total_detections"] == 2
    assert list(whole["frames"]) == ["drive:000000", "drive:000002", "drive:000007"]
    assert whole["frames"]["drive:000000"]["detection_count"] == 0
    assert "inference_time_ms" not in whole["frames"]["drive:000002"]
    (found,) = whole["frames"]["drive:000002"]["detections"]
    runs = found.pop("mask_rle")
    assert found == {
        "detection_id": "drive:000002:0",
        "class_id": "car",
        "class_name": "Car",
        "confidence": 0.333333,
        "bbox": [2.0, 10.0, 22.0, 30.0],
        "area": 400,
        "centroid": [11.5, 19.5],
        "distance": 6.0,
        "mask_source": "depth",
        "mask": "detections/masks/000002_0.png",
    }
    picture = cv2.imread(str(tmp_path / "out" / found["mask"]), cv2.IMREAD_UNCHANGED)
    assert set(np.unique(picture)) == {0, 255}
    decoded = coco_mask.decode({"size": runs["size"], "counts": runs["counts"].encode()})
    np.testing.assert_array_equal(decoded * 255, picture)
    (without_depth,) = whole["frames"]["drive:000007"]["detections"]
    assert without_depth["distance"] is None
    assert without_depth["mask_source"] == "box"

    assert summary.by_class == {"car": 2}
    assert summary.by_mask_source == {"box": 1, "depth": 1}
    assert summary.refused == whole["refused"] == {"too dark": 1}
    assert summary.frames_with_detections == 2
    assert summary.mean_confidence == pytest.approx(1 / 3, abs=1e-6)


def test_reading_gives_back_what_was_written(tmp_path: Path) -> None:
    frames = [frame(index) for index in range(1, 5)]
    write_files(tmp_path / "frames", frames)
    summary = segment_frames(
        registry(frames), tmp_path / "frames", BrightSquares(), ONTOLOGY, SegmentationSettings(), Draft.open(tmp_path / "out")
    )
    read = list(detections.read(summary.path))
    assert [each.frame_index for each in read] == [1, 2, 3, 4]
    assert read[1].detections[0].box_xyxy == (2.0, 10.0, 22.0, 30.0)
    assert read[1].detections[0].mask is None
    again = tmp_path / "again.json"
    detections.write(again, detections.read_head(summary.path), read)
    assert again.read_bytes() == summary.path.read_bytes()


def test_a_killed_run_resumes_from_its_checkpoint_to_the_same_bytes_for_any_number_of_workers(tmp_path: Path) -> None:
    frames = [frame(index) for index in range(60)]
    write_files(tmp_path / "frames", frames)
    settings = SegmentationSettings(write_masks=True)

    def die_at_40(done: int, total: int | None) -> None:
        assert total == 60
        if done == 40:
            raise KilledError

    draft = Draft.open(tmp_path / "whole")
    segment_frames(registry(frames), tmp_path / "frames", BrightSquares(), ONTOLOGY, settings, draft, workers=3)
    draft.finish()

    with pytest.raises(KilledError):
        segment_frames(
            registry(frames),
            tmp_path / "frames",
            BrightSquares(),
            ONTOLOGY,
            settings,
            Draft.open(tmp_path / "cut"),
            workers=1,
            progress=die_at_40,
        )
    resumed, second = Draft.open(tmp_path / "cut"), BrightSquares()
    segment_frames(registry(frames), tmp_path / "frames", second, ONTOLOGY, settings, resumed, workers=2)
    resumed.finish()
    assert second.seen == 35
    assert tree(tmp_path / "cut") == tree(tmp_path / "whole")


def test_unreadable_frames_are_counted_with_their_reason(tmp_path: Path) -> None:
    frames = [frame(index) for index in range(10)]
    folder = tmp_path / "frames"
    write_files(folder, frames)
    (folder / "image_left/000003.png").unlink()
    (folder / "depth/000004.npy").write_bytes(b"no array")
    settings = SegmentationSettings(max_bad_share=0.2)
    summary = segment_frames(registry(frames), folder, BrightSquares(), ONTOLOGY, settings, Draft.open(tmp_path / "out"))
    assert [(each.frame_id, each.reason) for each in summary.failed_frames] == [
        ("drive:000003", "the image image_left/000003.png is missing or damaged"),
        ("drive:000004", "the depth depth/000004.npy is missing or damaged"),
    ]
    head = detections.read_head(summary.path)
    assert [each["frame_id"] for each in head["failed_frames"]] == ["drive:000003", "drive:000004"]
    assert head["total_frames"] == summary.total_frames == 8

    (folder / "image_left/000005.png").write_bytes(b"")
    with pytest.raises(InputError, match="3 of the 10 frames of drive could not be read"):
        segment_frames(registry(frames), folder, BrightSquares(), ONTOLOGY, settings, Draft.open(tmp_path / "again"))


def test_files_of_another_size_or_kind_are_counted_and_do_not_stop_the_recording(tmp_path: Path) -> None:
    frames = [frame(index) for index in range(10)]
    folder = tmp_path / "frames"
    write_files(folder, frames)
    cv2.imwrite(str(folder / "image_left/000001.png"), np.zeros((HEIGHT - 1, WIDTH, 3), np.uint8))
    np.save(folder / "depth/000002.npy", np.full((HEIGHT, WIDTH), 6000, np.uint16))
    (folder / "depth/000003.npy").write_bytes(b"PK\x03\x04 looks like a zip archive")
    np.savez(folder / "depth/archive.npz", np.zeros((HEIGHT, WIDTH), np.float32))
    (folder / "depth/archive.npz").rename(folder / "depth/000004.npy")
    settings = SegmentationSettings(max_bad_share=0.4)
    summary = segment_frames(registry(frames), folder, BrightSquares(), ONTOLOGY, settings, Draft.open(tmp_path / "out"))
    assert [(each.frame_id, each.reason) for each in summary.failed_frames] == [
        ("drive:000001", "the image image_left/000001.png is 80x59 instead of 80x60"),
        ("drive:000002", "the depth depth/000002.npy is uint16 of shape (60, 80), expected floating point metres of (60, 80)"),
        ("drive:000003", "the depth depth/000003.npy is missing or damaged"),
        ("drive:000004", "the depth depth/000004.npy is missing or damaged"),
    ]
    assert [each.frame_index for each in detections.read(summary.path)] == [0, 5, 6, 7, 8, 9]


def test_frames_that_were_not_rectified_are_segmented_without_depth(tmp_path: Path) -> None:
    frames = [frame(1, depth=False)]
    write_files(tmp_path / "frames", frames)
    summary = segment_frames(
        registry(frames, camera=None), tmp_path / "frames", BrightSquares(), ONTOLOGY, SegmentationSettings(), Draft.open(tmp_path / "out")
    )
    assert summary.by_mask_source == {"box": 1}


def test_a_recording_without_selected_frames_gives_an_empty_file_that_reads(tmp_path: Path) -> None:
    frames = [frame(0, selected=False)]
    summary = segment_frames(registry(frames), tmp_path, BrightSquares(), ONTOLOGY, SegmentationSettings(), Draft.open(tmp_path / "out"))
    assert summary.total_frames == 0
    assert json.loads(summary.path.read_text())["frames"] == {}
    assert list(detections.read(summary.path)) == []


def test_a_file_of_another_kind_is_refused_with_the_frame_that_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "detections.json"
    path.write_text('{"frames": {"drive:000001": {"detections": []}}}')
    with pytest.raises(InputError, match=r"Frame drive:000001 of .*detections\.json is not as this version writes it"):
        list(detections.read(path))
