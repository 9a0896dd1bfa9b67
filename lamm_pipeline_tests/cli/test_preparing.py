"""`lamm prepare`: from a ZIP to training data, and a dataset that grows; the scenarios of the specification are named as there."""

import json
import os
import random
import re
import signal
import subprocess
import time
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from datasets import DatasetDict, Image, load_from_disk  # noqa: TID253

from lamm_pipeline.storage.local_store import LocalStore
from lamm_pipeline.storage.verify import verify
from lamm_pipeline.streaming import WORTH_A_PROCESS
from lamm_pipeline_tests.benchmarks.sam2_exports import write_export
from lamm_pipeline_tests.command_line import PROGRAM, lamm, printed, refused

pytestmark = pytest.mark.usefixtures("own_environment")

SIZE = {"objects": 3, "width": 96, "height": 64}
KILLS = 20
FRAMES_FOR_PROCESSES = 2 * WORTH_A_PROCESS


def export(path: Path, first: int, last: int, **changes: Any) -> Path:
    """A ZIP with frames `first` to `last - 1` of the video "street"."""
    write_export(path, first=first, frames=last - first, video="street.mp4", **(SIZE | changes))
    return path


def training_data(root: Path, version: str) -> DatasetDict:
    facts = printed("dataset", "show", version, "--root", root)
    loaded = load_from_disk(facts["exports"]["huggingface"])
    assert isinstance(loaded, DatasetDict)
    return loaded


def placed(root: Path, version: str) -> dict[str, str]:
    """The split of every frame."""
    return {frame: split for split, part in training_data(root, version).items() for frame in part["frame_id"]}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.requirement("PIP-01", "PIP-06", "LLM-01", "LLM-03", "LLM-04")
def test_end_to_end_data_preparation(tmp_path: Path) -> None:
    root = tmp_path / "root"
    archive = export(tmp_path / "street.zip", 0, 60)
    facts = printed("prepare", archive, "--format", "huggingface", "--split", "0.8/0.1/0.1", "--validation", "strict", "--root", root)
    assert facts["version"] == "street.v1"
    assert facts["validation"]["status"] in ("PASSED", "PASSED_WITH_WARNINGS")
    data = training_data(root, "street.v1")
    assert set(data) == {"train", "validation", "test"}
    assert {name: part.num_rows for name, part in data.items()} == {
        "train": facts["statistics"]["train_frames"],
        "validation": facts["statistics"]["val_frames"],
        "test": facts["statistics"]["test_frames"],
    }
    assert data["train"][0]["image"].size == (96, 64)
    assert len(data["train"][0]["masks"]) == 3


@pytest.mark.requirement("PIP-03", "PIP-04", "AV-09")
def test_incremental_data_addition(tmp_path: Path) -> None:
    root = tmp_path / "root"
    facts = printed("prepare", export(tmp_path / "street.zip", 0, 1000), "--strategy", "random", "--root", root)
    old = contents(root / "datasets/street.v1")
    before = placed(root, "street.v1")
    assert (facts["version"], facts["statistics"]["total_frames"], len(before)) == ("street.v1", 1000, 1000)
    outcome = lamm("prepare", export(tmp_path / "more.zip", 1000, 1500), "--name", "street", "--root", root, "--json")
    assert "street.v1 is there already: it grows" in outcome.stderr
    facts = json.loads(outcome.stdout)
    after = placed(root, "street.v2")
    assert (facts["version"], facts["statistics"]["total_frames"], len(after)) == ("street.v2", 1500, 1500)
    assert facts["imports"] == ["street", "more"]
    assert {frame: after[frame] for frame in before} == before
    assert Counter(after.values()) == {"train": 1200, "validation": 150, "test": 150}
    assert printed("dataset", "validate", "street.v2", "--root", root)["frames"] == 1500
    anew = printed("prepare", tmp_path / "more.zip", "--name", "street", "--resplit", "--root", root)
    divided = placed(root, "street.v3")
    assert (anew["version"], divided.keys()) == ("street.v3", after.keys())
    assert {frame: divided[frame] for frame in before} != before
    assert Counter(divided.values()) == Counter(after.values())
    assert contents(root / "datasets/street.v1") == old


@pytest.mark.requirement("PIP-03")
def test_growth_takes_shared_frames_once_and_keeps_the_settings_that_are_not_said(tmp_path: Path) -> None:
    root = tmp_path / "root"
    divided = ("--strategy", "random", "--split", "0.6/0.2/0.2")
    lamm("prepare", export(tmp_path / "street.zip", 0, 60), *divided, "--format", "coco", "--root", root)
    facts = printed("prepare", export(tmp_path / "more.zip", 50, 90), "--name", "street", "--format", "huggingface", "--root", root)
    after = placed(root, "street.v2")
    assert (facts["settings"]["split"]["train_ratio"], facts["settings"]["formats"]) == (0.6, ["huggingface"])
    assert sorted(after) == [f"street:{index:06d}" for index in range(90)]


