"""Paired tests against enumeration, other implementations and their own symmetries."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import integrate, stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_paired

from normlab.statistics import (
    equivalence_test,
    holm,
    non_inferiority_test,
    paired_difference,
    superiority_test,
    t_test,
)

pairs = st.integers(2, 10).flatmap(lambda n: arrays(np.float64, (2, n), elements=st.floats(-1e3, 1e3)))
margins = st.floats(0.01, 1e3)
BY_MARGIN = [equivalence_test, non_inferiority_test, superiority_test]


@pytest.mark.parametrize(
    ("first", "statistic"),
    # Hand-computed: differences' mean over s / sqrt(n).
    [([1, 2, 3], 2 * math.sqrt(3)), ([1, 1, 4, 2], 2 / math.sqrt(2 / 4)), ([-1, 0, 1, 4, 1], 1 / math.sqrt(3.5 / 5))],
)
def test_t_by_hand(first, statistic):
    """p is the area of Student's density beyond t, integrated here."""
    n = len(first)
    factor = math.gamma(n / 2) / math.sqrt((n - 1) * math.pi) / math.gamma((n - 1) / 2)
    expected = 1 - 2 * factor * integrate.quad(lambda x: (1 + x**2 / (n - 1)) ** (-n / 2), 0, statistic)[0]
    assert t_test(first, [0] * n) == pytest.approx(expected, abs=1e-9)
    assert superiority_test(first, [0] * n) == pytest.approx(expected / 2, abs=1e-9)
    assert superiority_test([0] * n, first) == pytest.approx(1 - expected / 2, abs=1e-9)


@pytest.mark.slow
@settings(deadline=None)
@given(pairs, margins)
def test_p_lies_between_0_and_1_and_is_that_of_scipy_and_statsmodels(values, margin):
    first, second = values
    assume(np.ptp(first - second) > 1e-6)
    assert t_test(first, second) == pytest.approx(stats.ttest_rel(first, second).pvalue, rel=1e-6, abs=1e-12)
    lower = stats.ttest_rel(first + margin, second, alternative="greater").pvalue
    assert non_inferiority_test(first, second, margin) == pytest.approx(lower, rel=1e-6, abs=1e-12)
    upper = stats.ttest_rel(first - margin, second, alternative="greater").pvalue
    assert superiority_test(first, second, margin) == pytest.approx(upper, rel=1e-6, abs=1e-12)
    both = ttost_paired(first, second, -margin, margin)[0]
    assert equivalence_test(first, second, margin) == pytest.approx(both, rel=1e-6, abs=1e-12)
    for test in BY_MARGIN:
        assert 0 <= test(first, second, margin) <= 1


@pytest.mark.slow
@settings(deadline=None)
@given(pairs, margins)
def test_the_order_of_the_pair_and_what_is_common_do_not_count(values, margin):
    first, second = values
    assume(np.ptp(first - second) > 1e-3)
    common = 10 * np.arange(first.size)
    for turned in ((second, first), (first + common, second + common), (3 * first, 3 * second)):
        assert t_test(*turned) == pytest.approx(t_test(first, second), rel=1e-6, abs=1e-9)
    turned = equivalence_test(second, first, margin)
    assert turned == pytest.approx(equivalence_test(first, second, margin), rel=1e-9)
    scaled = equivalence_test(3 * first, 3 * second, 3 * margin)
    assert scaled == pytest.approx(equivalence_test(first, second, margin), rel=1e-6, abs=1e-9)
    assert superiority_test(first, second) + superiority_test(second, first) == pytest.approx(1, abs=1e-9)


@settings(deadline=None)
@given(pairs, margins)
def test_tests_say_what_intervals_say(values, margin):
    """p < 5% two-sided if 0 is outside the 95% interval; equivalent at 5% if the 90% interval is inside the margins."""
    first, second = values
    assume(np.ptp(first - second) > 1e-6)
    whole, inner = paired_difference(first, second), paired_difference(first, second, 0.9)
    assume(min(abs(whole.low), abs(whole.high), abs(inner.low + margin), abs(inner.high - margin)) > 1e-9)
    assert (t_test(first, second) < 0.05) == (not whole.low <= 0 <= whole.high)
    assert (equivalence_test(first, second, margin) < 0.05) == (-margin < inner.low <= inner.high < margin)
    assert (non_inferiority_test(first, second, margin) < 0.05) == (inner.low > -margin)


@settings(deadline=None)
@given(pairs, margins, st.floats(1.01, 3))
def test_a_wider_margin_is_easier_to_keep_and_harder_to_exceed(values, margin, factor):
    first, second = values
    assume(np.ptp(first - second) > 1e-6)
    wider = factor * margin
    assert equivalence_test(first, second, wider) <= equivalence_test(first, second, margin)
    assert non_inferiority_test(first, second, wider) <= non_inferiority_test(first, second, margin)
    assert superiority_test(first, second, wider) >= superiority_test(first, second, margin)
    assert non_inferiority_test(first, second, margin) <= equivalence_test(first, second, margin)


