"""A small vision transformer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from normlab.archs.layers import Shape, as_images, image_shape
from normlab.config import PositiveInt
from normlab.errors import ConfigError


class ViT(nn.Module):
    """Patches, linearly embedded, through pre-norm transformer blocks; the mean over patches, and a linear layer.

    Dosovitskiy et al. 2021, section 3.1, with mean pooling instead of a class token and learned positions that start
    at a standard deviation of 0.02, as in Beyer et al. 2022, "Better plain ViT baselines for ImageNet-1k".

    Args:
        shape: C, H, W of the normalized images; of spectrograms, which have one channel, H, W.
        classes: number of outputs.
        patch_size: side of a patch in pixels.
        width: features of a token; a multiple of ``heads``.
        depth: blocks.
        heads: of attention.
        mlp_ratio: hidden features of a block's perceptron, as a multiple of ``width``.
    """

    def __init__(
        self,
        shape: Shape,
        classes: int,
        *,
        patch_size: PositiveInt = 4,
        width: PositiveInt = 64,
        depth: PositiveInt = 4,
        heads: PositiveInt = 4,
        mlp_ratio: PositiveInt = 2,
    ) -> None:
        super().__init__()
        channels, height, width_pixels = image_shape(shape)
        if height % patch_size or width_pixels % patch_size:
            raise ConfigError(f"arch.patch_size={patch_size} does not divide images of {height}x{width_pixels} pixels")
        if width % heads:
            raise ConfigError(f"arch.width={width} is not a multiple of arch.heads={heads}")
        self.embed = nn.Conv2d(channels, width, patch_size, patch_size)
        tokens = (height // patch_size) * (width_pixels // patch_size)
        self.position = nn.Parameter(0.02 * torch.randn(tokens, width))
        self.blocks = nn.Sequential(
            *(
                nn.TransformerEncoderLayer(
                    width, heads, mlp_ratio * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
                )
                for _ in range(depth)
            )
        )
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, classes))

    def forward(self, images: Tensor) -> Tensor:
        """[B, C, H, W], or spectrograms [B, H, W], to [B, classes]."""
        tokens = self.embed(as_images(images)).flatten(2).transpose(1, 2) + self.position  # [B, tokens, width]
        return self.head(self.blocks(tokens).mean(1))
