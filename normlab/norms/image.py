"""Schemes that normalize each image, or each region of it, by its own statistics."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch
from torch import Tensor

from normlab.config import NonNegativeFloat, PositiveFloat, PositiveInt
from normlab.errors import DataError
from normlab.norms.base import Normalization
from normlab.norms.moments import image_sums, mean_and_std


class ImageStatistics(Normalization):
    """(u - center)/(spread + eps), with center and spread of the image itself.

    Args:
        per_channel: statistics of each channel; False: of all channels together.
        eps: in units of u = x/255. A constant image gives zeros for every eps.
        clip: largest absolute output, or None.
    """

    def __init__(
        self, *, per_channel: bool = False, eps: NonNegativeFloat = 1e-6, clip: PositiveFloat | None = None
    ) -> None:
        super().__init__()
        self.per_channel, self.eps, self.clip = per_channel, eps, clip

    def center_and_spread(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The center to subtract and the spread to divide by, float64 [B, C] or [B, 1] each, in units of u."""
        raise TypeError(f"{type(self).__name__} defines no center_and_spread(images)")

    def normalize(self, images: Tensor) -> Tensor:
        """uint8 [B, C, H, W] to floats of the same shape."""
        center, spread = self.center_and_spread(images)
        scale = torch.where(spread == 0, 0.0, 1 / (255 * (spread + self.eps)))
        center, scale = (value.to(self.dtype)[:, :, None, None] for value in (255 * center, scale))
        output = (images.to(self.dtype) - center).mul_(scale)
        return output if self.clip is None else output.clamp_(-self.clip, self.clip)


class PerImage(ImageStatistics):
    """(u - mean)/(std + eps) with the mean and standard deviation (ddof 0) of the image itself."""

    def center_and_spread(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation."""
        total, squares = image_sums(images)  # [B, C]
        count = images[0, 0].numel()
        if not self.per_channel:
            total, squares = total.sum(1, keepdim=True), squares.sum(1, keepdim=True)
            count *= images.shape[1]
        return mean_and_std(count, total, squares)


class MinMax(ImageStatistics):
    """(u - min)/(max - min + eps) with the extremes of the image itself."""

    def center_and_spread(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Minimum, and maximum minus minimum."""
        values = images.flatten(2) if self.per_channel else images.flatten(1)[:, None]
        low, high = (extreme.to(torch.float64) / 255 for extreme in torch.aminmax(values, dim=2))
        return low, high - low


class PerRegion(PerImage):
    """Each region of a grid by its own mean and standard deviation.

    Args:
        grid: regions along each side; a side that the grid does not divide is cut as evenly as whole pixels allow.
        per_channel: statistics of each channel of a region; False: of all channels together.
        eps: in units of u = x/255.
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

    def normalize(self, images: Tensor) -> Tensor:
        """uint8 [B, C, H, W] to floats of the same shape."""
        height, width = images.shape[2:]
        if self.grid > min(height, width):
            raise DataError(f"norm.grid={self.grid}: the image's shorter side has only {min(height, width)} pixels")
        output = torch.empty_like(images, dtype=self.dtype)
        for rows in self._bands(height):
            for columns in self._bands(width):
                output[..., rows, columns] = super().normalize(images[..., rows, columns])
        return output

    def _bands(self, side: int) -> Iterator[slice]:
        edges = [side * i // self.grid for i in range(self.grid + 1)]
        return (slice(start, end) for start, end in itertools.pairwise(edges))
