"""Estimators: what a scheme subtracts and divides by; and axes: which numbers share one statistic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from normlab.norms.moments import Extremes, Sums, Values

Axes = Literal["all", "channel", "position"]
End = float | Tensor
CenterAndSpread = tuple[Tensor, Tensor]  # float64, of the shape of the entries, in units of u
QUARTILES = (0.25, 0.5, 0.75)


def summed_dims(axes: Axes, ndim: int) -> tuple[int, ...]:
    """The dimensions of inputs [B, C, *positions] over which one sample's statistics are taken.

    >>> summed_dims("all", 4), summed_dims("channel", 4), summed_dims("position", 4)
    ((1, 2, 3), (2, 3), ())

    Args:
        axes: what has statistics of its own: ``all``, nothing (all numbers share them); ``channel``, each channel (of
            features [bins, T] of a recording, each frequency); ``position``, every number.
        ndim: of the batch.
    """
    return tuple(range({"all": 1, "channel": 2, "position": ndim}[axes], ndim))


def mean_std(sums: Sums, black: End, span: End) -> CenterAndSpread:
    """Mean, and standard deviation (ddof 0)."""
    return sums.mean_and_std(black, span)


def mean(sums: Sums, black: End, span: End) -> CenterAndSpread:
    """Mean, and 1."""
    center, std = sums.mean_and_std(black, span)
    return center, torch.ones_like(std)


def rms(sums: Sums, black: End, span: End) -> CenterAndSpread:
    """0, and the root mean square sqrt(mean of u^2)."""
    center, std = sums.mean_and_std(black, span)
    return torch.zeros_like(center), torch.hypot(center, std)


def length(sums: Sums, black: End, span: End) -> CenterAndSpread:
    """0, and the Euclidean length sqrt(sum of u^2)."""
    center, spread = rms(sums, black, span)
    return center, spread * sums.count**0.5


def min_max(extremes: Extremes, black: End, span: End) -> CenterAndSpread:
    """Minimum, and maximum minus minimum."""
    low, high = extremes.in_u(black, span)
    return low, high - low


def max_abs(extremes: Extremes, black: End, span: End) -> CenterAndSpread:
    """0, and the largest |u|."""
    low, high = extremes.in_u(black, span)
    return torch.zeros_like(low), torch.maximum(low.abs(), high.abs())


def median_iqr(values: Values, black: End, span: End) -> CenterAndSpread:
    """Median, and interquartile range: the 75th minus the 25th percentile."""
    low, median, high = values.quantiles(torch.tensor(QUARTILES, dtype=torch.float64), black, span)
    return median, high - low


def mean_std_of_samples(samples: list[Sums], black: End, span: End) -> CenterAndSpread:
    """Mean of all, and the mean of the samples' own standard deviations; of the scope of the training set.

    This is smaller than the standard deviation of all: it leaves out how the samples' means differ.
    """
    sums = Sums.cat(samples)
    return sums.pooled(0).mean_and_std(black, span)[0], sums.mean_and_std(black, span)[1].mean(0, keepdim=True)


def gathered_samples(inputs: Tensor, dims: tuple[int, ...]) -> list[Sums]:
    """The sums of each sample, for :func:`mean_std_of_samples`."""
    return [Sums.of(inputs, dims[1:])]


# What to gather of a batch over some dimensions, and the statistics that follow.
ESTIMATORS: dict[str, tuple[Callable[[Tensor, tuple[int, ...]], Any], Callable[[Any, End, End], CenterAndSpread]]] = {
    "mean_std": (Sums.of, mean_std),
    "mean": (Sums.of, mean),
    "rms": (Sums.of, rms),
    "length": (Sums.of, length),
    "min_max": (Extremes.of, min_max),
    "max_abs": (Extremes.of, max_abs),
    "median_iqr": (Values.of, median_iqr),
    "mean_std_of_samples": (gathered_samples, mean_std_of_samples),
}
Estimator = Literal["mean_std", "mean", "rms", "length", "min_max", "max_abs", "median_iqr", "mean_std_of_samples"]
