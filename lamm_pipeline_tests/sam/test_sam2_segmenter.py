import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from skimage import data

from lamm_pipeline.errors import InputError
from lamm_pipeline.geometry import rle
from lamm_pipeline.ontology.ontology import Ontology, load_ontology
from lamm_pipeline.segmentation import detections
from lamm_pipeline.segmentation.backends import make_segmenter
from lamm_pipeline.segmentation.detector_segmenter import DetectorSegmenter
from lamm_pipeline.segmentation.sam2_segmenter import Sam2Segmenter
from lamm_pipeline.segmentation.segment_frames import SegmentationSummary, segment_frames
from lamm_pipeline.segmentation.segmenter import Picture
from lamm_pipeline.segmentation.settings import Prompts, SegmentationSettings, TileProfile, Variant
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline_tests.sam.conftest import IMAGE_SIZE
from lamm_pipeline_tests.segmentation.bright_squares import HEIGHT, WIDTH, frame, registry, tree, write_files

pytestmark = pytest.mark.sam
ONTOLOGY = load_ontology()


def settings(weights: Path, predictions: Path | None = None, batch_size: int = 8) -> SegmentationSettings:
    return SegmentationSettings(
        backend="sam2",
        weights=str(weights),
        predictions=None if predictions is None else str(predictions),
        batch_size=batch_size,
        tiles=TileProfile.full,
    )


def write_predictions(folder: Path, frames: int) -> Path:
    """Frame n has n % 3 boxes."""
    boxes = [[0.1, 0.1, 0.6, 0.7], [0.4, 0.2, 0.9, 0.9]]
    path = folder / "predictions.json"
    entries = {
        str(n): {"predictions": [{"xyxyn": box, "confidence": 0.9, "class_name": "car"} for box in boxes[: n % 3]]} for n in range(frames)
    }
    path.write_text(json.dumps(entries))
    return path


@pytest.mark.requirement("SEG-01", "SEG-03", "SEG-04")
def test_boxes_classes_and_scores_are_the_detectors_and_masks_the_models(weights_folder: Path) -> None:
    image = np.full((360, 640, 3), 140, dtype=np.uint8)
    image[40:340, 170:470] = cv2.resize(data.astronaut()[:, :, ::-1], (300, 300))
    chosen = settings(weights_folder)
    detected = DetectorSegmenter(chosen, ONTOLOGY).segment(image, None, None).detections
    segmenter = Sam2Segmenter(chosen, ONTOLOGY, "cpu", IMAGE_SIZE)
    (found,) = segmenter.segment_batch([Picture(frame(0), image, None, None)])
    assert "person" in {each.class_id for each in found.detections}
    assert [(each.class_id, each.confidence, *each.box_xyxy) for each in found.detections] == [
        (each.class_id, each.confidence, *each.box_xyxy) for each in detected
    ]
    outlined = [each for each in found.detections if each.mask_source == "sam2"]
    assert outlined
    for each in outlined:
        x1, y1, x2, y2 = each.box_xyxy
        rows, columns = np.nonzero(each.mask.full(640, 360))
        assert columns.min() >= x1 - 0.05 * (x2 - x1) - 1
        assert columns.max() <= x2 + 0.05 * (x2 - x1) + 1
        assert rows.min() >= y1 - 0.05 * (y2 - y1) - 1
        assert rows.max() <= y2 + 0.05 * (y2 - y1) + 1
        assert len(rows) >= 0.05 * (x2 - x1) * (y2 - y1)


@pytest.mark.requirement("CFG-07", "SEG-02", "SEG-09")
def test_batches_of_frames_give_what_single_frames_give_and_frames_without_boxes_stay_empty(weights_folder: Path, tmp_path: Path) -> None:
    frames = [frame(index) for index in range(5)]
    write_files(tmp_path / "frames", frames)
    predictions = write_predictions(tmp_path, 5)

    def run(segmenter: Sam2Segmenter, out: str, workers: int) -> SegmentationSummary:
        draft = Draft.open(tmp_path / out)
        chosen = SegmentationSettings()
        summary = segment_frames(registry(frames), tmp_path / "frames", segmenter, ONTOLOGY, chosen, draft, workers=workers)
        draft.finish()
        return summary

    by_two = Sam2Segmenter(settings(weights_folder, predictions, batch_size=2), ONTOLOGY, "cpu", IMAGE_SIZE)
    one = run(Sam2Segmenter(settings(weights_folder, predictions, batch_size=1), ONTOLOGY, "cpu", IMAGE_SIZE), "one", workers=2)
    two = run(by_two, "two", workers=1)
    run(by_two, "two again", workers=2)
    assert one.by_class == two.by_class == {"car": 4}
    assert two.by_mask_source.get("sam2", 0) > 0
    assert tree(tmp_path / "two") == tree(tmp_path / "two again")
    for left, right in zip(detections.read(one.path), detections.read(two.path), strict=True):
        assert len(right.detections) == right.frame_index % 3
        assert [each.box_xyxy for each in left.detections] == [each.box_xyxy for each in right.detections]
        for first, second in zip(left.detections, right.detections, strict=True):
            assert first.area == pytest.approx(second.area, abs=0.002 * WIDTH * HEIGHT)
    head = detections.read_head(two.path)
    assert head["predictions"]["frames_matched"] == 5
    assert head["segmenter"]["prompts"]["backend"] == "external"


