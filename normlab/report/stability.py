"""The table and figure of measured stable rates: what ``python -m normlab.stability`` shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from tabulate import tabulate

from normlab.files import to_csv
from normlab.report import figures
from normlab.report.origin import made_by


def table(frame: pd.DataFrame, form: str = "simple") -> str:
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


def save(out: Path, frame: pd.DataFrame, what: str, steps: int, resolution: float, arguments: Sequence[str]) -> None:
    """Table as CSV and Markdown, with what made it, and the figure."""
    (out / "stability.csv").write_text(to_csv(frame))
    figures.equality(out / "rates", frame, "largest stable rate", what, group="momentum")
    text = f"""# Largest stable learning rate: {what}

{table(frame, "github")}

Predicted: 2 (1 + momentum) / lambda_max, with the largest eigenvalue of the Hessian at the start. Measured: the middle
of the bracket between a rate at which {steps} steps of full-batch descent were stable and one at which they
were not, by bisection on real runs of the harness in float32 to {resolution:.1%}. Unstable: the loss is
not finite, or larger than at the start: at the end for the linear model, at any step for a network.

{made_by("python -m normlab.stability", arguments)}
"""
    (out / "stability.md").write_text(text)
