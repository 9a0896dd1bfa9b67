import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction.frame_registry import FrameRecord
from lamm_pipeline.ontology.ontology import load_ontology
from lamm_pipeline.orchestration.config import science
from lamm_pipeline.segmentation import detections
from lamm_pipeline.segmentation.assets import DetectionsConfig
from lamm_pipeline.segmentation.backends import make_segmenter
from lamm_pipeline.segmentation.detections import FrameDetections
from lamm_pipeline.segmentation.segment_frames import SegmentationSummary, segment_frames
from lamm_pipeline.segmentation.settings import SegmentationSettings
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline_tests.segmentation.bright_squares import HEIGHT, WIDTH, frame, registry, write_files

ONTOLOGY = load_ontology()
FRAMES = [frame(1), replace(frame(2), source_name="shot_b"), frame(3), frame(4)]
BOX = [0.25, 0.25, 0.75, 0.5]


def prediction(label: str = "car", confidence: float | None = 0.8, box: list[float] | None = None) -> dict[str, Any]:
    return {"xyxyn": box or BOX, "confidence": confidence, "class_name": label}


def s4(**by_key: list[dict[str, Any]]) -> dict[str, Any]:
    return {key: {"predictions": entries} for key, entries in by_key.items()}


def run(
    tmp_path: Path, document: Any, frames: list[FrameRecord] | None = None, calibrated: bool = True, **settings: Any
) -> tuple[SegmentationSummary, list[FrameDetections]]:
    """The stage over a small recording, with `document` as the file of predictions (a path is taken as it is)."""
    recorded = FRAMES if frames is None else frames
    if not (tmp_path / "frames").exists():
        write_files(tmp_path / "frames", recorded)
    path = document
    if not isinstance(document, Path):
        path = tmp_path / "predictions.json"
        path.write_text(json.dumps(document))
    chosen = SegmentationSettings(backend="external", predictions=str(path), **settings)
    draft = Draft.open(tmp_path / "out")
    known = registry(recorded) if calibrated else registry(recorded, camera=None)
    summary = segment_frames(known, tmp_path / "frames", make_segmenter(chosen, ONTOLOGY), ONTOLOGY, chosen, draft)
    return summary, list(detections.read(summary.path))


def report(summary: SegmentationSummary) -> Mapping[str, Any]:
    found: Mapping[str, Any] = summary.report["predictions"]
    return found


@pytest.mark.requirement("SEG-09")
def test_s4_predictions_become_detections_with_the_box_in_pixels(tmp_path: Path) -> None:
    summary, frames = run(tmp_path, {"drive:000001": {"predictions": [prediction(), prediction("person", None, [0.0, 0.1, 0.5, 0.9])]}})
    car, person = frames[0].detections
    assert (car.class_id, car.class_name, car.confidence, car.mask_source) == ("car", "Car", 0.8, "box")
    assert car.box_xyxy == (20.0, 15.0, 60.0, 30.0)
    assert car.area == 40 * 15
    assert (person.class_id, person.confidence, person.box_xyxy) == ("person", None, (0.0, 6.0, 40.0, 54.0))
    assert [each.frame_id for each in frames] == ["drive:000001", "drive:000002", "drive:000003", "drive:000004"]
    assert summary.mean_confidence == 0.8
    head = detections.read_head(summary.path)
    assert head["predictions"] == report(summary)
    assert head["segmenter"]["backend"] == "external"


@pytest.mark.parametrize(
    ("key", "index"),
    [
        ("drive:000003", 3),
        ("drive:3", 3),
        ("3", 3),
        ("000003", 3),
        ("000003.png", 3),
        ("image_left/000003.png", 3),
        ("drive/image_left/000003.png", 3),
        ("drive/3", 3),
        ("drive_000003.jpg", 3),
        ("data\\drive\\000003.png", 3),
        ("1700000000000000003", 3),
        ("shot_b", 2),
        ("shot_b.png", 2),
        ("images/shot_b.jpeg", 2),
        ("3f9a01bc-drive_000003.png", 3),
        ("../../label-studio/data/media/upload/1/3f9a01bc-drive_000003.png", 3),
    ],
)
@pytest.mark.requirement("SEG-09")
def test_a_frame_is_meant_by_id_index_image_or_timestamp(tmp_path: Path, key: str, index: int) -> None:
    _, frames = run(tmp_path, {key: {"predictions": [prediction()]}})
    assert [each.frame_index for each in frames if each.detections] == [index]


