"""Exports of every layout, sound and damaged, as tables of samples."""

import io
import json
import random
import zipfile

import cv2
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from lamm_pipeline import streaming
from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction.diversity import signature
from lamm_pipeline.geometry import packed_mask, rle
from lamm_pipeline.imports import importing
from lamm_pipeline.imports.images import images_in
from lamm_pipeline.imports.sam2_format import DEMO_EXPORTER, read_documents
from lamm_pipeline.imports.settings import ImportSettings, ZipLimits
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline_tests.imports.zips import (
    HEIGHT,
    ONTOLOGY,
    REFERENCE,
    WIDTH,
    a_frame,
    an_object,
    documents,
    mask_at,
    members,
    picture,
    rows,
    run_import,
    write_zip,
)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def kinds(summary):
    return [each["kind"] for each in summary["problems"]]


def imported(tmp_path, files, **options):
    return run_import(write_zip(tmp_path / "drive.zip", files), tmp_path / "out", **options)


@pytest.mark.requirement("LLM-01")
def test_an_export_becomes_samples_with_its_bytes_boxes_masks_classes_and_stamps(tmp_path, out):
    summary = imported(tmp_path, members())
    assert summary["recording"] == "Drive_7"
    assert summary["problems"] == []
    assert summary["counts"]["flags"] == {}
    assert summary["video"] == {"filename": "Drive 7.mp4", "width": WIDTH, "height": HEIGHT, "fps": 10.0, "total_frames": 100}
    samples = rows(out)
    assert [each.frame_id for each in samples] == ["Drive_7:000000", "Drive_7:000001", "Drive_7:000002"]
    for index, sample in enumerate(samples):
        assert (out / sample.image).read_bytes() == picture(index)
        assert sample.image_hash == signature(cv2.imdecode(np.frombuffer(picture(index), np.uint8), cv2.IMREAD_COLOR)).dhash64
        assert (sample.recording, sample.frame_index, sample.width, sample.height) == ("Drive_7", index, WIDTH, HEIGHT)
        assert (sample.artifact, sample.state, sample.timestamp_ns) == (REFERENCE, "kept", index * 100_000_000)
        car, person = sample.annotations
        assert (car.detection_id, car.class_id, car.box_xyxy) == (f"{sample.frame_id}:0", "car", (4 + index, 5, 12 + index, 11))
        assert (rle.decode(car.mask_rle) == mask_at(4 + index, 5)).all()
        assert (car.area, car.score, car.score_source, car.track_id, car.track_length) == (48, 0.51, "model", 1, 3)
        assert (person.class_id, person.source, person.reviewed, person.corrected) == ("person", "import", False, ())
    assert sorted(each.name for each in out.iterdir()) == ["images", "import.json", "samples.parquet"]


@pytest.mark.requirement("LLM-01")
@pytest.mark.parametrize("top", ["", "export/", "a/b/", "./"])
@pytest.mark.parametrize("folder", ["images", "frames", "data"])
@pytest.mark.parametrize("name", ["frame_{:06d}.png", "frame_{:04d}.jpg", "{:06d}.jpeg", "{:04d}.PNG"])
def test_every_layout_is_found(tmp_path, out, top, folder, name):
    annotations, metadata = documents([a_frame(index) for index in (3, 12)])
    files = {f"{top}annotations.json": json.dumps(annotations).encode(), f"{top}metadata.json": json.dumps(metadata).encode()}
    suffix = "." + name.rpartition(".")[2].lower()
    contents = {index: picture(index, suffix) for index in (3, 12)}
    files |= {f"{top}{folder}/{name.format(index)}": content for index, content in contents.items()}
    files |= {f"__MACOSX/{top}._annotations.json": b"fork", f"{top}.hidden/annotations.json": b"{}", f"{top}{folder}/readme.txt": b"text"}
    summary = imported(tmp_path, files)
    assert summary["counts"]["ignored_files"] == 1
    found = rows(out)
    assert [each.frame_index for each in found] == [3, 12]
    assert [(out / each.image).read_bytes() for each in found] == list(contents.values())
    assert {each.image.rpartition(".")[2] for each in found} == {"png" if suffix == ".png" else "jpg"}


