"""The whole main job on the sample recording, as a user runs it, and what becomes of input that is not right."""

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import dagster as dg
import numpy as np
import pyarrow.parquet as pq
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from lamm_pipeline.definitions import build_definitions
from lamm_pipeline.orchestration.instance import add_version_partitions, open_instance
from lamm_pipeline.sample.render import render_sample
from lamm_pipeline.sample.settings import SampleSettings
from lamm_pipeline.settings import Settings
from lamm_pipeline_tests.command_line import lamm, printed

pytestmark = pytest.mark.usefixtures("own_environment")

FRAMES = 36
PER_RECORDING = (
    "recording",
    "frames",
    "diversity_metrics",
    "detections",
    "boxes_3d",
    "tracks",
    "sequence_annotations",
    "annotation_stats",
    "selection",
)
FAST = ("--stereo", "half", "--tiles", "full")


@dataclass(frozen=True)
class House:
    """A root in which the sample was run."""

    root: Path
    sample: Path
    facts: dict[str, Any]

    @property
    def recording(self) -> dict[str, Any]:
        return self.facts["recordings"][0]

    def folder(self, asset: str) -> Path:
        return Path(self.recording["artifacts"][asset]["folder"])

    def export(self, name: str) -> Path:
        return Path(self.facts["dataset"]["exports"][name])


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sample") / "street.svo2"
    render_sample(path, SampleSettings(frames=FRAMES, width=672, height=376))
    return path


