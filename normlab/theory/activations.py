"""Activations and gradients of a network's layers under a normalization, and the prediction for the first layer.

The scale of the first layer's output follows from the scheme's second moments: for weights drawn independently with
mean 0 and variance v, the output at one position has variance v * sum of E[x_d^2] over the inputs d that it sees (He et
al. 2015, eq. 5, there for one common E[x^2]).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from normlab.norms import Normalization
from normlab.theory.curvature import Loss, training_copy

LAYERS = (
    nn.Linear,
    nn.Conv2d,
    nn.MultiheadAttention,
    nn.Embedding,
)  # layers whose activations and gradients are measured


def second_moments(batches: Iterable[Tensor], norm: Normalization) -> Tensor:
    """E[x^2] of each normalized feature, float64 [C, *positions], in one pass.

    Args:
        batches: of the inputs that the scheme was fitted on, of any type: [B, C, *positions].
        norm: fitted.
    """
    total, count = torch.zeros(()), 0
    with torch.no_grad():
        for images in batches:
            total = total + norm(images).double().square().sum(0)
            count += len(images)
    return total / count


def predicted_output_variance(layer: nn.Linear | nn.Conv2d | nn.Embedding, moments: Tensor) -> float:
    """Variance of the layer's output over images, positions and draws of the weights.

    The mean squares of the weights and of the biases are taken as their variances.

    >>> layer = nn.Linear(2, 1000, bias=False)
    >>> _ = nn.init.constant_(layer.weight, 0.5)  # a mean square of 1/4
    >>> predicted_output_variance(layer, torch.tensor([[[3.0, 5.0]]]))
    2.0

    Args:
        layer: a network's first; of an embedding, which looks its output up, the moments do not count.
        moments: E[x^2], [C, H, W]; see :func:`second_moments`.
    """
    if isinstance(layer, nn.Embedding):
        return layer.weight.double().square().mean().item()
    moments = moments.double()
    if isinstance(layer, nn.Linear):
        seen = moments.sum()
    else:
        # With the layer's own stride and padding, because a position at a border of zeros sees fewer inputs.
        ones = nn.Conv2d(
            layer.in_channels,
            layer.groups,
            layer.kernel_size,  # type: ignore[arg-type]
            layer.stride,  # type: ignore[arg-type]
            layer.padding,  # type: ignore[arg-type]
            layer.dilation,  # type: ignore[arg-type]
            layer.groups,
            bias=False,
            padding_mode=layer.padding_mode,
            dtype=torch.float64,
        )
        nn.init.ones_(ones.weight)
        seen = ones(moments[None]).mean()
    bias = 0.0 if layer.bias is None else layer.bias.double().square().mean().item()
    return seen.item() * layer.weight.double().square().mean().item() + bias


@dataclass(frozen=True)
class LayerStatistics:
    """One layer, on one batch.

    Attributes:
        name: its place in the network.
        activation_rms: root mean square of its output.
        activation_offset: root mean square of its channels' means, over that of their standard deviations, both over
            images and places: 0 if every channel is centered, large if the layer's output is nearly the same
            for every image.
        gradient_norm: of the mean loss in its weights and biases.
        gradient_spread: standard deviation of log10 g^2 over its weights, without zeros: the decades that Adam
            evens out, because it divides by the root of g^2. NaN if all are zero.
        zero_gradients: share of its weights whose gradient is exactly 0.
    """

    name: str
    activation_rms: float
    activation_offset: float
    gradient_norm: float
    gradient_spread: float
    zero_gradients: float


def layer_statistics(body: nn.Module, loss: Loss, inputs: Tensor, targets: Tensor) -> list[LayerStatistics]:
    """Activations and gradients of every layer with weights, from input to output.

    Args:
        body: the network after its normalization; not changed.
        loss: mean over the batch.
        inputs: normalized, [B, ...].
        targets: second argument of the loss, [B, ...].
    """
    body = training_copy(body)
    layers = {name: module for name, module in body.named_modules() if isinstance(module, LAYERS)}
    scales: dict[str, tuple[float, float]] = {}

    def gather(name: str) -> Callable[[nn.Module, object, Tensor | tuple[Tensor, ...]], None]:
        def hook(_: nn.Module, __: object, output: Tensor | tuple[Tensor, ...]) -> None:
            values = (output[0] if isinstance(output, tuple) else output).detach().double()
            scales[name] = values.square().mean().sqrt().item(), offset(values)

        return hook

    for name, module in layers.items():
        module.register_forward_hook(gather(name))
    loss(body(inputs), targets).backward()
    # A layer inside another layer's computation, such as the projection of attention, counts as part of that layer.
    return [_statistics(name, layers[name], *scale) for name, scale in scales.items()]


def offset(values: Tensor) -> float:
    """Root mean square of the channels' means over that of their standard deviations.

    >>> round(offset(torch.tensor([[3.0, -1.0], [5.0, 1.0]])), 6)  # means 4 and 0, deviations 1 and 1
    2.828427

    Args:
        values: [B, C, H, W], or [..., C] of a linear layer.

    Returns:
        Infinite if no channel varies; NaN if all values are zero.
    """
    by_channel = (values.movedim(1, -1) if values.ndim == 4 else values).flatten(0, -2)
    means, deviations = by_channel.mean(0), by_channel.std(0, correction=0)
    return (means.square().mean().sqrt() / deviations.square().mean().sqrt()).item()


def _statistics(name: str, layer: nn.Module, rms: float, offset: float) -> LayerStatistics:
    gradients = [parameter.grad for parameter in layer.parameters() if parameter.grad is not None]
    norm = math.sqrt(sum(gradient.double().square().sum().item() for gradient in gradients))
    weights = torch.cat([gradient.flatten() for gradient in gradients if gradient.ndim > 1])
    return LayerStatistics(
        name, rms, offset, norm, log_spread(weights.double().square()), (weights == 0).double().mean().item()
    )


def log_spread(values: Tensor) -> float:
    """Standard deviation of log10 of the positive values; NaN if there are fewer than two.

    >>> round(log_spread(torch.tensor([0.0, 1.0, 100.0])), 6)  # 0 and 2 about their mean 1
    1.0
    """
    positive = values[values > 0]
    return positive.log10().std(correction=0).item() if len(positive) > 1 else math.nan


def pixel_gradients(inputs: Tensor, errors: Tensor) -> Tensor:
    """Root mean square, over samples and outputs, of a linear layer's gradient at each input, [D].

    A sample's gradient in the weight from input d to output c is errors[c] * inputs[d].

    Args:
        inputs: x, [N, D].
        errors: gradients of the samples' losses in the outputs, [N, C].
    """
    return (errors.square().mean(1) @ inputs.square() / len(inputs)).sqrt()
