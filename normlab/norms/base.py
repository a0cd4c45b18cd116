"""The contract of every normalization."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

import torch
from torch import Tensor, nn

from normlab.errors import DataError


class Normalization(nn.Module):
    """Maps uint8 images [B, C, H, W] to floats [B, C', H, W]; the first layer of every network here.

    A scheme that learns nothing from data defines :meth:`normalize` only. A scheme that learns from data also defines
    :meth:`update`, called with each batch of training images, and :meth:`finish`, which turns the gathered statistics
    into buffers. The buffers are saved in a checkpoint and never change afterwards.
    """

    output_like: Tensor

    def __init__(self) -> None:
        super().__init__()
        # This buffer changes type with `.double()` and `.to()`, so that the output has the type of the weights.
        self.register_buffer("output_like", torch.empty(0), persistent=False)

    def fit(self, batches: Iterable[Tensor]) -> Self:
        """Learn from training images, in one pass.

        Args:
            batches: uint8 [B, C, H, W] each, all of one C, H and W.

        Raises:
            DataError: if there are no images, or they do not suit the scheme.
        """
        if not self.is_fitted_from_data:
            return self
        count, shape = 0, None
        for images in batches:
            check_images(images)
            if shape is None:
                shape = images.shape[1:]
                self.begin(*shape)
            if images.shape[1:] != shape:
                raise DataError(
                    f"images of different sizes, {list(shape)} and {list(images.shape[1:])}: give data.image_size"
                )
            count += len(images)
            self.update(images)
        if count == 0:
            raise DataError("the normalization was given no images to fit on")
        self.finish(count)
        return self

    @property
    def is_fitted_from_data(self) -> bool:
        """Whether :meth:`fit` reads the images."""
        return type(self).update is not Normalization.update

    @property
    def is_fitted(self) -> bool:
        """Whether the fitted tensors have values."""
        tensors = [*self._parameters.values(), *self._buffers.values()]
        return any(tensor is not None and tensor.numel() > 0 for tensor in tensors)

    def begin(self, channels: int, height: int, width: int) -> None:
        """Prepare to gather statistics of images of this shape."""

    def update(self, images: Tensor) -> None:
        """Gather statistics from one batch, uint8 [B, C, H, W]."""

    def finish(self, count: int) -> None:
        """Turn the statistics gathered from ``count`` images into buffers."""

    def normalize(self, images: Tensor) -> Tensor:
        """The formula: uint8 [B, C, H, W] to floats of :attr:`dtype`."""
        raise TypeError(f"{type(self).__name__} defines no normalize(images)")

    def forward(self, images: Tensor) -> Tensor:
        """Normalize uint8 [B, C, H, W] to float32 [B, C', H, W].

        Raises:
            DataError: for images of another type or shape, or before :meth:`fit`.
        """
        check_images(images)
        if self.is_fitted_from_data and not self.is_fitted:
            raise DataError(f"{type(self).__name__} is not fitted: call fit(batches of training images) first")
        return self.normalize(images)

    def trained(self) -> dict[str, float]:
        """The values of the scheme's own trained parameters, by name, for the record."""
        return {}

    @property
    def dtype(self) -> torch.dtype:
        """Type of the output: float32, or float64 in a network of that precision."""
        return self.output_like.dtype

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        # The shapes of fitted tensors come from the data, so an unfitted scheme takes the shapes in the checkpoint.
        for name, tensor in [*self.named_parameters(recurse=False), *self.named_buffers(recurse=False)]:
            saved = state_dict.get(prefix + name)
            if saved is not None and saved.shape != tensor.shape:
                tensor.data = tensor.data.new_empty(saved.shape)
        super()._load_from_state_dict(state_dict, prefix, *rest)


def check_images(images: Tensor) -> None:
    """Refuse anything but a batch of uint8 images.

    Raises:
        DataError: naming the actual type and shape.
    """
    if not isinstance(images, Tensor) or images.dtype != torch.uint8 or images.ndim != 4:
        actual = f"{images.dtype} {list(images.shape)}" if isinstance(images, Tensor) else type(images).__name__
        raise DataError(f"a normalization takes uint8 images [B, C, H, W], not {actual}")


class Affine(Normalization):
    """A scheme that is scale * x + shift with x in 0..255, elementwise.

    ``scale`` and ``shift`` are float64 buffers that broadcast against [B, C, H, W]; theory, compensation experiments
    and export use the same numbers. ``mean`` and ``std`` say the same in units of u = x/255.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(0, 1, 1, dtype=torch.float64))
        self.register_buffer("shift", torch.zeros(0, 1, 1, dtype=torch.float64))

    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Set the map to (u - mean)/std.

        Args:
            mean: float64 in units of u, broadcastable to [C, H, W].
            std: float64 in units of u; a zero, of a constant feature, counts as 1.
        """
        std = torch.where(std == 0, torch.ones_like(std), std)
        self.scale = 1 / (255 * std)
        self.shift = -mean / std

    def require_shape(self, images: Tensor) -> None:
        """Refuse images of another shape than the scheme was fitted on, which broadcasting would accept."""
        channels, height, width = self.scale.shape
        if images.shape[1] != channels or ((height, width) != (1, 1) and images.shape[2:] != (height, width)):
            fitted = f"{channels} channels" if (height, width) == (1, 1) else f"images of {list(self.scale.shape)}"
            raise DataError(f"fitted on {fitted}, given images of {list(images.shape[1:])}")

    @property
    def mean(self) -> Tensor:
        """The mean that is subtracted, in units of u."""
        return -self.shift / (255 * self.scale)

    @property
    def std(self) -> Tensor:
        """The standard deviation that is divided by, in units of u."""
        return 1 / (255 * self.scale)

    def normalize(self, images: Tensor) -> Tensor:
        """The map scale * x + shift.

        Raises:
            DataError: for images of another shape than the scheme was fitted on.
        """
        self.require_shape(images)
        scale, shift = self.scale.to(self.dtype), self.shift.to(self.dtype)
        if len(scale) > images.shape[1]:  # grayscale under constants for three channels
            images = images.expand(-1, len(scale), -1, -1)
        return images.to(self.dtype).mul_(scale).add_(shift)  # in place: a new tensor costs more than the arithmetic