@pytest.mark.requirement("LLM-01")
def test_sizes_come_from_the_images_and_are_never_invented(tmp_path, out):
    files = members(width=..., height=...)
    del files["metadata.json"]
    summary = imported(tmp_path, files)
    assert (summary["video"]["width"], summary["video"]["height"]) == (WIDTH, HEIGHT)
    assert summary["video"]["fps"] == 10.0
    assert summary["problems"] == []
    _, metadata = documents([a_frame(0)], fps=None)
    metadata["video"]["fps"] = None
    again = run_import(write_zip(tmp_path / "null.zip", files | {"metadata.json": json.dumps(metadata).encode()}), tmp_path / "null")
    assert again["video"]["fps"] == 10.0
    assert {(each.width, each.height) for each in rows(out)} == {(WIDTH, HEIGHT)}


def test_documents_and_images_that_contradict_each_other_are_reported_with_file_names(tmp_path, out):
    _, metadata = documents([a_frame(0)])
    metadata["video"] |= {"width": 1920, "height": 1080}
    files = members([a_frame(0)]) | {"metadata.json": json.dumps(metadata).encode()}
    summary = imported(tmp_path, files)
    assert kinds(summary) == ["contradiction"] * 3
    assert "width = 1920, annotations.json 40" in summary["problems"][0]["sentence"]
    assert summary["problems"][2]["file"] == "images/frame_000000.png"
    [sample] = rows(out)
    assert (sample.width, sample.height) == (WIDTH, HEIGHT)
    assert sample.annotations[0].mask_rle is not None


def demo_object(number, grid):
    """An object as the SAM2 Demo Export Tool writes it: runs by rows of the decoder's grid, decoded by columns to measure the box."""
    flat = grid.flatten()
    changes = np.flatnonzero(np.diff(np.concatenate([[False], flat, [not flat[-1]]])))
    runs = np.diff(np.concatenate([[0], changes]))
    transposed = flat.reshape(grid.shape, order="F")
    box = [0, 0, 0, 0]
    if flat.any():
        [y, x], [bottom, right] = np.argwhere(transposed).min(0).tolist(), np.argwhere(transposed).max(0).tolist()
        box = [x, y, right - x + 1, bottom - y + 1]
    return an_object(number, f"object_{number}", mask_rle=" ".join(map(str, runs)), bbox=box, area=int(grid.sum()), confidence=0.95)


def demo_export(frames, exporter=DEMO_EXPORTER):
    annotations, metadata = documents(frames)
    metadata["export_info"]["exporter"] = exporter
    return members(frames) | {"annotations.json": json.dumps(annotations).encode(), "metadata.json": json.dumps(metadata).encode()}


@pytest.fixture
def grid():
    grid = np.zeros((256, 256), bool)
    grid[64:128, 128:240] = True
    return grid


