"""LLaVA's format, read by a loader that does what LLaVA's training script does, and by pandas."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from lamm_pipeline.datasets.formats import files
from lamm_pipeline.datasets.formats.files import Export, ExportSummary
from lamm_pipeline.datasets.formats.llava import write_llava, written_frames
from lamm_pipeline.datasets.splits.split_table import SplitSample
from lamm_pipeline.errors import InputError
from lamm_pipeline.geometry import rle
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline_tests.datasets.formats.frames import CLASSES, HEIGHT, WIDTH, manifest, street


def write(folder: Path, items: Iterable[SplitSample], progress: Any = lambda *_: None, **settings: Any) -> tuple[Path, ExportSummary]:
    draft = Draft.open(folder)
    try:
        summary = write_llava(Export(items, manifest(**settings), CLASSES, draft, workers=2, progress=progress))
    except BaseException:
        draft.close()
        raise
    draft.finish()
    return folder / "llava", summary


def load(folder: Path, split: str) -> Iterator[tuple[dict[str, Any], Image.Image]]:
    """Every sample with its image, as a training script reads it: it stumbles over what is not as LLaVA has it."""
    for line in (folder / f"{split}.jsonl").read_text(encoding="utf-8").splitlines():
        sample = json.loads(line)
        assert list(sample) == ["id", "image", "conversations", "masks", "bounding_boxes"]
        roles = [turn["from"] for turn in sample["conversations"]]
        assert roles
        assert roles == ["human", "gpt"] * (len(roles) // 2)
        first, *others = [turn["value"] for turn in sample["conversations"]]
        assert first.startswith("<image>\n")
        assert first.removeprefix("<image>\n").strip()
        assert not any("<image>" in text for text in others)
        with Image.open(folder / sample["image"]) as image:
            image.load()
            yield sample, image


@pytest.mark.requirement("LLM-05", "LLM-06", "LLM-07", "LLM-08")
def test_scenario_convert_to_llava_instruction_format(tmp_path: Path) -> None:
    items = street(tmp_path, 60)
    folder, summary = write(tmp_path / "out", items)
    seen = []
    for split in ("train", "val", "test"):
        wanted = [each for each in items if each.split == split]
        for item, (sample, image) in zip(wanted, load(folder, split), strict=True):
            seen.append(sample)
            assert sample["id"] == item.sample.frame_id
            assert image.size == (WIDTH, HEIGHT)
            assert (folder / sample["image"]).samefile(item.sample.folder / str(item.sample.image))
            for each, mask, box in zip(item.sample.annotations, sample["masks"], sample["bounding_boxes"], strict=True):
                x1, y1, x2, y2 = each.box_xyxy
                assert box == [x1, y1, x2 - x1, y2 - y1]
                if each.mask_rle is None:
                    assert mask is None
                else:
                    assert (rle.decode(mask) == rle.decode(each.mask_rle)).all()
        assert summary.frames[split] == len(wanted)
        assert summary.annotations[split] == sum(len(each.sample.annotations) for each in wanted)
    assert len(seen) == 60
    assert len({sample["conversations"][0]["value"] for sample in seen}) > 20
    content = json.loads((folder / "manifest.json").read_text())
    assert list(content) == [
        "dataset_name",
        "version",
        "format",
        "total_samples",
        "dataset_files",
        "description",
        "features",
        "samples",
    ]
    assert [each["id"] for each in content["samples"]] == [sample["id"] for sample in seen]
    assert (content["total_samples"], content["format"], content["version"]) == (60, "llava", "drives.v3")
    assert content["dataset_files"] == {split: f"{split}.jsonl" for split in ("train", "val", "test")}
    assert list(content["features"]) == list(seen[0])


@pytest.mark.requirement("LLM-05")
def test_pandas_reads_the_lines(tmp_path: Path) -> None:
    folder, summary = write(tmp_path / "out", street(tmp_path))
    table = pd.read_json(folder / "train.jsonl", lines=True)
    assert len(table) == summary.frames["train"]
    assert table["id"].is_unique
    assert (table["masks"].map(len) == table["bounding_boxes"].map(len)).all()


@pytest.mark.requirement("LLM-08")
def test_the_number_of_turns_is_a_setting(tmp_path: Path) -> None:
    folder, _ = write(tmp_path / "out", street(tmp_path), conversation_turns=4)
    for sample, _ in load(folder, "train"):
        assert len(sample["conversations"]) == 8 if sample["masks"] else len(sample["conversations"]) in {2, 4}


@pytest.mark.requirement("AV-21")
def test_interrupted_and_resumed_it_has_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "FRAMES_PER_CHECKPOINT", 5)
    items = street(tmp_path)
    whole, summary = write(tmp_path / "whole", items)

    def stop(number: int, _: int | None) -> None:
        if number == 13:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "again", items, stop)
    assert write(tmp_path / "again", items) == (tmp_path / "again/llava", summary)
    names = [path.relative_to(whole) for path in sorted(whole.rglob("*")) if path.is_file()]
    assert [path.relative_to(tmp_path / "again/llava") for path in sorted((tmp_path / "again/llava").rglob("*")) if path.is_file()] == names
    assert all((tmp_path / "again/llava" / name).read_bytes() == (whole / name).read_bytes() for name in names)


def test_written_frames_are_read_back_and_damage_is_noticed(tmp_path: Path) -> None:
    items = street(tmp_path)
    folder, _ = write(tmp_path / "out", items)
    wanted = [(each.sample.frame_id, len(each.sample.annotations)) for each in items if each.split == "val"]
    assert list(written_frames(folder, "val")) == wanted
    (folder / "images/val/000001.jpg").unlink()
    with pytest.raises(InputError, match=r"images/val/000001\.jpg is missing"):
        list(written_frames(folder, "val"))
    (folder / "test.jsonl").write_text('{"id": "half')
    with pytest.raises(InputError, match=r"Line 1 of .*test\.jsonl is damaged"):
        list(written_frames(folder, "test"))
