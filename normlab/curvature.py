"""Any network at its start: ``python -m normlab.curvature data=NAME [arch=NAME] [norms=a,b] [images=256] [seed=0]``.

For every scheme: the largest eigenvalue, trace and spectral density of the loss's Hessian, the learning rate that the
first of them allows, the scale of the first layer's output beside what the scheme's second moments predict, and
activations and gradients of each layer. Nothing is trained; ``trainer.probe_steps=[0,100]`` looks at a run on its way.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tabulate import tabulate

from normlab import record
from normlab.archs import Network
from normlab.archs.layers import first_layer
from normlab.arguments import answer_help, parsed
from normlab.config import Arch, NonNegativeInt, PositiveInt, Section, choices, data_label, defaults, parse_group
from normlab.data import Dataset, Loader, load
from normlab.errors import NormlabError, fail
from normlab.norms import normalization
from normlab.report.origin import made_by
from normlab.theory.activations import layer_statistics, predicted_output_variance, second_moments
from normlab.theory.curvature import Curvature
from normlab.training.module import LOSSES


class Options(Section):
    """What the command takes besides the keys of data and arch."""

    norms: tuple[str, ...] | None = None  # None: all
    images: PositiveInt = 256  # of the training split, over which the loss is meaned
    seed: NonNegativeInt = 0  # of the initial weights
    density: bool = True
    out: Path | None = None  # None: runs/curvature/DATA-ARCH


def main(arguments: list[str]) -> None:
    """Compute, print and save; a mistake ends as one line and status 2."""
    answer_help(arguments, __doc__)
    try:
        options, groups = parsed(arguments, Options, ("data", "arch"))
        data = load(parse_group("data", groups["data"]))
        arch: Arch = parse_group("arch", groups.get("arch") or defaults("arch", "cnn"))
        out = options.out or Path("runs") / "curvature" / f"{data_label(groups['data'])}-{arch.name}"
        record.require_writable(out, "out")
        rows, layers, densities, reasons = [], [], {}, []
        for name, found in looked_at(data, arch, options):
            if isinstance(found, str):
                reasons.append(f"{name}: {found}")
                continue
            row, of_layers, density = found
            rows.append({"scheme": name, **row})
            layers += [{"scheme": name, **layer} for layer in of_layers]
            if density is not None:
                densities[name] = density
        frame = pd.DataFrame(rows)
        if rows:
            save(
                out,
                frame,
                pd.DataFrame(layers),
                densities,
                data,
                f"{arch.name} on {data_label(groups['data'])}",
                arguments,
                options,
            )
    except NormlabError as error:
        fail(str(error))
    if rows:
        print(printed(frame))
        print(f"saved in {out}/: curvature.csv, curvature.md, layers.csv" + (", density" if densities else ""))
    for reason in reasons:
        print(reason)
    if not rows:
        sys.exit(2)


Look = tuple[dict[str, Any], list[dict[str, Any]], tuple[list[float], list[float]] | None]


def looked_at(data: Dataset, arch: Arch, options: Options) -> Iterator[tuple[str, Look | str]]:
    """Each scheme with its numbers, or with the reason why it has none."""
    from tqdm import tqdm

    names = options.norms or choices("norm")
    for name in tqdm(names, desc="schemes", disable=not sys.stderr.isatty(), leave=False):
        try:
            yield name, look(name, data, arch, options)
        except NormlabError as error:
            yield name, str(error)


def look(name: str, data: Dataset, arch: Arch, options: Options) -> Look:
    """The numbers of one scheme, of its layers, and its spectral density."""
    norm = normalization(name).fit(data.training_images())
    torch.manual_seed(options.seed)  # the same weights under every scheme
    network = Network(norm, arch, data.shape, data.classes)
    images, labels = next(iter(Loader(data.train, min(options.images, len(data.train)), shuffle_seed=0)))
    with torch.no_grad():
        inputs = norm(images)
    loss = LOSSES[arch.loss]
    layers = [vars(layer) for layer in layer_statistics(network.body, loss, inputs, labels)]
    predicted = math.sqrt(predicted_output_variance(first_layer(network.body), second_moments([images], norm)))
    measured = layers[0]["activation_rms"]
    curvature = Curvature(network.body, loss, inputs, labels)
    lambda_max, (trace, trace_error) = curvature.lambda_max(), curvature.trace()
    row = {
        "parameters": curvature.size,
        "lambda_max": lambda_max,
        "stable_rate": 2 / lambda_max if lambda_max > 0 else math.inf,
        "trace": trace,
        "trace_standard_error": trace_error,
        "input_rms": inputs.double().square().mean().sqrt().item(),
        "first_layer_rms_predicted": predicted,
        "first_layer_rms_measured": measured,
        "first_layer_gradient_norm": layers[0]["gradient_norm"],
        "first_layer_gradient_spread": layers[0]["gradient_spread"],
        "last_layer_rms": layers[-1]["activation_rms"],
        "last_layer_gradient_norm": layers[-1]["gradient_norm"],
    }
    if not options.density:
        return row, layers, None
    grid, density = curvature.density()
    return row, layers, (grid.tolist(), density.tolist())


def printed(frame: pd.DataFrame, form: str = "simple") -> str:
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
    data: Dataset,
    what: str,
    arguments: list[str],
    options: Options,
) -> None:
    """Tables as CSV and Markdown, with what made them, and the densities with their figure."""
    from normlab.report import figures

    frame.to_csv(out / "curvature.csv", index=False)
    layers.to_csv(out / "layers.csv", index=False)
    if densities:
        table = pd.concat(
            pd.DataFrame({"scheme": name, "eigenvalue": grid, "density": density})
            for name, (grid, density) in densities.items()
        )
        table.to_csv(out / "density.csv.gz", index=False, float_format="%.6g")
        figures.densities(out / "density", densities, f"Hessian of {what} at its start")
    text = f"""# Curvature of {what} at its start

{printed(frame, "github")}

Loss over {min(options.images, len(data.train)):,} training images; {frame.parameters.iloc[0]:,} parameters under
{frame.scheme.iloc[0]}; seed {options.seed}. lambda_max by Lanczos with Hessian-vector products, trace with its standard
error by Hutchinson's estimator. "First layer rms" is the root mean square of the first layer's output, "predicted" what
the scheme's second moments say of it for weights of that size drawn independently; one draw of few weights may be off.
"Decades of g^2": standard deviation of log10 of the first layer's squared gradients. All layers: layers.csv.

{made_by("python -m normlab.curvature", arguments)}
"""
    (out / "curvature.md").write_text(text)


if __name__ == "__main__":
    main(sys.argv[1:])
