"""A small ground truth written for the tests: two cars, a van, a pedestrian, a cut-off car and a DontCare region over six frames."""

from dataclasses import replace
from pathlib import Path

from lamm_pipeline.geometry.box_3d import Box3D
from lamm_pipeline.geometry.boxes_3d import alpha
from lamm_pipeline.reconstruction import kitti_labels
from lamm_pipeline.reconstruction.kitti_labels import KittiObject

FRAMES = range(6)
SIZES = {"Car": (4.0, 1.7, 1.5), "Van": (4.8, 1.9, 2.2), "Truck": (8.0, 2.5, 3.2), "Pedestrian": (0.6, 0.6, 1.7)}


def thing(kind, x1, x, z, track_id=None, score=None, truncated=0.0, height_px=60.0):
    length, width, height = SIZES[kind]
    box = Box3D(x, 1.6, z, length, width, height, 1.2)
    return KittiObject(kind, truncated, 0, alpha(box), (x1, 100.0, x1 + 80.0, 100.0 + height_px), box, score, track_id)


def truth_of(frame):
    return [
        thing("Car", 100.0 + 2.0 * frame, -5.0, 15.0, 0),
        thing("Car", 300.0, 0.0, 30.0, 1),
        thing("Van", 500.0, 6.0, 45.0, 2),
        thing("Pedestrian", 700.0, 3.0, 8.0, 3),
        thing("Car", 900.0, 5.0, 6.0, 4, truncated=0.8),
        kitti_labels.dont_care((1000.0, 100.0, 1200.0, 200.0), -1),
    ]


def predictions_of(frame):
    """Everything that counts, exactly."""
    return [replace(item, score=0.9) for item in truth_of(frame)[:4]]


def write(folder: Path, objects_of, frames=FRAMES, tracks=True, first=0):
    (folder / "label_2").mkdir(parents=True)
    rows = {}
    for frame in frames:
        objects = objects_of(frame)
        kitti_labels.write(folder / "label_2" / f"{frame + first:06d}.txt", [replace(item, track_id=None) for item in objects])
        rows[frame + first] = objects
    if tracks:
        kitti_labels.write_tracking(folder / "tracks.txt", rows)
    return folder
