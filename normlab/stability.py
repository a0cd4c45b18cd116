"""Measured stable rates: ``python -m normlab.stability data=NAME [arch=NAME] [norms=a,b] [momenta=0,0.9] [steps=N]``.

For every scheme the largest learning rate at which full-batch descent is stable is found by bisection on real runs, and
compared with the prediction from the curvature at the start, 2 (1 + beta) / lambda_max (Polyak 1964).

A rate counts as unstable if the training loss is not finite, or larger than at the start: for the linear model after
``steps`` steps, because with momentum the loss may rise at first and still converge; for a network after any step,
because the loss may rise far, and end low only because the hidden units are dead.

Each run writes its record, so the same command continues after an interruption.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import pandas as pd
from pydantic import Field

from normlab import record
from normlab.commandline.arguments import command, parsed
from normlab.config import NonNegativeInt, PositiveInt, Section, data_label, defaults
from normlab.errors import ConfigError
from normlab.files import replacing_files
from normlab.measurements.stable_rates import affine_schemes, measured_rates
from normlab.report import stability as report

Momentum = Annotated[float, Field(ge=0, lt=1)]


class Options(Section):
    """What the command takes besides the keys of data and arch."""

    norms: tuple[str, ...] | None = None  # None: all affine schemes
    momenta: tuple[Momentum, ...] | None = None  # None: 0 and 0.9 for the linear model, 0 for a network
    steps: PositiveInt = 500
    resolution: Annotated[float, Field(gt=0, lt=1)] = 0.005  # relative
    seed: NonNegativeInt = 0
    out: Path | None = None  # None: runs/stability/DATA-ARCH


def main(arguments: list[str]) -> None:
    """Measure, print and save; a mistake ends as one line and status 2."""
    with command(arguments, __doc__):
        options, groups = parsed(arguments, Options, ("data", "arch"))
        groups.setdefault("arch", defaults("arch", "linear"))
        if groups["arch"]["name"] != "linear" and any(options.momenta or ()):
            raise ConfigError(
                "momenta: use 0 for a network; with momentum its loss may rise at first, so that a rise proves nothing"
            )
        arch, data = groups["arch"]["name"], data_label(groups["data"])
        out = options.out or Path("runs") / "stability" / f"{data}-{arch}"
        record.require_writable(out, "out")
        names = list(options.norms or affine_schemes())
        momenta = options.momenta or ((0.0, 0.9) if arch == "linear" else (0.0,))
        rows = measured_rates(names, momenta, groups, options.steps, options.resolution, options.seed)
        frame = pd.DataFrame(rows)
        with replacing_files(out) as new:
            report.save(new, frame, f"{arch} on {data}", options.steps, options.resolution, arguments)
        print(report.table(frame))
        print(f"saved in {out}/: stability.csv, stability.md, rates.png, rates.svg")


if __name__ == "__main__":
    main(sys.argv[1:])
