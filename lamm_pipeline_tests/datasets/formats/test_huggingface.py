"""Hugging Face datasets, read with Hugging Face's own library."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from datasets import ClassLabel, Dataset, DatasetDict, Image, load_from_disk  # noqa: TID253
from huggingface_hub import DatasetCard

from lamm_pipeline.datasets.formats import huggingface
from lamm_pipeline.datasets.formats.files import Export, ExportSummary
from lamm_pipeline.datasets.formats.huggingface import dataset_features, write_huggingface, written_rows
from lamm_pipeline.datasets.splits.split_table import SplitSample
from lamm_pipeline.errors import InputError
from lamm_pipeline.geometry import rle
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline_tests.datasets.formats.frames import CLASSES, HEIGHT, WIDTH, frame, manifest, street

SPLITS = {"train": "train", "val": "validation", "test": "test"}


def write(folder: Path, items: Iterable[SplitSample], progress: Any = lambda *_: None, **settings: Any) -> tuple[Path, ExportSummary]:
    draft = Draft.open(folder)
    try:
        summary = write_huggingface(Export(items, manifest(**settings), CLASSES, draft, workers=2, progress=progress))
    except BaseException:
        draft.close()
        raise
    draft.finish()
    return folder / "huggingface", summary


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.requirement("LLM-02", "LLM-03", "LLM-04")
def test_scenario_convert_to_huggingface_dataset(tmp_path: Path) -> None:
    items = street(tmp_path)
    folder, summary = write(tmp_path / "out", items)
    loaded = load_from_disk(str(folder))
    assert isinstance(loaded, DatasetDict)
    assert list(loaded) == ["train", "validation", "test"]
    assert {"image", "conversations", "masks", "bounding_boxes"} <= set(loaded["train"].column_names)
    assert {name: len(loaded[SPLITS[name]]) for name in summary.frames} == dict(summary.frames) == {"train": 12, "val": 4, "test": 4}
    assert summary.annotations == {name: sum(map(len, loaded[SPLITS[name]]["category"])) for name in SPLITS}
    assert summary.counts["classes"] == 3
    assert summary.counts["embedded"] == 20
    for name, split in SPLITS.items():
        for item, row in zip([each for each in items if each.split == name], loaded[split], strict=True):
            check_row(item, row, loaded[split].features)


def check_row(item: SplitSample, row: dict[str, Any], features: Any) -> None:
    sample = item.sample
    image = np.asarray(row["image"])
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert abs(int(image[0, 0, 2]) - 7 * sample.frame_index % 256) <= 3
    labels = features["category"].feature
    assert isinstance(labels, ClassLabel)
    assert [labels.int2str(number) for number in row["category"]] == [each.class_id for each in sample.annotations]
    assert {labels.int2str(number) for number in row["classes"]} == {each.class_id for each in sample.annotations}
    for each, mask, box, placed in zip(sample.annotations, row["masks"], row["bounding_boxes"], row["boxes_3d"], strict=True):
        x1, y1, x2, y2 = each.box_xyxy
        assert box == [x1, y1, x2 - x1, y2 - y1]
        if each.mask_rle is None:
            assert mask is None
        else:
            assert (rle.decode(mask) == rle.decode(each.mask_rle)).all()
        if each.box_3d is None:
            assert placed is None
        else:
            found = each.box_3d.box
            assert placed == [found.height, found.width, found.length, found.x, found.y, found.z, found.rotation_y]
    assert row["detection_ids"] == [each.detection_id for each in sample.annotations]
    assert row["track_ids"] == [each.track_id for each in sample.annotations]
    assert row["scores"] == [each.score for each in sample.annotations]
    for name in ("frame_id", "recording", "frame_index", "timestamp_ns", "width", "height", "state"):
        assert row[name] == getattr(sample, name)
    assert [turn["from"] for turn in row["conversations"]] == ["human", "gpt"] * (len(row["conversations"]) // 2)
    assert row["conversations"][0]["value"].startswith("<image>\n")


@pytest.mark.requirement("LLM-03")
def test_the_files_are_what_save_to_disk_writes_of_the_same_rows(tmp_path: Path) -> None:
    folder, _ = write(tmp_path / "out", street(tmp_path))
    ours = load_from_disk(str(folder))
    features = dataset_features(known.id for known in CLASSES.all)
    plain = {name: split.cast_column("image", Image(decode=False)) for name, split in ours.items()}
    theirs = DatasetDict({name: Dataset.from_list(list(split), features=features) for name, split in plain.items()})
    theirs.save_to_disk(str(tmp_path / "theirs"))
    again = load_from_disk(str(tmp_path / "theirs"))
    for name, split in ours.items():
        assert split.features == again[name].features == features
        assert split.data.schema.equals(again[name].data.schema, check_metadata=True)
        assert split.data.table.combine_chunks().equals(again[name].data.table.combine_chunks())
        mine, other = (json.loads((root / name / "state.json").read_text()) for root in (folder, tmp_path / "theirs"))
        assert mine.keys() == other.keys()
        mine, other = (json.loads((root / name / "dataset_info.json").read_text()) for root in (folder, tmp_path / "theirs"))
        assert mine["features"] == other["features"]
        assert mine.keys() == other.keys()
    assert json.loads((folder / "dataset_dict.json").read_text()) == json.loads((tmp_path / "theirs/dataset_dict.json").read_text())


@pytest.mark.requirement("LLM-02")
def test_embedded_images_are_the_original_bytes_and_arrays_come_out(tmp_path: Path) -> None:
    items = street(tmp_path)
    folder, _ = write(tmp_path / "out", items)
    train = load_from_disk(str(folder))["train"]
    kept = train.cast_column("image", Image(decode=False))
    originals = [item.sample.folder / str(item.sample.image) for item in items if item.split == "train"]
    assert [row["image"]["bytes"] for row in kept] == [path.read_bytes() for path in originals]
    shutil.rmtree(tmp_path / "frames")
    arrays = train.with_format("numpy")[0]
    assert arrays["image"].shape == (HEIGHT, WIDTH, 3)
    assert arrays["bounding_boxes"].shape == (4, 4)
    assert arrays["category"].tolist() == train[0]["category"]
    assert [None if np.isnan(number) else int(number) for number in arrays["track_ids"]] == train[0]["track_ids"] == [3, None, None, None]


def code_of(folder: Path) -> str:
    """The Python that the card tells people to run."""
    found = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), flags=re.DOTALL)
    assert len(found) == 1
    return str(found[0])


@pytest.mark.requirement("LLM-02", "LLM-03")
@pytest.mark.parametrize("embed_images", [True, False])
def test_the_card_tells_how_to_load_it_wherever_the_folder_lies(tmp_path: Path, embed_images: bool) -> None:
    items = street(tmp_path)
    folder, summary = write(tmp_path / "out", items, embed_images=embed_images)
    if not embed_images:
        assert summary.counts["hard_linked"] == 20
        assert (folder / "images/train/000000.jpg").samefile(tmp_path / "frames/000000.jpg")
        assert not any(str(tmp_path).encode() in content for content in tree(folder).values())
    elsewhere = tmp_path / "another place"
    elsewhere.mkdir()
    shutil.copytree(folder, elsewhere / "huggingface")
    shutil.rmtree(tmp_path / "out")
    shutil.rmtree(tmp_path / "frames")
    told = subprocess.run(
        [sys.executable, "-c", code_of(elsewhere / "huggingface") + "\nprint([row['image'].size for row in splits['validation']])"],
        cwd=elsewhere,
        env=os.environ | {"HF_HOME": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == str([(WIDTH, HEIGHT)] * 4)


@pytest.mark.requirement("LLM-04")
def test_the_card_has_what_the_hub_reads_and_what_people_want_to_know(tmp_path: Path) -> None:
    folder, _ = write(tmp_path / "out", street(tmp_path), filters={"min_score": 0.25}, split={"strategy": "recording", "seed": 7})
    card = DatasetCard.load(folder / "README.md")
    assert card.data.pretty_name == "Drives: day | night"
    assert card.data.size_categories == ["n<1K"]
    assert set(card.data.task_categories) == {"object-detection", "image-segmentation", "visual-question-answering"}
    front = yaml.safe_load(card.content.split("---\n")[1])
    assert [each["split"] for each in front["configs"][0]["data_files"]] == ["train", "validation", "test"]
    for each in front["configs"][0]["data_files"]:
        assert list(folder.glob(each["path"]))
    assert [(each["name"], each["num_examples"]) for each in front["dataset_info"]["splits"]] == [
        ("train", 12),
        ("validation", 4),
        ("test", 4),
    ]
    for each in front["dataset_info"]["splits"]:
        assert each["num_bytes"] == sum(path.stat().st_size for path in (folder / each["name"]).glob("*.arrow"))
    assert {each["name"] for each in front["dataset_info"]["features"]} == set(load_from_disk(str(folder))["train"].column_names)
    assert "| train | 12 |" in card.text
    rows = [row for split in load_from_disk(str(folder)).values() for row in split["category"]]
    assert "| 0 | car | Car |" in card.text
    cars = re.search(r"\| 0 \| car \| Car \| (\d+) \| (\d+) \| (\d+) \|", card.text)
    assert cars is not None
    assert sum(map(int, cars.groups())) == sum(row.count(0) for row in rows)
    assert "| drive | in.zip | `abababababababab` | 12 | 4 | 4 |" in card.text
    for said in ("drives.v3", "`min_score` = `0.25`", "strategy `recording`", "seed 7"):
        assert said in card.text
    assert "/home/ada" not in card.content


def test_the_card_does_not_list_thousands_of_ids(tmp_path: Path) -> None:
    folder, _ = write(tmp_path / "out", street(tmp_path), filters={"excluded_frame_ids": [f"a:{n:06d}" for n in range(3000)]})
    assert "`excluded_frame_ids` = `3000 ids`" in (folder / "README.md").read_text()


@pytest.mark.requirement("AV-21")
def test_interrupted_and_resumed_it_has_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface, "ROUND_BYTES", 3000)
    monkeypatch.setattr(huggingface, "BATCH_ROWS", 2)
    items = street(tmp_path, 40)
    whole, summary = write(tmp_path / "whole", items)
    assert summary.counts["shards"] > 12
    for stop in (1, 17, 29, 40):
        done: list[int] = []

        def interrupt(number: int, _: int | None, stop: int = stop) -> None:
            if number == stop:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            write(tmp_path / f"again{stop}", items, interrupt)
        damage_behind_the_checkpoint(tmp_path / f"again{stop}")
        again, resumed = write(tmp_path / f"again{stop}", items, lambda number, _, done=done: done.append(number))
        assert resumed == summary
        assert tree(again) == tree(whole)
        assert len(done) <= 41 - stop + 8  # it did not begin from the start


def damage_behind_the_checkpoint(folder: Path) -> None:
    """What was written after the last checkpoint may be anything after a kill."""
    checkpoint = folder / ".draft/checkpoint.json"
    durable = json.loads(checkpoint.read_text())["state"]["files"] if checkpoint.exists() else {}
    for path in folder.rglob("*.arrow"):
        if int(path.stem.removeprefix("data-")) >= durable.get(path.parent.name, 0):
            path.write_bytes(b"half")


@pytest.mark.requirement("NFR-09")
def test_the_fingerprint_tells_contents_apart(tmp_path: Path) -> None:
    items = street(tmp_path)

    def fingerprint(name: str, chosen: list[SplitSample], **settings: Any) -> str:
        folder, _ = write(tmp_path / name, chosen, **settings)
        return str(json.loads((folder / "train/state.json").read_text())["_fingerprint"])

    first = fingerprint("a", items)
    assert fingerprint("b", items) == first
    assert fingerprint("c", items[:-3]) != first
    assert fingerprint("d", items, conversation_turns=3) != first


@pytest.mark.requirement("LLM-03")
def test_without_the_librarys_caching_nothing_is_written_beside_the_rows(tmp_path: Path) -> None:
    folder, _ = write(tmp_path / "out", street(tmp_path))
    before = tree(folder)
    code = """
