import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lamm_pipeline.ontology.ontology import Ontology, load_ontology
from lamm_pipeline.segmentation import detections
from lamm_pipeline.segmentation.backends import make_segmenter
from lamm_pipeline.segmentation.sam3_segmenter import Sam3Segmenter
from lamm_pipeline.segmentation.segment_frames import SegmentationSummary, segment_frames
from lamm_pipeline.segmentation.segmenter import Picture
from lamm_pipeline.segmentation.settings import SegmentationSettings
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline_tests.segmentation.bright_squares import BrightSquares, frame, registry, tree, write_files

pytestmark = pytest.mark.sam
ONTOLOGY = load_ontology()


def settings(weights: Path, **changes: Any) -> SegmentationSettings:
    return SegmentationSettings.model_validate(
        {"backend": "sam3", "weights": str(weights), "confidence_threshold": 0.0, "size_check": False, "batch_size": 2, **changes}
    )


def run(folder: Path, out: str, segmenter: Any, frames: int, workers: int = 1) -> SegmentationSummary:
    records = [frame(index) for index in range(frames)]
    if not (folder / "frames").exists():
        write_files(folder / "frames", records)
    draft = Draft.open(folder / out)
    summary = segment_frames(registry(records), folder / "frames", segmenter, ONTOLOGY, SegmentationSettings(), draft, workers=workers)
    draft.finish()
    return summary


def keys(path: Path) -> set[str]:
    return {key for one in json.loads(path.read_text())["frames"].values() for each in one["detections"] for key in each}


@pytest.mark.requirement("SEG-01", "SEG-02", "SEG-03", "SEG-04", "SEG-05", "SEG-06")
def test_from_frames_to_the_detection_file_that_every_back_end_writes(sam3_folder: Path, tmp_path: Path) -> None:
    segmenter = make_segmenter(settings(sam3_folder, classes=["car", "person", "dog", "cone"], max_detections=2), ONTOLOGY)
    summary = run(tmp_path, "out", segmenter, frames=3)
    other = run(tmp_path, "other", BrightSquares(), frames=3)
    assert keys(summary.path) == keys(other.path)
    assert summary.by_mask_source == {"sam3": 6}
    assert summary.refused["more than max_detections"] > 0
    for found in detections.read(summary.path):
        scores = [each.confidence for each in found.detections]
        assert len(scores) == 2
        assert scores == sorted(scores, key=lambda score: -(score or 0.0))
        for each in found.detections:
            assert each.class_id in {"car", "person", "dog", "cone"}
            assert each.area > 0
    assert detections.read_head(summary.path)["segmenter"] == segmenter.identity


def test_the_same_frames_give_the_same_bytes(sam3_folder: Path, tmp_path: Path) -> None:
    chosen = settings(sam3_folder, classes=["car", "person"])
    for out, workers in (("one", 1), ("two", 2)):
        run(tmp_path, out, Sam3Segmenter(chosen, ONTOLOGY, "cpu"), frames=3, workers=workers)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


@pytest.mark.requirement("SEG-06")
def test_every_prompt_of_every_class_reaches_the_network_as_a_text_of_its_own(sam3_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import CLIPTokenizer
    from transformers import Sam3Model as Network

    read: list[list[int]] = []
    get_text_features = Network.get_text_features

    def spy(self: Any, input_ids: Any, attention_mask: Any) -> Any:
        read.extend(ids[mask.bool()].tolist() for ids, mask in zip(input_ids, attention_mask, strict=True))
        return get_text_features(self, input_ids=input_ids, attention_mask=attention_mask)

    monkeypatch.setattr(Network, "get_text_features", spy)
    Sam3Segmenter(settings(sam3_folder), ONTOLOGY, "cpu").segment_batch([Picture(frame(0), np.zeros((60, 80, 3), np.uint8), None, None)])
    tokenizer = CLIPTokenizer.from_pretrained(sam3_folder)
    texts = [text.strip() for each in ONTOLOGY.classes for text in each.prompt.split(",")]
    said = [tokenizer.decode(ids, skip_special_tokens=True).replace(" - ", "-").strip() for ids in read]
    assert said == texts
    assert len(texts) > len(ONTOLOGY.classes) == len({each.id for each in ONTOLOGY.classes})
    assert len({tuple(ids) for ids in read}) == len(set(texts))


@pytest.mark.requirement("SEG-06")
def test_another_prompt_for_a_class_gives_other_detections_and_another_version(sam3_folder: Path) -> None:
    picture = Picture(frame(0), np.random.default_rng(3).integers(0, 255, (60, 80, 3), dtype=np.uint8), None, None)

    def segmenter(prompt: str) -> Sam3Segmenter:
        car = ONTOLOGY.by_id("car")
        changed = Ontology((type(car)(**{**vars(car), "prompt": prompt}),), ONTOLOGY.digest)
        return Sam3Segmenter(settings(sam3_folder), changed, "cpu")

    one, other = segmenter("car"), segmenter("dog")
    scores = [[each.confidence for each in made.segment_batch([picture])[0].detections] for made in (one, other)]
    assert scores[0] != scores[1]
    assert one.identity != other.identity


@pytest.mark.requirement("SEG-07")
def test_of_overlapping_answers_of_a_group_the_best_stays_and_the_others_are_counted(sam3_folder: Path) -> None:
    picture = Picture(frame(0), np.random.default_rng(3).integers(0, 255, (60, 80, 3), dtype=np.uint8), None, None)
    (found,) = Sam3Segmenter(settings(sam3_folder, classes=["car", "truck", "dog"]), ONTOLOGY, "cpu").segment_batch([picture])
    (every,) = Sam3Segmenter(settings(sam3_folder, classes=["car", "truck", "dog"], nms_iou=1.0), ONTOLOGY, "cpu").segment_batch([picture])
    assert len(found.detections) + found.refused["overlaps a better detection"] == len(every.detections)
    assert found.refused["overlaps a better detection"] > 0
    assert {each.class_id for each in found.detections} & {"car", "truck"}
    assert "dog" in {each.class_id for each in found.detections}


def test_the_identity_names_model_weights_numbers_prompts_and_thresholds(sam3_folder: Path) -> None:
    identity = Sam3Segmenter(settings(sam3_folder, classes=["cone"]), ONTOLOGY, "cpu").identity
    assert json.loads(json.dumps(identity)) == identity
    assert identity["prompts"] == [["cone", "traffic cone"], ["cone", "safety cone"]]
    assert len(identity["weights_sha256"]) == 64
    assert (identity["dtype"], identity["compiled"], identity["mask_threshold"]) == ("float32", False, 0.5)
    compiled = Sam3Segmenter(settings(sam3_folder, classes=["cone"], compile_model=True), ONTOLOGY, "cpu").identity
    assert compiled == {**identity, "compiled": True}
    assert Sam3Segmenter(settings(sam3_folder, classes=["cone"], batch_size=7), ONTOLOGY, "cpu").identity == identity
