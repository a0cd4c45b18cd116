"""Schemes that normalize each image, or each region of it, by its own statistics."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch
from torch import Tensor

from normlab.config import NonNegativeFloat, PositiveFloat, PositiveInt
from normlab.errors import DataError
from normlab.norms.base import Normalization, along_channels
from normlab.norms.moments import Sums


class ImageStatistics(Normalization):
    """(u - center)/(spread + eps), with center and spread of the image itself.

    Args:
        per_channel: statistics of each channel; False: of all channels together.
        eps: in units of u. A constant image gives zeros for every eps.
        clip: largest absolute output, or None.
    """

    def __init__(
        self, *, per_channel: bool = False, eps: NonNegativeFloat = 1e-6, clip: PositiveFloat | None = None
    ) -> None:
        super().__init__()
        self.per_channel, self.eps, self.clip = per_channel, eps, clip

    def center_and_spread(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """The center to subtract and the spread to divide by, float64 [B, C] or [B, 1] each, in units of u."""
        raise TypeError(f"{type(self).__name__} defines no center_and_spread(inputs)")

    def normalize(self, inputs: Tensor) -> Tensor:
        """[B, C, *positions] to floats of the same shape."""
        center, spread = self.center_and_spread(inputs)
        black, span = self.range_for(inputs)
        scale = torch.where(spread == 0, 0.0, 1 / (span * (spread + self.eps)))
        center, scale = (along_channels(value.to(self.dtype), inputs) for value in (span * center + black, scale))
        output = (inputs.to(self.dtype) - center).mul_(scale)
        return output if self.clip is None else output.clamp_(-self.clip, self.clip)


class PerImage(ImageStatistics):
    """(u - mean)/(std + eps) with the mean and standard deviation (ddof 0) of the image itself."""

    def center_and_spread(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation."""
        sums = Sums.of_samples(inputs)  # [B, C]
        return (sums if self.per_channel else sums.pooled(1, keepdim=True)).mean_and_std(*self.range_for(inputs))


class MinMax(ImageStatistics):
    """(u - min)/(max - min + eps) with the extremes of the image itself."""

    def center_and_spread(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Minimum, and maximum minus minimum."""
        values = inputs.to(torch.int32) if inputs.dtype == torch.uint16 else inputs  # PyTorch compares no uint16
        values = values.reshape(len(values), values.shape[1] if self.per_channel else 1, -1)
        black, span = self.range_for(inputs)
        low, high = ((extreme.to(torch.float64) - black) / span for extreme in torch.aminmax(values, dim=2))
        return low, high - low


class PerRegion(PerImage):
    """Each region of a grid by its own mean and standard deviation.

    Args:
        grid: regions along each side; a side that the grid does not divide is cut as evenly as whole pixels allow.
        per_channel: statistics of each channel of a region; False: of all channels together.
        eps: in units of u.
        clip: largest absolute output, or None.
    """

    def __init__(
        self,
        *,
        grid: PositiveInt = 4,
        per_channel: bool = False,
        eps: NonNegativeFloat = 1e-2,
        clip: PositiveFloat | None = None,
    ) -> None:
        super().__init__(per_channel=per_channel, eps=eps, clip=clip)
        self.grid = grid

    def normalize(self, inputs: Tensor) -> Tensor:
        """[B, C, *positions] to floats of the same shape; at least one position."""
        positions = inputs.shape[2:]
        if not positions:
            raise DataError("per_region takes images or series; a table has no regions")
        if self.grid > min(positions):
            raise DataError(f"norm.grid={self.grid}: the image's shorter side has only {min(positions)} pixels")
        output = torch.empty_like(inputs, dtype=self.dtype)
        for region in itertools.product(*map(self._bands, positions)):
            place = (..., *region)
            output[place] = super().normalize(inputs[place])
        return output

    def _bands(self, side: int) -> Iterator[slice]:
        edges = [side * i // self.grid for i in range(self.grid + 1)]
        return (slice(start, end) for start, end in itertools.pairwise(edges))
