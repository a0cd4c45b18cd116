"""Theory for every scheme: ``python -m normlab.conditioning data=NAME [data.KEY=VALUE] [norms=a,b] [bias=false]``.

For every scheme, the table shows the rank, the extreme eigenvalues and the condition number of the linear model's
Hessian, the learning rates that follow, and the iterations of gradient descent that theory predicts. The table and all
spectra are saved. Nothing is trained, unless ``steps=N`` asks for N real steps of descent, to compare with the
prediction. ``check=M`` makes M steps instead for a scheme that, by the theory, reaches no eps in N steps.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from pydantic import Field

from normlab import record
from normlab.commandline.arguments import command, parsed
from normlab.config import PositiveInt, Section, choices, data_label, parse_group
from normlab.data import load
from normlab.files import replacing_files
from normlab.measurements.conditioning import largest_only, measured_descent, predicted_numbers, theories
from normlab.report import conditioning as report
from normlab.theory.descent import Descent
from normlab.theory.moments import MAX_FEATURES

EPS = (0.1, 0.01)  # relative excess losses


class Options(Section):
    """What the command takes besides the keys of the data."""

    norms: tuple[str, ...] | None = None  # None: all
    bias: bool = True
    eps: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = EPS
    out: Path | None = None  # None: runs/conditioning/DATA
    steps: PositiveInt | None = None  # of real descent under each scheme; None: theory alone
    check: PositiveInt | None = None  # steps for a scheme that reaches no eps in `steps`; None: the same number


def main(arguments: list[str]) -> None:
    """Compute, print and save; a mistake ends as one line and status 2."""
    with command(arguments, __doc__):
        options, groups = parsed(arguments, Options)
        data = load(parse_group("data", groups["data"]))
        data.require_quantities("a linear model's conditioning")
        label, names = data_label(groups["data"]), options.norms or choices("norm")
        out = options.out or Path("runs") / "conditioning" / label
        record.require_writable(out, "out")
        if math.prod(data.shape) > MAX_FEATURES:
            print(report.largest_table(dict(largest_only(data, names, options.bias)), math.prod(data.shape)))
            return
        outcomes = dict(theories(data, names, options.bias))
        known = {name: theory for name, theory in outcomes.items() if isinstance(theory, Descent)}
        rows = [predicted_numbers(name, theory, options.eps) for name, theory in known.items()]
        curves = add_measured(rows, known, groups["data"], options) if options.steps else {}
        frame = pd.DataFrame(rows)
        with replacing_files(out) as new:
            report.save(new, frame, known, data, label, options.eps, arguments)
            report.draw(new, frame, known, curves, data, label, options.eps, options.bias)
        count = len(data.train)
        what, classes = ("images" if data.kind == "images" else "samples"), len(data.classes)
        outputs = f"{classes} classes" if data.task == "classification" else "a number to predict"
        print(f"{label}: {count:,} training {what} of {'x'.join(map(str, data.shape))}, {outputs}")
        print(report.table(frame, options.eps))
        for name, reason in outcomes.items():
            if isinstance(reason, str):
                print(f"{name}: {reason}")
        print(f"saved in {out}/: conditioning.csv, conditioning.md, spectra.csv.gz, figures")


def add_measured(
    rows: list[dict[str, Any]], known: dict[str, Descent], data: dict[str, Any], options: Options
) -> dict[str, pd.DataFrame]:
    """Add the measurements of real runs to the rows; return the curves of these runs by scheme."""
    curves = {}
    for row, (name, theory) in zip(rows, known.items(), strict=True):
        steps, bias = options.steps or 0, options.bias
        numbers, curve = measured_descent(
            name, theory, data, bias=bias, eps=options.eps, steps=steps, unreached_steps=options.check
        )
        row |= numbers
        if curve is not None:
            curves[name] = curve
    return curves


if __name__ == "__main__":
    main(sys.argv[1:])
