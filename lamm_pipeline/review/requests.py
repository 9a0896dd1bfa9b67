"""Many decisions at once, as the job `decide` and the command line give them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from lamm_pipeline.catalog.catalog import Catalog
from lamm_pipeline.catalog.decisions import NewDecision
from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction import frame_registry
from lamm_pipeline.ontology.ontology import Ontology
from lamm_pipeline.review.carry_over import MIN_IOU
from lamm_pipeline.review.deciding import current_artifact, decide, decisions_now, kind_of, sequences_by_annotation
from lamm_pipeline.review.decision_files import MaskForm, write_for_labelling
from lamm_pipeline.review.decisions import Action, SubjectKind
from lamm_pipeline.review.labelling_status import parse_status
from lamm_pipeline.review.returned_files import ReturnedDecisions, read_returned
from lamm_pipeline.segmentation import detections
from lamm_pipeline.storage.artifacts import ArtifactStore

MAX_TAG = 100


class DecisionRequest(BaseModel):
    """What somebody says about one recording.

    A subject is a frame (`drive:000012`), an annotation (`drive:000012:3`), a sequence annotation (`drive:s0001`), or a class for the whole
    recording (`car`); `drive:` may be left out.
    """

    model_config = ConfigDict(frozen=True)

    exclude: list[str] = Field([], description="Subjects to leave out.")
    keep: list[str] = Field([], description="Subjects to keep as they are.")
    reviewed_empty: list[str] = Field([], description="Frames in which there is nothing: negatives.")
    unreview: list[str] = Field([], description="Subjects to treat as if nobody had looked at them.")
    set_class: dict[str, str] = Field({}, description="Class by annotation or sequence annotation.")
    positive: list[str] = Field([], description="Annotations or sequence annotations that are what was looked for.")
    negative: list[str] = Field([], description="Annotations or sequence annotations that are not.")
    false_positive_types: dict[str, list[str]] = Field({}, description="What annotations or sequence annotations are instead.")
    note: str = Field("", max_length=10_000, description="For people; stands with every decision of this request.")
    status: str | None = Field(
        None, description="Labelling status of the recording: unlabelled, in_progress, in_review, labelled, or another tool's word."
    )
    labeler: str | None = Field(None, max_length=200, description="Who labels the recording; an empty text for nobody.")
    tags: list[str] = Field([], description="Tags to put on the recording.")
    untag: list[str] = Field([], description="Tags to take off the recording.")
    import_file: str | None = Field(None, description="COCO file that came back from a labelling tool.")
    min_iou: float = Field(
        MIN_IOU, ge=0.05, le=1.0, description="Least overlap of an annotation without id in that file with the one that it is."
    )
    corrections_only: bool = Field(
        False, description="Take only changes from that file, because its images have not been looked at completely."
    )


def carry_out(
    store: ArtifactStore,
    catalog: Catalog,
    ontology: Ontology,
    false_positive_types: tuple[str, ...],
    recording: str,
    request: DecisionRequest,
    actor: str,
) -> dict[str, Any]:
    """Do what a request says.

    Returns:
        The ids of the decisions, and what the imported file had that did not match.

    Raises:
        InputError: something in it cannot be; then no decision is taken.
    """
    status = None if request.status is None else parse_status(request.status)
    for tag in (*request.tags, *request.untag):
        check_tag(tag)
    said = list(_said(recording, request))
    report: dict[str, Any] = {}
    if request.import_file is not None:
        path = Path(request.import_file).expanduser()
        returned = _returned(store, catalog, ontology, recording, path, request)
        said += returned.decisions
        report["import"] = dict(returned.report)
    report["decisions"] = decide(store, catalog, ontology, false_positive_types, recording, said, actor) if said else []
    if request.import_file is not None:
        details = {"file": Path(request.import_file).name, **report["import"], "decisions_taken": len(report["decisions"])}
        catalog.audit.add(actor, "decisions.import", recording, details)
    if status is not None or request.labeler is not None:
        catalog.labelling.set([recording], actor, status=status, labeler=request.labeler)
    catalog.tags.add([recording], request.tags, actor)
    catalog.tags.remove([recording], request.untag, actor)
    return report


def check_tag(tag: str) -> str:
    """Return `tag` if it may be put on a recording.

    Raises:
        InputError: it may not.
    """
    if not tag.strip() or tag != tag.strip() or len(tag) > MAX_TAG or not tag.isprintable():
        raise InputError(f"{tag!r} is no tag: give it 1 to {MAX_TAG} characters on one line, without blanks around them.")
    return tag


def export_for_labelling(
    store: ArtifactStore,
    catalog: Catalog,
    ontology: Ontology,
    recording: str,
    folder: Path,
    *,
    masks: MaskForm = MaskForm.rle,
    frame_ids: list[str] | None = None,
) -> dict[str, int]:
    """Write a recording for a labelling tool, with the decisions in force; see `write_for_labelling`."""
    frames = current_artifact(store, recording, SubjectKind.frame)
    found = current_artifact(store, recording, SubjectKind.annotation)
    return write_for_labelling(
        folder,
        frame_registry.read(frames.file(frame_registry.FILE_NAME)),
        frames.folder,
        detections.read(found.file(detections.FILE_NAME)),
        decisions_now(store, catalog, recording).state,
        ontology,
        sequence_ids=sequences_by_annotation(store, recording),
        masks=masks,
        only=None if frame_ids is None else [kind_of(each, recording)[1] for each in frame_ids],
    )


def _said(recording: str, request: DecisionRequest) -> Iterator[NewDecision]:
    plain = {
        Action.exclude: request.exclude,
        Action.keep: request.keep,
        Action.reviewed_empty: request.reviewed_empty,
        Action.unreview: request.unreview,
    }
    values: list[tuple[Action, str, dict[str, Any]]] = [
        *((action, subject, {}) for action, subjects in plain.items() for subject in subjects),
        *((Action.set_class, subject, {"class_id": class_id}) for subject, class_id in request.set_class.items()),
        *((Action.set_positive, subject, {"is_positive": True}) for subject in request.positive),
        *((Action.set_positive, subject, {"is_positive": False}) for subject in request.negative),
        *((Action.set_false_positive_types, subject, {"types": types}) for subject, types in request.false_positive_types.items()),
    ]
    for action, subject, value in values:
        yield NewDecision(*kind_of(subject, recording), action, value, note=request.note)


def _returned(
    store: ArtifactStore, catalog: Catalog, ontology: Ontology, recording: str, path: Path, request: DecisionRequest
) -> ReturnedDecisions:
    frames = current_artifact(store, recording, SubjectKind.frame)
    found = current_artifact(store, recording, SubjectKind.annotation)
    return read_returned(
        path,
        frame_registry.read(frames.file(frame_registry.FILE_NAME)),
        detections.read(found.file(detections.FILE_NAME)),
        decisions_now(store, catalog, recording).state,
        ontology,
        sequence_ids=sequences_by_annotation(store, recording),
        min_iou=request.min_iou,
        corrections_only=request.corrections_only,
    )