@pytest.mark.requirement("LLM-01")
def test_the_demo_tools_masks_are_read_by_rows_and_its_overlays_and_scores_are_flagged(tmp_path, out, grid):
    summary = imported(tmp_path, demo_export([a_frame(index, [demo_object(n, grid) for n in range(3)]) for index in range(3)]))
    assert set(summary["counts"]["flags"]) == {"burned_in_overlays", "constant_scores"}
    assert "All 9 scores are 0.95" in summary["counts"]["flags"]["constant_scores"]
    each = rows(out)[0].annotations[0]
    assert each.score_source == "constant"
    expected = cv2.resize(grid.astype(np.uint8), (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST_EXACT).astype(bool)
    assert (rle.decode(each.mask_rle) == expected).all()


@pytest.mark.requirement("LLM-01")
def test_the_demo_tools_boxes_and_areas_are_those_of_its_masks_in_pixels_of_the_image(tmp_path, out, grid):
    """The tool measures them on the decoder's grid, and the boxes on a transposed one."""
    told = demo_object(0, grid)
    summary = imported(tmp_path, demo_export([a_frame(0, [told])]))
    assert summary["problems"] == []
    [each] = rows(out)[0].annotations
    inside = np.argwhere(rle.decode(each.mask_rle))
    (top, left), (bottom, right) = inside.min(0), inside.max(0) + 1
    assert each.box_xyxy == (left, top, right, bottom)
    assert each.area == len(inside)
    x, y, width, height = told["bbox"]
    assert (x, y, x + width, y + height) != each.box_xyxy
    assert told["area"] != each.area


@pytest.mark.requirement("LLM-01")
def test_objects_that_nobody_has_named_are_of_the_class_unknown(tmp_path, out, grid):
    files = demo_export([a_frame(0, [demo_object(0, grid), demo_object(1, grid)])])
    summary = imported(tmp_path, files)
    assert [each.class_id for each in rows(out)[0].annotations] == ["unknown", "unknown"]
    assert summary["labels"] == {"object_0": "unknown", "object_1": "unknown"}
    named = run_import(tmp_path / "drive.zip", tmp_path / "named", class_map={"object_1": "car"})
    assert named["labels"] == {"object_0": "unknown", "object_1": "car"}
    ours = members([a_frame(0, [an_object(3, "object_3", lamm={"track_id": 3})])])
    assert run_import(write_zip(tmp_path / "ours.zip", ours), tmp_path / "ours")["labels"] == {"object_3": "object_3"}


def test_what_holds_nothing_is_left_out_and_counted_without_a_warning(tmp_path, out, grid):
    """The tool lists objects that are out of sight, and gives no images of frames without objects."""
    unseen = demo_object(1, np.zeros_like(grid))
    assert unseen["mask_rle"] == "65536"
    frames = [a_frame(0, [demo_object(0, grid), unseen]), a_frame(1, [])]
    files = demo_export(frames)
    del files["images/frame_000001.png"]
    summary = imported(tmp_path, files)
    assert summary["counts"]["left_out"] == {"empty_frame": 1, "unseen_object": 1}
    assert summary["counts"]["problems"] == {}
    assert importing.first_problems(summary) == []
    assert "Frame 1 has neither an image nor objects" in summary["problems"][1]["sentence"]
    assert [(each.frame_index, len(each.annotations)) for each in rows(out)] == [(0, 1)]


@pytest.mark.requirement("LLM-01")
def test_the_demo_tool_is_known_by_its_masks_where_nothing_says_who_wrote_the_export(tmp_path, out, grid):
    files = demo_export([a_frame(0, [demo_object(0, grid)])])
    imported(tmp_path, files)
    expected = rows(out)[0].annotations[0].mask_rle
    for name, content in {"missing": None, "silent": b"{}"}.items():
        changed = {key: value for key, value in (files | {"metadata.json": content}).items() if value is not None}
        summary = run_import(write_zip(tmp_path / f"{name}.zip", changed), tmp_path / name)
        assert "Nothing says which tool wrote this" in summary["counts"]["flags"]["burned_in_overlays"]
        assert rows(tmp_path / name)[0].annotations[0].mask_rle == expected
    run_import(write_zip(tmp_path / "other.zip", demo_export([a_frame(0, [demo_object(0, grid)])], "another tool")), tmp_path / "other")
    assert rows(tmp_path / "other")[0].annotations[0].mask_rle != expected
    plain = {name: content for name, content in members().items() if name != "metadata.json"}
    assert run_import(write_zip(tmp_path / "plain.zip", plain), tmp_path / "plain")["counts"]["flags"] == {}


@pytest.mark.requirement("LLM-01")
def test_the_rate_that_the_demo_tool_gives_to_every_video_is_flagged(tmp_path, grid):
    for fps, expected in ((30.0, True), (25.0, False)):
        files = demo_export([a_frame(0, [demo_object(0, grid)])])
        changed = {name: content.replace(b'fps": 10.0', b'fps": %.1f' % fps) for name, content in files.items()}
        flags = imported(tmp_path, changed)["counts"]["flags"]
        assert ("assumed_rate" in flags) == expected
    plain = {name: content.replace(b'fps": 10.0', b'fps": 30.0') for name, content in members().items()}
    summary = imported(tmp_path, plain)
    assert (summary["video"]["fps"], summary["counts"]["flags"]) == (30.0, {})


def test_a_handful_of_equal_scores_is_no_constant(tmp_path, out):
    imported(tmp_path, members([a_frame(0, [an_object(n, confidence=0.9) for n in range(5)])]))
    assert {each.score_source for each in rows(out)[0].annotations} == {"model"}


@pytest.mark.requirement("LLM-01")
def test_clean_images_from_a_folder_take_the_place_of_those_in_the_zip(tmp_path, out):
    folder = tmp_path / "clean"
    folder.mkdir()
    for index in (0, 1):
        (folder / f"{index:06d}.jpg").write_bytes(picture(100 + index, ".jpg"))
    _, metadata = documents([a_frame(index) for index in range(3)])
    metadata["export_info"]["exporter"] = DEMO_EXPORTER
    files = members() | {"metadata.json": json.dumps(metadata).encode()}
    summary = imported(tmp_path, files, images=images_in(folder))
    assert "burned_in_overlays" not in summary["counts"]["flags"]
    assert [(each["kind"], each["frame"]) for each in summary["problems"]] == [("image_missing", 2)]
    assert [(out / each.image).read_bytes() for each in rows(out)] == [picture(100, ".jpg"), picture(101, ".jpg")]


def test_damaged_images_in_the_zip_do_not_matter_where_clean_ones_take_their_place(tmp_path):
    folder = tmp_path / "clean"
    folder.mkdir()
    for index in range(3):
        (folder / f"{index:06d}.png").write_bytes(picture(100 + index))
    files = members(width=..., height=...) | {"images/frame_000000.png": b"no image"}
    assert imported(tmp_path, files, images=images_in(folder))["counts"]["frames"] == 3
    (folder / "000001.png").write_bytes(picture(101, width=80, height=60))
    with pytest.raises(InputError, match=r"000001.png has 80 x 60 pixels, but drive.zip was annotated at 40 x 30"):
        imported(tmp_path, files, images=images_in(folder))


def test_labels_mean_classes_by_spelling_map_or_slug(tmp_path, out):
    labels = ["CAR", " Person ", "Traffic-Light (red)", "automobile", "7up", None, "日本", "Straße", "汽车", "Auto 汽车"]
    objects = [an_object(n, label=label, x=n) for n, label in enumerate(labels)]
    summary = imported(tmp_path, members([a_frame(0, objects)]), class_map={"AUTOMOBILE": "Car"})
    found = [each.class_id for each in rows(out)[0].annotations]
    others = ["class_cf2abf0c", "strasse", "class_1a19b546", "auto_c49e9f97"]  # labels of other scripts are not one class
    assert found == ["car", "person", "traffic_light_red", "car", "class_7up", "unknown", *others]
    assert summary["counts"]["extra_classes"] == sorted(["class_7up", "traffic_light_red", "unknown", *others])
    assert summary["labels"]["object_5"] == "unknown"
    with pytest.raises(InputError, match="class_map names the class 'No Such'"):
        imported(tmp_path, members(), class_map={"x": "No Such"})


def test_the_recording_is_the_setting_else_the_video_else_the_zip(tmp_path):
    assert imported(tmp_path, members(), video="Night 3.MP4")["recording"] == "Night_3"
    assert imported(tmp_path, members(filename="C:\\videos\\süd.v2.mov"))["recording"] == "sud.v2"
    assert imported(tmp_path, members(filename=...))["recording"] == "drive"
    assert imported(tmp_path, members(filename="日本.mp4"))["recording"] == "drive"
    with pytest.raises(InputError, match="ASCII letters or digits"):
        imported(tmp_path, members(), video="日本.mp4")


def test_the_key_of_a_recording_is_taken_whole(tmp_path):
    """Only of a video's name is the suffix no part of the key."""
    files = members([a_frame(0)])
    own = json.dumps({**json.loads(files["annotations.json"]), "lamm": {"recording": "drive.rain"}}).encode()
    assert imported(tmp_path, files | {"annotations.json": own})["recording"] == "drive.rain"
    images = tmp_path / "clean"
    images.mkdir()
    (images / "0000.png").write_bytes(picture(0))
    source = importing.ImportSource(tmp_path / "drive.zip", "d" * 64, "drive", REFERENCE, images_in(images), "drive.left")
    draft = Draft.open(tmp_path / "rebound")
    counts = importing.import_export(source, ImportSettings(), ZipLimits(), ONTOLOGY, draft)
    draft.close()
    assert counts["recording"] == "drive.left"
    assert rows(tmp_path / "rebound")[0].frame_id == "drive.left:000000"


def test_boxes_are_taken_as_given_or_from_the_mask(tmp_path, out):
    objects = [
        an_object(1, bbox=[-3.5, 2, 100, 0]),
        an_object(2, bbox=None),
        an_object(3, bbox=[1, 2, float("nan"), 4]),
        an_object(4, bbox=None, mask_rle=None),
        an_object(5, bbox="x", mask_rle={"size": [HEIGHT, WIDTH], "counts": "0f"}),
    ]
    summary = imported(tmp_path, members([a_frame(0, objects)]))
    assert [each.box_xyxy for each in rows(out)[0].annotations] == [(-3.5, 2, 96.5, 2), (4, 5, 12, 11), (4, 5, 12, 11)]
    assert kinds(summary) == ["box", "object", "box", "mask", "object"]


def test_malformed_documents_are_problems_that_are_counted_and_nothing_else_is_lost(tmp_path, out):
    frames = [
        a_frame(0),
        "no frame",
        {"frame_index": -1, "objects": []},
        {"frame_index": "2", "objects": []},
        {"frame_index": float("nan")},
        a_frame(0, []),
        {"frame_index": 1.0, "objects": {"a": 1}},
        a_frame(
            2,
            [
                "x",
                None,
                an_object(object_id=10**30),
                an_object(object_id="7"),
                an_object(object_id=[], confidence=2.0),
                an_object(5, label=["a"], area="big"),
            ],
        ),
    ]
    summary = imported(tmp_path, members(frames, images=[0, 1, 2, 3], fps=-1, total_frames="many"))
    counts = summary["counts"]
    assert counts["problems"] == {"document": 3, "frame": 5, "duplicate_frame": 1, "object": 6, "score": 1}
    samples = rows(out)
    assert [(each.frame_index, each.state, len(each.annotations)) for each in samples] == [
        (0, "kept", 2),
        (1, "unlabelled", 0),
        (2, "kept", 4),
        (3, "unlabelled", 0),
    ]
    assert [each.track_id for each in samples[2].annotations] == [None, 7, None, 5]
    assert counts["states"] == {"kept": 2, "unlabelled": 2}


@pytest.mark.requirement("LLM-01")
def test_missing_and_damaged_images_are_listed_with_their_names(tmp_path, out):
    files = members([a_frame(index) for index in range(6)], images=range(5))
    files["images/frame_000001.png"] = picture(1)[:-20]
    files["images/frame_000002.png"] = b"no image"
    files["images/frame_000003.png"] = picture(3, ".jpg")[:-300]
    summary = imported(tmp_path, files)
    found = {each["frame"]: (each["kind"], each["file"]) for each in summary["problems"]}
    assert found == {
        **{index: ("image_damaged", f"images/frame_{index:06d}.png") for index in (1, 2, 3)},
        5: ("image_missing", None),
    }
    assert [each.frame_index for each in rows(out)] == [0, 4]
    assert sorted(each.name for each in (out / "images").iterdir()) == ["000000.png", "000004.png"]


def test_of_a_jpeg_with_more_images_behind_it_the_first_is_taken(tmp_path, out):
    """Cameras with two lenses write such files (MPO)."""
    left, right = (Image.fromarray(np.full((HEIGHT, WIDTH, 3), shade, np.uint8)) for shade in (40, 200))
    both = io.BytesIO()
    left.save(both, "MPO", save_all=True, append_images=[right])
    summary = imported(tmp_path, members([a_frame(0)], images=()) | {"images/frame_000000.jpg": both.getvalue()})
    assert summary["problems"] == []
    [sample] = rows(out)
    assert (sample.image, (out / sample.image).read_bytes()) == ("images/000000.jpg", both.getvalue())


def test_an_image_whose_checksum_is_wrong_is_listed(tmp_path, out):
    path = write_zip(tmp_path / "drive.zip", members())
    data = bytearray(path.read_bytes())
    data[data.index(picture(1)) + 200] ^= 1
    path.write_bytes(data)
    summary = run_import(path, out)
    assert [(each["kind"], each["frame"]) for each in summary["problems"]] == [("image_damaged", 1)]


def test_an_image_of_too_many_pixels_is_not_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", None)
    monkeypatch.setattr(cv2, "imdecode", None)
    with pytest.raises(InputError, match=r"No frame of drive.zip can be used: .*max_megapixels"):
        imported(tmp_path, members(), limits=ZipLimits(max_megapixels=0.001))


def test_an_image_whose_camera_facts_are_damaged_is_an_image(tmp_path, out):
    facts = Image.Exif()
    facts[0x0112], facts[0x010E] = 6, "text" * 10
    turned = io.BytesIO()
    Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(turned, "JPEG", exif=facts)
    damaged = turned.getvalue().replace(b"MM\0*\0\0\0\x08", b"MM\0*\xff\xff\xff\xff")
    assert damaged != turned.getvalue()
    files = members([a_frame(0, []), a_frame(1, [])], images=())
    files |= {"images/frame_000000.jpg": turned.getvalue(), "images/frame_000001.jpg": damaged}
    assert imported(tmp_path, files)["counts"]["problems"] == {"contradiction": 1}
    assert [(each.width, each.height) for each in rows(out)] == [(HEIGHT, WIDTH), (WIDTH, HEIGHT)]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"annotations.json": b"{"}, "is not valid JSON with a list"),
        ({"annotations.json": b"[]"}, "is not valid JSON with a list"),
        ({"annotations.json": b'{"annotations": 7}'}, "is not valid JSON with a list"),
        ({"annotations.json": b'{"annotations": ' + b"[" * 100_000}, "nested too deeply"),
        ({"annotations.json": members()["annotations.json"] * 2}, r"\(something follows its end at byte [0-9]+\)"),
        ({"annotations.json": b'{"annotations": [{"id": 1, "image_id": 1}]}'}, "No entry of the list .* has a usable frame_index"),
        ({"annotations.json": b'{"annotations": [' + b"9" * 5000 + b"]}"}, "is not valid JSON"),
        ({"metadata.json": b"\xff\xfe"}, "metadata.json in drive.zip is not valid JSON"),
        ({"metadata.json": b"[1]"}, "is no JSON object"),
        ({"annotations.json": None}, "holds no annotations.json"),
        ({"other/x.png": b"1", "a/annotations.json": b"{}", "b/annotations.json": b"{}", "annotations.json": None}, "several exports"),
        ({"images/0001.jpg": b"1"}, "two images of frame 1"),
        ({"annotations.json": b'{"annotations": []}', **{f"images/frame_{n:06d}.png": None for n in range(3)}}, "lists none and holds no"),
    ],
)
def test_exports_that_cannot_be_used_are_refused_with_a_sentence(tmp_path, out, change, sentence):
    files = {name: content for name, content in (members() | change).items() if content is not None}
    with pytest.raises(InputError, match=sentence):
        imported(tmp_path, files)
    assert [each for each in out.rglob("*") if each.is_file() and ".draft" not in each.parts] == []


