"""Curating one recording from what is in force: its inputs, the decisions, the version they give, and making it.

The asset `selection` and whatever else needs a selection that knows the latest decisions (a new dataset version) share this.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lamm_pipeline.catalog.catalog import Catalog
from lamm_pipeline.catalog.decisions import Decision
from lamm_pipeline.curation import selection
from lamm_pipeline.curation.sequence_members import sequence_members
from lamm_pipeline.curation.settings import SelectionSettings
from lamm_pipeline.extraction import diversity, frame_registry
from lamm_pipeline.ontology.ontology import Ontology
from lamm_pipeline.review.carry_over import Carried, Lost
from lamm_pipeline.review.deciding import decisions_now
from lamm_pipeline.review.decisions import ANCHOR, Action, SubjectKind
from lamm_pipeline.segmentation import detections
from lamm_pipeline.storage.artifacts import Artifact, ArtifactKey, ArtifactStore, Identity
from lamm_pipeline.storage.atomic import digest_json
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline.storage.in_force import artifacts_in_force
from lamm_pipeline.storage.making import find_or_make
from lamm_pipeline.streaming import Progress, no_progress

ASSET = "selection"
CODE_VERSION = "1"


@dataclass(frozen=True)
class SelectionPlan:
    """A selection before it is made.

    Attributes:
        recording: its key.
        inputs: the artifacts it is made of, by asset.
        settings: as far as they concern this recording.
        carried: the decisions, carried over to these inputs.
        members: ids of the sequence annotations with decisions that each detection is part of.
        lost: decisions in force that find nothing.
    """

    recording: str
    inputs: Mapping[str, Artifact]
    settings: SelectionSettings
    carried: Carried
    members: Mapping[str, Sequence[str]]
    lost: tuple[Lost, ...]

    @property
    def key(self) -> ArtifactKey:
        """Of the selection."""
        return ArtifactKey("recordings", self.recording, ASSET)

    @property
    def standing(self) -> list[Decision]:
        """The decisions in force that make a difference, oldest first."""
        return [each for each in self.carried.state.decisions() if each.action != Action.note]

    @property
    def files(self) -> dict[str, str]:
        """Digest of the decisions that count, the same again when one is taken and undone."""
        return {"decisions": digest_json([_content(each) for each in self.standing])} if self.standing else {}

    @property
    def identity(self) -> Identity:
        """Everything that decides the selection."""
        versions = {name: artifact.version for name, artifact in self.inputs.items()}
        return Identity(ASSET, CODE_VERSION, self.settings.model_dump(mode="json"), versions, self.files)

    def make(self, draft: Draft, progress: Progress = no_progress) -> dict[str, Any]:
        """Write the selection; returns its counts."""
        registry = frame_registry.read(self.inputs["frames"].file(frame_registry.FILE_NAME))
        metrics = self.inputs.get("diversity_metrics")
        counts = selection.select(
            self.recording,
            sorted(registry.frames, key=lambda frame: frame.svo2_frame_index),
            detections.read(self.inputs["detections"].file(detections.FILE_NAME)),
            self.carried.state,
            self.settings,
            draft,
            sequence_ids=self.members,
            metrics=None if metrics is None else diversity.read_metrics(metrics.file(diversity.FILE_NAME)),
            progress=progress,
        )
        return {**counts, "decisions": len(self.standing)}


def plan(store: ArtifactStore, catalog: Catalog, ontology: Ontology, recording: str, settings: SelectionSettings) -> SelectionPlan:
    """Find what the selection of a recording would be made of now.

    Args:
        store: where its artifacts are.
        catalog: has the decisions.
        ontology: the classes there are.
        recording: its key.
        settings: for any recordings.

    Raises:
        InputError: an input is missing, or they were not made from each other, or there is no such class.
    """
    classes = [each.id for each in ontology.select(settings.excluded_classes)]
    carried = decisions_now(store, catalog, recording)
    mine = settings.model_copy(update={"excluded_classes": classes}).of(recording)
    inputs = artifacts_in_force(store, recording, ["frames", "detections", *(["diversity_metrics"] if mine.diversity else [])])
    if carried.state.sequences:  # of other detections too: members are found by overlap
        inputs |= artifacts_in_force(store, recording, ["sequence_annotations"])
    members: dict[str, list[str]] = {}
    lost = list(carried.lost)
    if "sequence_annotations" in inputs:
        members, astray = sequence_members(inputs["sequence_annotations"], inputs["detections"], inputs["frames"], carried.state.sequences)
        reason = "None of its boxes overlaps a detection of its class."
        lost += [
            Lost(each, reason) for each in carried.state.decisions() if each.subject_kind == SubjectKind.sequence and each.subject in astray
        ]
    return SelectionPlan(recording, inputs, mine, carried, members, tuple(lost))


def settings_in_force(store: ArtifactStore, recording: str) -> SelectionSettings:
    """The settings of the selection in force; the defaults where there is none."""
    artifact = store.current(ArtifactKey("recordings", recording, ASSET))
    return SelectionSettings() if artifact is None else SelectionSettings.model_validate(artifact.manifest.identity.config)


def refresh(store: ArtifactStore, catalog: Catalog, ontology: Ontology, recording: str) -> tuple[Artifact, SelectionPlan] | None:
    """Bring the selection of a recording up to the latest decisions and data, with the settings in force.

    Returns:
        The selection that was put in force and what it was made of; None when it was up to date.

    Raises:
        InputError: an input is missing, or they were not made from each other.
    """
    planned = plan(store, catalog, ontology, recording, settings_in_force(store, recording))
    if store.current_version(planned.key) == planned.identity.version:
        return None
    return bring_about(store, planned), planned


def bring_about(store: ArtifactStore, planned: SelectionPlan) -> Artifact:
    """Put a planned selection in force: the published one if there is, else made now."""
    sources = dict.fromkeys(source for artifact in planned.inputs.values() for source in artifact.manifest.sources)
    return find_or_make(store, planned.key, planned.identity, lambda draft: (planned.make(draft), {}), list(sources))


def _content(decision: Decision) -> list[Any]:
    """What of a decision makes a difference."""
    value = {name: each for name, each in decision.value.items() if name != ANCHOR}
    return [decision.id, decision.subject_kind, decision.subject, decision.action, value, decision.actor, decision.note]
