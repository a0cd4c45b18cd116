"""Intervals against tables, brute force and their own symmetries."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from normlab.statistics import Interval, bootstrap_interval, mean_interval, paired_difference, share_interval
from normlab.statistics.intervals import differences

samples = st.integers(2, 12).flatmap(lambda n: arrays(np.float64, n, elements=st.floats(-1e3, 1e3)))
pairs = st.integers(2, 12).flatmap(lambda n: arrays(np.float64, (2, n), elements=st.floats(-1e3, 1e3)))


def ends(interval):
    return interval.estimate, interval.low, interval.high


@pytest.mark.parametrize(
    ("n", "confidence", "quantile"),
    [(2, 0.95, 12.706), (5, 0.95, 2.776), (10, 0.95, 2.262), (5, 0.90, 2.132), (5, 0.99, 4.604), (31, 0.95, 2.042)],
)
def test_the_half_width_is_the_tables_quantile_times_the_standard_error(n, confidence, quantile):
    """Quantiles as printed in any table of Student's t, to 3 decimals."""
    values = np.random.default_rng(n).normal(3, 2, n)
    error = math.sqrt(((values - values.mean()) ** 2).sum() / (n - 1) / n)
    found = mean_interval(values, confidence)
    assert found.estimate == pytest.approx(values.sum() / n, rel=1e-14)
    assert found.n == n
    assert (found.high - found.estimate) / error == pytest.approx(quantile, abs=6e-4)
    assert (found.estimate - found.low) / error == pytest.approx(quantile, abs=6e-4)


@pytest.mark.slow
@settings(deadline=None)
@given(samples, st.floats(0.01, 0.99))
def test_a_mean_lies_inside_its_interval_and_the_t_test_agrees_with_the_ends(values, confidence):
    """At either end the p of the mean being there is 1 - confidence."""
    assume(np.ptp(values) > 1e-3)
    found = mean_interval(values, confidence)
    assert found.low < found.estimate < found.high
    for end in (found.low, found.high):
        assert stats.ttest_1samp(values, end).pvalue == pytest.approx(1 - confidence, abs=1e-6)


