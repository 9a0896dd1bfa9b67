"""`truncated` and `occluded` mean what KITTI means by them."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from lamm_pipeline.geometry.box_3d import Box3D
from lamm_pipeline.geometry.camera import RectifiedCamera
from lamm_pipeline.reconstruction import kitti_labels
from lamm_pipeline.reconstruction.visibility import LARGELY, PARTLY, UNKNOWN, VISIBLE, occlusion_level, occupied_share, truncated_share
from lamm_pipeline_tests.reconstruction.scenes import CAMERA, car, detection, render


@pytest.mark.requirement("REC-05")
def test_the_truncated_share_is_that_of_kittis_annotators(shared_data: Path):
    camera = RectifiedCamera(1242, 375, 721.5377, 721.5377, 609.5593, 172.854, 0.53715)
    labelled, estimated = [], []
    for file in sorted((shared_data / "kitti_raw_0039_stereo" / "label_2").glob("*.txt")):
        for label in kitti_labels.read(file):
            if label.has_box_3d:
                labelled.append(label.truncated)
                x1, y1, x2, y2 = label.box_xyxy
                shift = 44.857 / label.box.z
                estimated.append(truncated_share(label.box, (max(x1 - shift, 0.0), y1, x2 - shift, y2), camera))
    assert sum(share > 0 for share in labelled) >= 10
    assert estimated == pytest.approx(labelled, abs=0.08)


def test_an_object_beside_the_camera_is_truncated_and_one_in_the_middle_is_not():
    _, masks = render([car(0.0, 12.0, 0.3)])
    assert truncated_share(car(0.0, 12.0, 0.3), detection(masks[0]).box_xyxy, CAMERA) == 0.0
    assert truncated_share(car(-2.5, 1.0, 1.57), (0.0, 100.0, 200.0, 239.0), CAMERA) > 0.5
    assert truncated_share(car(0.0, -20.0, 0.0), (0.0, 0.0, 20.0, 20.0), CAMERA) == 1.0


@pytest.mark.requirement("REC-05")
def test_the_occlusion_level_grows_with_what_stands_in_front():
    target = car(0.0, 20.0, 0.0)
    levels = []
    for covering in (0.0, 0.5, 1.6):
        blocker = [Box3D(0.0, 1.6, 10.0, covering, 0.3, 2.0, 0.0)] if covering else []
        depth, _ = render([target, *blocker])
        levels.append(occlusion_level(target, depth, CAMERA))
    assert levels == [VISIBLE, PARTLY, LARGELY]


def test_without_depth_the_occlusion_is_unknown():
    depth, _ = render([])
    assert occlusion_level(car(0.0, 20.0, 0.0), np.full_like(depth, np.nan), CAMERA) == UNKNOWN
    assert occlusion_level(car(0.0, -20.0, 0.0), depth, CAMERA) == UNKNOWN
    assert occlusion_level(car(-60.0, 20.0, 0.0), depth, CAMERA) == UNKNOWN


@pytest.mark.requirement("TRK-02")
def test_a_place_is_occupied_by_what_is_there_whatever_stands_before_it():
    target, blocker = car(0.0, 20.0, 0.0), Box3D(0.0, 1.6, 10.0, 0.5, 0.3, 2.0, 0.0)
    shares = [occupied_share(target, render(scene)[0], CAMERA) for scene in ([target], [target, blocker], [blocker], [])]
    assert min(shares[:2]) > 0.9
    assert max(shares[2:]) < 0.5
    unknown = np.full_like(render([])[0], np.nan)
    assert occupied_share(target, unknown, CAMERA) == 0.0
    assert occupied_share(target, np.full_like(unknown, 5.0), CAMERA) == 0.0


@pytest.mark.requirement("REC-05")
def test_the_occlusion_level_mostly_agrees_with_kittis_annotators(shared_data: Path):
    folder = shared_data / "kitti_raw_0039_stereo"
    camera = RectifiedCamera(1242, 375, 721.5377, 721.5377, 609.5593, 172.854, 0.53715)
    matcher = cv2.StereoSGBM_create(0, 128, 5, 200, 800, 1, 63, 10, 100, 2, cv2.STEREO_SGBM_MODE_SGBM_3WAY)
    differences = []
    for name in ("000282", "000298", "000306", "000310"):
        left, right = (cv2.imread(str(folder / side / f"{name}.png"), cv2.IMREAD_GRAYSCALE) for side in ("image_0", "image_1"))
        disparity = matcher.compute(left, right).astype(np.float32) / 16
        disparity[disparity <= 1] = np.nan
        labels = [label for label in kitti_labels.read(folder / "label_2" / f"{name}.txt") if label.has_box_3d and label.truncated < 0.5]
        differences += [abs(occlusion_level(label.box, 387.5744 / disparity, camera) - label.occluded) for label in labels]
    assert len(differences) > 12
    assert float(np.mean(differences)) < 0.8
