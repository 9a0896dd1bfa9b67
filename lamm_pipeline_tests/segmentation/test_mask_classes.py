"""Which masks of a class-agnostic model become objects; that the model's masks arrive here is tested in `lamm_pipeline_tests/sam`."""

from dataclasses import replace

import numpy as np
import pytest

from lamm_pipeline.ontology.ontology import ObjectClass, Ontology, SizePrior
from lamm_pipeline.segmentation.depth_masks import Depth, MaskCrop
from lamm_pipeline.segmentation.mask_classes import MaskClasses
from lamm_pipeline.segmentation.segmenter import Picture, RawDetection, Segmentation
from lamm_pipeline.segmentation.settings import SegmentationSettings
from lamm_pipeline_tests.segmentation.bright_squares import frame
from lamm_pipeline_tests.segmentation.scenes import CAMERA, ground_depth, stand


def object_class(name: str, number: int, group: str, prior: SizePrior | None) -> ObjectClass:
    return ObjectClass(name, name, number, name, "#123456", "Misc", group, prior)


PERSON = object_class("person", 1, "person", SizePrior((0.3, 0.8), (0.3, 0.8), (1.4, 2.0)))
CAR = object_class("car", 2, "vehicle", SizePrior((3.5, 5.5), (1.5, 2.2), (1.3, 1.8)))
HAUL_TRUCK = object_class("haul_truck", 3, "vehicle", SizePrior((8.0, 16.0), (4.0, 8.0), (4.0, 8.0)))
BERM = object_class("berm", 4, "ground", None)
ONTOLOGY = Ontology((PERSON, CAR, HAUL_TRUCK, BERM), "0" * 64)
NOTHING = Segmentation((), {})
# At 10 m a pixel is 2 cm high and wide (f = 500 px), and the ground is at row 245.
PERSON_BOX = (300, 161, 330, 246)
CAR_BOX = (200, 171, 400, 246)


def picture(depth: Depth | None) -> Picture:
    return Picture(frame(0), np.zeros((CAMERA.height, CAMERA.width, 3), np.uint8), depth, None if depth is None else CAMERA)


def standing(*boxes: tuple[int, int, int, int]) -> Picture:
    depth = ground_depth()
    for box in boxes:
        stand(depth, box, 10.0)
    return picture(depth)


def mask(box_xyxy: tuple[int, int, int, int]) -> MaskCrop:
    x1, y1, x2, y2 = box_xyxy
    return MaskCrop(x1, y1, np.ones((y2 - y1, x2 - x1), dtype=bool))


def detection(class_id: str, box_xyxy: tuple[int, int, int, int]) -> RawDetection:
    return RawDetection(class_id, 0.8, np.array(box_xyxy, dtype=np.float64), mask(box_xyxy), "depth")


def classes(ontology: Ontology = ONTOLOGY, **settings: object) -> MaskClasses:
    return MaskClasses(ontology, SegmentationSettings.model_validate(settings), "sam2")


@pytest.mark.requirement("SEG-03", "SEG-04")
def test_a_mask_that_fits_a_detection_takes_its_class_and_score() -> None:
    smaller = (205, 175, 398, 244)
    found = classes().name([mask(smaller)], Segmentation((detection("haul_truck", CAR_BOX),), {"before": 2}), standing(CAR_BOX))
    (one,) = found.detections
    assert (one.class_id, one.confidence, one.mask_source) == ("haul_truck", 0.8, "sam2")
    assert tuple(one.box_xyxy) == smaller
    assert found.refused == {"before": 2}


def test_of_two_masks_for_a_detection_the_better_one_is_taken_and_the_other_counted() -> None:
    loose, tight = (210, 180, 410, 246), (201, 171, 400, 246)
    found = classes().name([mask(loose), mask(tight)], Segmentation((detection("car", CAR_BOX),), {}), standing(CAR_BOX))
    assert [tuple(one.box_xyxy) for one in found.detections] == [tight]
    assert found.refused == {"another mask fits its detection better": 1}


