"""The first layer at initialization: how its gradients, its saturation and its scale follow from the inputs.

Claims A01, A14, A17 and A18.

The measurements draw the initial weights themselves, or take them from an architecture, and train nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from normlab.archs.layers import first_layer
from normlab.archs.losses import LOSSES
from normlab.config import data_label
from normlab.data import dataset
from normlab.errors import ConfigError
from normlab.measurements.registry import measurement
from normlab.measurements.starts import arch_label, fitted, network_at_start, normalized, one_hot
from normlab.norms import normalization
from normlab.statistics.intervals import mean_interval
from normlab.theory.activations import (
    layer_statistics,
    pixel_gradients,
    predicted_output_variance,
    second_moments,
)

SATURATED = 5.0  # absolute pre-activation beyond which the sigmoid's derivative is below 2.7% of its largest value


def sigmoid_derivative(x: Tensor) -> Tensor:
    """s'(x) = s(x) (1 - s(x)) = s(x) s(-x), which loses no digits where the sigmoid is near 1.

    >>> sigmoid_derivative(torch.tensor([0.0, 5.0], dtype=torch.float64))
    tensor([0.2500, 0.0066], dtype=torch.float64)
    """
    return torch.sigmoid(x) * torch.sigmoid(-x)


def initial_std(init: str, fan_in: int, fan_out: int) -> float:
    """Standard deviation of the initial weights: by the name of a rule, or a number given as text.

    ``lecun``: 1/sqrt(fan_in) (LeCun et al. 1998, section 4.6). ``xavier``: sqrt(2/(fan_in + fan_out)) (Glorot & Bengio
    2010, eq. 12). ``he``: sqrt(2/fan_in) (He et al. 2015, eq. 10).

    >>> initial_std("xavier", 300, 100), initial_std("0.01", 300, 100)
    (0.07071067811865475, 0.01)

    Raises:
        ConfigError: for another name.
    """
    rules = {"lecun": 1 / fan_in, "xavier": 2 / (fan_in + fan_out), "he": 2 / fan_in}
    if init in rules:
        return math.sqrt(rules[init])
    try:
        return float(init)
    except ValueError:
        raise ConfigError(f"inits: {init} is not a number; choose a number, or one of {', '.join(rules)}") from None


@measurement
def gradients_by_brightness(
    *, data: dict[str, Any], norms: Sequence[str] = ("raw", "dataset"), weight_std: float = 0.01, seed: int = 0
) -> list[dict[str, Any]]:
    """The gradient at each pixel of a linear model at its start, versus the brightness of that pixel.

    Outputs W x with weights from N(0, weight_std^2) and squared error against one-hot labels. The gradient of one
    image's loss in the weight from pixel d to output c is e_c x_d, e = W x - y (LeCun et al. 1998, "Efficient
    BackProp", section 4.3). In every row, pixels are ordered by the root mean square of x/255 over the training
    images: bright and dark are properties of the picture, not of the scheme.

    Returns:
        A row for each scheme: ``correlation`` (Pearson) over pixels between the root mean square of the gradient, over
        images and outputs, and that of the input; ``dark_to_bright``, the gradient's mean over the darkest tenth
        of the pixels divided by its mean over the brightest tenth; ``input_dark_to_bright``, the same ratio for the
        input; ``step_dark_to_bright``, the same ratio for the gradient of the mean loss, which a step of descent
        follows. NaN for constants.
    """
    rows = []
    for name, (count, gradient, rms, step, order) in _by_pixel(data, norms, weight_std, seed):
        rows.append(
            {
                "data": data_label(data),
                "norm": name,
                "images": count,
                "pixels": len(rms),
                "correlation": torch.corrcoef(torch.stack([gradient, rms]))[0, 1].item(),
                "dark_to_bright": _ends(gradient[order]),
                "input_dark_to_bright": _ends(rms[order]),
                "step_dark_to_bright": _ends(step[order]),
            }
        )
    return rows


@measurement
def gradient_profile(
    *, data: dict[str, Any], norms: Sequence[str] = ("raw", "dataset"), weight_std: float = 0.01, seed: int = 0
) -> list[dict[str, Any]]:
    """The gradients of :func:`gradients_by_brightness` by tenths of the pixels, for a figure.

    Returns:
        A row for each scheme and tenth of the pixels, from the darkest, 1, to the brightest, 10: ``gradient``, the mean
        over the tenth of the root mean square of the gradient, over that mean of all pixels.
    """
    rows = []
    for name, (count, gradient, _, _, order) in _by_pixel(data, norms, weight_std, seed):
        for place, tenth in enumerate((gradient / gradient.mean())[order].tensor_split(10), 1):
            rows.append(
                {
                    "data": data_label(data),
                    "norm": name,
                    "images": count,
                    "tenth": place,
                    "gradient": tenth.mean().item() if len(tenth) else math.nan,
                }
            )
    return rows


def _by_pixel(
    data: dict[str, Any], norms: Sequence[str], weight_std: float, seed: int
) -> Iterator[tuple[str, tuple[int, Tensor, Tensor, Tensor, Tensor]]]:
    """For each scheme: number of images, RMS of gradient and input, mean-loss gradient, pixels from dark to bright."""
    loaded = dataset(**data)
    targets = one_hot(loaded.train, len(loaded.classes))
    bright = second_moments([loaded.train.images], normalization("unit")).flatten()
    for name in norms:
        x = normalized(fitted(loaded, name), loaded.train.images).flatten(1)
        generator = torch.Generator().manual_seed(seed)
        weights = weight_std * torch.randn(x.shape[1], targets.shape[1], dtype=x.dtype, generator=generator)
        errors = x @ weights - targets
        gradient, rms = pixel_gradients(x, errors), x.square().mean(0).sqrt()
        step = (errors.T @ x / len(x)).square().mean(0).sqrt()
        order = bright.repeat(len(rms) // len(bright)).argsort()  # a scheme may repeat a gray channel
        yield name, (len(x), gradient, rms, step, order)


def _ends(values: Tensor) -> float:
    """Mean of the first tenth divided by the mean of the last tenth."""
    tenth = max(1, len(values) // 10)
    return (values[:tenth].mean() / values[-tenth:].mean()).item()


@measurement
def sigmoid_derivatives(*, points: Sequence[float] = (-5.0, 0.0, 5.0), steps: int = 10_001) -> list[dict[str, Any]]:
    """The derivative of the sigmoid at some points.

    Returns:
        A row for each point: ``x``; ``derivative``; ``of_peak``, its share of the largest derivative on a grid of
        ``steps`` points from -10 to 10.
    """
    peak = sigmoid_derivative(torch.linspace(-10, 10, steps, dtype=torch.float64)).max().item()
    derivatives = sigmoid_derivative(torch.tensor(points, dtype=torch.float64)).tolist()
    return [{"x": x, "derivative": d, "of_peak": d / peak} for x, d in zip(points, derivatives, strict=True)]


@measurement
def saturated_units(
    *,
    data: dict[str, Any],
    norms: Sequence[str] = ("raw", "unit", "dataset_mean", "dataset"),
    factors: Sequence[float] = (1.0,),
    inits: Sequence[str] = ("0.01", "xavier"),
    units: int = 256,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """How many sigmoid units of a fully connected first layer start saturated, on training images.

    Pre-activations z = W (factor x), weights normal with the standard deviation of :func:`initial_std`, no bias. With
    ``factor`` 255 the scheme ``dataset_mean`` is pixels of 0..255 that are centered and not scaled.

    Returns:
        A row for each scheme, factor and rule: ``centred``, yes if the mean of all inputs is within a tenth of their
        standard deviation of 0; ``input_rms`` and ``rms`` of z; ``saturated``, the share of units and images with
        an absolute z above 5; ``mean_derivative`` as a share of its largest value, 1/4.
    """
    loaded = dataset(**data)
    rows = []
    for name in norms:
        x = normalized(fitted(loaded, name), loaded.train.images).flatten(1)
        centered = abs(x.mean().item()) <= 0.1 * x.std().item()
        generator = torch.Generator().manual_seed(seed)
        normal = torch.randn(x.shape[1], units, dtype=x.dtype, generator=generator)
        outputs = x @ normal
        for factor in factors:
            for init in inits:
                z = outputs * (factor * initial_std(init, x.shape[1], units))
                rows.append(
                    {
                        "data": data_label(data),
                        "norm": name,
                        "factor": factor,
                        "init": init,
                        "centred": "yes" if centered else "no",
                        "input_rms": factor * x.square().mean().sqrt().item(),
                        "rms": z.square().mean().sqrt().item(),
                        "saturated": (z.abs() > SATURATED).double().mean().item(),
                        "mean_derivative": 4 * sigmoid_derivative(z).mean().item(),
                    }
                )
    return rows


@measurement
def gradient_factors(
    *, data: dict[str, Any], archs: Sequence[dict[str, Any]], norm: str = "dataset", images: int = 32, seed: int = 0
) -> list[dict[str, Any]]:
    """Whether each image's first-layer gradient is the norm of the image times the norm of the layer's error.

    For one image and a fully connected first layer z = W x the gradient of the loss in W is the outer product of
    dL/dz and x, so that its norm is the product of theirs. A convolution sums such products over places.

    Returns:
        A row for each architecture: ``ratio``, the mean over images of |dL/dW| / (|x| |dL/dz|), and ``spread``, the
        largest over the smallest ratio: 1 if gradient and product are proportional. In float64, cross-entropy, each
        image alone, batch statistics (if any) as at evaluation.
    """
    loaded = dataset(**data)
    scheme = fitted(loaded, norm)
    x, labels = normalized(scheme, loaded.train.images[:images]), loaded.train.labels[:images]
    rows = []
    for arch in archs:
        body = network_at_start(loaded, scheme, arch, seed).body.double().eval()
        layer = first_layer(body)
        errors: list[Tensor] = []

        def keep(_: nn.Module, __: object, output: Tensor, errors: list[Tensor] = errors) -> None:
            output.retain_grad()
            errors.append(output)

        layer.register_forward_hook(keep)
        ratios = []
        for image, label in zip(x, labels, strict=True):
            body.zero_grad()
            F.cross_entropy(body(image[None]), label[None]).backward()
            gradient, error = cast(Tensor, layer.weight.grad), cast(Tensor, errors.pop().grad)
            ratios.append((gradient.norm() / (image.norm() * error.norm())).item())
        rows.append(
            {
                "data": data_label(data),
                "arch": arch_label(arch),
                "images": len(ratios),
                "ratio": sum(ratios) / len(ratios),
                "spread": max(ratios) / min(ratios),
            }
        )
    return rows


@measurement
def input_scaling(
    *,
    data: dict[str, Any],
    archs: Sequence[dict[str, Any]],
    norm: str = "dataset",
    factor: float = 100.0,
    losses: Sequence[str] = ("cross_entropy", "squared_error"),
    images: int = 64,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """How activations and gradients of each layer grow at initialization when all inputs are multiplied by ``factor``.

    With r the quotient of a norm after and before, the exponent is log r / log factor: 1 if the norm is proportional to
    the inputs' scale, 0 if it does not depend on it. A network of ReLU layers without biases is positively homogeneous:
    f(s x) = s f(x) for s > 0, at every layer.

    Returns:
        A row for each architecture, loss and layer: ``place`` is first, inner or last; ``activation_exponent`` of the
        root mean square of the layer's output; ``gradient_exponent`` of the norm of the mean loss's gradient in its
        weights and biases. In float64, on one batch, as in training.
    """
    loaded = dataset(**data)
    scheme = fitted(loaded, norm)
    x, labels = normalized(scheme, loaded.train.images[:images]), loaded.train.labels[:images]
    rows = []
    for arch in archs:
        body = network_at_start(loaded, scheme, arch, seed).body.double()
        for loss in losses:
            before = layer_statistics(body, LOSSES[loss], x, labels)
            after = layer_statistics(body, LOSSES[loss], factor * x, labels)
            for place, (one, other) in enumerate(zip(before, after, strict=True)):
                rows.append(
                    {
                        "data": data_label(data),
                        "arch": arch_label(arch),
                        "loss": loss,
                        "layer": one.name,
                        "place": "first" if place == 0 else "last" if place == len(before) - 1 else "inner",
                        "activation_exponent": math.log(other.activation_rms / one.activation_rms) / math.log(factor),
                        "gradient_exponent": math.log(other.gradient_norm / one.gradient_norm) / math.log(factor),
                    }
                )
    return rows


@measurement
def layers_by_scheme(
    *,
    data: dict[str, Any],
    arch: dict[str, Any],
    norms: Sequence[str] = ("raw", "unit", "centered", "dataset"),
    images: int = 256,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Activations and gradients of every layer at initialization, with the same weights under every scheme.

    Returns:
        A row for each scheme and layer: ``input_rms`` of the normalized images; ``activation_rms`` of the layer's
        output and ``gradient_norm`` of the cross-entropy in its weights and biases, on one batch, float64.
    """
    loaded = dataset(**data)
    rows = []
    for name in norms:
        scheme = fitted(loaded, name)
        x = normalized(scheme, loaded.train.images[:images])
        body = network_at_start(loaded, scheme, arch, seed).body.double()
        rows += [
            {
                "data": data_label(data),
                "arch": arch_label(arch),
                "norm": name,
                "layer": layer.name,
                "input_rms": x.square().mean().sqrt().item(),
                "activation_rms": layer.activation_rms,
                "gradient_norm": layer.gradient_norm,
            }
            for layer in layer_statistics(body, F.cross_entropy, x, loaded.train.labels[:images])
        ]
    return rows


