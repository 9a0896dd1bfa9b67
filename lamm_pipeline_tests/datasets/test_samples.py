"""The join of frames, detections, 3D boxes and tracks."""

import json
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from lamm_pipeline.datasets.samples import pinned_folders, recording_frames, source_frames
from lamm_pipeline.datasets.settings import BoxSource
from lamm_pipeline.datasets.versions import ArtifactVersions
from lamm_pipeline.errors import InputError
from lamm_pipeline.geometry import rle
from lamm_pipeline.storage.artifacts import ArtifactKey, Identity
from lamm_pipeline.storage.local_store import LocalStore
from lamm_pipeline.tracking import tracks
from lamm_pipeline_tests.datasets.world import CAMERA, CAR, box_xyxy_of, folders_of, make_recording, make_version, mask_of


def test_a_sample_has_everything_known_about_its_frame(tmp_path):
    inputs = make_recording(tmp_path, "a", [0, 3, 6], lambda index: ("car", "sign") if index == 3 else ())
    manifest = make_version(tmp_path, [inputs])
    samples = [frame.sample for frame in source_frames(manifest, folders_of(tmp_path))]
    assert [sample.frame_id for sample in samples] == ["a:000000", "a:000003", "a:000006"]
    assert [len(sample.annotations) for sample in samples] == [0, 2, 0]
    sample = samples[1]
    assert (sample.recording, sample.frame_index, sample.camera) == ("a", 3, CAMERA)
    assert sample.path(sample.image) == tmp_path / "recordings/a/frames/f1/image_left/000003.png"
    assert sample.artifact == "recordings/a/frames/f1"
    for name in (sample.image, sample.image_right, sample.depth, sample.point_cloud, sample.calibration):
        path = sample.path(name)
        assert path is not None
        assert path.is_file()
    car, sign = sample.annotations
    assert (car.detection_id, car.class_id, car.score, car.track_id, car.track_length) == ("a:000003:0", "car", 0.9, 1, 1)
    assert car.box_xyxy == box_xyxy_of("car")
    assert car.box_3d is not None
    assert car.box_3d.box == CAR
    np.testing.assert_array_equal(rle.decode(car.mask_rle), mask_of(car.box_xyxy))
    assert (sign.box_3d, sign.track_id, sign.track_length) == (None, None, 0)


@pytest.mark.parametrize(("wanted", "x", "source"), [("track", CAR.x + 1.0, "track"), ("frame", CAR.x, "frame")])
def test_3d_boxes_are_those_refined_over_the_track_unless_the_frame_s_own_are_asked_for(tmp_path, wanted, x, source):
    inputs = make_recording(tmp_path, "a", range(2), lambda _: ("car",))
    path = tmp_path / inputs.reference("tracks") / tracks.TRACKS_FILE
    known = tracks.read(path)
    refined = replace(CAR, x=CAR.x + 1.0)
    moved = [replace(each, points=tuple(replace(point, refined_box=refined) for point in each.points)) for each in known.tracks]
    tracks.write(path, replace(known, tracks=tuple(moved)))
    for frame in recording_frames(inputs, folders_of(tmp_path), BoxSource(wanted)):
        assert [(each.box_3d.box.x, each.box_3d.source) for each in frame.sample.annotations] == [(x, source)]


def test_recordings_come_in_the_order_of_their_keys_however_they_were_named(tmp_path):
    inputs = [make_recording(tmp_path, key, range(2)) for key in ("b", "a", "c")]
    manifest = make_version(tmp_path, inputs)
    frames = source_frames(manifest, folders_of(tmp_path))
    assert [frame.sample.recording for frame in frames] == ["a", "a", "b", "b", "c", "c"]


def test_a_recording_without_calibration_has_no_depth_boxes_or_tracks(tmp_path):
    manifest = make_version(tmp_path, [make_recording(tmp_path, "a", rectified=False)])
    for sample in (frame.sample for frame in source_frames(manifest, folders_of(tmp_path))):
        assert (sample.camera, sample.depth, sample.calibration, sample.point_cloud) == (None, None, None, None)
        assert all(annotation.box_3d is None and annotation.track_id is None for annotation in sample.annotations)
        assert len(sample.annotations) == 2


