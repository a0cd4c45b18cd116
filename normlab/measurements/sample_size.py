"""The error of channel statistics from a sample or a batch of the images: claims B03, B04 and SS1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from normlab.config import data_label
from normlab.measurements.registry import measurement
from normlab.measurements.training_images import sums
from normlab.norms.moments import mean_and_std
from normlab.statistics.channels import relative_error, sample_for


@measurement
def images_for_mean(
    *, data: dict[str, Any], precision: float = 0.01, population: int | None = None
) -> list[dict[str, Any]]:
    """The number of images, drawn at random without replacement, that give the channel means of the training set.

    Args:
        data: see :func:`training_images`; of images of one size.
        precision: largest relative error of a mean, in 95% of samples.
        population: number of images in the whole training set, if these are a sample; None: these are all.

    Returns:
        One row: ``spread``, the standard deviation over images (ddof 1) of an image's mean, relative to the mean, of
        the channel where it is largest; ``needed``, the sample size by :func:`sample_for`; ``share``, this size
        as a share of the population.
    """
    means, _ = sums(data).images
    population_size = population or len(means)
    spread = (means.std(0) / means.mean(0)).max().item()
    needed = sample_for(spread, precision, population_size)
    row = {"data": data_label(data), "images": population_size, "spread": spread, "precision": precision}
    return [{**row, "needed": needed, "share": needed / population_size}]


@measurement
def mean_errors(
    *, data: dict[str, Any], sizes: Sequence[int], draws: int = 1000, seed: int = 0
) -> list[dict[str, Any]]:
    """Error of the channel means against the size of the sample, measured by drawing samples.

    Args:
        data: see :func:`training_images`; of images of one size.
        sizes: of samples; only sizes below the number of images are used.
        draws: samples of each size, without replacement.
        seed: of the draws.

    Returns:
        A row for each size: ``error``, the relative error of the mean (root mean square over draws and channels);
        ``predicted``, by :func:`relative_error`; ``ratio`` of the two, whose own relative error is about
        1/sqrt(2 draws) = 2% for 1,000.
    """
    means = sums(data).images[0].numpy()
    n = len(means)
    truth, generator = means.mean(0), np.random.default_rng(seed)
    spread = math.sqrt(((means.std(0, ddof=1) / truth) ** 2).mean())
    rows = []
    for size in (size for size in sizes if size < n):
        samples = [generator.choice(n, size, replace=False, shuffle=False) for _ in range(draws)]
        errors = np.array([means[sample].mean(0) for sample in samples]) / truth - 1
        error, predicted = math.sqrt((errors**2).mean()), relative_error(spread, size, n)
        row = {"data": data_label(data), "images": n, "sample": size, "error": error, "predicted": predicted}
        rows.append({**row, "ratio": error / predicted})
    return rows


@measurement
def batch_statistics(
    *, data: dict[str, Any], batch_sizes: Sequence[int], epochs: int = 20, seed: int = 0
) -> list[dict[str, Any]]:
    """Channel statistics of shuffled batches versus those of the whole training set.

    Args:
        data: see :func:`training_images`; of images of one size.
        batch_sizes: images in a batch; an epoch's remainder is dropped. Sizes above the number of images are left out.
        epochs: number of shuffles.
        seed: of the shuffles.

    Returns:
        A row for each batch size and statistic (mean, or pooled std of the batch): ``spread``, the relative deviation
        from the whole set's value (root mean square over batches and channels); ``worst``, the largest one; ``bias``,
        its mean; ``predicted``, the spread of the mean by :func:`relative_error`, NaN for std.

        The mean has no bias. The variance has: E = pooled^2 - Var(batch mean), by the law of total variance.
    """
    image_sums = sums(data)
    n, generator = len(image_sums), np.random.default_rng(seed)
    pixels, total, squares = image_sums.pixels.numpy(), image_sums.total.numpy(), image_sums.squares.numpy()
    truth = [value.numpy() for value in image_sums.statistics("pooled")]
    means = image_sums.images[0].numpy()
    variation = math.sqrt(((means.std(0, ddof=1) / means.mean(0)) ** 2).mean())
    rows = []
    for size in (size for size in batch_sizes if size <= n):
        orders = [generator.permutation(n)[: n // size * size].reshape(-1, size) for _ in range(epochs)]
        batches = np.concatenate(orders)  # [batches, size]
        summed = (torch.from_numpy(part[batches].sum(1)) for part in (pixels[:, None], total, squares))
        values = [value.numpy() for value in mean_and_std(*summed)]
        for which, statistic in enumerate(("mean", "std")):
            deviations = values[which] / truth[which] - 1
            rows.append(
                {
                    "data": data_label(data),
                    "images": n,
                    "batch_size": size,
                    "batches": len(batches),
                    "statistic": statistic,
                    "spread": math.sqrt((deviations**2).mean()),
                    "worst": float(np.abs(deviations).max()),
                    "bias": float(deviations.mean()),
                    "predicted": relative_error(variation, size, n) if statistic == "mean" else math.nan,
                }
            )
    return rows
