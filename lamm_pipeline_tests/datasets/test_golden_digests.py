"""The bytes that stages write from fixed inputs, by asset and code version.

A digest that changes means that the output of a stage changed: raise the code version of its asset (else published artifacts would be
reused although a new run would give other bytes), and put the new digest beside the old ones in `golden_digests.json`. Images and
arrays are only counted by name, tables by their rows, and numbers by six decimals (those of estimates by three): these differ between
platforms, the rest does not.
"""

import base64
import hashlib
import json
import math
import re
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lamm_pipeline.curation import assets as curation
from lamm_pipeline.curation import selecting
from lamm_pipeline.curation.annotation_stats import annotation_stats
from lamm_pipeline.datasets import assets as datasets
from lamm_pipeline.datasets.classes import version_classes
from lamm_pipeline.datasets.formats.export import WRITERS
from lamm_pipeline.datasets.formats.files import Export
from lamm_pipeline.datasets.lineage import write_lineage
from lamm_pipeline.datasets.settings import DatasetSettings, ExportFormat
from lamm_pipeline.datasets.splits.split_table import SplitSample, placed_samples, split_samples
from lamm_pipeline.datasets.validation import assets as validation
from lamm_pipeline.datasets.validation.report import validate
from lamm_pipeline.geometry.box_3d import Box3D
from lamm_pipeline.imports import planning
from lamm_pipeline.ontology.ontology import load_ontology
from lamm_pipeline.reconstruction import assets as reconstruction
from lamm_pipeline.reconstruction import frame_boxes
from lamm_pipeline.reconstruction.frame_boxes import FrameBoxes, ObjectBox
from lamm_pipeline.segmentation.detections import FrameDetections
from lamm_pipeline.storage.atomic import write_json
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline.tracking import assets as tracking
from lamm_pipeline.tracking.settings import TrackingSettings
from lamm_pipeline.tracking.track import track_boxes
from lamm_pipeline.uncertainty import planning as uncertainty
from lamm_pipeline_tests.curation.houses import FRAME, House
from lamm_pipeline_tests.datasets import world
from lamm_pipeline_tests.datasets.golden_estimates import ASSOCIATION, write_estimates
from lamm_pipeline_tests.imports import zips
from lamm_pipeline_tests.review.worlds import FOUND, mask_of

GOLDEN = Path(__file__).with_name("golden_digests.json")
CODE_VERSIONS = {
    "annotation_stats": curation.STATS_CODE_VERSION,
    "selection": selecting.CODE_VERSION,
    "curated_dataset": datasets.CURATION_VERSION,
    "splits": datasets.SPLITS_VERSION,
    "validation_report": validation.VALIDATION_VERSION,
    "kitti_dataset": datasets.KITTI_VERSION,
    "coco_dataset": datasets.COCO_VERSION,
    "huggingface_dataset": datasets.HUGGINGFACE_VERSION,
    "llava_dataset": datasets.LLAVA_VERSION,
    "sam2_dataset": datasets.SAM2_VERSION,
    "annotation_export": planning.CODE_VERSION,
    "lineage": datasets.LINEAGE_VERSION,
    "tracks": tracking.CODE_VERSION,
}
ESTIMATES = {
    "boxes_3d": reconstruction.CODE_VERSION,
    "refined_tracks": tracking.CODE_VERSION,
    "masklets": tracking.MASKLETS_CODE_VERSION,
    "frame_uncertainty": uncertainty.CODE_VERSION,
}
"""Of these numbers count by three decimals, in tables too: solvers and sums end a little apart on other processors."""
CLASSES = """classes:
  - {id: car, category_id: 1, name: Car, prompt: car, color: "#e6194b", kitti_type: Car, group: vehicle, size_prior: null,
     detector_labels: []}
  - {id: person, category_id: 10, name: Person, prompt: p, color: "#3cb44b", kitti_type: Pedestrian, group: person, size_prior: null,
     detector_labels: []}
  - {id: sign, category_id: 20, name: Sign, prompt: sign, color: "#4363d8", kitti_type: Misc, group: sign, size_prior: null,
     detector_labels: []}
"""
PICTURE = (  # 4 x 3 pixels, PNG
    "iVBORw0KGgoAAAANSUhEUgAAAAQAAAADCAIAAAA7ljmRAAAAH0lEQVQIHWNkQAKMDGAQdYJrmcU3xv///zMyMjKAAQBR8AYEnvpxQAAAAABJRU5ErkJggg=="
)
PHOTOGRAPH = (  # 8 x 6 pixels, JPEG; its hash is another one if its grey values are made of its colours
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAFA3PEY8MlBGQUZaVVBfeMiCeG5uePWvuZHI////////////////////////////////////////////////////"
    "2wBDAVVaWnhpeOuCguv/////////////////////////////////////////////////////////////////////////wAARCAAGAAgDASIAAhEBAxEB/8QA"
    "FQABAQAAAAAAAAAAAAAAAAAAAAH/xAAXEAEBAQEAAAAAAAAAAAAAAAABAAID/8QAFQEBAQAAAAAAAAAAAAAAAAAAAQL/xAAUEQEAAAAAAAAAAAAAAAAAAAAA"
    "/9oADAMBAAIRAxEAPwCO3PNSSSp//9k="
)
# every setting is named: a new default is another config, not another code version
SETTINGS = {
    "filters": {
        "include_classes": [],
        "excluded_classes": [],
        "min_score": 0.5,
        "excluded_frame_ids": ["a:000003"],
        "excluded_detection_ids": ["b:000001:0"],
        "min_track_length": 1,
        "empty_frames": "drop",
    },
    "split": {
        "strategy": "blocks",
        "train_ratio": 0.6,
        "val_ratio": 0.2,
        "test_ratio": 0.2,
        "seed": 42,
        "balance_by": "frames",
        "guard_frames": 1,
    },
    "validation": {
        "level": "strict",
        "masks": "full",
        "severe_imbalance": 9.0,
        "moderate_imbalance": 5.0,
        "small_object_share": 0.5,
        "max_small_objects": 0.05,
        "min_density": 1.0,
        "box_tolerance_px": 1.0,
        "min_mask_box_iou": 0.5,
        "near_duplicate_bits": 5,
        "severities": {"density": "off"},
    },
    "formats": ["kitti", "coco"],
    "include_masks": True,
    "include_depth": True,
    "include_3d_boxes": True,
    "include_right_images": True,
    "include_point_clouds": True,
}
TRACKING = {
    **ASSOCIATION,
    "high_score": 0.5,
    "low_score": 0.1,
    "new_track_score": 0.6,
    "class_groups": [],
}


