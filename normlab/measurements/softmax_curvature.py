"""Two formulas for the Hessian of softmax and cross-entropy, against automatic differentiation: claim A13."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from normlab.config import data_label
from normlab.data import dataset
from normlab.measurements.registry import measurement
from normlab.measurements.starts import fitted, normalized
from normlab.theory.softmax import MAX_SIZE, softmax_hessian


@measurement
def hessian_candidates(
    *, data: dict[str, Any], norm: str = "dataset", weight_stds: Sequence[float] = (0.0, 0.1), seed: int = 0
) -> list[dict[str, Any]]:
    """Two formulas for the softmax Hessian against automatic differentiation in float64, on the linear model.

    Mean cross-entropy of softmax(W x) over training images, without bias, weights from N(0, weight_std^2). The
    Jacobian of a sample's logits in W.flatten() is J = I kron x', so that J' A J = A kron x x'.

    Returns:
        A row for each formula and weight_std: ``formula``, J' (diag(p) - p p') J or J' diag(p)(I - p p') J; ``error``,
        its distance from the Hessian by automatic differentiation, divided by the norm of that Hessian (Frobenius);
        ``asymmetry``, its distance from its own transpose, divided by its norm; ``eigenvalue_error``, the relative
        distance of the eigenvalues (of the symmetric part, if the matrix is not symmetric); ``lambda_max_ratio``, its
        largest eigenvalue divided by the true one; ``zero_eigenvalues``, the number of eigenvalues that are 0 up to
        rounding.

    Raises:
        ValueError: if the matrix would have more than MAX_SIZE rows.
    """
    loaded = dataset(**data)
    x = normalized(fitted(loaded, norm), loaded.train.images).flatten(1)
    labels, classes = loaded.train.labels, len(loaded.classes)
    if classes * x.shape[1] > MAX_SIZE:
        raise ValueError(f"{classes} classes x {x.shape[1]} features: a dense Hessian holds {MAX_SIZE} rows at most")
    rows = []
    for weight_std in weight_stds:
        generator = torch.Generator().manual_seed(seed)
        weights = weight_std * torch.randn(classes, x.shape[1], dtype=x.dtype, generator=generator)
        truth = _by_differentiation(weights, x, labels)
        true_values = torch.linalg.eigvalsh(truth)
        for formula, scaled in (("J' (diag(p) - p p') J", False), ("J' diag(p)(I - p p') J", True)):
            candidate = softmax_hessian(weights, x, scaled)
            values = torch.linalg.eigvalsh((candidate + candidate.T) / 2)
            rows.append(
                {
                    "data": data_label(data),
                    "images": len(x),
                    "classes": classes,
                    "weights": len(candidate),
                    "weight_std": weight_std,
                    "formula": formula,
                    "error": ((candidate - truth).norm() / truth.norm()).item(),
                    "asymmetry": ((candidate - candidate.T).norm() / candidate.norm()).item(),
                    "eigenvalue_error": ((values - true_values).norm() / true_values.norm()).item(),
                    "lambda_max_ratio": (values[-1] / true_values[-1]).item(),
                    "zero_eigenvalues": int((values.abs() < 1e-12 * values[-1]).sum()),
                }
            )
    return rows


def _by_differentiation(weights: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
    """Hessian of the mean cross-entropy in W.flatten(), computed row by row to save memory."""
    flat = weights.flatten().requires_grad_()
    loss = F.cross_entropy(inputs @ flat.reshape(weights.shape).T, labels)
    (gradient,) = torch.autograd.grad(loss, flat, create_graph=True)
    return torch.stack([torch.autograd.grad(part, flat, retain_graph=True)[0] for part in gradient])
