from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError
from skimage import data

from lamm_pipeline.errors import InputError
from lamm_pipeline.geometry.boxes_2d import iou_matrix
from lamm_pipeline.geometry.ground_plane import fit_ground_plane
from lamm_pipeline.ontology.ontology import Ontology, load_ontology
from lamm_pipeline.segmentation.backends import make_segmenter
from lamm_pipeline.segmentation.depth_masks import central_distance, object_depth, pixel_box
from lamm_pipeline.segmentation.segmenter import Segmenter
from lamm_pipeline.segmentation.settings import SegmentationSettings, TileProfile
from lamm_pipeline_tests.segmentation.scenes import KITTI_CAMERA, ground_depth, kitti_boxes, kitti_depth, stand

VEHICLES = {"Car", "Van", "Truck"}


@pytest.fixture(scope="module")
def ontology() -> Ontology:
    return load_ontology()


@pytest.fixture(scope="module")
def segmenter(ontology: Ontology) -> Segmenter:
    return make_segmenter(SegmentationSettings(), ontology)


def scene(*, person_at: tuple[int, int], cat_at: tuple[int, int], height: int) -> NDArray[np.uint8]:
    """A grey 1280x720 scene with the astronaut and the cat pasted in, top left corners given, `height` pixels high."""
    image = np.full((720, 1280, 3), 140, dtype=np.uint8)
    for photo, (x, y) in ((data.astronaut(), person_at), (data.chelsea(), cat_at)):
        width = round(height * photo.shape[1] / photo.shape[0])
        image[y : y + height, x : x + width] = cv2.resize(photo[:, :, ::-1], (width, height), interpolation=cv2.INTER_AREA)
    return image


@pytest.mark.requirement("SEG-01", "SEG-03", "SEG-04")
def test_person_and_cat_are_found_in_a_wide_scene_without_depth(segmenter: Segmenter) -> None:
    found = segmenter.segment(scene(person_at=(150, 250), cat_at=(800, 270), height=300), None, None).detections
    boxes = {each.class_id: each.box_xyxy for each in reversed(found)}
    assert {"person", "cat"} <= set(boxes)
    assert iou_matrix([boxes["person"]], [[160, 255, 365, 550]])[0, 0] > 0.5
    assert iou_matrix([boxes["cat"]], [[800, 270, 1251, 570]])[0, 0] > 0.5
    assert {each.mask_source for each in found} == {"box"}
    assert all(each.confidence is not None and 0.35 <= each.confidence <= 1.0 for each in found)


@pytest.mark.requirement("CFG-06")
def test_a_higher_threshold_leaves_only_the_surer_detections(ontology: Ontology) -> None:
    image = scene(person_at=(150, 250), cat_at=(800, 270), height=300)
    low = make_segmenter(SegmentationSettings(confidence_threshold=0.3), ontology).segment(image, None, None)
    scores = [float(each.confidence or 0.0) for each in low.detections]
    between = (scores[0] + scores[1]) / 2.0
    high = make_segmenter(SegmentationSettings(confidence_threshold=between), ontology).segment(image, None, None)
    assert scores == sorted(scores, reverse=True)
    assert [each.confidence for each in high.detections] == scores[:1]


@pytest.mark.requirement("CFG-12")
@pytest.mark.parametrize("wanted", [("cat",), (28,)])
def test_only_the_wanted_classes_are_reported(ontology: Ontology, wanted: tuple[int | str, ...]) -> None:
    segmenter = make_segmenter(SegmentationSettings(classes=wanted, tiles=TileProfile.full), ontology)
    found = segmenter.segment(np.ascontiguousarray(data.chelsea()[:, :, ::-1]), None, None).detections
    assert [each.class_id for each in found] == ["cat"]
    person = segmenter.segment(np.ascontiguousarray(data.astronaut()[:, :, ::-1]), None, None).detections
    assert person == ()