def test_images_under_names_that_are_not_read_are_named(tmp_path):
    files = {name.replace("frame_00000", "frame_"): content for name, content in members().items()}
    with pytest.raises(InputError, match=r"holds 3 files that are not read, such as 'images/frame_0.png'; images are named"):
        imported(tmp_path, files)


@pytest.mark.parametrize(
    ("limits", "sentence"),
    [
        ({"max_entry_mb": 0.0003}, r"refused: the value at byte [0-9]+ takes more than 300 bytes \(max_entry_mb\). .*lamm import --limit"),
        ({"max_entry_mb": 0.0001}, r"metadata.json takes more than 0.0001 MB \(max_entry_mb\)"),
        ({"max_members": 5}, "lists more than the 5 frames that are allowed"),
        ({"max_annotations_mb": 0.001}, r"annotations.json takes more than 0.001 MB \(max_annotations_mb\). .*lamm import --limit"),
    ],
)
def test_documents_that_would_not_fit_into_memory_are_refused(tmp_path, limits, sentence):
    frames = [a_frame(index) for index in range(9)]
    with pytest.raises(InputError, match=sentence):
        imported(tmp_path, members(frames, images=[0]), limits=ZipLimits(**limits))


def test_objects_without_number_are_left_out(tmp_path, out):
    summary = imported(tmp_path, members([a_frame(0), {"frame_index": 1, "objects": [{}] * 10_001}]))
    assert [each["sentence"] for each in summary["problems"]] == ["Frame 1 lists 10,001 objects, more than 10,000; they are left out."]
    assert [len(each.annotations) for each in rows(out)] == [2, 0]


