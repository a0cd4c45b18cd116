"""Measured stable rates: ``python -m normlab.stability data=NAME [arch=NAME] [norms=a,b] [momenta=0,0.9] [steps=N]``.

For every scheme the largest learning rate at which full-batch descent is stable is found by bisection on real runs, and
set beside what the curvature at the start predicts, 2 (1 + beta) / lambda_max (Polyak 1964).

A rate counts as unstable if the training loss is not finite, or larger than at the start: for the linear model after
``steps`` steps, because with momentum the loss may rise at first and yet converge; for a network at any of them,
because it may rise far, lose its hidden units and end low all the same.

Each run leaves its record, so a command that was stopped goes on where it was.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from pydantic import Field
from tabulate import tabulate

from normlab import record
from normlab.analysis.stability import largest_stable_rate
from normlab.commandline.arguments import answer_help, parsed
from normlab.config import NonNegativeInt, PositiveInt, Section, choices, compose, data_label, defaults
from normlab.errors import ConfigError, DataError, NormlabError, fail
from normlab.norms import Affine, normalization
from normlab.record import Curve
from normlab.report.origin import made_by
from normlab.run import run

PROBED = 2000  # training images at most, over which a network's Hessian is taken

Momentum = Annotated[float, Field(ge=0, lt=1)]


class Options(Section):
    """What the command takes besides the keys of data and arch."""

    norms: tuple[str, ...] | None = None  # None: all affine ones
    momenta: tuple[Momentum, ...] | None = None  # None: 0 and 0.9 for the linear model; a network takes 0 only
    steps: PositiveInt = 500
    resolution: Annotated[float, Field(gt=0, lt=1)] = 0.005  # relative
    seed: NonNegativeInt = 0
    out: Path | None = None  # None: runs/stability/DATA-ARCH


def main(arguments: list[str]) -> None:
    """Measure, print and save; a mistake ends as one line and status 2."""
    answer_help(arguments, __doc__)
    try:
        options, groups = parsed(arguments, Options, ("data", "arch"))
        groups.setdefault("arch", defaults("arch", "linear"))
        if groups["arch"]["name"] != "linear" and any(options.momenta or ()):
            raise ConfigError("momenta: only 0 for a network, whose loss may rise at first under momentum")
        arch, data = groups["arch"]["name"], data_label(groups["data"])
        out = options.out or Path("runs") / "stability" / f"{data}-{arch}"
        record.require_writable(out, "out")
        names = list(options.norms or affine_schemes())
        frame = pd.DataFrame(measure(names, groups, options))
    except NormlabError as error:
        fail(str(error))
    except KeyboardInterrupt:
        fail("interrupted; the same command goes on from here", status=130)
    save(out, frame, f"{arch} on {data}", arguments, options)
    print(printed(frame))
    print(f"saved in {out}/: stability.csv, stability.md, rates.png, rates.svg")


def stable_rates(
    *,
    data: dict[str, Any],
    arch: dict[str, Any],
    norms: list[str],
    momenta: list[float],
    steps: int,
    resolution: float,
    seeds: Sequence[int] = (0,),
) -> list[dict[str, Any]]:
    """The same as a measurement of a study.

    Args:
        data: name and options of the data set.
        arch: name and options of the architecture.
        norms: schemes.
        momenta: of heavy ball.
        steps: of each run.
        resolution: relative, of the bisection.
        seeds: of the initial weights.

    Returns:
        A row for each seed, scheme and momentum: data, arch, seed, and the columns of ``stability.csv``. ``ratio_low``
        and ``ratio_high`` are the ends of the bracket over the prediction: the highest rate that was stable, the
        lowest that was not.
    """
    options = Options(norms=tuple(norms), momenta=tuple(momenta), steps=steps, resolution=resolution)
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
        for row in measure(norms, groups, options.model_copy(update={"seed": seed}))
    ]


def affine_schemes() -> list[str]:
    """Schemes that are a fixed scale and shift."""
    return [name for name in choices("norm") if isinstance(normalization(name), Affine)]


def measure(names: list[str], groups: dict[str, Any], options: Options) -> list[dict[str, Any]]:
    """A row for each scheme and momentum."""
    from tqdm import tqdm

    momenta = options.momenta or ((0.0, 0.9) if groups["arch"]["name"] == "linear" else (0.0,))
    pairs = [(name, momentum) for name in names for momentum in momenta]
    rows = []
    for name, momentum in tqdm(pairs, desc="stable rates", disable=not sys.stderr.isatty(), leave=False):
        try:
            rows.append(measured(name, momentum, groups, options))
        except (NormlabError, ValueError) as error:
            print(f"{name}: {error}", file=sys.stderr)
    if not rows:
        raise DataError("no scheme could be measured")
    return rows


def measured(name: str, momentum: float, groups: dict[str, Any], options: Options) -> dict[str, Any]:
    """The prediction for one scheme from a run of one step, and the bisection."""
    first = made(name, momentum, groups, options, rate=1e-12, steps=1, probe=True)
    lambda_max = first["metrics"].get("lambda_max", first["metrics"]["lambda_max_at"]["0"])
    predicted = 2 * (1 + momentum) / lambda_max
    runs = 0

    def stable(rate: float) -> bool:
        nonlocal runs
        runs += 1
        found = made(name, momentum, groups, options, rate, options.steps)
        if found["status"] == "diverged":
            return False
        rows = Curve.read(Path(found["path"]) / "curve.csv")
        losses = [row.value for row in rows if row.split == "train" and row.metric == "loss"]
        return (losses[-1] if groups["arch"]["name"] == "linear" else max(losses)) <= losses[0]

    low, high = largest_stable_rate(stable, predicted, options.resolution)
    found = math.sqrt(low * high)
    return {
        "scheme": name,
        "momentum": momentum,
        "lambda_max": lambda_max,
        "predicted": predicted,
        "stable_at": low,
        "unstable_at": high,
        "measured": found,
        "ratio": found / predicted,
        "runs": runs,
    }


def made(
    name: str, momentum: float, groups: dict[str, Any], options: Options, rate: float, steps: int, probe: bool = False
) -> dict[str, Any]:
    """The record of one run of the harness, from before or made now."""
    # The loss at step k is that of the weights after k updates, so one more makes the last of them seen.
    trainer = {"name": "default", "max_epochs": steps + 1, "eval_every_epochs": steps + 1, "checkpoint": False}
    if probe:
        trainer |= {"probe_steps": [0], "probe_images": PROBED}
    optim = {"name": "gd", "lr": rate, "momentum": momentum}
    config = compose("stability", options.seed, norm=name, optim=optim, trainer=trainer, **groups)
    found = record.existing(config) or run(config, progress="none")
    return found | {"path": str(record.folder(config))}


def printed(frame: pd.DataFrame, form: str = "simple") -> str:
    """The table for people."""
    shown = {
        "scheme": frame.scheme,
        "momentum": frame.momentum.map("{:g}".format),
        "lambda_max": frame.lambda_max.map("{:.5g}".format),
        "predicted": frame.predicted.map("{:.5g}".format),
        "measured": frame.measured.map("{:.5g}".format),
        "ratio": frame.ratio.map("{:.4f}".format),
        "stable at": frame.stable_at.map("{:.5g}".format),
        "unstable at": frame.unstable_at.map("{:.5g}".format),
        "runs": frame.runs,
    }
    return tabulate(pd.DataFrame(shown).to_dict("list"), "keys", tablefmt=form, disable_numparse=True)


def save(out: Path, frame: pd.DataFrame, what: str, arguments: list[str], options: Options) -> None:
    """Table as CSV and Markdown, with what made it, and the figure."""
    from normlab.report import figures

    frame.to_csv(out / "stability.csv", index=False)
    figures.equality(out / "rates", frame, "largest stable rate", what, group="momentum")
    text = f"""# Largest stable learning rate: {what}

{printed(frame, "github")}

Predicted: 2 (1 + momentum) / lambda_max, with the largest eigenvalue of the Hessian at the start. Measured: the middle
of the bracket between a rate at which {options.steps} steps of full-batch descent were stable and one at which they
were not, by bisection on real runs of the harness in float32 to {options.resolution:.1%}. Unstable: the loss is
not finite, or larger than at the start: at the end for the linear model, at any step for a network.

{made_by("python -m normlab.stability", arguments)}
"""
    (out / "stability.md").write_text(text)


if __name__ == "__main__":
    main(sys.argv[1:])
