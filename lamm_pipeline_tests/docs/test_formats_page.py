"""The Python of docs/formats.md does what the page says, in a folder with all formats."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lamm_pipeline.datasets.formats.export import WRITERS
from lamm_pipeline.datasets.formats.huggingface import dataset_features
from lamm_pipeline.datasets.settings import ExportFormat
from lamm_pipeline_tests.datasets.world import make_recording, make_world
from lamm_pipeline_tests.docs.feature_list import REPOSITORY

PAGE = (REPOSITORY / "docs/formats.md").read_text(encoding="utf-8")
SAYS = {
    "COCO": "print(image['width'], len(objects), len(masks), masks[0].shape)",
    "KITTI": "print(sorted(name for name, _ in labels), len(labels[0][1]))",
    "Hugging Face": "print(sorted(names), pixels)",
    "LLaVA": "print(len(samples) > 0, [each['from'] for each in first], image.is_file())",
    "SAM2": "print(document['video']['width'], frame['frame_index'], first['label'], first['mask_rle']['size'])",
}
SHOWN = {
    "COCO": "64 2 2 (48, 64)",
    "KITTI": "['Car', 'Pedestrian'] 4",
    "Hugging Face": "['car', 'person'] (64, 48)",
    "LLaVA": "True ['human', 'gpt', 'human', 'gpt'] True",
    "SAM2": "64 0 car [48, 64]",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("formats")
    world = make_world(root, [make_recording(root, key, range(4)) for key in ("a", "b", "c")])
    for each in ExportFormat:
        world.export(each, "all")
    return world.folder("all")


@pytest.mark.parametrize("title", SAYS)
def test_the_example_of_a_format_works(folder: Path, title: str) -> None:
    section = re.split(rf"^## {title}$", PAGE, flags=re.MULTILINE)[1].split("\n## ")[0]
    [code] = re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL)
    told = subprocess.run(
        [sys.executable, "-c", code + SAYS[title]],
        cwd=folder,
        env=os.environ | {"HF_HOME": str(folder.parent / "cache")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip().splitlines()[-1] == SHOWN[title]


def test_the_page_names_every_column() -> None:
    for name in dataset_features(["car"]):
        assert f"`{name}`" in PAGE


def test_every_format_that_can_be_written_has_its_section() -> None:
    titles = {"kitti": "KITTI", "coco": "COCO", "huggingface": "Hugging Face", "llava": "LLaVA", "sam2": "SAM2"}
    for each in WRITERS:
        assert f"\n## {titles[each]}" in PAGE
