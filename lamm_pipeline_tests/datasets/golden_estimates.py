"""What the stages that estimate write from small inputs without noise, for the golden digests."""

from pathlib import Path

import numpy as np

from lamm_pipeline.extraction.frame_registry import FrameRegistry
from lamm_pipeline.ontology.ontology import Ontology, load_ontology
from lamm_pipeline.reconstruction import frame_boxes
from lamm_pipeline.reconstruction.reconstruct import reconstruct
from lamm_pipeline.reconstruction.settings import BoxSettings
from lamm_pipeline.segmentation import detections as detections_file
from lamm_pipeline.segmentation.detections import FrameDetections
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline.streaming import no_progress
from lamm_pipeline.tracking.settings import TrackingSettings
from lamm_pipeline.tracking.track import track_boxes
from lamm_pipeline.uncertainty.evaluation_files import Evaluation
from lamm_pipeline.uncertainty.predictions import PredictionWriter
from lamm_pipeline.uncertainty.score_frame import FrameScorer
from lamm_pipeline.uncertainty.score_recording import EvaluationInput, score_recording
from lamm_pipeline_tests.extraction.frame_records import frame_record
from lamm_pipeline_tests.reconstruction import scenes
from lamm_pipeline_tests.tracking.masklets import moving_masks
from lamm_pipeline_tests.tracking.masklets.moving_masks import candidate, listed, rectangle
from lamm_pipeline_tests.tracking.straight_drive import Drive, scene

# every setting is named: a new default is another config, not another code version
BOXES = {
    "bbox_method": "prior",
    "min_points": 100,
    "outlier_neighbors": 20,
    "outlier_sigma": 2.0,
    "mask_erosion": 0.03,
    "ground_clearance_m": 0.1,
    "typical_size": 0.25,
    "max_distance_m": 100.0,
    "max_bad_share": 0.2,
    "min_projected_iou": 0.2,
}
ASSOCIATION = {
    "default_score": 0.8,
    "duplicate_iou_bev": 0.4,
    "min_hits": 3,
    "max_lost_s": 1.0,
    "similarity": "center_distance",
    "gate_m": 2.0,
    "gate_sigmas": 2.0,
    "min_similarity_high": 0.1,
    "min_similarity_low": 0.3,
    "min_similarity_unconfirmed": 0.1,
    "position_noise_m": 0.2,
    "range_noise": 0.03,
    "acceleration_m_s2": 4.0,
    "initial_speed_m_s": 15.0,
    "nominal_fps": 30.0,
}
TRACKING = {
    **ASSOCIATION,
    "high_score": 0.25,
    "low_score": 0.1,
    "new_track_score": 0.35,
    "class_groups": [["car", "truck"]],
    "odometry": True,
    "typical_size": 0.25,
    "smoothing_s": 0.4,
    "min_evidence": 3.0,
    "max_extension_s": 1.0,
    "even_score": 0.35,
    "found_again": 0.6,
    "false_found_again": 0.35,
    "min_support_share": 0.4,
    "max_range_m": 60.0,
    "max_off_ground_m": 0.8,
    "merge_overlap": 0.3,
    "merge_iou": 0.7,
}
MASKLETS = {
    "backend": "flow",
    "variant": "tiny",
    "weights": None,
    "levels": [],
    "prompt_mode": "all_mask",
    "long_tail_area": None,
    "dedup_iou": 0.6,
    "match_iou": 0.3,
    "max_propagate": 6,
    "window": 6,
    "overlap": 2,
    "max_unsupported": None,
    "min_support": 1,
    "mask_scale_ratio": 1.0,
    "render_previews": False,
    "preview_stride": 1,
    "preview_max": 12,
}
CLASSES = """classes:
  - {id: car, category_id: 1, name: Car, prompt: car, color: "#e6194b", kitti_type: Car, group: vehicle,
     size_prior: {length: [3.5, 5.5], width: [1.5, 2.2], height: [1.3, 1.8]}, detector_labels: []}
  - {id: person, category_id: 10, name: Person, prompt: p, color: "#3cb44b", kitti_type: Pedestrian, group: person,
     size_prior: {length: [0.3, 0.8], width: [0.3, 0.8], height: [1.4, 2.0]}, detector_labels: []}
"""
POINTS, MEMBERS = 60, 3


