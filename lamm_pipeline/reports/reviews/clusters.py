"""Which frames diversity would keep at any thresholds, and which others each of them stands for: for people who choose thresholds.

Nothing is stored. The metrics are read once, and what is known of frames beside them is found once, as `lamm curate` would find it now: the
decisions and the other settings in force. After that a request compares hashes and nothing else.
"""

import functools
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from lamm_pipeline.curation import selecting, selection
from lamm_pipeline.curation.diversity_selection import Cluster, Rank, diversity_clusters
from lamm_pipeline.curation.settings import SelectionSettings
from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction import diversity
from lamm_pipeline.extraction.diversity import DiversityMetrics
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.storage.artifacts import ArtifactKey
from lamm_pipeline.storage.draft import Draft

CLUSTERS_AT_ONCE, MEMBERS_AT_ONCE = 48, 60
RECORDINGS_KEPT, THRESHOLDS_KEPT = 4, 16
MADE_OF = ("frames", "diversity_metrics", "detections", "sequence_annotations", "selection")


class Order(StrEnum):
    """In which order kept frames are listed."""

    size = "size"
    time = "time"


@dataclass(frozen=True)
class Present:
    """A recording at a moment: what tells whether anything about its clusters has changed.

    Attributes:
        recording: its key.
        versions: in force, of `MADE_OF`; None for those that are not there.
        watermark: the newest decision.
    """

    recording: str
    versions: tuple[str | None, ...]
    watermark: int


@dataclass(frozen=True)
class Known:
    """What thresholds are tried on.

    Attributes:
        frames_version: of the images.
        metrics: of the frames.
        ranks: what is known of each frame of the metrics; None where no selection can be made yet.
        settings: those of the selection in force.
        note: why no selection can be made yet.
    """

    frames_version: str
    metrics: DiversityMetrics
    ranks: tuple[Rank, ...] | None
    settings: SelectionSettings
    note: str | None


@dataclass(frozen=True)
class KeptFrame:
    """A frame that stays.

    Attributes:
        frame_id: its id.
        cluster: with the frames that it stands for; None where it stands for itself alone.
    """

    frame_id: str
    cluster: Cluster | None

    @property
    def size(self) -> int:
        """How many others it stands for."""
        return 0 if self.cluster is None else len(self.cluster.members)


