"""What is counted over the labelled points of an evaluation, frame by frame, in a size that does not grow with them.

- Confusion: points by true and predicted class; IoU of a class is intersection over union, accuracy the share of right points.
- Calibration: expected calibration error (ECE) of the maximum softmax probability in 15 equal bins: the mean of |accuracy - confidence|
  over bins, weighted by their points (Naeini et al., 2015; Guo et al., On Calibration of Modern Neural Networks, 2017).
- Sparsification: the error rate of what remains when the most uncertain share of points is taken away, divided by the error rate of all.
  The oracle takes the wrong points away first, random order leaves the rate as it is. AUSE is the area between curve and oracle (Ilg et
  al., Uncertainty Estimates and Multi-Hypotheses Networks for Optical Flow, 2018): 0 is perfect; below the area of random order,
  uncertainty finds errors. Points are sorted into 2,000 bins of the score; within a bin the order is taken as random.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.uncertainty.scores import PointScores

CALIBRATION_BINS = 15
SCORE_BINS = 2000
CURVE_STEPS = 100


@dataclass(frozen=True)
class Tally:
    """Counts over labelled points; `+` joins those of two frames.

    Attributes:
        confusion: `(classes, classes)` points by true and predicted class.
        bin_points, bin_right, bin_confidence: `(15,)` points, right ones, and sum of confidence by bin of confidence.
        score_points, score_wrong: `(2000,)` points and wrong ones by bin of the score.
    """

    confusion: NDArray[np.int64]
    bin_points: NDArray[np.int64]
    bin_right: NDArray[np.int64]
    bin_confidence: NDArray[np.float64]
    score_points: NDArray[np.int64]
    score_wrong: NDArray[np.int64]

    @classmethod
    def empty(cls, classes: int) -> Self:
        """Nothing counted yet."""
        return cls(
            confusion=np.zeros((classes, classes), np.int64),
            bin_points=np.zeros(CALIBRATION_BINS, np.int64),
            bin_right=np.zeros(CALIBRATION_BINS, np.int64),
            bin_confidence=np.zeros(CALIBRATION_BINS),
            score_points=np.zeros(SCORE_BINS, np.int64),
            score_wrong=np.zeros(SCORE_BINS, np.int64),
        )

    def __add__(self, other: Self) -> Self:
        return type(self)(**{name: value + getattr(other, name) for name, value in vars(self).items()})

    @property
    def points(self) -> int:
        """Labelled points."""
        return int(self.confusion.sum())

    def to_json(self) -> dict[str, Any]:
        """As JSON values; bins without points are left out of the long arrays."""
        filled = np.flatnonzero(self.score_points)
        scores = [[int(place), int(self.score_points[place]), int(self.score_wrong[place])] for place in filled]
        short = {name: getattr(self, name).tolist() for name in ("confusion", "bin_points", "bin_right", "bin_confidence")}
        return {**short, "scores": scores}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        found = cls.empty(len(stored["confusion"]))
        for name in ("confusion", "bin_points", "bin_right", "bin_confidence"):
            getattr(found, name)[...] = stored[name]
        for place, points, wrong in stored["scores"]:
            found.score_points[place], found.score_wrong[place] = points, wrong
        return found


def tally_points(scored: PointScores, labels: NDArray[np.int64], score: str, classes: int) -> Tally:
    """Count a frame.

    Args:
        scored: its points.
        labels: `(points,)` true class, -1 = not known: not counted.
        score: the one that is to find errors.
        classes: number of classes.
    """
    known = labels >= 0
    true, predicted = labels[known], scored.predicted[known]
    right = true == predicted
    confidence = scored.values["max_softmax"][known].astype(np.float64)
    # bins are open below and closed above, as in the definition
    bins = np.clip(np.ceil(confidence * CALIBRATION_BINS).astype(np.int64) - 1, 0, CALIBRATION_BINS - 1)
    places = np.minimum((scored.values[score][known] * np.float32(SCORE_BINS)).astype(np.int64), SCORE_BINS - 1)
    return Tally(
        confusion=np.bincount(true * classes + predicted, minlength=classes * classes).reshape(classes, classes),
        bin_points=np.bincount(bins, minlength=CALIBRATION_BINS),
        bin_right=np.bincount(bins[right], minlength=CALIBRATION_BINS),
        bin_confidence=np.bincount(bins, confidence, CALIBRATION_BINS).astype(np.float64),
        score_points=np.bincount(places, minlength=SCORE_BINS),
        score_wrong=np.bincount(places[~right], minlength=SCORE_BINS),
    )


def class_iou(confusion: NDArray[np.int64]) -> list[float | None]:
    """Intersection over union of every class; None for those that are neither true nor predicted anywhere."""
    both = np.diag(confusion)
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - both
    return [float(a / b) if b else None for a, b in zip(both.tolist(), union.tolist(), strict=True)]


def mean_iou(confusion: NDArray[np.int64]) -> float | None:
    """Mean IoU over the classes that are true or predicted somewhere; None without points."""
    found = [value for value in class_iou(confusion) if value is not None]
    return float(np.mean(found)) if found else None


def accuracy(confusion: NDArray[np.int64]) -> float | None:
    """Share of right points; None without points."""
    total = int(confusion.sum())
    return float(np.trace(confusion) / total) if total else None


def calibration_error(tally: Tally) -> float | None:
    """The expected calibration error; None without points."""
    filled = tally.bin_points > 0
    if not filled.any():
        return None
    gaps = np.abs(tally.bin_right[filled] - tally.bin_confidence[filled])  # points cancel: weight times gap of means
    return float(gaps.sum() / tally.bin_points.sum())


@dataclass(frozen=True)
class Sparsification:
    """Whether uncertainty finds errors.

    Attributes:
        removed: shares taken away, from 0 on.
        curve: error rate of what remains, as a share of that of all, most uncertain first.
        oracle: the same, wrong points first.
        ause: area between curve and oracle.
        ause_random: area between random order and oracle.
    """

    removed: Sequence[float]
    curve: Sequence[float]
    oracle: Sequence[float]
    ause: float
    ause_random: float


def sparsification(tally: Tally) -> Sparsification | None:
    """The curve and its area; None where no point is wrong, or there is none: nothing is to be found then."""
    total, wrong = int(tally.score_points.sum()), int(tally.score_wrong.sum())
    if wrong == 0:
        return None
    # from the most uncertain bin down: points and errors that are taken away; between bins both grow in proportion
    points_gone = np.concatenate([[0], np.cumsum(tally.score_points[::-1])])
    wrong_gone = np.concatenate([[0], np.cumsum(tally.score_wrong[::-1])])
    removed = np.arange(CURVE_STEPS) / CURVE_STEPS
    remaining = wrong - np.interp(removed * total, points_gone, wrong_gone)
    curve = remaining / (1.0 - removed) / wrong
    oracle = np.maximum(wrong / total - removed, 0.0) / (1.0 - removed) * (total / wrong)
    return Sparsification(removed.tolist(), curve.tolist(), oracle.tolist(), float((curve - oracle).mean()), float((1.0 - oracle).mean()))
