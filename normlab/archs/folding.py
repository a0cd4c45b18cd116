"""A network whose normalization is part of its first layer's weights."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from normlab.archs import Network
from normlab.archs.layers import first_layer
from normlab.inputs import Target, range_of_type
from normlab.norms import Affine, Learned, Masked
from normlab.norms.base import over_features


class Folded(nn.Module):
    """Inputs as stored in, scores out, without a normalization.

    Args:
        body: the network, whose first layer takes x minus ``mean``.
        mean: of each channel, [C, 1, 1], or of each feature, [C, *positions], in units of x; None where nothing is
            subtracted.
        target: of a regression, by which scores become numbers in the unit of the labels.
    """

    mean: Tensor | None

    def __init__(self, body: nn.Module, mean: Tensor | None, target: Target | None = None) -> None:
        super().__init__()
        self.body, self.target = body, target
        self.register_buffer("mean", mean)

    def forward(self, images: Tensor) -> Tensor:
        """[B, C, *positions] to scores [B, classes]."""
        x = images.to(next(self.body.parameters()).dtype)
        scores = self.body(x if self.mean is None else x - self.mean)
        return scores if self.target is None else self.target.restored(scores)


def folded(network: Network) -> tuple[nn.Module, str]:
    """The network with scale and shift moved into its first layer's weights where that is exact; otherwise unchanged.

    A layer W x + b after x = a p + c, with pixels p, is (W a) p + (b + W c). For a convolution that pads with zeros
    this holds for the scale only: the zeros stand for the pixel -c/a, not for black. The mean then stays a separate
    subtraction before the convolution. The mean also stays a subtraction if it differs from pixel to pixel before a
    convolution, or if moving it into the weights changes the scores.

    Args:
        network: in evaluation mode; not changed.

    Returns:
        The network, and a text: what was done, or why nothing was done.
    """
    norm = network.norm
    if isinstance(norm, Masked):
        return network, "kept as a layer: it leaves out pixels that are NaN"
    if network.forecasts:
        return network, "kept as a layer: the normalization is undone on the output"
    if not isinstance(norm, Affine | Learned):
        return network, f"kept as a layer: {type(norm).__name__} is not a fixed scale and shift"
    if not norm.has_range:  # constants, for the range of the inputs' type
        norm = copy.deepcopy(norm).fit([torch.zeros(1, *network.input_shape, dtype=network.input_type)])
    scale, shift = (value.detach().double() for value in (norm.scale, norm.shift))
    if network.normalized_shape[0] != network.input_shape[0]:
        return network, "kept as a layer: it repeats the gray channel"
    layer = first_layer(network.body)
    if isinstance(layer, nn.Embedding):
        return network, "kept as a layer: it passes tokens as they are"
    why = ""
    if isinstance(layer, nn.Conv2d):
        if len(network.normalized_shape) != 3:
            return network, "kept as a layer: the network sees a series as an image of one channel"
        if (scale != scale[:, :1, :1]).any():
            return network, "kept as a layer: its scale differs from pixel to pixel, and a convolution's weights cannot"
        if layer.groups != 1:
            return network, "kept as a layer: the first convolution has groups"
        pads = layer.padding != "valid" and any(layer.padding if isinstance(layer.padding, tuple) else (1,))
        if shift.shape[-2:] != (1, 1):
            why = "it differs from pixel to pixel"
        elif pads and layer.padding_mode == "zeros" and shift.any():
            why = "the convolution pads with zeros"
    elif not isinstance(layer, nn.Linear):
        return network, f"kept as a layer: a first layer of the kind {type(layer).__name__} is not folded"
    what = "folded into the weights of the first layer"
    if not why:
        result = _folded(network, scale, shift, None)
        if _same(network, result):
            return result, what
        why = "in the weights it would change the scores"  # such as EfficientNet, which has its own padding
    result = _folded(network, scale, torch.zeros_like(shift[:, :1, :1]), -shift / scale)
    if _same(network, result):
        return result, f"{what}, except the mean, which is subtracted: {why}"
    # Such as a network that uses the images twice.
    return network, "kept as a layer: in the first layer's weights it would change the scores"


def example_inputs(network: Network, count: int) -> Tensor:
    """Inputs that a network takes: black, white, then noise in its range, [count, C, *positions].

    For a network that takes images with gaps, the last of them has one.
    """
    ends = (norm.black.item(), norm.white.item()) if (norm := network.norm).has_range else None
    black, white = ends or range_of_type(network.input_type)
    shares = torch.rand(count, *network.input_shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    shares[0], shares[1] = 0, 1
    x = black + (white - black) * shares
    if not network.input_type.is_floating_point:
        limits = torch.iinfo(network.input_type)
        x = x.round().clamp(limits.min, limits.max)
    x = x.to(network.input_type)
    if isinstance(norm, Masked):
        x[-1, :, : x.shape[2] // 2] = torch.nan
    return x


def _folded(network: Network, scale: Tensor, shift: Tensor, mean: Tensor | None) -> Folded:
    """A copy whose first layer takes a p + c, with a scale and a shift that broadcast to [C, H, W], float64."""
    body = copy.deepcopy(network.body)
    layer = first_layer(body)
    assert isinstance(layer, nn.Linear | nn.Conv2d)  # others are kept
    if isinstance(layer, nn.Conv2d):
        factor, offset = scale[None, :, :1, :1], shift[None]
    else:
        factor, offset = (over_features(value, network.input_shape).reshape(1, -1) for value in (scale, shift))
    if offset.any() and layer.bias is None:
        layer.bias = nn.Parameter(torch.zeros(len(layer.weight), dtype=layer.weight.dtype))
    with torch.no_grad():
        weight = layer.weight.double()
        if layer.bias is not None:
            layer.bias += (weight * offset).flatten(1).sum(1)
        layer.weight.copy_(weight * factor)
    subtracted = None if mean is None else mean.to(layer.weight.dtype)
    return Folded(body, subtracted, network.target).train(network.training)


def _same(network: Network, other: nn.Module) -> bool:
    """Whether both give the same scores in float64, on noise, black and white."""
    pixels = example_inputs(network, 4)
    one, two = (copy.deepcopy(module).double().eval() for module in (network, other))
    with torch.no_grad():
        expected, actual = one(pixels), two(pixels)
    # The tolerance is that of single precision, to which the folded weights were rounded.
    return bool((expected - actual).abs().max() <= 1e-5 * expected.abs().max().clamp(min=1))
