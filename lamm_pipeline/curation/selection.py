"""`selection.parquet`: what becomes of every frame and annotation of a recording, and why. Owns the format.

One row for each frame that extraction lists, in file order. What people decided goes before what the settings say of scores and of
diversity: a frame that somebody keeps stays however similar it is, an annotation that somebody has reviewed stays however low its score is.
Settings that name classes, frames or annotations hold whatever people decided; an annotation has the class that people gave it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

import pyarrow as pa

from lamm_pipeline.catalog.decisions import Decision
from lamm_pipeline.curation.diversity_selection import Rank, select_diverse
from lamm_pipeline.curation.settings import SelectionSettings
from lamm_pipeline.extraction.diversity import DiversityMetrics
from lamm_pipeline.extraction.frame_registry import FrameRecord
from lamm_pipeline.extraction.in_frame_order import InFrameOrder
from lamm_pipeline.review.decisions import Action, BoxXyxy, DecisionState, Outcome, SubjectKind, frame_state, outcome
from lamm_pipeline.sample_table import FrameState
from lamm_pipeline.segmentation.detections import Detection, FrameDetections
from lamm_pipeline.storage.draft import Draft
from lamm_pipeline.storage.tables import read_table, write_table
from lamm_pipeline.streaming import Progress, no_progress

FILE_NAME = "selection.parquet"


class FrameDrop(StrEnum):
    """Why a frame is not in a dataset. The last three come from versions alone."""

    extraction = "extraction"
    decision = "decision"
    excluded_frame = "excluded_frame"
    still = "still"
    repeated = "repeated"
    not_labelled = "not_labelled"
    no_annotations = "no_annotations"
    all_annotations_dropped = "all_annotations_dropped"
    same_frame = "same_frame"
    conflicting_frame = "conflicting_frame"
    not_hard_case = "not_hard_case"


class AnnotationDrop(StrEnum):
    """Why an annotation is not in a dataset. `class_not_included` and `track_too_short` come from the filters of versions alone."""

    frame_dropped = "frame_dropped"
    decision = "decision"
    excluded_detection = "excluded_detection"
    class_not_included = "class_not_included"
    class_excluded = "class_excluded"
    score_below_min = "score_below_min"
    track_too_short = "track_too_short"


SCHEMA = pa.schema(
    [
        ("frame_id", pa.string()),
        ("frame_index", pa.int64()),
        ("timestamp_ns", pa.int64()),
        ("state", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("rank", pa.int8()),
        ("kept_detection_ids", pa.list_(pa.string())),
        ("kept_class_ids", pa.list_(pa.string())),
        ("dropped_detection_ids", pa.list_(pa.string())),
        ("dropped_reasons", pa.list_(pa.string())),
        ("dropped_details", pa.list_(pa.string())),
        (
            "reviewed",
            pa.list_(
                pa.struct(
                    [
                        ("detection_id", pa.string()),
                        ("class_id", pa.string()),
                        ("box_xyxy", pa.list_(pa.float64())),
                        ("mask_rle", pa.struct([("size", pa.list_(pa.int64())), ("counts", pa.string())])),
                    ]
                )
            ),
        ),
    ]
)


@dataclass(frozen=True)
class Reviewed:
    """What people say about an annotation that they have looked at.

    Attributes:
        detection_id: of the annotation.
        class_id: the class that it really has, None where the models' stands.
        box_xyxy: the corrected box in pixels, None where the models' stands.
        mask_rle: the corrected mask, None where the models' stands.
    """

    detection_id: str
    class_id: str | None
    box_xyxy: BoxXyxy | None
    mask_rle: Mapping[str, Any] | None


@dataclass(frozen=True)
class FrameSelection:
    """What becomes of one frame: a row of `selection.parquet`.

    Attributes:
        state: a `FrameState`: what the frame is for a dataset.
        reason: a `FrameDrop` for frames that are `excluded` or `unlabelled`, else None.
        detail: for people: who decided, what the frame repeats, extraction's own words.
        rank: a `Rank`: what was known of the frame when it was compared with others.
        kept_class_ids: the class of each of `kept_detection_ids`, as people corrected it.
        dropped_reasons: an `AnnotationDrop` for each of `dropped_detection_ids`.
        dropped_details: for people, None where the reason says all.
        reviewed: the annotations that people have looked at, dropped ones among them.
    """

    frame_id: str
    frame_index: int
    timestamp_ns: int
    state: str
    reason: str | None
    detail: str | None
    rank: int
    kept_detection_ids: tuple[str, ...]
    kept_class_ids: tuple[str, ...]
    dropped_detection_ids: tuple[str, ...]
    dropped_reasons: tuple[str, ...]
    dropped_details: tuple[str | None, ...]
    reviewed: tuple[Reviewed, ...]


def select(
    recording: str,
    frames: Sequence[FrameRecord],
    found: Iterable[FrameDetections],
    state: DecisionState,
    settings: SelectionSettings,
    draft: Draft,
    *,
    sequence_ids: Mapping[str, Sequence[str]] | None = None,
    metrics: DiversityMetrics | None = None,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Decide on every frame and annotation of a recording and write the selection. No image is read.

    Args:
        recording: its key.
        frames: all that extraction lists, in file order.
        found: the detections, in the same order.
        state: the decisions in force, carried over to these detections.
        settings: `SelectionSettings.of` the recording.
        draft: gets `selection.parquet`.
        sequence_ids: of the sequence annotations that a detection is part of, by detection id.
        metrics: of the frames; needed with `settings.diversity`.
        progress: told after every frame.

    Returns:
        Counts of what was there, of what is kept (frames that are `kept` or `reviewed_empty`), and of every reason.

    Raises:
        InputError: the detections are of other frames.
    """
    log = draft.log("selection.jsonl")
    ranks: dict[str, Rank] = {}
    detected = InFrameOrder(found, recording, "detections")
    rules = _Rules.of(settings)
    for number, record in enumerate(frames, start=1):
        row = _judged(record, detected.at(record), state, rules, sequence_ids or {})
        ranks[row.frame_id] = Rank(row.rank)
        log.append(vars(row) | {"reviewed": [vars(each) for each in row.reviewed]})
        progress(number, len(frames))
    detected.finish()
    repeated = {} if metrics is None or not settings.diversity else _repeated(metrics, ranks, settings)
    summary = _Summary(settings)

    def rows() -> Iterator[dict[str, Any]]:
        for stored in log:
            row = stored | _dropped(stored, *repeated[stored["frame_id"]]) if stored["frame_id"] in repeated else stored
            summary.add(row)
            yield row

    write_table(draft.directory / FILE_NAME, SCHEMA, rows())
    return summary.to_json()


