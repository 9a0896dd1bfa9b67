"""SAM2 with random weights, small enough for a CPU. Without torch and sam2 these tests are skipped, with LAMM_TEST_NO_SKIPS=1 they fail."""

import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest

from lamm_pipeline.geometry.boxes_2d import nms
from lamm_pipeline.segmentation.settings import Variant

IMAGE_SIZE = 64
NEEDED = ("torch", "torchvision", "sam2", "hydra")
OPERATORS = ("nms", "qnms")


@pytest.fixture(scope="session", autouse=True)
def torch_and_sam2() -> Any:
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        reason = f"{', '.join(missing)} not installed; run make test-sam"
        if os.environ.get("LAMM_TEST_NO_SKIPS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return _torchvision_operators()


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
