"""Features on different scales: their coefficients (claim A02), and the Hessian of two of them (claim A03).

A feature's effect is its coefficient times a stretch of the feature: its typical value, its range, or its standard
deviation. Dividing a feature by its range multiplies its coefficient by the range. So scaled coefficients are effects
over the range, whichever effect was meant to be equal (Bring 1994, "How to standardize regression coefficients", The
American Statistician 48:209-213).

For x1 uniform on [0, r] and x2 on [0, s]: E[x1^2] = r^2/3, E[x2^2] = s^2/3, and E[x1 x2] = r s (1/4 + rho/12) with rho
their correlation, because E[x1] E[x2] = r s/4 and both standard deviations are the range over sqrt(12).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from normlab.config import NonNegativeFloat, PositiveFloat
from normlab.errors import ConfigError
from normlab.measurements.registry import measurement
from normlab.statistics.intervals import mean_interval
from normlab.theory.moments import Moments
from normlab.theory.spectrum import linear_hessian, spectrum

Array = NDArray[np.float64]
Stretch = Literal["typical value", "range", "standard deviation"]
Scaling = Literal["none", "range", "standard deviation"]
GROUPS = 50  # parts of a sample; their spread gives the intervals
CONCENTRATION = 10.0  # of the planted Beta distributions: a + b


@measurement
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
        ranges: upper ends of the features' ranges; the lower ends are 0.
        noise: standard deviation, as a share of the signal's standard deviation.
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
    centered, target = x - x.mean(0), y - y.mean()
    norms = np.sqrt((centered**2).sum(0))  # columns of one length: the scales differ by decades
    unit = centered / norms
    coefficients = np.linalg.lstsq(unit, target, rcond=None)[0]
    residual = target - unit @ coefficients
    variance = residual @ residual / (len(x) - x.shape[1] - 1)
    covariance = variance * np.linalg.inv(unit.T @ unit)
    return coefficients / norms, covariance / np.outer(norms, norms)


@measurement
def wine_coefficients(
    *,
    target: str = "alcohol",
    scalings: Sequence[Scaling] = ("none", "range", "standard deviation"),
    resamples: int = 1000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Whether larger coefficients mean larger effects in a real table, scikit-learn's wines (178 rows).

    One column is regressed on the twelve others. The effect of a feature, free of units, is the rise of the squared
    error without the feature. A row for each scaling (by the observed range, or the standard deviation):

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
    from sklearn.datasets import load_wine  # here, because the import is slow

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
        rows.append({"scaling": scaling, "samples": len(x), **as_importance(scaled, y, draws)})
    return rows


def as_importance(x: Array, y: Array, draws: Sequence[NDArray[np.int64]]) -> dict[str, float]:
    """How far coefficients tell the importance of features.

    Args:
        x: features, [N, D].
        y: [N].
        draws: positions of the samples of each resample of the bootstrap.

    Returns:
        ``agreement`` with the 95% percentile interval of the resamples, ``agreement_low`` and ``agreement_high``;
        ``equal_effect_ratio``, the factor by which the coefficients of two features of equal effect may differ.
    """
    low, high = np.quantile([agreement(x[draw], y[draw]) for draw in draws], [0.025, 0.975])
    sizes = coefficient_per_effect(x)
    return {
        "agreement": agreement(x, y),
        "agreement_low": float(low),
        "agreement_high": float(high),
        "equal_effect_ratio": float(sizes.max() / sizes.min()),
    }


def agreement(x: Array, y: Array) -> float:
    """Rank correlation of |coefficient| and the rise of the squared error without the feature.

    >>> x = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0], [0.0, 0.0]])
    >>> round(agreement(x, x @ [3.0, 1.0]), 9)
    1.0
    """
    from scipy.stats import spearmanr

    return float(spearmanr(np.abs(fitted(x, y)[0]), left_out(x, y)).statistic)


def left_out(x: Array, y: Array) -> Array:
    """Rise of the sum of squared errors without each feature, [D]: w_j^2 / ((X'X)^-1)_jj of the centered features.

    >>> left_out(np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]), np.array([4.0, 2, -2, -4])).round(9)
    array([36.,  4.])
    """
    effects: Array = (fitted(x, y)[0] / coefficient_per_effect(x)) ** 2
    return effects


def coefficient_per_effect(x: Array) -> Array:
    """|w_j| over the root of its effect, sqrt(((X'X)^-1)_jj) of the centered features, [D]: without the target.

    It is 1 / (s_j sqrt(N (1 - R_j^2))), with s_j the standard deviation of the feature and R_j^2 the share of its
    variance that the other features explain. So equal effects have equal coefficients if all features have the
    same standard deviation and the same R_j^2.

    >>> coefficient_per_effect(np.array([[1.0, 2.0], [1.0, -2.0], [-1.0, 2.0], [-1.0, -2.0]]))
    array([0.5 , 0.25])
    """
    centered = x - x.mean(0)
    norms = np.sqrt((centered**2).sum(0))
    unit = centered / norms
    coefficients: Array = np.sqrt(np.diag(np.linalg.inv(unit.T @ unit))) / norms
    return coefficients


def uniform_second_moment(
    ranges: tuple[float, float], correlation: float = 0.0, *, centered: bool = False, bias: bool = False
) -> Tensor:
    """E[x~ x~'] of two uniform features, float64 [2, 2], or [3, 3] with the ones of the bias last.

    >>> uniform_second_moment((1, 12))  # E[x1 x2] is the product of the means, 1/2 and 6
    tensor([[ 0.3333,  3.0000],
            [ 3.0000, 48.0000]], dtype=torch.float64)

    Args:
        ranges: r and s.
        correlation: rho, from -1 (x2 = s - s x1 / r) to 1 (x2 = s x1 / r).
        centered: whether the means are subtracted.
        bias: whether there is a bias.
    """
    r = torch.tensor(ranges, dtype=torch.float64)
    mean = torch.zeros_like(r) if centered else r / 2
    shape = torch.tensor([[1.0, correlation], [correlation, 1.0]], dtype=torch.float64)
    targets = r.new_zeros(0)  # none: the Hessian does not depend on them
    return Moments(1, mean, torch.outer(r, r) / 12 * shape, r.new_zeros(2, 0), targets).second_moment(bias)


@measurement
def uniform_hessian(
    *, ranges: tuple[PositiveFloat, PositiveFloat] = (1.0, 1000.0), correlation: float = 0.0
) -> list[dict[str, Any]]:
    """The closed form: entries, largest eigenvalue and condition number, centered or not, with and without a bias.

    Columns: ``inputs`` (``as they are`` or ``centred``), ``bias`` (``with`` or ``without``), ``correlation``;
    ``first``, ``mixed`` and ``second``, that is E[x1^2], E[x1 x2] and E[x2^2]; ``lambda_max``; ``condition``, infinite
    where the matrix is singular.

    Args:
        ranges: r and s.
        correlation: of the features.
    """
    rows = []
    for centered in (False, True):
        for bias in (False, True):
            hessian = spectrum(matrix := uniform_second_moment(ranges, correlation, centered=centered, bias=bias))
            row: dict[str, Any] = {"inputs": _inputs(centered), "bias": _bias(bias), "correlation": correlation}
            row |= {"first": matrix[0, 0].item(), "mixed": matrix[0, 1].item(), "second": matrix[1, 1].item()}
            rows.append({**row, "lambda_max": hessian.lambda_max, "condition": hessian.full_condition_number})
    return rows


@measurement
def sampled_hessian(
    *, ranges: tuple[PositiveFloat, PositiveFloat] = (1.0, 1000.0), samples: int = 500_000, seed: int = 0
) -> list[dict[str, Any]]:
    """The Hessian of :func:`uniform_hessian` from independent draws, by :func:`normlab.linear_hessian`.

    Columns as in :func:`uniform_hessian`, each number with its 95% interval (Student's t over 50 groups of draws) in
    ``NUMBER_low`` and ``NUMBER_high``; ``samples``.

    Args:
        ranges: r and s.
        samples: draws, divided evenly over the groups.
        seed: of the draws.
    """
    generator = torch.Generator().manual_seed(seed)
    draws = torch.rand(GROUPS, samples // GROUPS, 2, dtype=torch.float64, generator=generator) * torch.tensor(ranges)
    rows = []
    for centered in (False, True):
        x = draws - draws.mean((0, 1)) if centered else draws
        entries = torch.einsum("gni,gnj->gij", x, x) / x.shape[1]
        for bias in (False, True):
            # Each group is a data set; linear_hessian adds the ones of the bias.
            spectra = [linear_hessian(group, bias=bias) for group in x]
            numbers = {
                "first": entries[:, 0, 0].tolist(),
                "mixed": entries[:, 0, 1].tolist(),
                "second": entries[:, 1, 1].tolist(),
                "lambda_max": [one.lambda_max for one in spectra],
                "condition": [one.full_condition_number for one in spectra],
            }
            row: dict[str, Any] = {"inputs": _inputs(centered), "bias": _bias(bias), "samples": x.shape[1] * GROUPS}
            for name, values in numbers.items():
                interval = mean_interval(values)
                row |= {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}
            rows.append(row)
    return rows


def _inputs(centered: bool) -> str:
    return "centred" if centered else "as they are"


def _bias(bias: bool) -> str:
    return "with" if bias else "without"
