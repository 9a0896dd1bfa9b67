"""SAM2 exports, read with the standard library and pycocotools, and imported again."""

import json
import tracemalloc
import zipfile
from dataclasses import replace
from fractions import Fraction

import pytest
from pycocotools import mask as coco_mask

from lamm_pipeline import sample_table
from lamm_pipeline.datasets.classes import version_classes
from lamm_pipeline.datasets.formats import sam2_export
from lamm_pipeline.datasets.formats.files import Export
from lamm_pipeline.datasets.formats.frame_rates import FrameRate, measured_fps, sampled, wanted_fps
from lamm_pipeline.datasets.lineage import write_lineage
from lamm_pipeline.datasets.settings import ExportFormat
from lamm_pipeline.datasets.splits.split_table import split_samples
from lamm_pipeline.imports.importing import FILE_NAME, ImportSource, import_export, read_summary
from lamm_pipeline.imports.settings import ImportSettings, ZipLimits
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline_tests.datasets.world import HEIGHT, ONTOLOGY, WIDTH, make_recording, make_world

ELSEWHERE = {"artifact", "folder", "image", "image_right", "depth", "point_cloud", "calibration"}


@pytest.fixture
def world(tmp_path):
    inputs = [
        make_recording(tmp_path, "a", range(9), lambda _: ("person", "sign")),
        make_recording(tmp_path, "b.2", range(3, 12, 2)),
        make_recording(tmp_path, "c", range(4), lambda _: ("sign", "car")),
    ]
    return make_world(tmp_path, inputs)


def samples_of(world):
    return list(split_samples(world.folder("curated_dataset"), world.folder("splits"), world.artifact_folder))


def write(world, tmp_path, items, rate=FrameRate.all, name="out"):
    draft = Draft.open(tmp_path / name)
    summary = sam2_export.write_sam2(Export(items, world.manifest, version_classes(world.manifest, ONTOLOGY), draft), rate)
    draft.close()
    return summary, tmp_path / name / "sam2"


def opened(path):
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return (
            json.loads(archive.read("annotations.json")),
            json.loads(archive.read("metadata.json")),
            {name: archive.read(name) for name in archive.namelist() if name.startswith("images/")},
        )


def zip_of(tmp_path, recording):
    return tmp_path / "out" / "sam2" / f"{recording}.zip"


def import_again(path, out):
    draft = Draft.open(out)
    import_export(ImportSource(path, "0" * 64, path.stem, "x/y/z/0"), ImportSettings(), ZipLimits(), ONTOLOGY, draft)
    draft.close()
    return list(sample_table.read(out / sample_table.FILE_NAME, lambda _: out))


@pytest.mark.requirement("LLM-01", "EXP-01")
def test_a_zip_has_the_formats_documents_and_clean_images_and_masks_that_pycocotools_decodes(world):
    summary = world.export(ExportFormat.sam2)
    samples = {item.sample.frame_id: item.sample for item in samples_of(world)}
    root = world.folder("sam2_dataset") / "sam2"
    assert sorted(each.name for each in root.iterdir()) == ["a.zip", "b.2.zip", "c.zip"]
    seen = 0
    for path in root.iterdir():
        annotations, metadata, images = opened(path)
        assert metadata["export_info"] == {
            "created_at": world.manifest.created_at,
            "format_version": "1.0",
            "exporter": "lamm_pipeline",
        }
        video = annotations["video"]
        assert (video["width"], video["height"], video["source_fps"]) == (WIDTH, HEIGHT, 10.0)
        assert metadata["video"]["fps"] == 10.0
        frames = annotations["annotations"]
        indices = [each["frame_index"] for each in frames]
        assert indices == sorted(indices) == annotations["export_config"]["frame_indices"] == metadata["export_config"]["frame_indices"]
        assert annotations["lamm"]["frame_range"] == [indices[0], indices[-1]]
        assert list(images) == [f"images/frame_{index:06d}.png" for index in indices]
        assert metadata["statistics"]["total_objects"] == sum(len(each["objects"]) for each in frames)
        for frame in frames:
            sample = samples[frame["lamm"]["frame_id"]]
            assert images[f"images/frame_{frame['frame_index']:06d}.png"] == sample.path(sample.image).read_bytes()
            assert frame["timestamp_sec"] == pytest.approx(frame["frame_index"] / 10, abs=1e-3)
            for entry, annotation in zip(frame["objects"], sample.annotations, strict=True):
                mask = coco_mask.decode(entry["mask_rle"])
                assert mask.shape == (HEIGHT, WIDTH)
                assert entry["area"] == mask.sum() == annotation.area
                x, y, width, height = entry["bbox"]
                assert (x, y, x + width, y + height) == pytest.approx(annotation.box_xyxy)
                seen += 1
    assert seen == sum(summary.annotations.values()) > 20


