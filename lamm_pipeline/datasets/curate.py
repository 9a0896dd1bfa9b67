"""The asset `curated_dataset`: which frames and annotations of a version are kept, and why the others are not.

What the selections of its recordings leave out stays out; the version's own filters go on top.

`selection.parquet` has one row for every frame that there is, in the version's order; `selection.json` has the counts. Nothing vanishes:
every frame and every annotation is either kept or dropped for a reason. `samples.parquet` is the sample table of what is kept, with the
hash of every image; all that follows reads only that.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa

from lamm_pipeline import sample_table
from lamm_pipeline.curation.selection import AnnotationDrop, FrameDrop
from lamm_pipeline.datasets.samples import SourceFrame, source_frames
from lamm_pipeline.datasets.settings import DatasetSettings, EmptyFrames, FilterSettings, OnConflict
from lamm_pipeline.datasets.versions import VersionManifest, content_id
from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction.diversity import signature
from lamm_pipeline.sample_table import Annotation, ArtifactFolder, FrameState, Sample
from lamm_pipeline.storage.atomic import write_json
from lamm_pipeline.storage.draft import CHECKPOINT_EVERY, Draft
from lamm_pipeline.storage.tables import read_table, write_batches, write_table
from lamm_pipeline.streaming import Progress, map_ordered, no_progress

SELECTION_FILE = "selection.parquet"
SUMMARY_FILE = "selection.json"
LISTED_IDS = 10
TOGETHER = 16
"""Frames that go to a thread together: most have their hash, and to hand over each would cost more than all else that is done to it."""
FRAMES_PER_CHECKPOINT = 40 * CHECKPOINT_EVERY  # a frame takes microseconds here, a checkpoint syncs the disk


BY_FILTER = frozenset(
    {FrameDrop.decision, FrameDrop.excluded_frame, FrameDrop.still, FrameDrop.repeated, FrameDrop.not_hard_case, *AnnotationDrop}
    - {AnnotationDrop.frame_dropped}
)

SCHEMA = pa.schema(
    [
        ("frame_id", pa.string()),
        ("recording", pa.string()),
        ("frame_index", pa.int64()),
        ("timestamp_ns", pa.int64()),
        ("kept", pa.bool_()),
        ("state", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("kept_detection_ids", pa.list_(pa.string())),
        ("kept_class_ids", pa.list_(pa.string())),
        ("dropped_detection_ids", pa.list_(pa.string())),
        ("dropped_reasons", pa.list_(pa.string())),
        ("dropped_details", pa.list_(pa.string())),
        ("corrected_detection_ids", pa.list_(pa.string())),
    ]
)


@dataclass(frozen=True)
class CuratedFrame:
    """What becomes of one frame: a row of `selection.parquet`.

    Attributes:
        kept: whether the frame is in the dataset; a kept frame without annotations is a negative.
        state: a `FrameState`. A negative is `reviewed_empty` where a person says so, else `unlabelled`.
        reason: a `FrameDrop`, None for kept frames.
        detail: for people: who decided, what the frame repeats, extraction's own words.
        kept_class_ids: classes of `kept_detection_ids`, one each, as people corrected them.
        dropped_reasons: an `AnnotationDrop` for each of `dropped_detection_ids`.
        dropped_details: for people, None where the reason says all.
        corrected_detection_ids: the kept annotations to which a person gave another class, box or mask.
    """

    frame_id: str
    recording: str
    frame_index: int
    timestamp_ns: int | None
    kept: bool
    state: str
    reason: str | None
    detail: str | None
    kept_detection_ids: tuple[str, ...]
    kept_class_ids: tuple[str, ...]
    dropped_detection_ids: tuple[str, ...]
    dropped_reasons: tuple[str, ...]
    dropped_details: tuple[str | None, ...]
    corrected_detection_ids: tuple[str, ...]


def curate_version(
    manifest: VersionManifest,
    artifact_folder: ArtifactFolder,
    draft: Draft,
    progress: Progress = no_progress,
    *,
    workers: int | None = None,
) -> dict[str, Any]:
    """Decide on every frame and annotation of a version and write the selection and the samples that are kept.

    Args:
        manifest: the version.
        artifact_folder: where its pinned artifacts lie.
        draft: gets `selection.parquet`, `selection.json` and `samples.parquet`.
        progress: told after every frame.
        workers: number of threads, None for one per processor.

    Returns:
        The content of `selection.json`.

    Raises:
        InputError: nothing is left, or sources differ in a frame and the settings say that this is an error.
    """
    rows, samples = draft.log("selection.jsonl"), draft.row_log("samples.arrow", sample_table.SCHEMA)
    done = int(draft.state.get("done", 0))
    hard = None if manifest.hard_cases is None else frozenset(manifest.hard_cases.frame_ids)
    curated = curate(islice(source_frames(manifest, artifact_folder), done, None), manifest.settings, hard)
    hashed = map_ordered(_with_image_hashes, _groups(curated), workers)
    frames = chain.from_iterable(zip(group, kept, strict=True) for group, kept in hashed)
    for number, ((row, _), kept) in enumerate(frames, start=done + 1):
        rows.append(vars(row))
        if kept is not None:
            samples.append(sample_table.to_row(kept))
        progress(number, None)
        if number % FRAMES_PER_CHECKPOINT == 0:
            draft.checkpoint({"done": number})
    summary = _summary(manifest, rows)
    if manifest.settings.on_conflict is OnConflict.error:
        _refuse_conflicts(manifest, rows)
    if summary["filtered"]["frames"] == 0:
        raise InputError(
            f"Dataset version {manifest.key!r} is empty: of {summary['original']['frames']} frames none is kept "
            f"({_listed(summary['dropped_frames'])}). Loosen the filters, or add recordings."
        )
    write_table(draft.directory / SELECTION_FILE, SCHEMA, rows)
    write_batches(draft.directory / sample_table.FILE_NAME, sample_table.SCHEMA, samples.batches())
    write_json(draft.directory / SUMMARY_FILE, summary)
    return summary


Outcome = tuple[CuratedFrame, Sample | None]
"""What becomes of a frame, and the sample that is kept of it."""


def curate(frames: Iterable[SourceFrame], settings: DatasetSettings, hard_cases: frozenset[str] | None = None) -> Iterator[Outcome]:
    """Decide on frames and annotations, as a stream.

    Args:
        frames: of the version.
        settings: of the version.
        hard_cases: ids of the only frames that are wanted; None = all are.
    """
    filters = settings.filters
    excluded_frames = frozenset(filters.excluded_frame_ids)
    against = _against(filters)
    for frame in frames:
        reason, detail = _frame_reason(frame, excluded_frames, hard_cases)
        annotations = frame.sample.annotations
        if reason is not None:
            state = FrameState.unlabelled if reason is FrameDrop.not_labelled else FrameState.excluded
            yield _curated(frame.sample, state, reason, detail, [(each, (AnnotationDrop.frame_dropped, None)) for each in annotations])
            continue
        before = _dropped_before(frame)
        verdicts = [(each, before.get(each.detection_id) or against(each)) for each in annotations]
        if any(verdict is None for _, verdict in verdicts):
            state = FrameState.kept
        elif frame.reviewed_empty:
            state = FrameState.reviewed_empty
        else:
            state = FrameState.unlabelled
            if settings.empty_frames is EmptyFrames.drop:
                reason = FrameDrop.all_annotations_dropped if verdicts else FrameDrop.no_annotations
        yield _curated(frame.sample, state, reason, None, verdicts)


def read_selection(folder: Path) -> Iterator[CuratedFrame]:
    """Stream the rows of a published selection.

    Args:
        folder: of the artifact `curated_dataset`.
    """
    lists = [field.name for field in SCHEMA if pa.types.is_list(field.type)]
    for row in read_table(folder / SELECTION_FILE):
        yield CuratedFrame(**row | {name: tuple(row[name]) for name in lists})


_Verdict = tuple[AnnotationDrop, str | None] | None
"""Why an annotation is dropped, with the detail for people; None when it is kept."""


def _frame_reason(
    frame: SourceFrame, excluded_frames: frozenset[str], hard_cases: frozenset[str] | None
) -> tuple[FrameDrop | None, str | None]:
    """Why a frame is dropped whatever is on it, with the detail for people."""
    if frame.twin is not None:
        return _against_twin(frame.sample, frame.twin.sample)
    if hard_cases is not None and frame.sample.frame_id not in hard_cases:
        return FrameDrop.not_hard_case, None
    chosen = frame.selection
    if chosen is not None and chosen.state == FrameState.excluded:
        return FrameDrop(str(chosen.reason)), chosen.detail
    if not frame.selected:
        return FrameDrop.extraction, frame.drop_reason
    if frame.sample.frame_id in excluded_frames:
        return FrameDrop.excluded_frame, None
    return None if frame.labelled or frame.reviewed_empty else FrameDrop.not_labelled, None


def _against_twin(sample: Sample, taken: Sample) -> tuple[FrameDrop, str]:
    """What is said of a frame that another source has too."""
    differences = []
    if None not in (sample.image_hash, taken.image_hash) and sample.image_hash != taken.image_hash:
        differences.append("another image")
    if len(sample.annotations) != len(taken.annotations):
        differences.append(f"{len(sample.annotations)} annotations, not {len(taken.annotations)}")
    elif sample.annotations != taken.annotations:
        different = sum(one != other for one, other in zip(sample.annotations, taken.annotations, strict=True))
        differences.append(f"{different} of {len(sample.annotations)} annotations differ")
    if differences:
        return FrameDrop.conflicting_frame, f"{sample.artifact} has {' and '.join(differences)}; that of {taken.artifact} is taken"
    return FrameDrop.same_frame, f"{sample.artifact} has the same as {taken.artifact}"


def _groups(outcomes: Iterator[Outcome]) -> Iterator[list[Outcome]]:
    while group := list(islice(outcomes, TOGETHER)):
        yield group


def _with_image_hashes(group: list[Outcome]) -> list[Sample | None]:
    return [_with_image_hash(outcome) for outcome in group]


def _with_image_hash(outcome: Outcome) -> Sample | None:
    """The sample that is kept, with the hash of its image; computed where its source has none."""
    sample = outcome[1]
    path = None if sample is None else sample.path(sample.image)
    if sample is None or path is None or sample.image_hash is not None:
        return sample
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise InputError(f"The image {path} of frame {sample.frame_id!r} is missing or damaged. Restore it (`lamm verify` tells more).")
    return replace(sample, image_hash=signature(np.asarray(image, np.uint8)).dhash64)


def _dropped_before(frame: SourceFrame) -> dict[str, tuple[AnnotationDrop, str | None]]:
    """What the recording's selection drops of a frame, by detection id."""
    row = frame.selection
    if row is None:
        return {}
    dropped = zip(row.dropped_detection_ids, row.dropped_reasons, row.dropped_details, strict=True)
    return {name: (AnnotationDrop(reason), detail) for name, reason, detail in dropped}


