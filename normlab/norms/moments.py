"""Sums over inputs from which means, standard deviations and covariances follow: exact for integers of up to 16 bits.

Integers are summed as integers. For int32 and float32 the mean and the centered sum of squares are kept in float64 and
merged by the formula of Chan, Golub & LeVeque 1983, "Algorithms for computing the sample variance", eq. 2.1, which is
as accurate as two passes: the error of a mean or standard deviation is a few roundings of float64 (below 1e-12 of it).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from normlab.inputs import EXACT_TYPES


def image_sums(images: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of x and of x^2 over the positions of each sample and channel.

    Args:
        images: integers of up to 16 bits, [B, C, *positions].

    Returns:
        Two int64 tensors [B, C], exact.
    """
    sums = Sums.of_samples(images)
    return sums.first, sums.second


def mean_and_std(
    count: int | Tensor, total: Tensor, squares: Tensor, black: float | Tensor = 0, span: float | Tensor = 255
) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (ddof 0) in units of u = (x - black)/span, from exact sums of x and x^2.

    The sums are first shifted, as integers, by the integer part of the mean. So no digits cancel, and a constant input
    gives a standard deviation of exactly zero.

    >>> x = torch.tensor([0, 255, 255, 0])
    >>> mean_and_std(4, x.sum(), (x * x).sum())
    (tensor(0.5000, dtype=torch.float64), tensor(0.5000, dtype=torch.float64))

    Args:
        count: n, how many numbers were summed.
        total: int64, sum of x.
        squares: int64, sum of x^2.
        black: see :mod:`normlab.inputs`; the default is that of 8 bits.
        span: white - black.
    """
    n = torch.as_tensor(count, device=total.device)
    whole = torch.div(total, n, rounding_mode="floor")
    rest = total - n * whole  # sum of (x - whole), in 0..n-1
    centered_squares = squares - 2 * whole * total + n * whole * whole  # sum of (x - whole)^2
    mean = (whole + rest / n.to(torch.float64) - black) / span
    offset = rest.to(torch.float64) / n
    variance = centered_squares.to(torch.float64) / n - offset * offset
    return mean, variance.clamp(min=0).sqrt() / span


@dataclass
class Sums:
    """What the mean and the variance of some numbers follow from; each entry sums ``count`` numbers.

    Attributes:
        count: how many numbers each entry sums.
        first: int64, sum of x; of int32 and float32 inputs, float64, mean of x.
        second: int64, sum of x^2; of int32 and float32 inputs, float64, sum of (x - mean)^2.
    """

    count: int
    first: Tensor
    second: Tensor

    @classmethod
    def of(cls, inputs: Tensor, dims: Sequence[int]) -> Sums:
        """Sums over these dimensions of inputs [B, C, *positions]; the others remain."""
        dims = tuple(dims)
        count = 1
        for dim in dims:
            count *= inputs.shape[dim]
        if inputs.dtype in EXACT_TYPES:
            x = inputs.to(torch.int64 if inputs.dtype == torch.uint16 else torch.int32)  # x^2 must fit
            squares = x * x
            if not dims:
                return cls(1, x.to(torch.int64), squares.to(torch.int64))
            return cls(count, x.sum(dims), squares.sum(dims))
        values = inputs.to(torch.float64)
        if not dims:
            return cls(1, values, torch.zeros_like(values))
        start = values
        for dim in dims:
            start = start.narrow(dim, 0, 1)
        values = values - start  # equal numbers become zeros, so that their variance is exactly 0
        mean = values.mean(dims, keepdim=True)
        return cls(count, (mean + start).squeeze(dims), (values - mean).square().sum(dims))

    @classmethod
    def of_samples(cls, inputs: Tensor) -> Sums:
        """Sums over the positions of each sample and channel, [B, C]."""
        return cls.of(inputs, range(2, inputs.ndim))

    @property
    def is_exact(self) -> bool:
        """Whether these are sums of integers."""
        return not self.first.dtype.is_floating_point

    def cpu(self) -> Sums:
        """The same on the CPU."""
        return Sums(self.count, self.first.cpu(), self.second.cpu())

    def pooled(self, dim: int, keepdim: bool = False) -> Sums:
        """The sums of all numbers along a dimension of the entries."""
        count = self.count * self.first.shape[dim]
        if self.is_exact:
            return Sums(count, self.first.sum(dim, keepdim=keepdim), self.second.sum(dim, keepdim=keepdim))
        start = self.first.narrow(dim, 0, 1)
        offsets = self.first - start
        offset = offsets.mean(dim, keepdim=True)
        between = (offsets - offset).square().sum(dim, keepdim=keepdim) * self.count
        mean = start + offset
        return Sums(count, mean if keepdim else mean.squeeze(dim), self.second.sum(dim, keepdim=keepdim) + between)

    def __getitem__(self, index: Tensor) -> Sums:
        return Sums(self.count, self.first[index], self.second[index])

    def __add__(self, other: Sums) -> Sums:
        """The sums of both sets of numbers."""
        count = self.count + other.count
        if self.is_exact:
            return Sums(count, self.first + other.first, self.second + other.second)
        apart = other.first - self.first
        mean = self.first + apart * (other.count / count)
        return Sums(count, mean, self.second + other.second + apart.square() * (self.count * other.count / count))

    def mean_and_std(self, black: float | Tensor, span: float | Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (ddof 0), float64, in units of u = (x - black)/span."""
        if self.is_exact:
            return mean_and_std(self.count, self.first, self.second, black, span)
        return (self.first - black) / span, (self.second / self.count).sqrt() / span


class SecondMoment:
    """Mean and covariance of D features over rows of inputs.

    Rows of uint8 are shifted by 128, so that a product is at most 2^14 and the sum of 1,024 of them at most 2^24: a
    float32 matrix product over such a block is exact, and twice as fast as one in float64. Rows of another type are
    shifted by their first row and multiplied in float64: products of 16-bit integers are exact below 2^53.
    """

    BLOCK = 1024

    def __init__(self, features: int) -> None:
        self.rows = 0
        self.shift = torch.zeros(0, dtype=torch.float64)
        self.total = torch.zeros(features, dtype=torch.float64)
        self.products = torch.zeros(features, features, dtype=torch.float64)
        self._waiting: list[Tensor] = []

    def update(self, rows: Tensor) -> None:
        """Add rows [N, D], all of one type."""
        if not len(self.shift):
            self.shift = torch.full_like(self.total, 128) if rows.dtype == torch.uint8 else rows[0].double().cpu()
        self._waiting.append(rows.cpu())
        if sum(map(len, self._waiting)) >= self.BLOCK:
            self._flush()

    def _flush(self) -> None:
        if not self._waiting:
            return
        for block in torch.cat(self._waiting).split(self.BLOCK):
            is_short = block.dtype == torch.uint8
            centered = block.to(torch.float32) - 128 if is_short else block.to(torch.float64) - self.shift
            self.products += centered.T @ centered
            self.total += centered.sum(0)
            self.rows += len(block)
        self._waiting = []

    def statistics(self, black: float | Tensor = 0, span: float | Tensor = 255) -> tuple[Tensor, Tensor]:
        """Mean [D] and covariance [D, D] (ddof 0), float64, in units of u = (x - black)/span and of u^2."""
        self._flush()
        mean = self.total / self.rows
        covariance = self.products / self.rows - torch.outer(mean, mean)
        return (mean + self.shift - black) / span, covariance / span**2
