"""A scheme of images of which some pixels do not count: ``data.mask``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Self

import torch
from torch import Tensor

from normlab.errors import ConfigError
from normlab.inputs import check_inputs, pixels_that_count
from normlab.norms.base import Normalization


class Masked(Normalization):
    """Another scheme, with statistics of the pixels that count; all others, NaN in the images, become 0.

    0 is the mean where the scheme subtracts it, and it is what a convolution pads with. So nnU-Net sets voxels outside
    its mask to 0 after the normalization (``use_mask_for_norm`` of ZScoreNormalization; Isensee et al. 2021).

    Args:
        scheme: whose output for a pixel depends on this pixel and on statistics alone, not on where pixels lie; see
            :attr:`normlab.norms.base.Normalization.looks_at`.
        name: of the scheme, for messages.

    Raises:
        ConfigError: for another scheme.
    """

    def __init__(self, scheme: Normalization, name: str | None = None) -> None:
        super().__init__()
        if scheme.looks_at == "arrangement":
            raise ConfigError(
                f"norm={name or type(scheme).__name__} with data.mask: its statistics need whole images; use a "
                f"scheme of channels, such as dataset, percentile or robust, or of each image, such as per_image"
            )
        self.scheme = scheme

    def fit(self, batches: Iterable[Tensor]) -> Self:
        """Learn from the pixels of training images that count, [B, C, H, W] each, as if each were an image."""

        def counting() -> Iterator[Tensor]:
            for images in batches:
                check_inputs(images)
                if len(pixels := pixels_that_count(images)):
                    yield pixels

        self.scheme.fit(counting())
        return self

    def set_range(self, black: float, white: float) -> Self:
        """Set the values that stand for u = 0 and u = 1."""
        self.scheme.set_range(black, white)
        return super().set_range(black, white)

    @property
    def is_fitted_from_data(self) -> bool:
        """Whether :meth:`fit` reads the images."""
        return self.scheme.is_fitted_from_data

    @property
    def is_fitted(self) -> bool:
        """Whether the scheme has values."""
        return self.scheme.is_fitted

    def normalize(self, inputs: Tensor) -> Tensor:
        """[B, C, H, W] to [B, C', H, W]: NaN becomes 0."""
        left_out = inputs.isnan().any(1, keepdim=True)  # [B, 1, H, W]
        if self.scheme.looks_at == "pixel":
            return torch.where(left_out, 0.0, self.scheme(torch.where(left_out, 0.0, inputs)))
        output = torch.zeros_like(inputs, dtype=self.dtype)
        for image, its_output, is_out in zip(inputs, output, left_out[:, 0], strict=True):
            if not is_out.all():  # [C, n] as an image of n x 1 pixels
                its_output[:, ~is_out] = self.scheme(image[:, ~is_out][None, ..., None])[0, ..., 0]
        return output

    def trained(self) -> dict[str, float]:
        """The trained values of the scheme."""
        return self.scheme.trained()
