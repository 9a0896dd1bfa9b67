"""What `frame_uncertainty` of a recording is to be made of: the evaluations there are, and what is published of each already."""

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from lamm_pipeline.catalog.catalog import Catalog
from lamm_pipeline.catalog.decisions import utc
from lamm_pipeline.catalog.models import EvaluationRecording, EvaluationRow
from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction import frame_registry
from lamm_pipeline.extraction.frame_registry import FrameRegistry
from lamm_pipeline.reconstruction import frame_boxes
from lamm_pipeline.segmentation.torch_device import resolve_device
from lamm_pipeline.storage.artifacts import Artifact, ArtifactKey, ArtifactStore
from lamm_pipeline.storage.in_force import artifacts_in_force
from lamm_pipeline.uncertainty import evaluation_files, labels
from lamm_pipeline.uncertainty.evaluation_files import Evaluation
from lamm_pipeline.uncertainty.score_frame import Derivation, FrameScorer, LabelFiles, derivable
from lamm_pipeline.uncertainty.score_recording import EvaluationInput, published_identity
from lamm_pipeline.uncertainty.settings import OPERATIONAL_FIELDS, Backend, UncertaintySettings

ASSET = "frame_uncertainty"
CODE_VERSION = "2"
MISSING = "missing"


@dataclass(frozen=True)
class _Part:
    """An evaluation of the recording, as the catalog and the disk have it."""

    evaluation: Evaluation
    folder: Path
    digest: str
    frames_version: str | None
    refused: str | None
    labels: LabelFiles | None
    labels_digest: str | None


@dataclass(frozen=True)
class RecordingPlan:
    """What the asset needs.

    Attributes:
        artifacts: read, by asset.
        registry: of the frames.
        device: of torch, None for NumPy.
        files: digests of the evaluations and their labels, by role.
        settings: science settings, the back end among them.
    """

    recording: str
    artifacts: Mapping[str, Artifact]
    registry: FrameRegistry
    device: str | None
    files: Mapping[str, str]
    settings: Mapping[str, Any]
    _parts: Sequence[_Part]
    _published: Artifact | None

    def inputs(self, *, afresh: bool = False) -> list[EvaluationInput]:
        """The evaluations, ready to be scored.

        Args:
            afresh: take nothing from what is published, except what cannot be had otherwise.
        """
        frames = self.artifacts["frames"]
        known = {frame.svo2_frame_index: frame for frame in self.registry.selected_frames}
        sizes = {name: entry.size for name, entry in frames.manifest.files.items()}
        found = []
        for part in self._parts:
            identity = _identity(part, self.artifacts, self.registry, self.settings)
            derived = identity["boxes_3d"] is not None
            scorer = FrameScorer(
                part.evaluation,
                self.recording,
                known,
                sizes,
                self.device,
                bool(self.settings["keep_points"]),
                part.labels,
                self._derivation if derived else None,
            )
            same = (not afresh or part.refused is not None) and published_identity(self._published, part.evaluation.id) == identity
            stale = None
            if part.frames_version not in (None, frames.version):
                stale = f"its predictions are for version {part.frames_version} of the frames, in force is {frames.version}"
            refused = None if same else part.refused
            found.append(EvaluationInput(part.evaluation, part.folder, identity, stale, refused, scorer, self._published if same else None))
        return found

    @cached_property
    def _derivation(self) -> Derivation | None:
        if self.registry.camera is None:
            return None
        path = self.artifacts["boxes_3d"].file(frame_boxes.FILE_NAME)
        boxes = {frame.frame_index: [each.box for each in frame.boxes] for frame in frame_boxes.read(path)}
        return Derivation(self.artifacts["frames"].folder, self.registry.camera, boxes)


