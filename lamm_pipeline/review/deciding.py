"""Taking decisions and reading them back: the one way for the review page, the command line, the job and imported files."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lamm_pipeline.catalog.catalog import Catalog
from lamm_pipeline.catalog.decisions import Decision, NewDecision
from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction import frame_registry
from lamm_pipeline.extraction.frame_registry import FrameRegistry
from lamm_pipeline.ontology.ontology import Ontology
from lamm_pipeline.review import sequence_annotations
from lamm_pipeline.review.carry_over import Annotated, Carried, anchors, carry_over, drop_unknown_frames
from lamm_pipeline.review.decision_rules import checked
from lamm_pipeline.review.decisions import ANCHOR, Action, SubjectKind
from lamm_pipeline.segmentation import detections as detections_file
from lamm_pipeline.storage.artifacts import Artifact, ArtifactKey, ArtifactStore

ASSETS = {
    SubjectKind.frame: "frames",
    SubjectKind.annotation: "detections",
    SubjectKind.sequence: "sequence_annotations",
}
"""The artifact that the subjects of a kind are part of; a class is part of none."""


def decide(
    store: ArtifactStore,
    catalog: Catalog,
    ontology: Ontology,
    false_positive_types: Sequence[str],
    recording: str,
    decisions: Iterable[NewDecision],
    actor: str,
) -> list[int]:
    """Check what somebody says, note where in the data it is, and remember it: all of it or nothing.

    Args:
        store: where the data is.
        catalog: gets the decisions.
        ontology: the classes there are.
        false_positive_types: the words there are.
        recording: key of the recording.
        decisions: without a data version they are about the data in force; with one, about that version.
        actor: who says it.

    Returns:
        The ids of the decisions, in order.

    Raises:
        InputError: something cannot be said, or is about something that is not there; nothing is remembered then.
    """
    catalog.recordings.get(recording)
    said = checked(decisions, ontology, false_positive_types)
    for kind in ASSETS:
        said = _located(store, recording, kind, said)
    _refuse_other_sizes(store, recording, said)
    return catalog.decisions.add(recording, said, actor)


def decisions_now(store: ArtifactStore, catalog: Catalog, recording: str) -> Carried:
    """All decisions on a recording, carried over to the data in force.

    Args:
        store: where the data is.
        catalog: has the decisions.
        recording: key of the recording.
    """
    return carried_to(store, recording, catalog.decisions.of(recording))


def carried_to(store: ArtifactStore, recording: str, decisions: Sequence[Decision]) -> Carried:
    """Carry decisions over to the data in force; like `decisions_now` for decisions that are at hand."""
    carried = Carried(tuple(decisions), ())
    for kind in (SubjectKind.annotation, SubjectKind.sequence):
        mine = [each for each in decisions if each.subject_kind == kind]
        if not mine:
            continue
        key = ArtifactKey("recordings", recording, ASSETS[kind])
        present = store.current(key)
        elsewhere = [each for each in mine if present is None or each.data_version != present.version]
        wanted = {anchor["frame_id"] for each in elsewhere for anchor in each.value.get(ANCHOR) or ()}
        versions = {each.data_version for each in elsewhere if each.data_version is not None}
        past = {
            version: artifact
            for version in versions
            if (artifact := store.find(key, version)) is not None and _frames_of(store, artifact) is not None
        }
        step = carry_over(
            carried.decisions,
            kind,
            None if present is None else present.version,
            () if present is None else annotated(store, present, wanted),
            {version: annotated(store, artifact, wanted) for version, artifact in past.items()},
        )
        carried = Carried(step.decisions, (*carried.lost, *step.lost))
    frames = store.current(ArtifactKey("recordings", recording, "frames"))
    if any(each.subject_kind == SubjectKind.frame for each in decisions) and frames is not None:
        carried = drop_unknown_frames(carried, (frame.frame_id for frame in _registry(frames).frames))
    return Carried(carried.decisions, tuple(sorted(carried.lost, key=lambda each: each.decision.id)))


def annotated(store: ArtifactStore, artifact: Artifact, frame_ids: Iterable[str]) -> Iterator[Annotated]:
    """Stream the subjects that an artifact has in some of its frames, for `carry_over` and for anchors.

    Args:
        store: where the frames of the artifact are.
        artifact: `detections` or `sequence_annotations`.
        frame_ids: of detections only those in these frames are read; sequences come whole, whatever their frames.
    """
    if artifact.key.asset == ASSETS[SubjectKind.annotation]:
        for frame in detections_file.read(artifact.file(detections_file.FILE_NAME), frozenset(frame_ids)):
            for each in frame.detections:
                yield Annotated(each.detection_id, each.class_id, {frame.frame_id: each.box_xyxy})
        return
    frames = _frames_of(store, artifact)
    if frames is None:
        raise InputError(f"The frames that {artifact.key.path}/{artifact.version} was made of are not there any more. Make it again.")
    registry = _registry(frames)
    for sequence in sequence_annotations.read(artifact.file(sequence_annotations.FILE_NAME)).sequences:
        boxes = {}
        for box in sequence.boxes:
            x1, y1, x2, y2 = box.box_xyxyn
            boxes[box.frame_id] = (x1 * registry.width, y1 * registry.height, x2 * registry.width, y2 * registry.height)
        yield Annotated(sequence.sequence_id, sequence.class_id, boxes)


def current_artifact(store: ArtifactStore, recording: str, kind: SubjectKind) -> Artifact:
    """The artifact in force that the subjects of a kind are part of.

    Raises:
        InputError: there is none yet.
    """
    found = store.current(ArtifactKey("recordings", recording, ASSETS[kind]))
    if found is None:
        raise InputError(f"There is no {ASSETS[kind]!r} of {recording!r} yet. Materialize it first.")
    return found


def sequences_by_annotation(store: ArtifactStore, recording: str) -> dict[str, list[str]]:
    """Ids of the sequence annotations in force that each detection is part of; detections of none are not in it."""
    artifact = store.current(ArtifactKey("recordings", recording, ASSETS[SubjectKind.sequence]))
    found: dict[str, list[str]] = {}
    if artifact is not None:
        for sequence in sequence_annotations.read(artifact.file(sequence_annotations.FILE_NAME)).sequences:
            for annotation_id in (each for box in sequence.boxes for each in box.annotation_ids):
                found.setdefault(annotation_id, []).append(sequence.sequence_id)
    return found


def kind_of(subject: str, recording: str) -> tuple[SubjectKind, str]:
    """What a person's short or full id is about.

    Args:
        subject: `drive:000012` or `000012` (a frame), `drive:000012:3` or `000012:3` (an annotation), `drive:s0001` or `s0001` (a
            sequence annotation), anything else is a class.
        recording: key of the recording.

    Returns:
        The kind and the full id.
    """
    name = subject.removeprefix(f"{recording}:")
    first, _, number = name.partition(":")
    if first.isdecimal() and len(first) == 6:
        return (SubjectKind.annotation if number else SubjectKind.frame), f"{recording}:{name}"
    if first[:1] == "s" and first[1:].isdecimal() and not number:
        return SubjectKind.sequence, f"{recording}:{name}"
    if ":" in subject:
        raise InputError(
            f"{subject!r} is not of recording {recording}. Name a frame ({recording}:000012), an annotation ({recording}:000012:3), "
            f"a sequence annotation ({recording}:s0001) or a class (car)."
        )
    return SubjectKind.class_, subject


def _located(store: ArtifactStore, recording: str, kind: SubjectKind, decisions: list[NewDecision]) -> list[NewDecision]:
    """The decisions with data version and anchors, where they are of this kind and lack them."""
    open_ = [each for each in decisions if each.subject_kind == kind and (each.data_version is None or ANCHOR not in each.value)]
    artifacts = {version: _artifact(store, recording, kind, version) for version in {each.data_version for each in open_}}
    found: dict[tuple[str | None, str], Mapping[str, Any]] = {}
    for version, artifact in artifacts.items():
        subjects = {each.subject for each in open_ if each.data_version == version}
        found |= {(version, subject): value for subject, value in _places(store, artifact, kind, subjects)}
        for missing in sorted(subjects - {subject for known, subject in found if known == version}):
            raise InputError(f"Recording {recording} has no {kind} {missing!r} in version {artifact.version} of {artifact.key.asset}.")
    located = []
    for each in decisions:
        key = (each.data_version, each.subject)
        if each.subject_kind == kind and key in found:
            located.append(replace(each, value={**each.value, **found[key]}, data_version=artifacts[each.data_version].version))
        else:
            located.append(each)
    return located


def _refuse_other_sizes(store: ArtifactStore, recording: str, decisions: Iterable[NewDecision]) -> None:
    """Corrected boxes lie in the image, corrected masks have its size."""
    corrections = [each for each in decisions if each.action in (Action.set_box, Action.set_mask)]
    if not corrections:
        return
    registry = _registry(_artifact(store, recording, SubjectKind.frame, None))
    for each in corrections:
        if each.action == Action.set_mask and each.value["mask_rle"]["size"] != [registry.height, registry.width]:
            raise InputError(
                f"The mask for {each.subject} has {each.value['mask_rle']['size']} rows and columns, its image "
                f"{[registry.height, registry.width]}."
            )
        if each.action == Action.set_box and (each.value["box_xyxy"][2] > registry.width or each.value["box_xyxy"][3] > registry.height):
            raise InputError(
                f"The box {each.value['box_xyxy']} for {each.subject} reaches out of its image of {registry.width} x {registry.height} "
                "pixels."
            )


def _artifact(store: ArtifactStore, recording: str, kind: SubjectKind, version: str | None) -> Artifact:
    if version is None:
        return current_artifact(store, recording, kind)
    artifact = store.find(ArtifactKey("recordings", recording, ASSETS[kind]), version)
    if artifact is None:
        raise InputError(f"Version {version} of {ASSETS[kind]!r} of {recording!r} is not there any more. Look at the present one.")
    return artifact


def _places(store: ArtifactStore, artifact: Artifact, kind: SubjectKind, subjects: set[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """What is stored of the place of each subject that there is."""
    if kind is SubjectKind.frame:
        yield from ((frame.frame_id, {}) for frame in _registry(artifact).frames if frame.frame_id in subjects)
        return
    for each in annotated(store, artifact, {_frame_of(subject) for subject in subjects}):
        if each.subject in subjects:
            yield each.subject, {ANCHOR: anchors(each)}


def _frames_of(store: ArtifactStore, artifact: Artifact) -> Artifact | None:
    """The frames that an artifact was made of; they may not be those in force."""
    key = replace(artifact.key, asset="frames")
    version = artifact.manifest.identity.inputs.get("frames")
    return store.current(key) if version is None else store.find(key, version)


def _registry(frames: Artifact) -> FrameRegistry:
    return frame_registry.read(Path(frames.file(frame_registry.FILE_NAME)))


def _frame_of(annotation_id: str) -> str:
    return annotation_id.rpartition(":")[0]
