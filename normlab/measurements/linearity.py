"""Whether a network behaves linearly over a step of gradient descent: claim C12.

A step of gradient descent from weights w changes the loss by -eta |g|^2 to first order, and by -eta |g|^2 +
eta^2 g'Hg / 2 to second (Nocedal & Wright 2006, "Numerical Optimization", theorem 2.1), where g and H are gradient and
Hessian of the loss.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from normlab.config import PositiveFloat, PositiveInt
from normlab.measurements.registry import measurement
from normlab.measurements.start_curvature import starts
from normlab.theory.curvature import Curvature, training_copy
from normlab.theory.stability import stable_rate


@measurement
def linearized_steps(
    *,
    data: dict[str, Any],
    archs: Sequence[dict[str, Any]],
    norms: Sequence[str],
    rates: Sequence[PositiveFloat] = (0.01, 0.1, 0.5, 1.0),
    images: PositiveInt = 512,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
) -> list[dict[str, Any]]:
    """The change of the loss by one step of full-batch descent, versus the linear and the quadratic prediction.

    Columns: ``data``, ``arch``, ``norm``, ``seed``; ``rate``, eta in units of 2/lambda_max, the largest stable rate
    of a quadratic loss; ``change``, of the loss; ``first_order`` and ``second_order``, predicted changes;
    ``first_order_error`` and ``second_order_error``, their distance from ``change``, divided by its absolute value.

    Args:
        data: options of :func:`normlab.dataset`.
        archs: name and options of each network.
        norms: schemes.
        rates: eta over 2/lambda_max.
        images: number of images in the batch.
        seeds: of the initial weights.

    Raises:
        DataError: if the images are missing.
    """
    rows = []
    for about, body, x, labels in starts(data, archs, norms, images, seeds):
        limit = stable_rate(Curvature(body, F.cross_entropy, x, labels).lambda_max())
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
