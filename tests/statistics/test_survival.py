"""Times to a target against definitions."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from normlab.statistics import Interval, TimeToTarget, paired_difference, restricted_difference, time_to_target

# Not below 1e-9: the smallest doubles lose digits when they are halved, and no run takes 1e-309 epochs.
times = st.one_of(st.just(0.0), st.floats(1e-9, 1e3), st.just(math.inf))
horizons = st.floats(0.1, 1e3)


@pytest.mark.parametrize(
    ("values", "median"),
    [
        ([5], 5),
        ([math.inf], math.inf),
        ([1, 3], 2),
        ([1, math.inf], math.inf),
        ([math.inf, math.inf], math.inf),
        ([math.inf, 1, 2], 2),
        ([math.inf, 1, math.inf], math.inf),
        ([4, 1, math.inf, 2], 3),
        ([4, math.inf, math.inf, 2], math.inf),
        ([12, 14, 30], 14),  # beyond the horizon, and yet known
    ],
)
def test_a_miss_counts_as_infinite_in_the_median(values, median):
    assert time_to_target(values, horizon=10).median == median


def test_by_hand():
    """min(t, 10) of 2, 10, 11 and a miss is 2, 10, 10, 10; the target was reached by 10 in two runs of four."""
    assert time_to_target([2, 10, 11, math.inf], horizon=10) == TimeToTarget(10.5, 8.0, 0.5, 4)


@settings(deadline=None)
@given(st.lists(times, min_size=1, max_size=12), horizons)
def test_the_restricted_mean_is_the_area_under_the_share_still_short_of_the_target(values, horizon):
    """Integrated step by step, from the definition of a survival curve."""
    found = time_to_target(values, horizon)
    steps = sorted({0.0, horizon, *(t for t in values if t < horizon)})
    area = sum((b - a) * np.mean([t > a for t in values]) for a, b in itertools.pairwise(steps))
    assert found.restricted_mean == pytest.approx(area, rel=1e-9, abs=1e-9)
    assert 0 <= found.restricted_mean <= horizon * (1 + 1e-12)
    assert found.share == sum(t <= horizon for t in values) / len(values)
    assert found.n == len(values)


@settings(deadline=None)
@given(st.lists(times, min_size=1, max_size=12), horizons)
def test_times_in_another_unit_and_order(values, horizon):
    found, scaled = time_to_target(values, horizon), time_to_target([4 * t for t in values[::-1]], 4 * horizon)
    assert scaled.median == 4 * found.median
    assert scaled.restricted_mean == pytest.approx(4 * found.restricted_mean, rel=1e-12)
    assert (scaled.share, scaled.n) == (found.share, found.n)


def test_no_runs():
    found = time_to_target([], horizon=10)
    assert found.n == 0
    assert math.isnan(found.median)
    assert math.isnan(found.restricted_mean)
    assert math.isnan(found.share)


@settings(deadline=None)
@given(st.lists(st.tuples(times, times), max_size=12), horizons)
def test_a_restricted_difference_is_that_of_restricted_means(values, horizon):
    first, second = [pair[0] for pair in values], [pair[1] for pair in values]
    found = restricted_difference(first, second, horizon)
    assert found.n == len(values)
    if values:
        expected = time_to_target(first, horizon).restricted_mean - time_to_target(second, horizon).restricted_mean
        assert found.estimate == pytest.approx(expected, abs=1e-9)


def test_a_restricted_difference_by_hand():
    """Misses count as the horizon: 1 - 10, 10 - 10 and 4 - 6."""
    found = restricted_difference([1, math.inf, 4], [math.inf, 40, 6], horizon=10, confidence=0.9)
    assert found == paired_difference([1, 10, 4], [10, 10, 6], 0.9)
    assert found.estimate == pytest.approx(-11 / 3, rel=1e-14)
    assert found.low < found.estimate < found.high
    assert restricted_difference([math.inf] * 3, [math.inf] * 3, horizon=10) == Interval(0.0, 0.0, 0.0, 3)


def test_what_is_no_time_is_refused():
    for bad in ([math.nan, 1], [-1, 1], [-math.inf, 1], [[1, 2]]):
        with pytest.raises(ValueError, match="expected times"):
            time_to_target(bad, 10)
        with pytest.raises(ValueError, match="expected times"):
            restricted_difference(bad, [1, 2], 10)
        with pytest.raises(ValueError, match="expected times"):
            restricted_difference([1, 2], bad, 10)
    for bad in (0, -1, math.inf, math.nan):
        with pytest.raises(ValueError, match="horizon is"):
            time_to_target([1, 2], bad)
        with pytest.raises(ValueError, match="horizon is"):
            restricted_difference([1, 2], [1, 2], bad)
    with pytest.raises(ValueError, match="equal lengths, not 2 and 3"):
        restricted_difference([1, 2], [1, 2, 3], 10)