@pytest.mark.requirement("PIP-06")
@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (("--split", "0.8/0.7/0.1"), "train_ratio, val_ratio and test_ratio sum to 1.6; they must sum to 1"),
        (("--format", "coco", "--format", "coco"), "a format is named twice"),
        (("--name", "a b"), "A dataset cannot be called 'a b'"),
        (("--class", "automobile"), "Write LABEL=CLASS"),
    ],
)
def test_what_is_wrong_with_a_command_is_said_before_anything_is_imported(tmp_path: Path, wrong: tuple[str, ...], sentence: str) -> None:
    assert sentence in refused("prepare", export(tmp_path / "street.zip", 0, 3), *wrong, "--root", tmp_path / "root")
    assert not (tmp_path / "root/annotation_exports").exists()


@pytest.mark.requirement("VAL-01", "VAL-03", "AV-03")
def test_strict_validation_stops_what_lenient_lets_pass(tmp_path: Path) -> None:
    """Two of the empty frames lie in the gap between train and val, and are found all the same."""
    root = tmp_path / "root"
    archive = export(tmp_path / "street.zip", 0, 60, empty=(3, 33, 34))
    said = lamm("prepare", archive, "--root", root, code=2).stderr
    assert re.search(r"Error: validation_report: .*3 frames \(5\.0%\) have no annotations", said)
    assert "`lamm dataset validate street.v1` names all" in said
    assert "Dependencies" not in said
    validated = lamm("dataset", "validate", "street.v1", "--root", root, code=1).stdout
    assert "missing_annotations: street:000003, street:000033, street:000034\n" in validated
    with pytest.raises(KeyError):
        training_data(root, "street.v1")
    facts = printed("prepare", archive, "--validation", "lenient", "--root", root)
    assert facts["version"] == "street.v2"
    lenient = placed(root, "street.v2")
    assert len(lenient) <= 57
    mended = printed("prepare", export(archive, 0, 60), "--validation", "strict", "--root", root)
    assert (mended["version"], mended["validation"]["status"], mended["imports"]) == ("street.v3", "PASSED", ["street"])
    strict = placed(root, "street.v3")
    assert {frame: strict[frame] for frame in lenient} == lenient


@pytest.mark.requirement("LLM-01", "PIP-01")
def test_clean_images_take_the_place_of_painted_ones(tmp_path: Path) -> None:
    root, clean = tmp_path / "root", tmp_path / "clean"
    painted, other = export(tmp_path / "street.zip", 0, 60), export(tmp_path / "other.zip", 0, 60, noise=30.0)
    with zipfile.ZipFile(other) as archive:
        images = {Path(name).name: archive.read(name) for name in archive.namelist() if name.startswith("images/")}
    clean.mkdir()
    for name, content in images.items():
        (clean / name).write_bytes(content)
    lamm("prepare", painted, "--images", clean, "--root", root)
    data = training_data(root, "street.v1").cast_column("image", Image(decode=False))
    written = {row["frame_index"]: row["image"]["bytes"] for part in data.values() for row in part}
    assert len(written) > 30
    assert all(content == images[f"frame_{index:06d}.jpg"] for index, content in written.items())


def points() -> list[object]:
    return [pytest.param(number, marks=() if number == 0 else pytest.mark.stress) for number in range(KILLS)]


@pytest.mark.requirement("PIP-04", "OPT-05")
@pytest.mark.parametrize("number", points())
def test_growth_killed_at_any_moment_leaves_the_old_dataset_whole_and_goes_on(tmp_path: Path, number: int) -> None:
    root = tmp_path / "root"
    lamm("prepare", export(tmp_path / "street.zip", 0, 60), "--name", "street", "--root", root)
    old = contents(root / "datasets/street.v1")
    command = [
        *PROGRAM,
        "prepare",
        str(export(tmp_path / "more.zip", 60, 60 + FRAMES_FOR_PROCESSES)),
        "--name",
        "street",
        "--root",
        str(root),
    ]
    began = time.monotonic()
    undisturbed = tmp_path / "undisturbed"
    lamm("prepare", tmp_path / "street.zip", "--name", "street", "--root", undisturbed)
    seconds = time.monotonic() - began
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            process.wait(3.0 + random.Random(number).random() * seconds)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
    assert contents(root / "datasets/street.v1") == old
    assert verify(LocalStore(root)).damage == ()
    assert len(placed(root, "street.v1")) > 0
    assert printed(*command[3:])["version"] == "street.v2"
    lamm("prepare", tmp_path / "more.zip", "--name", "street", "--root", undisturbed)
    assert placed(root, "street.v2") == placed(undisturbed, "street.v2")
    assert contents(root / "datasets/street.v1") == old
    assert verify(LocalStore(root)).damage == ()
