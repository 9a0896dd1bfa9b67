"""A root with sequence annotations, of which review GIFs are made."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg

from lamm_pipeline.catalog.models import Recording, now
from lamm_pipeline.extraction import frame_registry
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.review import sequence_annotations as annotations_file
from lamm_pipeline.review.assets import review_gifs
from lamm_pipeline.review.sequence_annotations import SequenceAnnotation, SequenceAnnotations
from lamm_pipeline.storage.artifacts import Artifact, ArtifactKey, Identity
from lamm_pipeline_tests.review.gif_frames import images, sequence

REASON = "no box is confident enough"


class House:
    """A root with the frames and two sequence annotations of one recording."""

    def __init__(self, root: Path, sequences: tuple[SequenceAnnotation, ...] = (sequence(1), sequence(2, range(3, 6)))) -> None:
        self.workspace = Workspace(root=str(root))
        facts = {"source_path": "drive.svo2", "path": "drive.svo2", "size": 1, "mtime_ns": 1, "quick_digest": "d"}
        assert self.workspace.catalog.recordings.add(Recording(key="drive", **facts, added_at=now(), added_by="ada"))
        self.instance = dg.DagsterInstance.ephemeral()
        self.instance.add_dynamic_partitions("recordings", ["drive"])
        self.publish("frames", lambda folder: frame_registry.write(folder / frame_registry.FILE_NAME, images(folder)))
        listed = SequenceAnnotations("drive", "cluster", "union_find", {}, {}, None if sequences else REASON, sequences)
        self.publish("sequence_annotations", lambda folder: annotations_file.write(folder / annotations_file.FILE_NAME, listed))

    def publish(self, asset: str, write: Callable[[Path], Any]) -> Artifact:
        key, identity = ArtifactKey("recordings", "drive", asset), Identity(asset, "1", {}, {}, {})
        with self.workspace.store.draft(key, identity.version, restart=False) as draft:
            write(draft.directory)
            return self.workspace.store.publish(key, draft, identity, {}, {}, [])

    def run(self, **config: Any) -> dg.ExecuteInProcessResult:
        return dg.materialize(
            [review_gifs],
            instance=self.instance,
            partition_key="drive",
            resources={"workspace": self.workspace},
            run_config={"ops": {"review_gifs": {"config": config}}},
            raise_on_error=False,
        )

    @property
    def artifact(self) -> Artifact | None:
        return self.workspace.store.current(ArtifactKey("recordings", "drive", "review_gifs"))
