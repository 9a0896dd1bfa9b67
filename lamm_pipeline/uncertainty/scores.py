"""How unsure a classifier is of each point: scores of the probabilities that the members of an ensemble give.

With p_m(c) the probability that member m gives class c, p(c) their mean over M members, and C classes:

| score | definition | range |
| --- | --- | --- |
| `predictive_entropy` | H = -sum_c p(c) log p(c) / log C: all uncertainty | 0..1 |
| `expected_entropy` | E = -mean_m sum_c p_m(c) log p_m(c) / log C: what members are unsure of each (of the data) | 0..1 |
| `mutual_information` | H - E: what members disagree on (of the model); BALD | 0..1 |
| `variation_ratio` | share of members that do not vote for the class with most votes | 0..1-1/M |
| `max_softmax` | max_c p(c): confidence, so high is sure | 1/C..1 |

Sources: Shannon entropy; Houlsby et al., Bayesian Active Learning for Classification and Preference Learning (2011) and Gal, Islam,
Ghahramani, Deep Bayesian Active Learning with Image Data (2017) for mutual information and variation ratio; Hendrycks and Gimpel (2017) for
the maximum softmax probability. Entropies and mutual information alone are divided by log C.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

SCORES = ("predictive_entropy", "expected_entropy", "mutual_information", "variation_ratio", "max_softmax")
OF_MEMBERS = ("expected_entropy", "mutual_information", "variation_ratio")
"""Scores that need the members, not only their mean."""

SUM_TOLERANCE = 2e-3
"""Probabilities in float16 sum to one that well; within it they are scaled to it exactly."""
POINTS_AT_ONCE = 4096
"""As many as stay in a processor's cache, with five members and a few classes."""
POINTS_AT_ONCE_TORCH = 1 << 18


class BadPredictionError(Exception):
    """Predictions that cannot be scored.

    Attributes:
        kind: a short fixed text, to count by.
    """

    def __init__(self, kind: str, sentence: str) -> None:
        super().__init__(sentence)
        self.kind = kind


@dataclass(frozen=True)
class PointScores:
    """Scores of a frame's points.

    Attributes:
        values: `(points,)` float32 by score.
        predicted: `(points,)` index of the most probable class, the first of equals.
    """

    values: Mapping[str, NDArray[np.float32]]
    predicted: NDArray[np.int32]


def score_points(probabilities: NDArray[Any], *, members: bool = True, device: str | None = None) -> PointScores:
    """Score the points of a frame, some thousands at a time, so that memory does not grow with them.

    Both back ends run the same formulas in float32; they agree to 1e-6.

    Args:
        probabilities: `(members, points, classes)` floating point, perhaps a mapped file.
        members: False when the one member given is a mean; scores that need members are left out then.
        device: of torch (`cpu`, `cuda`); None computes with NumPy.

    Raises:
        BadPredictionError: values are not finite, negative, or do not sum to one.
    """
    _, points, classes = probabilities.shape
    names = [name for name in SCORES if members or name not in OF_MEMBERS]
    values = {name: np.empty(points, np.float32) for name in names}
    predicted = np.empty(points, np.int32)
    step = POINTS_AT_ONCE if device is None else POINTS_AT_ONCE_TORCH
    for start in range(0, points, step):
        part = slice(start, start + step)
        # classes before points: sums over few classes are then sums of long rows
        chunk = np.ascontiguousarray(probabilities[:, part].transpose(0, 2, 1), np.float32)
        found, best, worst, lowest = _score_numpy(chunk) if device is None else _score_torch(chunk, device)
        if not (worst <= SUM_TOLERANCE and lowest >= 0.0):
            check_probabilities(probabilities[:, part])
        for name in names:
            values[name][part] = found[name]
        predicted[part] = best
    log_c = np.float32(math.log(classes))
    for name in ("predictive_entropy", "expected_entropy", "mutual_information"):
        if name in values:
            np.clip(values[name] / log_c, 0.0, 1.0, out=values[name])
    return PointScores(values, predicted)