def _against(filters: FilterSettings) -> Callable[[Annotation], _Verdict]:
    """What the version's own filters have against an annotation."""
    included, excluded = frozenset(filters.include_classes), frozenset(filters.excluded_classes)
    excluded_detections = frozenset(filters.excluded_detection_ids)

    def against(annotation: Annotation) -> _Verdict:
        if annotation.detection_id in excluded_detections:
            return AnnotationDrop.excluded_detection, None
        if included and annotation.class_id not in included:
            return AnnotationDrop.class_not_included, annotation.class_id
        if annotation.class_id in excluded:
            return AnnotationDrop.class_excluded, annotation.class_id
        low = filters.min_score is not None and annotation.score is not None and annotation.score < filters.min_score
        if low and not annotation.reviewed:
            return AnnotationDrop.score_below_min, f"{annotation.score:.3f} is below {filters.min_score:g}"
        if filters.min_track_length > 1 and annotation.track_length < filters.min_track_length:
            return AnnotationDrop.track_too_short, f"its track is seen on {annotation.track_length} frames"
        return None

    return against


def _curated(
    sample: Sample, state: FrameState, reason: FrameDrop | None, detail: str | None, verdicts: list[tuple[Annotation, _Verdict]]
) -> Outcome:
    kept = tuple(annotation for annotation, verdict in verdicts if verdict is None)
    dropped = [(annotation, *verdict) for annotation, verdict in verdicts if verdict is not None]
    row = CuratedFrame(
        frame_id=sample.frame_id,
        recording=sample.recording,
        frame_index=sample.frame_index,
        timestamp_ns=sample.timestamp_ns,
        kept=reason is None,
        state=state,
        reason=reason,
        detail=detail,
        kept_detection_ids=tuple(annotation.detection_id for annotation in kept),
        kept_class_ids=tuple(annotation.class_id for annotation in kept),
        dropped_detection_ids=tuple(annotation.detection_id for annotation, _, _ in dropped),
        dropped_reasons=tuple(why for _, why, _ in dropped),
        dropped_details=tuple(more for _, _, more in dropped),
        corrected_detection_ids=tuple(annotation.detection_id for annotation in kept if annotation.corrected),
    )
    return row, None if reason is not None else replace(sample, state=state, annotations=kept)


