from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lamm_pipeline.errors import InputError
from lamm_pipeline.segmentation.sam2_model import Grid, Sam2Model, build_model
from lamm_pipeline.segmentation.sam2_weights import CHECKPOINTS, find_weights
from lamm_pipeline.segmentation.settings import Variant
from lamm_pipeline.segmentation.torch_device import resolve_device
from lamm_pipeline_tests.sam.conftest import IMAGE_SIZE

pytestmark = pytest.mark.sam


@pytest.fixture(scope="module")
def model(weights_folder: Path) -> Sam2Model:
    return Sam2Model(Variant.tiny, find_weights(Variant.tiny, str(weights_folder)), "cpu", IMAGE_SIZE)


def images(count: int, shape: tuple[int, int] = (60, 80)) -> list[NDArray[np.uint8]]:
    random = np.random.default_rng(7)
    return [random.integers(0, 255, (*shape, 3), dtype=np.uint8) for _ in range(count)]


def boxes(*corners: tuple[int, int, int, int]) -> NDArray[np.float64]:
    return np.array(corners, dtype=np.float64)


@pytest.mark.requirement("CFG-05", "SEG-01")
def test_every_variant_is_the_checkpoint_and_configuration_that_the_package_itself_names() -> None:
    build_model(Variant.tiny, IMAGE_SIZE)  # prepares Hydra for the import below
    from sam2.build_sam import HF_MODEL_ID_TO_FILENAMES

    assert {each.hub_id: (each.config, each.file) for each in CHECKPOINTS.values()} == {
        hub_id: names for hub_id, names in HF_MODEL_ID_TO_FILENAMES.items() if hub_id.startswith("facebook/sam2.1-")
    }


@pytest.mark.requirement("CFG-05", "SEG-01")
def test_a_variant_builds_a_network_of_its_own_size() -> None:
    def parameters(variant: Variant) -> int:
        return sum(each.numel() for each in build_model(variant, IMAGE_SIZE).parameters())

    assert parameters(Variant.tiny) / 1e6 == pytest.approx(38.9, abs=0.1)
    assert parameters(Variant.small) / 1e6 == pytest.approx(46.0, abs=0.1)


@pytest.mark.requirement("SEG-02", "SEG-03")
def test_a_batch_gives_the_masks_that_the_package_gives_for_one_image_and_one_box_at_a_time(model: Sam2Model, weights_folder: Path) -> None:
    import torch
    from sam2.sam2_image_predictor import SAM2ImagePredictor

    pictures = [*images(1), *images(1, shape=(40, 96))]
    prompts = [boxes((10, 10, 40, 40), (5, 5, 20, 20), (30, 2, 70, 50)), boxes((20, 10, 90, 35))]
    together = model.masks(pictures, prompts)

    network = build_model(Variant.tiny, IMAGE_SIZE)
    network.load_state_dict(torch.load(weights_folder / CHECKPOINTS[Variant.tiny].file, weights_only=True)["model"])
    predictor: Any = SAM2ImagePredictor(network)
    predictor._bb_feat_sizes = [(IMAGE_SIZE // stride,) * 2 for stride in (4, 8, 16)]
    for picture, corners, found in zip(pictures, prompts, together, strict=True):
        assert found.shape == (len(corners), *picture.shape[:2])
        assert found.dtype == bool
        with torch.inference_mode():
            predictor.set_image(picture)
            for box, mask in zip(corners, found, strict=True):
                expected = predictor.predict(box=box, multimask_output=False)[0][0] > 0.5
                assert expected.any()
                assert (mask != expected).mean() < 0.002  # sums of floats in another order may move an edge by a pixel


@pytest.mark.requirement("SEG-08")
def test_a_batch_too_big_for_the_memory_is_halved_until_it_fits(model: Sam2Model, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    pictures, prompts = images(3), [boxes((10, 10, 40, 40))] * 3
    expected = model.masks(pictures, prompts)
    predict, sizes = model._predict, []

    def small_memory(some: Sequence[NDArray[np.uint8]], corners: Sequence[NDArray[np.float64]]) -> list[NDArray[np.bool_]]:
        sizes.append(len(some))
        if len(some) > 1:
            raise torch.cuda.OutOfMemoryError("out of memory")
        return predict(some, corners)

    monkeypatch.setattr(model, "_predict", small_memory)
    found = model.masks(pictures, prompts)
    assert sizes == [3, 1, 1, 1]
    for one, other in zip(found, expected, strict=True):
        assert (one != other).mean() < 0.002


def test_a_single_image_too_big_for_the_memory_is_said(model: Sam2Model, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    def no_memory(*_: Any) -> list[NDArray[np.bool_]]:
        raise torch.cuda.OutOfMemoryError("out of memory")

    monkeypatch.setattr(model, "_predict", no_memory)
    with pytest.raises(InputError, match="memory does not suffice for SAM2 'tiny' on one image; choose a smaller `variant`"):
        model.masks(images(1), [boxes((10, 10, 40, 40))])


def test_no_image_needs_no_model(weights_folder: Path) -> None:
    assert Sam2Model(Variant.tiny, weights_folder / "not there.pt", "cpu").masks([], []) == []


def test_weights_of_another_variant_are_refused(weights_folder: Path) -> None:
    tiny = find_weights(Variant.tiny, str(weights_folder))
    with pytest.raises(InputError, match=r"are not those of the variant 'small', whose file is sam2\.1_hiera_small\.pt"):
        Sam2Model(Variant.small, tiny, "cpu", IMAGE_SIZE).masks(images(1), [boxes((10, 10, 40, 40))])


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04 cut off"])
def test_damaged_weights_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "weights.pt").write_bytes(content)
    with pytest.raises(InputError, match=r"weights\.pt is not a checkpoint of SAM2, or damaged; fetch sam2\.1_hiera_tiny\.pt again"):
        Sam2Model(Variant.tiny, tmp_path / "weights.pt", "cpu", IMAGE_SIZE).masks(images(1), [boxes((10, 10, 40, 40))])


def test_a_file_of_torch_without_a_model_is_refused(tmp_path: Path) -> None:
    import torch

    torch.save({"weights": {}}, tmp_path / "weights.pt")
    with pytest.raises(InputError, match="is not a checkpoint of SAM2"):
        Sam2Model(Variant.tiny, tmp_path / "weights.pt", "cpu", IMAGE_SIZE).masks(images(1), [boxes((10, 10, 40, 40))])


def test_a_gpu_that_is_not_there_is_said_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="LAMM_DEVICE is 'cuda', but torch finds no CUDA device"):
        resolve_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("cuda") == "cuda"
    assert resolve_device("cpu") == "cpu"
    assert [Sam2Model(Variant.tiny, Path("x"), device).dtype for device in ("cpu", "cuda")] == ["float32", "bfloat16"]