def check_probabilities(probabilities: NDArray[Any]) -> None:
    """Check that values are probabilities.

    Args:
        probabilities: `(..., classes)`.

    Raises:
        BadPredictionError: they are not finite, negative, or do not sum to one over the classes.
    """
    lowest = float(probabilities.min(initial=0.0))
    sums = probabilities.sum(axis=-1, dtype=np.float64)
    if not np.isfinite(sums).all() or math.isnan(lowest):
        raise BadPredictionError("not finite", f"{np.count_nonzero(~np.isfinite(sums))} points have probabilities that are not finite")
    if lowest < 0.0:
        raise BadPredictionError("negative", f"probabilities go down to {lowest:g}")
    off = np.abs(sums - 1.0)
    if off.max(initial=0.0) > SUM_TOLERANCE:
        wrong = int(np.count_nonzero(off > SUM_TOLERANCE))
        raise BadPredictionError(
            "sum is not one", f"{wrong} points have probabilities that sum to as much as {_farthest(sums):g}, not to 1"
        )


def _score_numpy(chunk: NDArray[np.float32]) -> tuple[Mapping[str, Any], Any, float, float]:
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):  # values that are no probabilities are told by the caller
        values, best, worst, lowest = _formulas(np, chunk, np.float32(np.finfo(np.float32).tiny))
    return values, best, float(worst), float(lowest)


def _score_torch(chunk: NDArray[np.float32], device: str) -> tuple[Mapping[str, Any], Any, float, float]:
    import torch

    with torch.inference_mode():
        tensor = torch.from_numpy(chunk).to(device)
        tiny = torch.tensor(torch.finfo(torch.float32).tiny, device=device)
        values, best, worst, lowest = _formulas(torch, tensor, tiny)
        return {name: value.cpu().numpy() for name, value in values.items()}, best.cpu().numpy(), float(worst), float(lowest)


def _formulas(xp: ModuleType, given: Any, tiny: Any) -> tuple[dict[str, Any], Any, Any, Any]:
    """The scores before division by log C; NumPy and torch know all that is used by the same names.

    Args:
        xp: `numpy` or `torch`.
        given: `(members, classes, points)` of that library.
        tiny: the smallest normal number, which takes the place of 0 in logarithms.

    Returns:
        Scores; index of the most probable class; the largest deviation of a sum from one; the lowest value. Each of the latter is NaN or
        infinite when a value is.
    """
    members = given.shape[0]
    sums = given.sum(1)
    worst, lowest = abs(sums - 1.0).max(), given.min()
    p = given / sums[:, None]
    mean = p.sum(0) / members
    predictive = -(mean * xp.log(xp.maximum(mean, tiny))).sum(0)
    expected = -(p * xp.log(xp.maximum(p, tiny))).sum(1).sum(0) / members
    top, first = _highest(xp, [mean[index] for index in range(len(mean))])
    best = sum(index * row for index, row in enumerate(first))
    _, votes = _highest(xp, [p[:, index] for index in range(len(mean))])
    most = functools.reduce(xp.maximum, [row.sum(0, dtype=xp.int32) for row in votes])
    return (
        {
            "predictive_entropy": predictive,
            "expected_entropy": expected,
            "mutual_information": predictive - expected,
            "variation_ratio": 1.0 - most / members,
            "max_softmax": top,
        },
        best,
        worst,
        lowest,
    )


def _highest(xp: ModuleType, rows: Sequence[Any]) -> tuple[Any, list[Any]]:
    """The highest of several rows, one a class, and for each row where it is that one: the first of equals, unlike torch's argmax."""
    top = functools.reduce(xp.maximum, rows)
    first = [rows[0] == top]
    taken = first[0]
    for row in rows[1:]:
        first.append((row == top) & ~taken)
        taken = taken | first[-1]
    return top, first


def _farthest(sums: NDArray[np.float64]) -> float:
    return float(sums.flat[int(np.abs(sums - 1.0).argmax())])
