"""Roots with recordings in the catalog and the uncertainty of their frames, without any of their images."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lamm_pipeline.catalog.models import Recording
from lamm_pipeline.extraction import diversity
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.scenes.hotspots.assets import uncertainty_hotspots
from lamm_pipeline.scenes.hotspots.published import Hotspots, published
from lamm_pipeline.storage.artifacts import Artifact, ArtifactKey, Identity
from lamm_pipeline.uncertainty import frame_uncertainty

START = datetime(2026, 1, 1, 8, tzinfo=UTC)
MI, ENTROPY = "mutual_information_mean", "predictive_entropy_mean"


@dataclass(frozen=True)
class Evaluated:
    """What one evaluation says of the frames of a recording, by index; None is no number."""

    scores: Mapping[int, float | None] | Sequence[float | None]
    model: str = "model-a"
    name: str = "nightly"
    day: int = 1
    kind: str = MI

    def rows(self, recording: str) -> list[dict[str, Any]]:
        scores = self.scores if isinstance(self.scores, Mapping) else dict(enumerate(self.scores))
        empty = dict.fromkeys(frame_uncertainty.SCHEMA.names)
        return [
            {
                **empty,
                "evaluation": self.name,
                "model_id": self.model,
                "evaluated_at": START + timedelta(days=self.day),
                "frame_id": f"{recording}:{index:06d}",
                "frame_index": index,
                "timestamp_ns": index,
                "score": score,
                "score_kind": self.kind,
            }
            for index, score in scores.items()
        ]


class Scored:
    """A root."""

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.root = root
        self.workspace = Workspace(root=str(root))
        self.store, self.catalog = self.workspace.store, self.workspace.catalog

    def add(self, *keys: str, tags: Iterable[str] = ()) -> None:
        """Put recordings into the catalog."""
        known = len(self.catalog.recordings.all())
        with self.catalog._session() as session:
            session.add_all(
                Recording(
                    key=key,
                    source_path=f"/recordings/{key}.svo2",
                    path=f"/recordings/{key}.svo2",
                    size=1000,
                    mtime_ns=0,
                    quick_digest=key[:64],
                    digest=key[:64],
                    added_at=START,
                    added_by="ada",
                    recorded_at=START + timedelta(hours=known + number),
                )
                for number, key in enumerate(keys)
            )
        for key in keys:
            if tags:
                self.catalog.tags.add([key], tags, "ada")

    def scene(self, key: str, *evaluated: Evaluated, tags: Iterable[str] = (), frames: str = "1", **counts: Any) -> None:
        """A recording whose frames are published and scored."""
        self.add(key, tags=tags)
        self.extract(key, frames)
        self.score(key, *evaluated, **counts)

    def extract(self, key: str, frames: str = "1") -> Artifact:
        """Publish frames, without any."""
        return self.publish(key, "frames", {"frames": frames}, {}, lambda _: None)

    def score(self, key: str, *evaluated: Evaluated, evaluations: Sequence[Mapping[str, Any]] = ()) -> Artifact:
        """Publish what evaluations say of the frames in force."""
        rows = [row for each in evaluated for row in each.rows(key)]

        def write(folder: Path) -> None:
            pq.write_table(pa.Table.from_pylist(rows, frame_uncertainty.SCHEMA), folder / frame_uncertainty.FILE_NAME)

        frames = self.store.current_version(ArtifactKey("recordings", key, "frames")) or ""
        return self.publish(key, "frame_uncertainty", {"rows": str(rows)}, {"frames": frames}, write, {"evaluations": list(evaluations)})

    def hash(self, key: str, hashes: Mapping[int, int]) -> None:
        """Publish the hashes of images, by frame index."""
        rows = [
            {
                "frame_id": f"{key}:{index:06d}",
                "svo2_frame_index": index,
                "dhash": diversity.to_hex(np.full(4, value, np.uint64)),
                "dhash64": f"{value:016x}",
                "motion": 1.0,
                "failure": None,
            }
            for index, value in hashes.items()
        ]
        frames = self.store.current_version(ArtifactKey("recordings", key, "frames")) or ""

        def write(folder: Path) -> None:
            pq.write_table(pa.Table.from_pylist(rows, diversity.SCHEMA), folder / diversity.FILE_NAME)

        self.publish(key, "diversity_metrics", {"rows": str(rows)}, {"frames": frames}, write)

    def publish(
        self, key: str, asset: str, config: dict[str, Any], inputs: dict[str, str], write: Any, counts: Mapping[str, Any] | None = None
    ) -> Artifact:
        place = ArtifactKey("recordings", key, asset)
        identity = Identity(asset, "1", config, inputs, {})
        with self.store.draft(place, identity.version) as draft:
            write(draft.directory)
            return self.store.publish(place, draft, identity, counts or {}, {})

    def materialize(self, instance: dg.DagsterInstance, **config: Any) -> dg.AssetMaterialization:
        """Run the asset."""
        result = dg.materialize(
            [uncertainty_hotspots],
            instance=instance,
            resources={"workspace": Workspace(root=str(self.root))},
            run_config={"ops": {"uncertainty_hotspots": {"config": config}}},
        )
        assert result.success
        return result.asset_materializations_for_node("uncertainty_hotspots")[0]

    def hotspots(self, **config: Any) -> Hotspots:
        """Run the asset, and read what it has published."""
        with dg.instance_for_test() as instance:
            self.materialize(instance, **config)
        found = published(self.store)
        assert found is not None
        return found
