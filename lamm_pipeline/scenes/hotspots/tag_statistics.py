"""Are models less sure of scenes with a tag than of those without it? Means, intervals, box plots, and tests.

The independent units are scenes, not frames: neighbouring frames show the same. So a scene is one number, the mean of its frames' scores,
and only scenes with scores of one kind by one model are compared with each other.

- Interval of a mean, and of a difference of means: percentile bootstrap over scenes (Efron and Tibshirani 1993), each side resampled for
  itself.
- Test: two-sided permutation test over scenes of Welch's t, the difference of means over its standard error, which also holds where the
  two sides spread differently (Janssen 1997; Chung and Romano 2013). One set of permutations serves all tags. p = (1 + permutations at
  least as extreme) / (1 + permutations), so that it is never 0 (Phipson and Smyth 2010).
- Correction: Holm's, over all tags and models that are tested, so that chance leads to any false insight with probability alpha at most.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lamm_pipeline.scenes.hotspots.settings import HotspotSettings

VALUES_AT_ONCE = 1_000_000
WHISKER = 1.5
SLACK = 1e-9
"""Sums of the same numbers in another order differ by rounding; what is equal but for that counts as at least as extreme."""

Values = NDArray[np.float64]
Side = NDArray[np.bool_]


@dataclass(frozen=True)
class Interval:
    """A confidence interval."""

    low: float
    high: float


@dataclass(frozen=True)
class Box:
    """The numbers of a box plot (Tukey's): quartiles by NumPy's interpolation; whiskers end at the last value within 1.5 box lengths.

    Attributes:
        outliers: how many values lie beyond the whiskers.
    """

    minimum: float
    low_whisker: float
    first_quartile: float
    median: float
    third_quartile: float
    high_whisker: float
    maximum: float
    outliers: int


@dataclass(frozen=True)
class TagNumbers:
    """What is known of the scenes with a tag.

    Attributes:
        tag: the tag; None stands for all scenes.
        scenes: how many have it.
        mean: of their scores.
        interval: of the mean; None with fewer scenes than are asked for.
        box: of their scores.
    """

    tag: str | None
    scenes: int
    mean: float
    interval: Interval | None
    box: Box


@dataclass(frozen=True)
class Comparison:
    """Scenes with a tag against those without it.

    Attributes:
        tag: the tag.
        scenes, others: how many of each.
        mean, others_mean: of their scores.
        p: of the permutation test, not corrected.
    """

    tag: str
    scenes: int
    others: int
    mean: float
    others_mean: float
    p: float

    @property
    def difference(self) -> float:
        """Mean with the tag minus mean without it."""
        return self.mean - self.others_mean


def describe(values: Values, tags: Mapping[str, Side], settings: HotspotSettings) -> list[TagNumbers]:
    """Numbers of all scenes and of those of each tag, the tags with the highest mean first.

    Args:
        values: `(scenes,)`, at least one.
        tags: by tag, `(scenes,)` which have it; at least one does.
        settings: support, intervals, seed.
    """
    found = [_numbers(tag, values[side], settings) for tag, side in sorted(tags.items())]
    return [_numbers(None, values, settings), *sorted(found, key=lambda each: -each.mean)]


def comparable(tags: Mapping[str, Side], settings: HotspotSettings) -> list[str]:
    """The tags that enough scenes have, and enough have not."""
    return [tag for tag, side in sorted(tags.items()) if min(side.sum(), (~side).sum()) >= settings.min_scenes]


def compare(values: Values, tags: Mapping[str, Side], settings: HotspotSettings, tests: int = 1) -> list[Comparison]:
    """Test every tag that is comparable.

    Args:
        values: `(scenes,)`.
        tags: by tag, `(scenes,)` which have it.
        settings: support, permutations, seed.
        tests: number of tests that the p-values will be corrected for; with many there are more permutations, so that the smallest
            p-value that can be still says something.
    """
    names = comparable(tags, settings)
    if not names:
        return []
    sides = np.stack([tags[name] for name in names])
    permutations = max(settings.permutations, math.ceil(2 * tests / settings.alpha))
    extreme = _permutation_counts(values, sides, permutations, settings.seed)
    return [
        Comparison(
            name,
            int(side.sum()),
            int((~side).sum()),
            float(values[side].mean()),
            float(values[~side].mean()),
            (1 + count) / (1 + permutations),
        )
        for name, side, count in zip(names, sides, extreme.tolist(), strict=True)
    ]


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction of p-values for their number (Holm 1979)."""
    order = np.argsort(p_values, kind="stable")
    steps = np.asarray(p_values, np.float64)[order] * np.arange(len(p_values), 0, -1)
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return corrected.tolist()


def mean_interval(values: Values, settings: HotspotSettings) -> Interval:
    """Bootstrap interval of a mean."""
    return _percentiles(_resampled_means(values, settings.resamples, np.random.default_rng(settings.seed)), settings.confidence)


def difference_interval(values: Values, others: Values, settings: HotspotSettings) -> Interval:
    """Bootstrap interval of the mean of `values` minus that of `others`."""
    rng = np.random.default_rng(settings.seed)
    means = _resampled_means(values, settings.resamples, rng) - _resampled_means(others, settings.resamples, rng)
    return _percentiles(means, settings.confidence)


def box_of(values: Values) -> Box:
    """The numbers of a box plot of at least one value."""
    first, median, third = np.percentile(values, [25, 50, 75]).tolist()
    reach = WHISKER * (third - first)
    inside = values[(values >= first - reach) & (values <= third + reach)]
    return Box(
        minimum=float(values.min()),
        low_whisker=float(inside.min()),
        first_quartile=first,
        median=median,
        third_quartile=third,
        high_whisker=float(inside.max()),
        maximum=float(values.max()),
        outliers=len(values) - len(inside),
    )


def _numbers(tag: str | None, values: Values, settings: HotspotSettings) -> TagNumbers:
    interval = mean_interval(values, settings) if len(values) >= settings.min_scenes else None
    return TagNumbers(tag, len(values), float(values.mean()), interval, box_of(values))


def _resampled_means(values: Values, resamples: int, rng: np.random.Generator) -> Values:
    at_once = max(1, VALUES_AT_ONCE // len(values))
    parts = [
        values[rng.integers(0, len(values), (min(at_once, resamples - start), len(values)))].mean(axis=1)
        for start in range(0, resamples, at_once)
    ]
    return np.concatenate(parts)


def _percentiles(means: Values, confidence: float) -> Interval:
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2]).tolist()
    return Interval(low, high)


