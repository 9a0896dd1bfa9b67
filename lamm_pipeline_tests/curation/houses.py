"""A recording of `review/worlds.py` as a house that can be curated, with or without Dagster."""

from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lamm_pipeline.catalog.decisions import NewDecision
from lamm_pipeline.curation import selecting, selection
from lamm_pipeline.curation.assets import selection as selection_asset
from lamm_pipeline.curation.selection import FrameSelection
from lamm_pipeline.curation.settings import SelectionSettings
from lamm_pipeline.extraction import diversity
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.review import sequence_annotations
from lamm_pipeline.review.deciding import decide
from lamm_pipeline.review.sequence_annotations import SequenceAnnotation, SequenceAnnotations, SequenceBox
from lamm_pipeline.storage.artifacts import Artifact
from lamm_pipeline_tests.review.worlds import HEIGHT, ONTOLOGY, WIDTH, World

FRAME = "drive:{:06d}".format


class House(World):
    """What curation is made of, and short ways to decide, to curate and to look."""

    def say(self, subject: str, action: str, kind: str = "annotation", note: str = "", **value: Any) -> int:
        [number] = decide(
            self.store, self.catalog, ONTOLOGY, ["dust"], self.key, [NewDecision(kind, subject, action, value, note=note)], "ada"
        )
        return number

    def measure(self, hashes: list[int], motion: list[float], failed: tuple[int, ...] = ()) -> None:
        """Publish diversity metrics: each hash is that number in all four words."""

        def write(folder: Path) -> None:
            rows = [
                {
                    "frame_id": f"{self.key}:{n:06d}",
                    "svo2_frame_index": n,
                    "dhash": None if n in failed else diversity.to_hex(np.full(4, value, np.uint64)),
                    "dhash64": None if n in failed else f"{value:016x}",
                    "motion": None if n in failed else moved,
                    "failure": "damaged" if n in failed else None,
                }
                for n, (value, moved) in enumerate(zip(hashes, motion, strict=True))
            ]
            pq.write_table(pa.Table.from_pylist(rows, diversity.SCHEMA), folder / diversity.FILE_NAME)

        self._publish("diversity_metrics", {"hashes": hashes}, write)

    def sequences(self, boxes: dict[str, dict[int, str]], class_id: str = "car") -> Artifact:
        """Publish sequence annotations: by sequence id, the detection of each frame."""
        places = {each.detection_id: each.box_xyxy for frame in self.found() for each in frame.detections}

        def box(n: int, name: str) -> SequenceBox:
            x1, y1, x2, y2 = places[name]
            return SequenceBox(FRAME(n), (name,), (x1 / WIDTH, y1 / HEIGHT, x2 / WIDTH, y2 / HEIGHT), 0.75)

        made = tuple(
            SequenceAnnotation(name, class_id, None, None, tuple(box(n, each) for n, each in frames.items()))
            for name, frames in boxes.items()
        )

        def write(folder: Path) -> None:
            found = SequenceAnnotations(self.key, "cluster", "union_find", {}, {"sequence_boxes": 0}, None, made)
            sequence_annotations.write(folder / sequence_annotations.FILE_NAME, found)

        return self._publish("sequence_annotations", {"boxes": str(boxes)}, write, detections=self.detections.version)

    def plan(self, **settings: Any) -> selecting.SelectionPlan:
        return selecting.plan(self.store, self.catalog, ONTOLOGY, self.key, SelectionSettings(**settings))

    def curate(self, **settings: Any) -> tuple[dict[int, FrameSelection], dict[str, Any]]:
        """The rows by frame index and the counts of a selection with these settings, which is put in force."""
        artifact = selecting.bring_about(self.store, self.plan(**settings))
        return {row.frame_index: row for row in selection.read(artifact.file(selection.FILE_NAME))}, dict(artifact.counts)


def run_selection(root: Path, instance: dg.DagsterInstance, **config: Any) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        [selection_asset],
        instance=instance,
        partition_key="drive",
        resources={"workspace": Workspace(root=str(root))},
        run_config={"ops": {"selection": {"config": config}}},
        raise_on_error=False,
    )