class Clusters:
    """The clusters of all recordings. Keeps what it has read of the last few, and may be called by several threads."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._known = functools.lru_cache(RECORDINGS_KEPT)(self._read)
        self._kept = functools.lru_cache(THRESHOLDS_KEPT)(self._judged)

    def overview(self, recording: str, given: Mapping[str, str], order: Order, offset: int) -> dict[str, Any]:
        """What thresholds keep and drop, and some of the frames that they keep.

        Args:
            recording: key of the recording.
            given: `similarity` and `motion`, each from 0 to 1; those in force where one is not given.
            order: of the kept frames.
            offset: how many kept frames to pass over.

        Raises:
            InputError: a threshold is none, or there are no metrics of these frames.
        """
        present = self._present(recording)
        known = self._known(present)
        settings = _thresholds(given, known.settings)
        kept = self._kept(present, settings.similarity_threshold, settings.motion_threshold)
        ordered = kept if order is Order.time else sorted(kept, key=lambda each: -each.size)
        members = sum(each.size for each in kept)
        still = sum(sum(each.cluster.still) for each in kept if each.cluster is not None)
        readable = len(known.metrics.frame_ids)
        return {
            "recording": recording,
            "frames_version": known.frames_version,
            "similarity_threshold": settings.similarity_threshold,
            "motion_threshold": settings.motion_threshold,
            "in_force": known.settings.model_dump(mode="json", include={"diversity", "similarity_threshold", "motion_threshold"}),
            "counts": {
                "frames": readable + len(known.metrics.failed_frames),
                "kept": len(kept),
                "dropped": members,
                "repeated": members - still,
                "still": still,
                "no_part": readable - len(kept) - members,
                "unreadable": len(known.metrics.failed_frames),
                "clusters": sum(each.cluster is not None for each in kept),
            },
            "kept": [_kept_frame(each) for each in ordered[offset : offset + CLUSTERS_AT_ONCE]],
            "total": len(kept),
            "rows": CLUSTERS_AT_ONCE,
            "command": self._command(recording, settings),
            "config": yaml.safe_dump({"ops": {selecting.ASSET: {"config": settings.model_dump(mode="json")}}}, sort_keys=False),
            "note": known.note,
        }

    def members(self, recording: str, given: Mapping[str, str], representative: int, offset: int) -> dict[str, Any]:
        """Some of the frames that a kept frame stands for.

        Args:
            recording: key of the recording.
            given: see `overview`.
            representative: frame index of the kept frame.
            offset: how many members to pass over.

        Raises:
            InputError: it stands for none at these thresholds.
        """
        present = self._present(recording)
        settings = _thresholds(given, self._known(present).settings)
        kept = self._kept(present, settings.similarity_threshold, settings.motion_threshold)
        cluster = next((each.cluster for each in kept if _index(each.frame_id) == representative), None)
        if cluster is None:
            raise InputError(f"Frame {representative} stands for no other frames at these thresholds.")
        some = slice(offset, offset + MEMBERS_AT_ONCE)
        rows = zip(cluster.members[some], cluster.similarities[some], cluster.still[some], strict=True)
        members = [{"index": _index(name), "similarity": round(similarity, 4), "still": still} for name, similarity, still in rows]
        return {"members": members, "total": len(cluster.members), "rows": MEMBERS_AT_ONCE}

    def _present(self, recording: str) -> Present:
        store, catalog = self.workspace.store, self.workspace.catalog
        versions = tuple(store.current_version(ArtifactKey("recordings", recording, asset)) for asset in MADE_OF)
        return Present(recording, versions, catalog.decisions.watermark(recording))

    def _read(self, present: Present) -> Known:
        workspace, recording = self.workspace, present.recording
        inputs = workspace.recording_artifacts(recording, "frames", "diversity_metrics")
        metrics = diversity.read_metrics(inputs["diversity_metrics"].file(diversity.FILE_NAME))
        settings = selecting.settings_in_force(workspace.store, recording)
        ranks, note = None, None
        try:
            ranks = self._ranks(recording, settings, metrics)
        except InputError as error:
            note = f"No selection can be made of this recording yet, so that all frames count alike here: {error}"
        return Known(inputs["frames"].version, metrics, ranks, settings, note)

    def _ranks(self, recording: str, settings: SelectionSettings, metrics: DiversityMetrics) -> tuple[Rank, ...]:
        """What a selection made now would know of the frames when it compares them. One that is not published is made and thrown away."""
        workspace = self.workspace
        planned = selecting.plan(workspace.store, workspace.catalog, workspace.ontology, recording, settings)
        published = workspace.store.find(planned.key, planned.identity.version)
        if published is not None:
            return tuple(selection.ranks_of(published.file(selection.FILE_NAME), metrics))
        with TemporaryDirectory() as folder:
            planned.make(Draft.open(Path(folder)))
            return tuple(selection.ranks_of(Path(folder) / selection.FILE_NAME, metrics))

    def _judged(self, present: Present, similarity_threshold: float, motion_threshold: float) -> tuple[KeptFrame, ...]:
        """The frames that these thresholds keep, in file order."""
        known = self._known(present)
        clusters = diversity_clusters(known.metrics, similarity_threshold, motion_threshold, known.ranks)
        of = {each.representative: each for each in clusters}
        ranks = known.ranks or (Rank.plain,) * len(known.metrics.frame_ids)
        apart = {name for name, rank in zip(known.metrics.frame_ids, ranks, strict=True) if rank is Rank.no_part}
        apart.update(member for each in clusters for member in each.members)
        return tuple(KeptFrame(name, of.get(name)) for name in known.metrics.frame_ids if name not in apart)

    def _command(self, recording: str, settings: SelectionSettings) -> str:
        thresholds = {"--similarity-threshold": settings.similarity_threshold, "--motion-threshold": settings.motion_threshold}
        words = ["lamm", "curate", recording, "--diversity", *(str(word) for pair in thresholds.items() for word in pair)]
        return shlex.join([*words, "--root", str(self.workspace.settings.root)])


def _thresholds(given: Mapping[str, str], settings: SelectionSettings) -> SelectionSettings:
    """The settings in force with other thresholds, and with diversity."""
    return settings.model_copy(
        update={
            "diversity": True,
            "similarity_threshold": _share(given, "similarity", settings.similarity_threshold),
            "motion_threshold": _share(given, "motion", settings.motion_threshold),
        }
    )


def _share(given: Mapping[str, str], name: str, default: float) -> float:
    if name not in given:
        return default
    try:
        value = float(given[name])
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1.0:
        raise InputError(f"`{name}` is a number from 0 to 1.")
    return value


def _kept_frame(kept: KeptFrame) -> dict[str, Any]:
    similarity = None if kept.cluster is None else kept.cluster.mean_similarity
    return {"index": _index(kept.frame_id), "members": kept.size, "mean_similarity": similarity}


def _index(frame_id: str) -> int:
    return int(frame_id.rpartition(":")[2])
