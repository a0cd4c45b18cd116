"""The residual network for small images."""

from __future__ import annotations

from torch import Tensor, nn

from normlab.archs.layers import (
    ActivationName,
    Init,
    InternalNorm,
    Padding,
    Shape,
    as_images,
    image_shape,
    initialize,
    internal_norm_2d,
    make_activation,
)
from normlab.config import PositiveInt


class Block(nn.Module):
    """x + F(x), with F two 3x3 convolutions (He et al. 2016, figure 2), projected where the shape changes."""

    def __init__(
        self, channels: int, wider: int, stride: int, norm: InternalNorm, activation: ActivationName, padding: Padding
    ) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(channels, wider, 3, stride, padding=1, padding_mode=padding),
            internal_norm_2d(norm, wider),
            make_activation(activation),
            nn.Conv2d(wider, wider, 3, padding=1, padding_mode=padding),
            internal_norm_2d(norm, wider),
        )
        same = stride == 1 and channels == wider
        self.shortcut = (
            nn.Identity()
            if same
            else nn.Sequential(nn.Conv2d(channels, wider, 1, stride), internal_norm_2d(norm, wider))
        )
        self.activation = make_activation(activation)

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels, H, W] to [B, wider, H / stride, W / stride]."""
        return self.activation(self.shortcut(x) + self.residual(x))


class ResNet(nn.Module):
    """The residual network for small images (He et al. 2016, section 4.2): three stages, 6 * blocks + 2 layers.

    Args:
        shape: C, H, W of the normalized images; of spectrograms, which have one channel, H, W.
        classes: number of outputs.
        width: channels of the first stage; 16 in the paper.
        blocks: in each stage; 3 make ResNet-20.
        internal_norm: after each convolution.
        activation: of the network.
        padding: value beyond the border; see :class:`normlab.archs.cnn.CNN`.
        init: see :func:`normlab.archs.layers.initialize`.
    """

    channels_last = True

    def __init__(
        self,
        shape: Shape,
        classes: int,
        *,
        width: PositiveInt = 16,
        blocks: PositiveInt = 1,
        internal_norm: InternalNorm = "batch",
        activation: ActivationName = "relu",
        padding: Padding = "zeros",
        init: Init = "he",
    ) -> None:
        shape = image_shape(shape)
        super().__init__()
        layers: list[nn.Module] = [
            nn.Conv2d(shape[0], width, 3, padding=1, padding_mode=padding),
            internal_norm_2d(internal_norm, width),
            make_activation(activation),
        ]
        channels = width
        for stage in range(3):
            for block in range(blocks):
                wider = width * 2**stage
                stride = 2 if stage and not block else 1
                layers.append(Block(channels, wider, stride, internal_norm, activation, padding))
                channels = wider
        self.layers = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))
        initialize(self, init)

    def forward(self, images: Tensor) -> Tensor:
        """[B, C, H, W], or spectrograms [B, H, W], to [B, classes]."""
        return self.layers(as_images(images))
