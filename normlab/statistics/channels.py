"""Channel statistics of images: two estimators of the standard deviation, and the error of a sample.

All of it follows from three exact integers of each image and channel: its pixels, their sum and their sum of squares.
Everything is in units of u = x/255.

The standard deviation is either *pooled*, over all pixels of all images, or *per image*, the mean of the images' own
standard deviations. The per-image value is smaller: by the law of total variance, pooled^2 = mean of the images'
variances + variance of their means, and a mean of roots is at most the root of the mean.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from normlab.norms.moments import mean_and_std

Estimator = Literal["pooled", "per_image"]


ESTIMATORS: tuple[Estimator, ...] = ("pooled", "per_image")


@dataclass(frozen=True)
class ImageSums:
    """Exact sums of N images.

    Attributes:
        pixels: of each image, int64 [N].
        total: sum of x over the pixels of each image and channel, int64 [N, C].
        squares: sum of x^2, int64 [N, C].
    """

    pixels: Tensor
    total: Tensor
    squares: Tensor

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def images(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (ddof 0) of each image, float64 [N, C]."""
        return mean_and_std(self.pixels[:, None], self.total, self.squares)

    def statistics(self, estimator: Estimator) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each channel, float64 [C].

        Args:
            estimator: ``pooled`` counts every pixel the same; ``per_image`` is the mean over images of their means and
                of their standard deviations, and so counts every image the same.
        """
        if estimator == "pooled":
            return mean_and_std(self.pixels.sum(), self.total.sum(0), self.squares.sum(0))
        means, stds = self.images
        return means.mean(0), stds.mean(0)

    def resampled(self, estimator: Estimator, resamples: int, seed: int) -> tuple[NDArray, NDArray]:
        """The statistics of bootstrap resamples of the images, float64 [resamples, C] each.

        The same seed gives the same resamples for both estimators.
        """
        n, channels = self.total.shape
        if estimator == "pooled":
            columns = torch.cat([self.pixels[:, None], self.total, self.squares], 1).double().numpy()
        else:
            columns = torch.cat([torch.ones(n, 1, dtype=torch.float64), *self.images], 1).numpy()
        generator = np.random.default_rng(seed)
        drawn = np.empty((resamples, columns.shape[1]))
        for row in drawn:
            row[:] = np.bincount(generator.integers(n, size=n), minlength=n) @ columns
        first, second = np.split(drawn[:, 1:] / drawn[:, :1], [channels], axis=1)
        if estimator == "pooled":
            return first / 255, np.sqrt(np.maximum(second - first**2, 0)) / 255
        return first, second


def channel_names(channels: int) -> tuple[str, ...]:
    """The names of one channel or of three channels; numbers for any other count."""
    return {1: ("grey",), 3: ("red", "green", "blue")}.get(channels, tuple(map(str, range(channels))))


def relative_error(spread: float, sample: int, population: int) -> float:
    """Relative standard error of the mean of a simple random sample without replacement.

    S/M sqrt((N - n)/(N n)) (Cochran 1977, "Sampling Techniques", theorem 2.2).

    >>> relative_error(0.5, 25, 10**12), relative_error(0.5, 25, 25)
    (0.09999999999875, 0.0)

    Args:
        spread: S/M, standard deviation (ddof 1) over mean, of the population.
        sample: n.
        population: N.
    """
    return spread * math.sqrt((population - sample) / population / sample)


def sample_for(spread: float, precision: float, population: int) -> float:
    """Sample size at which 95% of samples have a mean within ``precision`` of the population's, relative.

    n0/(1 + n0/N) with n0 = (1.96 S / (precision M))^2 (Cochran 1977, "Sampling Techniques", eq. 4.2).

    >>> round(sample_for(0.5, 0.01, 10**12)), round(sample_for(0.5, 0.01, 9604))
    (9604, 4802)

    Args:
        spread: S/M; see :func:`relative_error`.
        precision: above 0.
        population: N.
    """
    unlimited = (float(stats.norm.ppf(0.975)) * spread / precision) ** 2
    return unlimited / (1 + unlimited / population)