def plan_recording(store: ArtifactStore, catalog: Catalog, recording: str, settings: UncertaintySettings, device: str) -> RecordingPlan:
    """Find out what there is to score.

    Predictions whose files look as they did are not read again to know their digest.

    Args:
        store: artifacts.
        catalog: evaluations.
        recording: key.
        settings: of the asset.
        device: `cpu` or `cuda`, as `LAMM_DEVICE` says.

    Raises:
        InputError: the recording has no frames, or the back end asked for is not there.
    """
    published = store.current(ArtifactKey("recordings", recording, ASSET))
    parts = [_part(catalog, row, known, published) for row, known in catalog.evaluations.of_recording(recording)]
    torch_on = torch_device(settings.backend, device)
    computed_with = "numpy" if torch_on is None else f"torch {torch_on}"
    # those of a config that inherits from the settings are more
    deciding = set(UncertaintySettings.model_fields) - OPERATIONAL_FIELDS
    science = {**settings.model_dump(mode="json", include=deciding), "computed_with": computed_with}
    artifacts = _artifacts(store, recording, boxes=settings.derive_labels and any(derivable(part.evaluation) for part in parts))
    registry = frame_registry.read(artifacts["frames"].file(frame_registry.FILE_NAME))
    parts = [_known_or_missing(part, published, _identity(part, artifacts, registry, science)) for part in parts]
    files = {f"evaluation:{part.evaluation.id}": part.digest for part in parts}
    files |= {f"labels:{part.evaluation.id}": part.labels_digest for part in parts if part.labels_digest is not None}
    return RecordingPlan(
        recording=recording,
        artifacts=artifacts,
        registry=registry,
        device=torch_on,
        files=files,
        settings=science,
        _parts=parts,
        _published=published,
    )


def torch_device(backend: Backend, device: str) -> str | None:
    """The device that torch is to compute on; None when NumPy is to compute.

    Raises:
        InputError: torch is asked for and not installed, or finds no such device.
    """
    there = importlib.util.find_spec("torch") is not None
    if backend is Backend.numpy or (backend is Backend.auto and not (device == "cuda" and there)):
        return None
    if not there:
        raise InputError("The back end 'torch' needs torch, which this installation lacks; install it, or set `backend` to numpy.")
    return resolve_device(device)


def _artifacts(store: ArtifactStore, recording: str, *, boxes: bool) -> dict[str, Artifact]:
    """The frames, and the 3D boxes where they are wanted and those of these frames: what is derived from them can be done without."""
    frames = artifacts_in_force(store, recording, ["frames"])
    if boxes:
        try:
            return artifacts_in_force(store, recording, ["frames", "boxes_3d"])
        except InputError:
            return frames
    return frames


def _part(catalog: Catalog, row: EvaluationRow, known: EvaluationRecording, published: Artifact | None) -> _Part:
    folder = Path(row.path)
    own = folder / known.recording
    label_files = labels_digest = None
    try:
        evaluation = evaluation_files.read_evaluation(folder)
        if evaluation.id != row.id or not own.is_dir():
            raise InputError(f"{own} is gone, or {folder} is another evaluation now. Put it back, or add the evaluation again.")
        version = evaluation_files.frames_version(own)
        digest = _digest(catalog, folder, known)
        if row.labels_folder is not None and row.class_map is not None:
            label_files = LabelFiles(Path(row.labels_folder), known.recording, labels.read_class_map(Path(row.class_map)))
            labels_digest = labels.labels_digest(label_files.folder, known.recording, label_files.class_map)
    except InputError as error:
        kept = None if published is None else published.manifest.identity.files.get(f"labels:{row.id}")
        return _Part(_of_row(row), own, known.digest or MISSING, None, str(error), None, kept)
    return _Part(evaluation, own, digest, version, None, label_files, labels_digest)


def _known_or_missing(part: _Part, published: Artifact | None, identity: Mapping[str, Any]) -> _Part:
    """What cannot be read is taken from what is published of it; without that it is missing, so that it is scored once it can be read."""
    if part.refused is None or published_identity(published, part.evaluation.id) == identity:
        return part
    return replace(part, digest=MISSING)


def _identity(part: _Part, artifacts: Mapping[str, Artifact], registry: FrameRegistry, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that decides the files of an evaluation in the artifact."""
    boxes = artifacts.get("boxes_3d")
    derived = boxes is not None and part.labels_digest is None and derivable(part.evaluation) and registry.camera is not None
    return {
        "code_version": CODE_VERSION,
        "settings": dict(settings),
        "evaluation": part.digest,
        "labels": part.labels_digest,
        "frames": artifacts["frames"].version,
        "boxes_3d": boxes.version if boxes is not None and derived else None,
    }


def _digest(catalog: Catalog, folder: Path, known: EvaluationRecording) -> str:
    stamp = evaluation_files.stamp(folder, known.recording)
    if known.digest is not None and known.stamp == stamp:
        return known.digest
    digest = evaluation_files.content_digest(folder, known.recording)
    catalog.evaluations.set_digest(known.evaluation, known.recording, stamp, digest)
    return digest


def _of_row(row: EvaluationRow) -> Evaluation:
    moment = utc(row.created_at).isoformat()
    return Evaluation(row.id, row.model_id, tuple(row.classes), row.members, tuple(row.foreground), moment, row.note)
