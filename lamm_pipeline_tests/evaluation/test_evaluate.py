import json
import math
from dataclasses import replace

import pytest

from lamm_pipeline.datasets.lineage import FRAMES_FILE, SCHEMA
from lamm_pipeline.errors import InputError
from lamm_pipeline.evaluation.evaluate import evaluate
from lamm_pipeline.evaluation.inputs import BoxSource
from lamm_pipeline.extraction import frame_registry
from lamm_pipeline.extraction.frame_registry import FrameRegistry
from lamm_pipeline.geometry.box_3d import Box3D
from lamm_pipeline.reconstruction import frame_boxes
from lamm_pipeline.reconstruction.frame_boxes import FrameBoxes, ObjectBox
from lamm_pipeline.storage.tables import write_table
from lamm_pipeline.tracking import tracks
from lamm_pipeline.tracking.masklets.masklet_table import MaskletRow, MaskletTableWriter
from lamm_pipeline.tracking.tracks import Track, TrackPoint, TrackSet
from lamm_pipeline_tests.evaluation import kitti_truth
from lamm_pipeline_tests.evaluation.kitti_truth import FRAMES, predictions_of, thing, truth_of
from lamm_pipeline_tests.extraction.frame_records import frame_record


@pytest.fixture
def truth(tmp_path):
    return kitti_truth.write(tmp_path / "truth", truth_of)


@pytest.fixture
def score(tmp_path, truth):
    """Scores predictions given as a function of the frame, or as a change of the perfect ones."""

    def run(objects_of, **arguments):
        folder = tmp_path / f"result{len(list(tmp_path.iterdir()))}"
        return evaluate(kitti_truth.write(folder, objects_of), truth, **arguments).to_json()

    return run


def numbers(row):
    return row["tp"], row["fp"], row["fn"]


def test_a_perfect_result_scores_1_everywhere(score):
    report = score(predictions_of)
    assert report["frames"] == {"evaluated": 6, "truth": 6, "result": 6, "camera": 2}
    assert {name: numbers(row) for name, row in report["detection"].items()} == {
        "Car": (12, 0, 0),
        "Van": (6, 0, 0),
        "Pedestrian": (6, 0, 0),
        "vehicle": (18, 0, 0),
    }
    assert {(row["recall"], row["precision"], row["ap"]) for row in report["detection"].values()} == {(1.0, 1.0, 1.0)}
    boxes = report["boxes_3d"]
    assert boxes["pairs"] == 24
    assert boxes["distance_error_m"] == {"median": 0.0, "p90": 0.0, "median_percent": 0.0}
    assert boxes["iou_3d"]["median"] == pytest.approx(1.0)
    assert boxes["iou_bev"]["mean"] == pytest.approx(1.0)
    assert boxes["ap_3d"] == {"0.25": 1.0, "0.5": 1.0, "0.7": 1.0}
    assert {name: row["truth"] for name, row in boxes["by_range"].items()} == {"0-10": 6, "10-20": 6, "20-40": 6, "40+": 6}
    tracked = report["tracks"]
    assert (tracked["hota"], tracked["idf1"], tracked["mota"], tracked["idf1_center_2m"]) == pytest.approx((1.0, 1.0, 1.0, 1.0))
    assert (tracked["id_switches"], tracked["truth_tracks"], tracked["result_tracks"]) == (0, 4, 4)
    assert set(tracked["by_class"]) == {"Car", "Van", "Pedestrian", "vehicle"}


def test_masklets_are_scored_by_the_boxes_around_their_masks(tmp_path, truth):
    folder = kitti_truth.write(tmp_path / "result", lambda _: [])
    classes = {"Car": "car", "Van": "van", "Pedestrian": "person"}
    with MaskletTableWriter(folder / "masklets.parquet") as table:
        for frame in FRAMES:
            for item in predictions_of(frame):
                box = [round(value) for value in item.box_xyxy]
                name = f"drive:{frame:06d}"
                row = ("drive", 1, item.track_id + 1, classes[item.type], name, frame, 0, 375, 1242, "", 1, *box, 0.9, "prompt", None)
                table.add(MaskletRow(*row))
    report = evaluate(folder, truth, boxes=BoxSource.masklet).to_json()
    assert report["boxes"] == "masklet"
    assert {name: numbers(row) for name, row in report["detection"].items()}["Car"] == (12, 0, 0)
    assert (report["tracks"]["hota"], report["tracks"]["idf1"]) == pytest.approx((1.0, 1.0))
    assert report["boxes_3d"]["pairs"] == 0


