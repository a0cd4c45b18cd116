"""How pixels are distributed over places, values and images, before and after a normalization.

Claims B05, B06, B07 and PD1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

from normlab.config import data_label
from normlab.measurements.registry import measurement
from normlab.measurements.starts import normalized
from normlab.measurements.training_images import images_of_one_size
from normlab.norms import normalization
from normlab.norms.moments import Sums
from normlab.statistics.channels import channel_names


@measurement
def mean_image_departures(*, data: dict[str, Any]) -> list[dict[str, Any]]:
    """The difference between the mean image and one mean for each channel.

    Args:
        data: see :func:`normlab.measurements.training_images.training_images`; of images of one size.

    Returns:
        A row for each channel, in units of the channel's pooled standard deviation s: ``departure``, root mean square
        over places of (mean image - channel mean)/s, whose square is the share of the pixels' variance that the mean
        image removes in addition to the channel mean (law of total variance); ``noise``, the departure of a flat mean
        image by sampling alone, about 1/sqrt(N); ``largest``, the largest absolute departure of a place.
    """
    sums = reduce(add, (Sums.of(images, (0,)) for images in images_of_one_size(data)))
    means, stds = (value.flatten(1) for value in sums.mean_and_std(0, 255))
    deviations = means - means.mean(1, keepdim=True)
    within = stds.square().mean(1)
    pooled = (within + deviations.square().mean(1)).sqrt()
    return [
        {
            "data": data_label(data),
            "images": sums.count,
            "channel": name,
            "departure": (deviations[c].square().mean().sqrt() / pooled[c]).item(),
            "noise": (within[c].sqrt() / pooled[c]).item() / math.sqrt(sums.count),
            "largest": (deviations[c].abs().max() / pooled[c]).item(),
        }
        for c, name in enumerate(channel_names(len(means)))
    ]


def shape_of(values: NDArray, counts: NDArray) -> dict[str, float]:
    """Moments of a distribution and its distance to normal distributions.

    >>> shape_of(np.array([-1.0, 1.0]), np.array([5, 5]))["excess_kurtosis"]
    -2.0

    Args:
        values: distinct, rising, float64 [K].
        counts: how often each occurs, [K].

    Returns:
        ``mean``; ``std`` (ddof 0); ``skewness``, E[z^3], and ``excess_kurtosis``, E[z^4] - 3, of z = (x - mean)/std;
        ``distance``, the Kolmogorov-Smirnov distance sup |F(x) - Phi(z)| to the normal of the same mean and standard
        deviation (a uniform distribution has 0.057, a single value 0.5 or more); ``distance_standard``, the
        distance to the normal of mean 0 and standard deviation 1. For a constant, the numbers that depend on z are NaN.
    """
    share = counts / counts.sum()
    mean = float(values @ share)
    std = math.sqrt(float((values - mean) ** 2 @ share))
    reached = np.cumsum(share)

    def distance(z: NDArray) -> float:
        normal = stats.norm.cdf(z)
        # At each step, both values of the empirical distribution function count.
        return float(max(np.abs(reached - normal).max(), np.abs(reached - share - normal).max()))

    z = (values - mean) / std if std > 0 else np.full_like(values, math.nan)
    return {
        "mean": mean,
        "std": std,
        "skewness": float(z**3 @ share),
        "excess_kurtosis": float(z**4 @ share) - 3,
        "distance": distance(z),
        "distance_standard": distance(values),
    }


@measurement
def pixel_shapes(*, data: dict[str, Any], norms: Sequence[str]) -> list[dict[str, Any]]:
    """Shape of the distribution of all pixels of a channel, under each scheme.

    Args:
        data: see :func:`normlab.measurements.training_images.training_images`; of images of one size.
        norms: schemes, fitted on these images; the first is what the others are compared with.

    Returns:
        A row for each scheme and channel: the columns of :func:`shape_of`, and ``change``, the largest absolute
        difference of skewness, excess kurtosis and distance from those under the first scheme. An affine map of the
        channel changes none of them.
    """
    images = torch.cat(list(images_of_one_size(data)))
    rows: list[dict[str, Any]] = []
    first: list[dict[str, float]] = []
    for name in norms:
        x = normalized(normalization(name).fit(images.split(1024)), images)
        shapes = [shape_of(*np.unique(x[:, c].numpy(), return_counts=True)) for c in range(x.shape[1])]
        first = first or shapes
        for channel, shape, other in zip(channel_names(x.shape[1]), shapes, first, strict=True):
            change = max(abs(shape[key] - other[key]) for key in ("skewness", "excess_kurtosis", "distance"))
            about = {"data": data_label(data), "images": len(images), "norm": name, "channel": channel}
            rows.append({**about, **shape, "change": change})
    return rows


@measurement
def spreads_across_images(*, data: dict[str, Any], norms: Sequence[str]) -> list[dict[str, Any]]:
    """Differences between images in brightness, in contrast and in their whole distribution of pixels.

    Args:
        data: see :func:`normlab.measurements.training_images.training_images`; of images of one size.
        norms: schemes, fitted on these images; the first is what the others are compared with.

    Returns:
        A row for each scheme: ``brightness``, the variance over images of a channel's mean, and ``contrast``, the
        variance of its standard deviation, each averaged over channels; ``distance``, the mean over images of the
        1-Wasserstein distance between an image's pixels (all channels) and the distribution whose quantiles are the
        images' average quantiles; ``largest``, the largest absolute value; and the ratios ``brightness_ratio``,
        ``contrast_ratio`` and ``distance_ratio`` to the values under the first scheme.
    """
    images = torch.cat(list(images_of_one_size(data)))
    rows: list[dict[str, Any]] = []
    for name in norms:
        x = normalized(normalization(name).fit(images.split(1024)), images).flatten(2)
        quantiles = x.flatten(1).sort(1).values
        spreads = {
            "brightness": x.mean(2).var(0, correction=0).mean().item(),
            "contrast": x.std(2, correction=0).var(0, correction=0).mean().item(),
            "distance": (quantiles - quantiles.mean(0)).abs().mean().item(),
        }
        about = {"data": data_label(data), "images": len(images), "norm": name}
        ratios = {f"{key}_ratio": value / (rows[0] if rows else spreads)[key] for key, value in spreads.items()}
        rows.append({**about, **spreads, "largest": x.abs().max().item(), **ratios})
    return rows
