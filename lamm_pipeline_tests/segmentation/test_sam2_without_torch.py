"""What the back end `sam2` decides before and after the model runs; the model itself is tested in `lamm_pipeline_tests/sam`."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from lamm_pipeline.errors import InputError
from lamm_pipeline.ontology.ontology import load_ontology
from lamm_pipeline.segmentation.backends import make_segmenter
from lamm_pipeline.segmentation.depth_masks import box_mask
from lamm_pipeline.segmentation.sam2_segmenter import outlined_by
from lamm_pipeline.segmentation.sam2_weights import CHECKPOINTS, find_weights
from lamm_pipeline.segmentation.segmenter import RawDetection
from lamm_pipeline.segmentation.settings import SegmentationSettings, Variant


def hide(monkeypatch: pytest.MonkeyPatch, *hidden: str) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name in hidden else find(name, *rest))


def detection(*box_xyxy: float) -> RawDetection:
    box = np.array(box_xyxy)
    return RawDetection("car", 0.7, box, box_mask(box, 100, 60), "depth")


@pytest.mark.requirement("SEG-01")
def test_missing_packages_are_said_with_the_extra_that_brings_them(monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "torch", "sam2", "torchvision")
    with pytest.raises(InputError, match=r"needs torch and torchvision and sam2.*pip install 'lamm-pipeline\[sam2\]'"):
        make_segmenter(SegmentationSettings(backend="sam2"), load_ontology())


@pytest.mark.parametrize(
    ("variant", "file"),
    [
        ("tiny", "sam2.1_hiera_tiny.pt"),
        ("small", "sam2.1_hiera_small.pt"),
        ("base", "sam2.1_hiera_base_plus.pt"),
        ("large", "sam2.1_hiera_large.pt"),
    ],
)
@pytest.mark.requirement("CFG-05", "SEG-01")
def test_the_variant_chooses_the_checkpoint(tmp_path: Path, variant: str, file: str) -> None:
    chosen = SegmentationSettings.model_validate({"backend": "sam2", "variant": variant}).variant
    with pytest.raises(InputError, match=f"set `weights` to the file {file}, to its folder, or to facebook/"):
        find_weights(chosen, None)
    with pytest.raises(InputError, match=f"has no {file}, the weights of the variant '{variant}'"):
        find_weights(chosen, str(tmp_path))
    for each in CHECKPOINTS.values():
        (tmp_path / each.file).write_bytes(b"")
    assert find_weights(chosen, str(tmp_path)) == tmp_path / file
    (tmp_path / "own.pt").write_bytes(b"")
    assert find_weights(chosen, str(tmp_path / "own.pt")) == tmp_path / "own.pt"


def test_weights_that_are_nowhere_are_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.pt do not exist; set `weights` to sam2\.1_hiera_tiny\.pt or the folder"):
        find_weights(Variant.tiny, str(tmp_path / "nothing.pt"))
    with pytest.raises(InputError, match=r"'facebook/sam9' are no file, no folder and none of the ids facebook/sam2\.1-hiera-tiny, "):
        find_weights(Variant.tiny, "facebook/sam9")


@pytest.mark.requirement("CFG-05")
def test_weights_on_the_hub_must_be_those_of_the_variant_and_are_fetched_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hub = ModuleType("huggingface_hub")
    asked: list[tuple[str, str]] = []

    def hf_hub_download(repo_id: str, filename: str) -> str:
        asked.append((repo_id, filename))
        return str(tmp_path / filename)

    hub.hf_hub_download = hf_hub_download  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    with pytest.raises(InputError, match=r"are not those of the variant 'base', which are facebook/sam2\.1-hiera-base-plus"):
        find_weights(Variant.base, "facebook/sam2.1-hiera-tiny")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: hub)
    assert find_weights(Variant.base, "facebook/sam2.1-hiera-base-plus") == tmp_path / "sam2.1_hiera_base_plus.pt"
    assert asked == [("facebook/sam2.1-hiera-base-plus", "sam2.1_hiera_base_plus.pt")]
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InputError, match="needs huggingface_hub, which this installation lacks"):
        find_weights(Variant.base, "facebook/sam2.1-hiera-base-plus")


@pytest.mark.requirement("SEG-03", "SEG-04")
def test_a_mask_is_clipped_to_its_box_and_a_margin() -> None:
    everywhere = np.ones((60, 100), dtype=bool)
    found = outlined_by(everywhere, detection(20, 10, 60, 30))
    rows, columns = np.nonzero(found.mask.full(100, 60))
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (18, 61, 9, 30)
    assert (found.mask_source, found.class_id, found.confidence) == ("sam2", "car", 0.7)
    at_the_border = outlined_by(everywhere, detection(0, 0, 100, 60))
    assert at_the_border.mask.full(100, 60).all()


def test_a_mask_that_covers_next_to_nothing_leaves_the_one_that_came_with_the_box() -> None:
    mask = np.zeros((60, 100), dtype=bool)
    mask[12:15, 22:34] = True
    mask[40:60, 70:100] = True  # outside the box
    before = detection(20, 10, 60, 30)
    assert outlined_by(mask, before) is before
    mask[12:16, 22:34] = True
    assert outlined_by(mask, before).mask_source == "sam2"
    assert int(outlined_by(mask, before).mask.pixels.sum()) == 48
