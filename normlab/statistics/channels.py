"""Channel statistics of images: two estimators of the standard deviation, and the error of a sample.

All of it follows from three numbers of each image and channel: its pixels, their sum and their sum of squares, which
are exact for integers of up to 16 bits.
Everything is in units of u = (x - black)/(white - black), which is x/255 for 8 bits.

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
from scipy.special import ndtri
from torch import Tensor

from normlab.norms.moments import mean_and_std

Estimator = Literal["pooled", "per_image"]


ESTIMATORS: tuple[Estimator, ...] = ("pooled", "per_image")


@dataclass(frozen=True)
class ImageSums:
    """Exact sums of N images.

    Attributes:
        pixels: of each image, int64 [N].
        total: sum of x over the pixels of each image and channel, int64 [N, C]; of int32 and float32 images, float64:
            mean of x.
        squares: sum of x^2, int64 [N, C]; of int32 and float32 images, float64: sum of (x - mean)^2.
        black, span: of u = (x - black)/span.
    """

    pixels: Tensor
    total: Tensor
    squares: Tensor
    black: float = 0.0
    span: float = 255.0

    def __len__(self) -> int:
        return len(self.pixels)

    def rows(self) -> list[tuple[float, ...]]:
        """Number of pixels and sums of each image, which two images share if they have the same pixels."""
        columns = (self.pixels[:, None], self.total, self.squares)
        return [
            (*counts, *totals, *squares) for counts, totals, squares in zip(*(c.tolist() for c in columns), strict=True)
        ]

    @property
    def images(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (ddof 0) of each image, float64 [N, C]."""
        if self.total.dtype.is_floating_point:
            return (self.total - self.black) / self.span, (self.squares / self.pixels[:, None]).sqrt() / self.span
        return mean_and_std(self.pixels[:, None], self.total, self.squares, self.black, self.span)

    def statistics(self, estimator: Estimator) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each channel, float64 [C].

        Args:
            estimator: ``pooled`` counts every pixel the same; ``per_image`` is the mean over images of their means and
                of their standard deviations, and so counts every image the same.
        """
        if estimator == "pooled" and self._are_sums_short:
            return mean_and_std(self.pixels.sum(), self.total.sum(0), self.squares.sum(0), self.black, self.span)
        means, stds = self.images
        if estimator == "pooled":  # the law of total variance, with the means relative to one of them
            weights = self.pixels[:, None].double() / self.pixels.sum()
            offsets = means - means[0]
            offset = (weights * offsets).sum(0)
            variance = (weights * (stds.square() + (offsets - offset).square())).sum(0)
            return means[0] + offset, variance.sqrt()
        return means.mean(0), stds.mean(0)

    @property
    def _are_sums_short(self) -> bool:
        """Whether the sums over all images are integers that fit into 64 bits."""
        if self.total.dtype.is_floating_point:
            return False
        return bool(self.squares.double().sum(0).max() < 2**62)

    def resampled(self, estimator: Estimator, resamples: int, seed: int) -> tuple[NDArray, NDArray]:
        """The statistics of bootstrap resamples of the images, float64 [resamples, C] each.

        The same seed gives the same resamples for both estimators.
        """
        n, channels = self.total.shape
        center, unit = torch.zeros(channels, dtype=torch.float64), 1.0
        if estimator == "pooled" and (self.black, self.span) == (0, 255) and not self.total.dtype.is_floating_point:
            columns, unit = torch.cat([self.pixels[:, None], self.total, self.squares], 1).double().numpy(), 255.0
        elif estimator == "pooled":  # relative to the mean of all, so that no digits cancel
            center = self.statistics("pooled")[0]
            means, stds = self.images
            offsets, weights = means - center, self.pixels[:, None].double()
            parts = [weights, weights * offsets, weights * (stds.square() + offsets.square())]
            columns = torch.cat(parts, 1).numpy()
        else:
            columns = torch.cat([torch.ones(n, 1, dtype=torch.float64), *self.images], 1).numpy()
        generator = np.random.default_rng(seed)
        drawn = np.empty((resamples, columns.shape[1]))
        for row in drawn:
            row[:] = np.bincount(generator.integers(n, size=n), minlength=n) @ columns
        first, second = np.split(drawn[:, 1:] / drawn[:, :1], [channels], axis=1)
        if estimator == "pooled":
            return first / unit + center.numpy(), np.sqrt(np.maximum(second - first**2, 0)) / unit
        return first, second


def channel_names(channels: int) -> tuple[str, ...]:
    """The names of one channel or of three channels; numbers from 1, as ``data.bands`` counts, for any other count."""
    names = {1: ("grey",), 3: ("red", "green", "blue")}
    return names.get(channels) or tuple(f"band {number}" for number in range(1, channels + 1))


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
    unlimited = (float(ndtri(0.975)) * spread / precision) ** 2
    return unlimited / (1 + unlimited / population)
