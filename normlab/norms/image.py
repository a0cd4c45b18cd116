"""Schemes that normalize each image, or each region of it, by its own statistics."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from normlab.config import NonNegativeFloat, PositiveFloat, PositiveInt
from normlab.errors import DataError
from normlab.norms.base import Normalization
from normlab.norms.moments import image_sums, mean_and_std


class PerImage(Normalization):
    """(u - mean)/(std + eps) with the mean and standard deviation of the image itself.

    Args:
        per_channel: statistics of each channel; otherwise of all channels together.
        eps: in units of u = x/255. A constant image gives zeros, whatever eps is.
        clip: largest absolute output, or None.
    """

    def __init__(
        self, *, per_channel: bool = False, eps: NonNegativeFloat = 1e-6, clip: PositiveFloat | None = None
    ) -> None:
        super().__init__()
        self.per_channel, self.eps, self.clip = per_channel, eps, clip

    def normalize(self, images: Tensor) -> Tensor:
        """uint8 [B, C, H, W] to floats of the same shape."""
        total, squares = image_sums(images)  # [B, C]
        count = images[0, 0].numel()
        if not self.per_channel:
            total, squares = total.sum(1, keepdim=True), squares.sum(1, keepdim=True)
            count *= images.shape[1]
        mean, std = mean_and_std(count, total, squares)
        scale = torch.where(std == 0, 0.0, 1 / (255 * (std + self.eps)))
        scale, mean = (value.to(self.dtype)[:, :, None, None] for value in (scale, 255 * mean))
        output = (images.to(self.dtype) - mean).mul_(scale)
        return output if self.clip is None else output.clamp_(-self.clip, self.clip)


class MinMax(Normalization):
    """(u - min)/(max - min + eps) with the extremes of the image itself.

    Args:
        per_channel: extremes of each channel; otherwise of all channels together.
        eps: in units of u = x/255. A constant image gives zeros, whatever eps is.
        clip: largest absolute output, or None.
    """

    def __init__(
        self, *, per_channel: bool = False, eps: NonNegativeFloat = 1e-6, clip: PositiveFloat | None = None
    ) -> None:
        super().__init__()
        self.per_channel, self.eps, self.clip = per_channel, eps, clip

    def normalize(self, images: Tensor) -> Tensor:
        """uint8 [B, C, H, W] to floats of the same shape."""
        over = (2, 3) if self.per_channel else (1, 2, 3)
        low = images.amin(over, keepdim=True).to(torch.float64)
        span = images.amax(over, keepdim=True).to(torch.float64) - low
        scale = torch.where(span == 0, 0.0, 1 / (span + 255 * self.eps)).to(self.dtype)
        output = (images.to(self.dtype) - low.to(self.dtype)).mul_(scale)
        return output if self.clip is None else output.clamp_(-self.clip, self.clip)


class PerRegion(PerImage):
    """Each region of a grid by its own mean and standard deviation.

    Args:
        grid: regions along each side; sides that it does not divide are cut as evenly as pixels allow.
        per_channel: statistics of each channel of a region; otherwise of all channels together.
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
            raise DataError(f"norm.grid={self.grid} regions along a side of {min(height, width)} pixels")
        output = torch.empty_like(images, dtype=self.dtype)
        for rows in self._bands(height):
            for columns in self._bands(width):
                output[..., rows, columns] = super().normalize(images[..., rows, columns])
        return output

    def _bands(self, side: int) -> Iterator[slice]:
        edges = [side * i // self.grid for i in range(self.grid + 1)]
        return (slice(start, end) for start, end in zip(edges, edges[1:], strict=False))