def test_frames_nobody_labelled_and_frames_set_aside_are_told_from_empty_ones(tmp_path):
    inputs = make_recording(tmp_path, "a", range(4), lambda index: () if index == 1 else ("car",), unselected=[2], unlabelled=[3])
    manifest = make_version(tmp_path, [inputs])
    frames = list(source_frames(manifest, folders_of(tmp_path)))
    assert [(frame.selected, frame.labelled, len(frame.sample.annotations)) for frame in frames] == [
        (True, True, 1),
        (True, True, 0),
        (False, False, 0),
        (True, False, 0),
    ]
    assert frames[2].drop_reason == "similar to frame 1"


@pytest.mark.parametrize("asset", ["detections", "boxes_3d"])
def test_artifacts_of_other_frames_are_refused(tmp_path, asset):
    mine = make_recording(tmp_path, "a", [0, 2, 4])
    make_recording(tmp_path / "other", "a", [0, 1, 2, 3, 4])

    def folder(reference):
        root = tmp_path / "other" if reference.split("/")[2] == asset else tmp_path
        return root / reference

    with pytest.raises(InputError, match=rf"The {asset} of recording 'a' name the frame 'a:000001'"):
        list(recording_frames(mine, folder))


def test_boxes_made_from_other_detections_are_refused(tmp_path):
    inputs = make_recording(tmp_path, "a", range(2))
    path = tmp_path / "recordings/a/boxes_3d/b1/boxes_3d.json"
    path.write_text(path.read_text().replace("a:000001:1", "a:000001:7"))
    manifest = make_version(tmp_path, [inputs])
    with pytest.raises(InputError, match="name the detection 'a:000001:7', which does not exist"):
        list(source_frames(manifest, folders_of(tmp_path)))


def test_frames_of_another_recording_are_refused(tmp_path):
    inputs = make_recording(tmp_path, "a", range(2))
    path = tmp_path / "recordings/a/frames/f1/frame_registry.json"
    content = json.loads(path.read_text()) | {"recording": "b"}
    path.write_text(json.dumps(content))
    manifest = make_version(tmp_path, [inputs])
    with pytest.raises(InputError, match="holds the frames of 'b', not of 'a'"):
        next(source_frames(manifest, folders_of(tmp_path)))


def test_pinned_artifacts_are_found_in_a_store_and_missed_with_a_sentence(tmp_path):
    store = LocalStore(tmp_path)
    key = ArtifactKey("recordings", "a", "frames")
    identity = Identity("frames", "1", {}, {}, {})
    with store.draft(key, identity.version) as draft:
        (draft.directory / "x").write_text("x")
        published = store.publish(key, draft, identity, {}, {})
    inputs = make_recording(tmp_path / "elsewhere", "a")
    inputs = inputs.model_copy(update={"artifacts": ArtifactVersions(frames=identity.version, detections="gone")})
    folder = pinned_folders(store)
    assert folder(inputs.reference("frames")) == published.folder
    with pytest.raises(InputError, match=r"Version gone of 'detections' of 'a', which the dataset version was made of, is gone"):
        folder(inputs.reference("detections"))


@pytest.mark.requirement("NFR-11")
def test_masks_of_a_long_recording_are_not_held_in_memory(tmp_path):
    heavy = {"size": [48, 64], "counts": "0" * 20_000}
    inputs = make_recording(tmp_path, "a", range(600), lambda _: ("sign",), shared_files=True)
    path = tmp_path / "recordings/a/detections/d1/detections/detections.json"
    text = path.read_text()
    counts = rle.encode(mask_of(box_xyxy_of("sign")))["counts"]
    path.write_text(text.replace(json.dumps(counts), json.dumps(heavy["counts"])))
    assert path.stat().st_size > 12_000_000
    manifest = make_version(tmp_path, [inputs])
    tracemalloc.start()
    try:
        count = sum(len(frame.sample.annotations) for frame in source_frames(manifest, folders_of(tmp_path)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 600
    assert peak < 6_000_000