@pytest.mark.requirement("SEG-07")
def test_detections_beyond_the_maximum_are_counted_not_lost(ontology: Ontology) -> None:
    image = scene(person_at=(150, 250), cat_at=(800, 270), height=300)
    free = make_segmenter(SegmentationSettings(), ontology).segment(image, None, None)
    limited = make_segmenter(SegmentationSettings(max_detections=1), ontology).segment(image, None, None)
    assert [each.class_id for each in limited.detections] == [free.detections[0].class_id]
    assert limited.refused["more than max_detections"] > 0
    assert 1 + sum(limited.refused.values()) == len(free.detections) + sum(free.refused.values())


@pytest.mark.requirement("SEG-03")
def test_real_cars_are_found_with_masks_on_them_at_their_labelled_distance(shared_data: Path, segmenter: Segmenter) -> None:
    folder = shared_data / "kitti_raw_0039_stereo"
    hits = labelled = false = near = 0
    for name in ("000284", "000290", "000296", "000304"):
        truth, labelled_z = kitti_boxes(folder, name, VEHICLES)
        depth = kitti_depth(folder, name)
        found = segmenter.segment(cv2.imread(str(folder / "image_0" / f"{name}.png")), depth, KITTI_CAMERA).detections
        vehicles = [each for each in found if each.class_id in {"car", "truck"}]
        overlap = iou_matrix(truth, [each.box_xyxy for each in vehicles])
        hits += int((overlap.max(axis=1) >= 0.5).sum())
        labelled += len(truth)
        false += int((overlap.max(axis=0) < 0.3).sum())
        for row in np.nonzero(overlap.max(axis=1) >= 0.5)[0]:
            distance = central_distance(vehicles[int(overlap[row].argmax())].mask, depth)
            # The label's z is the middle of the object, the measured one that of its visible side.
            near += distance is not None and -4.0 < distance - labelled_z[row] < 1.0
        assert {each.mask_source for each in found} <= {"depth", "box"}
        assert sum(each.mask_source == "depth" for each in found) > len(found) / 2
    assert hits >= 0.6 * labelled
    assert false <= hits
    assert near >= 0.8 * hits


@pytest.mark.requirement("SEG-03")
def test_masks_of_real_people_go_beside_their_box_up_to_the_largest_person_and_those_of_vehicles_never(
    shared_data: Path, segmenter: Segmenter, ontology: Ontology
) -> None:
    folder = shared_data / "kitti_raw_0039_stereo"
    beside = dict.fromkeys(("person", "car", "truck"), 0)
    checked = beside.copy()
    for name in ("000284", "000290", "000296", "000304"):
        depth = kitti_depth(folder, name)
        ground = fit_ground_plane(depth, KITTI_CAMERA)
        for each in segmenter.segment(cv2.imread(str(folder / "image_0" / f"{name}.png")), depth, KITTI_CAMERA).detections:
            rows, columns = np.nonzero(each.mask.full(1242, 375))
            x1, y1, x2, y2 = pixel_box(each.box_xyxy, 1242, 375)
            reach = 0
            if each.class_id == "person" and each.mask_source == "depth":
                prior = ontology.by_id("person").size_prior
                measured = object_depth(each.box_xyxy, depth, KITTI_CAMERA, ground, prior)
                assert prior is not None
                assert measured is not None
                reach = max(round(max(prior.length[1], prior.width[1]) * KITTI_CAMERA.fx / measured.depth_m) - (x2 - x1), 0)
            assert x1 - reach <= columns.min() <= columns.max() < x2 + reach
            assert y1 <= rows.min() <= rows.max() < y2
            checked[each.class_id] += 1
            beside[each.class_id] += int(columns.min() < x1 or columns.max() >= x2)
    assert min(checked.values()) > 0
    assert beside["person"] > 0
    assert beside["car"] == beside["truck"] == 0


