"""Forecasting: windows of one real series, and the value that follows each; the latest part is the test."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from normlab.config import Fraction, PositiveInt
from normlab.data.splits import Part, Source
from normlab.errors import DataError

# Series inside statsmodels, with their columns; el_nino has a row a year and a column a month.
SERIES = {
    "co2": ("co2/co2.csv", "co2"),  # weekly, Mauna Loa, 1958 to 2001: rises by a sixth
    "sunspots": ("sunspots/sunspots.csv", "SUNACTIVITY"),  # yearly, 1700 to 2008
    "el_nino": ("elnino/elnino.csv", None),  # monthly sea surface temperature, 1950 to 2010
}


def forecast(
    *,
    series: Literal["co2", "sunspots", "el_nino"] = "co2",
    window: PositiveInt = 52,
    horizon: PositiveInt = 1,
    validation_share: Fraction = 0.2,
    test_share: Fraction = 0.2,
    standardize_target: bool = True,
) -> Source:
    """Windows of a series, each with the value ``horizon`` steps after its end, split by time.

    The values to predict of the first part of the series are for training, those after it for validation, the latest
    for the test; a window may reach back into the part before its own. The scheme of ``norm=`` is undone on the output
    of the network, by the statistics of the window or of the training set (Kim et al. 2022, figure 2), so that a
    network learns in normalized units and answers in those of the series.

    Args:
        series: of the package statsmodels (``pip install 'normlab[series]'``), which is not imported.
        window: steps that the network sees.
        horizon: steps from the end of the window to the value to predict.
        validation_share: of the values to predict.
        test_share: of the values to predict.
        standardize_target: train on (y - mean)/std of the training values.

    Raises:
        DataError: if statsmodels is not installed, or the series is too short for such windows.
    """
    values, notes = _read(series)
    count = len(values) - window - horizon + 1
    test, validation = round(test_share * count), round(validation_share * count)
    train = count - test - validation
    if min(train, validation, test) < 1:
        raise DataError(
            f"data.window={window}, data.horizon={horizon}: {series} has {len(values)} values, which leave "
            f"{max(0, count)} windows, too few for training, validation and test"
        )
    x = torch.from_numpy(values).float()
    windows = x.unfold(0, window, 1)[:count, None].contiguous()
    following = x[window + horizon - 1 :]
    ends = {"train": (0, train), "validation": (train, train + validation), "test": (train + validation, count)}
    parts = {name: Part(windows[start:end], following[start:end]) for name, (start, end) in ends.items()}
    level = ", ".join(f"{name} {part.labels.mean():.4g}" for name, part in parts.items())
    return Source(
        (series,),
        parts["train"],
        parts["validation"],
        parts["test"],
        notes=(*notes, f"windows of {window} steps and the value {horizon} after; mean to predict: {level}"),
        kind="series",
        task="regression",
        standardize_target=standardize_target,
        forecasts=True,
    )


def _read(series: str) -> tuple[NDArray[np.float64], list[str]]:
    """The values of a series in time, and notes on what was filled in."""
    import pandas as pd

    spec = importlib.util.find_spec("statsmodels")  # without importing the package, which would take a second
    name, column = SERIES[series]
    file = (
        Path(spec.submodule_search_locations[0], "datasets", name) if spec and spec.submodule_search_locations else None
    )
    if file is None or not file.is_file():
        raise DataError(f"data.series={series} lies inside the package statsmodels: pip install 'normlab[series]'")
    table = pd.read_csv(file)
    values = table[column] if column else pd.Series(table.drop(columns="YEAR").to_numpy().ravel())
    missing = int(values.isna().sum())
    notes = [f"{missing} of {len(values):,} values are missing in {series}, and filled in along a straight line"]
    return values.interpolate().to_numpy(np.float64, copy=True), notes if missing else []