def test_two_objects_of_a_frame_with_one_id_are_reported(tmp_path, out):
    summary = imported(tmp_path, members([a_frame(0, [an_object(4), an_object(4, x=20), an_object(5)])]))
    assert [each["sentence"] for each in summary["problems"]] == [
        "2 objects of frame 0 have the object_id 4, which should be one object's; all keep it."
    ]
    assert [each.track_id for each in rows(out)[0].annotations] == [4, 4, 5]


@pytest.mark.parametrize("value", [[], {}, 7, "else", None])
def test_words_of_this_package_that_somebody_has_changed_count_as_unsaid(tmp_path, out, value):
    box = dict.fromkeys(["x", "y", "z", "length", "width", "height", "rotation_y", "alpha", "truncated"], 1) | {"occluded": 0}
    own = {"source": value, "score_source": value, "corrected": value, "box_3d": box | {"source": value}}
    imported(tmp_path, members([{**a_frame(0, [an_object(lamm=own)]), "lamm": {"state": value, "camera": value}}]))
    [each] = rows(out)[0].annotations
    assert (each.source, each.score_source, each.corrected, each.box_3d) == ("import", "model", (), None)


def test_numbers_that_no_table_can_hold_are_left_out(tmp_path, out):
    own = {"track_length": 10**40, "box_3d": {"x": 10**400}}
    objects = [an_object(1, bbox=[1e308, 0, 1e308, 2]), an_object(2, area=1e300, lamm=own), an_object(object_id=1e300)]
    camera = {"width": 10**12, "height": 30, "fx": 1, "fy": 1, "cx": 1, "cy": 1, "baseline_m": 1}
    frame = {**a_frame(0, objects), "timestamp_sec": 1e300, "lamm": {"camera": camera, "timestamp_ns": 10**30}}
    summary = imported(tmp_path, members([frame], images=[0]))
    assert summary["counts"]["problems"] == {"object": 2, "box": 1}
    [sample] = rows(out)
    assert (sample.camera, sample.timestamp_ns) == (None, None)
    assert [each.box_xyxy for each in sample.annotations] == [(4, 5, 12, 11)] * 3
    assert [(each.area, each.track_id, each.track_length) for each in sample.annotations] == [(48, 1, 1), (48, 2, 1), (48, None, 0)]


