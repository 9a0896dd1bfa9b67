"""SAM2 and SAM3 with random weights, small enough for a CPU.

Without torch, sam2 and transformers these tests are skipped, with LAMM_TEST_NO_SKIPS=1 they fail.
"""

import importlib.util
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lamm_pipeline.geometry.boxes_2d import nms
from lamm_pipeline.ontology.ontology import load_ontology
from lamm_pipeline.segmentation.settings import Variant
from lamm_pipeline_tests.needs import need

IMAGE_SIZE = 64
NEEDED = ("torch", "torchvision", "sam2", "hydra", "transformers")
SAM3_IMAGE_SIZE = 112
OPERATORS = ("nms", "qnms")


@pytest.fixture(scope="session", autouse=True)
def torch_and_sam2() -> Any:
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    need(not missing, f"{', '.join(missing)} not installed; run make test-sam")
    import torch

    torch.set_num_threads(1)  # the networks are so small that threads only wait for each other
    return _torchvision_operators()


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Networks this small are slower on several."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def weights_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a checkpoint of the variant tiny: the package's own architecture, random weights."""
    import torch

    from lamm_pipeline.segmentation.sam2_model import build_model
    from lamm_pipeline.segmentation.sam2_weights import CHECKPOINTS

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("weights")
    torch.save({"model": build_model(Variant.tiny, IMAGE_SIZE).state_dict()}, folder / CHECKPOINTS[Variant.tiny].file)
    return folder


@pytest.fixture(scope="session")
def sam3_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `facebook/sam3` is: the architecture of transformers in small, random weights, a vocabulary of the ontology's words."""
    import torch
    from transformers import Sam3Config, Sam3ImageProcessor, Sam3Model, Sam3Processor

    tokenizer = _tokenizer({word for each in load_ontology().classes for word in each.prompt.replace(",", " ").split()})
    narrow = {"hidden_size": 32, "num_attention_heads": 2}
    small = {**narrow, "num_layers": 1, "intermediate_size": 32}
    layers = {**narrow, "num_hidden_layers": 2, "intermediate_size": 64}
    side = SAM3_IMAGE_SIZE // 14
    backbone = {"image_size": SAM3_IMAGE_SIZE, "patch_size": 14, "window_size": 4, "global_attn_indexes": [1], "pretrain_image_size": 56}
    config = Sam3Config(
        vision_config={
            "backbone_config": {"model_type": "sam3_vit_model", **layers, **backbone},
            "fpn_hidden_size": 32,
            "backbone_feature_sizes": [[4 * side] * 2, [2 * side] * 2, [side] * 2],
        },
        text_config={
            "model_type": "clip_text_model",
            "vocab_size": len(tokenizer),
            "projection_dim": 32,
            "max_position_embeddings": 32,
            **layers,
        },
        geometry_encoder_config=small,
        detr_encoder_config=small,
        detr_decoder_config={**small, "num_queries": 8},
        mask_decoder_config=narrow,
    )
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("sam3")
    Sam3Model(config).save_pretrained(folder)
    Sam3Processor(Sam3ImageProcessor(size={"height": SAM3_IMAGE_SIZE, "width": SAM3_IMAGE_SIZE}), tokenizer).save_pretrained(folder)
    return folder


def _tokenizer(words: Iterable[str]) -> Any:
    """A tokenizer of CLIP's kind whose vocabulary is made of some words and the beginnings of them."""
    from transformers import CLIPTokenizer

    letters = "abcdefghijklmnopqrstuvwxyz-"
    known = dict.fromkeys([*letters, *(f"{letter}</w>" for letter in letters)])
    merges = {}
    for word in sorted(words):
        parts = [*word[:-1], f"{word[-1]}</w>"]
        for end in range(1, len(parts)):
            merges["".join(parts[:end]), parts[end]] = None
            known["".join(parts[: end + 1])] = None
    vocabulary = [*known, "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={token: number for number, token in enumerate(vocabulary)}, merges=list(merges))


def _torchvision_operators() -> Any:
    """Stand in for the operators of torchvision where its compiled part does not load (built for CUDA).

    It looks for two when it is imported; the automatic mask generator calls `nms`. Returns what keeps them declared.
    """
    import torch

    spec = importlib.util.find_spec("torchvision")
    assert spec is not None
    assert spec.origin is not None
    try:
        for library in Path(spec.origin).parent.glob("_C*.so"):
            torch.ops.load_library(library)
    except OSError:
        declared = torch.library.Library("torchvision", "FRAGMENT")
        for name in OPERATORS:
            declared.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        declared.impl("nms", lambda boxes, scores, iou: torch.as_tensor(nms(boxes.numpy(), scores.float().numpy(), iou)), "CPU")
        import torchvision.extension

        torchvision.extension._has_ops = lambda: True
        return declared
    return None