import sys
from datasets import disable_caching, load_from_disk
disable_caching()
train = load_from_disk(sys.argv[1])["train"]
changed = train.map(lambda row: {"objects": len(row["category"])}).filter(lambda row: row["objects"] > 1).shuffle(seed=1)
print(len(changed.flatten_indices()) > 0)
"""
    environment = os.environ | {"HF_HOME": str(tmp_path / "cache")}
    told = subprocess.run([sys.executable, "-c", code, str(folder)], env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "True"
    assert tree(folder) == before


def test_splits_without_frames_are_absent(tmp_path: Path) -> None:
    folder, _ = write(tmp_path / "out", [each for each in street(tmp_path) if each.split == "val"])
    assert list(load_from_disk(str(folder))) == ["validation"]
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "dataset_dict.json", "validation"]


@pytest.mark.requirement("LLM-03")
def test_writing_touches_no_network_and_nothing_outside_the_draft(tmp_path: Path) -> None:
    frame(tmp_path, 0)
    code = """
import socket, sys
from pathlib import Path
def refuse(*_): raise AssertionError("the network was tried")
socket.socket.connect = refuse
socket.getaddrinfo = refuse
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline.datasets.formats.files import Export
from lamm_pipeline.datasets.formats.huggingface import write_huggingface
from lamm_pipeline_tests.datasets.formats.frames import CLASSES, manifest, street
here = Path(sys.argv[1])
write_huggingface(Export(street(here), manifest(), CLASSES, Draft.open(here / "out")))
"""
    home = tmp_path / "home"
    home.mkdir()
    environment = {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "TMPDIR": str(home), "PYTHONPATH": ":".join(sys.path)}
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, env=environment, cwd=home)
    assert list(home.iterdir()) == []


def test_written_rows_are_read_back_and_damage_is_noticed(tmp_path: Path) -> None:
    items = street(tmp_path)
    folder, _ = write(tmp_path / "out", items, embed_images=False)
    for name in SPLITS:
        wanted = [(each.sample.frame_id, [n.detection_id for n in each.sample.annotations]) for each in items if each.split == name]
        assert list(written_rows(folder, name)) == wanted
    (folder / "images/test/000001.jpg").unlink()
    with pytest.raises(InputError, match=r"images/test/000001\.jpg is missing"):
        list(written_rows(folder, "test"))
    path = folder / "train/data-00000.arrow"
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(InputError, match=r"data-00000\.arrow is damaged"):
        list(written_rows(folder, "train"))


def test_a_missing_image_is_a_sentence(tmp_path: Path) -> None:
    items = street(tmp_path)
    (tmp_path / "frames/000003.jpg").unlink()
    for name, embed_images in (("a", True), ("b", False)):
        with pytest.raises(InputError, match=r"000003\.jpg is missing"):
            write(tmp_path / name, items, embed_images=embed_images)
