"""Lineage: its keys, its counts, and that it does not believe an export that is not what the split says."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from lamm_pipeline.datasets.lineage import write_lineage
from lamm_pipeline.datasets.settings import DatasetSettings, ExportFormat, FilterSettings, SplitSettings
from lamm_pipeline.errors import InputError
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline_tests.datasets.world import make_recording, make_world

BOTH = (ExportFormat.kitti, ExportFormat.coco)


def lineage_of(world, formats=BOTH, **options):
    draft = Draft.open(world.folder("lineage"))
    exports = {each: world.folder(f"{each}_dataset") / each for each in formats}
    written = write_lineage(
        world.manifest,
        selection_folder=world.folder("curated_dataset"),
        splits_folder=world.folder("splits"),
        exports=exports,
        draft=draft,
        **options,
    )
    draft.finish()
    return written


@pytest.fixture
def world(tmp_path):
    settings = DatasetSettings(filters=FilterSettings(excluded_classes=["sign"]), split=SplitSettings(guard_frames=2))
    inputs = make_recording(tmp_path, "a", range(0, 60, 2), lambda index: ("car", "sign", "person") if index % 3 else ("car",))
    world = make_world(tmp_path, [inputs], settings)
    for export_format in BOTH:
        world.export(export_format)
    return world


@pytest.mark.requirement("EXP-08", "AV-14", "EXP-07", "EXP-11")
def test_the_example_of_the_specification_1000_frames_5000_annotations_700_200_100(tmp_path):
    five = ("car", "person", "sign", "sign", "car")
    inputs = [make_recording(tmp_path, f"drive-{number}", range(100), lambda _: five, shared_files=True) for number in range(10)]
    world = make_world(tmp_path, inputs, DatasetSettings(include_masks=False))
    for export_format in BOTH:
        world.export(export_format)
    lineage = lineage_of(world)
    assert lineage["statistics"] == {
        "total_frames": 1000,
        "total_annotations": 5000,
        "train_frames": 700,
        "val_frames": 200,
        "test_frames": 100,
    }


@pytest.mark.requirement("EXP-07", "DSB-06")
def test_lineage_has_every_key_of_the_specification_and_the_exact_inputs(world):
    written = lineage_of(world, source_job_id="run-7", source_dataset_id="set-3")
    stored = json.loads((world.folder("lineage") / "lineage.json").read_text())
    assert stored == json.loads(json.dumps(written))
    assert stored["training_dataset_id"] == world.split["training_dataset_id"]
    assert stored["curated_dataset_id"] == world.selection["curated_dataset_id"] is not None
    assert (stored["source_job_id"], stored["source_dataset_id"]) == ("run-7", "set-3")
    assert stored["filter_config"]["excluded_classes"] == ["sign"]
    assert stored["split_config"]["seed"] == 42
    assert stored["format"] == "both"
    assert stored["created_at"] == "2026-01-02T03:04:05+00:00"
    assert set(stored["statistics"]) == {"total_frames", "total_annotations", "train_frames", "val_frames", "test_frames"}
    assert stored["recordings"] == [
        {
            "recording": "a",
            "artifacts": {
                "frames": "f1",
                "detections": "d1",
                "boxes_3d": "b1",
                "tracks": "t1",
                "diversity_metrics": None,
                "selection": None,
            },
            "source": {"path": "/data/a.svo2", "digest": "sha256-of-a", "size": 1001},
        }
    ]
    assert stored["selection"]["dropped_annotations"] == {"class_excluded": 20}


@pytest.mark.requirement("EXP-07", "EXP-11")
def test_annotations_are_counted_once_whatever_the_number_of_formats(world):
    both, kitti, coco = lineage_of(world), lineage_of(world, [ExportFormat.kitti]), lineage_of(world, [ExportFormat.coco])
    assert both["statistics"] == kitti["statistics"] == coco["statistics"]
    assert (kitti["format"], coco["format"]) == ("kitti", "coco")
    statistics = both["statistics"]
    assert statistics["total_frames"] == statistics["train_frames"] + statistics["val_frames"] + statistics["test_frames"] == 30 - 2 * 2
    labels = (world.folder("kitti_dataset") / "kitti").glob("*/label_2/*.txt")
    assert statistics["total_annotations"] == sum(len(path.read_text().splitlines()) for path in labels)


@pytest.mark.requirement("EXP-10")
def test_every_exported_frame_is_traced_to_its_source(world):
    lineage_of(world)
    rows = pq.read_table(world.folder("lineage") / "frames_lineage.parquet").to_pylist()
    frames = world.root / "recordings/a/frames/f1/image_left"
    assert len(rows) == 26
    for row in rows:
        exported = world.folder("kitti_dataset") / "kitti" / row["split"] / "image_2" / f"{row['output_index']:06d}.png"
        assert exported.read_bytes() == (frames / f"{row['frame_index']:06d}.png").read_bytes()
        assert row["annotation_count"] == len(row["annotation_ids"])
        assert all(each.startswith(row["frame_id"] + ":") for each in row["annotation_ids"])


def damage_label(root: Path):
    path = root / "kitti_dataset/kitti/val/label_2/000001.txt"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def damage_image_list(root: Path):
    (root / "kitti_dataset/kitti/train/image_2/999999.png").write_bytes(b"")


def damage_coco(root: Path):
    path = root / "coco_dataset/coco/test/annotations.json"
    path.write_text(path.read_text().replace(':0"', ':9"', 1))


def cut_coco(root: Path):
    path = root / "coco_dataset/coco/train/annotations.json"
    path.write_text(path.read_text()[:-400])


def remove_image(root: Path):
    (root / "coco_dataset/coco/train/images/000000.png").unlink()


@pytest.mark.requirement("EXP-07", "EXP-11")
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_label, "val/000001 has 0 labels instead of 1|val/000001 has 1 labels instead of 2"),
        (damage_image_list, r"The kitti files .* are not what its split says"),
        (damage_coco, r"The coco files .* it has 'a:0000\d\d:9' where the split has 'a:0000\d\d:0'"),
        (cut_coco, "Materialize coco_dataset"),
        (remove_image, r"000000\.png is missing"),
    ],
)
def test_an_export_that_is_not_what_the_split_says_is_refused(world, damage, message):
    damage(world.folder(""))
    with pytest.raises(InputError, match=message):
        lineage_of(world)


def test_without_any_export_there_is_no_lineage(world):
    with pytest.raises(InputError, match="no format"):
        lineage_of(world, [])


FOR_LANGUAGE = (ExportFormat.huggingface, ExportFormat.llava)


@pytest.mark.requirement("EXP-07", "LLM-04")
def test_formats_for_language_models_are_counted_from_their_files(world):
    for export_format in FOR_LANGUAGE:
        world.export(export_format)
    alone = {each: lineage_of(world, [each]) for each in (ExportFormat.coco, *FOR_LANGUAGE)}
    assert alone["huggingface"]["statistics"] == alone["llava"]["statistics"] == alone["coco"]["statistics"]
    assert alone["llava"]["format"] == "llava"
    assert lineage_of(world, [ExportFormat.coco, *FOR_LANGUAGE])["format"] == "coco+huggingface+llava"


def damage_rows(root: Path):
    (root / "huggingface_dataset/huggingface/test/data-00000.arrow").write_bytes(b"half")


def exchange_rows(root: Path):
    folder = root / "huggingface_dataset/huggingface"
    (folder / "test/data-00000.arrow").write_bytes((folder / "validation/data-00000.arrow").read_bytes())


def lose_a_line(root: Path):
    path = root / "llava_dataset/llava/train.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))


def lose_a_mask(root: Path):
    path = root / "llava_dataset/llava/train.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[0]["masks"].pop()
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.mark.requirement("EXP-07")
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_rows, r"data-00000\.arrow is damaged"),
        (exchange_rows, r"The huggingface files .* it has \('a:0000\d\d', "),
        (lose_a_line, r"The llava files .* are not what its split says"),
        (lose_a_mask, r"The llava files .* where the split has \('a:0000\d\d', 1\)|\('a:0000\d\d', 2\)"),
    ],
)
def test_a_format_for_language_models_that_is_not_what_the_split_says_is_refused(world, damage, message):
    for export_format in FOR_LANGUAGE:
        world.export(export_format)
    damage(world.folder(""))
    with pytest.raises(InputError, match=message):
        lineage_of(world, FOR_LANGUAGE)


@pytest.mark.requirement("NFR-09")
def test_the_whole_chain_writes_the_same_bytes_twice(tmp_path):
    trees = []
    for name in ("one", "two"):
        root = tmp_path / name
        inputs = [make_recording(root, key, range(12)) for key in (("a", "b", "c") if name == "one" else ("c", "b", "a"))]
        world = make_world(root, inputs)
        for workers, export_format in enumerate(BOTH, start=1):
            world.export(export_format, workers=workers if name == "one" else 4)
        lineage_of(world)
        folder = world.folder("")
        trees.append({path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()})
    assert trees[0] == trees[1]
    assert len(trees[0]) > 36 * 6
