"""A small convolutional network for series."""

from __future__ import annotations

from torch import Tensor, nn

from normlab.archs.layers import (
    ActivationName,
    Init,
    InternalNorm,
    Padding,
    Shape,
    initialize,
    internal_norm_2d,
    make_activation,
)
from normlab.config import PositiveInt
from normlab.errors import ConfigError


class CNN1d(nn.Module):
    """Stages of convolution in time, internal normalization, activation and maximum of 2; then mean and linear layer.

    The network :class:`normlab.archs.cnn.CNN` with one position instead of two. The mean over time at the end makes it
    a fully convolutional network (Wang et al. 2017, "Time series classification from scratch").

    Args:
        shape: C, T of the normalized series.
        classes: number of outputs.
        width: channels of the first stage; each later one has twice as many as the one before.
        depth: stages; each halves the series.
        kernel: steps that a convolution sees; an odd number.
        internal_norm: after each convolution.
        activation: of every stage.
        padding: value beyond the ends; see :class:`normlab.archs.cnn.CNN`.
        init: see :func:`normlab.archs.layers.initialize`.
    """

    def __init__(
        self,
        shape: Shape,
        classes: int,
        *,
        width: PositiveInt = 32,
        depth: PositiveInt = 3,
        kernel: PositiveInt = 5,
        internal_norm: InternalNorm = "none",
        activation: ActivationName = "relu",
        padding: Padding = "zeros",
        init: Init = "he",
    ) -> None:
        if len(shape) != 2:
            raise ConfigError(f"arch=cnn1d takes series [C, T], not inputs of {list(shape)}; use arch=cnn")
        if kernel % 2 == 0:
            raise ConfigError(f"arch.kernel={kernel}: expected an odd number of steps")
        if shape[1] < 2**depth:
            raise ConfigError(
                f"arch.depth={depth}: series of {shape[1]} steps can be halved {shape[1].bit_length() - 1} times at "
                f"most"
            )
        super().__init__()
        layers: list[nn.Module] = []
        channels = shape[0]
        for stage in range(depth):
            wider = width * 2**stage
            layers += [
                nn.Conv1d(channels, wider, kernel, padding=kernel // 2, padding_mode=padding),
                nn.BatchNorm1d(wider) if internal_norm == "batch" else internal_norm_2d(internal_norm, wider),
                make_activation(activation),
                nn.MaxPool1d(2),
            ]
            channels = wider
        self.layers = nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(channels, classes))
        initialize(self, init)

    def forward(self, series: Tensor) -> Tensor:
        """[B, C, T] to [B, classes]."""
        return self.layers(series)
