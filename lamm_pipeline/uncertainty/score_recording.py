"""All evaluations of a recording, frame by frame: what `frame_uncertainty` consists of.

    frame_uncertainty.parquet                one row an evaluation and frame
    summary.json                             the summaries of all evaluations
    evaluations/<id>/identity.json           what decided the files of this evaluation
    evaluations/<id>/frames.parquet          its rows
    evaluations/<id>/summary.json            its summary
    points/<id>/<index:06d>.npy              scores of the points, float16
    classes/<id>/<index:06d>.npy             predicted and true class of the points

What one evaluation's files are depends on that evaluation and the recording alone, so they are taken over from an artifact published before
as long as their identity is the same.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from lamm_pipeline.datasets.formats.files import place
from lamm_pipeline.storage.artifacts import Artifact
from lamm_pipeline.storage.atomic import Json, write_json
from lamm_pipeline.storage.draft import CHECKPOINT_EVERY, Draft
from lamm_pipeline.streaming import Progress, map_ordered
from lamm_pipeline.uncertainty import frame_uncertainty
from lamm_pipeline.uncertainty.evaluation_files import Evaluation, frame_files
from lamm_pipeline.uncertainty.frame_uncertainty import FrameUncertainty
from lamm_pipeline.uncertainty.score_frame import FrameScorer, shown_score
from lamm_pipeline.uncertainty.summary import summarize, top_frames
from lamm_pipeline.uncertainty.tally import Tally

SUMMARY = "summary.json"
IDENTITY = "identity.json"
FRAMES = "frames.parquet"
SCORED, STALE, REFUSED = "scored", "stale", "refused"
SHOWN_BAD = 50
_OF_POINTS = ("points", "classes")


@dataclass(frozen=True)
class EvaluationInput:
    """One evaluation of the recording.

    Attributes:
        evaluation: what it is.
        folder: with its frames of this recording; not there when `published` is.
        identity: everything that decides its files in the artifact.
        stale: why it is of other frames, None when it is not known to be.
        refused: why it cannot be scored at all, None when it can.
        scorer: of its frames.
        published: an artifact that has its files already.
    """

    evaluation: Evaluation
    folder: Path
    identity: Mapping[str, Json]
    stale: str | None
    refused: str | None
    scorer: FrameScorer
    published: Artifact | None


def part_folder(evaluation_id: str) -> str:
    """Folder of an evaluation's own files in the artifact."""
    return f"evaluations/{evaluation_id}"


def published_identity(artifact: Artifact | None, evaluation_id: str) -> Json:
    """What decided the files of an evaluation in a published artifact; None when it has none."""
    name = f"{part_folder(evaluation_id)}/{IDENTITY}"
    if artifact is None or name not in artifact.manifest.files:
        return None
    found: Json = json.loads(artifact.file(name).read_text())
    return found


def score_recording(
    inputs: Sequence[EvaluationInput],
    frames_total: int,
    max_bad_share: float,
    draft: Draft,
    *,
    workers: int | None,
    progress: Progress,
) -> dict[str, Any]:
    """Score every evaluation of a recording; resumable.

    Args:
        inputs: the evaluations.
        frames_total: frames of the recording.
        max_bad_share: of an evaluation's frames; with more bad ones it is refused.
        draft: the artifact.
        workers: threads, None for one per processor.
        progress: told after every frame that is scored.

    Returns:
        Counts for the manifest: frames scored, each evaluation's numbers, the first bad frames, the most uncertain frames.
    """
    total = sum(len(frame_files(each.folder)) for each in inputs if each.published is None and each.stale is None and each.refused is None)
    for number in range(int(draft.state.get("place", 0)), len(inputs)):
        each = inputs[number]
        if each.published is not None:
            _take_over(each.published, each.evaluation.id, draft.directory)
        else:
            _score_evaluation(each, number, frames_total, max_bad_share, draft, workers, lambda done: progress(done, total))
        draft.checkpoint({"place": number + 1, "done": int(draft.state.get("done", 0))})
    progress(total, total)
    return _join(inputs, draft.directory)


def _take_over(artifact: Artifact, evaluation_id: str, directory: Path) -> None:
    """Link the files of an evaluation from a published artifact."""
    for name in artifact.manifest.files:
        if name.startswith((f"{part_folder(evaluation_id)}/", *(f"{kept}/{evaluation_id}/" for kept in _OF_POINTS))):
            place(artifact.file(name), directory / name)