@pytest.mark.requirement("SEG-09")
def test_what_does_not_match_is_counted_and_named(tmp_path: Path) -> None:
    summary, frames = run(
        tmp_path,
        {
            "drive": {"1": {"predictions": [prediction()]}, "99": {"predictions": [prediction(), prediction()]}},
            "other": {"2": {"predictions": [prediction()]}},
            "quarry:000002": {"predictions": [prediction(), prediction()]},
            "no such image": {"predictions": []},
        },
    )
    assert [len(each.detections) for each in frames] == [1, 0, 0, 0]
    assert report(summary) == {
        "frames_matched": 1,
        "frames_without_predictions": 3,
        "first_frames_without_predictions": ["drive:000002", "drive:000003", "drive:000004"],
        "unmatched_entries": 2,
        "unmatched_predictions": 2,
        "first_unmatched_entries": ["drive/99", "no such image"],
        "entries_of_other_recordings": 2,
        "predictions_of_other_recordings": 3,
        "unknown_class_predictions": 0,
        "unknown_classes": {},
    }


def test_only_the_first_ids_are_listed_but_all_are_counted(tmp_path: Path) -> None:
    summary, _ = run(tmp_path, s4(**{"1": [prediction()]}, **{f"x{n:03d}": [] for n in range(200)}))
    assert report(summary)["unmatched_entries"] == 200
    assert report(summary)["first_unmatched_entries"] == [f"x{n:03d}" for n in range(10)]


def test_predictions_for_no_frame_at_all_are_an_error_that_shows_both_sides(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"it has 'other/1', the recording 'drive:000001' \(image image_left/000001"):
        run(tmp_path, {"other": {"1": {"predictions": [prediction()]}}})


def test_a_key_that_may_mean_two_frames_is_refused(tmp_path: Path) -> None:
    frames = [frame(1), replace(frame(2), source_name="000001")]
    with pytest.raises(InputError, match=r"'000001' in .* may mean the frames drive:000001 and drive:000002; write the frame id instead"):
        run(tmp_path, s4(**{"000001": [prediction()]}), frames)


def test_two_keys_for_one_frame_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'1' and '000001\.png' in .* both mean frame drive:000001; keep one"):
        run(tmp_path, {"1": {"predictions": []}, "000001.png": {"predictions": [prediction()]}})


@pytest.mark.requirement("SEG-09")
def test_a_folder_has_a_file_a_frame_below_folders_that_name_recordings(tmp_path: Path) -> None:
    folder = tmp_path / "predicted"
    for name in ("drive/000001.json", "drive/000003.json", "other/000002.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps({"predictions": [prediction()]}))
    summary, frames = run(tmp_path, folder)
    assert [each.frame_index for each in frames if each.detections] == [1, 3]
    assert report(summary)["entries_of_other_recordings"] == 1


@pytest.mark.parametrize(("label", "class_id"), [("car", "car"), ("CAR", "car"), ("Haul truck", "haul_truck"), ("Vehicle", "car")])
@pytest.mark.requirement("SEG-09")
def test_a_class_is_meant_by_id_name_or_detector_label(tmp_path: Path, label: str, class_id: str) -> None:
    _, frames = run(tmp_path, s4(**{"1": [prediction(label)]}))
    assert [each.class_id for each in frames[0].detections] == [class_id]


@pytest.mark.requirement("SEG-09", "CFG-06")
def test_what_is_not_reported_is_counted_with_its_reason(tmp_path: Path) -> None:
    entries = [
        prediction("smoke"),
        prediction("smoke"),
        prediction("person"),
        prediction(confidence=0.1),
        prediction(box=[0.0, 0.0, 0.0, 0.0]),
        prediction(box=[0.5, 0.5, 0.5, 0.9]),
        prediction(box=[1.2, 0.2, 1.4, 0.4]),
        *[prediction(confidence=0.5 + n / 10) for n in range(3)],
    ]
    summary, frames = run(tmp_path, s4(**{"1": entries}), classes=["car"], max_detections=2)
    assert [each.confidence for each in frames[0].detections] == [0.7, 0.6]
    assert summary.refused == {
        "below confidence_threshold": 1,
        "box without area in the image": 3,
        "class is not in the ontology": 2,
        "class is not wanted": 1,
        "more than max_detections": 1,
    }
    assert summary.total_detections + sum(summary.refused.values()) == len(entries)
    assert report(summary)["unknown_classes"] == {"smoke": 2}


@pytest.mark.requirement("SEG-09", "SEG-03")
def test_a_box_gets_its_mask_from_depth_where_there_is_some(tmp_path: Path) -> None:
    entry = s4(**{"1": [prediction(box=[0.0, 0.1, 0.3, 0.6])]})
    _, frames = run(tmp_path, entry)
    (found,) = frames[0].detections
    assert found.mask_source == "depth"
    assert found.area == pytest.approx(400, abs=60)  # the square of 20 x 20 that stands in the box of 24 x 30
    assert found.distance_m == 6.0
    _, without = run(tmp_path / "uncalibrated", entry, frames=[frame(1, depth=False)], calibrated=False)
    assert without[0].detections[0].mask_source == "box"


def coco(results: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {
        "images": [
            {"id": 7, "file_name": "000001.png", "width": WIDTH, "height": HEIGHT},
            {"id": 8, "file_name": "image_left/000003.png"},
        ],
        "annotations": results,
        "categories": [{"id": 40, "name": "Car"}, {"id": 41, "name": "zebra"}],
        **more,
    }


def square() -> np.ndarray[Any, np.dtype[np.uint8]]:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[10:20, 30:50] = 1
    return mask


def runs_as_text() -> dict[str, Any]:
    encoded = coco_mask.encode(np.asfortranarray(square()))
    return {"size": encoded["size"], "counts": encoded["counts"].decode()}


def runs_as_numbers() -> dict[str, Any]:
    flat = square().ravel(order="F")
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flat, [0]))))
    return {"size": [HEIGHT, WIDTH], "counts": [int(run) for run in np.diff(np.concatenate(([0], edges, [len(flat)])))]}