def _refuse_conflicts(manifest: VersionManifest, rows: Iterable[Mapping[str, Any]]) -> None:
    conflicts = [str(row["frame_id"]) for row in rows if row["reason"] == FrameDrop.conflicting_frame]
    if conflicts:
        raise InputError(
            f"{len(conflicts)} frames of dataset version {manifest.key!r} differ between its sources: {', '.join(conflicts[:LISTED_IDS])}"
            f"{', ...' if len(conflicts) > LISTED_IDS else ''}. Leave a source out, or set on_conflict to keep_first or keep_last."
        )


def _summary(manifest: VersionManifest, rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Counts of a selection, and the id of what it keeps."""
    filters = manifest.settings.filters
    states = Counter[str](dict.fromkeys(FrameState, 0))
    corrected = 0
    original, filtered, frame_drops, annotation_drops = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    per_recording: dict[str, Counter[str]] = {name: Counter() for name in manifest.members}
    classes: dict[str, Counter[str]] = {}
    unmatched_frames, unmatched_detections = set(filters.excluded_frame_ids), set(filters.excluded_detection_ids)
    negatives = 0
    content = hashlib.sha256()
    for row in rows:
        kept_ids, dropped_ids = row["kept_detection_ids"], row["dropped_detection_ids"]
        original.update(frames=1, annotations=len(kept_ids) + len(dropped_ids))
        annotation_drops.update(row["dropped_reasons"])
        states[row["state"]] += 1
        corrected += len(row["corrected_detection_ids"])
        unmatched_frames.discard(row["frame_id"])
        unmatched_detections.difference_update(kept_ids, dropped_ids)
        per_recording[row["recording"]].update(original_frames=1, frames=row["kept"], annotations=len(kept_ids))
        if not row["kept"]:
            frame_drops[row["reason"]] += 1
            continue
        filtered.update(frames=1, annotations=len(kept_ids))
        negatives += not kept_ids
        for class_id, count in Counter(row["kept_class_ids"]).items():
            classes.setdefault(class_id, Counter()).update(annotations=count, frames=1)
        content.update("\t".join([row["frame_id"], *kept_ids]).encode() + b"\n")
    selection = {
        "recordings": [inputs.model_dump(mode="json", include={"recording", "artifacts"}) for inputs in manifest.recordings],
        "imports": [inputs.model_dump(mode="json", include={"key", "artifact"}) for inputs in manifest.imports],
        "kept": content.hexdigest(),
    }
    chosen = BY_FILTER & {*frame_drops, *annotation_drops}
    return {
        "dataset": manifest.key,
        "curated_dataset_id": content_id("curated_dataset", selection) if chosen or corrected else None,
        "selection_id": content_id("selection", selection),
        "filter_config": filters.model_dump(mode="json") | {"empty_frames": manifest.settings.empty_frames},
        "original": {"frames": original["frames"], "annotations": original["annotations"]},
        "filtered": {"frames": filtered["frames"], "annotations": filtered["annotations"]},
        "reduction_percentage": round(100 * (1 - filtered["frames"] / original["frames"]), 1) if original["frames"] else 0.0,
        "negative_frames": negatives,
        "states": {state: states[state] for state in FrameState},
        "corrected_annotations": corrected,
        "dropped_frames": dict(sorted(frame_drops.items())),
        "dropped_annotations": dict(sorted(annotation_drops.items())),
        "unmatched_exclusions": {"frame_ids": sorted(unmatched_frames), "detection_ids": sorted(unmatched_detections)},
        "recordings": {
            recording: {name: counts[name] for name in ("original_frames", "frames", "annotations")}
            for recording, counts in per_recording.items()
        },
        "classes": {class_id: dict(sorted(counts.items())) for class_id, counts in sorted(classes.items())},
    }


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{reason}: {count}" for reason, count in counts.items()) or "there are no frames"
