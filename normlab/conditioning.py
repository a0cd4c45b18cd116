"""Theory for every scheme: ``python -m normlab.conditioning data=NAME [data.KEY=VALUE] [norms=a,b] [bias=false]``.

Prints, for every scheme, the rank and the extreme eigenvalues of the linear model's Hessian, its condition number, the
learning rates that follow, and the iterations of gradient descent that theory predicts; and saves the table and all
spectra. Nothing is trained, unless ``steps=N`` asks for N steps of descent to be set beside the prediction; ``check=M``
makes it M where theory says that N lead nowhere (whitening takes long a step, others many steps).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
from pydantic import Field
from tabulate import tabulate

from normlab import record
from normlab.arguments import answer_help, parsed
from normlab.config import PositiveInt, Section, choices, compose, data_label, parse_group
from normlab.data import Dataset, load
from normlab.errors import NormlabError, fail
from normlab.norms import normalization
from normlab.report.origin import made_by
from normlab.run import run
from normlab.theory.descent import Descent, descent, iterations_by_condition_number
from normlab.theory.lanczos import largest_eigenvalues
from normlab.theory.moments import MAX_FEATURES, is_affine, raw_moments
from normlab.theory.prediction import Prediction, dataset_moments
from normlab.training import Curve

EPS = (0.1, 0.01)  # relative excess losses


class Options(Section):
    """What the command takes besides the keys of the data."""

    norms: tuple[str, ...] | None = None  # None: all
    bias: bool = True
    eps: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = EPS
    out: Path | None = None  # None: runs/conditioning/DATA
    steps: PositiveInt | None = None  # of real descent under each scheme; None: theory alone
    check: PositiveInt | None = None  # so many instead, for a scheme that reaches no eps in `steps`; None: as many


def main(arguments: list[str]) -> None:
    """Compute, print and save; a mistake ends as one line and status 2."""
    answer_help(arguments, __doc__)
    try:
        options, groups = parsed(arguments, Options)
        data = load(parse_group("data", groups["data"]))
        label = data_label(groups["data"])
        names = list(options.norms) if options.norms else choices("norm")
        out = options.out or Path("runs") / "conditioning" / label
        record.require_writable(out, "out")
        if math.prod(data.shape) > MAX_FEATURES:
            print(iterative(data, names, options.bias))
            return
        theories: dict[str, Descent] = {}
        reasons: dict[str, str] = {}
        for name, found in theories_of(data, names, options.bias):
            if isinstance(found, str):
                reasons[name] = found
            else:
                theories[name] = found
        rows = [row(name, theory, options.eps) for name, theory in theories.items()]
        curves: dict[str, pd.DataFrame] = {}
        if options.steps:
            for numbers, (name, theory) in zip(rows, theories.items(), strict=True):
                more, curve = measured(name, theory, groups["data"], options)
                numbers |= more
                if curve is not None:
                    curves[name] = curve
        frame = pd.DataFrame(rows)
        save(out, frame, theories, data, label, options.eps, arguments)
        draw(out, frame, theories, curves, data, label, options)
    except NormlabError as error:
        fail(str(error))
    count = len(data.train)
    print(f"{label}: {count:,} training images of {'x'.join(map(str, data.shape))}, {len(data.classes)} classes")
    print(printed(frame, options.eps))
    for name, reason in reasons.items():
        print(f"{name}: {reason}")
    print(f"saved in {out}/: conditioning.csv, conditioning.md, spectra.csv.gz, figures")


def iterative(data: Dataset, names: list[str], bias: bool) -> str:
    """What can be had without a dense matrix: the largest eigenvalue and the stable rate, as a table for people."""
    from tqdm import tqdm

    rows = []
    for name in tqdm(names, desc="schemes", disable=not sys.stderr.isatty(), leave=False):
        try:
            norm = normalization(name).fit(data.training_images())
            found = largest_eigenvalues(data.train, norm, bias=bias)[0].item()
            rows.append((name, f"{found:.4g}", f"{2 / found:.4g}"))
        except NormlabError as error:
            rows.append((name, str(error), ""))
    return (
        tabulate(rows, headers=("scheme", "lambda_max", "stable below lr"), disable_numparse=True)
        + f"\n{math.prod(data.shape):,} features: above {MAX_FEATURES:,} there is no dense Hessian, so rank, condition "
        "number and predicted iterations are left out; a smaller data.image_size has them, and python -m "
        "normlab.curvature arch=linear shows the spectral density"
    )


def theories_of(data: Dataset, names: list[str], bias: bool) -> Iterator[tuple[str, Descent | str]]:
    """Each scheme with its theory, or with the reason why it has none on these data."""
    from tqdm import tqdm  # here, so that a mistake is answered without it

    raw = None
    for name in tqdm(names, desc="schemes", disable=not sys.stderr.isatty(), leave=False):
        try:
            norm = normalization(name).fit(data.training_images())
            if raw is None and is_affine(norm):
                raw = raw_moments(data.train.batches(256), len(data.classes))
            yield name, descent(dataset_moments(data, norm, raw), bias)
        except NormlabError as error:
            yield name, str(error)


def row(name: str, theory: Descent, eps: tuple[float, ...]) -> dict[str, Any]:
    """The numbers of one scheme; rates and iterations are those of plain gradient descent from zero weights."""
    spectrum = theory.spectrum
    numbers: dict[str, Any] = {
        "scheme": name,
        "features": len(spectrum.eigenvalues),
        "rank": spectrum.rank,
        "rank_threshold": spectrum.threshold,
        "lambda_max": spectrum.lambda_max,
        "lambda_min": spectrum.lambda_min,
        "condition_number": spectrum.condition_number,
        "full_condition_number": spectrum.full_condition_number,
        "stable_rate": theory.stable_rate(),
        "best_rate": theory.best_rate,
        "initial_loss": theory.initial,
        "optimum": theory.optimum,
    }
    for e in eps:
        numbers[f"iterations_to_{e:g}"] = theory.iterations(e, 1 / spectrum.lambda_max)
        numbers[f"iterations_to_{e:g}_at_best_rate"] = theory.iterations(e, theory.best_rate)
        numbers[f"iterations_to_{e:g}_by_condition_number"] = iterations_by_condition_number(
            spectrum.condition_number, e
        )
    return numbers


def measured(
    name: str, theory: Descent, data: dict[str, Any], options: Options
) -> tuple[dict[str, Any], pd.DataFrame | None]:
    """What a run of the harness measures of the predicted iterations, and its curve beside the predicted one.

    The run is taken from its record, if it was made before. A scheme that is trained along with the weights leaves the
    quadratic that theory describes, so nothing is measured for it.
    """
    if any(True for _ in normalization(name).parameters()):
        return {}, None
    steps = options.steps or 0
    rate = 1 / theory.spectrum.lambda_max
    if options.check and theory.iterations(max(options.eps), rate) > steps:
        steps = options.check
    # One step more, because the loss at step k is that of the weights after k updates.
    trainer = {"name": "default", "max_epochs": steps + 1, "eval_every_epochs": steps + 1, "checkpoint": False}
    arch = {"name": "linear", "bias": options.bias}
    config = compose("conditioning", data=data, norm=name, arch=arch, optim="gd", trainer=trainer)
    if record.existing(config) is None:
        run(config, progress="none")
    rows = [row for row in Curve.read(record.folder(config) / "curve.csv") if row.split == "train"]
    found = Prediction(theory, rate, 0.0, True).compare(rows, options.eps)
    numbers = {"measured_steps": steps, "curve_deviation": found["curve_deviation"]}
    for eps, reached in found["measured_iterations"].items():
        predicted = theory.iterations(float(eps), rate)
        numbers[f"measured_iterations_to_{eps}"] = reached
        numbers[f"measured_over_predicted_to_{eps}"] = reached / predicted if math.isfinite(reached) else math.nan
    span = theory.initial - theory.optimum
    curve = pd.DataFrame({"step": [row.step for row in rows], "measured": [row.value for row in rows]})
    curve["measured"] = (curve.measured - theory.optimum) / span
    curve["predicted"] = (theory.curve(int(curve.step.max()), rate).numpy()[curve.step] - theory.optimum) / span
    return numbers, curve


def printed(frame: pd.DataFrame, eps: tuple[float, ...], form: str = "simple") -> str:
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
    eps: tuple[float, ...],
    arguments: list[str],
) -> None:
    """Table as CSV and Markdown, with what made it, and every spectrum."""
    frame.to_csv(out / "conditioning.csv", index=False)
    spectra = {name: pd.Series(theory.spectrum.eigenvalues.numpy()) for name, theory in theories.items()}
    pd.DataFrame(spectra).to_csv(out / "spectra.csv.gz", index_label="rank", float_format="%.9e")
    text = f"""# Conditioning of the linear model on {label}

