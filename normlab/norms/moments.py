"""Sums over uint8 images, exact because they are integers, from which every statistic follows."""

from __future__ import annotations

import torch
from torch import Tensor


def image_sums(images: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of x and of x^2 over the pixels of each image and channel.

    Args:
        images: uint8 [B, C, H, W].

    Returns:
        Two int64 tensors [B, C]. Exact up to 2^63, which is 10^14 pixels.
    """
    x = images.to(torch.int32)
    return x.sum((2, 3)), (x * x).sum((2, 3))


def mean_and_std(count: int | Tensor, total: Tensor, squares: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (ddof 0) in units of u = x/255, from exact sums of x and x^2.

    The sums are first shifted, as integers, by the integer part of the mean. So no digits cancel, and a constant input
    gives a standard deviation of exactly zero.

    >>> x = torch.tensor([0, 255, 255, 0])
    >>> mean_and_std(4, x.sum(), (x * x).sum())
    (tensor(0.5000, dtype=torch.float64), tensor(0.5000, dtype=torch.float64))

    Args:
        count: n, how many numbers were summed.
        total: int64, sum of x.
        squares: int64, sum of x^2.
    """
    n = torch.as_tensor(count, device=total.device)
    whole = torch.div(total, n, rounding_mode="floor")
    rest = total - n * whole  # sum of (x - whole), in 0..n-1
    centered_squares = squares - 2 * whole * total + n * whole * whole  # sum of (x - whole)^2
    mean = (whole + rest / n.to(torch.float64)) / 255
    offset = rest.to(torch.float64) / n
    variance = centered_squares.to(torch.float64) / n - offset * offset
    return mean, variance.clamp(min=0).sqrt() / 255


class ChannelSums:
    """Per-channel sums over images, for both estimators of the standard deviation."""

    def __init__(self, channels: int, height: int, width: int) -> None:
        self.pixels = height * width
        self.images = 0
        self.total = torch.zeros(channels, dtype=torch.int64)
        self.squares = torch.zeros(channels, dtype=torch.int64)
        self.std_sum = torch.zeros(channels, dtype=torch.float64)

    def update(self, images: Tensor) -> None:
        """Add a batch, uint8 [B, C, H, W]."""
        total, squares = (sums.cpu() for sums in image_sums(images))
        self.images += len(images)
        self.total += total.sum(0)
        self.squares += squares.sum(0)
        self.std_sum += mean_and_std(self.pixels, total, squares)[1].sum(0)

    def statistics(self, estimator: str) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each channel, float64 [C], in units of u.

        Args:
            estimator: ``pooled``, the standard deviation of all pixels of all images; or ``per_image``, the mean over
                images of each image's own standard deviation. ``per_image`` is smaller: it leaves out how the
                images' means differ.
        """
        mean, pooled = mean_and_std(self.images * self.pixels, self.total, self.squares)
        return mean, pooled if estimator == "pooled" else self.std_sum / self.images


class FeatureSums:
    """Sums of every feature (channel and pixel) over images."""

    def __init__(self, channels: int, height: int, width: int) -> None:
        self.images = 0
        self.total = torch.zeros(channels, height, width, dtype=torch.int64)
        self.squares = torch.zeros(channels, height, width, dtype=torch.int64)

    def update(self, images: Tensor) -> None:
        """Add a batch, uint8 [B, C, H, W]."""
        x = images.to(torch.int32)
        self.images += len(images)
        self.total += x.sum(0).cpu()
        self.squares += (x * x).sum(0).cpu()

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each feature, float64 [C, H, W], in units of u."""
        return mean_and_std(self.images, self.total, self.squares)


class SecondMoment:
    """Mean and covariance of D features over rows of integers, accumulated without rounding.

    Rows are shifted by 128, so that a product is at most 2^14 and the sum of 1,024 of them at most 2^24: a float32
    matrix product over such a block is exact, and twice as fast as one in float64.
    """

    BLOCK = 1024

    def __init__(self, features: int) -> None:
        self.rows = 0
        self.total = torch.zeros(features, dtype=torch.float64)
        self.products = torch.zeros(features, features, dtype=torch.float64)
        self._waiting: list[Tensor] = []

    def update(self, rows: Tensor) -> None:
        """Add rows, uint8 [N, D]."""
        self._waiting.append(rows.cpu())
        if sum(map(len, self._waiting)) >= self.BLOCK:
            self._flush()

    def _flush(self) -> None:
        if not self._waiting:
            return
        for block in torch.cat(self._waiting).split(self.BLOCK):
            centered = block.to(torch.float32) - 128
            self.products += centered.T @ centered
            self.total += centered.sum(0)
            self.rows += len(block)
        self._waiting = []

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean [D] and covariance [D, D] (ddof 0), float64, in units of u and u^2."""
        self._flush()
        mean = self.total / self.rows
        covariance = self.products / self.rows - torch.outer(mean, mean)
        return (mean + 128) / 255, covariance / 255**2
