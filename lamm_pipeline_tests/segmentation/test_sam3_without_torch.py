"""What the back end `sam3` decides before the model runs; the model itself is tested in `lamm_pipeline_tests/sam`."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from lamm_pipeline.errors import InputError
from lamm_pipeline.ontology.ontology import load_ontology
from lamm_pipeline.segmentation.backends import make_segmenter
from lamm_pipeline.segmentation.sam3_weights import digest_folder, find_folder
from lamm_pipeline.segmentation.settings import SegmentationSettings


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the names of a model's files."""
    made = tmp_path / "sam3"
    made.mkdir()
    (made / "config.json").write_text(json.dumps({"model_type": "sam3_video"}))
    (made / "model.safetensors").write_bytes(b"weights")
    (made / "processor_config.json").write_text("{}")
    (made / "tokenizer.json").write_text("{}")
    (made / "README.md").write_text("words")
    return made


def hub(monkeypatch: pytest.MonkeyPatch, result: Path | str) -> list[dict[str, Any]]:
    """A hub that gives a folder, or raises the error of that name."""
    asked: list[dict[str, Any]] = []
    module, errors = ModuleType("huggingface_hub"), ModuleType("huggingface_hub.errors")
    for name in ("GatedRepoError", "RepositoryNotFoundError"):
        setattr(errors, name, type(name, (Exception,), {}))

    def snapshot_download(**named: Any) -> str:
        asked.append(named)
        if isinstance(result, str):
            raise getattr(errors, result)
        return str(result)

    module.snapshot_download = snapshot_download  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    monkeypatch.setitem(sys.modules, "huggingface_hub.errors", errors)
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: module)
    return asked


@pytest.mark.requirement("SEG-01", "SEG-06")
def test_missing_packages_are_said_with_the_extra_that_brings_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: None)
    with pytest.raises(InputError, match=r"needs torch and torchvision and transformers.*pip install 'lamm-pipeline\[sam3\]'"):
        make_segmenter(SegmentationSettings(backend="sam3"), load_ontology())


@pytest.mark.requirement("SEG-01")
def test_weights_are_a_folder(folder: Path) -> None:
    assert find_folder(str(folder)) == folder
    with pytest.raises(InputError, match=r"set `weights` to the folder that holds config.json and model.safetensors, or to facebook/sam3"):
        find_folder(None)
    with pytest.raises(InputError, match=r"model.safetensors are a file; the back end 'sam3' needs the folder"):
        find_folder(str(folder / "model.safetensors"))
    with pytest.raises(InputError, match=r"/no/where/at/all do not exist"):
        find_folder("/no/where/at/all")


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("config.json", "config.json"),
        ("model.safetensors", "model.safetensors or model.safetensors.index.json"),
        ("processor_config.json", "processor_config.json or preprocessor_config.json"),
        ("tokenizer.json", "tokenizer.json or vocab.json"),
    ],
)
def test_a_missing_file_is_named(folder: Path, file: str, said: str) -> None:
    (folder / file).unlink()
    with pytest.raises(InputError, match=f"has no {said}, which a SAM3 model needs"):
        find_folder(str(folder))


def test_a_damaged_file_and_another_model_are_refused(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "sam2"}))
    with pytest.raises(InputError, match="is of the type 'sam2' and not SAM3"):
        find_folder(str(folder))
    (folder / "config.json").write_bytes(b"\xff{")
    with pytest.raises(InputError, match=r"config\.json is damaged: it is not JSON"):
        find_folder(str(folder))


def test_the_digest_is_that_of_the_files_the_model_is_made_of(folder: Path) -> None:
    before = digest_folder(folder)
    (folder / "README.md").write_text("other words")
    assert digest_folder(folder) == before
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content + b" ")
        assert digest_folder(folder) != before
        (folder / name).write_bytes(content)
    assert digest_folder(folder) == before


def test_an_id_of_the_hub_is_fetched_without_what_the_model_does_not_need(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = hub(monkeypatch, folder)
    assert find_folder("facebook/sam3") == folder
    assert asked == [{"repo_id": "facebook/sam3", "allow_patterns": ["*.json", "*.txt", "*.safetensors"]}]


def test_a_licence_that_was_not_accepted_and_an_unknown_id_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    hub(monkeypatch, "GatedRepoError")
    with pytest.raises(InputError, match=r"accept it at https://huggingface.co/facebook/sam3, then log in"):
        find_folder("facebook/sam3")
    hub(monkeypatch, "RepositoryNotFoundError")
    with pytest.raises(InputError, match="hub has no such model; did you mean facebook/sam3"):
        find_folder("facebook/sam9")
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: None)
    with pytest.raises(InputError, match=r"needs huggingface_hub.*pip install 'lamm-pipeline\[sam3\]', or set `weights` to a folder"):
        find_folder("facebook/sam3")