{printed(frame, eps, "github")}

{len(data.train):,} training images of {"x".join(map(str, data.shape))} in {len(data.classes)} classes (data key
{data.key}). Steps are those of full-batch gradient descent on the squared error from zero weights at the rate
1/lambda_max, until the excess over the least loss is that share of the initial excess; "by condition number" is what
the condition number alone would promise, at the best constant rate.
{told_measured(frame)}
{made_by("python -m normlab.conditioning", arguments)}
"""
    (out / "conditioning.md").write_text(text)


def told_measured(frame: pd.DataFrame) -> str:
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
    options: Options,
) -> None:
    """The figures: spectra; with measured descent its curves and iterations; for two features the path of descent."""
    from normlab.report import figures

    spectra = {name: theory.spectrum.eigenvalues.tolist() for name, theory in theories.items()}
    thresholds = {name: theory.spectrum.threshold for name, theory in theories.items()}
    figures.spectra(out / "spectra", spectra, thresholds, f"Hessian of the linear model on {label}")
    if curves:
        figures.predicted_curves(out / "curves", curves, f"Gradient descent on {label}")
        parts = []
        for eps in options.eps:
            columns = {f"iterations_to_{eps:g}": "predicted", f"measured_iterations_to_{eps:g}": "measured"}
            parts.append(frame[["scheme", *columns]].rename(columns=columns).assign(excess=f"{eps:g}"))
        both = pd.concat(parts)
        both = both[np.isfinite(both.measured)]
        if len(both):
            title = f"Gradient descent on {label}"
            figures.equality(out / "iterations", both, "iterations", title, group="excess")
    planes = [name for name, theory in theories.items() if len(theory.spectrum.eigenvalues) == 2 and not options.bias]
    if planes:
        surfaces = {name: surface(data, name) for name in planes}
        figures.descent_paths(out / "paths", surfaces, f"First output on {label}, best constant rate")


def surface(data: Dataset, name: str, steps: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hessian, optimum and path of descent of the first output's two weights, from zero at the best constant rate."""
    moments = dataset_moments(data, normalization(name).fit(data.training_images()))
    hessian, cross = moments.second_moment(False).numpy(), moments.cross_moment(False)[:, 0].numpy()
    rate = descent(moments, bias=False).best_rate
    path = [np.zeros(2)]
    for _ in range(steps):
        path.append(path[-1] - rate * (hessian @ path[-1] - cross))
    return hessian, np.linalg.lstsq(hessian, cross)[0], np.array(path)


if __name__ == "__main__":
    main(sys.argv[1:])