def test_masklets_that_are_not_there_cannot_be_scored(tmp_path, truth):
    with pytest.raises(InputError, match="has no masklets"):
        evaluate(kitti_truth.write(tmp_path / "result", predictions_of), truth, boxes=BoxSource.masklet)


def test_kitti_truth_against_itself_is_perfect(shared_data):
    folder = shared_data / "kitti_raw_0039_stereo"
    report = evaluate(folder, folder, camera=2)
    assert report.frames["evaluated"] == 15
    assert {(row["recall"], row["precision"]) for row in report.detection.values()} == {(1.0, 1.0)}
    assert report.boxes_3d["iou_3d"]["median"] == pytest.approx(1.0)
    assert report.boxes_3d["ap_3d"]["0.7"] == 1.0
    assert report.tracks["hota"] == pytest.approx(1.0)
    assert report.tracks["id_switches"] == 0


def test_missed_objects_lower_recall_and_nothing_else(score):
    report = score(lambda frame: predictions_of(frame)[1:] if frame < 3 else predictions_of(frame))
    assert numbers(report["detection"]["Car"]) == (9, 0, 3)
    assert report["detection"]["Car"]["recall"] == report["detection"]["Car"]["ap"] == 0.75
    assert report["detection"]["Car"]["precision"] == 1.0
    assert report["detection"]["vehicle"]["recall"] == pytest.approx(15 / 18)
    assert report["boxes_3d"]["by_range"]["10-20"] == report["boxes_3d"]["by_range"]["10-20"] | {"truth": 6, "recall": 0.5}
    assert report["tracks"]["fn"] == 3


def test_false_ones_lower_precision_and_where_they_rank_decides_ap(score):
    sure = score(lambda frame: [*predictions_of(frame), thing("Car", 400.0, 2.0, 50.0, 9, score=0.95)])["detection"]["Car"]
    unsure = score(lambda frame: [*predictions_of(frame), thing("Car", 400.0, 2.0, 50.0, 9, score=0.2)])["detection"]["Car"]
    assert numbers(sure) == numbers(unsure) == (12, 6, 0)
    assert sure["precision"] == pytest.approx(12 / 18)
    assert sure["ap"] == pytest.approx(12 / 18)
    assert unsure["ap"] == 1.0


def test_a_second_box_on_the_same_object_is_false(score):
    report = score(lambda frame: [*predictions_of(frame), replace(predictions_of(frame)[3], score=0.5, track_id=9)])
    assert numbers(report["detection"]["Pedestrian"]) == (6, 6, 0)


def test_scores_that_are_equal_or_missing_do_not_depend_on_the_order(score):
    def objects(frame):
        return [replace(item, score=None) for item in [*predictions_of(frame), thing("Car", 400.0, 2.0, 50.0, 9)]]

    one, other = score(objects), score(lambda frame: objects(frame)[::-1])
    assert one == other
    assert one["detection"]["Car"]["ap"] == pytest.approx(12 / 18)


def test_objects_that_do_not_count_and_dont_care_regions_excuse_a_prediction(score):
    def objects(frame):
        cut_off, unlabelled = thing("Car", 900.0, 5.0, 6.0, 8, score=0.9), thing("Car", 1050.0, 9.0, 40.0, 9, score=0.9)
        return [*predictions_of(frame), cut_off, unlabelled]

    report = score(objects)
    assert numbers(report["detection"]["Car"]) == (12, 0, 0)
    assert report["detection"]["Car"]["ignored"] == 12
    assert report["boxes_3d"]["ap_3d"]["0.7"] == 1.0
    assert (report["tracks"]["fp"], report["tracks"]["result_tracks"]) == (0, 4)


