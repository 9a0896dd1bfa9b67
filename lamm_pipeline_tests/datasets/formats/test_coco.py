"""COCO exports, read with pycocotools."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from lamm_pipeline import sample_table
from lamm_pipeline.datasets.settings import DatasetSettings, ExportFormat, FilterSettings, SplitSettings
from lamm_pipeline.errors import InputError
from lamm_pipeline_tests.datasets.world import CAR, HEIGHT, ONTOLOGY, WIDTH, box_xyxy_of, make_recording, make_world, mask_of

SPLITS = ("train", "val", "test")


@pytest.fixture
def world(tmp_path):
    inputs = [
        make_recording(tmp_path, "a", range(9), lambda _: ("person", "sign")),
        make_recording(tmp_path, "b", range(5)),
        make_recording(tmp_path, "c", range(4), lambda _: ("sign", "car")),
    ]
    return make_world(tmp_path, inputs)


def load(world):
    root = world.folder("coco_dataset") / "coco"
    return {split: COCO(str(root / split / "annotations.json")) for split in SPLITS}


@pytest.mark.requirement("EXP-06", "EXP-01", "AV-24")
def test_pycocotools_loads_every_split_and_its_images(world):
    summary = world.export(ExportFormat.coco)
    for split, coco in load(world).items():
        assert len(coco.imgs) == summary.frames[split] == world.split["splits"][split]["frames"]
        assert len(coco.anns) == summary.annotations[split]
        for image in coco.imgs.values():
            pixels = cv2.imread(str(world.folder("coco_dataset") / "coco" / split / "images" / image["file_name"]))
            assert pixels.shape == (image["height"], image["width"], 3)


@pytest.mark.requirement("EXP-12", "AV-24", "EXP-06")
def test_segmentations_are_the_masks_and_areas_are_mask_areas(world):
    world.export(ExportFormat.coco)
    checked = 0
    for split, coco in load(world).items():
        for annotation in coco.anns.values():
            mask = coco.annToMask(annotation)
            expected = mask_of(box_xyxy_of(coco.cats[annotation["category_id"]]["name"]))
            np.testing.assert_array_equal(mask, expected)
            x, y, width, height = annotation["bbox"]
            assert annotation["area"] == mask.sum() == coco_mask.area(annotation["segmentation"])
            assert annotation["area"] != round(width * height)
            assert annotation["iscrowd"] == 0
            assert annotation["segmentation"]["size"] == [HEIGHT, WIDTH]
            np.testing.assert_allclose([x, y, x + width, y + height], box_xyxy_of(coco.cats[annotation["category_id"]]["name"]), atol=2e-3)
            png = cv2.imread(str(world.folder("coco_dataset") / "coco" / split / "masks" / annotation["mask_file"]), cv2.IMREAD_UNCHANGED)
            np.testing.assert_array_equal(png, mask * 255)
            checked += 1
    assert checked == 36


@pytest.mark.requirement("AV-24", "EXP-06")
def test_categories_are_the_ontologys_and_equal_in_all_splits_although_their_classes_differ(world):
    world.export(ExportFormat.coco)
    loaded = load(world)
    used = {split: {annotation["category_id"] for annotation in coco.anns.values()} for split, coco in loaded.items()}
    assert len({frozenset(ids) for ids in used.values()}) == 3
    expected = {known.category_id: known.id for known in ONTOLOGY.classes}
    for coco in loaded.values():
        assert {category["id"]: category["name"] for category in coco.cats.values()} == expected


@pytest.mark.requirement("AV-24")
def test_image_and_annotation_ids_are_used_once_over_all_splits(world):
    world.export(ExportFormat.coco)
    loaded = load(world).values()
    image_ids = [image_id for coco in loaded for image_id in coco.imgs]
    annotation_ids = [annotation_id for coco in loaded for annotation_id in coco.anns]
    assert sorted(image_ids) == list(range(1, 19))
    assert sorted(annotation_ids) == list(range(1, 37))


@pytest.mark.requirement("EXP-10", "EXP-12")
def test_images_and_annotations_say_where_they_come_from(world):
    world.export(ExportFormat.coco)
    for coco in load(world).values():
        for annotation in coco.anns.values():
            image = coco.imgs[annotation["image_id"]]
            assert annotation["detection_id"].startswith(image["frame_id"] + ":")
            assert image["frame_id"] == f"{image['recording']}:{image['frame_index']:06d}"
            assert annotation["score"] == 0.9
            name = coco.cats[annotation["category_id"]]["name"]
            assert annotation["track_id"] == {"car": 1, "person": 2, "sign": None}[name]
            assert ("box_3d" in annotation) == (name != "sign")
            if name == "car":
                assert annotation["box_3d"]["length"] == CAR.length
                assert annotation["box_3d"]["z"] == CAR.z
            assert image["camera"]["baseline_m"] == 0.12


@pytest.mark.requirement("EXP-03")
def test_mask_files_and_3d_boxes_can_be_left_out_segmentation_cannot(tmp_path):
    settings = DatasetSettings(include_masks=False, include_3d_boxes=False, split=SplitSettings(guard_frames=1))
    world = make_world(tmp_path, [make_recording(tmp_path, "a", range(12))], settings)
    summary = world.export(ExportFormat.coco)
    assert not (world.folder("coco_dataset") / "coco/train/masks").exists()
    assert "masks" not in summary.counts
    annotation = json.loads((world.folder("coco_dataset") / "coco/train/annotations.json").read_text())["annotations"][0]
    assert annotation["segmentation"]["counts"]
    assert not {"box_3d", "mask_file"} & set(annotation)


@pytest.mark.requirement("EXP-06")
def test_an_object_without_a_mask_has_an_empty_segmentation_and_the_area_of_its_box(world):
    path = world.folder("curated_dataset") / sample_table.FILE_NAME
    samples = list(sample_table.read(path, world.artifact_folder))
    boxes = [replace(each, annotations=tuple(replace(one, mask_rle=None, area=0) for one in each.annotations)) for each in samples]
    sample_table.write(path, boxes)
    world.export(ExportFormat.coco)
    for coco in load(world).values():
        for annotation in coco.anns.values():
            _, _, width, height = annotation["bbox"]
            assert annotation["segmentation"] == []
            assert annotation["area"] > 0
            assert annotation["area"] == pytest.approx(width * height, rel=1e-4)
        found = coco.loadRes([{**each, "score": 1.0} for each in coco.anns.values()])
        scores = COCOeval(coco, found, "bbox")
        scores.evaluate()
        scores.accumulate()
        scores.summarize()
        assert scores.stats[0] == 1.0


def test_a_split_without_frames_is_not_written_and_negatives_are_images(tmp_path):
    settings = DatasetSettings(
        filters=FilterSettings(empty_frames="keep_as_negative"), split=SplitSettings(train_ratio=1.0, val_ratio=0.0, test_ratio=0.0)
    )
    world = make_world(tmp_path, [make_recording(tmp_path, "a", range(3), lambda index: () if index else ("car",))], settings)
    world.export(ExportFormat.coco)
    root = world.folder("coco_dataset") / "coco"
    assert {path.name for path in root.iterdir()} == {"train"}
    coco = COCO(str(root / "train/annotations.json"))
    assert (len(coco.imgs), len(coco.anns)) == (3, 1)


def test_a_class_the_ontology_does_not_know_is_a_sentence(world):
    path = world.folder("curated_dataset") / sample_table.FILE_NAME
    samples = list(sample_table.read(path, world.artifact_folder))
    strange = [replace(each, annotations=tuple(replace(one, class_id="unicorn") for one in each.annotations)) for each in samples]
    sample_table.write(path, strange)
    with pytest.raises(InputError, match=r"The annotation '.*' is a 'unicorn', which is not in the ontology"):
        world.export(ExportFormat.coco)