def read(path: Path) -> Iterator[FrameSelection]:
    """Stream the rows of a selection in file order.

    Args:
        path: of `selection.parquet`.
    """
    plain = [field.name for field in SCHEMA if pa.types.is_list(field.type) and field.name != "reviewed"]
    for row in read_table(path):
        yield FrameSelection(
            **row | {name: tuple(row[name]) for name in plain} | {"reviewed": tuple(_reviewed(each) for each in row["reviewed"])}
        )


def ranks_of(path: Path, metrics: DiversityMetrics) -> list[Rank]:
    """What a selection knew of frames when it compared them, so that other thresholds can be tried on just that.

    Args:
        path: of `selection.parquet`.
        metrics: of the same recording.
    """
    known = {str(row["frame_id"]): Rank(row["rank"]) for row in read_table(path)}
    return [known.get(each, Rank.no_part) for each in metrics.frame_ids]


def said_by(decision: Decision) -> str:
    """Who decided what, for people."""
    note = f": {decision.note}" if decision.note else ""
    return f"decision {decision.id} by {decision.actor}{note}"


@dataclass(frozen=True)
class _Rules:
    """The settings in the form in which they are asked for every frame."""

    excluded_classes: frozenset[str]
    excluded_frame_ids: frozenset[str]
    excluded_detection_ids: frozenset[str]
    min_score: float | None

    @classmethod
    def of(cls, settings: SelectionSettings) -> Self:
        return cls(
            frozenset(settings.excluded_classes),
            frozenset(settings.excluded_frame_ids),
            frozenset(settings.excluded_detection_ids),
            settings.min_score,
        )