@pytest.mark.parametrize(
    "change", [{"truncated": 0.6}, {"box_xyxy": (300.0, 100.0, 380.0, 124.0)}, {"box": Box3D(0.0, 1.6, 1.9, 4.0, 1.7, 1.5, 1.2)}]
)
def test_truth_that_is_cut_off_small_or_too_near_is_not_demanded(tmp_path, change):
    def truth_objects(frame):
        return [replace(item, **change) if item.track_id == 1 else item for item in truth_of(frame)]

    truth = kitti_truth.write(tmp_path / "truth", truth_objects)
    result = kitti_truth.write(tmp_path / "result", lambda frame: [item for item in predictions_of(frame) if item.track_id != 1])
    assert numbers(evaluate(result, truth).detection["Car"]) == (6, 0, 0)


def test_a_van_called_a_car_is_right_for_the_group_missed_for_its_type_and_no_false_car(score):
    report = score(lambda frame: [replace(item, type="Car") if item.type == "Van" else item for item in predictions_of(frame)])
    assert numbers(report["detection"]["vehicle"]) == (18, 0, 0)
    assert numbers(report["detection"]["Van"]) == (0, 0, 6)
    assert numbers(report["detection"]["Car"]) == (12, 0, 0)
    assert report["detection"]["Van"]["precision"] is None
    assert report["tracks"]["idf1"] == pytest.approx(1.0)


def test_a_van_called_a_truck_is_a_false_truck(score):
    report = score(lambda frame: [replace(item, type="Truck") if item.type == "Van" else item for item in predictions_of(frame)])
    assert numbers(report["detection"]["Truck"]) == (0, 6, 0)
    assert report["detection"]["Truck"]["recall"] is None
    assert numbers(report["detection"]["vehicle"]) == (18, 0, 0)


def test_boxes_that_are_moved_in_space_are_measured_in_metres_by_distance(score):
    def farther(item):
        box = item.box
        share = 1.1  # 10 % too far along the line of sight
        center_y = (box.y - box.height / 2.0) * share
        return replace(item, box=replace(box, x=box.x * share, y=center_y + box.height / 2.0, z=box.z * share))

    boxes = score(lambda frame: [farther(item) for item in predictions_of(frame)])["boxes_3d"]
    assert boxes["distance_error_m"]["median_percent"] == pytest.approx(10.0, abs=0.1)
    distances = [math.dist((0, 0, 0), (x, y, z)) for x, y, z in ((-5, 0.85, 15), (0, 0.85, 30), (6, 0.5, 45), (3, 0.75, 8))]
    for name, distance in zip(("10-20", "20-40", "40+", "0-10"), distances, strict=True):
        assert boxes["by_range"][name]["distance_error_m"]["median"] == pytest.approx(0.1 * distance, abs=0.02)
        assert boxes["by_range"][name]["center_error_m"]["median"] == pytest.approx(0.1 * distance, abs=0.02)
    assert boxes["ap_3d"]["0.7"] < 0.3
    assert boxes["yaw_error_deg"]["median"] == 0.0


def test_a_box_turned_round_has_a_wrong_heading_and_a_right_axis(score):
    boxes = score(lambda frame: [replace(item, box=replace(item.box, rotation_y=1.2 - math.pi)) for item in predictions_of(frame)])[
        "boxes_3d"
    ]
    assert boxes["yaw_error_deg"]["median"] == pytest.approx(180.0, abs=0.3)
    assert boxes["axis_error_deg"]["median"] == pytest.approx(0.0, abs=0.3)
    assert boxes["iou_3d"]["median"] == pytest.approx(1.0, abs=0.02)


def test_half_a_box_overlap_is_measured(score):
    boxes = score(lambda frame: [replace(item, box=replace(item.box, y=1.6 - item.box.height / 2.0)) for item in predictions_of(frame)])[
        "boxes_3d"
    ]
    assert boxes["iou_3d"]["mean"] == pytest.approx(1 / 3, abs=0.01)
    assert boxes["iou_bev"]["mean"] == pytest.approx(1.0, abs=0.001)
    assert boxes["ap_3d"] == {"0.25": 1.0, "0.5": 0.0, "0.7": 0.0}