@pytest.mark.requirement("LLM-01")
def test_an_import_of_the_export_gives_the_same_samples(world, tmp_path):
    items = samples_of(world)
    first = items[0].sample
    person, sign = first.annotations
    odd = [
        replace(person, mask_rle=None, mask_problem="The mask is lost.", score=None, score_source=None, detection_id=f"{first.frame_id}:7"),
        replace(
            sign,
            track_id=12,
            track_length=40,
            score=0.95,
            score_source="constant",
            source="human",
            reviewed=True,
            corrected=("class", "mask"),
        ),
    ]
    items[0] = replace(items[0], sample=replace(first, annotations=tuple(odd), timestamp_ns=None, image_hash=None))
    items[1] = replace(items[1], sample=replace(items[1].sample, annotations=(), state="reviewed_empty", camera=None))
    items[2] = replace(items[2], sample=replace(items[2].sample, annotations=(), state="unlabelled"))
    box = items[3].sample.annotations[0]
    third = replace(box, box_xyxy=(0.1, 0.2, 0.1 + 0.7, 1 / 3), box_3d=None, class_id="car")
    items[3] = replace(items[3], sample=replace(items[3].sample, annotations=(third, *items[3].sample.annotations[1:])))
    _, folder = write(world, tmp_path, items)
    again = {}
    for path in sorted(folder.iterdir()):
        found = import_again(path, tmp_path / path.stem)
        assert read_summary(tmp_path / path.stem / FILE_NAME)["problems"] == []
        again |= {each.frame_id: each for each in found}
    assert list(again) == [item.sample.frame_id for item in items]
    hashed = 0
    for item in items:
        expected, found = vars(item.sample), vars(again[item.sample.frame_id])
        for name in expected.keys() - ELSEWHERE - {"image_hash"}:
            assert found[name] == expected[name], (item.sample.frame_id, name)
        hashed += expected["image_hash"] is not None
        assert found["image_hash"] == expected["image_hash"] or expected["image_hash"] is None
        assert found["image"] is not None
    assert hashed == len(items) - 1


def test_the_same_samples_give_the_same_bytes_also_after_an_interruption(world, tmp_path, monkeypatch):
    items = samples_of(world)
    _, whole = write(world, tmp_path, items)
    monkeypatch.setattr(sam2_export, "FRAMES_PER_CHECKPOINT", 2)

    def stop(done, _total):
        if done == 12:
            raise KeyboardInterrupt

    draft = Draft.open(tmp_path / "resumed")
    classes = version_classes(world.manifest, ONTOLOGY)
    with pytest.raises(KeyboardInterrupt):
        sam2_export.write_sam2(Export(items, world.manifest, classes, draft, progress=stop))
    draft.close()
    assert Draft.open(tmp_path / "resumed").state["zips"] == 1
    summary, resumed = write(world, tmp_path, items, name="resumed")
    assert sum(summary.frames.values()) == len(items)
    assert {each.name: each.read_bytes() for each in whole.iterdir()} == {each.name: each.read_bytes() for each in resumed.iterdir()}


@pytest.mark.requirement("EXP-05")
def test_the_lineage_counts_what_lies_in_the_zips(world, tmp_path):
    world.export(ExportFormat.sam2)
    lineage = write_lineage(
        world.manifest,
        selection_folder=world.folder("curated_dataset"),
        splits_folder=world.folder("splits"),
        exports={ExportFormat.sam2: world.folder("sam2_dataset") / "sam2"},
        draft=Draft.open(tmp_path / "lineage"),
        source_job_id=None,
        source_dataset_id=None,
    )
    assert lineage["format"] == "sam2"
    assert lineage["statistics"]["total_frames"] == len(samples_of(world))


@pytest.mark.requirement("OPT-01", "OPT-02", "OPT-03")
def test_fewer_frames_by_time_with_the_range_and_an_estimate(world, tmp_path):
    items = samples_of(world)
    summary, folder = write(world, tmp_path, items, FrameRate.five)
    annotations, metadata, images = opened(folder / "a.zip")
    assert annotations["export_config"]["frame_indices"] == [0, 2, 4, 6, 8]
    assert annotations["export_config"]["target_fps"] == metadata["export_config"]["target_fps"] == 5.0
    assert annotations["lamm"]["frame_range"] == [0, 8]
    assert annotations["lamm"]["frames_left_out_by_rate"] == 4
    assert len(images) == 5
    expected = sam2_export.estimate(items, FrameRate.five)
    assert expected.frames == sum(summary.frames.values())
    assert summary.counts["left_out_by_rate"] == len(items) - expected.frames
    size = sum(each.stat().st_size for each in folder.iterdir()) / 1e6
    assert 0.3 * size < expected.megabytes < 3 * size


