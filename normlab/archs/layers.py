"""Choices that the architectures share: activation, internal normalization, initialization."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn

from normlab.errors import ConfigError

Shape = tuple[int, ...]  # C and positions of normalized inputs; C, H, W of images
ActivationName = Literal["relu", "tanh", "sigmoid", "gelu"]
InternalNorm = Literal["none", "batch", "layer", "group"]
Init = Literal["torch", "he", "xavier", "lecun"]
Padding = Literal["zeros", "reflect", "replicate", "circular"]

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
}


def make_activation(name: ActivationName) -> nn.Module:
    """The nonlinearity by name."""
    return ACTIVATIONS[name]()


def internal_norm_2d(name: InternalNorm, channels: int) -> nn.Module:
    """Normalization of feature maps [B, channels, H, W].

    ``batch`` (Ioffe & Szegedy 2015); ``group`` with groups of 8 channels, or the nearest divisor of the number of
    channels (Wu & He 2018, who take 16 for wider networks); ``layer``, one group of all channels and pixels (Ba et al.
    2016).
    """
    if name == "batch":
        return nn.BatchNorm2d(channels)
    if name == "layer":
        return nn.GroupNorm(1, channels)
    if name == "group":
        return nn.GroupNorm(math.gcd(channels, max(1, channels // 8)), channels)
    return nn.Identity()


def internal_norm_1d(name: InternalNorm, features: int) -> nn.Module:
    """Normalization of features [B, features]; see :func:`internal_norm_2d`."""
    if name == "batch":
        return nn.BatchNorm1d(features)
    if name == "layer":
        return nn.LayerNorm(features)
    if name == "group":
        return nn.GroupNorm(math.gcd(features, max(1, features // 8)), features)
    return nn.Identity()


def as_images(x: Tensor) -> Tensor:
    """Series or spectrograms [B, C, T] as images of one channel, [B, 1, C, T]; images as they are."""
    return x[:, None] if x.ndim == 3 else x


def image_shape(shape: Shape) -> tuple[int, int, int]:
    """The shape of :func:`as_images` without the batch.

    Raises:
        ConfigError: for the rows of a table, which have no positions.
    """
    if len(shape) not in (2, 3):
        raise ConfigError(
            f"this network takes images [C, H, W] or series [C, T], not inputs of {list(shape)}: use arch=mlp"
        )
    channels, height, width = (1, *shape) if len(shape) == 2 else shape
    return channels, height, width


def initialize(network: nn.Module, init: Init) -> None:
    """Draw new weights for linear and convolutional layers; set their biases to 0.

    ``torch`` keeps the weights that PyTorch drew: uniform with variance 1 / (3 fan_in), biases too. ``lecun``: variance
    1 / fan_in (LeCun et al. 1998, section 4.6). ``xavier``: 2 / (fan_in + fan_out) (Glorot & Bengio 2010, eq. 12).
    ``he``: 2 / fan_in (He et al. 2015, eq. 10). The last three are normal; all are derived for inputs of unit second
    moment.
    """
    if init == "torch":
        return
    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d):
            if init == "he":
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            elif init == "lecun":
                nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
            else:
                nn.init.xavier_normal_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def first_layer(body: nn.Module) -> nn.Linear | nn.Conv1d | nn.Conv2d | nn.Embedding:
    """The layer that sees the normalized inputs; of texts, the embedding."""
    kinds = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Embedding
    return next(module for module in body.modules() if isinstance(module, kinds))