def test_a_tall_vehicle_becomes_a_truck_by_its_measured_height(shared_data: Path, segmenter: Segmenter) -> None:
    folder = shared_data / "kitti_raw_0039_stereo"
    image = cv2.imread(str(folder / "image_0" / "000288.png"))
    truck, _ = kitti_boxes(folder, "000288", {"Truck"})
    best = max(
        segmenter.segment(image, kitti_depth(folder, "000288"), KITTI_CAMERA).detections,
        key=lambda each: iou_matrix(truck, [each.box_xyxy])[0, 0],
    )
    assert best.class_id == "truck"
    without_depth = max(segmenter.segment(image, None, None).detections, key=lambda each: iou_matrix(truck, [each.box_xyxy])[0, 0])
    assert without_depth.class_id == "car"


def test_sizes_that_cannot_be_are_refused_and_counted(ontology: Ontology) -> None:
    image = scene(person_at=(150, 250), cat_at=(800, 270), height=300)
    camera = type(KITTI_CAMERA)(1280, 720, 700.0, 700.0, 640.0, 360.0, 0.12)
    far = np.full((720, 1280), 30.0, dtype=np.float32)  # 300 pixels at 30 m are 13 m
    checked = make_segmenter(SegmentationSettings(), ontology).segment(image, far, camera)
    unchecked = make_segmenter(SegmentationSettings(size_check=False), ontology).segment(image, far, camera)
    assert not {"person", "cat"} & {each.class_id for each in checked.detections}
    assert checked.refused["size does not fit the class"] >= 2
    assert {"person", "cat"} <= {each.class_id for each in unchecked.detections}


@pytest.mark.parametrize(("ground_below_m", "floats"), [(1.2, False), (3.0, True)])
def test_a_person_in_the_air_is_refused_and_counted(ontology: Ontology, ground_below_m: float, floats: bool) -> None:
    image = scene(person_at=(150, 250), cat_at=(800, 270), height=300)
    camera = type(KITTI_CAMERA)(1280, 720, 700.0, 700.0, 640.0, 360.0, 0.12)
    # 300 pixels at 4 m are 1.7 m, and their lower edge is 1.1 m below the camera.
    depth = stand(ground_depth(camera, ground_below_m), (140, 245, 460, 550), 4.0)
    found = make_segmenter(SegmentationSettings(), ontology).segment(image, depth, camera)
    assert ("person" in {each.class_id for each in found.detections}) is not floats
    assert ("floats above the ground" in found.refused) is floats


def test_identity_names_the_weights_and_changes_with_what_changes_the_result(ontology: Ontology) -> None:
    base = make_segmenter(SegmentationSettings(), ontology).identity
    assert base["weights_sha256"].startswith("d0a5255bf8c4")
    assert make_segmenter(SegmentationSettings(batch_size=1, write_masks=True), ontology).identity == base
    for changed in (
        SegmentationSettings(tiles=TileProfile.fast),
        SegmentationSettings(classes=("car",)),
        SegmentationSettings(nms_iou=0.7),
    ):
        assert make_segmenter(changed, ontology).identity != base


def test_an_unknown_back_end_and_classes_it_cannot_find_end_in_a_sentence(ontology: Ontology) -> None:
    with pytest.raises(InputError, match="no segmentation back end 'sam9'; set `backend` to detector"):
        make_segmenter(SegmentationSettings(backend="sam9"), ontology)
    with pytest.raises(InputError, match="finds none of the classes berm, excavator; of this ontology it finds bicycle, car, cat"):
        make_segmenter(SegmentationSettings(classes=("berm", "excavator")), ontology)


@pytest.mark.requirement("CFG-06", "CFG-07")
@pytest.mark.parametrize(
    "wrong",
    [
        {"confidence_threshold": 1.1},
        {"confidence_threshold": -0.1},
        {"batch_size": 0},
        {"batch_size": 33},
        {"tiles": "many"},
        {"threshold": 0.5},
    ],
)
def test_settings_out_of_bounds_or_unknown_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        SegmentationSettings.model_validate(wrong)


@pytest.mark.requirement("CFG-06", "CFG-07")
def test_settings_have_the_specified_batch_default_and_a_help_text_each() -> None:
    assert SegmentationSettings().batch_size == 8
    assert all(field.description for field in SegmentationSettings.model_fields.values())