@settings(deadline=None)
@given(samples, st.floats(-1e3, 1e3), st.floats(1e-2, 1e2))
def test_an_interval_of_a_mean_moves_and_stretches_with_the_values(values, shift, factor):
    whole = ends(mean_interval(values))
    np.testing.assert_allclose(ends(mean_interval(values + shift)), np.add(whole, shift), atol=1e-8)
    estimate, low, high = whole
    np.testing.assert_allclose(ends(mean_interval(factor * values)), np.multiply(factor, whole), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(ends(mean_interval(-values)), (-estimate, -high, -low), rtol=1e-9, atol=1e-9)


@settings(deadline=None)
@given(samples)
def test_more_confidence_takes_a_wider_interval(values):
    assume(np.ptp(values) > 1e-6)
    narrow, wide = mean_interval(values, 0.9), mean_interval(values, 0.95)
    assert wide.low < narrow.low <= narrow.high < wide.high


def test_too_few_values_have_no_interval_and_equal_ones_no_width():
    nothing = mean_interval([])
    assert nothing.n == 0
    assert all(math.isnan(end) for end in ends(nothing))
    one = mean_interval([7])
    assert (one.estimate, one.n) == (7.0, 1)
    assert math.isnan(one.low)
    assert math.isnan(one.high)
    assert mean_interval([0.1, 0.1, 0.1]) == Interval(0.1, 0.1, 0.1, 3)  # of which numpy's mean is not 0.1


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_a_number_is_refused(bad):
    with pytest.raises(ValueError, match="value 1 is"):
        mean_interval([1, bad, 3])
    with pytest.raises(ValueError, match="value 1 is"):
        bootstrap_interval([1, bad, 3], np.random.default_rng(0))
    with pytest.raises(ValueError, match="value 1 is"):
        paired_difference([1, 2, 3], [1, bad, 3])


def test_a_difference_that_overflows_is_refused():
    with pytest.raises(ValueError, match="value 0 is inf"):
        paired_difference([1e308, 0], [-1e308, 0])


@pytest.mark.parametrize("confidence", [0, 1, -0.1, 95, math.nan])
def test_a_confidence_out_of_range_is_refused(confidence):
    for interval in (
        lambda: mean_interval([1, 2], confidence),
        lambda: bootstrap_interval([1, 2], np.random.default_rng(0), confidence=confidence),
        lambda: paired_difference([1, 2], [2, 4], confidence),
        lambda: share_interval(1, 2, confidence),
    ):
        with pytest.raises(ValueError, match="confidence is"):
            interval()


def test_values_in_a_table_are_refused():
    with pytest.raises(ValueError, match=r"shape \(2, 2\)"):
        mean_interval([[1, 2], [3, 4]])


def bca(values, estimate, replicates, jackknife, confidence):
    """Efron and Tibshirani 1993, equations 14.9 to 14.15, word for word."""
    normal = stats.norm
    z0 = normal.ppf(((replicates < estimate).sum() + (replicates <= estimate).sum()) / 2 / len(replicates))
    centred = jackknife.mean() - jackknife
    a = (centred**3).sum() / (6 * (centred**2).sum() ** 1.5)
    ends_of_normal = normal.ppf([(1 - confidence) / 2, (1 + confidence) / 2])
    levels = [normal.cdf(z0 + (z0 + z) / (1 - a * (z0 + z))) for z in ends_of_normal]
    return np.quantile(replicates, levels)


@pytest.mark.parametrize("statistic", [np.mean, np.std])
def test_the_bootstrap_is_bca_by_hand(statistic):
    """Own resamples, own formula: the ends agree as far as 40,000 resamples can."""
    values = np.random.default_rng(0).exponential(size=12)
    found = bootstrap_interval(values, np.random.default_rng(1), statistic, confidence=0.9, resamples=40_000)
    drawn = np.random.default_rng(2).integers(0, 12, (40_000, 12))
    jackknife = np.array([statistic(np.delete(values, i)) for i in range(12)])
    expected = bca(values, statistic(values), statistic(values[drawn], axis=1), jackknife, 0.9)
    width = expected[1] - expected[0]
    assert found.estimate == pytest.approx(statistic(values), rel=1e-14)
    np.testing.assert_allclose((found.low, found.high), expected, atol=0.02 * width)
    percentile = np.quantile(statistic(values[drawn], axis=1), [0.05, 0.95])
    assert abs(found.high - percentile[1]) > 0.03 * width  # which another method would not have met


def test_a_bootstrap_repeats_with_its_generator():
    values = np.random.default_rng(0).normal(size=6)
    intervals = [bootstrap_interval(values, np.random.default_rng(seed), resamples=200) for seed in (1, 1, 2)]
    assert intervals[0] == intervals[1] != intervals[2]


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(-100, 100))
def test_a_bootstrap_of_the_mean_moves_and_stretches_with_the_values(seed, factor, shift):
    """Of whole numbers: resamples in another order have the same sum, which in fractions they miss by rounding."""
    values = np.random.default_rng(seed).integers(-50, 50, 6)
    whole = ends(bootstrap_interval(values, np.random.default_rng(seed), resamples=99))
    moved = ends(bootstrap_interval(factor * values + shift, np.random.default_rng(seed), resamples=99))
    np.testing.assert_allclose(moved, np.multiply(factor, whole) + shift, atol=1e-9)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # scipy's 0 / 0, of which it then warns
def test_a_degenerate_bootstrap():
    assert bootstrap_interval([4, 4, 4], np.random.default_rng(0)) == Interval(4.0, 4.0, 4.0, 3)
    assert bootstrap_interval([4, 4, 4], np.random.default_rng(0), np.std) == Interval(0.0, 0.0, 0.0, 3)
    one, none = bootstrap_interval([4], np.random.default_rng(0)), bootstrap_interval([], np.random.default_rng(0))
    assert (one.estimate, one.n, math.isnan(one.low), math.isnan(one.high)) == (4.0, 1, True, True)
    assert none.n == 0
    assert all(math.isnan(end) for end in ends(none))
    with pytest.warns(stats.DegenerateDataWarning):
        undefined = bootstrap_interval([1, 2, 2, 2, 3], np.random.default_rng(0), np.median, resamples=99)
    assert undefined.estimate == 2
    assert math.isnan(undefined.low)
    assert math.isnan(undefined.high)


