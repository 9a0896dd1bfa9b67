"""The summary of an evaluation over one recording: how unsure the model is, of which frames most, and whether its doubts are right."""

import heapq
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from lamm_pipeline.uncertainty.evaluation_files import Evaluation
from lamm_pipeline.uncertainty.frame_uncertainty import FrameUncertainty
from lamm_pipeline.uncertainty.tally import Tally, accuracy, calibration_error, class_iou, mean_iou, sparsification

BUCKETS = 10
TOP = 10


def summarize(evaluation: Evaluation, rows: Iterable[FrameUncertainty], tally: Tally, score: str) -> dict[str, Any]:
    """Summarize an evaluation.

    Args:
        evaluation: of whom.
        rows: its frames; read once.
        tally: of their labelled points.
        score: the score of points that the sparsification curve is of.

    Returns:
        JSON values: `frames`; `mean`, `p95`, `max` of the frames' scores; `histogram` (buckets of 0.1, whose frames add up to `frames`);
        `top` (ten frames, most uncertain first); `labels` (None without any): accuracy, IoU, calibration, sparsification. Numbers are None
        where there is nothing to compute them from.
    """
    found = array("d")
    kinds: set[str] = set()
    sources: Counter[str] = Counter()

    def passing() -> Iterator[FrameUncertainty]:
        for row in rows:
            found.append(row.score)
            kinds.add(row.score_kind)
            if row.label_source is not None:
                sources[row.label_source] += 1
            yield row

    top = top_frames(passing())
    scores = np.asarray(found)
    return {
        "evaluation": evaluation.id,
        "model_id": evaluation.model_id,
        "evaluated_at": evaluation.created.isoformat(),
        "members": evaluation.members,
        "classes": list(evaluation.classes),
        "score_kinds": sorted(kinds),
        "frames": len(scores),
        "mean": float(scores.mean()) if len(scores) else None,
        "p95": float(np.percentile(scores, 95)) if len(scores) else None,
        "max": float(scores.max()) if len(scores) else None,
        "histogram": histogram(scores.tolist()),
        "top": [_top_row(row) for row in top],
        "labels": _against_labels(evaluation, sources, tally, score) if tally.points else None,
    }


def histogram(scores: Sequence[float]) -> list[dict[str, Any]]:
    """Number of scores in each of ten buckets of 0.1 from 0 to 1; the last one holds 1 too."""
    edges = np.arange(BUCKETS + 1) / BUCKETS
    counts = np.histogram(np.clip(scores, 0.0, 1.0), edges)[0]
    return [{"from": float(low), "to": float(high), "frames": int(n)} for low, high, n in zip(edges, edges[1:], counts, strict=False)]


def top_frames(rows: Iterable[FrameUncertainty]) -> list[FrameUncertainty]:
    """The ten most uncertain frames, most uncertain first; of equals the earlier, of one frame the newer evaluation."""
    return heapq.nsmallest(TOP, rows, key=lambda row: (-row.score, row.frame_index, -row.evaluated_at.timestamp(), row.evaluation))


def _top_row(row: FrameUncertainty) -> dict[str, Any]:
    return {"frame_id": row.frame_id, "frame_index": row.frame_index, "score": row.score, "score_kind": row.score_kind, "iou": row.iou}


def _against_labels(evaluation: Evaluation, sources: Counter[str], tally: Tally, score: str) -> dict[str, Any]:
    curve = sparsification(tally)
    return {
        "sources": sorted(sources),
        "frames": sources.total(),
        "points": tally.points,
        "accuracy": accuracy(tally.confusion),
        "mean_iou": mean_iou(tally.confusion),
        "iou": dict(zip(evaluation.classes, class_iou(tally.confusion), strict=True)),
        "confusion": tally.confusion.tolist(),
        "ece": calibration_error(tally),
        "calibration": [
            {"points": int(n), "accuracy": right / n if n else None, "confidence": total / n if n else None}
            for n, right, total in zip(tally.bin_points.tolist(), tally.bin_right.tolist(), tally.bin_confidence.tolist(), strict=True)
        ],
        "score": score,
        "ause": None if curve is None else curve.ause,
        "ause_random": None if curve is None else curve.ause_random,
        "sparsification": None
        if curve is None
        else {"removed": list(curve.removed), "curve": list(curve.curve), "oracle": list(curve.oracle)},
    }
