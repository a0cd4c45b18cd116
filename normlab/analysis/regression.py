"""Coefficients of linear regression and the scales of its features.

A feature's effect is its coefficient times a stretch of the feature: its typical value, its range, or its standard
deviation. Dividing a feature by its range multiplies its coefficient by it, so scaled coefficients are effects over
the range, whatever other effect was meant to be equal (Bring 1994, "How to standardize regression coefficients", The
American Statistician 48:209-213).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from normlab.config import NonNegativeFloat, PositiveFloat
from normlab.errors import ConfigError

Array = NDArray[np.float64]
Stretch = Literal["typical value", "range", "standard deviation"]
Scaling = Literal["none", "range", "standard deviation"]
CONCENTRATION = 10.0  # of the planted Beta distributions: a + b


def planted_coefficients(
    *,
    typical: tuple[PositiveFloat, PositiveFloat] = (30.0, 100_000.0),
    ranges: tuple[PositiveFloat, PositiveFloat] = (100.0, 1_000_000.0),
    noise: NonNegativeFloat = 0.1,
    samples: int = 20_000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Two features of equal effect, and the ratio of their fitted coefficients under each scaling.

    Feature j is ranges[j] times a Beta variable with mean typical[j] / ranges[j]; the target is the sum of both
    features, each divided by its stretch, and normal noise. A row for each meaning of effect and each scaling:

    ``effect``, over which stretch both features change the target by 1; ``scaling``, what each feature is divided by
    (``range``: the stated one, to [0, 1]); ``expected``, the ratio of the true coefficients, first over second;
    ``ratio`` with ``ratio_low`` and ``ratio_high``, the fitted one and its 95% interval (delta method on its
    logarithm); ``samples``.

    Args:
        typical: means of the features.
        ranges: their upper ends; the lower ones are 0.
        noise: standard deviation, as a share of the signal's.
        samples: N.
        seed: of features and noise.
    """
    generator = np.random.default_rng(seed)
    means, tops = np.array(typical) / ranges, np.array(ranges)
    x = generator.beta(CONCENTRATION * means, CONCENTRATION * (1 - means), size=(samples, 2)) * tops
    std = tops * np.sqrt(means * (1 - means) / (CONCENTRATION + 1))  # of a Beta variable, times the range
    stretches: dict[str, Array] = {"typical value": np.array(typical), "range": tops, "standard deviation": std}
    divisors: dict[str, Array] = {"none": np.ones(2), "range": tops, "standard deviation": std}
    rows = []
    for effect in get_args(Stretch):
        signal = (x / stretches[effect]).sum(1)
        y = signal + noise * signal.std() * generator.standard_normal(samples)
        for scaling in get_args(Scaling):
            coefficients, covariance = fitted(x / divisors[scaling], y)
            expected = (divisors[scaling] / stretches[effect])[0] / (divisors[scaling] / stretches[effect])[1]
            estimate = coefficients[0] / coefficients[1]
            slope = np.array([1, -1]) / coefficients  # of log(first / second)
            half = 1.959964 * math.sqrt(slope @ covariance @ slope)
            row: dict[str, Any] = {"effect": effect, "scaling": scaling, "samples": samples}
            row |= {"expected": float(expected), "ratio": float(estimate)}
            row |= {"ratio_low": float(estimate * math.exp(-half)), "ratio_high": float(estimate * math.exp(half))}
            rows.append(row)
    return rows


def fitted(x: Array, y: Array) -> tuple[Array, Array]:
    """Least squares with an intercept: coefficients [D], and their covariance [D, D] by the residual variance.

    >>> coefficients, covariance = fitted(np.array([[0.0], [1.0], [2.0]]), np.array([1.0, 3.0, 5.0]))
    >>> coefficients.round(9).tolist(), covariance.round(9).tolist()
    ([2.0], [[0.0]])

    Args:
        x: features [N, D].
        y: target [N].
    """
    centred, target = x - x.mean(0), y - y.mean()
    norms = np.sqrt((centred**2).sum(0))  # columns of one length: the scales differ by decades
    unit = centred / norms
    coefficients = np.linalg.lstsq(unit, target, rcond=None)[0]
    residual = target - unit @ coefficients
    variance = residual @ residual / (len(x) - x.shape[1] - 1)
    covariance = variance * np.linalg.inv(unit.T @ unit)
    return coefficients / norms, covariance / np.outer(norms, norms)


