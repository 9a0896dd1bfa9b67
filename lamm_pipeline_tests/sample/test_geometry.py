"""The rendered pictures, the depth, the masks and the labels are of one and the same scene."""

from dataclasses import dataclass

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from lamm_pipeline.extraction.rectify import Rectifier
from lamm_pipeline.geometry.box_3d import Box3D
from lamm_pipeline.geometry.boxes_3d import image_outline, iou_bev_matrix
from lamm_pipeline.sample.motion import CameraPose, SceneClock, camera_pose
from lamm_pipeline.sample.picture import expose, ground_light, picture
from lamm_pipeline.sample.ray_cast import view
from lamm_pipeline.sample.rig import EyeRays, Rig
from lamm_pipeline.sample.scene import ACTORS, boxes_in_camera, footprints_at, surfaces_at
from lamm_pipeline.sample.textures import Atlas, build_atlas
from lamm_pipeline.sample.truth import FrameTruth, frame_truth, truncation_level

SCENE_S = 0.6
HIDDEN_S = 1.65
CLOCK = SceneClock.for_static_frames(range(0), 15.0)

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Scene:
    """A noise-free frame: raw pair, rectified pair, and its truth."""

    raw: tuple[Picture, Picture]
    rectified: tuple[Picture, Picture]
    truth: FrameTruth
    boxes: dict[int, Box3D]
    pose: CameraPose


@pytest.fixture(scope="module")
def atlas() -> Atlas:
    return build_atlas(7, 1024)


def rendered(rays: EyeRays, atlas: Atlas) -> Picture:
    pose = camera_pose(CLOCK, SCENE_S)
    image = picture(rays, surfaces_at(SCENE_S), pose, atlas, ground_light(footprints_at(SCENE_S)))
    return expose(image, 0.0, right=False, noise=0.0, rng=np.random.default_rng(0))


@pytest.fixture(scope="module")
def scene(rig: Rig, atlas: Atlas) -> Scene:
    pose = camera_pose(CLOCK, SCENE_S)
    raw = (rendered(rig.left, atlas), rendered(rig.right, atlas))
    left, right = Rectifier(rig.calibration).rectify(*raw)
    boxes = boxes_in_camera(pose, SCENE_S)
    return Scene(raw, (left, right), frame_truth(rig, surfaces_at(SCENE_S), boxes, pose), boxes, pose)


