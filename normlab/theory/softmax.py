"""The Hessian of the linear model with softmax and cross-entropy."""

from __future__ import annotations

import torch
from torch import Tensor

MAX_SIZE = 8192  # side of a dense Hessian


def class_factor(p: Tensor, scaled: bool = False) -> Tensor:
    """The part of one sample's softmax Hessian between its logits, [C, C].

    diag(p) - p p' (Bishop 2006, eq. 4.106), which is symmetric and has the row sums 0. ``scaled`` gives the product
    diag(p) (I - p p') instead, which has neither property: its entry ij is p_i (1[i = j] - p_i p_j).

    >>> class_factor(torch.tensor([0.5, 0.5]))
    tensor([[ 0.2500, -0.2500],
            [-0.2500,  0.2500]])
    >>> class_factor(torch.tensor([0.5, 0.5]), scaled=True)
    tensor([[ 0.3750, -0.1250],
            [-0.1250,  0.3750]])

    Args:
        p: probabilities of one sample, [C].
        scaled: True for diag(p) (I - p p'), False for diag(p) - p p'.
    """
    outer = torch.outer(p, p)
    return torch.diag(p) @ (torch.eye(len(p), dtype=p.dtype) - outer) if scaled else torch.diag(p) - outer


def softmax_hessian(weights: Tensor, inputs: Tensor, scaled: bool = False) -> Tensor:
    """Hessian of the mean cross-entropy of softmax(W x) in W, at any weights.

    H = (1/N) sum A kron x x' with A of :func:`class_factor` at p = softmax(W x) (Bishop 2006, "Pattern Recognition and
    Machine Learning", eq. 4.110): the Jacobian of a sample's logits in W.flatten() is J = I kron x', and J' A J is
    A kron x x'. The labels do not enter. At zero weights every p is 1/C, and H is (1/C)(I - 11'/C) kron E[x x'].

    >>> softmax_hessian(torch.zeros(2, 1), torch.tensor([[2.0]]))  # (1/2)(I - 11'/2) kron 4
    tensor([[ 1., -1.],
            [-1.,  1.]])

    Args:
        weights: W, [C, D].
        inputs: x, [N, D]; with a column of ones if the model has a bias.
        scaled: take the other class factor, whose result is not the Hessian.

    Returns:
        [C D, C D], with the weights in the order of ``W.flatten()``, in the inputs' type.

    Raises:
        ValueError: if the matrix would have more than MAX_SIZE rows.
    """
    classes, features = weights.shape
    if classes * features > MAX_SIZE:
        raise ValueError(f"{classes} classes x {features} features: a dense Hessian holds {MAX_SIZE} rows at most")
    factors = torch.stack([class_factor(p, scaled) for p in torch.softmax(inputs @ weights.T, 1)])
    hessian = torch.einsum("nij,nd,ne->idje", factors, inputs, inputs) / len(inputs)
    return hessian.reshape(classes * features, classes * features)