@measurement
def output_variances(
    *,
    data: dict[str, Any],
    archs: Sequence[dict[str, Any]],
    norms: Sequence[str] = ("raw", "unit", "centered", "inception", "imagenet", "dataset", "feature"),
    draws: int = 10,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """The variance of the first layer's output over draws of its initial weights, versus three predictions.

    A layer with weights of mean 0 and variance v has the output variance v * sum E[x^2] over the inputs it sees (He et
    al. 2015, eq. 5, with E[x^2] for each input). ``second_moment`` predicts with the scheme's own E[x^2], ``variance``
    with the variance of the pixels of a channel instead, and ``unit`` with 1, for which the rules of initialization are
    derived.

    Returns:
        A row for each architecture and scheme: ``measured``, the mean over draws of the mean square over images,
        units and places; ``to_second_moment``, ``to_variance`` and ``to_unit``, ``measured`` divided by each
        prediction, with 95% intervals over draws (Student's t) in the columns ``_low`` and ``_high``; ``times_off``,
        how many times ``measured`` is larger or smaller than the ``unit`` prediction.
    """
    loaded = dataset(**data)
    rows = []
    for name in norms:
        scheme = fitted(loaded, name)
        x = normalized(scheme, loaded.train.images)
        seen = x.square().mean(0)
        spread = x.var((0, 2, 3), correction=0)[:, None, None].expand_as(seen)
        for arch in archs:
            quotients: dict[str, list[float]] = {"to_second_moment": [], "to_variance": [], "to_unit": []}
            measured = []
            for draw in range(draws):
                layer = first_layer(network_at_start(loaded, scheme, arch, seed + draw).body.double())
                assert isinstance(layer, nn.Linear | nn.Conv2d)
                with torch.no_grad():
                    output = layer(x.flatten(1) if isinstance(layer, nn.Linear) else x)
                measured.append(output.square().mean().item())
                for key, moments in zip(quotients, (seen, spread, torch.ones_like(seen)), strict=True):
                    quotients[key].append(measured[-1] / predicted_output_variance(layer, moments))
            unit = sum(quotients["to_unit"]) / draws
            row = {"data": data_label(data), "arch": arch_label(arch), "norm": name, "draws": draws}
            row |= {"measured": sum(measured) / draws}
            for key, values in quotients.items():
                interval = mean_interval(values)
                row |= {key: interval.estimate, f"{key}_low": interval.low, f"{key}_high": interval.high}
            rows.append({**row, "times_off": max(unit, 1 / unit)})
    return rows
