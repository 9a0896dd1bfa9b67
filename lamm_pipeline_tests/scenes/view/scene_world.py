"""A recording with everything that a scene view shows: images, clouds, detections, 3D boxes, tracks with poses, evaluations."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lamm_pipeline.extraction import frame_registry
from lamm_pipeline.extraction.point_cloud import camera_to_velodyne
from lamm_pipeline.geometry.box_3d import Box3D
from lamm_pipeline.geometry.camera import RectifiedCamera
from lamm_pipeline.reconstruction import frame_boxes
from lamm_pipeline.reconstruction.frame_boxes import FrameBoxes, ObjectBox
from lamm_pipeline.scenes.view.scene_source import OPTIONAL, SceneSource
from lamm_pipeline.storage.artifacts import Artifact, ArtifactKey
from lamm_pipeline.tracking import camera_path, tracks
from lamm_pipeline.tracking.tracks import Track, TrackPoint, TrackSet
from lamm_pipeline.uncertainty import frame_uncertainty
from lamm_pipeline.uncertainty.frame_uncertainty import POINT_COLUMNS, FrameUncertainty
from lamm_pipeline_tests.review.worlds import FRAMES, HEIGHT, ONTOLOGY, START_NS, STEP_NS, WIDTH, World

CAMERA = RectifiedCamera(WIDTH, HEIGHT, 100.0, 100.0, 80.0, 60.0, 0.1)
CAR = Box3D(x=0.0, y=1.0, z=10.0, length=4.0, width=2.0, height=2.0, rotation_y=0.0)
IN_CAR, LEFT, RIGHT, BEHIND = (0.0, 0.0, 10.0), (-2.0, 0.5, 8.0), (2.0, 0.5, 8.0), (0.0, 0.0, -5.0)
PLACES = np.array([IN_CAR, LEFT, RIGHT, BEHIND])
"""The points of every frame, in camera coordinates: one in the car, one on either side of it, one that the image does not show."""
LEFT_RGB, RIGHT_RGB = (200, 30, 40), (20, 60, 220)
EVALUATION = "ensemble"
EVALUATED_AT = datetime(2026, 5, 1, 12, tzinfo=UTC)
CLASSES = ("ground", "car")
SCORES = np.array([0.25, 0.0, 0.5, np.nan])
"""Mutual information of the points."""
PEAK = 2


class SceneWorld(World):
    """The recording, published; `source` is what a scene view is made of."""

    def source(self, *assets: str) -> SceneSource:
        """The frames and these of the optional assets."""
        found = {asset: self.store.current(ArtifactKey("recordings", self.key, asset)) for asset in ("frames", *assets)}
        return SceneSource({asset: artifact for asset, artifact in found.items() if artifact is not None}, ONTOLOGY)

    def publish_everything(self) -> SceneSource:
        """Publish all optional assets."""
        self.publish_boxes()
        self.publish_tracks()
        self.publish_uncertainty()
        return self.source(*OPTIONAL)

    def publish_boxes(self) -> Artifact:
        """A car in the frames 0, 1 and 3."""

        def write(folder: Path) -> None:
            boxed = [
                ObjectBox(f"{self.key}:{n:06d}:0", "car", "Car", 0.8, CAR, 0.0, (10.0, 10.0, 60.0, 50.0), 0.0, 0, 9.0, 9, "pca")
                for n in range(FRAMES)
            ]
            frames = [
                FrameBoxes(f"{self.key}:{n:06d}", n, START_NS + n * STEP_NS, (boxed[n],) if n != 2 else (), ()) for n in range(FRAMES)
            ]
            frame_boxes.write(folder / frame_boxes.FILE_NAME, frames)

        return self._publish("boxes_3d", {}, write, detections=self.detections.version)

    def publish_tracks(self) -> Artifact:
        """The car as track 7 in the frames 0 and 1; the camera goes forward by a metre a frame."""

        def write(folder: Path) -> None:
            points = tuple(
                TrackPoint(
                    f"{self.key}:{n:06d}",
                    n,
                    START_NS + n * STEP_NS,
                    f"{self.key}:{n:06d}:0",
                    "car",
                    "Car",
                    0.8,
                    (10.0, 10.0, 60.0, 50.0),
                    CAR,
                    CAR,
                    None,
                )
                for n in range(2)
            )
            tracks.write(folder / tracks.TRACKS_FILE, TrackSet(self.key, FRAMES, (Track(7, "car", "Car", points),)))
            camera_path.write(folder / camera_path.POSES_FILE, {n: forward(n) for n in range(FRAMES)})

        boxes = self.store.current(ArtifactKey("recordings", self.key, "boxes_3d"))
        assert boxes is not None
        return self._publish("tracks", {}, write, boxes_3d=boxes.version)

    def publish_uncertainty(self, *more: FrameUncertainty) -> Artifact:
        """An evaluation of all frames: the points of the frames 0 and 1 have scores, those of the others only share that of the frame.

        Args:
            more: rows of further evaluations.
        """

        def write(folder: Path) -> None:
            rows = []
            for n in range(FRAMES):
                scores = [SCORES if name == "mutual_information" else np.zeros(len(PLACES)) for name in POINT_COLUMNS]
                frame_uncertainty.write_scores(folder / f"points/{n}.npy", scores)
                predicted, true = np.array([1, 0, 0, 0]), np.array([1, 0, 1, -1])
                frame_uncertainty.write_classes(folder / f"classes/{n}.npy", predicted, true, len(CLASSES))
                points = f"points/{n}.npy" if n < 2 else None
                rows.append(row(n, points_path=points, classes_path=f"classes/{n}.npy", class_names=CLASSES))
            frame_uncertainty.write(folder / frame_uncertainty.FILE_NAME, [*rows, *more])

        return self._publish("frame_uncertainty", {"more": len(more)}, write)

    def _write_frames(self, folder: Path) -> None:
        super()._write_frames(folder)
        (folder / "velodyne").mkdir()
        picture = np.empty((HEIGHT, WIDTH, 3), np.uint8)
        picture[:, : WIDTH // 2], picture[:, WIDTH // 2 :] = LEFT_RGB[::-1], RIGHT_RGB[::-1]
        cloud = np.column_stack([camera_to_velodyne(PLACES), np.zeros(len(PLACES))]).astype(np.float32)
        registry = frame_registry.read(folder / frame_registry.FILE_NAME)
        for frame in registry.frames:
            cv2.imwrite(str(folder / str(frame.image_left)), picture)
            (folder / f"velodyne/{frame.filename_base}.bin").write_bytes(cloud.tobytes())
        frames = tuple(replace(frame, point_cloud=f"velodyne/{frame.filename_base}.bin") for frame in registry.frames)
        frame_registry.write(folder / frame_registry.FILE_NAME, replace(registry, rectified=True, camera=CAMERA, frames=frames))


class ShortWorld(SceneWorld):
    """The recording with fewer frames."""

    frames_kept = 1

    def _write_frames(self, folder: Path) -> None:
        super()._write_frames(folder)
        path = folder / frame_registry.FILE_NAME
        registry = frame_registry.read(path)
        frame_registry.write(path, replace(registry, frames=registry.frames[: self.frames_kept]))


class EmptyWorld(ShortWorld):
    """The recording without frames."""

    frames_kept = 0


def row(frame: int, **values: Any) -> FrameUncertainty:
    """A row of the table of uncertainty of `drive`, of `EVALUATION` where nothing else is said."""
    fields: dict[str, Any] = {
        "evaluation": EVALUATION,
        "model_id": "model-v1",
        "evaluated_at": EVALUATED_AT,
        "frame_id": f"drive:{frame:06d}",
        "frame_index": frame,
        "timestamp_ns": START_NS + frame * STEP_NS,
        "points": len(PLACES),
        "score": 0.9 if frame == PEAK else 0.1,
        "score_kind": "mutual_information_mean",
        "iou": 0.5,
    }
    return FrameUncertainty(**{**fields, **values})


def forward(metres: float) -> camera_path.Pose:
    """A camera so far ahead of where it began."""
    pose = np.eye(4)
    pose[2, 3] = metres
    return pose
