"""Tables and figures of the linear model under every scheme: what ``python -m normlab.conditioning`` shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from tabulate import tabulate

from normlab.data import Dataset
from normlab.files import to_csv
from normlab.measurements.conditioning import surface
from normlab.report import figures
from normlab.report.origin import made_by
from normlab.theory.descent import Descent
from normlab.theory.moments import MAX_FEATURES
from normlab.theory.stability import stable_rate


def largest_table(found: dict[str, float | str], features: int) -> str:
    """The table of what can be had without a dense matrix, for people.

    Args:
        found: lambda_max of each scheme, or the reason why it has none.
        features: of the images.
    """
    rows = [
        (name, value, "") if isinstance(value, str) else (name, f"{value:.4g}", f"{stable_rate(value):.4g}")
        for name, value in found.items()
    ]
    return (
        tabulate(rows, headers=("scheme", "lambda_max", "stable below lr"), disable_numparse=True)
        + f"\n{features:,} features: above {MAX_FEATURES:,} there is no dense Hessian, so rank, condition number and "
        "predicted iterations are left out; a smaller data.image_size has them, and python -m normlab.curvature "
        "arch=linear shows the spectral density"
    )


def table(frame: pd.DataFrame, eps: Sequence[float], form: str = "simple") -> str:
    """The table for people: the main columns, four digits."""
    shown = pd.DataFrame(
        {
            "scheme": frame.scheme,
            "rank": [f"{r} of {d}" for r, d in zip(frame["rank"], frame.features, strict=True)],
            "lambda_max": frame.lambda_max.map("{:.4g}".format),
            "condition number": frame.condition_number.map("{:.4g}".format),
            "full": frame.full_condition_number.map("{:.4g}".format),
            "stable below lr": frame.stable_rate.map("{:.4g}".format),
            "best lr": frame.best_rate.map("{:.4g}".format),
        }
    )
    for e in eps:
        shown[f"steps to {e:g}"] = frame[f"iterations_to_{e:g}"].map("{:.4g}".format)
        if f"measured_iterations_to_{e:g}" in frame:
            reached = frame[f"measured_iterations_to_{e:g}"]
            beyond = "> " + frame.measured_steps.map("{:g}".format)
            shown[f"measured to {e:g}"] = (
                reached.map("{:g}".format).where(reached < float("inf"), beyond).where(reached.notna(), "-")
            )
            ratio = frame[f"measured_over_predicted_to_{e:g}"]
            shown[f"ratio at {e:g}"] = ratio.map("{:.3f}".format).where(ratio.notna(), "-")
        shown[f"by condition number to {e:g}"] = frame[f"iterations_to_{e:g}_by_condition_number"].map("{:.4g}".format)
    if "curve_deviation" in frame:
        shown["curve off by"] = frame.curve_deviation.map("{:.1e}".format)
    return tabulate(shown.to_dict("list"), headers="keys", tablefmt=form, disable_numparse=True)


def save(
    out: Path,
    frame: pd.DataFrame,
    theories: dict[str, Descent],
    data: Dataset,
    label: str,
    eps: Sequence[float],
    arguments: Sequence[str],
) -> None:
    """Table as CSV and Markdown, with what made it, and every spectrum."""
    (out / "conditioning.csv").write_text(to_csv(frame))
    spectra = {name: pd.Series(theory.spectrum.eigenvalues.numpy()) for name, theory in theories.items()}
    pd.DataFrame(spectra).to_csv(out / "spectra.csv.gz", index_label="rank", float_format="%.9e")
    text = f"""# Conditioning of the linear model on {label}

{table(frame, eps, "github")}

{len(data.train):,} training images of {"x".join(map(str, data.shape))} in {len(data.classes)} classes (data key
{data.key}). Steps are those of full-batch gradient descent on the squared error from zero weights at the rate
1/lambda_max, until the excess over the least loss is that share of the initial excess; "by condition number" is what
the condition number alone would promise, at the best constant rate.
{about_measured(frame)}
{made_by("python -m normlab.conditioning", arguments)}
"""
    (out / "conditioning.md").write_text(text)


def about_measured(frame: pd.DataFrame) -> str:
    """What the measured columns are; nothing where nothing was measured."""
    if "measured_steps" not in frame:
        return ""
    return """
"Measured" is a real run of the harness in float32. "> N": not reached in the N steps that were run, where the predicted
number says how many it would take. "Curve off by" holds for every run, whether or not it got that far: the largest
distance between its loss and the predicted one over all steps that were run, as a share of the initial excess. "-":
the scheme is trained along with the weights, and theory does not cover that.
"""


def draw(
    out: Path,
    frame: pd.DataFrame,
    theories: dict[str, Descent],
    curves: dict[str, pd.DataFrame],
    data: Dataset,
    label: str,
    eps: Sequence[float],
    bias: bool,
) -> None:
    """The figures: spectra; with measured descent its curves and iterations; for two features the path of descent."""
    spectra = {name: theory.spectrum.eigenvalues.tolist() for name, theory in theories.items()}
    thresholds = {name: theory.spectrum.threshold for name, theory in theories.items()}
    figures.spectra(out / "spectra", spectra, thresholds, f"Hessian of the linear model on {label}")
    if curves:
        figures.predicted_curves(out / "curves", curves, f"Gradient descent on {label}")
        parts = []
        for level in eps:
            columns = {f"iterations_to_{level:g}": "predicted", f"measured_iterations_to_{level:g}": "measured"}
            parts.append(frame[["scheme", *columns]].rename(columns=columns).assign(excess=f"{level:g}"))
        both = pd.concat(parts)
        both = both[np.isfinite(both.measured)]
        if len(both):
            title = f"Gradient descent on {label}"
            figures.equality(out / "iterations", both, "iterations", title, group="excess")
    planes = [name for name, theory in theories.items() if len(theory.spectrum.eigenvalues) == 2 and not bias]
    if planes:
        surfaces = {name: surface(data, name) for name in planes}
        figures.descent_paths(out / "paths", surfaces, f"First output on {label}, best constant rate")