@pytest.mark.parametrize("level", [0.0, 0.3, 1e6])
@pytest.mark.parametrize(
    ("difference", "expected"),
    # Two-sided; equivalence, non-inferiority and superiority with a margin of 0.05; superiority without.
    [
        (0.0, (1, 0, 0, 1, 1)),
        (0.04, (0, 0, 0, 1, 0)),
        (-0.04, (0, 0, 0, 1, 1)),
        (0.05, (0, 1, 0, 1, 0)),
        (-0.05, (0, 1, 1, 1, 1)),
        (0.06, (0, 1, 0, 0, 0)),
        (-0.06, (0, 1, 1, 1, 1)),
    ],
)
def test_differences_without_variance_are_tested_by_their_sign(level, difference, expected):
    """Where 0 is expected, the chance that five coins fall alike; a difference on the margin is not inside it.

    At levels at which second + difference - second rounds.
    """
    second = level + np.array([0.0, 0.1, 0.2, 0.7, 0.9])
    first = second + difference
    found = (t_test(first, second), *(test(first, second, 0.05) for test in BY_MARGIN), superiority_test(first, second))
    alike = stats.binomtest(5, 5, alternative="greater").pvalue
    assert found == tuple(p if p else alike * (2 if place == 0 else 1) for place, p in enumerate(expected))


def test_the_smallest_and_largest_differences_have_a_p():
    """Whose squares are 0 and infinite."""
    for size in (1e-300, 1e-200, 1e200):
        assert t_test([size, 2 * size], [0, 0]) == pytest.approx(t_test([1, 2], [0, 0]), rel=1e-12)
        assert t_test([size, -size], [0, 0]) == pytest.approx(1, abs=1e-12)


def test_rounding_is_no_difference():
    first, second = [0.1 + 0.2] * 5, [0.3] * 5
    assert first != second
    assert t_test(first, second) == superiority_test(first, second) == 1


@pytest.mark.parametrize("values", [([], []), ([1], [2])])
def test_too_few_pairs_say_nothing(values):
    assert math.isnan(t_test(*values))
    for test in BY_MARGIN:
        assert math.isnan(test(*values, 1))


@pytest.mark.parametrize("margin", [-1, math.nan, math.inf])
def test_a_margin_must_be_a_number_above_0(margin):
    for test in BY_MARGIN:
        with pytest.raises(ValueError, match="margin is"):
            test([1, 2], [1, 3], margin)
    for test in (equivalence_test, non_inferiority_test):
        with pytest.raises(ValueError, match="margin is 0"):
            test([1, 2], [1, 3], 0)


@pytest.mark.parametrize(
    "test",
    [
        t_test,
        superiority_test,
        lambda *pair: equivalence_test(*pair, 1),
        lambda *pair: non_inferiority_test(*pair, 1),
    ],
)
def test_pairs_that_are_none_are_refused(test):
    with pytest.raises(ValueError, match="equal lengths, not 2 and 3"):
        test([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="value 1 is nan"):
        test([1, math.nan], [1, 2])
    with pytest.raises(ValueError, match="value 0 is inf"):
        test([1, 2], [math.inf, 2])


def test_holm_by_hand():
    """Times 5, 4, 3, 2, 1 in order of size: 0.005, 0.04, 0.06, 0.08 and 0.05, which may not fall below 0.08."""
    found = holm([0.02, 0.05, 0.001, 0.04, 0.01])
    np.testing.assert_allclose(found, [0.06, 0.08, 0.005, 0.08, 0.04], rtol=1e-14)
    np.testing.assert_allclose(holm([0.6, 0.5]), [1, 1])
    np.testing.assert_allclose(holm([0.03]), [0.03])
    assert holm([]).shape == (0,)


p_values = arrays(np.float64, st.integers(1, 12), elements=st.floats(0, 1))


@pytest.mark.slow
@pytest.mark.parametrize("m", [1, 2, 5, 20])
def test_holm_is_that_of_statsmodels(m):
    values = np.random.default_rng(m).random(m) ** 4
    np.testing.assert_allclose(holm(values), multipletests(values, method="holm")[1], rtol=1e-14)


@settings(deadline=None)
@given(arrays(np.float64, st.integers(1, 6), elements=st.floats(0, 1)))
def test_holm_rejects_what_bonferroni_rejects_in_every_set_of_tests_around_it(values):
    """The closed testing procedure of Bonferroni's test, of which Holm's is the shortcut, over all sets."""
    expected = np.zeros(values.size)
    for chosen in itertools.product((False, True), repeat=values.size):
        around = np.array(chosen)
        if around.any():
            bonferroni = min(1, around.sum() * values[around].min())
            expected[around] = np.maximum(expected[around], bonferroni)
    np.testing.assert_allclose(holm(values), expected, rtol=1e-14)


@settings(deadline=None)
@given(p_values)
def test_holm_keeps_order(values):
    found = holm(values)
    assert (found >= values).all()
    assert (found <= np.minimum(values.size * values, 1)).all()  # never above Bonferroni's
    order = np.argsort(values)
    assert (np.diff(found[order]) >= 0).all()
    np.testing.assert_array_equal(holm(values[order]), found[order])


@settings(deadline=None)
@given(p_values, st.data())
def test_tests_that_were_not_made_do_not_count(values, data):
    places = data.draw(st.lists(st.integers(0, values.size), max_size=4))
    with_nan = np.insert(values, places, np.nan)
    found = holm(with_nan)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(with_nan))
    np.testing.assert_array_equal(found[~np.isnan(found)], holm(values))


def test_holm_leaves_its_argument_alone_and_refuses_what_is_no_p():
    values = np.array([0.01, 0.02])
    holm(values)
    assert values.tolist() == [0.01, 0.02]
    for bad in ([-0.1, 0.5], [0.5, 1.1], [[0.1]], 0.1, [math.inf]):
        with pytest.raises(ValueError, match="p values"):
            holm(bad)
