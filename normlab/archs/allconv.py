"""The convolutional network that downsamples by strides."""

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
from normlab.errors import ConfigError


class AllConv(nn.Module):
    """Stages of two 3x3 convolutions, the first with stride 2; then the mean over pixels and a linear layer.

    Springenberg et al. 2015, "Striving for simplicity: the all convolutional net" (arXiv:1412.6806): a convolution
    with stride 2 in the place of pooling, and the mean of each feature map at the end. Smaller than theirs, and
    with internal normalization after each convolution. The linear layer on the mean is the mean of their last, 1x1
    convolution. At 32x32 pixels and the default width, 9.7 million multiply-adds for an image.

    Behind a convolution, ``batch`` subtracts the mean of each channel, and a bias of the convolution with it: there
    the convolutions have no bias. ``layer`` and ``group`` subtract one mean of several channels, which leaves the
    differences between their biases: there, and under ``none``, the convolutions have a bias.

    Args:
        shape: C, H, W of the normalized images; of spectrograms, which have one channel, H, W.
        classes: number of outputs.
        width: channels of the first stage; each later one has twice as many as the one before.
        stages: each halves the image, and an odd side is rounded up.
        internal_norm: after each convolution.
        activation: after each internal normalization.
        padding: value beyond the border; see :class:`normlab.archs.cnn.CNN`.
        init: see :func:`normlab.archs.layers.initialize`.

    Raises:
        ConfigError: if the image is one pixel high or wide before the last stage.
    """

    channels_last = True

    def __init__(
        self,
        shape: Shape,
        classes: int,
        *,
        width: PositiveInt = 32,
        stages: PositiveInt = 3,
        internal_norm: InternalNorm = "batch",
        activation: ActivationName = "relu",
        padding: Padding = "zeros",
        init: Init = "he",
    ) -> None:
        shape = image_shape(shape)
        halvings = (min(shape[1:]) - 1).bit_length()  # to one pixel, rounded up each time
        if stages > halvings:
            raise ConfigError(
                f"arch.stages={stages}: images of {shape[1]}x{shape[2]} pixels can be halved {halvings} times at most"
            )
        super().__init__()
        layers: list[nn.Module] = []
        channels = shape[0]
        for stage in range(stages):
            wider = width * 2**stage
            for stride in (2, 1):
                layers += [
                    nn.Conv2d(
                        channels, wider, 3, stride, padding=1, bias=internal_norm != "batch", padding_mode=padding
                    ),
                    internal_norm_2d(internal_norm, wider),
                    make_activation(activation),
                ]
                channels = wider
        self.layers = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))
        initialize(self, init)

    def forward(self, images: Tensor) -> Tensor:
        """[B, C, H, W], or spectrograms [B, H, W], to [B, classes]."""
        return self.layers(as_images(images))