@pytest.mark.parametrize("segmentation", [runs_as_text(), runs_as_numbers(), [[30, 10, 50, 10, 50, 20, 30, 20]]])
@pytest.mark.requirement("SEG-09", "SEG-03")
def test_coco_masks_are_taken_as_they_are_whether_runs_or_polygons(tmp_path: Path, segmentation: Any) -> None:
    result = {"image_id": 7, "category_id": 40, "bbox": [30, 10, 20, 10], "score": 0.9, "segmentation": segmentation}
    _, frames = run(tmp_path, coco([result]))
    (found,) = frames[0].detections
    assert (found.class_id, found.mask_source, found.box_xyxy) == ("car", "external", (30.0, 10.0, 50.0, 20.0))
    stored = coco_mask.decode({"size": found.mask_rle["size"], "counts": found.mask_rle["counts"].encode()})
    np.testing.assert_array_equal(stored, square())


@pytest.mark.requirement("SEG-09")
def test_coco_images_without_results_are_empty_frames_and_not_missing_ones(tmp_path: Path) -> None:
    results = [
        {"image_id": 7, "category_id": 40, "bbox": [1, 2, 30, 40], "score": 0.9},
        {"image_id": 7, "category_id": 41, "bbox": [1, 2, 30, 40], "score": 0.9},
        {"image_id": 7, "category_id": 99, "bbox": [1, 2, 30, 40], "score": 0.9},
        {"image_id": 12, "category_id": 40, "bbox": [1, 2, 30, 40], "score": 0.9},
    ]
    summary, frames = run(tmp_path, coco(results))
    assert [each.box_xyxy for each in frames[0].detections] == [(1.0, 2.0, 31.0, 42.0)]
    assert report(summary)["frames_matched"] == 2
    assert report(summary)["first_frames_without_predictions"] == ["drive:000002", "drive:000004"]
    assert report(summary)["first_unmatched_entries"] == ["image_id 12"]
    assert report(summary)["unknown_classes"] == {"category_id 99": 1, "zebra": 1}


@pytest.mark.requirement("SEG-09")
def test_the_frame_id_of_a_coco_image_goes_before_its_name(tmp_path: Path) -> None:
    document = coco([{"image_id": 7, "category_id": 40, "bbox": [1, 2, 30, 40]}])
    document["images"][0] |= {"file_name": "000003.png", "frame_id": "drive:000001"}
    document["images"].pop()
    _, frames = run(tmp_path, document)
    assert [each.frame_index for each in frames if each.detections] == [1]


@pytest.mark.requirement("SEG-09")
def test_a_bare_list_of_results_names_its_images_itself_or_in_a_file_beside_it(tmp_path: Path) -> None:
    named = [{"file_name": "drive/000002.png", "category_id": 1, "bbox": [1, 2, 30, 40], "score": 0.5}]
    _, frames = run(tmp_path, named)
    assert [each.class_id for each in frames[1].detections] == ["car"]  # without a list of categories the number is the ontology's

    numbered = [{"image_id": 8, "category_id": 40, "bbox": [1, 2, 30, 40], "score": 0.5}]
    with pytest.raises(InputError, match="has the image_id 8, but no list `images` says which frame that is; set `predictions_images`"):
        run(tmp_path, numbered)
    (tmp_path / "images.json").write_text(json.dumps(coco([])))
    _, frames = run(tmp_path, numbered, predictions_images=str(tmp_path / "images.json"))
    assert [each.class_id for each in frames[2].detections] == ["car"]


