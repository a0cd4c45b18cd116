"""The network that a run trains: a normalization, then an architecture."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from normlab.archs.layers import Shape, first_layer
from normlab.config import Arch
from normlab.errors import ConfigError
from normlab.norms import Normalization


class Network(nn.Module):
    """uint8 images in, class scores out: the normalization is the first layer.

    Attributes:
        norm: the scheme, fitted.
        body: the architecture.
        input_shape: C, H, W of the uint8 images.
        normalized_shape: C, H, W of the body's input; None: measured by applying the scheme to one image.
        classes: names of the outputs.
    """

    def __init__(
        self,
        norm: Normalization,
        arch: Arch,
        input_shape: Shape,
        classes: tuple[str, ...],
        normalized_shape: Shape | None = None,
    ) -> None:
        super().__init__()
        self.norm, self.input_shape, self.classes = norm, input_shape, classes
        if normalized_shape is None:
            with torch.no_grad():
                channels, height, width = norm(torch.zeros(1, *input_shape, dtype=torch.uint8)).shape[1:]
            normalized_shape = channels, height, width
        self.normalized_shape = normalized_shape
        self.body: nn.Module = arch.build(normalized_shape, len(classes))
        if arch.first_layer_scale != 1:
            first_layer(self.body).weight.data *= arch.first_layer_scale
        self._try(arch.name)
        self.channels_last = bool(getattr(self.body, "channels_last", False))
        if self.channels_last:
            self.body.to(memory_format=torch.channels_last)

    def _try(self, name: str) -> None:
        """Refuse images that the architecture cannot take, before training starts."""
        training = self.body.training
        try:
            with torch.no_grad():
                self.body.eval()(torch.zeros(1, *self.normalized_shape))
        except (RuntimeError, ValueError, AssertionError, IndexError) as error:
            shape = "x".join(map(str, self.normalized_shape))
            raise ConfigError(f"arch={name} cannot take images of {shape}: {str(error).splitlines()[0]}") from error
        self.body.train(training)

    def forward(self, images: Tensor) -> Tensor:
        """uint8 [B, C, H, W] to scores [B, classes]."""
        if self.channels_last:
            # Rearranged as uint8, because float32 would move four times as many bytes.
            images = images.contiguous(memory_format=torch.channels_last)
        # The statistics need full precision; mixed precision is for the body only.
        with torch.autocast(images.device.type, enabled=False):
            normalized = self.norm(images)
        return self.body(normalized)
