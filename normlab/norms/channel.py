"""Affine schemes: fixed constants, and statistics of the training images by channel or by feature."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from normlab.config import PositiveFloat
from normlab.errors import DataError
from normlab.norms.base import Affine
from normlab.norms.moments import ChannelSums, FeatureSums

Numbers = Annotated[list[float], Field(min_length=1)]
Constants = Annotated[list[PositiveFloat], Field(min_length=1)]


class Fixed(Affine):
    """(u - mean)/std with constants: raw, unit, centered, inception, imagenet, clip.

    Args:
        mean: one number, or one for each channel, in units of u = x/255.
        std: one number, or one for each channel, in units of u, above 0.

    A grayscale image under three constants is repeated to three channels.
    """

    def __init__(self, *, mean: float | Numbers, std: PositiveFloat | Constants) -> None:
        super().__init__()
        columns = [torch.tensor(value, dtype=torch.float64).reshape(-1, 1, 1) for value in (mean, std)]
        if len(columns[0]) != len(columns[1]) and 1 not in (len(columns[0]), len(columns[1])):
            raise DataError(f"norm.mean has {len(columns[0])} numbers, but norm.std has {len(columns[1])}")
        self.set_statistics(*torch.broadcast_tensors(*columns))

    def require_shape(self, images: Tensor) -> None:
        """Refuse images unless they have one channel, or as many channels as there are constants."""
        channels, constants = images.shape[1], len(self.scale)
        if constants not in (1, channels) and channels != 1:
            raise DataError(f"images of {channels} channels under a normalization with {constants} constants")


class ChannelStatistics(Affine):
    """(u - m_c)/s_c with the training images' own statistics.

    Args:
        estimator: of the standard deviation; ``pooled`` over all pixels of all images, or ``per_image``, the mean of
            the images' own standard deviations (see :meth:`ChannelSums.statistics`).
        scale: divide by s_c; False: only subtract.
    """

    def __init__(self, *, estimator: Literal["pooled", "per_image"] = "pooled", scale: bool = True) -> None:
        super().__init__()
        self.estimator, self.divides = estimator, scale

    def begin(self, channels: int, height: int, width: int) -> None:  # noqa: D102
        self.sums = ChannelSums(channels, height, width)

    def update(self, images: Tensor) -> None:  # noqa: D102
        self.sums.update(images)

    def finish(self, count: int) -> None:  # noqa: D102
        mean, std = (value.reshape(-1, 1, 1) for value in self.sums.statistics(self.estimator))
        self.set_statistics(mean, std if self.divides else torch.ones_like(std))
        del self.sums


class FeatureStatistics(Affine):
    """(u - m_chw)/s_chw: every pixel of every channel by its own statistics over the training images.

    Args:
        scale: divide by s_chw (a constant feature by 1); False: only subtract the mean image.
    """

    def __init__(self, *, scale: bool = True) -> None:
        super().__init__()
        self.divides = scale

    def begin(self, channels: int, height: int, width: int) -> None:  # noqa: D102
        self.sums = FeatureSums(channels, height, width)

    def update(self, images: Tensor) -> None:  # noqa: D102
        self.sums.update(images)

    def finish(self, count: int) -> None:  # noqa: D102
        mean, std = self.sums.statistics()
        self.set_statistics(mean, std if self.divides else torch.ones_like(std))
        del self.sums
