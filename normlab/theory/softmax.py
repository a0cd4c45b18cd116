"""The Hessian of the linear model with softmax and cross-entropy."""

from __future__ import annotations

import torch
from torch import Tensor

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
