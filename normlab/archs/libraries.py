"""Networks of torchvision and timm, untrained."""

from __future__ import annotations

import difflib
from typing import Any, Literal

from torch import nn

from normlab.archs.layers import Shape
from normlab.errors import ConfigError, first_line


def from_torchvision(shape: Shape, classes: int, *, model: Literal["resnet18", "resnet50"]) -> nn.Module:
    """A residual network of torchvision (He et al. 2016, table 1), for ImageNet-sized images, untrained.

    Args:
        shape: C, H, W of the normalized images; the first layer is replaced where C is not 3.
        classes: number of outputs.
        model: name in torchvision.models.
    """
    from torchvision import models

    network: Any = getattr(models, model)(weights=None, num_classes=classes)
    if shape[0] != 3:
        network.conv1 = nn.Conv2d(shape[0], 64, 7, 2, 3, bias=False)
        nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
    network.channels_last = True
    return network


def from_timm(shape: Shape, classes: int, *, model: str) -> nn.Module:
    """Any network of timm by name, untrained: ``pip install 'normlab[timm]'``.

    Args:
        shape: C, H, W of the normalized images.
        classes: number of outputs.
        model: a name of timm.list_models().

    Raises:
        ConfigError: if timm is not installed, or has no such network for these images.
    """
    try:
        import timm
    except ImportError:
        raise ConfigError("arch=timm needs the package timm: pip install 'normlab[timm]'") from None
    options: dict[str, Any] = {"in_chans": shape[0], "num_classes": classes}
    try:
        try:
            return timm.create_model(model, img_size=tuple(shape[1:]), **options)
        except TypeError:  # most convolutional networks take any size and have no such argument
            return timm.create_model(model, **options)
    except Exception as error:  # an unknown name, or a network that cannot be built for such images
        near = difflib.get_close_matches(model.lower(), timm.list_models(), n=3)
        hint = f"; similar names: {', '.join(near)}" if near and model not in near else ""
        raise ConfigError(f"arch.model={model}: {first_line(error)}{hint}") from None
