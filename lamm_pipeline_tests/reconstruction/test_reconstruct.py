"""The stage: every detection is accounted for, every searched frame has a label file, an interrupted run ends as an undisturbed one."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction.frame_registry import FrameRecord, FrameRegistry
from lamm_pipeline.ontology.ontology import load_ontology
from lamm_pipeline.reconstruction import frame_boxes, kitti_labels
from lamm_pipeline.reconstruction.reconstruct import (
    DAMAGED_DEPTH,
    NO_DEPTH,
    NOT_ON_2D_BOX,
    NOT_SEARCHED,
    TOO_FEW_POINTS,
    ReconstructionSummary,
    reconstruct,
)
from lamm_pipeline.reconstruction.settings import BoxSettings
from lamm_pipeline.segmentation import detections as detections_file
from lamm_pipeline.segmentation.detections import FailedFrame, FrameDetections
from lamm_pipeline.storage import draft as draft_module
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline_tests.extraction.frame_records import frame_record
from lamm_pipeline_tests.reconstruction.scenes import CAMERA, car, detection, person, render

ONTOLOGY = load_ontology()


def record(index: int, *, selected: bool = True, depth: bool = True) -> FrameRecord:
    return frame_record(
        "drive",
        index,
        1_700_000_000_000_000_000 + index,
        image_left=f"image_left/{index:06d}.png",
        depth=f"depth/{index:06d}.npy" if depth and selected else None,
        valid_depth_ratio=1.0,
        selected=selected,
        drop_reason=None if selected else "duplicate",
    )


def registry(frames: list[FrameRecord]) -> FrameRegistry:
    return FrameRegistry(
        "drive", "drive.svo2", "0" * 64, 12, len(frames), (), {}, {}, True, CAMERA, CAMERA.width, CAMERA.height, tuple(frames)
    )


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> tuple[FrameRegistry, Path, Path]:
    """Frames 0 to 10: two objects in most, none in 4, 5 dropped by diversity, 6 without depth, false ones in 7, 8 not in the file."""
    folder = tmp_path_factory.mktemp("frames")
    (folder / "depth").mkdir()
    frames = [record(index, selected=index != 5, depth=index != 6) for index in range(11)]
    listed = []
    for frame in frames:
        if not frame.selected:
            continue
        index = frame.svo2_frame_index
        depth, masks = render([car(-3.0, 12.0 + index, 1.4), person(2.0, 10.0)], seed=index)
        if frame.depth is not None:
            np.save(folder / frame.depth, depth)
        name = frame.frame_id
        items = [detection(masks[0], "car", f"{name}:0"), detection(masks[1], "person", f"{name}:1", confidence=None)]
        if index == 4:
            items = []
        if index == 7:
            dot = np.zeros_like(masks[0])
            dot[150:155, 300:305] = True
            shifted = replace(items[0], detection_id=f"{name}:3", box_xyxy=(500.0, 10.0, 560.0, 60.0))
            items += [detection(dot, "cat", f"{name}:2"), shifted]
        if index != 8:
            listed.append(FrameDetections(name, index, frame.timestamp_ns, CAMERA.width, CAMERA.height, tuple(items)))
    detections_file.write(folder / "detections.json", {"total_frames": len(listed)}, listed)
    return registry(frames), folder, folder / "detections.json"


def run(recording: tuple[FrameRegistry, Path, Path], folder: Path, **options: object) -> ReconstructionSummary:
    frames, frames_folder, path = recording
    draft = Draft.open(folder)
    summary = reconstruct(frames, frames_folder, path, ONTOLOGY, BoxSettings(), draft, **options)
    draft.finish()
    return summary


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.requirement("REC-01", "REC-05", "REC-06")
def test_boxes_and_refusals_add_up_to_the_detections(recording, tmp_path: Path):
    seen = []
    summary = run(recording, tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(n, 10) for n in range(1, 11)]
    assert (summary.frames, summary.detections, summary.boxes, summary.refused) == (9, 18, 14, 4)
    assert summary.boxes_by_class == {"car": 7, "person": 7}
    assert summary.refused_by_reason == {NO_DEPTH: 2, TOO_FEW_POINTS: 1, NOT_ON_2D_BOX: 1}
    assert summary.frames_without_ground == 0

    per_frame = {frame.frame_id: len(frame.detections) for frame in detections_file.read(recording[2])}
    frames = list(frame_boxes.read(tmp_path / "boxes_3d.json"))
    assert [frame.frame_index for frame in frames] == [0, 1, 2, 3, 4, 6, 7, 9, 10]
    for frame in frames:
        assert len(frame.boxes) + len(frame.refused) == per_frame[frame.frame_id]
        ids = [item.detection_id for item in (*frame.boxes, *frame.refused)]
        assert len(set(ids)) == len(ids)
    totals = json.loads((tmp_path / "boxes_3d.json").read_text())
    assert (totals["total_frames"], totals["total_boxes"], totals["total_refused"]) == (9, 14, 4)


@pytest.mark.requirement("REC-05", "EXP-12")
def test_every_searched_frame_has_a_kitti_label_file_that_says_what_the_json_says(recording, tmp_path: Path):
    run(recording, tmp_path)
    files = sorted((tmp_path / "label_2").iterdir())
    assert [file.stem for file in files] == [f"{index:06d}" for index in (0, 1, 2, 3, 4, 6, 7, 9, 10)]
    assert (tmp_path / "label_2" / "000004.txt").read_bytes() == b""
    for frame, file in zip(frame_boxes.read(tmp_path / "boxes_3d.json"), files, strict=True):
        labels = kitti_labels.read(file)
        assert len(labels) == len(frame.boxes)
        for label, item in zip(labels, frame.boxes, strict=True):
            assert label.type == item.kitti_type
            assert (label.box.x, label.box.y, label.box.z) == pytest.approx((item.box.x, item.box.y, item.box.z), abs=0.0051)
            assert label.alpha == pytest.approx(item.alpha, abs=0.0051)
            assert label.score == (None if item.score is None else pytest.approx(item.score, abs=1e-4))
    columns = {len(line.split()) for line in (tmp_path / "label_2" / "000000.txt").read_text().splitlines()}
    assert columns == {16, 15}


@pytest.mark.requirement("REC-03")
def test_the_objects_of_the_recording_are_where_they_were_put(recording, tmp_path: Path):
    run(recording, tmp_path)
    for frame in frame_boxes.read(tmp_path / "boxes_3d.json"):
        for item in frame.boxes:
            expected = (-3.0, 12.0 + frame.frame_index) if item.class_id == "car" else (2.0, 10.0)
            assert (item.box.x, item.box.z) == pytest.approx(expected, abs=0.6)


@pytest.mark.requirement("AV-21")
def test_an_interrupted_and_resumed_run_is_byte_identical_and_does_no_frame_twice(recording, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("lamm_pipeline.reconstruction.reconstruct.CHECKPOINT_EVERY", 3)
    run(recording, tmp_path / "whole", workers=1)

    class KilledError(Exception):
        pass

    def kill_at_eight(done: int, _: int | None) -> None:
        if done == 8:
            raise KilledError

    with pytest.raises(KilledError):
        run(recording, tmp_path / "resumed", workers=2, progress=kill_at_eight)
    steps = []
    summary = run(recording, tmp_path / "resumed", workers=2, progress=lambda done, _: steps.append(done))
    assert steps == [7, 8, 9, 10]
    assert summary.detections == 18
    assert digests(tmp_path / "whole") == digests(tmp_path / "resumed")
    assert draft_module.CHECKPOINT_EVERY > 3


def test_boxes_survive_their_file_unchanged(recording, tmp_path: Path):
    run(recording, tmp_path)
    frames = list(frame_boxes.read(tmp_path / "boxes_3d.json"))
    frame_boxes.write(tmp_path / "copy.json", frames, [FailedFrame("drive:000008", NOT_SEARCHED)])
    assert (tmp_path / "copy.json").read_bytes() == (tmp_path / "boxes_3d.json").read_bytes()
    (tmp_path / "pretty.json").write_text(json.dumps(json.loads((tmp_path / "copy.json").read_text()), indent=3))
    assert list(frame_boxes.read(tmp_path / "pretty.json")) == frames


def test_a_boxes_file_of_another_kind_ends_in_a_sentence(tmp_path: Path):
    (tmp_path / "boxes_3d.json").write_text('{"frames": {"drive:000000": {"boxes": []}}}')
    with pytest.raises(InputError, match=r"boxes_3d.json: frame drive:000000"):
        list(frame_boxes.read(tmp_path / "boxes_3d.json"))


@pytest.mark.requirement("REC-01")
def test_without_calibration_or_depth_the_stage_refuses_with_a_sentence(recording, tmp_path: Path):
    frames, folder, path = recording
    for broken, words in (
        (replace(frames, rectified=False, camera=None), r"drive are not rectified.*SN<serial>\.conf"),
        (replace(frames, frames=tuple(replace(frame, depth=None) for frame in frames.frames)), "no depth maps"),
    ):
        with pytest.raises(InputError, match=words):
            reconstruct(broken, folder, path, ONTOLOGY, BoxSettings(), Draft.open(tmp_path / "draft"))


@pytest.mark.requirement("REC-01")
def test_frames_and_detections_that_do_not_belong_together_are_refused(recording, tmp_path: Path):
    frames, folder, path = recording
    fewer = replace(frames, frames=frames.frames[:9])
    with pytest.raises(InputError, match="drive:000009, which is not among the frames"):
        run((fewer, folder, path), tmp_path / "fewer")
    item = detection(np.ones((50, 60), dtype=bool))
    small = FrameDetections("drive:000000", 0, 0, 60, 50, (item,))
    detections_file.write(tmp_path / "small.json", {}, [small])
    with pytest.raises(InputError, match=r"mask of scene:000000:0 has the shape \(50, 60\)"):
        run((frames, folder, tmp_path / "small.json"), tmp_path / "small")


@pytest.mark.requirement("REC-01")
def test_a_frame_that_could_not_be_searched_is_no_empty_frame(recording, tmp_path: Path):
    summary = run(recording, tmp_path)
    assert summary.failed_frames == (FailedFrame("drive:000008", NOT_SEARCHED),)
    assert "drive:000008" not in {frame.frame_id for frame in frame_boxes.read(tmp_path / "boxes_3d.json")}
    assert not (tmp_path / "label_2" / "000008.txt").exists()
    assert (tmp_path / "label_2" / "000004.txt").exists()
    stored = json.loads((tmp_path / "boxes_3d.json").read_text())
    assert stored["failed_frames"] == [{"frame_id": "drive:000008", "reason": NOT_SEARCHED}]


@pytest.mark.requirement("REC-01", "AV-17")
@pytest.mark.parametrize("content", ["missing", "text", "zip", "shape", "millimetres"])
def test_a_damaged_depth_map_fails_its_frame_and_not_the_recording(recording, tmp_path: Path, content):
    frames, folder, path = recording
    shutil.copytree(folder / "depth", tmp_path / "depth")
    target = tmp_path / "depth" / "000000.npy"
    depth = np.load(target)
    if content == "missing":
        target.unlink()
    elif content == "text":
        target.write_text("no depth")
    elif content == "zip":
        target.write_bytes(b"PK\x03\x04 no archive either")
    elif content == "shape":
        np.save(target, depth[:10])
    else:
        # 65.6 m in millimetres does not fit into 16 bits: such maps are refused, never guessed
        np.save(target, (np.nan_to_num(depth) * 1000).astype(np.uint16))
    summary = run((frames, tmp_path, path), tmp_path / "draft")
    failed = summary.failed_frames[0]
    assert failed.frame_id == "drive:000000"
    assert "depth/000000.npy" in failed.reason
    assert str(tmp_path) not in failed.reason
    assert summary.refused_by_reason[DAMAGED_DEPTH] == 2
    assert summary.boxes == 12
    first = next(frame_boxes.read(tmp_path / "draft" / "boxes_3d.json"))
    assert (first.frame_id, first.boxes, len(first.refused)) == ("drive:000000", (), 2)


@pytest.mark.requirement("REC-01")
def test_more_damaged_depth_maps_than_allowed_stop_the_stage(recording, tmp_path: Path):
    frames, folder, path = recording
    shutil.copytree(folder / "depth", tmp_path / "depth")
    for index in (0, 1, 2):
        (tmp_path / "depth" / f"00000{index}.npy").write_bytes(b"")
    with pytest.raises(InputError, match=r"3 of the 10 frames of drive have no usable depth map .*depth/000000\.npy"):
        run((frames, tmp_path, path), tmp_path / "draft")
    assert not (tmp_path / "draft" / "boxes_3d.json").exists()