def write_estimates(root: Path) -> dict[str, Path]:
    """Folders of what the stages write, by the names of their digests."""
    root.mkdir()
    (root / "classes.yaml").write_text(CLASSES)
    return {
        "boxes_3d": _boxes(root, load_ontology(root / "classes.yaml")),
        "refined_tracks": _refined(root),
        "masklets": _masklets(root / "masklets"),
        "frame_uncertainty": _uncertainty(root),
    }


def _boxes(root: Path, ontology: Ontology) -> Path:
    """A car and a person in two frames; in a third one a mask without depth enough."""
    (root / "frames/depth").mkdir(parents=True)
    records = [frame_record("drive", n, n, depth=f"depth/{n:06d}.npy", valid_depth_ratio=1.0) for n in range(3)]
    found = []
    for n, record in enumerate(records):
        depth, masks = scenes.render([scenes.car(-3.0, 12.0 + n, 1.4), scenes.person(2.0, 10.0)], noise_px=0.0)
        np.save(root / f"frames/depth/{n:06d}.npy", depth)
        if n == 2:
            masks = [masks[0] & (np.arange(masks[0].shape[1]) % 64 == 0)]
        items = [scenes.detection(mask, name, f"{record.frame_id}:{name}") for mask, name in zip(masks, ("car", "person"), strict=False)]
        found.append(FrameDetections(record.frame_id, n, n, scenes.CAMERA.width, scenes.CAMERA.height, tuple(items)))
    detections_file.write(root / "detections.json", {"total_frames": len(found)}, found)
    size = (scenes.CAMERA.width, scenes.CAMERA.height)
    registry = FrameRegistry("drive", "drive.svo2", "0", 3, 3, (), {}, {}, True, scenes.CAMERA, *size, tuple(records))
    draft = Draft.open(root / "boxes_3d")
    reconstruct(registry, root / "frames", root / "detections.json", ontology, BoxSettings.model_validate(BOXES), draft, workers=1)
    draft.finish()
    return root / "boxes_3d"


def _refined(root: Path) -> Path:
    """Tracks of a camera that moves: a gap that is filled, and something with too little support."""
    (root / "refined").mkdir()
    frame_boxes.write(root / "refined/boxes_3d.json", scene())
    draft = Draft.open(root / "refined/out")
    settings = TrackingSettings.model_validate(TRACKING)
    track_boxes(root / "refined/boxes_3d.json", settings, draft, recording="drive", views=Drive(), workers=1)
    draft.finish()
    return root / "refined/out"


def _masklets(folder: Path) -> Path:
    """Two objects over several windows, one of them found late, and a candidate on what is followed already."""
    found = [
        listed(1, rectangle(10, 5)),
        listed(4, rectangle(16, 5), candidate(rectangle(30, 22), "drive:000004:late", "person", None)),
        listed(9, rectangle(40, 22)),
    ]
    moving_masks.follow(folder, 12, found, **MASKLETS)
    return folder


def _uncertainty(root: Path) -> Path:
    """An ensemble of three that agrees less from frame to frame, with labels."""
    evaluation = Evaluation("night", "night-v3", ("ground", "car", "person"), MEMBERS, ("car",), "2026-05-01T12:00:00+00:00")
    with PredictionWriter(root / "predictions", evaluation, "drive") as writer:
        for n in range(3):
            places = np.arange(MEMBERS * POINTS * 3).reshape(MEMBERS, POINTS, 3)
            weights = 1.0 + (places * (7 + 4 * n) % 13) * (1 + np.arange(3) * n)
            probabilities = (weights / weights.sum(axis=-1, keepdims=True)).astype(np.float32)
            writer.add(f"drive:{n:06d}", probabilities, labels=np.arange(POINTS) % 4 - 1)
    records = {n: frame_record("drive", n, n, point_cloud=f"velodyne/{n:06d}.bin") for n in range(3)}
    scorer = FrameScorer(evaluation, "drive", records, {f"velodyne/{n:06d}.bin": 16 * POINTS for n in records}, None, keep_points=True)
    draft = Draft.open(root / "frame_uncertainty")
    given = EvaluationInput(evaluation, root / "predictions/drive", {}, None, None, scorer, None)
    score_recording([given], len(records), 0.0, draft, workers=1, progress=no_progress)
    draft.finish()
    return root / "frame_uncertainty"
