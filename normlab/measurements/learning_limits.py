"""The largest learning rate at which a network still learns, by bisection on short trainings: claim C04."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from normlab import record
from normlab.config import Fraction, PositiveFloat, PositiveInt, compose, data_label
from normlab.measurements.registry import measurement
from normlab.statistics.intervals import mean_interval
from normlab.theory.stability import largest_stable_rate


@measurement
def learning_limits(
    *,
    data: dict[str, Any],
    arch: dict[str, Any],
    optim: dict[str, Any],
    starts: Mapping[str, PositiveFloat],
    reference: str,
    epochs: PositiveInt,
    learns: Fraction,
    resolution: PositiveFloat,
    seeds: Sequence[int],
) -> list[dict[str, Any]]:
    """The largest rate at which a run at a constant rate learns, for each scheme, and the reference's divided by it.

    A run learns if it ends with finite weights and a validation accuracy of at least ``learns``. A seed has a split of
    its own. The rate of a seed is the geometric middle between the highest rate that learns and the lowest that does
    not. Each run writes its record, so a measurement continues after an interruption.

    Args:
        data: name and options of the data set.
        arch: name and options of the architecture.
        optim: name and options of the optimizer.
        starts: the schemes, and the rate at which the bisection of each begins for the first seed; a wrong one costs
            time only. The next seed begins at the rate of the one before.
        reference: one of the schemes.
        epochs: of each run.
        learns: the accuracy.
        resolution: relative, of the bisection.
        seeds: of the initial weights and of the split; two at least.

    Returns:
        A row for each scheme: data, the options of arch by name, arch, optim, norm, ``n`` seeds; ``rate``, the
        geometric mean of the seeds', with ``rate_low`` and ``rate_high``; ``ratio``, the reference's rate divided by
        it, seed by seed, with ``ratio_low`` and ``ratio_high``; ``runs``. The intervals are 95% intervals by Student's
        t of the logarithms.

    Raises:
        DataError: if the images are missing.
        ValueError: if a scheme learns at every rate, or at none, within a factor of 10^9 of where it begins.
    """
    from tqdm import tqdm

    pairs = [(name, seed) for name in starts for seed in seeds]
    limits: dict[str, list[float]] = {name: [] for name in starts}
    runs = dict.fromkeys(starts, 0)
    nearest = dict(starts)
    for name, seed in tqdm(pairs, desc="learning limits", disable=not sys.stderr.isatty(), leave=False):

        def is_learned(rate: float, name: str = name, seed: int = seed) -> bool:
            runs[name] += 1
            groups = {"data": {**data, "split_seed": seed}, "arch": arch, "norm": name}
            return _learns({**groups, "optim": {**optim, "lr": rate}}, epochs, learns, seed)

        # Widened by less than the resolution, so that two runs are enough where the guess is good.
        low, high = largest_stable_rate(is_learned, nearest[name], resolution, widen=1 + 0.99 * resolution)
        nearest[name] = math.sqrt(low * high)
        limits[name].append(math.log(nearest[name]))
    about = {"data": data_label(data), **{key: value for key, value in arch.items() if key != "name"}}
    return [
        {
            **about,
            "arch": arch["name"],
            "optim": optim["name"],
            "norm": name,
            "n": len(seeds),
            **_interval("rate", logs),
            **_interval("ratio", np.subtract(limits[reference], logs)),
            "runs": runs[name],
        }
        for name, logs in limits.items()
    ]


def _learns(groups: dict[str, Any], epochs: int, learns: float, seed: int) -> bool:
    """Whether one run of the harness learns; the run is made unless it has a record."""
    from normlab.run import run  # here, because it imports Lightning, which most measurements do not need

    trainer = {"name": "default", "max_epochs": epochs, "checkpoint": False}
    config = compose("learning_limits", seed, trainer=trainer, **groups)
    result = record.existing(config) or run(config, progress="none")
    return result["status"] == "finished" and result["metrics"]["validation_accuracy"] >= learns


def _interval(name: str, logs: Sequence[float] | np.ndarray) -> dict[str, float]:
    found = mean_interval(logs)
    return {name: math.exp(found.estimate), f"{name}_low": math.exp(found.low), f"{name}_high": math.exp(found.high)}