def test_a_prediction_without_3d_box_counts_in_the_image_only(score):
    no_box = kitti_truth.kitti_labels.NO_BOX_3D
    report = score(lambda frame: [replace(item, box=no_box, alpha=-10.0) for item in predictions_of(frame)])
    assert report["detection"]["Car"]["recall"] == 1.0
    assert (report["boxes_3d"]["pairs"], report["boxes_3d"]["pairs_without_box_3d"]) == (0, 24)
    assert report["boxes_3d"]["iou_3d"] == {"median": None, "mean": None}
    assert report["tracks"]["idf1"] == pytest.approx(1.0)
    assert report["tracks"]["idf1_center_2m"] == 0.0


def test_switched_ids_are_counted(score):
    swapped = {0: 1, 1: 0}
    report = score(
        lambda frame: [
            replace(item, track_id=swapped.get(item.track_id, item.track_id)) if frame >= 3 else item for item in predictions_of(frame)
        ]
    )
    assert report["tracks"]["id_switches"] == 2
    assert report["tracks"]["by_class"]["Car"]["id_switches"] == 2
    assert report["tracks"]["by_class"]["Pedestrian"]["id_switches"] == 0
    assert report["tracks"]["idf1"] == pytest.approx(0.75)
    assert report["tracks"]["idf1_center_2m"] == pytest.approx(0.75)
    assert report["detection"]["Car"]["ap"] == 1.0


def test_tracks_in_the_right_place_of_the_image_but_3_m_off_in_space(score):
    report = score(lambda frame: [replace(item, box=replace(item.box, z=item.box.z + 3.0)) for item in predictions_of(frame)])
    assert report["tracks"]["idf1"] == pytest.approx(1.0)
    assert report["tracks"]["idf1_center_2m"] == 0.0


def test_without_tracks_on_one_side_tracks_are_null(tmp_path, truth):
    result = kitti_truth.write(tmp_path / "result", predictions_of, tracks=False)
    report = evaluate(result, truth)
    assert report.to_json()["tracks"] is None
    assert "not scored" in report.to_text()


def test_2d_boxes_of_kitti_are_moved_into_the_grey_camera(tmp_path):
    """44.857 / z pixels, as the calibration of KITTI says."""
    truth = kitti_truth.write(tmp_path / "truth", truth_of)
    (truth / "image_0").mkdir()
    zeros = "0 0 0 0 700 0 0 0 0 1 0"
    (truth / "calib.txt").write_text(f"P0: 700 {zeros.replace('0 0 0 0', '0 600 0 0', 1)}\nP2: 700 0 600 44.857 0 700 170 0 0 0 1 0\n")

    def seen_from_camera_0(frame):
        moved = []
        for item in predictions_of(frame):
            x1, y1, x2, y2 = item.box_xyxy
            moved.append(replace(item, box_xyxy=(x1 - 44.857 / item.box.z, y1, x2 - 44.857 / item.box.z, y2)))
        return moved

    result = kitti_truth.write(tmp_path / "result", seen_from_camera_0)
    assert evaluate(result, truth).frames["camera"] == 0
    assert evaluate(result, truth).tracks["loca"] > 0.999
    assert evaluate(result, truth, camera=2).tracks["loca"] < 0.99
    (truth / "calib.txt").write_text("P0: 700 0 600\n")
    with pytest.raises(InputError, match=r"calib\.txt has no usable P0 and P2"):
        evaluate(result, truth)
    (truth / "image_2").mkdir()
    assert evaluate(result, truth).frames["camera"] == 2


def test_frames_are_paired_by_number_or_offset_and_only_frames_with_truth_count(tmp_path):
    truth = kitti_truth.write(tmp_path / "truth", truth_of, frames=range(0, 6, 2), first=100)
    result = kitti_truth.write(tmp_path / "result", predictions_of)
    with pytest.raises(InputError, match="Not one of the 6 frames"):
        evaluate(result, truth)
    report = evaluate(result, truth, frame_offset=100)
    assert (report.frames["evaluated"], report.frames["truth"], report.frames["result"]) == (3, 3, 6)
    assert report.detection["Car"]["recall"] == 1.0
    assert report.tracks["hota"] == pytest.approx(1.0)


