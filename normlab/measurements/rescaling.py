"""Inputs times s, first weights over s, first learning rate over s^2: the same function at every step of SGD.

Claims RS1 to RS4.

With h = W x, W' = W / s and x' = s x give the same h. The gradient in W' is s times the gradient in W. So a step of
rate eta / s^2 in W' is the step of rate eta in W divided by s: the functions stay the same, with or without momentum.
Adam divides the gradient by its own size, so for Adam the rate is divided by s, not by s^2 (up to its eps).
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from normlab.config import Config, PositiveFloat, PositiveInt, compose, data_label
from normlab.measurements.registry import measurement

Compensated = Literal["nothing", "weights", "rate", "both"]
LEARNING_RATES = {"sgd": 0.01, "adam": 0.001}  # the defaults of configs/optim/


@measurement
def traced_functions(
    *,
    data: dict[str, Any],
    archs: Sequence[dict[str, Any]],
    scale: PositiveFloat = 4.0,
    epochs: PositiveInt = 2,
    precision: Literal["32", "64"] = "32",
    seed: int = 0,
) -> list[dict[str, Any]]:
    """The loss curves of runs of the harness with inputs u - 0.5, versus runs with ``scale`` times these inputs.

    Columns: ``data``, ``arch``, ``optim``; ``compensated``, what compensates for the larger inputs in the first layer:
    ``nothing``, its initial ``weights`` over s, its learning ``rate`` over s^2 (over s for Adam), or ``both``;
    ``steps``; ``largest_gap``, the largest difference of the two training losses at one step, divided by the loss;
    ``last_gap``, the same for the validation losses at the end. Infinite if only one of the two runs diverged.

    Args:
        data: options of :func:`normlab.dataset`.
        archs: name and options of each network.
        scale: s. A power of two is exact in floating point; another differs by rounding.
        epochs: of each run.
        precision: of the network.
        seed: of weights and batches.

    Raises:
        DataError: if the images are missing.
    """
    rows = []
    for arch in archs:
        for optim, lr in LEARNING_RATES.items():
            small = _losses(_config(data, arch, optim, lr, 1.0, 1.0, 1.0, epochs, precision, seed))
            for compensated in get_args(Compensated):
                weights = 1 / scale if compensated in ("weights", "both") else 1.0
                rate = scale ** (-2 if optim == "sgd" else -1) if compensated in ("rate", "both") else 1.0
                large = _losses(_config(data, arch, optim, lr, 1 / scale, weights, rate, epochs, precision, seed))
                train, validation = (gaps(small[split], large[split]) for split in ("train", "validation"))
                rows.append(
                    {
                        "data": data_label(data),
                        "arch": arch["name"],
                        "optim": optim,
                        "compensated": compensated,
                        "steps": len(train),
                        "largest_gap": max(train),
                        "last_gap": validation[-1],
                    }
                )
    return rows


def gaps(first: Sequence[float], second: Sequence[float]) -> list[float]:
    """Relative distances of two curves at each step; infinite where a curve has ended or is not finite.

    >>> gaps([2.0, 1.0], [2.0, 1.5]), gaps([1.0, math.inf], [1.0])
    ([0.0, 0.5], [0.0, inf])
    """
    distances = []
    for place in range(max(len(first), len(second))):
        one, other = (curve[place] if place < len(curve) else math.nan for curve in (first, second))
        distances.append(abs(other - one) / abs(one) if math.isfinite(one) and math.isfinite(other) else math.inf)
    return distances


def _config(
    data: dict[str, Any],
    arch: dict[str, Any],
    optim: str,
    lr: float,
    std: float,
    weights: float,
    rate: float,
    epochs: int,
    precision: str,
    seed: int,
) -> Config:
    return compose(
        "rescaling",
        seed,
        data=data,
        norm={"name": "centered", "std": std},
        arch={**arch, "first_layer_scale": weights},
        optim={"name": optim, "lr": lr, "first_layer_lr": rate},
        trainer={"name": "default", "max_epochs": epochs, "precision": precision, "checkpoint": False, "targets": []},
    )


def _losses(config: Config) -> dict[str, list[float]]:
    """Training and validation losses of a run, whose folder is temporary."""
    from normlab.record import Curve
    from normlab.run import run  # here, because it imports Lightning, which most measurements do not need

    with tempfile.TemporaryDirectory() as folder:
        result = run(config.model_copy(update={"runs": Path(folder)}), progress="none")
        rows = Curve.read(Path(result["path"]) / "curve.csv")
    return {
        split: [row.value for row in rows if row.split == split and row.metric == "loss"]
        for split in ("train", "validation")
    }
