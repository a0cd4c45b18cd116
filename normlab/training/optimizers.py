"""Optimizers and learning-rate schedules."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from normlab.archs import Network
from normlab.archs.layers import first_layer
from normlab.config import Adam, Optim


def build_optimizer(options: Optim, network: Network) -> torch.optim.Optimizer:
    """The optimizer of a configuration.

    The parameters of a learned normalization have no weight decay, which would pull the statistics towards 0 and 1
    and so distort the comparison.
    """
    groups: list[dict[str, Any]] = [{"params": list(network.body.parameters())}]
    if options.first_layer_lr != 1:
        assert not isinstance(options.lr, str)
        first = first_layer(network.body).weight
        others = [parameter for parameter in network.body.parameters() if parameter is not first]
        groups = [{"params": [first], "lr": options.lr * options.first_layer_lr}, {"params": others}]
    learned = list(network.norm.parameters())
    if learned:
        groups.append({"params": learned, "weight_decay": 0.0})
    common: dict[str, Any] = {"lr": options.lr, "weight_decay": options.weight_decay}
    if isinstance(options, Adam):
        kind = torch.optim.AdamW if options.name == "adamw" else torch.optim.Adam
        return kind(groups, betas=options.betas, eps=options.eps, **common)
    nesterov = getattr(options, "nesterov", False)
    return torch.optim.SGD(groups, momentum=options.momentum, nesterov=nesterov, **common)


def schedule(options: Optim, steps_per_epoch: int, total_steps: int) -> Callable[[int], float]:
    """Factor on the learning rate at step 0, 1, ...

    The warm-up is linear (Goyal et al. 2017, section 2.2) and its last step reaches the full rate; then the rate is
    constant, or falls to 0 as half a cosine (Loshchilov & Hutter 2017, eq. 5, without restarts).
    """
    warmup = round(options.warmup_epochs * steps_per_epoch)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        if options.schedule == "constant":
            return 1.0
        progress = (step - warmup) / max(1, total_steps - warmup)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))

    return factor