def test_a_detection_that_no_mask_fits_stays_as_it_was() -> None:
    before = detection("car", CAR_BOX)
    found = classes().name([mask((10, 150, 60, 180))], Segmentation((before,), {}), standing(CAR_BOX))
    assert found.detections == (before,)
    assert sum(found.refused.values()) == 1


@pytest.mark.parametrize(("box", "class_id"), [(PERSON_BOX, "person"), (CAR_BOX, "car")])
def test_a_mask_without_a_detection_is_of_the_class_whose_size_it_has_and_gets_no_score(
    box: tuple[int, int, int, int], class_id: str
) -> None:
    found = classes().name([mask(box)], NOTHING, standing(box))
    (one,) = found.detections
    assert (one.class_id, one.confidence, one.mask_source) == (class_id, None, "sam2")
    assert found.refused == {}


def test_a_size_that_several_classes_have_says_nothing_even_where_only_one_of_them_is_wanted() -> None:
    worker = replace(PERSON, id="worker", category_id=5)
    ontology = Ontology((*ONTOLOGY.classes, worker), "0" * 64)
    for wanted in ([], ["person"]):
        found = classes(ontology, classes=wanted).name([mask(PERSON_BOX)], NOTHING, standing(PERSON_BOX))
        assert found == Segmentation((), {"no class: its size fits several": 1})


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ((300, 231, 330, 246), "smaller than min_box_px"),
        ((0, 171, 200, 246), "no class: cut by the image's border"),
        ((200, 0, 400, 246), "no class: cut by the image's border"),
        ((280, 201, 330, 246), "no class: its size fits none"),
        ((300, 41, 330, 126), "floats above the ground"),
    ],
)
def test_a_mask_that_is_no_object_is_counted_with_the_reason(box: tuple[int, int, int, int], reason: str) -> None:
    assert classes(min_box_px=20).name([mask(box)], NOTHING, standing(box)) == Segmentation((), {reason: 1})


def test_without_the_size_check_what_floats_is_reported() -> None:
    box = (300, 41, 330, 126)
    assert classes(size_check=False).name([mask(box)], NOTHING, standing(box)).detections[0].class_id == "person"


def test_without_depth_a_mask_has_no_size() -> None:
    unknown = np.full((CAMERA.height, CAMERA.width), np.nan, dtype=np.float32)
    for seen in (picture(None), picture(unknown)):
        assert classes().name([mask(CAR_BOX)], NOTHING, seen) == Segmentation((), {"no class: no depth to measure it by": 1})


def test_a_mask_as_wide_and_high_as_a_car_but_much_longer_is_none() -> None:
    seen = standing(CAR_BOX)
    assert seen.depth is not None
    seen.depth[171:246, 200:400] = np.linspace(5.0, 15.0, 75)[:, None]  # a piece of road
    assert classes().name([mask(CAR_BOX)], NOTHING, seen) == Segmentation((), {"no class: its size fits none": 1})


def test_a_part_of_a_detection_of_the_same_group_is_none_of_its_own() -> None:
    truck, part = (100, 60, 620, 246), (300, 171, 500, 246)
    found = classes().name([mask(part)], Segmentation((detection("haul_truck", truck),), {}), standing(truck))
    assert [one.class_id for one in found.detections] == ["haul_truck"]
    assert found.refused == {"part of another detection": 1}
    other_group = classes().name([mask(part)], Segmentation((detection("berm", truck),), {}), standing(truck))
    assert [one.class_id for one in other_group.detections] == ["berm", "car"]


def test_classes_that_are_not_wanted_are_counted_and_so_is_what_is_too_much() -> None:
    seen = standing(CAR_BOX, PERSON_BOX, (500, 161, 530, 246))
    masks = [mask(CAR_BOX), mask((500, 161, 530, 246)), mask((450, 161, 480, 246))]
    stand(seen.depth, (450, 161, 480, 246), 10.0)  # type: ignore[arg-type]
    found = classes(classes=["person"], max_detections=1).name(masks, Segmentation((detection("car", CAR_BOX),), {}), seen)
    assert [one.class_id for one in found.detections] == ["person"]
    assert found.refused == {"class is not wanted": 1, "more than max_detections": 1}
