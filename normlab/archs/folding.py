"""A network whose normalization is part of its first layer's weights."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from normlab.archs import Network
from normlab.archs.layers import first_layer
from normlab.norms import Affine, Learned


class Folded(nn.Module):
    """uint8 images in, class scores out, without a normalization.

    Args:
        body: the network, whose first layer takes pixels of 0..255 less ``mean``.
        mean: of each channel, [C, 1, 1], in 0..255; None where nothing is subtracted.
    """

    mean: Tensor | None

    def __init__(self, body: nn.Module, mean: Tensor | None) -> None:
        super().__init__()
        self.body = body
        self.register_buffer("mean", mean)

    def forward(self, images: Tensor) -> Tensor:
        """uint8 [B, C, H, W] to scores [B, classes]."""
        x = images.to(next(self.body.parameters()).dtype)
        return self.body(x if self.mean is None else x - self.mean)


def folded(network: Network) -> tuple[nn.Module, str]:
    """The network with scale and shift in its first layer's weights where that is exact; else as it is.

    A layer W x + b behind x = a p + c, with pixels p, is (W a) p + (b + W c). Of a convolution that pads with zeros
    that holds only for the scale: its zeros stand for the pixel -c/a, not for black. There that mean stays as a
    subtraction, behind which zeros are right.

    Args:
        network: in evaluation mode; not changed.

    Returns:
        The network, and what was done or why nothing was.
    """
    norm = network.norm
    if not isinstance(norm, Affine | Learned):
        return network, f"kept as a layer: {type(norm).__name__} is no fixed scale and shift"
    scale, shift = (value.detach().double() for value in (norm.scale, norm.shift))
    if network.normalized_shape[0] != network.input_shape[0]:
        return network, "kept as a layer: it repeats the grey channel"
    body = copy.deepcopy(network.body)
    layer = first_layer(body)
    by_channel = scale.shape[-2:] == (1, 1)
    mean = None
    if isinstance(layer, nn.Conv2d):
        if not by_channel:
            return network, "kept as a layer: its scale differs from pixel to pixel, a convolution's weights do not"
        if layer.groups != 1:
            return network, "kept as a layer: the first convolution has groups"
        factor, offset = scale.reshape(1, -1, 1, 1), shift.reshape(1, -1, 1, 1)
        pads = layer.padding != "valid" and any(layer.padding if isinstance(layer.padding, tuple) else (1,))
        if pads and layer.padding_mode == "zeros" and shift.any():
            mean, offset = (-shift / scale).reshape(-1, 1, 1), torch.zeros_like(offset)
    else:
        shape = network.input_shape
        factor, offset = (value.expand(shape).reshape(1, -1) for value in (scale, shift))
    if offset.any() and layer.bias is None:
        layer.bias = nn.Parameter(torch.zeros(len(layer.weight), dtype=layer.weight.dtype))
    with torch.no_grad():
        weight = layer.weight.double()
        if layer.bias is not None:
            layer.bias += (weight * offset).flatten(1).sum(1)
        layer.weight.copy_(weight * factor)
    result = Folded(body, None if mean is None else mean.to(layer.weight.dtype)).train(network.training)
    if not _same(network, result):
        return network, "kept as a layer: the first layer does not see the normalized images alone"
    left = " but for the mean, which is subtracted: the convolution pads with zeros" if mean is not None else ""
    return result, f"folded into the weights of the first layer{left}"


def _same(network: Network, other: nn.Module) -> bool:
    """Whether both give the same scores in float64, on noise, black and white."""
    images = torch.randint(0, 256, (4, *network.input_shape), generator=torch.Generator().manual_seed(0))
    images[0], images[1] = 0, 255
    pixels = images.to(torch.uint8)
    one, two = (copy.deepcopy(module).double().eval() for module in (network, other))
    with torch.no_grad():
        expected, found = one(pixels), two(pixels)
    # The folded weights were rounded to single precision once more.
    return bool((expected - found).abs().max() <= 1e-5 * expected.abs().max().clamp(min=1))
