"""The curvature of the loss at the start and the learning rate that it allows, for the studies that sweep rates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from normlab.archs import Network
from normlab.arguments import data_label
from normlab.config import NonNegativeFloat, PositiveInt, choose
from normlab.data import Loader, dataset
from normlab.measurements.registry import measurement
from normlab.norms import normalization
from normlab.theory.curvature import Curvature


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
    for about, body, x, labels in _starts(data, archs, norms, images, seeds):
        lambda_max = Curvature(body, F.cross_entropy, x, labels).lambda_max()
        rows.append({**about, "lambda_max": lambda_max, "stable_rate": 2 * (1 + momentum) / lambda_max})
    return rows


def _starts(
    data: dict[str, Any],
    archs: Sequence[dict[str, Any]],
    norms: Sequence[str],
    images: int,
    seeds: Sequence[int],
) -> Iterator[tuple[dict[str, Any], nn.Module, Tensor, Tensor]]:
    """Every network at its start: what it is, its body, normalized images [B, C, H, W] and labels [B]."""
    loaded = dataset(**data)
    batch, labels = next(iter(Loader(loaded.train, min(images, len(loaded.train)), shuffle_seed=0)))
    for name in norms:
        norm = normalization(name).fit(loaded.training_images())
        with torch.no_grad():
            x = norm(batch)
        for arch in archs:
            options = {key: value for key, value in arch.items() if key != "name"}
            for seed in seeds:
                torch.manual_seed(seed)
                network = Network(norm, choose("arch", **arch), loaded.shape, loaded.classes)
                about = {"data": data_label(data), "arch": arch["name"], "norm": name, "seed": seed, **options}
                yield about, network.body, x, labels
