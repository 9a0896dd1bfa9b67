"""A recording with frames and detections, published without looking at an image."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lamm_pipeline.catalog.catalog import Catalog
from lamm_pipeline.extraction import frame_registry
from lamm_pipeline.extraction.frame_registry import FrameRegistry
from lamm_pipeline.geometry import rle
from lamm_pipeline.ontology.ontology import load_ontology
from lamm_pipeline.recordings.ingest import add_files
from lamm_pipeline.review.decisions import BoxXyxy
from lamm_pipeline.segmentation import detections
from lamm_pipeline.segmentation.detections import Detection, FrameDetections
from lamm_pipeline.storage.artifacts import Artifact, ArtifactKey, Identity
from lamm_pipeline.storage.local_store import LocalStore
from lamm_pipeline_tests.extraction.frame_records import frame_record

WIDTH, HEIGHT = 160, 120
FRAMES = 4
START_NS, STEP_NS = 1_700_000_000_000_000_000, 33_333_333
ONTOLOGY = load_ontology()


def mask_of(box_xyxy: BoxXyxy) -> dict[str, Any]:
    """An ellipse that fills the box."""
    x1, y1, x2, y2 = (round(side) for side in box_xyxy)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.ellipse(mask, ((x1 + x2) // 2, (y1 + y2) // 2), ((x2 - x1) // 2, (y2 - y1) // 2), 0, 0, 360, 1, -1)
    return rle.encode(mask)


def detection(frame: int, number: int, class_id: str, box_xyxy: BoxXyxy) -> Detection:
    mask_rle = mask_of(box_xyxy)
    name = ONTOLOGY.by_id(class_id).name
    return Detection(f"drive:{frame:06d}:{number}", class_id, name, 0.75, box_xyxy, mask_rle, rle.area(mask_rle), (0.0, 0.0), None, "depth")


FOUND = {
    0: [detection(0, 0, "car", (10.0, 10.0, 60.0, 50.0)), detection(0, 1, "person", (100.0, 20.0, 124.0, 90.0))],
    1: [detection(1, 0, "car", (12.5, 10.0, 62.5, 50.0))],
    2: [],
    3: [detection(3, 0, "van", (20.0, 30.0, 90.0, 100.0)), detection(3, 1, "cone", (130.0, 80.0, 150.0, 110.0))],
}


class World:
    """A root with one recording."""

    def __init__(self, root: Path, key: str = "drive") -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        self.key = key
        self.catalog = Catalog(f"sqlite:///{root / 'catalog.sqlite'}")
        self.store = LocalStore(root)
        (root / f"{key}.svo2").write_text(key)
        add_files(self.catalog, [root / f"{key}.svo2"], "ada")
        self.frames = self._publish("frames", {}, self._write_frames)
        self.detections = self.detect(FOUND)

    @property
    def registry(self) -> FrameRegistry:
        return frame_registry.read(self.frames.file(frame_registry.FILE_NAME))

    def found(self) -> Iterable[FrameDetections]:
        return detections.read(self.detections.file(detections.FILE_NAME))

    def detect(self, found: dict[int, list[Detection]], threshold: float = 0.5) -> Artifact:
        """Publish these detections as the version in force."""

        def write(folder: Path) -> None:
            frames = [
                FrameDetections(
                    f"{self.key}:{n:06d}",
                    n,
                    START_NS + n * STEP_NS,
                    WIDTH,
                    HEIGHT,
                    tuple(replace(one, detection_id=f"{self.key}:{one.detection_id.partition(':')[2]}") for one in each),
                )
                for n, each in found.items()
            ]
            detections.write(folder / detections.FILE_NAME, {"total_frames": len(frames)}, frames)

        self.detections = self._publish("detections", {"threshold": threshold}, write)
        return self.detections

    def _publish(self, asset: str, config: dict[str, Any], write: Any, **made_from: str) -> Artifact:
        key = ArtifactKey("recordings", self.key, asset)
        inputs = made_from if asset == "frames" else {"frames": self.frames.version, **made_from}
        identity = Identity(asset, "1", config, inputs, {})
        with self.store.draft(key, identity.version) as draft:
            write(draft.directory)
            return self.store.publish(key, draft, identity, {}, {})

    def _write_frames(self, folder: Path) -> None:
        (folder / "image_left").mkdir(parents=True)
        records = []
        for n in range(FRAMES):
            cv2.imwrite(str(folder / "image_left" / f"{n:06d}.png"), np.full((HEIGHT, WIDTH, 3), 40 * n, np.uint8))
            records.append(frame_record(self.key, n, START_NS + n * STEP_NS, image_left=f"image_left/{n:06d}.png"))
        registry = FrameRegistry(self.key, f"{self.key}.svo2", "0", FRAMES, FRAMES, (), {}, {}, False, None, WIDTH, HEIGHT, tuple(records))
        frame_registry.write(folder / frame_registry.FILE_NAME, registry)