def test_predictions_on_images_of_another_size_are_refused(tmp_path: Path) -> None:
    document = coco([{"image_id": 7, "category_id": 40, "bbox": [1, 2, 3, 4], "score": 0.9}])
    document["images"][0]["width"] = 1920
    with pytest.raises(InputError, match=r"was predicted on an image of 1920x60 pixels, frame drive:000001 has 80x60"):
        run(tmp_path, document)


WITH_MASK = {"image_id": 7, "category_id": 40, "bbox": [30, 10, 20, 10], "score": 0.9}


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ("[", "are not valid JSON"),
        ("3", "are neither a JSON object nor a list"),
        ({"predictions": []}, "has the predictions of one frame, but does not say which"),
        ({"1": [prediction()]}, "Under '1' .* has no object with a list `predictions`"),
        ({"drive": {"1": {}}}, "Frame 'drive/1' of .* has no list `predictions`"),
        ({"1": {"predictions": {}}}, "Frame '1' of .* has no list `predictions`"),
        ({"1": {"predictions": [7]}}, "Prediction 1 of frame '1' of .* is not an object"),
        (s4(**{"1": [prediction(), prediction(label="")]}), "Prediction 2 of frame '1' of .* has no class_name"),
        (s4(**{"1": [prediction(confidence=80)]}), "has the confidence 80; it must be a number from 0 to 1"),
        (s4(**{"1": [prediction(box=[1, 2, 3])]}), r"has the xyxyn \[1, 2, 3\]; it must be \[x1, y1, x2, y2\]"),
        (s4(**{"1": [prediction(box=[10, 20, 300, 400])]}), "they are shares of width and height .*, not pixels"),
        ({"images": []}, "has a list `images`, but no list `annotations` or `predictions`"),
        ({"images": [{"id": 1}], "annotations": []}, "every entry needs id and file_name"),
        (coco([7]), "Result 1 of .* is not an object"),  # type: ignore[list-item]
        (coco([{"category_id": 40}]), "Result 1 of .* has neither image_id nor file_name"),
        (coco([{"image_id": 7, "bbox": [1, 2, 3, 4]}]), "has neither category_id .* nor category"),
        (coco([{"image_id": 7, "category_id": 40}]), "has the bbox None"),
        (
            coco([{**WITH_MASK, "segmentation": {"size": [5, 5], "counts": "a"}}]),
            "for '000001.png' in .* has a wrong mask",
        ),
        (coco([{**WITH_MASK, "segmentation": {"size": [HEIGHT, WIDTH], "counts": [1, 2]}}]), "do not sum up to the 4800 pixels"),
        (coco([{**WITH_MASK, "segmentation": [[1, 2, 3, 4]]}]), "neither a list of polygons with three or more corners nor runs"),
    ],
)
@pytest.mark.requirement("SEG-09")
def test_bad_files_end_in_a_sentence(tmp_path: Path, document: Any, sentence: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    with pytest.raises(InputError, match=sentence):
        run(tmp_path, path)


def test_missing_files_are_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs predictions; set `predictions`"):
        make_segmenter(SegmentationSettings(backend="external"), ONTOLOGY)
    with pytest.raises(InputError, match=r"nowhere\.json do not exist"):
        make_segmenter(SegmentationSettings(backend="external", predictions=str(tmp_path / "nowhere.json")), ONTOLOGY)
    with pytest.raises(InputError, match="has no JSON file; expected is one a frame"):
        make_segmenter(SegmentationSettings(backend="external", predictions=str(tmp_path)), ONTOLOGY)


@pytest.mark.requirement("SEG-09")
def test_the_version_depends_on_what_the_files_hold_and_not_on_where_they_lie(tmp_path: Path) -> None:
    def identity(path: Path, images: Path | None = None) -> Mapping[str, Any]:
        chosen = SegmentationSettings(backend="external", predictions=str(path), predictions_images=str(images) if images else None)
        return make_segmenter(chosen, ONTOLOGY).identity

    one, copy, other = (tmp_path / name for name in ("one.json", "copy.json", "other.json"))
    for path in (one, copy):
        path.write_text(json.dumps(s4(**{"1": [prediction()]})))
    other.write_text(json.dumps(s4(**{"1": [prediction(confidence=0.81)]})))
    assert identity(one) == identity(copy) != identity(other)
    assert identity(one, other) != identity(one)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "1.json").write_text('{"predictions": []}')
    before = identity(folder)
    (folder / "1.json").rename(folder / "2.json")
    assert identity(folder) != before
    configs = (DetectionsConfig(backend="external", predictions="a"), DetectionsConfig(backend="external", predictions="b"))
    assert science(configs[0]) == science(configs[1])
