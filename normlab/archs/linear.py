"""The linear model, for which theory is exact, and the multilayer perceptron."""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor, nn

from normlab.archs.layers import (
    ActivationName,
    Init,
    InternalNorm,
    Shape,
    initialize,
    internal_norm_1d,
    make_activation,
)
from normlab.config import NonNegativeInt, PositiveInt


class Linear(nn.Module):
    """Outputs = W x + b.

    Args:
        shape: of a normalized input, C and its positions.
        classes: number of outputs.
        bias: whether there is a b.
        init: ``zeros`` starts at W = 0, b = 0, which makes the start the same under every normalization.
    """

    def __init__(
        self, shape: Shape, classes: int, *, bias: bool = True, init: Literal["zeros"] | Init = "zeros"
    ) -> None:
        super().__init__()
        self.layer = nn.Linear(math.prod(shape), classes, bias=bias)
        if init == "zeros":
            for parameter in self.layer.parameters():
                nn.init.zeros_(parameter)
        else:
            initialize(self, init)

    def forward(self, inputs: Tensor) -> Tensor:
        """[B, C, *positions] to [B, classes]."""
        return self.layer(inputs.flatten(1))


class MLP(nn.Module):
    """Fully connected layers.

    Args:
        shape: of a normalized input, C and its positions.
        classes: number of outputs.
        width: features of a hidden layer.
        depth: hidden layers.
        internal_norm: after each hidden linear layer, before the activation.
        activation: of the hidden layers.
        init: see :func:`normlab.archs.layers.initialize`.
    """

    def __init__(
        self,
        shape: Shape,
        classes: int,
        *,
        width: PositiveInt = 256,
        depth: NonNegativeInt = 2,
        internal_norm: InternalNorm = "none",
        activation: ActivationName = "relu",
        init: Init = "he",
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Flatten()]
        features = math.prod(shape)
        for _ in range(depth):
            layers += [nn.Linear(features, width), internal_norm_1d(internal_norm, width), make_activation(activation)]
            features = width
        self.layers = nn.Sequential(*layers, nn.Linear(features, classes))
        initialize(self, init)

    def forward(self, inputs: Tensor) -> Tensor:
        """[B, C, *positions] to [B, classes]."""
        return self.layers(inputs)
