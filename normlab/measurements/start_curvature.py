"""The curvature of the loss at the start and the learning rate that it allows, for studies that sweep rates."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from normlab.archs.layers import first_layer
from normlab.archs.losses import LOSSES
from normlab.config import Arch, NonNegativeFloat, PositiveInt, data_label
from normlab.data import Dataset, dataset
from normlab.errors import NormlabError
from normlab.measurements.registry import measurement
from normlab.measurements.starts import first_batch, fitted, network_at_start
from normlab.theory.activations import layer_statistics, predicted_output_variance, second_moments
from normlab.theory.curvature import Curvature
from normlab.theory.stability import stable_rate


@measurement
def start_curvature(
    *,
    data: dict[str, Any],
    archs: Sequence[dict[str, Any]],
    norms: Sequence[str],
    momentum: NonNegativeFloat = 0.9,
    images: PositiveInt = 512,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
) -> list[dict[str, Any]]:
    """The largest eigenvalue of the loss's Hessian at the start, and the stable learning rate of a quadratic loss.

    Columns: ``data``, ``arch``, ``norm``, ``seed``, the options of the architecture by name; ``lambda_max``, of the
    mean cross-entropy over ``images`` training images; ``stable_rate``, 2 (1 + momentum) / lambda_max (Polyak 1964).

    Args:
        data: options of :func:`normlab.dataset`.
        archs: name and options of each network.
        norms: schemes.
        momentum: of heavy ball.
        images: number of images for the Hessian.
        seeds: of the initial weights.

    Raises:
        DataError: if the images are missing.
    """
    rows = []
    for about, body, x, labels in starts(data, archs, norms, images, seeds):
        lambda_max = Curvature(body, F.cross_entropy, x, labels).lambda_max()
        rows.append({**about, "lambda_max": lambda_max, "stable_rate": stable_rate(lambda_max, momentum)})
    return rows


def starts(
    data: dict[str, Any],
    archs: Sequence[dict[str, Any]],
    norms: Sequence[str],
    images: int,
    seeds: Sequence[int],
) -> Iterator[tuple[dict[str, Any], nn.Module, Tensor, Tensor]]:
    """Every network at its start: labels of the row, body, normalized images [B, C, H, W] and labels [B]."""
    loaded = dataset(**data)
    batch, labels = first_batch(loaded, images)
    for name in norms:
        norm = fitted(loaded, name)
        with torch.no_grad():
            x = norm(batch)
        for arch in archs:
            options = {key: value for key, value in arch.items() if key != "name"}
            for seed in seeds:
                network = network_at_start(loaded, norm, arch, seed)
                about = {"data": data_label(data), "arch": arch["name"], "norm": name, "seed": seed, **options}
                yield about, network.body, x, labels


Look = tuple[dict[str, Any], list[dict[str, Any]], tuple[list[float], list[float]] | None]


def networks_at_start(
    data: Dataset, arch: Arch, names: Sequence[str], images: int, seed: int, density: bool
) -> Iterator[tuple[str, Look | str]]:
    """Each scheme with its numbers, or with the reason for none."""
    from tqdm import tqdm

    for name in tqdm(names, desc="schemes", disable=not sys.stderr.isatty(), leave=False):
        try:
            yield name, measure_start(name, data, arch, images, seed, density)
        except NormlabError as error:
            yield name, str(error)


def measure_start(name: str, data: Dataset, arch: Arch, images: int, seed: int, density: bool) -> Look:
    """The numbers of one scheme, of its layers, and its spectral density."""
    norm = fitted(data, name)
    network = network_at_start(data, norm, arch, seed)
    batch, labels = first_batch(data, images)
    with torch.no_grad():
        inputs = norm(batch)
    loss = LOSSES[arch.loss]
    layers = [vars(one) for one in layer_statistics(network.body, loss, inputs, labels)]
    layer = first_layer(network.body)
    assert isinstance(layer, nn.Linear | nn.Conv2d)
    predicted = math.sqrt(predicted_output_variance(layer, second_moments([batch], norm)))
    measured = layers[0]["activation_rms"]
    curvature = Curvature(network.body, loss, inputs, labels)
    lambda_max, (trace, trace_error) = curvature.lambda_max(), curvature.trace()
    row = {
        "parameters": curvature.size,
        "lambda_max": lambda_max,
        "stable_rate": stable_rate(lambda_max),
        "trace": trace,
        "trace_standard_error": trace_error,
        "input_rms": inputs.double().square().mean().sqrt().item(),
        "first_layer_rms_predicted": predicted,
        "first_layer_rms_measured": measured,
        "first_layer_gradient_norm": layers[0]["gradient_norm"],
        "first_layer_gradient_spread": layers[0]["gradient_spread"],
        "last_layer_rms": layers[-1]["activation_rms"],
        "last_layer_gradient_norm": layers[-1]["gradient_norm"],
    }
    if not density:
        return row, layers, None
    grid, heights = curvature.density()
    return row, layers, (grid.tolist(), heights.tolist())