def test_texts_that_no_file_can_hold_are_replaced(tmp_path):
    frames = json.dumps([a_frame(0, [an_object(1, label="car\ud800")])])
    summary = imported(tmp_path, members([a_frame(0)]) | {"annotations.json": f'{{"annotations": {frames}}}'.encode()})
    assert summary["labels"] == {"car?": "car"}


@pytest.mark.requirement("LLM-01")
@pytest.mark.parametrize("worth_a_process", [1, 1000])
def test_an_interrupted_and_resumed_import_has_the_same_bytes(tmp_path, monkeypatch, worth_a_process):
    monkeypatch.setattr(streaming, "WORTH_A_PROCESS", worth_a_process)
    monkeypatch.setattr(importing, "FRAMES_PER_CHECKPOINT", 4)
    frames = [a_frame(index) for index in range(15)]
    path = write_zip(tmp_path / "drive.zip", members(frames))
    run_import(path, tmp_path / "whole", workers=2)

    def stop(done, _total):
        if done == 10:
            raise KeyboardInterrupt

    source = importing.ImportSource(path, "d" * 64, "drive", REFERENCE)
    draft = Draft.open(tmp_path / "resumed")
    with pytest.raises(KeyboardInterrupt):
        importing.import_export(source, ImportSettings(), ZipLimits(), ONTOLOGY, draft, workers=2, progress=stop)
    draft.close()
    assert Draft.open(tmp_path / "resumed").state == {"done": 8}
    run_import(path, tmp_path / "resumed", workers=1)
    whole, resumed = (
        {each.relative_to(tmp_path / name).as_posix(): each.read_bytes() for each in (tmp_path / name).rglob("*") if each.is_file()}
        for name in ("whole", "resumed")
    )
    assert whole == resumed


