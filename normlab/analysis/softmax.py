"""The Hessian of the linear model with softmax and cross-entropy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from normlab.config import data_label
from normlab.data import dataset
from normlab.norms import normalization

MAX_SIZE = 8192  # side of a dense Hessian


def softmax_hessian(weights: Tensor, inputs: Tensor) -> Tensor:
    """Hessian of the mean cross-entropy of softmax(W x) in W, at any weights.

    H = (1/N) sum (diag(p) - p p') kron x x', with p = softmax(W x) (Bishop 2006, "Pattern Recognition and Machine
    Learning", eq. 4.110). The labels do not enter.

    >>> softmax_hessian(torch.zeros(2, 1), torch.tensor([[2.0]]))  # (1/2)(I - 11'/2) kron 4
    tensor([[ 1., -1.],
            [-1.,  1.]])

    Args:
        weights: W, [C, D].
        inputs: x, [N, D]; with a column of ones if the model has a bias.

    Returns:
        [C D, C D], with the weights in the order of ``W.flatten()``, in the inputs' type.

    Raises:
        ValueError: if the matrix would have more than MAX_SIZE rows.
    """
    classes, features = weights.shape
    if classes * features > MAX_SIZE:
        raise ValueError(f"{classes} classes x {features} features: a dense Hessian holds {MAX_SIZE} rows at most")
    p = torch.softmax(inputs @ weights.T, 1)  # [N, C]
    hessian = inputs.new_zeros(classes, features, classes, features)
    for i in range(classes):
        for j in range(i, classes):
            curvature = p[:, i] * (float(i == j) - p[:, j])  # [N], an entry of diag(p) - p p'
            block = (inputs * curvature[:, None]).T @ inputs / len(inputs)
            hessian[i, :, j, :] = hessian[j, :, i, :] = block
    return hessian.reshape(classes * features, classes * features)


def softmax_hessian_at_zero(second_moment: Tensor, classes: int) -> Tensor:
    """The same at zero weights, where every p is 1/C: (1/C)(I - 11'/C) kron S.

    Singular by construction: adding one vector to the weights of every class changes no probability.

    >>> softmax_hessian_at_zero(torch.tensor([[4.0]]), 2)
    tensor([[ 1., -1.],
            [-1.,  1.]])

    Args:
        second_moment: S = E[x x'], [D, D].
        classes: C.
    """
    centring = torch.eye(classes, dtype=second_moment.dtype) - 1 / classes
    return torch.kron(centring / classes, second_moment.contiguous())


def softmax_lambda_max_at_zero(lambda_max: float, classes: int) -> float:
    """Largest eigenvalue at zero weights, lambda_max(S) / C: the centring I - 11'/C has eigenvalues 1 and 0.

    >>> softmax_lambda_max_at_zero(4.0, 2)
    2.0
    """
    return lambda_max / classes if classes > 1 else 0.0


def class_factor(p: Tensor, scaled: bool = False) -> Tensor:
    """The part of one sample's softmax Hessian between its logits, [C, C].

    diag(p) - p p' (Bishop 2006, eq. 4.106), which is symmetric and has the row sums 0. ``scaled`` gives the product
    diag(p) (I - p p') instead, which is neither: its entry ij is p_i (1[i = j] - p_i p_j).

    >>> class_factor(torch.tensor([0.5, 0.5]))
    tensor([[ 0.2500, -0.2500],
            [-0.2500,  0.2500]])
    >>> class_factor(torch.tensor([0.5, 0.5]), scaled=True)
    tensor([[ 0.3750, -0.1250],
            [-0.1250,  0.3750]])

    Args:
        p: probabilities of one sample, [C].
        scaled: which of the two.
    """
    outer = torch.outer(p, p)
    return torch.diag(p) @ (torch.eye(len(p), dtype=p.dtype) - outer) if scaled else torch.diag(p) - outer


def hessian_candidates(
    *, data: dict[str, Any], norm: str = "dataset", weight_stds: Sequence[float] = (0.0, 0.1), seed: int = 0
) -> list[dict[str, Any]]:
    """Two formulas for the softmax Hessian against automatic differentiation in float64, on the linear model.

    Mean cross-entropy of softmax(W x) over training images, without bias, weights from N(0, weight_std^2). The
    Jacobian of a sample's logits in W.flatten() is J = I kron x', so that J' A J = A kron x x'.

    Returns:
        A row for each formula and weight_std: ``formula``, J' (diag(p) - p p') J or J' diag(p)(I - p p') J; ``error``,
        its distance from the Hessian by automatic differentiation over the norm of that (Frobenius), as is
        ``asymmetry``, of its distance from its own transpose; ``eigenvalue_error``, the same of the eigenvalues, those
        of a matrix that is not symmetric taken of its symmetric part; ``lambda_max_ratio``, its largest eigenvalue
        over the true one; ``zero_eigenvalues``, how many are 0 to rounding.

    Raises:
        ValueError: if the matrix would have more than MAX_SIZE rows.
    """
    loaded = dataset(**data)
    scheme = normalization(norm).fit(loaded.training_images()).double()
    with torch.no_grad():
        x = scheme(loaded.train.images).flatten(1)
    labels, classes = loaded.train.labels, len(loaded.classes)
    if classes * x.shape[1] > MAX_SIZE:
        raise ValueError(f"{classes} classes x {x.shape[1]} features: a dense Hessian holds {MAX_SIZE} rows at most")
    rows = []
    for weight_std in weight_stds:
        generator = torch.Generator().manual_seed(seed)
        weights = weight_std * torch.randn(classes, x.shape[1], dtype=x.dtype, generator=generator)
        truth = _by_differentiation(weights, x, labels)
        true_values = torch.linalg.eigvalsh(truth)
        p = torch.softmax(x @ weights.T, 1)
        for formula, scaled in (("J' (diag(p) - p p') J", False), ("J' diag(p)(I - p p') J", True)):
            factors = torch.stack([class_factor(one, scaled) for one in p])
            found = torch.einsum("nij,nd,ne->idje", factors, x, x).reshape(truth.shape) / len(x)
            values = torch.linalg.eigvalsh((found + found.T) / 2)
            rows.append(
                {
                    "data": data_label(data),
                    "images": len(x),
                    "classes": classes,
                    "weights": len(found),
                    "weight_std": weight_std,
                    "formula": formula,
                    "error": ((found - truth).norm() / truth.norm()).item(),
                    "asymmetry": ((found - found.T).norm() / found.norm()).item(),
                    "eigenvalue_error": ((values - true_values).norm() / true_values.norm()).item(),
                    "lambda_max_ratio": (values[-1] / true_values[-1]).item(),
                    "zero_eigenvalues": int((values.abs() < 1e-12 * values[-1]).sum()),
                }
            )
    return rows


def _by_differentiation(weights: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
    """Hessian of the mean cross-entropy in W.flatten(), a row at a time, so that nothing larger than it is held."""
    flat = weights.flatten().requires_grad_()
    loss = F.cross_entropy(inputs @ flat.reshape(weights.shape).T, labels)
    (gradient,) = torch.autograd.grad(loss, flat, create_graph=True)
    return torch.stack([torch.autograd.grad(part, flat, retain_graph=True)[0] for part in gradient])
