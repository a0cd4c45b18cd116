"""The losses that an architecture may be trained with: ``arch.loss``."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def squared_error(scores: Tensor, labels: Tensor) -> Tensor:
    """Half the squared distance to the one-hot label, summed over outputs, averaged over images.

    Its Hessian in the weights of each output of a linear model is the second-moment matrix of the inputs.

    >>> squared_error(torch.tensor([[1.0, 0.0]]), torch.tensor([1]))
    tensor(1.)
    """
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))  # bfloat16 would round the loss to 8 bits
    return 0.5 * (scores - F.one_hot(labels, scores.shape[1]).to(scores.dtype)).square().sum(1).mean()


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross_entropy": F.cross_entropy,
    "squared_error": squared_error,
}
