"""Affine schemes: fixed constants, and statistics of the training inputs by channel or by feature."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from normlab.config import PositiveFloat
from normlab.errors import DataError
from normlab.inputs import range_of_type
from normlab.norms.base import Affine
from normlab.norms.moments import Sums

Numbers = Annotated[list[float], Field(min_length=1)]
Constants = Annotated[list[PositiveFloat], Field(min_length=1)]


class Raw(Affine):
    """x itself, whatever the range."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.shift = torch.ones(1, 1, 1, dtype=torch.float64), torch.zeros(1, 1, 1, dtype=torch.float64)

    def require_shape(self, inputs: Tensor) -> None:
        """Inputs of any shape are taken."""


class Fixed(Affine):
    """(u - mean)/std with constants: unit, centered, inception, imagenet, clip.

    Args:
        mean: one number, or one for each channel, in units of u.
        std: one number, or one for each channel, in units of u, above 0.

    A grayscale image under three constants is repeated to three channels.
    """

    def __init__(self, *, mean: float | Numbers, std: PositiveFloat | Constants) -> None:
        super().__init__()
        columns = [torch.tensor(value, dtype=torch.float64).reshape(-1, 1, 1) for value in (mean, std)]
        if len(columns[0]) != len(columns[1]) and 1 not in (len(columns[0]), len(columns[1])):
            raise DataError(f"norm.mean has {len(columns[0])} numbers, but norm.std has {len(columns[1])}")
        self._constants = torch.broadcast_tensors(*columns)
        self.set_statistics(*self._constants)

    def _put_range(self, black: float, white: float) -> None:
        super()._put_range(black, white)
        self.set_statistics(*(value.to(self.black.device) for value in self._constants))

    def map_for(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and shift, for the range of the inputs' type where no range is set."""
        if self.has_range or inputs.dtype == torch.uint8:
            return self.scale, self.shift
        black, white = range_of_type(inputs.dtype)
        mean, std = (value.to(inputs.device) for value in self._constants)
        return 1 / ((white - black) * std), -(mean + black / (white - black)) / std

    def require_shape(self, inputs: Tensor) -> None:
        """Refuse inputs unless they have one channel, or as many channels as there are constants."""
        channels, constants = inputs.shape[1], len(self.scale)
        if constants not in (1, channels) and channels != 1:
            what = "images" if inputs.ndim == 4 else "inputs"
            raise DataError(f"{what} of {channels} channels under a normalization with {constants} constants")


class ChannelStatistics(Affine):
    """(u - m_c)/s_c with the training inputs' own statistics.

    Args:
        estimator: of the standard deviation; ``pooled`` over all positions of all samples, or ``per_image``, the mean
            of the samples' own standard deviations, which is smaller: it leaves out how the samples' means differ.
        scale: divide by s_c; False: only subtract.
    """

    def __init__(self, *, estimator: Literal["pooled", "per_image"] = "pooled", scale: bool = True) -> None:
        super().__init__()
        self.estimator, self.divides = estimator, scale

    def begin(self, channels: int, *positions: int) -> None:  # noqa: D102
        self.sums: Sums | None = None
        self.std_sum = torch.zeros(channels, dtype=torch.float64)
        self.ones = [1] * len(positions)

    def update(self, inputs: Tensor) -> None:  # noqa: D102
        of_samples = Sums.of_samples(inputs).cpu()
        pooled = of_samples.pooled(0)
        self.sums = pooled if self.sums is None else self.sums + pooled
        if self.estimator == "per_image":
            self.std_sum += of_samples.mean_and_std(self.black.cpu(), self.span.cpu())[1].sum(0)

    def finish(self, count: int) -> None:  # noqa: D102
        assert self.sums is not None
        mean, std = self.sums.mean_and_std(self.black.cpu(), self.span.cpu())
        if self.estimator == "per_image":
            std = self.std_sum / count
        mean, std = (value.reshape(-1, *self.ones).to(self.black.device) for value in (mean, std))
        self.set_statistics(mean, std if self.divides else torch.ones_like(std))
        del self.sums, self.std_sum


class FeatureStatistics(Affine):
    """(u - m_chw)/s_chw: every position of every channel by its own statistics over the training inputs.

    Args:
        scale: divide by s_chw (a constant feature by 1); False: only subtract the mean image.
    """

    def __init__(self, *, scale: bool = True) -> None:
        super().__init__()
        self.divides = scale

    def begin(self, channels: int, *positions: int) -> None:  # noqa: D102
        self.sums: Sums | None = None

    def update(self, inputs: Tensor) -> None:  # noqa: D102
        sums = Sums.of(inputs, (0,)).cpu()
        self.sums = sums if self.sums is None else self.sums + sums

    def finish(self, count: int) -> None:  # noqa: D102
        assert self.sums is not None
        statistics = self.sums.mean_and_std(self.black.cpu(), self.span.cpu())
        mean, std = (value.to(self.black.device) for value in statistics)
        self.set_statistics(mean, std if self.divides else torch.ones_like(std))
        del self.sums
