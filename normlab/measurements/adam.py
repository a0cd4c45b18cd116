"""The spread of a network's squared gradients at the start, which Adam evens out: claim C20."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from normlab.config import data_label
from normlab.data import dataset
from normlab.measurements.registry import measurement
from normlab.measurements.starts import arch_label, fitted, network_at_start, normalized
from normlab.theory.curvature import training_copy


@measurement
def gradient_spreads(
    *,
    data: dict[str, Any],
    archs: Sequence[dict[str, Any]],
    norms: Sequence[str] = ("raw", "unit", "centered", "dataset"),
    images: int = 512,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
) -> list[dict[str, Any]]:
    """Over how many decades the squared gradients of a network's weights spread at the start, and where they lie.

    Adam divides by the root of g^2 plus eps = 1e-8 (Kingma & Ba 2015, algorithm 1). So for Adam the spread matters, and
    whether the gradients are far above eps.

    Columns: ``data``, ``arch``, ``norm``, ``seed``; ``decades``, from the 5th to the 95th percentile of g^2 over all
    weights whose gradient is not 0; ``median_g``, the root of their median; ``zero``, the share whose gradient is 0.

    Args:
        data: options of :func:`normlab.dataset`.
        archs: name and options of each network.
        norms: schemes.
        images: number of images in the batch.
        seeds: of the initial weights.

    Raises:
        DataError: if the images are missing.
    """
    loaded, rows = dataset(**data), []
    for name in norms:
        scheme = fitted(loaded, name)
        x, labels = normalized(scheme, loaded.train.images[:images]), loaded.train.labels[:images]
        for arch in archs:
            for seed in seeds:
                body = training_copy(network_at_start(loaded, scheme, arch, seed).body.double())
                F.cross_entropy(body(x), labels).backward()
                g = torch.cat([p.grad.flatten() for p in body.parameters() if p.grad is not None and p.ndim > 1])
                squares = g[g != 0].square()
                low, middle, high = torch.quantile(_sample(squares), torch.tensor([0.05, 0.5, 0.95]).double()).tolist()
                rows.append(
                    {
                        "data": data_label(data),
                        "arch": arch_label(arch),
                        "norm": name,
                        "seed": seed,
                        "decades": math.log10(high / low),
                        "median_g": math.sqrt(middle),
                        "zero": (g == 0).double().mean().item(),
                    }
                )
    return rows


def _sample(values: Tensor, most: int = 1_000_000) -> Tensor:
    """Evenly spaced values, at most ``most``, because torch.quantile takes 16 million at most."""
    return values[:: max(1, -(-len(values) // most))]