@settings(deadline=None)
@given(pairs)
def test_a_paired_difference_is_the_mean_of_differences_and_turns_with_the_pair(values):
    first, second = values
    assume(np.ptp(first - second) > 1e-6)
    found, turned = paired_difference(first, second), paired_difference(second, first)
    np.testing.assert_allclose(ends(found), ends(mean_interval(first - second)), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(ends(turned), (-found.estimate, -found.high, -found.low), rtol=1e-12, atol=1e-12)


def test_what_a_seed_does_to_both_does_not_count():
    """Seeds far apart, a difference of 1 or 1.2 each: only the differences' scatter is in the interval."""
    seeds = np.array([0, 100, -50, 1000])
    found = paired_difference(seeds + np.array([1, 1.2, 1, 1.2]), seeds)
    assert found.estimate == pytest.approx(1.1, abs=1e-12)
    assert found.high - found.low == pytest.approx(2 * 3.182446 * 0.2 / math.sqrt(12), abs=1e-6)


def test_pairs_of_unequal_length_are_refused():
    with pytest.raises(ValueError, match="equal lengths, not 3 and 2"):
        paired_difference([1, 2, 3], [1, 2])


def test_differences_that_differ_by_rounding_alone_are_one_difference():
    """0.95 - 0.9, 0.35 - 0.3 and 0.15 - 0.1 are three numbers in floating point."""
    first, second = np.array([0.95, 0.35, 0.15]), np.array([0.9, 0.3, 0.1])
    assert np.ptp(first - second) > 0
    found = paired_difference(first, second)
    assert found.low == found.estimate == found.high == pytest.approx(0.05, rel=1e-12)
    assert differences([0.1 + 0.2] * 3, [0.3] * 3).tolist() == [0, 0, 0]


def test_small_differences_that_are_no_rounding_stay():
    assert differences([1 + 1e-13, 1], [1, 1]).tolist() == [(1 + 1e-13) - 1, 0]
    assert differences([1e-200, 3e-200], [0, 0]).tolist() == [1e-200, 3e-200]


@pytest.mark.parametrize(
    ("successes", "n", "confidence"), [(0, 5, 0.95), (5, 5, 0.95), (1, 5, 0.95), (7, 20, 0.9), (150, 300, 0.99)]
)
def test_a_share_ends_where_the_score_test_does(successes, n, confidence):
    """Wilson's definition: an end p solves |share - p| = z sqrt(p (1 - p) / n)."""
    z = stats.norm.ppf((1 + confidence) / 2)
    found = share_interval(successes, n, confidence)
    share = successes / n
    expected = np.sort(np.roots([1 + z**2 / n, -2 * share - z**2 / n, share**2]))
    np.testing.assert_allclose((found.low, found.high), expected, atol=1e-12)
    assert (found.estimate, found.n) == (share, n)


@settings(deadline=None)
@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_a_share_lies_inside_its_interval_and_mirrors_that_of_failures(counts):
    successes, n = counts
    found, mirrored = share_interval(successes, n), share_interval(n - successes, n)
    assert 0 <= found.low <= found.estimate <= found.high <= 1
    assert found.high - found.low > 0
    np.testing.assert_allclose((found.low, found.high), (1 - mirrored.high, 1 - mirrored.low), atol=1e-12)


def test_shares_of_nothing_and_of_too_many():
    nothing = share_interval(0, 0)
    assert nothing.n == 0
    assert all(math.isnan(end) for end in ends(nothing))
    for successes, n in ((3, 2), (-1, 2), (0, -1)):
        with pytest.raises(ValueError, match="expected 0 <= successes <= n"):
            share_interval(successes, n)
