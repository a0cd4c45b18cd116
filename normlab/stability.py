"""Measured stable rates: ``python -m normlab.stability data=NAME [arch=NAME] [norms=a,b] [momenta=0,0.9] [steps=N]``.

For every scheme the largest learning rate at which full-batch descent is stable is found by bisection on real runs, and
set beside what the curvature at the start predicts, 2 (1 + beta) / lambda_max (Polyak 1964).

A rate counts as unstable if the training loss is not finite, or larger than at the start: for the linear model after
``steps`` steps, because with momentum the loss may rise at first and yet converge; for a network at any of them,
because it may rise far, lose its hidden units and end low all the same.

Each run leaves its record, so a command that was stopped goes on where it was.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import pandas as pd
from pydantic import Field
from tabulate import tabulate

from normlab import record
from normlab.arguments import answer_help, parsed
from normlab.config import NonNegativeInt, PositiveInt, Section, data_label, defaults
from normlab.errors import ConfigError, NormlabError, fail
from normlab.measurements.stable_rates import affine_schemes, measured_rates
from normlab.report.origin import made_by

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
        momenta = options.momenta or ((0.0, 0.9) if arch == "linear" else (0.0,))
        rows = measured_rates(names, momenta, groups, options.steps, options.resolution, options.seed)
        frame = pd.DataFrame(rows)
    except NormlabError as error:
        fail(str(error))
    except KeyboardInterrupt:
        fail("interrupted; the same command goes on from here", status=130)
    save(out, frame, f"{arch} on {data}", arguments, options)
    print(printed(frame))
    print(f"saved in {out}/: stability.csv, stability.md, rates.png, rates.svg")


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
