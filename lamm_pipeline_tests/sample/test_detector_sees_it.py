import numpy as np
import pytest

from lamm_pipeline.geometry.boxes_2d import iou_matrix
from lamm_pipeline.ontology.ontology import load_ontology
from lamm_pipeline.sample.motion import SceneClock, camera_pose
from lamm_pipeline.sample.picture import expose, ground_light, picture
from lamm_pipeline.sample.rig import build_rig, sample_calibration
from lamm_pipeline.sample.scene import boxes_in_camera, footprints_at, surfaces_at
from lamm_pipeline.sample.textures import build_atlas
from lamm_pipeline.sample.truth import frame_truth
from lamm_pipeline.segmentation.detector_segmenter import DetectorSegmenter
from lamm_pipeline.segmentation.settings import SegmentationSettings


@pytest.mark.requirement("NFR-08")
def test_the_embedded_detector_finds_the_persons_and_the_cat() -> None:
    scene_s = 0.6
    rig = build_rig(sample_calibration(900071, 1280, 720))
    pose = camera_pose(SceneClock(0.0, 0.0, 0.0), scene_s)
    surfaces = surfaces_at(scene_s)
    light = ground_light(footprints_at(scene_s))
    image = picture(rig.rectified_left, surfaces, pose, build_atlas(7, 2048), light)
    seen = expose(image, scene_s, right=False, noise=1.0, rng=np.random.default_rng(1))
    found = DetectorSegmenter(SegmentationSettings(confidence_threshold=0.4), load_ontology()).segment(seen, None, None).detections
    truth = frame_truth(rig, surfaces, boxes_in_camera(pose, scene_s), pose)
    recognised = set()
    for label in truth.objects:
        wanted = "cat" if label.type == "Misc" else "person"
        boxes = np.array([detection.box_xyxy for detection in found if detection.class_id == wanted]).reshape(-1, 4)
        if iou_matrix(np.array([label.box_xyxy]), boxes).max(initial=0.0) >= 0.5:
            recognised.add(label.track_id)
    assert recognised == {label.track_id for label in truth.objects} == {0, 1, 2, 3}