def _judged(
    record: FrameRecord,
    found: FrameDetections | None,
    state: DecisionState,
    rules: _Rules,
    sequence_ids: Mapping[str, Sequence[str]],
) -> FrameSelection:
    """A frame by itself, without looking at others."""
    verdict = state.verdict(SubjectKind.frame, record.frame_id)
    detections = () if found is None else found.detections
    outcomes = [
        outcome(state, record.frame_id, each.detection_id, each.class_id, sequence_ids.get(each.detection_id, ())) for each in detections
    ]
    looked_at = verdict.action is Action.keep
    verdicts = [_against(each, made, rules, reviewed=made.reviewed or looked_at) for each, made in zip(detections, outcomes, strict=True)]
    kept = sum(drop is None for drop, _ in verdicts)
    becomes = frame_state(verdict, labelled=found is not None, annotations=kept)
    spoken = verdict.in_force.get("verdict")
    detail = None if spoken is None else said_by(spoken)
    reason: FrameDrop | None = None
    if not record.selected:
        becomes, reason, detail = FrameState.excluded, FrameDrop.extraction, record.drop_reason
    elif becomes is FrameState.excluded:
        reason = FrameDrop.decision
    elif record.frame_id in rules.excluded_frame_ids:
        becomes, reason, detail = FrameState.excluded, FrameDrop.excluded_frame, None
    elif becomes is FrameState.unlabelled:
        reason = FrameDrop.not_labelled if found is None else FrameDrop.all_annotations_dropped if detections else FrameDrop.no_annotations
    if becomes is FrameState.excluded:
        verdicts = [(AnnotationDrop.frame_dropped, None)] * len(verdicts)
    pairs = list(zip(detections, outcomes, verdicts, strict=True))
    return FrameSelection(
        frame_id=record.frame_id,
        frame_index=record.svo2_frame_index,
        timestamp_ns=record.timestamp_ns,
        state=becomes,
        reason=reason,
        detail=detail,
        rank=_rank(becomes, reason, verdict.action),
        kept_detection_ids=tuple(each.detection_id for each, _, (drop, _) in pairs if drop is None),
        kept_class_ids=tuple(made.class_id for _, made, (drop, _) in pairs if drop is None),
        dropped_detection_ids=tuple(each.detection_id for each, _, (drop, _) in pairs if drop is not None),
        dropped_reasons=tuple(drop for _, _, (drop, _) in pairs if drop is not None),
        dropped_details=tuple(why for _, _, (drop, why) in pairs if drop is not None),
        reviewed=tuple(_said(each, made) for each, made, _ in pairs if made.reviewed or looked_at),
    )


def _against(found: Detection, made: Outcome, rules: _Rules, *, reviewed: bool) -> tuple[AnnotationDrop | None, str | None]:
    """What speaks against an annotation, and the detail for people."""
    if made.excluded_by is not None:
        return AnnotationDrop.decision, said_by(made.excluded_by)
    if found.detection_id in rules.excluded_detection_ids:
        return AnnotationDrop.excluded_detection, None
    if made.class_id in rules.excluded_classes:
        return AnnotationDrop.class_excluded, made.class_id
    low = rules.min_score is not None and found.confidence is not None and found.confidence < rules.min_score
    if low and not reviewed:
        return AnnotationDrop.score_below_min, f"{found.confidence:.3f} is below {rules.min_score:g}"
    return None, None


def _rank(state: FrameState, reason: FrameDrop | None, action: Action | None) -> Rank:
    if state is FrameState.excluded or reason is FrameDrop.not_labelled:
        return Rank.no_part
    if action is not None:
        return Rank.wanted
    return Rank.annotated if state is FrameState.kept else Rank.plain


def _said(found: Detection, made: Outcome) -> Reviewed:
    return Reviewed(found.detection_id, made.class_id if made.class_id != found.class_id else None, made.box_xyxy, made.mask_rle)


def _reviewed(row: Mapping[str, Any]) -> Reviewed:
    """From a row of the table."""
    box_xyxy = row["box_xyxy"]
    return Reviewed(row["detection_id"], row["class_id"], None if box_xyxy is None else tuple(box_xyxy), row["mask_rle"])


