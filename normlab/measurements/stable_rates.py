"""The largest learning rate at which full-batch descent is stable, measured and predicted: claims A11 and C12.

A rate counts as unstable if the training loss is not finite, or larger than at the start: for the linear model after
the last step, because with momentum the loss may rise at first and still converge; for a network after any step,
because the loss may rise far, and end low only because the hidden units are dead.

Each run writes its record, so a measurement continues after an interruption.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from normlab import record
from normlab.config import choices, compose, data_label, defaults
from normlab.errors import DataError, NormlabError
from normlab.measurements.registry import measurement
from normlab.norms import Affine, normalization
from normlab.record import Curve
from normlab.theory.stability import largest_stable_rate, stable_rate

PROBED = 2000  # largest number of training images for a network's Hessian


@measurement
def stable_rates(
    *,
    data: dict[str, Any],
    arch: dict[str, Any],
    norms: Sequence[str],
    momenta: Sequence[float],
    steps: int,
    resolution: float,
    seeds: Sequence[int] = (0,),
) -> list[dict[str, Any]]:
    """The largest stable rate, by bisection on real runs and predicted by the curvature at the start.

    Args:
        data: name and options of the data set.
        arch: name and options of the architecture.
        norms: schemes.
        momenta: of heavy ball.
        steps: of each run.
        resolution: relative, of the bisection.
        seeds: of the initial weights.

    Returns:
        A row for each seed, scheme and momentum: data, arch, seed, and the columns of :func:`measured_rate`.
        ``ratio_low`` and ``ratio_high`` are the ends of the bracket divided by the prediction: the highest stable rate
        and the lowest unstable rate.
    """
    groups = {"data": {**defaults("data", data["name"]), **data}, "arch": {**defaults("arch", arch["name"]), **arch}}
    about = {"data": data_label(groups["data"]), "arch": arch["name"]}
    return [
        {
            **about,
            "seed": seed,
            **row,
            "ratio_low": row["stable_at"] / row["predicted"],
            "ratio_high": row["unstable_at"] / row["predicted"],
        }
        for seed in seeds
        for row in measured_rates(norms, momenta, groups, steps, resolution, seed)
    ]


def affine_schemes() -> list[str]:
    """Schemes that are a fixed scale and shift."""
    return [name for name in choices("norm") if isinstance(normalization(name), Affine)]


def measured_rates(
    names: Sequence[str],
    momenta: Sequence[float],
    groups: dict[str, Any],
    steps: int,
    resolution: float,
    seed: int,
) -> list[dict[str, Any]]:
    """A row for each scheme and momentum, see :func:`measured_rate`; a line on stderr for a scheme without one.

    Raises:
        DataError: if no scheme has a row.
    """
    from tqdm import tqdm

    pairs = [(name, momentum) for name in names for momentum in momenta]
    rows = []
    for name, momentum in tqdm(pairs, desc="stable rates", disable=not sys.stderr.isatty(), leave=False):
        try:
            rows.append(measured_rate(name, momentum, groups, steps, resolution, seed))
        except (NormlabError, ValueError) as error:
            print(f"{name}: {error}", file=sys.stderr)
    if not rows:
        raise DataError("no scheme could be measured")
    return rows


def measured_rate(
    name: str, momentum: float, groups: dict[str, Any], steps: int, resolution: float, seed: int
) -> dict[str, Any]:
    """The prediction for one scheme from a run of one step, and the bisection.

    Args:
        name: of the scheme.
        momentum: of heavy ball.
        groups: the values of data and arch.
        steps: of each run.
        resolution: relative, of the bisection.
        seed: of the initial weights.

    Returns:
        ``scheme``, ``momentum``, ``lambda_max``, at the start; ``predicted``, 2 (1 + momentum) / lambda_max;
        ``stable_at`` and ``unstable_at``, the ends of the bracket; ``measured``, the middle between them;
        ``ratio``, ``measured`` divided by ``predicted``; ``runs``, the number of runs.
    """
    first = run_record(name, momentum, groups, rate=1e-12, steps=1, seed=seed, probe=True)
    lambda_max = first["metrics"].get("lambda_max", first["metrics"]["lambda_max_at"]["0"])
    predicted = stable_rate(lambda_max, momentum)
    runs = 0

    def stable(rate: float) -> bool:
        nonlocal runs
        runs += 1
        result = run_record(name, momentum, groups, rate, steps, seed)
        if result["status"] == "diverged":
            return False
        rows = Curve.read(Path(result["path"]) / "curve.csv")
        losses = [row.value for row in rows if row.split == "train" and row.metric == "loss"]
        return (losses[-1] if groups["arch"]["name"] == "linear" else max(losses)) <= losses[0]

    low, high = largest_stable_rate(stable, predicted, resolution)
    middle = math.sqrt(low * high)
    return {
        "scheme": name,
        "momentum": momentum,
        "lambda_max": lambda_max,
        "predicted": predicted,
        "stable_at": low,
        "unstable_at": high,
        "measured": middle,
        "ratio": middle / predicted,
        "runs": runs,
    }


def run_record(
    name: str, momentum: float, groups: dict[str, Any], rate: float, steps: int, seed: int, probe: bool = False
) -> dict[str, Any]:
    """The record of one run of the harness; the run is made unless it has a record."""
    from normlab.run import run  # here, because it imports Lightning, which most measurements do not need

    # One more step, because the loss at step k is the loss of the weights after k updates.
    trainer = {"name": "default", "max_epochs": steps + 1, "eval_every_epochs": steps + 1, "checkpoint": False}
    if probe:
        trainer |= {"probe_steps": [0], "probe_images": PROBED}
    optim = {"name": "gd", "lr": rate, "momentum": momentum}
    config = compose("stability", seed, norm=name, optim=optim, trainer=trainer, **groups)
    result = record.existing(config) or run(config, progress="none")
    return result | {"path": str(record.folder(config))}
