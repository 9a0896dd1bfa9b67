"""HOTA, CLEAR MOT and identity scores of one sequence, in NumPy.

Equal to TrackEval's `HOTA`, `CLEAR` and `Identity` (shown by the tests), which is not a dependency because its wheel needs another build of
OpenCV. Sources: Luiten et al., "HOTA", IJCV 2020; Bernardin and Stiefelhagen, "CLEAR MOT", 2008; Ristani et al., "Performance Measures and
a Data Set for Multi-Target, Multi-Camera Tracking" (IDF1), 2016.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

Array = NDArray[np.float64]
Ids = NDArray[np.int64]

EPSILON = float(np.finfo(float).eps)
HOTA_THRESHOLDS = np.arange(0.05, 0.99, 0.05)
MATCH_THRESHOLD = 0.5
IMPOSSIBLE = 1e10


@dataclass(frozen=True)
class TrackFrame:
    """Who is where in one frame.

    Attributes:
        truth: `(N,)` ids of the true objects, numbered from 0 over the whole sequence.
        result: `(M,)` ids of the tracked objects, likewise.
        similarity: `(N, M)` in 0..1.
    """

    truth: Ids
    result: Ids
    similarity: Array


@dataclass(frozen=True)
class Hota:
    """Means over the localisation thresholds .05 to .95; NaN where nothing is there to be scored."""

    hota: float
    detection_accuracy: float
    association_accuracy: float
    localization_accuracy: float


@dataclass(frozen=True)
class Clear:
    """CLEAR MOT at one threshold. `mota` may be negative."""

    mota: float
    motp: float
    tp: int
    fp: int
    fn: int
    id_switches: int
    fragmentations: int


@dataclass(frozen=True)
class Identity:
    """Scores of the best one-to-one assignment of whole trajectories."""

    idf1: float
    precision: float
    recall: float


def hota(frames: Sequence[TrackFrame]) -> Hota:
    """Higher order tracking accuracy.

    Args:
        frames: the frames of the sequence, in order.
    """
    truth_counts, result_counts = _appearances(frames)
    if not truth_counts.sum() and not result_counts.sum():
        return Hota(*[float("nan")] * 4)
    if not truth_counts.sum() or not result_counts.sum():
        return Hota(0.0, 0.0, 0.0, 1.0)
    alignment = _alignment(frames, truth_counts, result_counts)
    matches = np.zeros((len(HOTA_THRESHOLDS), len(truth_counts), len(result_counts)))
    located = np.zeros(len(HOTA_THRESHOLDS))
    for frame in frames:
        rows, columns = linear_sum_assignment(alignment[np.ix_(frame.truth, frame.result)] * frame.similarity, maximize=True)
        similarity = frame.similarity[rows, columns]
        for n, threshold in enumerate(HOTA_THRESHOLDS):
            good = similarity >= threshold - EPSILON
            matches[n, frame.truth[rows[good]], frame.result[columns[good]]] += 1
            located[n] += similarity[good].sum()
    tp = matches.sum(axis=(1, 2))
    detection = tp / (truth_counts.sum() + result_counts.sum() - tp)
    together = np.maximum(1.0, truth_counts[:, None] + result_counts[None, :] - matches)
    association = (matches * matches / together).sum(axis=(1, 2)) / np.maximum(1.0, tp)
    location = np.maximum(1e-10, located) / np.maximum(1e-10, tp)
    return Hota(
        hota=float(np.sqrt(detection * association).mean()),
        detection_accuracy=float(detection.mean()),
        association_accuracy=float(association.mean()),
        localization_accuracy=float(location.mean()),
    )


def clear(frames: Sequence[TrackFrame], threshold: float = MATCH_THRESHOLD) -> Clear:
    """CLEAR MOT: matches of the frame before are kept where they still hold, the rest is matched for the greatest similarity.

    Args:
        frames: the frames of the sequence, in order.
        threshold: least similarity of a match.
    """
    truth_counts, result_counts = _appearances(frames)
    last = np.full(len(truth_counts), -1)  # the id each true object was matched to last, whenever that was
    current = np.full(len(truth_counts), -1)  # and in the last frame in which there was anything to match
    tp, switches, located = 0, 0, 0.0
    starts = np.zeros(len(truth_counts), dtype=np.int64)
    for frame in frames:
        if not len(frame.truth) or not len(frame.result):
            continue
        score = 1000.0 * (frame.result[None, :] == current[frame.truth][:, None]) + frame.similarity
        score[frame.similarity < threshold - EPSILON] = 0.0
        rows, columns = linear_sum_assignment(score, maximize=True)
        good = score[rows, columns] > EPSILON
        rows, columns = rows[good], columns[good]
        truth, result = frame.truth[rows], frame.result[columns]
        switches += int(np.count_nonzero((last[truth] >= 0) & (last[truth] != result)))
        starts[truth] += current[truth] < 0
        last[truth] = result
        current[:] = -1
        current[truth] = result
        tp += len(rows)
        located += float(frame.similarity[rows, columns].sum())
    fn, fp = int(truth_counts.sum()) - tp, int(result_counts.sum()) - tp
    empty = not truth_counts.sum()
    return Clear(
        mota=float("nan") if empty else (tp - fp - switches) / float(truth_counts.sum()),
        motp=located / max(1.0, tp),
        tp=tp,
        fp=fp,
        fn=fn,
        id_switches=switches,
        fragmentations=int(np.maximum(starts - 1, 0).sum()),
    )


def identity(frames: Sequence[TrackFrame], threshold: float = MATCH_THRESHOLD) -> Identity:
    """IDF1 and its parts.

    Args:
        frames: the frames of the sequence, in any order.
        threshold: least similarity of a match.
    """
    truth_counts, result_counts = _appearances(frames)
    truths, results = len(truth_counts), len(result_counts)
    if not truth_counts.sum() and not result_counts.sum():
        return Identity(float("nan"), float("nan"), float("nan"))
    together = np.zeros((truths, results))
    for frame in frames:
        rows, columns = np.nonzero(frame.similarity >= threshold)
        np.add.at(together, (frame.truth[rows], frame.result[columns]), 1)
    # every trajectory may also stay alone: then all of its appearances are wrong
    cost = np.full((truths + results, truths + results), IMPOSSIBLE)
    cost[:truths, :results] = truth_counts[:, None] + result_counts[None, :] - 2.0 * together
    cost[np.arange(truths), results + np.arange(truths)] = truth_counts
    cost[truths + np.arange(results), np.arange(results)] = result_counts
    cost[truths:, results:] = 0.0
    rows, columns = linear_sum_assignment(cost)
    paired = (rows < truths) & (columns < results)
    tp = float(together[rows[paired], columns[paired]].sum())
    return Identity(
        idf1=2.0 * tp / max(1.0, float(truth_counts.sum() + result_counts.sum())),
        precision=tp / max(1.0, float(result_counts.sum())),
        recall=tp / max(1.0, float(truth_counts.sum())),
    )


def _appearances(frames: Sequence[TrackFrame]) -> tuple[Ids, Ids]:
    """In how many frames each true and each tracked object appears."""
    truth = np.concatenate([frame.truth for frame in frames] or [np.zeros(0, dtype=np.int64)])
    result = np.concatenate([frame.result for frame in frames] or [np.zeros(0, dtype=np.int64)])
    return np.bincount(truth), np.bincount(result)


def _alignment(frames: Sequence[TrackFrame], truth_counts: Ids, result_counts: Ids) -> Array:
    """HOTA's global alignment score of every pair of trajectories: how well they lie on each other over the whole sequence."""
    potential = np.zeros((len(truth_counts), len(result_counts)))
    for frame in frames:
        similarity = frame.similarity
        total = similarity.sum(axis=0)[None, :] + similarity.sum(axis=1)[:, None] - similarity
        potential[np.ix_(frame.truth, frame.result)] += np.divide(similarity, total, out=np.zeros_like(similarity), where=total > EPSILON)
    # below 1 only where neither id appears at all
    return np.asarray(potential / np.maximum(1.0, truth_counts[:, None] + result_counts[None, :] - potential))