@pytest.mark.requirement("OPT-01")
@pytest.mark.parametrize("target", [0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0])
@pytest.mark.parametrize(("total", "source"), [(300, 30.0), (299, 29.97), (7, 24.0), (1, 15.0), (100, 10.0)])
def test_sampling_takes_the_nearest_frames_of_the_target_times(total, source, target):
    exact, step = Fraction(str(source)), Fraction(1, 1) / min(Fraction(str(target)), Fraction(str(source)))
    times = [number * step for number in range(int(total / exact / step) + 1) if number * step < total / exact]
    wanted = sorted({min(int(time * exact + Fraction(1, 2)), total - 1) for time in times})
    assert sampled(range(total), source, target) == wanted


def test_pictures_that_were_taken_an_hour_apart_are_written(world, tmp_path):
    items = [replace(item, sample=replace(item.sample, timestamp_ns=item.sample.frame_index * 3600 * 10**9)) for item in samples_of(world)]
    write(world, tmp_path, items)
    again = {
        each.frame_id: each.timestamp_ns for name in ("a", "b.2", "c") for each in import_again(zip_of(tmp_path, name), tmp_path / name)
    }
    assert again == {item.sample.frame_id: item.sample.timestamp_ns for item in items}
    assert sam2_export.estimate(items, FrameRate.half).frames == len(items)


def test_of_recordings_without_stamps_every_frame_is_written_and_the_estimate_names_them(world, tmp_path):
    items = [
        replace(item, sample=replace(item.sample, timestamp_ns=None)) if item.sample.recording == "c" else item
        for item in samples_of(world)
    ]
    expected = sam2_export.estimate(items, FrameRate.one)
    assert (expected.recordings, expected.untimed) == (("a", "b.2", "c"), ("c",))
    assert sam2_export.estimate(items, FrameRate.all).untimed == ()
    write(world, tmp_path, items, FrameRate.one)
    annotations, metadata, _ = opened(zip_of(tmp_path, "c"))
    assert len(annotations["annotations"]) == sum(item.sample.recording == "c" for item in items) > 1
    assert annotations["video"]["source_fps"] is metadata["export_config"]["target_fps"] is None


def test_the_rows_of_a_written_export_are_streamed(world, tmp_path):
    items = [item for item in samples_of(world) if item.sample.recording == "a"]
    long = {"size": [HEIGHT, WIDTH], "counts": "0" * 100_000}
    many = [
        replace(item, sample=replace(item.sample, frame_id=f"a:{n:06d}", frame_index=n, annotations=(replace(each, mask_rle=long),)))
        for n in range(200)
        for item in items[:1]
        for each in item.sample.annotations[:1]
    ]
    _, folder = write(world, tmp_path, many)
    tracemalloc.start()
    found = sum(1 for _ in sam2_export.written_rows(folder, many[0].split))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == 200
    assert peak < (folder / "a.zip").stat().st_size / 10


def test_sampling_never_takes_a_frame_from_another_time():
    assert sampled([0, 1, 2, 50, 90], 10.0, 1.0) == [0, 50, 90]
    assert sampled([], 10.0, 1.0) == []


@pytest.mark.requirement("OPT-01")
def test_the_rate_is_measured_and_the_default_depends_on_it():
    assert measured_fps([0, 1, 2, 10], [0, 33_366_667, 66_733_334, None]) == 29.97
    assert measured_fps([0, 2, 4, 100], [5, 5 + 10**8, 5 + 2 * 10**8, 10**12]) == 20.0
    assert measured_fps([3], [1]) is None
    assert measured_fps([0, 1, 2], [0, 3600 * 10**9, 7200 * 10**9]) == 0.0002778
    assert wanted_fps(FrameRate.auto, 29.97) == 5.0
    assert wanted_fps(FrameRate.auto, 15.0) == 1.0
    assert wanted_fps(FrameRate.thirty, 15.0) == 15.0
    assert wanted_fps(FrameRate.all, 15.0) is None
    assert wanted_fps(FrameRate.five, None) is None
