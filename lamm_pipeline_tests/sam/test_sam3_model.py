import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lamm_pipeline.errors import InputError
from lamm_pipeline.segmentation import sam3_model
from lamm_pipeline.segmentation.sam3_model import Answer, Sam3Model

pytestmark = pytest.mark.sam
TEXTS = ("car", "safety cone", "person riding a bicycle")


@pytest.fixture(scope="module")
def model(sam3_folder: Path) -> Sam3Model:
    return Sam3Model(sam3_folder, TEXTS, 0.0, "cpu")


def images(count: int) -> list[NDArray[np.uint8]]:
    random = np.random.default_rng(7)
    return [random.integers(0, 255, (60 + 4 * n, 80, 3), dtype=np.uint8) for n in range(count)]


def close(one: Sequence[Answer], other: Sequence[Answer]) -> bool:
    return [each.text for each in one] == [each.text for each in other] and all(
        abs(left.score - right.score) < 1e-5 and abs(int(left.mask.pixels.sum()) - int(right.mask.pixels.sum())) <= 10
        for left, right in zip(one, other, strict=True)
    )


@pytest.mark.requirement("SEG-01", "SEG-02", "SEG-03", "SEG-04", "SEG-06")
def test_a_batch_with_all_texts_gives_what_transformers_gives_for_one_image_and_one_text_at_a_time(
    model: Sam3Model, sam3_folder: Path
) -> None:
    import torch
    from transformers import Sam3Model as Network
    from transformers import Sam3Processor

    network, processor = Network.from_pretrained(sam3_folder), Sam3Processor.from_pretrained(sam3_folder)
    pictures = images(2)
    for picture, found in zip(pictures, model.find(pictures), strict=True):
        expected: list[tuple[int, float, NDArray[np.bool_]]] = []
        for number, text in enumerate(TEXTS):
            with torch.inference_mode():
                asked = processor(images=picture, text=text, return_tensors="pt")
                outputs = network(pixel_values=asked["pixel_values"], input_ids=asked["input_ids"], attention_mask=asked["attention_mask"])
            (result,) = processor.post_process_instance_segmentation(outputs, threshold=0.0, target_sizes=[picture.shape[:2]])
            masks = (np.asarray(mask, dtype=bool) for mask in result["masks"])
            expected += [(number, score, mask) for score, mask in zip(result["scores"].tolist(), masks, strict=True) if mask.any()]
        assert len(found) == len(expected) > len(TEXTS)
        for answer, (number, score, mask) in zip(found, expected, strict=True):
            assert answer.text == number
            assert answer.score == pytest.approx(score, abs=1e-5)
            assert (answer.mask.full(picture.shape[1], picture.shape[0]) != mask).mean() < 0.002


@pytest.mark.requirement("SEG-06")
def test_another_text_gives_another_answer_for_the_same_image(sam3_folder: Path) -> None:
    picture = images(1)
    answers = [Sam3Model(sam3_folder, [text], 0.0, "cpu").find(picture)[0] for text in ("car", "car", "truck")]
    scores = [[each.score for each in found] for found in answers]
    assert scores[0] == scores[1] != scores[2]
    assert [each.mask.pixels.sum() for each in answers[0]] != [each.mask.pixels.sum() for each in answers[2]]


