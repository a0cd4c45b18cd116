"""Whether a network behaves linearly over a step, and what its curvature at the start says of its learning rate.

A step of gradient descent from weights w changes the loss by -eta |g|^2 to first order, and by -eta |g|^2 +
eta^2 g'Hg / 2 to second (Nocedal & Wright 2006, "Numerical Optimization", theorem 2.1), where g and H are gradient and
Hessian of the loss.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from normlab.analysis.curvature import Curvature, training_copy
from normlab.archs import Network
from normlab.config import NonNegativeFloat, PositiveFloat, PositiveInt, choose, data_label
from normlab.data import Loader, dataset
from normlab.norms import normalization


def start_curvature(
    *,
    data: dict[str, Any],
    archs: Sequence[dict[str, Any]],
    norms: Sequence[str],
    momentum: NonNegativeFloat = 0.9,
    images: PositiveInt = 512,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
) -> list[dict[str, Any]]:
    """The largest eigenvalue of the loss's Hessian at the start, and the learning rate that it would allow a quadratic.

    Columns: ``data``, ``arch``, ``norm``, ``seed``, the options of the architecture by name; ``lambda_max``, of the
    mean cross-entropy over ``images`` training images; ``stable_rate``, 2 (1 + momentum) / lambda_max (Polyak 1964).

    Args:
        data: options of :func:`normlab.dataset`.
        archs: name and options of each network.
        norms: schemes.
        momentum: of heavy ball.
        images: that the Hessian is taken over.
        seeds: of the initial weights.

    Raises:
        DataError: if the images are missing.
    """
    rows = []
    for about, body, x, labels in _starts(data, archs, norms, images, seeds):
        lambda_max = Curvature(body, F.cross_entropy, x, labels).lambda_max()
        rows.append({**about, "lambda_max": lambda_max, "stable_rate": 2 * (1 + momentum) / lambda_max})
    return rows


def linearized_steps(
    *,
    data: dict[str, Any],
    archs: Sequence[dict[str, Any]],
    norms: Sequence[str],
    rates: Sequence[PositiveFloat] = (0.01, 0.1, 0.5, 1.0),
    images: PositiveInt = 512,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
) -> list[dict[str, Any]]:
    """What one step of full-batch descent from the start does to the loss, beside the linear and quadratic prediction.

    Columns: ``data``, ``arch``, ``norm``, ``seed``; ``rate``, eta in units of 2/lambda_max, the most that is stable
    where the loss is quadratic; ``change``, of the loss; ``first_order`` and ``second_order``, predicted changes;
    ``first_order_error`` and ``second_order_error``, their distance from the change over its absolute value.

    Args:
        data: options of :func:`normlab.dataset`.
        archs: name and options of each network.
        norms: schemes.
        rates: eta over 2/lambda_max.
        images: in the batch.
        seeds: of the initial weights.

    Raises:
        DataError: if the images are missing.
    """
    rows = []
    for about, body, x, labels in _starts(data, archs, norms, images, seeds):
        limit = 2 / Curvature(body, F.cross_entropy, x, labels).lambda_max()
        body = training_copy(body).double()  # the change of the loss is a small difference
        x = x.double()
        curvature = Curvature(body, F.cross_entropy, x, labels)
        before = F.cross_entropy(body(x), labels)
        gradients = torch.autograd.grad(before, list(body.parameters()))
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        squared = (flat @ flat).item()
        bend = (flat @ curvature.product(flat)).item()
        for rate in rates:
            eta = rate * limit
            change = _loss_after(body, gradients, eta, x, labels) - before.item()
            first = -eta * squared
            second = first + 0.5 * eta**2 * bend
            rows.append(
                {
                    **about,
                    "rate": rate,
                    "change": change,
                    "first_order": first,
                    "second_order": second,
                    "first_order_error": abs(first - change) / abs(change),
                    "second_order_error": abs(second - change) / abs(change),
                }
            )
    return rows


def _loss_after(body: nn.Module, gradients: Sequence[Tensor], eta: float, x: Tensor, labels: Tensor) -> float:
    moved = copy.deepcopy(body)
    with torch.no_grad():
        for parameter, gradient in zip(moved.parameters(), gradients, strict=True):
            parameter.sub_(gradient, alpha=eta)
        return F.cross_entropy(moved(x), labels).item()


def _starts(
    data: dict[str, Any],
    archs: Sequence[dict[str, Any]],
    norms: Sequence[str],
    images: int,
    seeds: Sequence[int],
) -> Iterator[tuple[dict[str, Any], nn.Module, Tensor, Tensor]]:
    """Every network at its start: what it is, its body, normalized images [B, C, H, W] and labels [B]."""
    loaded = dataset(**data)
    batch, labels = next(iter(Loader(loaded.train, min(images, len(loaded.train)), shuffle_seed=0)))
    for name in norms:
        norm = normalization(name).fit(loaded.training_images())
        with torch.no_grad():
            x = norm(batch)
        for arch in archs:
            options = {key: value for key, value in arch.items() if key != "name"}
            for seed in seeds:
                torch.manual_seed(seed)
                network = Network(norm, choose("arch", **arch), loaded.shape, loaded.classes)
                about = {"data": data_label(data), "arch": arch["name"], "norm": name, "seed": seed, **options}
                yield about, network.body, x, labels