@pytest.mark.requirement("SEG-01", "SEG-03", "SEG-04", "SEG-05")
def test_automatic_masks_take_the_class_of_the_box_they_fit_and_the_others_are_counted(weights_folder: Path, tmp_path: Path) -> None:
    frames = [frame(index) for index in range(3)]
    write_files(tmp_path / "frames", frames)
    whole = {"xyxyn": [0.0, 0.0, 1.0, 1.0], "confidence": 0.9, "class_name": "truck"}
    (tmp_path / "predictions.json").write_text(json.dumps({"0": {"predictions": [whole]}, "1": {"predictions": []}}))
    chosen = settings(weights_folder, tmp_path / "predictions.json").model_copy(
        update={"prompts": Prompts.automatic, "points_per_side": 2, "mask_quality": 0.0, "mask_stability": 0.0}
    )
    segmenter = Sam2Segmenter(chosen, ONTOLOGY, "cpu", IMAGE_SIZE)
    draft = Draft.open(tmp_path / "out")
    summary = segment_frames(registry(frames), tmp_path / "frames", segmenter, ONTOLOGY, chosen, draft, workers=1)
    first, second, third = detections.read(summary.path)
    assert [(each.class_id, each.confidence, each.mask_source) for each in first.detections] == [("truck", 0.9, "sam2")]
    x1, y1, x2, y2 = first.detections[0].box_xyxy
    rows, columns = np.nonzero(rle.decode(first.detections[0].mask_rle))
    assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (x1, y1, x2, y2)
    assert second.detections == third.detections == ()
    assert summary.refused == {"no class: cut by the image's border": 2}
    head = detections.read_head(summary.path)
    assert head["segmenter"]["points_per_side"] == 2
    assert head["refused"] == summary.refused


def test_automatic_masks_ask_the_detector_for_all_classes_and_do_without_it_where_it_knows_none(weights_folder: Path) -> None:
    def prompts(ontology: Ontology, *classes: str) -> dict[str, Any]:
        chosen = settings(weights_folder).model_copy(update={"prompts": Prompts.automatic, "classes": list(classes)})
        identity = Sam2Segmenter(chosen, ontology, "cpu", IMAGE_SIZE).identity
        assert identity["classes"] == sorted(classes)
        given: dict[str, Any] = identity["prompts"]
        return given

    assert set(prompts(ONTOLOGY, "haul_truck")["classes"]) == {each.id for each in ONTOLOGY.classes}
    assert prompts(Ontology((ONTOLOGY.by_id("haul_truck"),), "0" * 64), "haul_truck") == {"backend": "none"}


def test_the_identity_names_model_weights_numbers_and_thresholds(weights_folder: Path) -> None:
    identity = Sam2Segmenter(settings(weights_folder), ONTOLOGY, "cpu").identity
    assert identity["model"] == "sam2.1_hiera_tiny"
    assert len(identity["weights_sha256"]) == 64
    assert identity["dtype"] == "float32"
    assert identity["image_size"] == 1024
    assert {"mask_threshold", "margin_share", "min_area_share", "package"} <= set(identity)
    assert identity["prompts"] == DetectorSegmenter(settings(weights_folder), ONTOLOGY).identity
    assert json.loads(json.dumps(identity)) == identity
    assert Sam2Segmenter(settings(weights_folder, batch_size=1), ONTOLOGY, "cpu").identity == identity
    compiled = settings(weights_folder).model_copy(update={"compile_model": True, "gpu_memory_share": 0.5})
    assert Sam2Segmenter(compiled, ONTOLOGY, "cpu").identity == {**identity, "compiled": True}


def test_it_is_made_by_name_and_the_variant_chooses_the_file(weights_folder: Path) -> None:
    assert isinstance(make_segmenter(settings(weights_folder), ONTOLOGY), Sam2Segmenter)
    large = settings(weights_folder).model_copy(update={"variant": Variant.large})
    with pytest.raises(InputError, match=r"has no sam2\.1_hiera_large\.pt, the weights of the variant 'large'"):
        make_segmenter(large, ONTOLOGY)
