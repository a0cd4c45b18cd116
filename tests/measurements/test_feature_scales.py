"""Fitted coefficients against normal equations, refitting, and planted effects."""

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_wine

from normlab.errors import ConfigError
from normlab.measurements.feature_scales import (
    agreement,
    coefficient_per_effect,
    fitted,
    left_out,
    planted_coefficients,
    wine_coefficients,
)


@pytest.fixture(scope="module")
def wine():
    data = load_wine().data
    return data[:, 1:], data[:, 0]


def test_fit_against_statsmodels(wine):
    x, y = wine
    reference = sm.OLS(y, sm.add_constant(x)).fit()
    coefficients, covariance = fitted(x, y)
    np.testing.assert_allclose(coefficients, reference.params[1:], rtol=1e-6)
    np.testing.assert_allclose(covariance, reference.cov_params()[1:, 1:], rtol=1e-6)


def test_effect_against_refitting_without_the_feature(wine):
    x, y = wine

    def squared_error(features):
        design = np.column_stack([features, np.ones(len(y))])
        return ((y - design @ np.linalg.lstsq(design, y, rcond=None)[0]) ** 2).sum()

    refitted = [squared_error(np.delete(x, j, 1)) - squared_error(x) for j in range(x.shape[1])]
    np.testing.assert_allclose(left_out(x, y), refitted, rtol=1e-5, atol=1e-9)


@given(st.lists(st.floats(1e-4, 1e4), min_size=12, max_size=12))
def test_scales_divide_coefficients_and_leave_effects(scales):
    data = load_wine().data
    x, y, scales = data[:, 1:], data[:, 0], np.array(scales)
    np.testing.assert_allclose(fitted(x * scales, y)[0], fitted(x, y)[0] / scales, rtol=1e-6)
    np.testing.assert_allclose(left_out(x * scales, y), left_out(x, y), rtol=1e-6)
    np.testing.assert_allclose(coefficient_per_effect(x * scales), coefficient_per_effect(x) / scales, rtol=1e-6)


def test_without_noise_the_planted_coefficients_come_back():
    rows = {(row["effect"], row["scaling"]): row for row in planted_coefficients(noise=0.0, samples=500)}
    assert len(rows) == 9
    for row in rows.values():
        assert row["ratio"] == pytest.approx(row["expected"], rel=1e-9)
    assert rows["typical value", "none"]["expected"] == pytest.approx(100_000 / 30)
    assert rows["typical value", "range"]["expected"] == pytest.approx(1 / 3)  # 0.3 and 0.1 of the ranges
    assert rows["range", "none"]["expected"] == pytest.approx(10_000)
    assert rows["range", "range"]["expected"] == pytest.approx(1)
    assert rows["standard deviation", "standard deviation"]["expected"] == pytest.approx(1)


def test_the_intervals_of_the_ratio_cover():
    """95% of 100 draws in the long run; 88 and 100 are each rarer than 1 in 150."""
    rows = [planted_coefficients(samples=500, seed=seed)[0] for seed in range(100)]
    covered = sum(row["ratio_low"] <= row["expected"] <= row["ratio_high"] for row in rows)
    assert 88 <= covered < 100


def test_the_wine_table(wine):
    rows = {row["scaling"]: row for row in wine_coefficients(resamples=20)}
    x, y = wine
    assert rows["none"]["agreement"] == agreement(x, y)
    assert rows["range"]["agreement"] == agreement(x / np.ptp(x, 0), y) > rows["none"]["agreement"]
    assert list(rows.values()) == wine_coefficients(resamples=20)
    for row in rows.values():
        assert row["samples"] == 178
        assert -1 <= row["agreement_low"] <= row["agreement_high"] <= 1
    # Equal effects would have equal coefficients in standard units, were the features uncorrelated.
    inflation = np.diag(np.linalg.inv(np.corrcoef(x.T)))
    expected = np.sqrt(inflation.max() / inflation.min())
    assert rows["standard deviation"]["equal_effect_ratio"] == pytest.approx(expected)
    assert rows["none"]["equal_effect_ratio"] > 1000


def test_an_unknown_column_is_refused():
    with pytest.raises(ConfigError, match="target=colour: choose from alcohol, malic_acid"):
        wine_coefficients(target="colour")