@pytest.fixture(scope="module")
def house(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> House:
    root = tmp_path_factory.mktemp("root")
    outcome = lamm("run", str(sample), "--root", str(root), "--json", *FAST)
    return House(root, sample, json.loads(outcome.stdout))


@pytest.mark.requirement("STA-01", "CFG-01", "NFR-08", "EXP-01", "API-08", "API-09")
def test_one_command_makes_a_dataset_of_a_recording(house: House) -> None:
    assert set(house.recording["artifacts"]) == set(PER_RECORDING)
    counts = {asset: artifact["counts"] for asset, artifact in house.recording["artifacts"].items()}
    assert counts["frames"]["extracted_frames"] == FRAMES
    assert counts["frames"]["rectified"] is True
    assert counts["detections"]["detections"] > 0
    assert (
        counts["boxes_3d"]["boxes"] + counts["boxes_3d"]["refused"]
        == counts["boxes_3d"]["detections"]
        == counts["detections"]["detections"]
    )
    assert counts["tracks"]["tracks"] > 0
    assert house.facts["dataset"]["version"] == "street.v1"


@pytest.mark.requirement("EXP-06", "EXP-12", "AV-24")
def test_pycocotools_reads_the_coco_export_and_its_masks_cover_what_they_say(house: House) -> None:
    categories = []
    for split in ("train", "val", "test"):
        coco = COCO(str(house.export("coco") / split / "annotations.json"))
        categories.append(sorted((category["id"], category["name"]) for category in coco.dataset["categories"]))
        for annotation in coco.loadAnns(coco.getAnnIds()):
            image = coco.loadImgs(annotation["image_id"])[0]
            assert (house.export("coco") / split / "images" / Path(image["file_name"]).name).is_file()
            covered = coco.annToMask(annotation)
            assert covered.shape == (image["height"], image["width"])
            assert int(covered.sum()) == annotation["area"] == int(coco_mask.area(annotation["segmentation"]))
    assert categories[0] == categories[1] == categories[2]


@pytest.mark.requirement("EXP-05", "EXP-12", "AV-18")
def test_boxes_of_the_kitti_export_project_onto_their_2d_boxes(house: House) -> None:
    seen = 0
    for label in sorted((house.export("kitti")).glob("*/label_2/*.txt")):
        folder = label.parents[1]
        calibration = {
            line.split(":")[0]: line.split(":")[1] for line in (folder / "calib" / label.name).read_text().splitlines() if ":" in line
        }
        projection = np.array(calibration["P2"].split(), float).reshape(3, 4)
        image = cv2.imread(str(folder / "image_2" / f"{label.stem}.png"))
        for line in label.read_text().splitlines():
            values = line.split()
            assert len(values) == 15
            x1, y1, x2, y2, height, width, length, x, y, z, yaw = (float(value) for value in values[4:15])
            if z <= 0:
                continue
            offsets = np.array([[sx * length / 2, sy, sz * width / 2] for sx in (-1, 1) for sy in (0, -height) for sz in (-1, 1)])
            turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
            points = np.c_[offsets @ turn.T + [x, y, z], np.ones(8)] @ projection.T
            u, v = points[:, 0] / points[:, 2], points[:, 1] / points[:, 2]
            projected = np.clip([u.min(), v.min(), u.max(), v.max()], 0, [image.shape[1], image.shape[0]] * 2)
            overlap = max(0, min(x2, projected[2]) - max(x1, projected[0])) * max(0, min(y2, projected[3]) - max(y1, projected[1]))
            assert overlap > 0.2 * (x2 - x1) * (y2 - y1)
            assert float(values[3]) == pytest.approx((yaw - np.arctan2(x, z) + np.pi) % (2 * np.pi) - np.pi, abs=0.02)
            seen += 1
    assert seen > 0


@pytest.mark.requirement("EXP-07", "EXP-10", "EXP-11", "ING-17")
def test_a_frame_can_be_followed_from_the_recording_to_the_lineage(house: House) -> None:
    registry = json.loads((house.folder("frames") / "frame_registry.json").read_text())
    lineage = json.loads(Path(house.facts["dataset"]["lineage"]).read_text())
    rows = pq.read_table(Path(house.facts["dataset"]["lineage"]).with_name("frames_lineage.parquet")).to_pylist()
    known = {frame["frame_id"] for frame in registry["frames"]} if isinstance(registry["frames"], list) else set(registry["frames"])
    assert {row["frame_id"] for row in rows} <= known
    assert lineage["statistics"]["total_frames"] == len(rows)
    source = lineage["recordings"][0]["source"]
    assert source["digest"] == house.recording["digest"]
    assert Path(source["path"]) == house.sample
    assert {
        "training_dataset_id",
        "source_job_id",
        "source_dataset_id",
        "curated_dataset_id",
        "filter_config",
        "split_config",
        "format",
        "statistics",
        "created_at",
    } <= set(lineage)


def test_frames_of_the_export_are_the_extracted_ones_without_a_copy(house: House) -> None:
    exported = next((house.export("kitti")).glob("*/image_2/*.png"))
    assert exported.stat().st_nlink > 1


@pytest.mark.requirement("NFR-10", "NFR-05")
def test_running_again_computes_nothing_and_makes_no_new_version(house: House) -> None:
    before = {path: path.stat().st_mtime_ns for path in house.root.glob("recordings/*/*/*/manifest.json")}
    again = json.loads(lamm("run", str(house.sample), "--root", str(house.root), "--json", *FAST).stdout)
    assert {path: path.stat().st_mtime_ns for path in house.root.glob("recordings/*/*/*/manifest.json")} == before
    assert again["dataset"]["version"] == "street.v1"


@pytest.mark.requirement("CUR-09", "DSB-05")
def test_another_filter_makes_the_next_version_from_the_same_frames(house: House) -> None:
    made = json.loads(lamm("dataset", "create", "street", "street", "--root", str(house.root), "--exclude-class", "cat", "--json").stdout)
    assert made["version"] == "street.v2"
    assert made["curated_dataset_id"] is not None
    versions = json.loads(lamm("dataset", "list", "--root", str(house.root), "--json").stdout)
    assert [version["version"] for version in versions] == ["street.v1", "street.v2"]
    assert {version["created_by"] for version in versions} == {"ada"}


def test_the_evaluation_finds_what_the_sample_holds(house: House) -> None:
    truth = house.sample.with_suffix(".truth")
    scores = json.loads(lamm("evaluate", str(house.root), "--truth", str(truth), "--json").stdout)
    assert scores["detection"]["Pedestrian"]["recall"] > 0.4
    assert scores["detection"]["Pedestrian"]["precision"] > 0.6
    assert scores["boxes_3d"]["distance_error_m"]["median_percent"] < 10


def test_the_evaluation_of_an_exported_split_knows_its_frames_though_they_are_numbered_anew(house: House) -> None:
    split = house.export("kitti") / "test"
    rows = pq.read_table(Path(house.facts["dataset"]["lineage"]).with_name("frames_lineage.parquet")).to_pylist()
    frames = {row["output_index"]: row["frame_index"] for row in rows if row["split"] == "test"}
    assert frames[0] > 0
    scores = json.loads(lamm("evaluate", str(split), "--truth", str(house.sample.with_suffix(".truth")), "--json").stdout)
    assert scores["frames"]["evaluated"] == len(frames)
    assert scores["boxes_3d"]["distance_error_m"]["median_percent"] < 10


@pytest.mark.requirement("CFG-03", "CFG-04", "STA-03", "AV-01")
def test_a_stage_pulls_in_what_it_needs(sample: Path, tmp_path: Path) -> None:
    facts = json.loads(lamm("run", str(sample), "--root", str(tmp_path), "--stage", "segmentation", "--end", "4", "--json", *FAST).stdout)
    assert set(facts["recordings"][0]["artifacts"]) == {"recording", "frames", "diversity_metrics", "detections"}
    assert facts["dataset"] is None


@pytest.mark.requirement("EXT-16")
def test_without_calibration_images_and_masks_are_made_and_3d_refuses_with_a_sentence(sample: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone.svo2"
    shutil.copyfile(sample, alone)
    outcome = lamm("run", str(alone), "--root", str(tmp_path / "root"), "--end", "4", *FAST, code=1)
    assert "recording/calibration_found" in outcome.stderr
    assert re.search(r"Error: boxes_3d: .*calibration", outcome.stderr)
    facts = json.loads(lamm("status", "--root", str(tmp_path / "root"), "--json").stdout)[0]
    assert facts["artifacts"]["frames"]["counts"]["rectified"] is False
    assert facts["artifacts"]["detections"]["counts"]["frames"] == 4
    assert "boxes_3d" not in facts["artifacts"]


@pytest.mark.requirement("ING-04", "PIP-06")
def test_a_bad_file_ends_in_a_sentence_and_the_others_go_on(sample: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.svo2"
    bad.write_bytes(b"this is no recording")
    outcome = lamm("run", str(bad), str(sample), "--root", str(tmp_path / "root"), "--end", "4", "--no-export", *FAST, code=1)
    assert re.search(r"Error: recording: .*bad\.svo2.* is not", outcome.stderr)
    facts = {row["key"]: row for row in json.loads(lamm("status", "--root", str(tmp_path / "root"), "--json").stdout)}
    assert facts["bad"]["artifacts"] == {}
    assert "tracks" in facts["street"]["artifacts"]


@pytest.mark.requirement("ING-04")
def test_a_truncated_recording_is_used_as_far_as_it_goes_with_a_warning(sample: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.svo2"
    cut.write_bytes(sample.read_bytes()[: sample.stat().st_size // 2])
    for calibration in sample.parent.glob("SN*.conf"):
        shutil.copyfile(calibration, tmp_path / calibration.name)
    outcome = lamm("run", str(cut), "--root", str(tmp_path / "root"), "--no-export", "--stage", "extraction", *FAST)
    assert "recording/recording_complete" in outcome.stderr
    facts = json.loads(lamm("status", "--root", str(tmp_path / "root"), "--json").stdout)[0]
    assert 0 < facts["artifacts"]["frames"]["counts"]["extracted_frames"] < FRAMES


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("frames.frame_skip=0", "frame_skip = 0: input should be greater than or equal to 1"),
        ("frames.frame_skip=often", "frame_skip = 'often': input should be a valid integer"),
        ("frames.no_such=1", "no_such = 1: extra inputs are not permitted"),
        ("cameras.skip=1", "no asset 'cameras'"),
        ("frames", "ASSET.SETTING=VALUE"),
    ],
)
def test_a_wrong_setting_ends_in_a_sentence(sample: Path, tmp_path: Path, setting: str, sentence: str) -> None:
    outcome = lamm("run", str(sample), "--root", str(tmp_path), "--set", setting, code=2)
    assert sentence in outcome.stderr
    assert "Traceback" not in outcome.stderr


def test_a_wrong_setting_in_the_ui_fails_without_retries(sample: Path, tmp_path: Path) -> None:
    lamm("add", str(sample), "--root", str(tmp_path))
    job = build_definitions(Settings.from_environment({}, root=tmp_path)).resolve_job_def("annotate_only")
    with open_instance(tmp_path) as instance:
        result = job.execute_in_process(
            instance=instance, partition_key="street", run_config={"ops": {"frames": {"config": {"frame_skip": 0}}}}, raise_on_error=False
        )
        events = [event.event_type_value for event in result.all_events if event.step_key == "frames"]
    assert "STEP_FAILURE" in events
    assert "STEP_UP_FOR_RETRY" not in events


def test_a_version_key_without_a_manifest_fails_with_a_sentence(tmp_path: Path) -> None:
    job = build_definitions(Settings.from_environment({}, root=tmp_path)).resolve_job_def("export")
    with open_instance(tmp_path) as instance:
        add_version_partitions(instance, ["typed.v1"])
        result = job.execute_in_process(instance=instance, partition_key="typed.v1", raise_on_error=False)
    failures = [event.step_failure_data for event in result.all_events if event.event_type_value == "STEP_FAILURE"]
    assert "lamm dataset create" in str(failures[0].user_failure_data.description)


@pytest.mark.requirement("DSB-01", "DSB-03", "EXP-02", "API-17")
def test_the_launchpad_job_makes_a_version_and_the_sensor_exports_it(house: House) -> None:
    definitions = build_definitions(Settings.from_environment({}, root=house.root))
    config = {"name": "from_ui", "recordings": ["street"], "split": {"train_ratio": 0.6, "val_ratio": 0.2, "test_ratio": 0.2}}
    with open_instance(house.root) as instance:
        made = definitions.resolve_job_def("create_dataset").execute_in_process(
            instance=instance, run_config={"ops": {"write_version": {"config": config}}}
        )
        assert made.output_for_node("write_version") == "from_ui.v1"
        assert "from_ui.v1" in instance.get_dynamic_partitions("dataset_versions")
        context = dg.build_run_status_sensor_context("export_new_versions", made.all_events[-1], instance, made.dagster_run)
        sensor = definitions.get_repository_def().get_sensor_def("export_new_versions")
        assert isinstance(sensor, dg.RunStatusSensorDefinition)
        request = sensor(context)
    assert request.partition_key == "from_ui.v1"
    lineage = definitions.resolve_job_def("export")
    with open_instance(house.root) as instance:
        assert lineage.execute_in_process(instance=instance, partition_key="from_ui.v1").success
    shown = json.loads(lamm("dataset", "show", "from_ui.v1", "--root", str(house.root), "--json").stdout)
    assert shown["settings"]["split"]["train_ratio"] == 0.6
    assert json.loads(Path(shown["lineage"]).read_text())["source_job_id"] == made.dagster_run.run_id


@pytest.mark.requirement("PIP-03", "EXP-04", "LLM-01")
def test_a_recordings_dataset_grows_by_an_import_and_is_exported(house: House, tmp_path: Path) -> None:
    lamm("dataset", "create", "mixed", "street", "--root", house.root, "--format", "sam2", "--strategy", "random")
    lamm("dataset", "sam2", "mixed.v1", tmp_path, "--fps", "all", "--yes", "--root", house.root)
    zips = [str(path) for path in tmp_path.glob("*.zip")]
    same = printed("prepare", *zips, "--name", "mixed", "--root", house.root)
    assert (same["version"], same["recordings"], same["imports"]) == ("mixed.v2", ["street"], ["street"])
    job = build_definitions(Settings.from_environment({}, root=house.root)).resolve_job_def("prepare")
    config = {"zips": zips, "importing": {"video": "yard"}, "name": "mixed", "formats": ["coco", "kitti", "huggingface", "llava"]}
    with open_instance(house.root) as instance:
        made = job.execute_in_process(instance=instance, run_config={"ops": {"import_and_write_version": {"config": config}}})
        assert made.output_for_node("import_and_write_version") == "mixed.v3"
        export = build_definitions(Settings.from_environment({}, root=house.root)).resolve_job_def("export")
        assert export.execute_in_process(instance=instance, partition_key="mixed.v3").success
    facts = printed("dataset", "show", "mixed.v3", "--root", house.root)
    images = [
        image["recording"]
        for split in ("train", "val", "test")
        for image in json.loads((Path(facts["exports"]["coco"]) / split / "annotations.json").read_text())["images"]
    ]
    assert images.count("street") == same["statistics"]["total_frames"]
    assert 0 < images.count("yard") == len(images) - images.count("street")


@pytest.mark.requirement("EXP-02")
@pytest.mark.parametrize(("split", "sentence"), [("0.5/0.2/0.1", "sum to 0.8"), ("half", "not three shares")])
def test_wrong_ratios_are_refused_before_any_work(sample: Path, tmp_path: Path, split: str, sentence: str) -> None:
    outcome = lamm("run", str(sample), "--root", str(tmp_path / "root"), "--split", split, code=2)
    assert sentence in outcome.stderr
    assert not (tmp_path / "root" / "recordings").exists()


@pytest.mark.requirement("EXP-01")
def test_only_the_formats_asked_for_are_written(house: House) -> None:
    made = json.loads(lamm("dataset", "create", "only_coco", "street", "--root", str(house.root), "--format", "coco", "--json").stdout)
    assert set(made["exports"]) == {"coco"}
    job = build_definitions(Settings.from_environment({}, root=house.root)).resolve_job_def("export")
    with open_instance(house.root) as instance:
        assert job.execute_in_process(instance=instance, partition_key="only_coco.v1").success
    assert not (house.root / "datasets" / "only_coco.v1" / "kitti_dataset").exists()


def test_detections_of_other_frames_are_not_mixed_with_new_ones(sample: Path, tmp_path: Path) -> None:
    lamm("run", str(sample), "--root", str(tmp_path), "--end", "3", "--no-export", *FAST)
    job = build_definitions(Settings.from_environment({}, root=tmp_path)).resolve_job_def("production")
    with open_instance(tmp_path) as instance:

        def run(*assets: str) -> Any:
            config = {"ops": {"frames": {"config": {"end_frame": 2, "stereo": {"quality": "half"}}}}} if "frames" in assets else {}
            keys = [dg.AssetKey(asset) for asset in assets]
            return job.execute_in_process(
                instance=instance, partition_key="street", asset_selection=keys, run_config=config, raise_on_error=False
            )

        assert run("frames").success
        failed = run("boxes_3d")
    sentences = [
        event.step_failure_data.user_failure_data.description for event in failed.all_events if event.event_type_value == "STEP_FAILURE"
    ]
    assert sentences == ["The detections of 'street' were made from other frames. Materialize `detections` first."]
