"""The Hessian of two uniform features: closed form against integration, sampling against the closed form."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from normlab.measurements import feature_scales
from normlab.measurements.feature_scales import sampled_hessian, uniform_hessian, uniform_second_moment

RANGES = (1.0, 1000.0)


def grid(ranges, correlation):
    """Points of equal weight that integrate products of two uniform features: a midpoint rule."""
    u = (np.arange(2000) + 0.5) / 2000
    if correlation == 0:
        return np.stack([a.ravel() for a in np.meshgrid(ranges[0] * u, ranges[1] * u)], 1)
    return np.stack([ranges[0] * u, ranges[1] * (u if correlation > 0 else u[::-1])], 1)


@pytest.mark.parametrize("correlation", [-1.0, 0.0, 1.0])
@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_closed_form_against_integration(correlation, centered, bias):
    x = grid(RANGES, correlation)
    x = x - x.mean(0) if centered else x
    x = np.column_stack([x, np.ones(len(x))]) if bias else x
    expected = x.T @ x / len(x)
    found = uniform_second_moment(RANGES, correlation, centered=centered, bias=bias).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


def test_the_mixed_entry_is_250_and_no_dependence_makes_it_166_5():
    independent = {(row["inputs"], row["bias"]): row for row in uniform_hessian(ranges=RANGES)}
    assert independent["as they are", "without"]["mixed"] == 250
    assert independent["as they are", "without"]["condition"] == pytest.approx(
        np.linalg.cond([[1 / 3, 250], [250, 1e6 / 3]]), rel=1e-6
    )
    assert independent["centred", "without"]["condition"] == pytest.approx(1e6, rel=1e-12)
    # The least that E[x1 x2] can be, with the features in opposite order (Hoeffding 1940).
    opposed = uniform_hessian(ranges=RANGES, correlation=-1.0)
    assert opposed[0]["mixed"] == pytest.approx(1000 / 6)
    assert opposed[0]["mixed"] > 166.5
    assert opposed[0]["condition"] == pytest.approx(4e6 / 3, rel=1e-3)
    assert all(math.isinf(row["condition"]) for row in opposed[1:])  # with the ones of a bias, or centered: singular


@given(st.floats(0.01, 100), st.floats(0.01, 100), st.floats(-1, 1))
def test_second_moments_are_positive_and_scale_with_the_ranges(r, s, correlation):
    found = uniform_second_moment((r, s), correlation, bias=True).numpy()
    assert np.linalg.eigvalsh(found).min() > -1e-9 * np.trace(found)
    scale = np.diag([r, s, 1])
    np.testing.assert_allclose(found, scale @ uniform_second_moment((1, 1), correlation, bias=True).numpy() @ scale)


def test_sampling_against_the_closed_form():
    """No row misses by more than twice its interval's half width, and the intervals are a percent wide at most."""
    expected = {(row["inputs"], row["bias"]): row for row in uniform_hessian(ranges=RANGES)}
    rows = sampled_hessian(ranges=RANGES)
    assert rows == sampled_hessian(ranges=RANGES)
    assert [row["samples"] for row in rows] == [500_000] * 4
    for row in rows:
        truth = expected[row["inputs"], row["bias"]]
        for name in ("first", "mixed", "second", "lambda_max", "condition"):
            half = (row[f"{name}_high"] - row[f"{name}_low"]) / 2
            assert row[name] == pytest.approx((row[f"{name}_high"] + row[f"{name}_low"]) / 2)
            assert abs(row[name] - truth[name]) <= 2 * half
            assert half <= 0.01 * max(truth[name], 1e3 if name == "mixed" else 0)


def test_the_intervals_cover(monkeypatch):
    """Of 20 samples with 4 numbers each, 95% in the long run: 85% at least."""
    monkeypatch.setattr(feature_scales, "GROUPS", 10)
    names = ("first", "mixed", "second", "condition")
    truth = uniform_hessian(ranges=RANGES)[0]
    rows = [sampled_hessian(ranges=RANGES, samples=20_000, seed=seed)[0] for seed in range(20)]
    covered = [row[f"{name}_low"] <= truth[name] <= row[f"{name}_high"] for row in rows for name in names]
    assert 0.85 <= np.mean(covered) < 1