def _score_evaluation(
    each: EvaluationInput,
    number: int,
    frames_total: int,
    max_bad_share: float,
    draft: Draft,
    workers: int | None,
    progress: Callable[[int], None],
) -> None:
    """Write the files of one evaluation."""
    evaluation = each.evaluation
    before = int(draft.state.get("done", 0))
    log = draft.log(f"{number:06d}.jsonl")
    tally = Tally.empty(len(evaluation.classes))
    reason = each.stale or each.refused
    status = STALE if each.stale else REFUSED if each.refused else SCORED
    files = [] if reason else frame_files(each.folder)
    if "tally" in draft.state:
        tally = Tally.from_json(draft.state["tally"])
        before = int(draft.state["before"])
    begun = len(log)
    scored = map_ordered(lambda item: each.scorer(item, draft.directory), islice(files, begun, None), workers)
    for done, (_, found) in enumerate(scored, begun + 1):
        log.append(found.to_json())
        tally = tally if found.tally is None else tally + found.tally
        progress(before + done)
        if done % CHECKPOINT_EVERY == 0:
            draft.checkpoint({"place": number, "done": before + done, "before": before, "tally": tally.to_json()})
    bad = [entry["bad"] for entry in log if "bad" in entry]
    bad_labels = [entry["bad_labels"] for entry in log if "bad_labels" in entry]
    if files and len(bad) > max_bad_share * len(files):
        kinds = Counter(entry["kind"] for entry in bad)
        off_count = kinds["wrong point count"] + kinds["unknown frame"]
        status = STALE if off_count == len(bad) else REFUSED
        what = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        reason = f"{len(bad)} of {len(files)} frames cannot be scored ({what}), the first: {bad[0]['reason']}"
        _drop_points(draft.directory, evaluation.id)
        tally = Tally.empty(len(evaluation.classes))

    def rows() -> Iterator[FrameUncertainty]:
        for entry in log if status == SCORED else ():
            if "row" in entry:
                yield frame_uncertainty.from_json(entry["row"])

    folder = draft.directory / part_folder(evaluation.id)
    folder.mkdir(parents=True, exist_ok=True)
    written = frame_uncertainty.write(folder / FRAMES, rows())
    summary = {
        "status": status,
        "reason": reason,
        "predicted_frames": len(files),
        "frames_without_predictions": frames_total - written,
        "bad_frames": len(bad),
        "bad": bad[:SHOWN_BAD],
        "frames_with_bad_labels": len(bad_labels),
        "bad_labels": bad_labels[:SHOWN_BAD],
        **summarize(evaluation, rows(), tally, shown_score(evaluation)),
    }
    write_json(folder / SUMMARY, summary)
    write_json(folder / IDENTITY, each.identity)
    draft.state["done"] = before + len(files)


def _drop_points(directory: Path, evaluation_id: str) -> None:
    for kept in _OF_POINTS:
        for path in (directory / kept / evaluation_id).glob("*.npy"):
            path.unlink()


def _join(inputs: Sequence[EvaluationInput], directory: Path) -> dict[str, Any]:
    """Write what covers all evaluations; returns the counts."""
    folders = [directory / part_folder(each.evaluation.id) for each in inputs]
    summaries = [json.loads((folder / SUMMARY).read_text()) for folder in folders]

    def rows() -> Iterator[FrameUncertainty]:
        for folder in folders:
            yield from frame_uncertainty.read(folder / FRAMES)

    written = frame_uncertainty.write(directory / frame_uncertainty.FILE_NAME, rows())
    most = top_frames(rows())
    write_json(directory / SUMMARY, {"evaluations": summaries})
    return {
        "rows": written,
        "evaluations": [_numbers(summary) for summary in summaries],
        "bad": [{"evaluation": summary["evaluation"], **entry} for summary in summaries for entry in summary["bad"]][:SHOWN_BAD],
        "bad_labels": [{"evaluation": summary["evaluation"], **entry} for summary in summaries for entry in summary["bad_labels"]][
            :SHOWN_BAD
        ],
        "histogram": _histogram(summaries),
        "top": [
            {"frame_id": row.frame_id, "frame_index": row.frame_index, "evaluation": row.evaluation, "score": row.score, "iou": row.iou}
            for row in most
        ],
    }


def _numbers(summary: Mapping[str, Any]) -> dict[str, Any]:
    names = (
        "evaluation",
        "model_id",
        "evaluated_at",
        "status",
        "reason",
        "frames",
        "bad_frames",
        "frames_with_bad_labels",
        "mean",
        "p95",
        "max",
        "score_kinds",
    )
    labels = summary["labels"] or {}
    against = {name: labels.get(name) for name in ("accuracy", "mean_iou", "ece", "ause", "ause_random", "sources")}
    return {**{name: summary[name] for name in names}, **against}


def _histogram(summaries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "evaluation": summary["evaluation"],
            **{f"{bucket['from']:.1f}-{bucket['to']:.1f}": bucket["frames"] for bucket in summary["histogram"]},
        }
        for summary in summaries
    ]