def _repeated(metrics: DiversityMetrics, ranks: Mapping[str, Rank], settings: SelectionSettings) -> dict[str, tuple[FrameDrop, str]]:
    """The frames for which another one stands, with reason and detail. A frame without metrics stays: its image cannot be compared."""
    known = [ranks.get(each, Rank.no_part) for each in metrics.frame_ids]
    found = select_diverse(metrics.dhash, metrics.motion, settings.similarity_threshold, settings.motion_threshold, known)
    dropped = {}
    for place, head in enumerate(found.stands_for.tolist()):
        if head < 0 or head == place:
            continue
        name = metrics.frame_ids[head]
        if found.still[place]:
            why = f"motion {metrics.motion[place]:.4f} is below {settings.motion_threshold:g}; {name} stands for it"
            dropped[metrics.frame_ids[place]] = (FrameDrop.still, why)
        else:
            why = f"similarity {found.similarity[place]:.4f} to {name} is above {settings.similarity_threshold:g}"
            dropped[metrics.frame_ids[place]] = (FrameDrop.repeated, why)
    return dropped


def _dropped(row: Mapping[str, Any], reason: FrameDrop, detail: str) -> dict[str, Any]:
    """What changes in a row when its frame is dropped after all."""
    ids = sorted([*row["kept_detection_ids"], *row["dropped_detection_ids"]], key=lambda each: int(each.rpartition(":")[2]))
    return {
        "state": FrameState.excluded,
        "reason": reason,
        "detail": detail,
        "kept_detection_ids": [],
        "kept_class_ids": [],
        "dropped_detection_ids": ids,
        "dropped_reasons": [AnnotationDrop.frame_dropped] * len(ids),
        "dropped_details": [None] * len(ids),
    }


class _Summary:
    """Counts the rows of a selection as they are written."""

    def __init__(self, settings: SelectionSettings) -> None:
        self._states: Counter[str] = Counter(dict.fromkeys(FrameState, 0))
        self._frames: Counter[str] = Counter()
        self._annotations: Counter[str] = Counter()
        self._kept = self._dropped = 0
        self._reviewed: Counter[str] = Counter()
        self._classes: dict[str, Counter[str]] = {}
        self._unmatched_frames, self._unmatched_detections = set(settings.excluded_frame_ids), set(settings.excluded_detection_ids)

    def add(self, row: Mapping[str, Any]) -> None:
        self._states[row["state"]] += 1
        self._frames.update([row["reason"]] if row["reason"] else [])
        self._annotations.update(row["dropped_reasons"])
        self._kept += len(row["kept_detection_ids"])
        self._dropped += len(row["dropped_detection_ids"])
        for name in ("class_id", "box_xyxy", "mask_rle"):
            self._reviewed[name] += sum(each[name] is not None for each in row["reviewed"])
        self._reviewed["annotations"] += len(row["reviewed"])
        for class_id, count in Counter(row["kept_class_ids"]).items():
            self._classes.setdefault(class_id, Counter()).update(annotations=count, frames=1)
        self._unmatched_frames.discard(row["frame_id"])
        self._unmatched_detections.difference_update(row["kept_detection_ids"], row["dropped_detection_ids"])

    def to_json(self) -> dict[str, Any]:
        total = sum(self._states.values())
        left = self._states[FrameState.kept] + self._states[FrameState.reviewed_empty]
        return {
            "original": {"frames": total, "annotations": self._kept + self._dropped},
            "filtered": {"frames": left, "annotations": self._kept},
            "reduction_percentage": round(100 * (total - left) / total, 1) if total else 0.0,
            "states": {state: self._states[state] for state in FrameState},
            "dropped_frames": dict(sorted(self._frames.items())),
            "dropped_annotations": dict(sorted(self._annotations.items())),
            "reviewed": {
                "annotations": self._reviewed["annotations"],
                "other_class": self._reviewed["class_id"],
                "corrected_boxes": self._reviewed["box_xyxy"],
                "corrected_masks": self._reviewed["mask_rle"],
            },
            "classes": {class_id: dict(sorted(counts.items())) for class_id, counts in sorted(self._classes.items())},
            "unmatched_exclusions": {"frame_ids": sorted(self._unmatched_frames), "detection_ids": sorted(self._unmatched_detections)},
        }
