"""The linear model under every scheme: its spectrum, the descent that theory predicts, and measured descent."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from normlab import record
from normlab.config import compose
from normlab.data import Dataset
from normlab.errors import NormlabError
from normlab.measurements.starts import fitted
from normlab.norms import normalization
from normlab.record import Curve
from normlab.theory.descent import Descent, descent, iterations_by_condition_number
from normlab.theory.lanczos import largest_eigenvalues
from normlab.theory.moments import is_affine, raw_moments
from normlab.theory.prediction import Prediction, dataset_moments


def largest_only(data: Dataset, names: Sequence[str], bias: bool) -> Iterator[tuple[str, float | str]]:
    """Each scheme with lambda_max by Lanczos, for data too large for a dense matrix, or with the reason for none."""
    from tqdm import tqdm

    for name in tqdm(names, desc="schemes", disable=not sys.stderr.isatty(), leave=False):
        try:
            yield name, largest_eigenvalues(data.train, fitted(data, name), bias=bias)[0].item()
        except NormlabError as error:
            yield name, str(error)


def theories(data: Dataset, names: Sequence[str], bias: bool) -> Iterator[tuple[str, Descent | str]]:
    """Each scheme with its theory on these data, or with the reason for none."""
    from tqdm import tqdm  # here, so that a mistake is reported before this import

    raw = None
    for name in tqdm(names, desc="schemes", disable=not sys.stderr.isatty(), leave=False):
        try:
            norm = fitted(data, name)
            if raw is None and is_affine(norm):
                raw = raw_moments(data.training_batches(), len(data.classes), (data.black, data.white))
            yield name, descent(dataset_moments(data, norm, raw), bias)
        except NormlabError as error:
            yield name, str(error)


def predicted_numbers(name: str, theory: Descent, eps: Sequence[float]) -> dict[str, Any]:
    """The predicted numbers of one scheme, with rates and iterations of plain gradient descent from zero weights."""
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


def measured_descent(
    name: str,
    theory: Descent,
    data: dict[str, Any],
    *,
    bias: bool,
    eps: Sequence[float],
    steps: int,
    unreached_steps: int | None = None,
) -> tuple[dict[str, Any], pd.DataFrame | None]:
    """The measured iterations of a run of the harness, and its curve with the predicted curve.

    If the run has a record, the record is used. A scheme with trained parameters has no quadratic loss, so nothing is
    measured for it.

    Args:
        name: of the scheme.
        theory: of the linear model under it.
        data: the values of the group.
        bias: whether the model has a bias.
        eps: relative excess losses.
        steps: of descent, at the rate 1/lambda_max.
        unreached_steps: number of steps if the theory says that ``steps`` reach no eps; None: the same number.
    """
    from normlab.run import run  # here, because it imports Lightning, which most measurements do not need

    if any(True for _ in normalization(name).parameters()):
        return {}, None
    rate = 1 / theory.spectrum.lambda_max
    if unreached_steps and theory.iterations(max(eps), rate) > steps:
        steps = unreached_steps
    # One more step, because the loss at step k is the loss of the weights after k updates.
    trainer = {"name": "default", "max_epochs": steps + 1, "eval_every_epochs": steps + 1, "checkpoint": False}
    arch = {"name": "linear", "bias": bias}
    config = compose("conditioning", data=data, norm=name, arch=arch, optim="gd", trainer=trainer)
    if record.existing(config) is None:
        run(config, progress="none")
    rows = [row for row in Curve.read(record.folder(config) / "curve.csv") if row.split == "train"]
    comparison = Prediction(theory, rate, 0.0, True).compare(rows, tuple(eps))
    numbers = {"measured_steps": steps, "curve_deviation": comparison["curve_deviation"]}
    for level, reached in comparison["measured_iterations"].items():
        predicted = theory.iterations(float(level), rate)
        numbers[f"measured_iterations_to_{level}"] = reached
        numbers[f"measured_over_predicted_to_{level}"] = reached / predicted if math.isfinite(reached) else math.nan
    span = theory.initial - theory.optimum
    curve = pd.DataFrame({"step": [row.step for row in rows], "measured": [row.value for row in rows]})
    curve["measured"] = (curve.measured - theory.optimum) / span
    curve["predicted"] = (theory.curve(int(curve.step.max()), rate).numpy()[curve.step] - theory.optimum) / span
    return numbers, curve


def surface(data: Dataset, name: str, steps: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hessian, optimum and path of descent of the first output's two weights, from zero at the best constant rate."""
    moments = dataset_moments(data, fitted(data, name))
    hessian, cross = moments.second_moment(False).numpy(), moments.cross_moment(False)[:, 0].numpy()
    rate = descent(moments, bias=False).best_rate
    path = [np.zeros(2)]
    for _ in range(steps):
        path.append(path[-1] - rate * (hessian @ path[-1] - cross))
    return hessian, np.linalg.lstsq(hessian, cross, rcond=None)[0], np.array(path)
