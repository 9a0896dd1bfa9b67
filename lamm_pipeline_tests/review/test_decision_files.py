"""COCO files for labelling tools and back: read by pycocotools, changed as tools change them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

from lamm_pipeline.errors import InputError
from lamm_pipeline.geometry import rle
from lamm_pipeline.review.deciding import decide, decisions_now
from lamm_pipeline.review.decision_files import MaskForm
from lamm_pipeline.review.requests import DecisionRequest, carry_out, export_for_labelling
from lamm_pipeline_tests.review.worlds import FOUND, HEIGHT, ONTOLOGY, START_NS, STEP_NS, WIDTH, World, detection, mask_of

TYPES = ("dust", "light")
PERSON, CONE = "drive:000000:1", "drive:000003:1"
Document = dict[str, Any]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def export(world: World, **options: Any) -> Path:
    folder = world.root / f"out{len(list(world.root.glob('out*')))}"
    export_for_labelling(world.store, world.catalog, ONTOLOGY, "drive", folder, **options)
    return folder / "annotations.json"


def bring_back(world: World, document: Document, **options: Any) -> Document:
    path = world.root / "back.json"
    path.write_text(json.dumps(document))
    request = DecisionRequest(import_file=str(path), **options)
    return carry_out(world.store, world.catalog, ONTOLOGY, TYPES, "drive", request, "eve")


def request(world: World, **values: Any) -> None:
    carry_out(world.store, world.catalog, ONTOLOGY, TYPES, "drive", DecisionRequest(**values), "ada")


def taken(world: World) -> list[tuple[str, str]]:
    return [(each.subject, each.action) for each in world.catalog.decisions.of("drive")]


def bare(document: Document) -> Document:
    """As a tool returns it that knows only COCO: its own ids, rounded boxes, numbers of categories from 0, nothing of ours."""
    numbers = {each["id"]: n for n, each in enumerate(document["categories"])}
    images = [{name: each[name] for name in ("id", "file_name", "width", "height")} for each in document["images"]]
    annotations = [
        {
            "id": 1000 + n,
            "image_id": each["image_id"],
            "category_id": numbers[each["category_id"]],
            "bbox": [round(side, 2) for side in each["bbox"]],
            "segmentation": each["segmentation"],
            "area": each["area"],
            "iscrowd": 0,
        }
        for n, each in enumerate(document["annotations"])
    ]
    categories = [{"id": numbers[each["id"]], "name": each["name"]} for each in document["categories"]]
    return {"images": images, "annotations": annotations[::-1], "categories": categories}


def test_the_file_is_coco_for_pycocotools_with_every_frame_and_exact_masks(world: World) -> None:
    path = export(world)
    coco = COCO(str(path))
    images = coco.loadImgs(coco.getImgIds())
    assert [each["file_name"] for each in images] == [f"drive_{n:06d}.png" for n in range(4)]
    assert [(each["frame_index"], each["timestamp_ns"]) for each in images] == [(n, START_NS + n * STEP_NS) for n in range(4)]
    assert cv2.imread(str(path.parent / "images" / "drive_000003.png")).shape == (HEIGHT, WIDTH, 3)
    known = {each.detection_id: each for detections in FOUND.values() for each in detections}
    found = {each["detection_id"]: each for each in coco.loadAnns(coco.getAnnIds())}
    assert set(found) == set(known)
    for name, each in found.items():
        x1, y1, x2, y2 = known[name].box_xyxy
        assert each["bbox"] == [x1, y1, x2 - x1, y2 - y1]
        assert coco.loadCats(each["category_id"])[0]["name"] == known[name].class_id
        assert np.array_equal(coco.annToMask(each).astype(bool), rle.decode(known[name].mask_rle))
        assert each["area"] == coco.annToMask(each).sum()


@pytest.mark.parametrize("strip", [lambda document: document, bare], ids=["with our ids", "plain COCO"])
@pytest.mark.parametrize("masks", list(MaskForm))
def test_what_comes_back_unchanged_is_kept_and_says_nothing_the_second_time(
    world: World, masks: MaskForm, strip: Callable[[Document], Document]
) -> None:
    document = strip(json.loads(export(world, masks=masks).read_text()))
    report = bring_back(world, document)
    assert report["import"]["decisions"] == {"keep": 5, "reviewed_empty": 1}
    assert set(taken(world)) == {(each.detection_id, "keep") for found in FOUND.values() for each in found} | {
        ("drive:000002", "reviewed_empty")
    }
    assert bring_back(world, document)["decisions"] == []


@pytest.mark.parametrize("strip", [lambda document: document, bare], ids=["with our ids", "plain COCO"])
@pytest.mark.requirement("CUR-03", "SEQ-15")
def test_corrected_classes_boxes_and_masks_and_removed_annotations_become_decisions(
    world: World, strip: Callable[[Document], Document]
) -> None:
    document = json.loads(export(world).read_text())
    truck = next(each["id"] for each in document["categories"] if each["name"] == "truck")
    person, cone, van = (
        next(each for each in document["annotations"] if each["detection_id"] == name) for name in (PERSON, CONE, "drive:000003:0")
    )
    person["bbox"] = [102.0, 18.0, 26.0, 74.0]
    smaller = mask_of((104.0, 22.0, 120.0, 86.0))
    person["segmentation"] = smaller
    van["category_id"] = truck
    document["annotations"].remove(cone)
    report = bring_back(world, strip(document))
    assert report["import"]["decisions"] == {"exclude": 1, "keep": 2, "reviewed_empty": 1, "set_box": 1, "set_class": 1, "set_mask": 1}
    state = decisions_now(world.store, world.catalog, "drive").state
    assert state.annotations[PERSON].box_xyxy == (102.0, 18.0, 128.0, 92.0)
    assert state.annotations[PERSON].mask_rle == smaller
    assert state.annotations["drive:000003:0"].class_id == "truck"
    assert state.annotations[CONE].excluded
    assert {each.actor for each in world.catalog.decisions.of("drive")} == {"eve"}
    again = json.loads(export(world).read_text())
    assert {each["detection_id"] for each in again["annotations"]} == {PERSON, "drive:000000:0", "drive:000001:0", "drive:000003:0"}
    assert next(each["bbox"] for each in again["annotations"] if each["detection_id"] == PERSON) == [102.0, 18.0, 26.0, 74.0]
    assert bring_back(world, strip(again))["decisions"] == []


def test_with_corrections_only_nothing_is_said_about_the_rest(world: World) -> None:
    document = json.loads(export(world).read_text())
    document["annotations"] = [each for each in document["annotations"] if each["detection_id"] == PERSON]
    document["annotations"][0]["bbox"] = [102.0, 18.0, 26.0, 74.0]
    report = bring_back(world, document, corrections_only=True)
    assert report["import"]["decisions"] == {"set_box": 1}


def test_new_objects_unknown_classes_and_foreign_images_are_reported_and_not_guessed(world: World) -> None:
    document = bare(json.loads(export(world).read_text()))
    document["categories"].append({"id": 99, "name": "zebra"})
    document["annotations"][0]["category_id"] = 99
    document["annotations"].append({"id": 5, "image_id": 3, "category_id": 0, "bbox": [5.0, 5.0, 20.0, 20.0], "segmentation": []})
    document["images"].append({"id": 77, "file_name": "holiday.png", "width": 9, "height": 9})
    document["images"].append({"id": 78, "file_name": "other/000001.png", "width": 9, "height": 9})
    document["annotations"].append({"id": 6, "image_id": 77, "category_id": 0, "bbox": [1.0, 1.0, 2.0, 2.0], "segmentation": []})
    found = bring_back(world, document)["import"]
    assert (found["images_matched"], found["images_unmatched"], found["images_of_other_recordings"]) == (4, 1, 1)
    assert (found["first_images_unmatched"], found["annotations_in_unmatched_images"]) == (["holiday.png"], 1)
    assert found["unknown_classes"] == {"zebra": 1}
    assert CONE not in {subject for subject, _ in taken(world)}  # its class came back as zebra
    assert found["new_objects_not_imported"] == 1
    assert found["first_new_objects"] == [{"image": "drive_000002.png", "class": "car", "box_xyxy": [5.0, 5.0, 25.0, 25.0]}]
    [event] = [each for each in world.catalog.audit.events("drive") if each.action == "decisions.import"]
    assert event.details["images_unmatched"] == 1


@pytest.mark.parametrize(
    "name",
    [
        "drive_000001.png",
        "images/3f9a01bc-drive_000001.png",
        "000001.jpg",
        f"{START_NS + STEP_NS}.png",
        f"{(START_NS + STEP_NS) // 1_000_000}.png",
    ],
)
def test_an_image_is_known_by_name_frame_index_or_time(world: World, name: str) -> None:
    document = {"images": [{"id": 1, "file_name": name}], "annotations": [], "categories": [{"id": 1, "name": "car"}]}
    bring_back(world, document)
    assert taken(world) == [("drive:000001", "reviewed_empty"), ("drive:000001:0", "exclude")]


def test_cvat_keeps_the_id_among_the_attributes_and_writes_masks_as_numbers(world: World) -> None:
    document = bare(json.loads(export(world).read_text()))
    far_off = [70.0, 70.0, 30.0, 30.0]
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[70:100, 75:100] = True
    flat = mask.ravel(order="F").astype(int)
    changes = np.flatnonzero(np.diff(np.concatenate([[0], flat, [1 - flat[-1]]])))
    runs = np.diff(np.concatenate([[0], changes])).tolist()
    document["annotations"] = [
        {
            "id": 1,
            "image_id": 2,
            "category_id": next(each["id"] for each in document["categories"] if each["name"] == "car"),
            "bbox": far_off,
            "area": 900,
            "iscrowd": 1,
            "segmentation": {"size": [HEIGHT, WIDTH], "counts": runs},
            "attributes": {"occluded": False, "rotation": 0.0, "detection_id": "drive:000001:0"},
        }
    ]
    document["images"] = document["images"][1:2]
    bring_back(world, document)
    assert taken(world) == [("drive:000001:0", "set_box"), ("drive:000001:0", "set_mask")]
    corrected = decisions_now(world.store, world.catalog, "drive").state.annotations["drive:000001:0"].mask_rle
    assert corrected is not None
    assert np.array_equal(rle.decode(corrected), mask)


def test_a_polygon_that_only_repeats_the_box_is_no_mask(world: World) -> None:
    document = bare(json.loads(export(world).read_text()))
    for each in document["annotations"]:
        x, y, width, height = each["bbox"]
        each["segmentation"] = [[x, y, x + width, y, x + width, y + height, x, y + height]]
    assert bring_back(world, document)["import"]["decisions"] == {"keep": 5, "reviewed_empty": 1}


def test_an_annotation_that_comes_back_is_in_again(world: World) -> None:
    document = json.loads(export(world).read_text())
    request(world, exclude=[PERSON, "000003"], reviewed_empty=["000001"])
    assert len(json.loads(export(world).read_text())["annotations"]) == 1
    bring_back(world, document)
    state = decisions_now(world.store, world.catalog, "drive").state
    assert [state.verdict("annotation", name).action for name in (PERSON, "drive:000001:0")] == ["keep", "keep"]
    assert [state.verdict("frame", f"drive:00000{n}").action for n in (1, 3)] == ["keep", "keep"]
    assert len(json.loads(export(world).read_text())["annotations"]) == 5


def test_a_file_made_from_older_detections_is_compared_with_the_present_ones(world: World) -> None:
    document = bare(json.loads(export(world).read_text()))
    person, car = FOUND[0][1], FOUND[0][0]
    swapped = [detection(0, 0, "person", person.box_xyxy), detection(0, 1, "car", car.box_xyxy)]
    world.detect(FOUND | {0: swapped}, threshold=0.7)
    document["annotations"] = [each for each in document["annotations"] if each["bbox"][0] != car.box_xyxy[0]]
    bring_back(world, document)
    assert ("drive:000000:0", "keep") in taken(world)
    assert ("drive:000000:1", "exclude") in taken(world)


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ({"images": [{"id": 1, "file_name": "0", "width": 8, "height": 8}], "annotations": []}, "8 x 8 pixels in the file.*160 x 120"),
        ({"images": [{"id": 1, "file_name": "holiday.png"}], "annotations": []}, "Nothing in .* is about a frame of drive"),
        ({"images": [{"id": 1, "file_name": "0"}, {"id": 2, "file_name": "drive_000000.png"}], "annotations": []}, "both mean frame"),
        (
            {
                "images": [{"id": 1, "file_name": "0"}],
                "annotations": [{"image_id": 1, "category_id": 1, "bbox": [500, 0, 5, 5]}],
                "categories": [{"id": 1, "name": "car"}],
            },
            "lies outside its image",
        ),
        ({"annotations": []}, "COCO"),
    ],
)
def test_a_file_that_does_not_fit_ends_in_a_sentence_and_changes_nothing(world: World, document: Document, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        bring_back(world, document)
    assert taken(world) == []


def test_single_frames_are_exported_and_a_folder_is_never_overwritten(world: World) -> None:
    path = export(world, frame_ids=["000001", "drive:000003"])
    assert [each["frame_id"] for each in json.loads(path.read_text())["images"]] == ["drive:000001", "drive:000003"]
    with pytest.raises(InputError, match="exists already"):
        export_for_labelling(world.store, world.catalog, ONTOLOGY, "drive", path.parent)
    with pytest.raises(InputError, match="no frame 'drive:000099'"):
        export(world, frame_ids=["000099"])


@pytest.mark.parametrize("tag", ["", " night", "two\nlines", "x" * 101])
def test_a_wrong_tag_or_status_is_refused_before_anything_is_decided(world: World, tag: str) -> None:
    with pytest.raises(InputError, match="is no tag"):
        request(world, exclude=[PERSON], tags=[tag])
    with pytest.raises(InputError, match="is no labelling status"):
        request(world, exclude=[PERSON], status="finished")
    assert taken(world) == []


def test_decide_refuses_what_an_import_would_never_write(world: World) -> None:
    with pytest.raises(InputError, match="no false-positive type 'fog'"):
        request(world, false_positive_types={PERSON: ["fog"]})
    assert decide(world.store, world.catalog, ONTOLOGY, TYPES, "drive", [], "ada") == []
