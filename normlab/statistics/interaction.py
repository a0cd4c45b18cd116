"""Whether the effect of one factor depends on another: does the best scheme depend on the optimizer?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from normlab.statistics.intervals import ROUNDING, Interval, paired_difference


@dataclass(frozen=True)
class Interaction:
    """The interaction of two factors over paired units.

    Attributes:
        estimate: of two levels each, the difference of differences with its 95% t interval over units; else None.
        statistic: F.
        p_value: of F, in [0, 1]; NaN of one unit, which leaves nothing to judge by.
        degrees_of_freedom: of the interaction, (a - 1)(b - 1), and of the residual, (a b - 1)(n - 1).
    """

    estimate: Interval | None
    statistic: float
    p_value: float
    degrees_of_freedom: tuple[int, int]


def interaction(frame: pd.DataFrame, value: str, first: str, second: str, unit: str) -> Interaction:
    """The interaction of two factors, each unit (seed) a block that has one value in every cell.

    F compares the residual sums of squares of two linear models, ``unit + first + second`` without and with
    ``first:second`` (Seber and Lee 2003, Linear Regression Analysis, section 4.3). It pools the noise of all cells,
    hence its many degrees of freedom, and is right if a unit moves all its cells alike. Where units differ in how
    they respond to the factors it is not: p is too large if they differ in the response to either factor by itself,
    too small if they differ in the interaction.

    Of two levels each, use the estimate: with levels a0, a1 and b0, b1 in order, the mean over units of
    (a1 b1 - a1 b0) - (a0 b1 - a0 b0). It needs no such assumption, and has n - 1 degrees of freedom; its p is
    :func:`~normlab.statistics.t_test` of a1 b1 - a1 b0 against a0 b1 - a0 b0. (n estimate^2 / 4 is the sum of squares
    in F; the two tests differ in the noise that they hold against it.)

    >>> rows = [("sgd", 0, 1, 10.0), ("sgd", 1, 1, 12.0), ("adam", 0, 1, 10.0), ("adam", 1, 1, 11.0),
    ...         ("sgd", 0, 2, 20.0), ("sgd", 1, 2, 22.0), ("adam", 0, 2, 21.0), ("adam", 1, 2, 20.0)]
    >>> found = interaction(pd.DataFrame(rows, columns=["optim", "norm", "seed", "y"]), "y", "optim", "norm", "seed")
    >>> found.estimate.estimate, found.degrees_of_freedom  # ((2 - 1) + (2 - -1)) / 2
    (2.0, (1, 3))

    Args:
        frame: one row for each unit and cell, in any order.
        value: the column of values, finite.
        first: the column of a factor with 2 or more levels; they are ordered as pandas sorts them, categories as given.
        second: likewise.
        unit: the column of the paired units, as a rule ``seed``.

    Raises:
        ValueError: if a unit has no value in a cell, several, or one that is not finite (the message names the unit and
            the cell), if a row lacks a unit or a level, or if a factor has a single level.
    """
    values = _cells(frame, value, first, second, unit)
    n, a, b = values.shape
    estimate = None
    if (a, b) == (2, 2):
        estimate = paired_difference(values[:, 1, 1] - values[:, 1, 0], values[:, 0, 1] - values[:, 0, 0])
    degrees = ((a - 1) * (b - 1), (a * b - 1) * (n - 1))
    if n == 1:
        return Interaction(estimate, math.nan, math.nan, degrees)
    block, row, column = np.indices(values.shape)
    # By number: a formula would have to quote "norm.name".
    data = pd.DataFrame({"value": values.ravel(), "unit": block.ravel(), "a": row.ravel(), "b": column.ravel()})
    additive = ols("value ~ C(unit) + C(a) + C(b)", data).fit()
    full = ols("value ~ C(unit) + C(a) * C(b)", data).fit()
    nothing = values.size * (ROUNDING * np.abs(values).max()) ** 2  # a sum of squares that is nothing but rounding
    if full.ssr <= nothing:  # no noise to judge by: as in the t test, any interaction at all is one
        return Interaction(estimate, *((0.0, 1.0) if additive.ssr <= nothing else (math.inf, 0.0)), degrees)
    compared = anova_lm(additive, full).iloc[1]
    return Interaction(estimate, float(compared["F"]), float(compared["Pr(>F)"]), degrees)


def _cells(frame: pd.DataFrame, value: str, first: str, second: str, unit: str) -> NDArray[np.float64]:
    """The one value of every unit in every cell, [n, a, b]."""
    names = (unit, first, second)
    keys = [pd.Categorical(frame[name]).remove_unused_categories() for name in names]
    for name, key in zip(names, keys, strict=True):
        if (key.codes < 0).any():
            raise ValueError(f"a row has no {name}")
        if name != unit and len(key.categories) < 2:
            raise ValueError(f"{name} has {len(key.categories)} level: an interaction needs two or more")
    places = tuple(key.codes for key in keys)
    values = np.full([len(key.categories) for key in keys], np.nan)
    values[places] = frame[value].to_numpy(np.float64, na_value=np.nan)
    count = np.zeros(values.shape, dtype=int)
    np.add.at(count, places, 1)
    wrong = np.argwhere((count > 1) | ~np.isfinite(values))
    if len(wrong):
        at = tuple(wrong[0])
        where = ", ".join(f"{name}={key.categories[i]}" for name, key, i in zip(names, keys, at, strict=True))
        found = f"{count[at]} values" if count[at] > 1 else "no finite value" if count[at] else "no value"
        raise ValueError(f"{found} of {value} at {where}: expected one for every {unit}, {first} and {second}")
    return values
