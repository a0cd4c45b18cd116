"""The losses that an architecture may be trained with: ``arch.loss``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from normlab.errors import ConfigError
from normlab.inputs import Target

Loss = Callable[[Tensor, Tensor], Tensor]


def squared_error(scores: Tensor, labels: Tensor) -> Tensor:
    """Half the squared distance to the one-hot label, summed over outputs, averaged over images.

    Its Hessian in the weights of each output of a linear model is the second-moment matrix of the inputs.

    >>> squared_error(torch.tensor([[1.0, 0.0]]), torch.tensor([1]))
    tensor(1.)
    """
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))  # bfloat16 would round the loss to 8 bits
    return 0.5 * (scores - F.one_hot(labels, scores.shape[1]).to(scores.dtype)).square().sum(1).mean()


def distance(scores: Tensor, labels: Tensor, target: Target) -> Tensor:
    """Half the squared distance of a regression's output to (label - mean)/std, averaged over samples.

    >>> distance(torch.tensor([[1.0], [0.0]]), torch.tensor([30.0, 10.0]), Target(10.0, 20.0))
    tensor(0.)

    Args:
        scores: [B, 1].
        labels: [B], in the units of the data.
        target: mean and std; 0 and 1 where the target is not standardized.
    """
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    return 0.5 * (scores.squeeze(1) - target.standardized(labels)).square().mean()


LOSSES: dict[str, Loss] = {
    "cross_entropy": F.cross_entropy,
    "squared_error": squared_error,
}


def loss_of(name: str, target: Target | None) -> Loss:
    """The loss of an architecture's output, as a function of scores and labels.

    Args:
        name: of ``LOSSES``.
        target: of a regression; None for classes.

    Raises:
        ConfigError: for a regression under another loss than the squared error.
    """
    if target is None:
        return LOSSES[name]
    if name != "squared_error":
        raise ConfigError(f"arch.loss={name}: these data are a regression, whose loss is arch.loss=squared_error")
    return partial(distance, target=target)
