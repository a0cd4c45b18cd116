"""Scalings of tables without training: conditioning, coefficients, and trees as a control (claims D01 and A02)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from normlab.config import data_label
from normlab.data import Dataset, dataset
from normlab.errors import DataError
from normlab.measurements.conditioning import predicted_numbers
from normlab.measurements.feature_scales import as_importance
from normlab.measurements.registry import measurement
from normlab.measurements.starts import fitted
from normlab.statistics import mean_interval
from normlab.theory.descent import descent
from normlab.theory.prediction import dataset_moments

NORMS = ("raw", "standard", "robust", "min_max_dataset")
Array = NDArray[np.float64]


@measurement
def table_conditioning(
    *, data: dict[str, Any], outliers: Sequence[float] = (0.0, 0.02), norms: Sequence[str] = NORMS, eps: float = 0.1
) -> list[dict[str, Any]]:
    """The linear model on a table under each scheme: its Hessian, and the descent that theory predicts.

    Args:
        data: options of :func:`normlab.dataset`, a table.
        outliers: shares of planted outliers, a data set for each.
        norms: schemes; the first is the one that the others are compared with.
        eps: relative excess loss.

    Returns:
        A row for each share and scheme: ``rank``, ``condition_number`` (on the range), ``lambda_max``, ``stable_rate``,
        ``iterations`` of descent at the rate 1/lambda_max to a relative excess loss of eps, and ``gain``, the condition
        number of the first scheme over that of this one.
    """
    rows = []
    for share in outliers:
        loaded = dataset(**data, outliers=share)
        first = 0.0
        for name in norms:
            theory = descent(dataset_moments(loaded, fitted(loaded, name)), bias=True)
            numbers = predicted_numbers(name, theory, (eps,))
            first = first or numbers["condition_number"]
            rows.append(
                {
                    "data": data_label(data),
                    "outliers": share,
                    "norm": name,
                    "rows": len(loaded.train),
                    "columns": loaded.shape[0],
                    **{key: numbers[key] for key in ("rank", "condition_number", "lambda_max", "stable_rate")},
                    "iterations": numbers[f"iterations_to_{eps:g}"],
                    "gain": first / numbers["condition_number"],
                }
            )
    return rows


@measurement
def boosted_trees(
    *,
    data: dict[str, Any],
    outliers: Sequence[float] = (0.0, 0.02),
    norms: Sequence[str] = NORMS,
    seeds: Sequence[int] = tuple(range(10)),
) -> list[dict[str, Any]]:
    """Gradient boosting of scikit-learn under each scheme: a control, because its splits depend on the order alone.

    What differs is rounding: a threshold lies midway between two values, and float32 rounds both.

    Args:
        data: options of :func:`normlab.dataset`, a table with classes.
        outliers: shares of planted outliers.
        norms: schemes; the first is the one that the others are compared with.
        seeds: a split of the rows, and a model, for each.

    Returns:
        A row for each share and scheme: mean test ``accuracy``; ``difference`` from the first scheme with its 95%
        interval over seeds, ``difference_low`` and ``difference_high``; ``disagreement``, the share of test rows that
        are classified otherwise than under the first scheme.

    Raises:
        DataError: for a regression.
    """
    from sklearn.ensemble import GradientBoostingClassifier

    rows = []
    for share in outliers:
        answers: dict[str, list[Array]] = {name: [] for name in norms}
        right: dict[str, list[float]] = {name: [] for name in norms}
        for seed in seeds:
            loaded = dataset(**{**data, "outliers": share, "split_seed": seed})
            if loaded.task != "classification":
                raise DataError(f"data={data_label(data)}: boosted_trees takes a table with classes")
            for name in norms:
                train, test = (_normalized(loaded, name, split) for split in ("train", "test"))
                model = GradientBoostingClassifier(random_state=seed).fit(train, loaded.train.labels.numpy())
                answers[name].append(model.predict(test))
                right[name].append(float((answers[name][-1] == loaded.test.labels.numpy()).mean()))
        for name in norms:
            gaps = np.array(right[name]) - np.array(right[norms[0]])
            difference = mean_interval(gaps)
            others = [(one != first).mean() for one, first in zip(answers[name], answers[norms[0]], strict=True)]
            rows.append(
                {
                    "data": data_label(data),
                    "outliers": share,
                    "norm": name,
                    "seeds": len(seeds),
                    "accuracy": float(np.mean(right[name])),
                    "difference": difference.estimate,
                    "difference_low": difference.low,
                    "difference_high": difference.high,
                    "disagreement": float(np.mean(others)),
                }
            )
    return rows


@measurement
def table_coefficients(
    *,
    data: dict[str, Any],
    outliers: Sequence[float] = (0.0, 0.02),
    norms: Sequence[str] = NORMS,
    resamples: int = 1000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Whether larger coefficients mean larger effects in a table with a number to predict, under each scheme.

    As :func:`normlab.measurements.feature_scales.wine_coefficients`: the effect of a feature is the rise of the squared
    error without the feature, which no scaling changes.

    Args:
        data: options of :func:`normlab.dataset`, a regression.
        outliers: shares of planted outliers.
        norms: schemes that are a scale and a shift of each column.
        resamples: of the bootstrap over rows.
        seed: of the bootstrap.

    Returns:
        A row for each share and scheme: ``agreement``, Spearman's rank correlation of |coefficient| and effect, with
        its 95% percentile interval, ``agreement_low`` and ``agreement_high``; ``equal_effect_ratio``, the factor by
        which the coefficients of two features of equal effect may differ.

    Raises:
        DataError: for a table with classes.
    """
    rows = []
    for share in outliers:
        loaded = dataset(**data, outliers=share)
        if loaded.task != "regression":
            raise DataError(f"data={data_label(data)}: table_coefficients takes a regression")
        y = loaded.train.labels.double().numpy()
        generator = np.random.default_rng(seed)
        draws = [generator.integers(len(y), size=len(y)) for _ in range(resamples)]
        for name in norms:
            x = _normalized(loaded, name, "train")
            about = {"data": data_label(data), "outliers": share, "norm": name, "rows": len(y)}
            rows.append({**about, **as_importance(x, y, draws)})
    return rows


def _normalized(data: Dataset, name: str, split: str) -> Array:
    """A split under a scheme fitted on the training rows, float64 [N, C]."""
    norm = fitted(data, name).double()
    with torch.no_grad():
        return norm(data.splits[split].inputs).double().numpy()