def wine_coefficients(
    *,
    target: str = "alcohol",
    scalings: Sequence[Scaling] = ("none", "range", "standard deviation"),
    resamples: int = 1000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Whether sizes of coefficients tell sizes of effects in a real table, scikit-learn's wines (178 rows).

    One column is regressed on the twelve others. The effect of a feature, free of units, is the rise of the squared
    error when it is left out. A row for each scaling (by the observed range, or the standard deviation):

    ``scaling``; ``agreement`` with ``agreement_low`` and ``agreement_high``, the rank correlation (Spearman 1904) of
    |coefficient| and effect, with its percentile bootstrap interval over rows (95%); ``equal_effect_ratio``, the
    factor by which the coefficients of two features of equal effect may differ, the largest over all pairs (see
    :func:`coefficient_per_effect`); ``samples``.

    Args:
        target: column that is predicted.
        scalings: what each feature is divided by.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        ConfigError: for an unknown column.
    """
    from sklearn.datasets import load_wine  # slow to import

    bunch = load_wine()
    names = list(bunch.feature_names)
    if target not in names:
        raise ConfigError(f"target={target}: choose from {', '.join(names)}")
    x, y = np.delete(bunch.data, names.index(target), 1), bunch.data[:, names.index(target)]
    generator = np.random.default_rng(seed)
    draws = [generator.integers(len(x), size=len(x)) for _ in range(resamples)]
    rows = []
    for scaling in scalings:
        divisors = {"none": np.ones(x.shape[1]), "range": np.ptp(x, 0), "standard deviation": x.std(0)}[scaling]
        scaled = x / divisors
        found = [agreement(scaled[draw], y[draw]) for draw in draws]
        low, high = np.quantile(found, [0.025, 0.975])
        sizes = coefficient_per_effect(scaled)
        rows.append(
            {
                "scaling": scaling,
                "samples": len(x),
                "agreement": agreement(scaled, y),
                "agreement_low": float(low),
                "agreement_high": float(high),
                "equal_effect_ratio": float(sizes.max() / sizes.min()),
            }
        )
    return rows


def agreement(x: Array, y: Array) -> float:
    """Rank correlation of |coefficient| and the rise of the squared error without the feature.

    >>> x = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0], [0.0, 0.0]])
    >>> round(agreement(x, x @ [3.0, 1.0]), 9)
    1.0
    """
    from scipy.stats import spearmanr

    return float(spearmanr(np.abs(fitted(x, y)[0]), left_out(x, y)).statistic)


def left_out(x: Array, y: Array) -> Array:
    """Rise of the sum of squared errors when a feature is left out, [D]: w_j^2 / ((X'X)^-1)_jj of the centred features.

    >>> left_out(np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]), np.array([4.0, 2, -2, -4])).round(9)
    array([36.,  4.])
    """
    found: Array = (fitted(x, y)[0] / coefficient_per_effect(x)) ** 2
    return found


def coefficient_per_effect(x: Array) -> Array:
    """|w_j| over the root of its effect, sqrt(((X'X)^-1)_jj) of the centred features, [D]: the target does not enter.

    It is 1 / (s_j sqrt(N (1 - R_j^2))), with s_j the standard deviation of the feature and R_j^2 the share of its
    variance that the other features explain. So equal effects have equal coefficients if all features have one
    standard deviation and the same share of their own.

    >>> coefficient_per_effect(np.array([[1.0, 2.0], [1.0, -2.0], [-1.0, 2.0], [-1.0, -2.0]]))
    array([0.5 , 0.25])
    """
    centred = x - x.mean(0)
    norms = np.sqrt((centred**2).sum(0))
    unit = centred / norms
    found: Array = np.sqrt(np.diag(np.linalg.inv(unit.T @ unit))) / norms
    return found
