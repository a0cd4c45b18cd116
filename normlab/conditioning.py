"""Theory for every scheme: ``python -m normlab.conditioning data=NAME [data.KEY=VALUE] [norms=a,b] [bias=false]``.

Prints, for every scheme, the rank and the extreme eigenvalues of the linear model's Hessian, its condition number, the
learning rates that follow, and the iterations of gradient descent that theory predicts; and saves the table and all
spectra. Nothing is trained, unless ``steps=N`` asks for N steps of descent to be set beside the prediction.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import yaml
from pydantic import Field
from tabulate import tabulate

from normlab import record
from normlab.analysis.descent import Descent, descent, iterations_by_condition_number
from normlab.analysis.moments import is_affine, raw_moments
from normlab.analysis.prediction import Prediction, dataset_moments
from normlab.config import (
    PositiveInt,
    Section,
    check,
    choices,
    defaults,
    parse,
    parse_group,
    unknown_choice,
)
from normlab.data import Dataset, load
from normlab.errors import ConfigError, NormlabError, fail
from normlab.norms import normalization
from normlab.run import run
from normlab.training import Curve

EPS = (0.1, 0.01)  # relative excess losses


class Options(Section):
    """What the command takes besides the keys of the data."""

    norms: tuple[str, ...] | None = None  # None: all
    bias: bool = True
    eps: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = EPS
    out: Path | None = None  # None: runs/conditioning/DATA
    steps: PositiveInt | None = None  # of real descent under each scheme; None: theory alone


def main(arguments: list[str]) -> None:
    """Compute, print and save; a mistake ends as one line and status 2."""
    try:
        options, chosen = parsed(arguments)
        data = load(parse_group("data", chosen))
        names = list(options.norms) if options.norms else choices("norm")
        theories: dict[str, Descent] = {}
        reasons: dict[str, str] = {}
        for name, found in theories_of(data, names, options.bias):
            if isinstance(found, str):
                reasons[name] = found
            else:
                theories[name] = found
        rows = [row(name, theory, options.eps) for name, theory in theories.items()]
        if options.steps:
            for numbers, (name, theory) in zip(rows, theories.items(), strict=True):
                numbers |= measured(name, theory, chosen, options)
        frame = pd.DataFrame(rows)
        out = options.out or Path("runs") / "conditioning" / data.name
        record.require_writable(out)
        save(out, frame, theories, data, options.eps, arguments)
    except NormlabError as error:
        fail(str(error))
    count = len(data.train)
    print(f"{data.name}: {count:,} training images of {'x'.join(map(str, data.shape))}, {len(data.classes)} classes")
    print(printed(frame, options.eps))
    for name, reason in reasons.items():
        print(f"{name}: {reason}")
    print(f"saved in {out}/: conditioning.csv, conditioning.md, spectra.csv.gz")


def parsed(arguments: list[str]) -> tuple[Options, dict[str, Any]]:
    """Options, and the configuration of the data, of a command line.

    Raises:
        ConfigError: for an unknown key or a bad value.
    """
    own: dict[str, Any] = {}
    of_data: dict[str, Any] = {}
    for argument in arguments:
        key, equals, value = argument.lstrip("+").partition("=")
        if not equals:
            raise ConfigError(f"{argument}: expected KEY=VALUE, as in: python -m normlab.conditioning data=digits")
        if key in ("norms", "eps"):
            own[key] = [yaml.safe_load(part) for part in value.split(",")]
        elif key == "data" or key.startswith("data."):
            of_data[key.removeprefix("data.")] = yaml.safe_load(value)
        else:
            own[key] = yaml.safe_load(value)
    options = check(Options, own)
    for name in options.norms or ():
        if name not in choices("norm"):
            raise unknown_choice("norms", name, choices("norm"))
    if "data" not in of_data:
        raise ConfigError(f"which data? Add data=NAME with NAME one of {', '.join(choices('data'))}")
    return options, {**defaults("data", str(of_data.pop("data"))), **of_data}


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


def measured(name: str, theory: Descent, data: dict[str, Any], options: Options) -> dict[str, Any]:
    """What a run of the harness measures of the predicted iterations; taken from its record, if it was made before."""
    if any(True for _ in normalization(name).parameters()):
        return {}  # a scheme that is trained along with the weights leaves the quadratic that theory describes
    chosen = {"augment": "none", "norm": name, "arch": "linear", "optim": "gd", "trainer": "default", "logger": "none"}
    values: dict[str, Any] = {group: defaults(group, choice) for group, choice in chosen.items()}
    values["arch"]["bias"] = options.bias
    steps = options.steps or 0
    # One step more, because the loss at step k is that of the weights after k updates.
    values["trainer"] |= {"max_epochs": steps + 1, "eval_every_epochs": steps + 1, "checkpoint": False}
    config = parse({**values, "data": data, "study": "conditioning"})
    if record.existing(config) is None:
        run(config, progress="none")
    rows = [row for row in Curve.read(record.folder(config) / "curve.csv") if row.split == "train"]
    found = Prediction(theory, 1 / theory.spectrum.lambda_max, 0.0, True).compare(rows, options.eps)
    if not found:
        return {}
    numbers = {f"measured_iterations_to_{eps}": steps for eps, steps in found["measured_iterations"].items()}
    return {**numbers, "measured_steps": steps, "curve_deviation": found["curve_deviation"]}


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
        shown[f"by condition number to {e:g}"] = frame[f"iterations_to_{e:g}_by_condition_number"].map("{:.4g}".format)
    if "curve_deviation" in frame:
        shown["curve off by"] = frame.curve_deviation.map("{:.1e}".format)
    return tabulate(shown.to_dict("list"), headers="keys", tablefmt=form, disable_numparse=True)


def save(
    out: Path,
    frame: pd.DataFrame,
    theories: dict[str, Descent],
    data: Dataset,
    eps: tuple[float, ...],
    arguments: list[str],
) -> None:
    """Table as CSV and Markdown, with what made it, and every spectrum."""
    about = record.provenance()
    frame.to_csv(out / "conditioning.csv", index=False)
    spectra = {name: pd.Series(theory.spectrum.eigenvalues.numpy()) for name, theory in theories.items()}
    pd.DataFrame(spectra).to_csv(out / "spectra.csv.gz", index_label="rank", float_format="%.9e")
    versions = ", ".join(f"{package} {version}" for package, version in about["versions"].items())
    dirty = " with uncommitted changes" if about["dirty"] else ""
    command = " ".join(argument for argument in arguments if not argument.startswith("out="))
    text = f"""# Conditioning of the linear model on {data.name}

{printed(frame, eps, "github")}

{len(data.train):,} training images of {"x".join(map(str, data.shape))} in {len(data.classes)} classes (data key
{data.key}). Steps are those of full-batch gradient descent on the squared error from zero weights at the rate
1/lambda_max, until the excess over the least loss is that share of the initial excess; "by condition number" is what
the condition number alone would promise, at the best constant rate. "Measured", where it stands, is a real run in
float32; "curve off by" the largest distance between its loss and the predicted one over all its steps, as a share of
the initial excess.

Made by `python -m normlab.conditioning {command}`, commit {about["commit"]}{dirty}; {versions};
{about["processor"]}, {about["cores"]} cores.
"""
    (out / "conditioning.md").write_text(text)


if __name__ == "__main__":
    main(sys.argv[1:])
