"""Boxes, tracks and masklets that become sequence annotations, without Dagster."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from lamm_pipeline.geometry.box_3d import Box3D
from lamm_pipeline.review.annotate import INPUTS, SeenBox, annotate, sequences_of
from lamm_pipeline.review.clustering import Algorithm
from lamm_pipeline.review.sequence_annotations import BoxXyxy, SequenceAnnotations, s4_document
from lamm_pipeline.review.sequence_settings import PRESETS, Preset, SequenceOverrides, SequenceSettings
from lamm_pipeline.tracking import tracks as tracks_file
from lamm_pipeline.tracking.masklets.masklet_table import MaskletRow, MaskletTableWriter
from lamm_pipeline.tracking.tracks import Track, TrackPoint, TrackSet
from lamm_pipeline_tests.review.detected_house import FRAMES, House

PLACE = (0.735, 0.511, 0.748, 0.52)


def seen(
    frame: int, box_xyxyn: BoxXyxy = PLACE, confidence: float | None = 0.9, class_id: str | None = "smoke", identity: int | None = None
) -> SeenBox:
    return SeenBox(f"drive:{frame:06d}", frame, box_xyxyn, class_id, confidence, f"drive:{frame:06d}:0", identity)


def made(*boxes: SeenBox, **settings: Any) -> SequenceAnnotations:
    counts = Counter(frames=len({each.frame_id for each in boxes}), boxes=len(boxes))
    return sequences_of("drive", boxes, SequenceSettings(**settings).parameters(), counts, lambda _: None)


@pytest.mark.requirement("AV-10", "SEQ-03", "SEQ-24")
@pytest.mark.parametrize("algorithm", Algorithm)
def test_three_identical_boxes_are_one_sequence_without_a_filter_and_none_at_half(algorithm: Algorithm) -> None:
    boxes = [seen(8, PLACE, 0.22), seen(9, PLACE, 0.19), seen(10, PLACE, 0.21)]
    found = made(*boxes, confidence_threshold=0.0, algorithm=algorithm)
    assert s4_document(found)["annotation"] == {
        "sequences_bbox": [
            {
                "is_smoke": True,
                "gif_url_main": None,
                "gif_url_crop": None,
                "false_positive_types": [],
                "bboxes": [{"detection_id": f"drive:{frame:06d}", "xyxyn": list(PLACE)} for frame in (8, 9, 10)],
            }
        ]
    }
    none = made(*boxes, algorithm=algorithm)
    assert (none.sequences, none.summary["below_confidence"]) == ((), 3)
    assert "below the confidence threshold 0.5; the best has 0.22" in str(none.reason)


@pytest.mark.requirement("SEQ-03")
def test_the_threshold_is_enough_and_an_unknown_confidence_is_no_low_one() -> None:
    found = made(seen(0, confidence=0.5), seen(1, confidence=0.4999), seen(2, confidence=None))
    [only] = found.sequences
    assert [(box.frame_index, box.confidence) for box in only.boxes] == [(0, 0.5), (2, None)]
    assert (found.summary["without_confidence"], found.summary["below_confidence"]) == (1, 1)


@pytest.mark.requirement("SEQ-05", "SEQ-06")
def test_boxes_of_one_frame_in_one_cluster_become_their_enclosing_box() -> None:
    boxes = [seen(0, (0.1, 0.1, 0.3, 0.3), 0.6), SeenBox("drive:000000", 0, (0.15, 0.1, 0.35, 0.3), "smoke", 0.8, "drive:000000:1")]
    found = made(*boxes, seen(1, (0.1, 0.1, 0.35, 0.3), 0.7))
    [only] = found.sequences
    assert (only.boxes[0].box_xyxyn, only.boxes[0].confidence) == ((0.1, 0.1, 0.35, 0.3), 0.8)
    assert only.boxes[0].annotation_ids == ("drive:000000:0", "drive:000000:1")
    assert (found.summary["sequence_boxes"], found.summary["joined_in_a_frame"]) == (2, 1)


@pytest.mark.requirement("SEQ-06")
def test_the_size_of_a_cluster_is_its_frames_and_not_its_boxes() -> None:
    twice = [seen(0), SeenBox("drive:000000", 0, PLACE, "smoke", 0.9, "drive:000000:1")]
    assert made(*twice, min_cluster_size=2).sequences == ()
    assert len(made(*twice, seen(1), min_cluster_size=2).sequences) == 1


def test_classes_are_kept_apart_unless_the_greedy_scan_or_the_setting_joins_them() -> None:
    boxes = [seen(0, class_id="car"), seen(1, class_id="truck"), seen(2, class_id="truck")]
    assert [each.class_id for each in made(*boxes).sequences] == ["car", "truck"]
    for settings in ({"per_class": False}, {"algorithm": "greedy_s4"}):
        [only] = made(*boxes, **settings).sequences
        assert (only.class_id, len(only.boxes)) == ("truck", 3)
    assert len(made(*boxes, algorithm="greedy_s4", per_class=True).sequences) == 2


def test_a_longest_gap_divides_what_comes_back_to_the_same_place() -> None:
    boxes = [seen(0), seen(1), seen(9), seen(10)]
    assert [len(each.boxes) for each in made(*boxes).sequences] == [4]
    assert [each.first_frame for each in made(*boxes, max_gap=7).sequences] == [0, 9]
    assert [len(each.boxes) for each in made(*boxes, max_gap=8).sequences] == [4]


def test_sequences_are_numbered_by_first_frame_and_then_by_place_whatever_the_order_of_the_boxes() -> None:
    boxes = [seen(0, (0.6, 0.1, 0.7, 0.2)), seen(0, (0.1, 0.1, 0.2, 0.2)), seen(3, (0.3, 0.3, 0.4, 0.4)), seen(1, (0.8, 0.8, 0.9, 0.9))]
    found = [(each.sequence_id, each.boxes[0].box_xyxyn[0]) for each in made(*boxes).sequences]
    assert found == [("drive:s0001", 0.1), ("drive:s0002", 0.6), ("drive:s0003", 0.8), ("drive:s0004", 0.3)]
    again = [(each.sequence_id, each.boxes[0].box_xyxyn[0]) for each in made(*reversed(boxes)).sequences]
    assert again == found


@pytest.mark.requirement("SEQ-17")
def test_presets_lie_in_the_bands_of_the_guidance_and_what_is_set_goes_before_them() -> None:
    bands = {
        Preset.conservative: ((0.7, 0.9), (0.5, 0.7), (3, 100)),
        Preset.balanced: ((0.4, 0.6), (0.3, 0.4), (1, 1)),
        Preset.permissive: ((0.1, 0.3), (0.1, 0.2), (1, 1)),
        Preset.all: ((0.0, 0.0), (0.0, 0.0), (1, 1)),
    }
    for preset, limits in bands.items():
        values = PRESETS[preset].values()
        assert all(low <= value <= high for value, (low, high) in zip(values, limits, strict=True))
        parameters = SequenceSettings(preset=preset).parameters()
        assert (parameters.confidence_threshold, parameters.iou_threshold, parameters.min_cluster_size) == tuple(values)
    assert SequenceSettings().parameters() == SequenceSettings(preset=Preset.balanced).parameters()
    assert SequenceSettings(preset=Preset.conservative, iou_threshold=0.0).parameters().iou_threshold == 0.0


@pytest.mark.requirement("SEQ-21")
def test_what_is_different_for_a_recording_goes_before_what_holds_for_all() -> None:
    settings = SequenceSettings(confidence_threshold=0.2, iou_threshold=0.2, max_gap=4)
    found = settings.parameters(SequenceOverrides(iou_threshold=0.7))
    assert (found.confidence_threshold, found.iou_threshold, found.max_gap) == (0.2, 0.7, 4)
    found = settings.parameters(SequenceOverrides(preset=Preset.conservative, min_cluster_size=5))
    assert (found.confidence_threshold, found.iou_threshold, found.min_cluster_size, found.max_gap) == (0.8, 0.6, 5, 4)


def point(frame: int, score: float | None) -> TrackPoint:
    each = FRAMES[frame]
    box = Box3D(0.0, 1.0, 8.0, 4.0, 1.6, 1.5, 0.0)
    corners = (8.0 + frame, 6.0, 24.0 + frame, 18.0)
    return TrackPoint(each.frame_id, frame, each.timestamp_ns, f"{each.frame_id}:0", "car", "Car", score, corners, box, box, None)


@pytest.mark.requirement("SEQ-06")
def test_a_track_becomes_a_sequence_with_all_its_boxes_when_its_best_box_is_sure(tmp_path: Path) -> None:
    house = House(tmp_path)
    detections = house.workspace.recording_artifact("drive", "detections").version
    tracks = (
        Track(3, "car", "Car", (point(1, 0.3), point(4, 0.8)), active=False),
        Track(5, "car", "Car", (point(2, 0.4),), active=False),
        Track(7, "car", "Car", (point(2, None),), active=False),
    )
    boxes = house.publish("boxes_3d", {"detections": detections}, lambda _: None)
    house.publish(
        "tracks", {"boxes_3d": boxes.version}, lambda folder: tracks_file.write(folder / "tracks.json", TrackSet("drive", 6, tracks))
    )
    parameters = SequenceSettings(source="track").parameters()
    found = annotate("drive", house.workspace.recording_artifacts("drive", *INPUTS[parameters.source]), parameters, lambda _: None)
    assert [(each.track_id, each.masklet_id, each.class_id, len(each.boxes)) for each in found.sequences] == [
        (3, None, "car", 2),
        (7, None, "car", 1),
    ]
    assert (found.source, found.algorithm, found.summary["below_confidence"]) == ("track", None, 1)
    assert found.sequences[0].boxes[1].annotation_ids == ("drive:000004:0",)

    other = house.detect(lambda _: [], setting=2)
    assert other.version != detections
    with pytest.raises(Exception, match="The tracks of 'drive' were made from other detections"):
        house.workspace.recording_artifacts("drive", *INPUTS[parameters.source])


def masklet(frame: int, masklet_id: int, level: int, score: float | None) -> MaskletRow:
    each = FRAMES[frame]
    candidate = f"{each.frame_id}:0" if score is not None else None
    place = {"height": 60, "width": 80, "counts": "", "area": 4, "x1": 8, "y1": 6, "x2": 24, "y2": 18}
    origin = "forward" if candidate is None else "prompt"
    names = {"recording": "drive", "class_id": "car", "frame_id": each.frame_id, "frame_index": frame, "timestamp_ns": each.timestamp_ns}
    return MaskletRow(level=level, masklet_id=masklet_id, score=score, origin=origin, candidate_id=candidate, **names, **place)


@pytest.mark.requirement("SEQ-06")
def test_a_masklet_of_the_lowest_level_becomes_a_sequence(tmp_path: Path) -> None:
    house = House(tmp_path)

    def write(folder: Path) -> None:
        with MaskletTableWriter(folder / "masklets.parquet") as table:
            for row in (masklet(0, 1, 2, 0.9), masklet(1, 1, 2, None), masklet(1, 2, 2, 0.1), masklet(0, 3, 4, 0.9)):
                table.add(row)

    house.publish("masklets", {"frames": house.frames.version}, write)
    for settings, expected in (({}, [(1, 2)]), ({"masklet_level": 4}, [(3, 1)])):
        parameters = SequenceSettings(source="masklet", **settings).parameters()
        found = annotate("drive", house.workspace.recording_artifacts("drive", *INPUTS[parameters.source]), parameters, lambda _: None)
        assert [(each.masklet_id, len(each.boxes)) for each in found.sequences] == expected
    assert found.sequences[0].boxes[0].box_xyxyn == (0.1, 0.1, 0.3, 0.3)
