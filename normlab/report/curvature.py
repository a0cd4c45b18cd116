"""Tables and the figure of networks at their start: what ``python -m normlab.curvature`` shows."""

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
    number = "{:.4g}".format
    shown = {
        "scheme": frame.scheme,
        "input rms": frame.input_rms.map(number),
        "lambda_max": frame.lambda_max.map(number),
        "2/lambda_max": frame.stable_rate.map(number),
        "trace": [f"{t:.3g} ± {e:.1g}" for t, e in zip(frame.trace, frame.trace_standard_error, strict=True)],
        "first layer rms": frame.first_layer_rms_measured.map(number),
        "predicted": frame.first_layer_rms_predicted.map(number),
        "its gradient": frame.first_layer_gradient_norm.map(number),
        "decades of g^2": frame.first_layer_gradient_spread.map("{:.2f}".format),
        "last layer rms": frame.last_layer_rms.map(number),
        "its gradient ": frame.last_layer_gradient_norm.map(number),
    }
    return tabulate(pd.DataFrame(shown).to_dict("list"), "keys", tablefmt=form, disable_numparse=True)


def save(
    out: Path,
    frame: pd.DataFrame,
    layers: pd.DataFrame,
    densities: dict[str, tuple[list[float], list[float]]],
    what: str,
    images: int,
    seed: int,
    arguments: Sequence[str],
) -> None:
    """Tables as CSV and Markdown, with what made them, and the densities with their figure."""
    (out / "curvature.csv").write_text(to_csv(frame))
    (out / "layers.csv").write_text(to_csv(layers))
    if densities:
        points = pd.concat(
            pd.DataFrame({"scheme": name, "eigenvalue": grid, "density": density})
            for name, (grid, density) in densities.items()
        )
        points.to_csv(out / "density.csv.gz", index=False, float_format="%.6g")
        figures.densities(out / "density", densities, f"Hessian of {what} at its start")
    text = f"""# Curvature of {what} at its start

{table(frame, "github")}

Loss over {images:,} training images; {frame.parameters.iloc[0]:,} parameters under
{frame.scheme.iloc[0]}; seed {seed}. lambda_max by Lanczos with Hessian-vector products, trace with its standard
error by Hutchinson's estimator. "First layer rms" is the root mean square of the first layer's output, "predicted" what
the scheme's second moments say of it for weights of that size drawn independently; one draw of few weights may be off.
"Decades of g^2": standard deviation of log10 of the first layer's squared gradients. All layers: layers.csv.

{made_by("python -m normlab.curvature", arguments)}
"""
    (out / "curvature.md").write_text(text)