def matches(left: Picture, right: Picture, disparity: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Corners of the left image and where optical flow finds them in the right one, started `disparity` to the left."""
    grey_left, grey_right = (cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) for image in (left, right))
    corners = np.asarray(cv2.goodFeaturesToTrack(grey_left, 800, 0.01, 6), dtype=np.float32).reshape(-1, 1, 2)
    columns, rows = np.rint(corners[:, 0]).astype(int).T
    guess = corners.copy()
    guess[:, 0, 0] -= np.nan_to_num(disparity[rows, columns])
    found, status, _ = cv2.calcOpticalFlowPyrLK(
        grey_left, grey_right, corners, guess, winSize=(15, 15), maxLevel=1, flags=cv2.OPTFLOW_USE_INITIAL_FLOW
    )
    kept = status.ravel() == 1
    return corners[kept, 0], np.asarray(found, dtype=np.float32)[kept, 0]


def test_the_rectified_camera_is_the_one_that_the_pipeline_computes(rig: Rig) -> None:
    assert rig.camera == Rectifier(rig.calibration).camera


@pytest.mark.requirement("EXT-05")
def test_rectified_pictures_have_matches_on_one_row_and_the_true_disparity(scene: Scene, rig: Rig) -> None:
    disparity = (rig.camera.fx * rig.camera.baseline_m / scene.truth.depth).astype(np.float32)
    left, right = matches(*scene.rectified, disparity)
    columns, rows = np.rint(left).astype(int).T
    offset = np.abs(left[:, 1] - right[:, 1])
    error = np.abs((left[:, 0] - right[:, 0]) - disparity[rows, columns])
    assert len(left) > 300
    assert np.median(offset) < 0.1
    assert np.percentile(offset, 90) < 0.3
    assert np.nanmedian(error) < 0.1
    assert np.nanpercentile(error, 80) < 0.5


def test_on_each_person_the_disparity_is_focal_length_times_baseline_over_the_labels_depth(scene: Scene, rig: Rig) -> None:
    disparity = (rig.camera.fx * rig.camera.baseline_m / scene.truth.depth).astype(np.float32)
    left, right = matches(*scene.rectified, disparity)
    columns, rows = np.rint(left).astype(int).T
    for label in scene.truth.objects:
        inside = scene.truth.instances[rows, columns] == (label.track_id or 0) + 1
        measured = float(np.median((left - right)[inside, 0]))
        # the half depth of a cuboid is all that its centre's depth can be off
        nearest, farthest = (rig.camera.fx * rig.camera.baseline_m / (label.box.z + half) for half in (-0.36, 0.36))
        assert inside.sum() >= 5
        assert farthest - 0.5 < measured < nearest + 0.5


def test_without_rectification_matches_are_not_on_one_row(scene: Scene) -> None:
    left, right = matches(*scene.raw, np.zeros(scene.truth.depth.shape, dtype=np.float32) + 12.0)
    assert np.median(np.abs(left[:, 1] - right[:, 1])) > 1.0


def test_rectifying_the_raw_picture_gives_what_the_rectified_camera_would_see(scene: Scene, rig: Rig, atlas: Atlas) -> None:
    direct = rendered(rig.rectified_left, atlas).astype(np.float32)
    # sampled again by rectification, the texture of the ground loses its finest grain; compare what both can show
    difference = cv2.GaussianBlur(scene.rectified[0].astype(np.float32) - direct, (0, 0), 1.5)
    assert np.abs(difference).mean() < 0.5
    assert np.percentile(np.abs(difference), 99) < 6.0


def test_points_of_the_depth_map_lie_on_the_objects_boxes(scene: Scene, rig: Rig) -> None:
    camera, depth = rig.camera, scene.truth.depth
    for track_id, box in scene.boxes.items():
        rows, columns = np.nonzero(scene.truth.instances == track_id + 1)
        if len(rows) == 0:
            continue
        z = depth[rows, columns].astype(np.float64)
        x, y = (columns - camera.cx) / camera.fx * z, (rows - camera.cy) / camera.fy * z
        c, s = np.cos(box.rotation_y), np.sin(box.rotation_y)
        along, across = c * (x - box.x) - s * (z - box.z), s * (x - box.x) + c * (z - box.z)
        outside = np.stack(
            [np.abs(along) - box.length / 2, np.abs(across) - box.width / 2, np.abs(y - box.y + box.height / 2) - box.height / 2]
        )
        assert np.abs(outside.max(axis=0)).max() < 0.001


def test_the_projected_box_is_the_outline_of_the_mask(scene: Scene, rig: Rig) -> None:
    labels = {label.track_id: label for label in scene.truth.objects}
    assert {0, 1, 2} <= labels.keys()
    for track_id, label in labels.items():
        if label.occluded > 0 or label.truncated > 0:
            continue
        mask = scene.truth.instances == (track_id or 0) + 1
        outline = np.zeros(mask.shape, dtype=np.uint8)
        cv2.fillConvexPoly(outline, np.rint(image_outline(label.box, rig.camera.projection_left) * 16).astype(np.int32), 1, shift=4)
        assert (mask & (outline > 0)).sum() / (mask | (outline > 0)).sum() > 0.93
        rows, columns = np.nonzero(mask)
        tight = (columns.min(), rows.min(), columns.max(), rows.max())
        assert np.abs(np.array(tight) - np.array(label.box_xyxy)).max() <= 1.0


def test_the_ground_is_as_deep_as_the_cameras_height_says(scene: Scene, rig: Rig) -> None:
    row, column = rig.camera.height - 5, rig.camera.width - 40
    expected = -scene.pose.position[1] * rig.camera.fy / (row - rig.camera.cy)
    assert scene.truth.depth[row, column] == pytest.approx(expected, rel=1e-5)
    assert np.isnan(scene.truth.depth[2, rig.camera.width // 2])


def test_an_object_behind_another_is_labelled_as_occluded_or_not_at_all(rig: Rig) -> None:
    pose = camera_pose(CLOCK, HIDDEN_S)
    truth = frame_truth(rig, surfaces_at(HIDDEN_S), boxes_in_camera(pose, HIDDEN_S), pose)
    occlusion = {label.track_id: label.occluded for label in truth.objects}
    assert occlusion[0] == 0
    assert occlusion.get(1, 2) == 2
    before = camera_pose(CLOCK, 0.0)
    earlier = frame_truth(rig, surfaces_at(0.0), boxes_in_camera(before, 0.0), before)
    assert {label.track_id: label.occluded for label in earlier.objects}[1] == 0


def test_an_object_entering_the_picture_is_truncated_less_and_less(rig: Rig) -> None:
    shares = []
    for scene_s in (0.1, 0.4, 0.7, 1.6):
        pose = camera_pose(CLOCK, scene_s)
        truth = frame_truth(rig, surfaces_at(scene_s), boxes_in_camera(pose, scene_s), pose)
        shares += [label.truncated for label in truth.objects if label.track_id == 3]
    assert len(shares) >= 3
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0.5
    assert shares[-1] == 0.0


def test_levels_of_truncation_are_those_of_kittis_tracking_labels() -> None:
    assert [truncation_level(share) for share in (0.0, 0.1, 0.5, 0.9)] == [0, 1, 1, 2]


def test_every_face_turns_its_texture_upright_to_its_viewer() -> None:
    pose = camera_pose(CLOCK, SCENE_S)
    for surface in view(surfaces_at(SCENE_S), pose, 0.0).surfaces:
        towards = np.cross(surface.right, surface.down)
        assert np.linalg.norm(towards) == pytest.approx(1.0)
        if abs(towards[1]) < 0.5:
            assert surface.down == pytest.approx([0.0, 1.0, 0.0])


def test_actors_stay_between_the_walls_and_never_meet() -> None:
    for scene_s in np.arange(0.0, 60.0, 0.25):
        boxes = [actor.box_at(float(scene_s)) for actor in ACTORS]
        assert all(-6.2 < box.x < 8.6 and box.z < 15.0 for box in boxes)
        assert iou_bev_matrix(boxes, boxes) == pytest.approx(np.eye(len(boxes)), abs=1e-6)
