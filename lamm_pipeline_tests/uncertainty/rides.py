"""A recording with point clouds, published without looking at an image, and evaluations of it."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.catalog.catalog import Catalog
from lamm_pipeline.extraction import frame_registry
from lamm_pipeline.extraction.frame_registry import FrameRecord, FrameRegistry
from lamm_pipeline.extraction.point_cloud import camera_to_velodyne
from lamm_pipeline.geometry.box_3d import Box3D
from lamm_pipeline.geometry.camera import RectifiedCamera
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.reconstruction import frame_boxes
from lamm_pipeline.reconstruction.frame_boxes import FrameBoxes, ObjectBox
from lamm_pipeline.recordings.ingest import add_files
from lamm_pipeline.storage.artifacts import Artifact, ArtifactKey, ArtifactStore, Identity
from lamm_pipeline.storage.local_store import LocalStore
from lamm_pipeline.uncertainty.assets import frame_uncertainty
from lamm_pipeline.uncertainty.evaluation_files import Evaluation
from lamm_pipeline.uncertainty.predictions import PredictionWriter
from lamm_pipeline_tests.extraction.frame_records import frame_record

KEY = "drive"
FRAMES, POINTS = 6, 400
CLASSES = ("ground", "obstacle", "sky")
CAMERA = RectifiedCamera(160, 120, 100.0, 100.0, 80.0, 60.0, 0.12)
CAMERA_HEIGHT_M = 1.5
BOX = Box3D(0.0, CAMERA_HEIGHT_M, 8.0, 4.0, 2.0, 1.6, 0.0)
START_NS = 1_700_000_000_000_000_000


class Ride:
    """A root with one recording: a level street, with one box on it."""

    def __init__(self, root: Path, store: ArtifactStore | None = None) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        self.catalog = Catalog(f"sqlite:///{root / 'catalog.sqlite'}")
        self.store = store or LocalStore(root)
        (root / f"{KEY}.svo2").write_text(KEY)
        add_files(self.catalog, [root / f"{KEY}.svo2"], "ada")
        self.frames = self.extract()

    def extract(self, points: int = POINTS, rectified: bool = True) -> Artifact:
        """Publish frames with so many points as the ones in force."""

        def write(folder: Path) -> None:
            for name in ("velodyne", "depth"):
                (folder / name).mkdir()
            records = []
            for n in range(FRAMES):
                cloud(n, points).tofile(folder / f"velodyne/{n:06d}.bin")
                np.save(folder / f"depth/{n:06d}.npy", street_depth())
                records.append(_record(n))
            registry = FrameRegistry(
                recording=KEY,
                svo2_file=f"{KEY}.svo2",
                svo2_hash="0" * 64,
                total_frames=FRAMES,
                extracted_frames=FRAMES,
                failed_frames=(),
                config={},
                lineage={},
                rectified=rectified,
                camera=CAMERA if rectified else None,
                width=CAMERA.width,
                height=CAMERA.height,
                frames=tuple(records),
            )
            frame_registry.write(folder / frame_registry.FILE_NAME, registry)

        self.frames = self._publish("frames", {"points": points, "rectified": rectified}, {}, write)
        return self.frames

    def rebuild(self) -> Artifact:
        """Publish the 3D box of every frame."""
        item = ObjectBox("d", "car", "Car", 0.9, BOX, 0.0, (0.0, 0.0, 9.0, 9.0), 0.0, 0, 7.0, 100, "prior")
        frames = [FrameBoxes(f"{KEY}:{n:06d}", n, START_NS + n, (item,), ()) for n in range(FRAMES)]
        return self._publish(
            "boxes_3d", {}, {"frames": self.frames.version}, lambda folder: frame_boxes.write(folder / frame_boxes.FILE_NAME, frames)
        )

    def _publish(self, asset: str, config: Mapping[str, Any], inputs: Mapping[str, str], write: Any) -> Artifact:
        key = ArtifactKey("recordings", KEY, asset)
        identity = Identity(asset, "1", config, inputs, {})
        with self.store.draft(key, identity.version) as draft:
            write(draft.directory)
            return self.store.publish(key, draft, identity, {}, {})

    def score(self, instance: dg.DagsterInstance, **config: Any) -> dg.ExecuteInProcessResult:
        """Materialize `frame_uncertainty`."""
        return dg.materialize(
            [frame_uncertainty],
            instance=instance,
            partition_key=KEY,
            resources={"workspace": Workspace(root=str(self.root))},
            run_config={"ops": {"frame_uncertainty": {"config": config}}},
            raise_on_error=False,
        )

    @property
    def scored(self) -> Artifact:
        """The uncertainty in force."""
        found = self.store.current(ArtifactKey("recordings", KEY, "frame_uncertainty"))
        assert found is not None
        return found


def evaluation(name: str, members: int | None = 3, day: int = 1, classes: tuple[str, ...] = CLASSES) -> Evaluation:
    return Evaluation(name, f"{name}-model", classes, members, classes[1:2], f"2026-05-{day:02d}T12:00:00+00:00")


def predict(folder: Path, name: str, *, frames: Iterable[int] = range(FRAMES), points: int = POINTS, day: int = 1, **more: Any) -> Path:
    """Write an evaluation of an ensemble of three whose frames are the more uncertain the later they are; `more` is the writer's."""
    with PredictionWriter(folder / name, evaluation(name, day=day), KEY, **more) as writer:
        for n in frames:
            writer.add(f"{KEY}:{n:06d}", probabilities(n, points))
    return folder / name


def probabilities(frame: int, points: int = POINTS, members: int = 3, classes: int = len(CLASSES)) -> NDArray[np.float32]:
    rng = np.random.default_rng(frame)
    logits = 4.0 * np.eye(classes)[rng.integers(0, classes, points)] + rng.normal(0.0, 0.3 + frame, (members, points, classes))
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return (weights / weights.sum(axis=-1, keepdims=True)).astype(np.float32)


def cloud(frame: int, points: int = POINTS) -> NDArray[np.float32]:
    """Half of the points on the street, a quarter in the box, a quarter high up."""
    rng = np.random.default_rng(100 + frame)
    count = points // 4
    street = np.column_stack(
        [rng.uniform(-5, 5, points - 2 * count), np.full(points - 2 * count, CAMERA_HEIGHT_M), rng.uniform(3, 30, points - 2 * count)]
    )
    inside = np.column_stack([rng.uniform(-1.9, 1.9, count), CAMERA_HEIGHT_M - rng.uniform(0.3, 1.5, count), rng.uniform(7.1, 8.9, count)])
    high = np.column_stack([rng.uniform(-9, 9, count), CAMERA_HEIGHT_M - rng.uniform(2.0, 5.0, count), rng.uniform(3, 30, count)])
    return np.column_stack([camera_to_velodyne(np.vstack([street, inside, high])), np.zeros(points)]).astype(np.float32)


def street_depth() -> NDArray[np.float32]:
    """Depth of a level street as the camera sees it; nothing is known above the horizon."""
    v = np.arange(CAMERA.height, dtype=np.float64)[:, None] - CAMERA.cy
    depth = np.where(v > 2.0, CAMERA_HEIGHT_M * CAMERA.fy / np.maximum(v, 1e-9), np.nan)
    return np.broadcast_to(depth, (CAMERA.height, CAMERA.width)).astype(np.float32)


def _record(n: int) -> FrameRecord:
    return frame_record(KEY, n, START_NS + n, depth=f"depth/{n:06d}.npy", point_cloud=f"velodyne/{n:06d}.bin")