@pytest.mark.requirement("AV-25", "LLM-01")
def test_damage_anywhere_ends_in_a_sentence_or_a_report_and_leaves_nothing_outside(tmp_path):
    rng = random.Random(7)
    path = tmp_path / "drive.zip"
    write_zip(path, members([a_frame(index) for index in range(2)]), zipfile.ZIP_DEFLATED)
    sound = path.read_bytes()
    outcomes = {"refused": 0, "imported": 0}
    for number in range(400):
        data = bytearray(sound[: rng.randrange(len(sound))]) if number % 4 == 0 else bytearray(sound)
        for _ in range(rng.choice([1, 1, 2, 8]) if data and number % 4 else 0):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(data)
        out = tmp_path / "out" / str(number)
        try:
            run_import(path, out)
        except InputError:
            outcomes["refused"] += 1
        else:
            outcomes["imported"] += 1
        left = {each.name for each in out.iterdir()} - {".draft"}
        assert left in ({"images", "import.json", "samples.parquet"}, {"images"}, set())
    assert sorted(each.name for each in tmp_path.iterdir()) == ["drive.zip", "out"]
    assert min(outcomes.values()) > 20


@pytest.mark.requirement("LLM-01")
def test_damage_inside_the_documents_ends_in_a_sentence_or_a_report(tmp_path):
    rng = random.Random(11)
    files = members([a_frame(index) for index in range(2)])
    reports = 0
    for number in range(300):
        name = rng.choice(["annotations.json", "annotations.json", "metadata.json"])
        data = bytearray(files[name])
        for _ in range(rng.choice([1, 2, 6])):
            data[rng.randrange(len(data))] = rng.choice(b'{}[]",:-0123456789.eEtfnu\\\xff ')
        try:
            path = write_zip(tmp_path / "drive.zip", files | {name: bytes(data)})
            reports += bool(run_import(path, tmp_path / f"out{number}")["problems"])
        except InputError:
            continue
    assert reports > 10


