"""The curvature of the loss at the start and the learning rate that it allows, for the studies that sweep rates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from normlab.config import NonNegativeFloat, PositiveInt, data_label
from normlab.data import dataset
from normlab.measurements.registry import measurement
from normlab.measurements.starts import first_batch, fitted, network_at_start
from normlab.theory.curvature import Curvature
from normlab.theory.stability import stable_rate


@measurement
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
    for about, body, x, labels in starts(data, archs, norms, images, seeds):
        lambda_max = Curvature(body, F.cross_entropy, x, labels).lambda_max()
        rows.append({**about, "lambda_max": lambda_max, "stable_rate": stable_rate(lambda_max, momentum)})
    return rows


def starts(
    data: dict[str, Any],
    archs: Sequence[dict[str, Any]],
    norms: Sequence[str],
    images: int,
    seeds: Sequence[int],
) -> Iterator[tuple[dict[str, Any], nn.Module, Tensor, Tensor]]:
    """Every network at its start: what it is, its body, normalized images [B, C, H, W] and labels [B]."""
    loaded = dataset(**data)
    batch, labels = first_batch(loaded, images)
    for name in norms:
        norm = fitted(loaded, name)
        with torch.no_grad():
            x = norm(batch)
        for arch in archs:
            options = {key: value for key, value in arch.items() if key != "name"}
            for seed in seeds:
                network = network_at_start(loaded, norm, arch, seed)
                about = {"data": data_label(data), "arch": arch["name"], "norm": name, "seed": seed, **options}
                yield about, network.body, x, labels