@pytest.mark.requirement("SEG-04", "SEG-06")
def test_answers_below_the_threshold_are_not_given(model: Sam3Model, sam3_folder: Path) -> None:
    (every,) = model.find(images(1))
    middle = sorted(each.score for each in every)[len(every) // 2]
    (better,) = Sam3Model(sam3_folder, TEXTS, middle, "cpu").find(images(1))
    assert 0 < len(better) < len(every)
    assert all(each.score > middle for each in better)


@pytest.mark.requirement("SEG-08")
def test_too_many_texts_or_images_for_the_memory_are_asked_in_smaller_batches(
    model: Sam3Model, sam3_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    expected = model.find(images(3))
    small = Sam3Model(sam3_folder, TEXTS, 0.0, "cpu")
    encode, ask = small._encode, small._ask_some
    sizes: dict[str, list[int]] = {"images": [], "texts": []}

    def small_encode(some: Sequence[NDArray[np.uint8]]) -> Any:
        sizes["images"].append(len(some))
        if len(some) > 1:
            raise torch.cuda.OutOfMemoryError("out of memory")
        return encode(some)

    def small_ask(encoded: Any, number: int, shape: tuple[int, ...], start: int, count: int) -> list[Answer]:
        sizes["texts"].append(count)
        if count > 2:
            raise torch.cuda.OutOfMemoryError("out of memory")
        return ask(encoded, number, shape, start, count)

    monkeypatch.setattr(small, "_encode", small_encode)
    monkeypatch.setattr(small, "_ask_some", small_ask)
    found = small.find(images(3))
    assert sizes["images"] == [3, 1, 1, 1]
    assert sizes["texts"] == [3] + [1] * 9
    assert all(close(one, other) for one, other in zip(found, expected, strict=True))


def test_no_image_needs_no_model(tmp_path: Path) -> None:
    assert Sam3Model(tmp_path, TEXTS, 0.5, "cpu").find([]) == []


def test_the_image_encoder_is_compiled_when_that_is_wanted(model: Sam3Model, sam3_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    compiled: list[Any] = []

    def compile_nothing(forward: Any) -> Any:
        compiled.append(forward.__self__)
        return forward

    monkeypatch.setattr(torch, "compile", compile_nothing)
    (found,) = Sam3Model(sam3_folder, TEXTS, 0.0, "cpu", compiled=True).find(images(1))
    assert [type(each).__name__ for each in compiled] == ["Sam3VisionModel"]
    assert close(found, model.find(images(1))[0])


def test_a_text_longer_than_the_model_reads_is_said(sam3_folder: Path) -> None:
    text = " ".join(["car"] * 40)
    with pytest.raises(InputError, match=r"car car' of the ontology has 42 tokens, SAM3 reads 32 at most; shorten it"):
        Sam3Model(sam3_folder, ["car", text], 0.5, "cpu").find(images(1))


def test_damaged_and_incomplete_weights_are_refused(sam3_folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    damaged = shutil.copytree(sam3_folder, tmp_path / "damaged")
    (damaged / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(InputError, match="damaged cannot be loaded; fetch it again"):
        Sam3Model(damaged, TEXTS, 0.5, "cpu").find(images(1))
    incomplete = shutil.copytree(sam3_folder, tmp_path / "incomplete")
    tensors = load_file(incomplete / "model.safetensors")
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith("text_projection")}
    save_file(kept, incomplete / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"incomplete lack 2 of the tensors that its config.json asks for, such as text_projection\.bias"):
        Sam3Model(incomplete, TEXTS, 0.5, "cpu").find(images(1))


def test_weights_of_another_size_than_the_configuration_says_are_refused(sam3_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(sam3_folder, tmp_path / "other")
    config = json.loads((folder / "config.json").read_text())
    config["detr_decoder_config"]["num_queries"] = 9
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="other cannot be loaded; fetch it again"):
        Sam3Model(folder, TEXTS, 0.5, "cpu").find(images(1))


def test_the_network_computes_in_bfloat16_too(model: Sam3Model, sam3_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU: numbers of half the size reach no function that cannot take them."""
    import torch

    half = Sam3Model(sam3_folder, TEXTS, 0.0, "cpu")
    monkeypatch.setattr(sam3_model, "inference", lambda _: torch.autocast("cpu", dtype=torch.bfloat16))
    with torch.inference_mode():
        (found,) = half.find(images(1))
    (exact,) = model.find(images(1))
    assert {each.text for each in found} == {each.text for each in exact}
    assert [each.score for each in found] == pytest.approx([each.score for each in exact], abs=0.01)