JUNK = [None, True, -1, 0.5, 1e308, 10**30, "", "x", "7", [], [[]], [1, 2, 3, 4], {}, {"a": {}}]


def places(value, path=()):
    """The path to every value inside of a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, each in items:
        yield (*path, name)
        yield from places(each, (*path, name))


def put(value, path, junk):
    changed = json.loads(json.dumps(value))
    inner = changed
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = junk
    return changed


@pytest.mark.requirement("LLM-01")
def test_any_value_of_a_frame_may_be_any_other(tmp_path, out):
    """Whatever stands in the place of a value, this package's own ones included, the frame is a sample or a report says why not."""
    box = dict.fromkeys(["x", "y", "z", "length", "width", "height", "rotation_y", "alpha", "truncated"], 1.0)
    own = {"detection_id": "Drive_7:000000:0", "box_xyxy": [4, 5, 12, 11], "mask_problem": None, "score_source": "model", "track_id": 1}
    own |= {"track_length": 2, "source": "human", "reviewed": True, "corrected": ["box"]}
    own |= {"box_3d": box | {"occluded": 0, "source": "frame"}}
    packed = packed_mask.to_json(packed_mask.pack(mask_at(1, 1), 0.5))
    runs = {"size": [HEIGHT, WIDTH], "counts": [600, 600]}
    objects = [an_object(lamm=own), an_object(2, mask_rle="1200"), an_object(3, mask_rle=packed), an_object(4, mask_rle=runs)]
    camera = {"width": WIDTH, "height": HEIGHT, "fx": 1, "fy": 1, "cx": 1, "cy": 1, "baseline_m": 1}
    facts = {"frame_id": "Drive_7:000000", "state": "kept", "timestamp_ns": 5, "camera": camera}
    frame = {"timestamp_sec": 0.1, "objects": objects, "lamm": facts}
    frames = [put(frame, path, junk) for path in places(frame) for junk in JUNK]
    annotations, _ = documents([{**each, "frame_index": index} for index, each in enumerate(frames)])
    files = {f"images/{index:06d}.png": picture(0) for index in range(len(frames))}
    summary = imported(tmp_path, {"annotations.json": json.dumps(annotations).encode(), **files})
    assert [each.frame_index for each in rows(out)] == list(range(len(frames)))
    assert set(summary["counts"]["problems"]) == {"frame", "object", "box", "score", "mask"}


@pytest.mark.parametrize("name", ["annotations.json", "metadata.json"])
def test_any_value_beside_the_frames_may_be_any_other(tmp_path, name):
    annotations, metadata = documents([a_frame(0)])
    whole = {"annotations.json": annotations | {"lamm": {"recording": "Drive_7"}}, "metadata.json": metadata}
    for path in places(whole[name]):
        for junk in JUNK if "annotations" not in path else ():
            changed = whole | {name: put(whole[name], path, junk)}
            (tmp_path / "annotations.json").write_text(json.dumps(changed["annotations.json"]))
            found = read_documents(tmp_path / "annotations.json", json.dumps(changed["metadata.json"]).encode(), "drive.zip", ZipLimits())
            assert list(found.frames) == [0]