def _permutation_counts(values: Values, sides: Side, permutations: int, seed: int) -> NDArray[np.int64]:
    """For each of `(tags, scenes)` sides, how many permutations of the values are at least as extreme as they are themselves."""
    rng = np.random.default_rng(seed)
    centred = values - values.mean()
    observed = _welch(centred[None, :], sides)[:, 0]
    count = np.zeros(len(sides), np.int64)
    at_once = max(1, VALUES_AT_ONCE // len(values))
    for start in range(0, permutations, at_once):
        rows = np.tile(centred, (min(at_once, permutations - start), 1))
        count += np.count_nonzero(_welch(rng.permuted(rows, axis=1), sides) >= observed[:, None] * (1 - SLACK), axis=1)
    return count


def _welch(rows: Values, sides: Side) -> Values:
    """Size of Welch's t.

    Args:
        rows: `(N, scenes)` values.
        sides: `(tags, scenes)`.

    Returns:
        `(tags, N)`; 0 where nothing differs at all, infinite where only the sides differ.
    """
    own = sides.astype(np.float64)
    sizes, rest = own.sum(axis=1)[:, None], (1 - own).sum(axis=1)[:, None]
    squares = rows**2
    sums, square_sums = own @ rows.T, own @ squares.T
    other_sums, other_squares = rows.sum(axis=1) - sums, squares.sum(axis=1) - square_sums
    mean, other_mean = sums / sizes, other_sums / rest
    spread = _variance(square_sums, mean, sizes) / sizes + _variance(other_squares, other_mean, rest) / rest
    difference = np.abs(mean - other_mean)
    scale = np.abs(rows).max(axis=1)
    difference = np.where(difference <= SLACK * scale, 0.0, difference)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(difference == 0.0, 0.0, difference / np.sqrt(np.where(spread <= (SLACK * scale) ** 2, 0.0, spread)))


def _variance(squares: Values, mean: Values, size: Values) -> Values:
    return np.maximum(squares - size * mean**2, 0.0) / (size - 1)
