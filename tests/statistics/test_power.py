"""Power against closed forms and against planted studies."""

import math

import numpy as np
import pytest
from scipy import integrate, stats

from normlab.statistics import equivalence_test, outside_test, pairs_needed, power, superiority_test


@pytest.mark.parametrize("n", [2, 5, 12, 40])
def test_of_one_bound_it_is_the_level_at_the_bound(n):
    for alpha in (0.05, 0.01):
        assert power(0.3, 0.3, math.inf, 2.0, n, alpha) == pytest.approx(alpha)
        assert power(0.3, -math.inf, 0.3, 2.0, n, alpha) == pytest.approx(alpha)


def test_bounds_and_unit_can_be_shifted_and_scaled():
    base = power(0.5, 0.0, 2.0, 1.0, 8)
    assert power(5.0, 0.0, 20.0, 10.0, 8) == pytest.approx(base)
    assert power(1.5, 1.0, 3.0, 1.0, 8) == pytest.approx(base)
    assert power(1.5, 0.0, 2.0, 1.0, 8) == pytest.approx(base)  # mirrored about the middle


def test_a_far_second_bound_changes_nothing():
    assert power(0.5, 0.0, 1e6, 1.0, 8) == pytest.approx(power(0.5, 0.0, math.inf, 1.0, 8), abs=1e-6)


def test_two_degrees_of_freedom_in_closed_form():
    """n = 3 and the truth in the middle: chi-square with 2 degrees of freedom is exponential, summed here."""
    half, deviation, n = 2.0, 1.0, 3
    critical = stats.t.ppf(0.95, 2)
    steps = np.linspace(0, 30, 400_001)  # s^2 (n - 1) / sigma^2
    s = np.sqrt(steps / 2)
    room = np.maximum(half - critical * s / math.sqrt(n), 0) * math.sqrt(n)
    density = 0.5 * np.exp(-steps / 2) * (2 * stats.norm.cdf(room) - 1)
    assert power(0.0, -half, half, deviation, n) == pytest.approx(integrate.trapezoid(density, steps), abs=1e-5)


@pytest.mark.parametrize(("truth", "low", "high", "n"), [(0.8, 0.0, math.inf, 6), (0.2, -1.0, 1.0, 10)])
def test_planted_studies_are_decided_as_often(truth, low, high, n):
    generator, studies = np.random.default_rng(0), 600
    zeros, hits = np.zeros(n), 0
    for _ in range(studies):
        less = generator.normal(truth, 1.0, n)
        p = superiority_test(less, zeros) if math.isinf(high) else equivalence_test(less, zeros, high)
        hits += p <= 0.05
    expected = power(truth, low, high, 1.0, n)
    assert abs(hits / studies - expected) <= 3.5 * math.sqrt(expected * (1 - expected) / studies)


@pytest.mark.parametrize(("truth", "low", "high"), [(0.5, 0.0, math.inf), (0.0, -0.5, 0.5), (0.9, -1.0, 1.0)])
def test_the_pairs_needed_are_the_fewest(truth, low, high):
    n = int(pairs_needed(truth, low, high, 1.0))
    assert power(truth, low, high, 1.0, n) >= 0.9 > power(truth, low, high, 1.0, n - 1)


def test_without_variance_or_hope():
    assert power(0.1, 0.0, math.inf, 0.0, 5) == 1
    assert power(0.0, 0.0, math.inf, 0.0, 5) == 0
    assert pairs_needed(0.1, 0.0, math.inf, 0.0) == 2
    assert pairs_needed(2.0, -1.0, 1.0, 1.0) == math.inf
    assert power(1e6, 0.0, math.inf, 1.0, 5) == 1
    for bad in ({"n": 1}, {"alpha": 0.6}, {"deviation": -1.0}, {"low": -math.inf}, {"low": math.inf}):
        arguments = {"truth": 0.0, "low": 0.0, "high": math.inf, "deviation": 1.0, "n": 5, "alpha": 0.05} | bad
        with pytest.raises(ValueError, match=r"out of range|bounds"):
            power(**arguments)


def test_outside_is_the_opposite_of_equivalence():
    """With far bounds it is the one-sided t test of the nearer one; with narrow ones nearly the two-sided test of 0."""
    generator = np.random.default_rng(1)
    less, zeros = generator.normal(1.0, 0.5, 9), np.zeros(9)
    assert outside_test(less, zeros, -100, 0.7) == pytest.approx(superiority_test(less, zeros, 0.7))
    assert outside_test(-less, zeros, -0.7, 100) == pytest.approx(superiority_test(less, zeros, 0.7))
    assert outside_test(less, zeros, -1e-9, 1e-9) == pytest.approx(stats.ttest_1samp(less, 0).pvalue, rel=1e-6)
    assert outside_test(less, zeros, -5, 5) > 0.999
    assert (outside_test([2, 2], [0, 0], -1, 1), outside_test([2, 2], [0, 0], -2, 2)) == (0.25, 1)
    assert math.isnan(outside_test([1.0], [0.0], -1, 1))
    with pytest.raises(ValueError, match="expected two finite numbers"):
        outside_test([1, 2], [0, 0], 1, 1)