def stored_boxes(recording, frame, too_far_m):
    frame_id = f"{recording}:{frame:06d}"
    boxes = []
    for number, item in enumerate(predictions_of(frame)):
        box = replace(item.box, z=item.box.z + too_far_m)
        boxes.append(
            ObjectBox(f"{frame_id}:{number}", "x", item.type, item.score, box, item.alpha, item.box_xyxy, 0.0, 0, box.z, 99, "prior")
        )
    return FrameBoxes(frame_id, frame, frame, tuple(boxes), ())


def as_root(root, recording, truth_stems, too_far_m=0.0):
    """What the pipeline leaves in its store: boxes, label files, tracks, and a registry with the names of packed images."""
    folders = {asset: root / "recordings" / recording / asset / f"v-{asset}" for asset in ("boxes_3d", "tracks", "frames")}
    for folder in folders.values():
        folder.mkdir(parents=True)
        (folder.parent / "current.json").write_text(json.dumps({"version": folder.name}))
    kitti_truth.write(folders["boxes_3d"] / "x", predictions_of, tracks=False)
    (folders["boxes_3d"] / "x" / "label_2").rename(folders["boxes_3d"] / "label_2")
    frame_boxes.write(folders["boxes_3d"] / "boxes_3d.json", (stored_boxes(recording, frame, too_far_m) for frame in FRAMES))
    found = []
    for track_id in range(4):
        points = []
        for frame in FRAMES:
            item = predictions_of(frame)[track_id]
            frame_id = f"{recording}:{frame:06d}"
            points.append(
                TrackPoint(frame_id, frame, frame, f"{frame_id}:{track_id}", "x", item.type, None, item.box_xyxy, item.box, item.box, None)
            )
        found.append(Track(track_id + 1, "x", "X", tuple(points)))
    tracks.write(folders["tracks"] / "tracks.json", TrackSet(recording, len(FRAMES), tuple(found)))
    records = tuple(
        frame_record(
            recording,
            frame,
            frame,
            svo2_file="a.svo2",
            image_left=f"image_left/{frame:06d}.png",
            source_name=None if stem is None else f"image_0/{stem}.png",
        )
        for frame, stem in zip(FRAMES, truth_stems, strict=True)
    )
    registry = FrameRegistry(recording, "a.svo2", "0", 6, 6, (), {}, {}, False, None, 1242, 375, records)
    frame_registry.write(folders["frames"] / "frame_registry.json", registry)
    return root


def test_a_root_is_scored_and_its_frames_are_paired_by_the_names_of_the_packed_images(tmp_path):
    truth = kitti_truth.write(tmp_path / "truth", truth_of, first=281)
    root = as_root(tmp_path / "root", "drive", [f"{281 + frame:06d}" for frame in FRAMES])
    for result in (root, root / "recordings" / "drive"):
        report = evaluate(result, truth)
        assert report.frames["evaluated"] == 6
        assert report.detection["vehicle"]["recall"] == 1.0
        assert report.tracks["hota"] == pytest.approx(1.0)


def test_a_root_without_packed_images_is_paired_by_number(tmp_path, truth):
    assert evaluate(as_root(tmp_path / "root", "drive", [None] * 6), truth).frames["evaluated"] == 6


def test_boxes_of_a_root_are_not_rounded_to_the_centimetres_of_label_files(tmp_path, truth):
    root = as_root(tmp_path / "root", "drive", [None] * 6, too_far_m=0.004)
    assert evaluate(root, truth, boxes=BoxSource.frame).boxes_3d["distance_error_m"]["median"] == pytest.approx(0.004, abs=0.001)


def racing(frame):
    """Truth in which nothing overlaps itself a frame later."""
    return [
        replace(item, box_xyxy=(item.box_xyxy[0] + 100.0 * frame, item.box_xyxy[1], item.box_xyxy[2] + 100.0 * frame, item.box_xyxy[3]))
        for item in truth_of(frame)[:4]
    ]


