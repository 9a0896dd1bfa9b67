import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from lamm_pipeline.errors import InputError
from lamm_pipeline.segmentation.settings import Variant
from lamm_pipeline.tracking.masklets.backends import make_propagator
from lamm_pipeline.tracking.masklets.flow_propagator import FlowPropagator
from lamm_pipeline.tracking.masklets.settings import MaskletBackend, MaskletSettings


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend that torch and sam2 are there; what these tests need of them is that they can be found."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: ModuleSpec(name, None))
    monkeypatch.setenv("LAMM_DEVICE", "cpu")


def sam2(weights: str | None, variant: Variant = Variant.tiny) -> MaskletSettings:
    return MaskletSettings(backend=MaskletBackend.sam2, weights=weights, variant=variant)


def test_without_a_word_the_back_end_is_the_one_that_needs_no_weights() -> None:
    assert isinstance(make_propagator(MaskletSettings()), FlowPropagator)


@pytest.mark.requirement("SEG-01")
def test_missing_packages_are_said_with_the_extra_that_brings_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"'sam2' needs torch and torchvision and sam2, .* pip install 'lamm-pipeline\[sam2\]'"):
        make_propagator(sam2(None))


@pytest.mark.usefixtures("installed")
def test_missing_weights_are_said_with_the_file_that_is_wanted(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"set `weights` to the file sam2\.1_hiera_large\.pt"):
        make_propagator(sam2(None, Variant.large))
    with pytest.raises(InputError, match=r"has no sam2\.1_hiera_tiny\.pt, the weights of the variant 'tiny'"):
        make_propagator(sam2(str(tmp_path)))


@pytest.mark.requirement("CFG-05")
@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("variant", list(Variant))
def test_variant_and_weights_decide_the_identity_without_loading_anything(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variant: Variant
) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda _: "1.1.0")
    weights = tmp_path / "weights.pt"
    weights.write_bytes(b"some")
    identity = make_propagator(sam2(str(weights), variant)).identity
    assert identity["model"] == f"sam2.1_hiera_{ {'base': 'base_plus'}.get(variant.value, variant.value) }"
    weights.write_bytes(b"others")
    other = make_propagator(sam2(str(weights), variant)).identity
    assert {key for key in identity if identity[key] != other[key]} == {"weights_sha256"}
