"""A root with frames and detections, of which sequence annotations are made."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg

from lamm_pipeline.catalog.decisions import NewDecision
from lamm_pipeline.catalog.models import Recording, now
from lamm_pipeline.extraction import frame_registry
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.review import sequence_annotations as sequences_file
from lamm_pipeline.review.assets import sequence_annotations
from lamm_pipeline.review.deciding import decide
from lamm_pipeline.review.sequence_annotations import SequenceAnnotations
from lamm_pipeline.segmentation.detections import Detection
from lamm_pipeline.storage.artifacts import Artifact, ArtifactKey, Identity
from lamm_pipeline_tests.segmentation.bright_squares import frame, registry, write_detections, write_files

FRAMES = [frame(index) for index in range(6)]


def two_objects(each: frame_registry.FrameRecord) -> list[Detection]:
    """A sure one that creeps to the right, and in every other frame an unsure one that stays."""
    index = each.svo2_frame_index
    found = [detection(each, 0, (index, 10.0, index + 20.0, 30.0), 0.9)]
    return found + [detection(each, 1, (50.0, 40.0, 70.0, 55.0), 0.4)] * (index % 2 == 0)


def detection(each: frame_registry.FrameRecord, number: int, box_xyxy: tuple[float, ...], confidence: float | None) -> Detection:
    x1, y1, x2, y2 = map(float, box_xyxy)
    return Detection(f"{each.frame_id}:{number}", "car", "Car", confidence, (x1, y1, x2, y2), {}, 400, (0.0, 0.0), None, "box")


def write_frames(folder: Path) -> None:
    write_files(folder, FRAMES)
    frame_registry.write(folder / frame_registry.FILE_NAME, registry(FRAMES))


class House:
    """A root with the frames and the detections of one recording."""

    def __init__(self, root: Path, found: Callable[[Any], list[Detection]] = two_objects) -> None:
        self.workspace = Workspace(root=str(root))
        self.instance = dg.DagsterInstance.ephemeral()
        self.instance.add_dynamic_partitions("recordings", ["drive"])
        values = {"path": "drive.svo2", "size": 1, "mtime_ns": 1, "quick_digest": "00", "added_at": now(), "added_by": "ada"}
        self.workspace.catalog.recordings.add(Recording(key="drive", source_path="drive.svo2", **values))
        self.frames = self.publish("frames", {}, write_frames)
        self.detect(found)

    def detect(self, found: Callable[[Any], list[Detection]], setting: int = 1) -> Artifact:
        return self.publish(
            "detections",
            {"frames": self.frames.version},
            lambda folder: write_detections(folder / "detections" / "detections.json", FRAMES, found),
            setting,
        )

    def publish(self, asset: str, inputs: dict[str, str], write: Callable[[Path], Any], setting: int = 1) -> Artifact:
        key, identity = ArtifactKey("recordings", "drive", asset), Identity(asset, "1", {"setting": setting}, inputs, {})
        with self.workspace.store.draft(key, identity.version, restart=False) as draft:
            write(draft.directory)
            return self.workspace.store.publish(key, draft, identity, {}, {}, [])

    def run(self, **config: Any) -> dg.ExecuteInProcessResult:
        return dg.materialize(
            [sequence_annotations],
            instance=self.instance,
            partition_key="drive",
            resources={"workspace": self.workspace},
            run_config={"ops": {"sequence_annotations": {"config": config}}},
            raise_on_error=False,
        )

    def say(self, subject: str, action: str, **value: Any) -> None:
        decisions = [NewDecision("sequence", subject, action, value)]
        decide(self.workspace.store, self.workspace.catalog, self.workspace.ontology, ["dust"], "drive", decisions, "ada")

    @property
    def current(self) -> SequenceAnnotations:
        return sequences_file.read(self.workspace.recording_artifact("drive", "sequence_annotations").file(sequences_file.FILE_NAME))
