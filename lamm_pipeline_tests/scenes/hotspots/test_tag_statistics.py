"""Statistics against SciPy's, and against chance: where nothing differs, nothing is said."""

import numpy as np
import pytest
from scipy import stats

from lamm_pipeline.scenes.hotspots import tag_statistics
from lamm_pipeline.scenes.hotspots.settings import HotspotSettings
from lamm_pipeline.scenes.hotspots.tag_statistics import box_of, compare, describe, difference_interval, holm, mean_interval

MANY = HotspotSettings(resamples=20_000, permutations=19_999)


def sample(seed: int, scenes: int = 52, tagged: int = 12, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    side = np.zeros(scenes, np.bool_)
    side[rng.choice(scenes, tagged, replace=False)] = True
    return rng.gamma(4.0, 0.05, scenes) + shift * side, side


def welch(x: np.ndarray, y: np.ndarray, axis: int = -1) -> np.ndarray:
    """The size of Welch's t, of which the test is two-sided."""
    spread = x.var(axis=axis, ddof=1) / x.shape[axis] + y.var(axis=axis, ddof=1) / y.shape[axis]
    return np.asarray(np.abs(x.mean(axis=axis) - y.mean(axis=axis)) / np.sqrt(spread))


@pytest.mark.requirement("UNC-13")
@pytest.mark.parametrize("shift", [0.0, 0.05, 0.1])
def test_the_p_value_is_that_of_scipys_permutation_test(shift: float) -> None:
    values, side = sample(3, shift=shift)
    [found] = compare(values, {"rain": side}, MANY)
    expected = stats.permutation_test(
        (values[side], values[~side]), welch, vectorized=True, n_resamples=19_999, alternative="greater", rng=7
    )
    noise = 4 * np.sqrt(max(expected.pvalue, 1e-4) * (1 - expected.pvalue) * 2 / 20_000)
    assert found.p == pytest.approx(expected.pvalue, abs=noise)
    assert (found.scenes, found.others) == (12, 40)
    assert found.difference == pytest.approx(values[side].mean() - values[~side].mean())


def test_a_few_scenes_give_the_exact_p_value() -> None:
    values = np.array([0.9, 0.7, 0.8, 0.2, 0.3, 0.1])
    side = np.array([True, True, True, False, False, False])
    [found] = compare(values, {"rain": side}, MANY.model_copy(update={"min_scenes": 3}))
    exact = stats.permutation_test((values[side], values[~side]), welch, vectorized=True, n_resamples=np.inf, alternative="greater")
    assert exact.pvalue == pytest.approx(2 / 20)
    assert found.p == pytest.approx(2 / 20, abs=0.01)


@pytest.mark.requirement("UNC-12")
def test_intervals_are_those_of_scipys_bootstrap() -> None:
    values, side = sample(4, shift=0.1)
    tagged, others = values[side], values[~side]
    expected = stats.bootstrap((tagged,), np.mean, n_resamples=20_000, method="percentile", rng=7).confidence_interval
    found = mean_interval(tagged, MANY)
    assert (found.low, found.high) == (pytest.approx(expected.low, abs=0.003), pytest.approx(expected.high, abs=0.003))

    def difference(x: np.ndarray, y: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.asarray(x.mean(axis=axis) - y.mean(axis=axis))

    expected = stats.bootstrap((tagged, others), difference, n_resamples=20_000, method="percentile", rng=7).confidence_interval
    found = difference_interval(tagged, others, MANY)
    assert (found.low, found.high) == (pytest.approx(expected.low, abs=0.003), pytest.approx(expected.high, abs=0.003))


def test_intervals_have_the_mean_in_them_as_often_as_they_say() -> None:
    settings = HotspotSettings(resamples=500)
    rng = np.random.default_rng(5)
    inside = [mean_interval(rng.normal(0.3, 0.1, 60), settings.model_copy(update={"seed": seed})) for seed in range(400)]
    share = np.mean([each.low <= 0.3 <= each.high for each in inside])
    assert 0.90 <= share <= 0.98  # 0.95 but for a bootstrap of 60 and for 400 trials


@pytest.mark.requirement("UNC-13")
def test_holms_correction() -> None:
    # Holm 1979: times 4, 3, 2, 1 from the smallest on, never below the one before
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.requirement("UNC-13")
@pytest.mark.parametrize("spread", [1.0, 4.0])
def test_where_nothing_differs_a_sentence_is_as_rare_as_alpha(spread: float) -> None:
    """Eight tags that say nothing, some on few scenes; with `spread` the scenes of the first tag scatter more, but not higher."""
    settings = HotspotSettings(permutations=199)
    worlds, false = 400, 0
    for seed in range(worlds):
        rng = np.random.default_rng(seed)
        sides = {f"tag{n}": rng.permutation(60) < size for n, size in enumerate((8, 8, 10, 15, 20, 25, 30, 50))}
        values = rng.normal(0.3, 0.05, 60)
        values[sides["tag0"]] = 0.3 + spread * (values[sides["tag0"]] - 0.3)
        p_values = [each.p for each in compare(values, sides, settings.model_copy(update={"seed": seed}))]
        false += min(holm(p_values)) <= settings.alpha
    assert false <= worlds * settings.alpha + 3 * np.sqrt(worlds * 0.05 * 0.95)  # three standard errors of 400 trials


def test_a_difference_that_is_there_is_found() -> None:
    settings = HotspotSettings(permutations=999)
    found = [compare(*_with_tag(sample(seed, shift=0.12)), settings)[0].p <= 0.05 for seed in range(40)]
    assert sum(found) >= 30


@pytest.mark.requirement("UNC-12")
def test_too_few_scenes_are_described_and_not_compared() -> None:
    values = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    tags = {"one": np.arange(6) == 5, "most": np.arange(6) < 5}
    assert compare(values, tags, HotspotSettings(min_scenes=2)) == []  # one scene with it; one without it
    everything, one, most = describe(values, tags, HotspotSettings())
    assert (everything.tag, everything.scenes) == (None, 6)
    assert (one.tag, one.scenes, one.mean, one.interval) == ("one", 1, pytest.approx(0.6), None)
    assert most.interval is not None
    assert (one.box.minimum, one.box.median, one.box.maximum) == (0.6, 0.6, 0.6)


def test_scenes_that_are_all_alike_differ_in_nothing() -> None:
    side = np.arange(12) < 6
    assert compare(np.full(12, 0.3), {"rain": side}, HotspotSettings())[0].p == 1.0
    apart = compare(np.where(side, 0.8, 0.2), {"rain": side}, MANY)[0]
    assert apart.p == pytest.approx(2 / 924, abs=0.002)  # only two of the 924 ways to choose six are as extreme


def test_numbers_do_not_depend_on_how_many_are_computed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    values, side = sample(9, shift=0.05)
    settings = HotspotSettings(permutations=999)
    before = compare(values, {"rain": side, "night": ~side}, settings), mean_interval(values, settings)
    monkeypatch.setattr(tag_statistics, "VALUES_AT_ONCE", 1000)
    assert (compare(values, {"rain": side, "night": ~side}, settings), mean_interval(values, settings)) == before
    rain, night = before[0][1], before[0][0]
    assert (rain.tag, rain.p) == ("rain", night.p)  # the same comparison, seen from the other side


@pytest.mark.requirement("UNC-12")
def test_a_box_has_the_quartiles_of_numpy_and_the_whiskers_of_matplotlib() -> None:
    values = np.concatenate([np.random.default_rng(1).normal(0.3, 0.1, 60), [1.5, 1.7]])
    box = box_of(values)
    first, third = np.percentile(values, [25, 75])
    assert (box.first_quartile, box.median, box.third_quartile) == (first, np.median(values), third)
    assert box.outliers == np.count_nonzero((values > third + 1.5 * (third - first)) | (values < first - 1.5 * (third - first))) >= 2
    assert box.high_whisker == values[values <= third + 1.5 * (third - first)].max() < 1.5 < box.maximum == 1.7


def _with_tag(given: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    return given[0], {"rain": given[1]}