def as_split(root, recordings, split):
    """A KITTI export of frames that are numbered anew, as the exports leave them: `val` has the last four frames of each recording."""
    folders = {asset: root / "datasets" / "set.v1" / asset / f"v-{asset}" for asset in ("kitti_dataset", "lineage")}
    rows, labels = [], {}
    for recording in recordings:
        for frame in FRAMES:
            name = "train" if frame < 2 else "val"
            number = sum(row["split"] == name for row in rows)
            labels[name, number] = frame
            rows.append({"frame_id": "", "recording": recording, "frame_index": frame, "split": name, "output_index": number})
    for name in ("train", "val"):
        frames = [number for split_name, number in labels if split_name == name]
        kitti_truth.write(
            folders["kitti_dataset"] / "kitti" / name, lambda n, name=name: racing(labels[name, n]), tracks=False, frames=frames
        )
    folders["lineage"].mkdir(parents=True)
    (folders["lineage"].parent / "current.json").write_text(json.dumps({"version": folders["lineage"].name}))
    write_table(folders["lineage"] / FRAMES_FILE, SCHEMA, [row | {"annotation_count": 0, "annotation_ids": []} for row in rows])
    return folders["kitti_dataset"] / "kitti" / split


@pytest.mark.parametrize("first", [0, 281])
def test_an_exported_split_is_paired_by_its_lineage_though_its_files_are_numbered_anew(tmp_path, first):
    """KITTI's own numbers behind the recording are found as well."""
    truth = kitti_truth.write(tmp_path / "truth", racing, first=first)
    root = as_root(tmp_path / "root", "drive", [f"{first + frame:06d}" for frame in FRAMES])
    val = as_split(root, ["drive"], "val")
    report = evaluate(val, truth)
    assert (report.frames["evaluated"], report.detection["vehicle"]["recall"]) == (4, 1.0)
    assert evaluate(val, truth, frame_range=range(3, 5)).frames["evaluated"] == 2


def test_a_split_of_several_recordings_wants_a_name(tmp_path):
    truth = kitti_truth.write(tmp_path / "truth", racing)
    root = as_root(as_root(tmp_path / "root", "a", [None] * 6), "b", [None] * 6)
    val = as_split(root, ["a", "b"], "val")
    with pytest.raises(InputError, match=r"frames of 2 recordings: a, b\. Name one"):
        evaluate(val, truth)
    with pytest.raises(InputError, match="'c' is not among them"):
        evaluate(val, truth, recording="c")
    report = evaluate(val, truth, recording="b")
    assert (report.frames["evaluated"], report.frames["result"], report.detection["vehicle"]["recall"]) == (4, 4, 1.0)


def test_a_split_that_was_copied_away_is_paired_by_number(tmp_path):
    truth = kitti_truth.write(tmp_path / "truth", racing)
    root = as_root(tmp_path / "root", "drive", [None] * 6)
    copied = as_split(root, ["drive"], "val").rename(tmp_path / "val")
    assert evaluate(copied, truth).frames["evaluated"] == 4
    assert evaluate(copied, truth).detection["vehicle"]["recall"] < 1.0
    assert evaluate(copied, truth, frame_offset=2).detection["vehicle"]["recall"] == 1.0


def test_a_root_with_several_recordings_wants_a_name(tmp_path, truth):
    root = as_root(as_root(tmp_path / "root", "a", [None] * 6), "b", [None] * 6)
    with pytest.raises(InputError, match=r"has 2 recordings: a, b\. Name one"):
        evaluate(root, truth)
    with pytest.raises(InputError, match="'c' is not among them"):
        evaluate(root, truth, recording="c")
    assert evaluate(root, truth, recording="b").frames["evaluated"] == 6


def test_what_is_missing_is_said(tmp_path, truth):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no result to score"):
        evaluate(tmp_path / "empty", truth)
    with pytest.raises(InputError, match="has no ground truth"):
        evaluate(truth, tmp_path / "empty")
    with pytest.raises(InputError, match="must be above 0"):
        evaluate(truth, truth, iou_threshold=0.0)


def test_the_text_has_a_line_for_everything_scored(tmp_path, truth):
    report = evaluate(kitti_truth.write(tmp_path / "result", predictions_of), truth)
    text = report.to_text()
    assert "6 frames compared" in text
    for word in ("Car", "vehicle", "Pedestrian", "at 40+ m", "HOTA"):
        assert word in text
    assert all(line == line.rstrip() and len(line) <= 120 for line in text.splitlines())
    json.dumps(report.to_json(), allow_nan=False)