def classes_of(index: int) -> tuple[str, ...]:
    return [("car", "person"), ("car", "sign"), ("car",), ()][index % 4]


def box(frame_id: str, n: int, class_id: str, x: float, z: float, score: float | None) -> ObjectBox:
    size = {"car": (4.5, 1.8, 1.5), "person": (0.5, 0.5, 1.7)}[class_id]
    place = Box3D(x, 1.6, z, *size, 0.5)
    return ObjectBox(f"{frame_id}:{n}", class_id, "Car", score, place, 0.25, (1.5, 2.5, 40.25, 30.0), 0.0, 0, z, 300, "prior")


def boxes_of(index: int) -> FrameBoxes:
    """A car that drives away, once with a low score and once unseen; a person without scores; now and then something nobody tracks."""
    frame_id = f"drive:{index:06d}"
    boxes = []
    if index != 12:
        boxes.append(box(frame_id, 0, "car", -2.0, 8.0 + 0.5 * index, 0.3 if index == 7 else 0.9))
    if 4 <= index < 20:
        boxes.append(box(frame_id, 1, "person", 3.0 - 0.15 * index, 9.0, None))
    if index % 9 == 5:
        boxes.append(box(frame_id, 2, "car", 15.0 - index, 30.0, 0.55))
    return FrameBoxes(frame_id, index, 1_700_000_000_000_000_000 + index * 100_000_000, tuple(boxes), ())


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folder of what each asset wrote."""
    root = tmp_path_factory.mktemp("golden")
    (root / "classes.yaml").write_text(CLASSES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world, "ONTOLOGY", load_ontology(root / "classes.yaml"))
        recordings = [
            world.make_recording(root, "a", range(18), classes_of, unselected=[6]),
            world.make_recording(root, "b", range(0, 24, 2), classes_of, unlabelled=[8], rectified=False),
        ]
        house = world.make_world(root, recordings, DatasetSettings.model_validate(SETTINGS))
        for each in (*house.manifest.settings.formats, ExportFormat.huggingface, ExportFormat.llava, ExportFormat.sam2):
            house.export(each)
        report = Draft.open(house.folder("validation_report"))
        validate(
            validation.what_is_validated(house.manifest, world.ONTOLOGY),
            lambda: placed_samples(house.folder("curated_dataset"), house.folder("splits"), house.artifact_folder),
            report,
        )
        report.finish()
        exports = {each: house.folder(f"{each}_dataset") / each for each in house.manifest.settings.formats}
        odd = {
            f"{each}_dataset": written_with_odd_objects(house, each)
            for each in (ExportFormat.coco, ExportFormat.huggingface, ExportFormat.llava)
        }
    lineage = Draft.open(house.folder("lineage"))
    write_lineage(
        house.manifest,
        selection_folder=house.folder("curated_dataset"),
        splits_folder=house.folder("splits"),
        exports=exports,
        draft=lineage,
        source_job_id="a-run",
        source_dataset_id="a-dataset",
    )
    lineage.finish()
    frame_boxes.write(root / frame_boxes.FILE_NAME, map(boxes_of, range(30)))
    draft = Draft.open(root / "tracks")
    track_boxes(root / frame_boxes.FILE_NAME, TrackingSettings(**TRACKING), draft, recording="drive", class_names={"car": "Car"})
    draft.finish()
    alone = {"tracks": root / "tracks", "selection": curated(root / "house"), "annotation_stats": root / "annotation_stats"}
    alone["annotation_export"] = imported(root)
    alone |= odd
    stats = annotation_stats(house_frames())
    alone["annotation_stats"].mkdir()
    write_json(alone["annotation_stats"] / "annotation_stats.json", stats)
    alone |= write_estimates(root / "estimates")
    return {asset: alone.get(asset) or house.folder(asset) for asset in (*CODE_VERSIONS, *ESTIMATES)}


def written_with_odd_objects(house: world.World, export_format: ExportFormat) -> Path:
    """The version in a format, where the first object of every frame has lost its mask, and the second its label."""
    manifest = house.manifest.model_copy(update={"extra_classes": ("unknown",)})
    samples = split_samples(house.folder("curated_dataset"), house.folder("splits"), house.artifact_folder)
    draft = Draft.open(house.folder(f"odd_{export_format}"))
    WRITERS[export_format](Export(map(with_odd_objects, samples), manifest, version_classes(manifest, world.ONTOLOGY), draft))
    draft.finish()
    return house.folder(f"odd_{export_format}")


def with_odd_objects(item: SplitSample) -> SplitSample:
    changes: list[dict[str, Any]] = [{"mask_rle": None}, {"class_id": "unknown"}]
    first = [replace(each, **change) for each, change in zip(item.sample.annotations, changes)]  # noqa: B905
    return replace(item, sample=replace(item.sample, annotations=(*first, *item.sample.annotations[len(first) :])))


def house_frames() -> list[FrameDetections]:
    """What the models found in the recording that is curated."""
    return [FrameDetections(FRAME(n), n, 1_700_000_000_000_000_000 + n, 160, 120, tuple(found)) for n, found in FOUND.items()]


def curated(root: Path) -> Path:
    """The selection of a recording with decisions of every kind, exclusions and diversity, as a plain folder."""
    root.mkdir()
    house = House(root)
    house.measure([0, 0, 9, 5], [1.0, 1.0, 1.0, 0.001])
    house.sequences({"drive:s0001": {3: "drive:000003:1"}}, "cone")
    house.say("drive:s0001", "exclude", "sequence", note="a toy")
    house.say("drive:000000:0", "set_class", class_id="truck")
    house.say("drive:000000:1", "set_box", box_xyxy=[100, 20, 123.5, 90])
    house.say("drive:000003:0", "set_mask", mask_rle=mask_of((20.0, 30.0, 80.0, 90.0)))
    house.say(FRAME(2), "reviewed_empty", "frame")
    draft = Draft.open(root / "selection")
    house.plan(diversity=True, excluded_detection_ids=["drive:000003:0"]).make(draft)
    draft.finish()
    return root / "selection"


def imported(root: Path) -> Path:
    """An export with masks of several forms, labels of several kinds and problems, as a plain folder."""
    masks: list[Any] = ["7 1 4", "4 1 1 1 5", {"size": [3, 4], "counts": [7, 1, 4]}, "1 1", None]
    objects = [
        {"object_id": n, "label": label, "mask_rle": mask, "bbox": [1, 0, 2, 3], "confidence": 0.9}
        for n, (mask, label) in enumerate(zip(masks, ["car", "Person", "lynx", None, "SIGN"], strict=True))
    ]
    frames = [{"frame_index": n, "timestamp_sec": n / 4, "objects": objects[: 3 * n]} for n in range(4)]
    members = {f"images/{n:04d}.png": base64.b64decode(PICTURE) for n in range(1, 3)}
    members["images/0000.jpg"] = base64.b64decode(PHOTOGRAPH)
    path = zips.write_zip(root / "drive.zip", {"annotations.json": json.dumps({"annotations": frames}).encode(), **members})
    zips.run_import(path, root / "annotation_export", run_order="rows")
    return root / "annotation_export"


def digest(folder: Path, *, estimated: bool = False) -> str:
    whole = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            text = rounded(content(path), 3) if estimated else content(path)
            whole.update(f"{path.relative_to(folder).as_posix()}\n{text}\n".encode())
    return whole.hexdigest()


def content(path: Path) -> str:
    if (
        path.suffix in {".png", ".jpg", ".npy", ".npz", ".bin"} or path.name == "README.md"
    ):  # a card has sizes in bytes, and YAML as a library writes it
        return ""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            texts = [rounded(archive.read(name).decode()) for name in archive.namelist() if name.endswith(".json")]
            return "\n".join([*archive.namelist(), *texts])
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        return f"{table.schema}\n" + "\n".join(json.dumps(row, default=str) for row in table.to_pylist())
    if path.suffix == ".arrow":
        with pa.memory_map(str(path)) as source:
            table = pa.ipc.open_stream(source).read_all().drop_columns("image")
        return rounded(f"{table.schema}\n" + "\n".join(map(json.dumps, table.to_pylist())))
    if path.name == "state.json":
        return re.sub(r'"_fingerprint": "[0-9a-f]+"', "", path.read_text(encoding="utf-8"))
    return rounded(re.sub(r"data:image/jpeg;base64,[^\"]*", "", path.read_text(encoding="utf-8")))


def rounded(text: str, decimals: int = 6) -> str:
    return re.sub(r"-?\d+\.\d+(?:e[-+]\d+)?", lambda number: f"{float(number[0]) + 0.0:z.{decimals}f}", text)


@pytest.mark.requirement("NFR-09")
@pytest.mark.parametrize("asset", [*CODE_VERSIONS, *ESTIMATES])
def test_what_an_asset_writes_changes_only_with_its_code_version(written: dict[str, Path], asset: str) -> None:
    known = json.loads(GOLDEN.read_text())[asset]
    code_version, found = (CODE_VERSIONS | ESTIMATES)[asset], digest(written[asset], estimated=asset in ESTIMATES)
    assert code_version in known, f"{asset} has the new code version {code_version}: add its digest {found} to {GOLDEN.name}"
    assert known[code_version] == found, f"{asset} writes other bytes under code version {code_version}: raise it, then add {found}"
    assert list(known.values()).count(found) == 1, f"{asset} has a new code version but writes the same bytes"


def test_the_fixed_inputs_reach_what_the_digests_are_to_guard(written: dict[str, Path]) -> None:
    tracks = json.loads((written["tracks"] / "tracks.json").read_text())
    assert {track["class_id"] for track in tracks["tracks"]} == {"car", "person"}
    assert tracks["statistics"]["untracked_detections"]
    assert all(math.isfinite(point["box"]["x"]) for track in tracks["tracks"] for point in track["trajectory"])
    lineage = json.loads((written["lineage"] / "lineage.json").read_text())
    assert min(lineage["statistics"].values()) > 0
    assert {"extraction", "excluded_frame", "no_annotations"} <= lineage["selection"]["dropped_frames"].keys()
    labels = [path.read_text() for path in written["kitti_dataset"].rglob("label_2/*.txt")]
    assert any("-1000" in text for text in labels)
    assert any("-1000" not in text for text in labels if text)
    assert '"segmentation":[]' in (written["coco_dataset"] / "coco/train/annotations.json").read_text()
    assert "unknown object" in (written["llava_dataset"] / "llava/train.jsonl").read_text()
    report = json.loads((written["validation_report"] / "report.json").read_text())
    assert {rule["name"] for rule in report["rules"] if not rule["passed"]} == {"small_objects", "near_duplicates"}
    assert "data:image/jpeg" in (written["validation_report"] / "report.html").read_text()


def test_the_fixed_inputs_of_estimates_reach_what_the_digests_are_to_guard(written: dict[str, Path]) -> None:
    boxes = json.loads((written["boxes_3d"] / "boxes_3d.json").read_text())
    assert (boxes["total_frames"], boxes["total_boxes"], boxes["total_refused"]) == (3, 4, 1)
    tracks = json.loads((written["refined_tracks"] / "tracks.json").read_text())
    assert [len(track["interpolated"]) for track in tracks["tracks"]] == [5]
    assert tracks["statistics"]["untracked_detections"]
    rows = pq.read_table(written["masklets"] / "masklets.parquet").to_pylist()
    assert {row["masklet_id"] for row in rows} == {1, 2}
    assert {row["origin"] for row in rows} == {"prompt", "forward", "backward", "carried"}
    scored = pq.read_table(written["frame_uncertainty"] / "frame_uncertainty.parquet").to_pylist()
    assert len(scored) == 3
    assert all(row["mutual_information_mean"] > 0.0 and 0.0 < row["iou"] < 1.0 for row in scored)
