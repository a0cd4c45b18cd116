"""Verdicts: what the runs of a study say of a claim, by a rule that stands in the study's file before its runs.

A rule is tested in every cell of the study (each architecture, say). The p-values of all cells of all claims of a
study are corrected together (Holm 1979). A claim is ``supported`` or ``contradicted`` if all its cells are,
``conditional`` if some are the one and some the other, and else ``inconclusive``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from normlab.errors import ConfigError
from normlab.statistics.intervals import Interval, paired_difference
from normlab.statistics.paired import equivalence_test, holm, non_inferiority_test, superiority_test
from normlab.verdicts.rules import (
    Between,
    Claim,
    Compared,
    Equivalent,
    Estimated,
    Interaction,
    NonInferior,
    Rate,
    Rule,
    Superior,
    Where,
    Within,
)

ALPHA = 0.05
FEWEST_PAIRS = 5  # a verdict does not rest on fewer seeds
Result = Literal["supported", "contradicted", "conditional", "inconclusive", "untested"]


@dataclass(frozen=True)
class Cell:
    """A rule in one cell.

    Attributes:
        name: of the cell and the rule.
        interval: the difference of the means with its 95% interval; of ``within``, mean and range of the values.
        p_for: one-sided p of the rule.
        p_against: one-sided p of its opposite.
        p: two-sided, corrected for all cells of the study.
        result: what follows.
        lost: pairs that were left out because a run diverged.
        at_least: runs whose value is only known to be as large or larger: they missed a target, or trained at the
            grid's largest rate. The interval takes them as they stand. A rule with two bounds is not decided by the
            bound that the true value may have crossed.
    """

    name: str
    interval: Interval
    p_for: float
    p_against: float
    p: float
    result: Result
    lost: int = 0
    at_least: int = 0


@dataclass(frozen=True)
class Verdict:
    """A claim and what follows from its cells."""

    claim: Claim
    result: Result
    cells: tuple[Cell, ...]


def judge(claims: Sequence[Claim], runs: Mapping[Rate, pd.DataFrame]) -> list[Verdict]:
    """The verdict on each claim of a study.

    Args:
        claims: of the study.
        runs: records with ``seed``, at the common rate, at each scheme's best, and all.
    """
    tested = [[cell for rule in claim.rules for cell in _cells(claim, rule, runs)] for claim in claims]
    flat = [cell for cells in tested for cell in cells]
    # A rule that makes no test (exact numbers, a lost pair) is NaN, and none of the tests that are corrected.
    p_values = [math.nan if math.isnan(cell.p_for) else min(1.0, 2 * min(cell.p_for, cell.p_against)) for cell in flat]
    corrected: Iterator[float] = iter(holm(p_values).tolist() if flat else [])
    verdicts = []
    for claim, cells in zip(claims, tested, strict=True):
        decided = tuple(_decided(replace(cell, p=next(corrected))) for cell in cells)
        verdicts.append(Verdict(claim, combined([cell.result for cell in decided]), decided))
    return verdicts


def combined(results: Sequence[Result]) -> Result:
    """The result of a claim from those of its cells.

    >>> combined(["supported", "supported"]), combined(["supported", "contradicted"]), combined([])
    ('supported', 'conditional', 'untested')
    >>> combined(["supported", "inconclusive"])
    'inconclusive'
    """
    found = set(results)
    if not found or found == {"untested"}:
        return "untested"
    if len(found) == 1:
        return results[0]
    if {"supported", "contradicted"} <= found or "conditional" in found:
        return "conditional"
    return "inconclusive"


def _decided(cell: Cell) -> Cell:
    if cell.result != "inconclusive" or math.isnan(cell.p) or cell.p >= ALPHA:
        return cell
    return replace(cell, result="supported" if cell.p_for < cell.p_against else "contradicted")


def _cells(claim: Claim, rule: Rule, runs: Mapping[Rate, pd.DataFrame]) -> list[Cell]:
    """The rule in each cell, before the correction.

    Raises:
        ConfigError: if the rule names a column, or a kind of rows, that the study does not have.
    """
    if rule.at not in runs:
        raise ConfigError(f"claim {claim.id}: at={rule.at}: this study has {', '.join(runs)}")
    rows = runs[rule.at]
    wheres = [rule.where] if isinstance(rule, Within | Estimated) else [rule.first, rule.second]
    if isinstance(rule, Interaction):
        wheres += [rule.under, rule.than]
    # A key that only some data sources have, such as a folder's root, makes no cells where none has it.
    over = [column for column in rule.over if column in rows or not column.startswith("config.")]
    for column in {rule.metric, *over, *(column for where in wheres for column in where)}:
        if len(rows) and column not in rows:
            raise ConfigError(f"claim {claim.id}: the records have no column {column}")
    if isinstance(rule, Within | Estimated):
        rows = _where(rows, rule.where)  # before the cells are made: those of other functions are none of its own
    for column, values in rule.among.items():
        rows = rows[rows[column].isin(values)] if column in rows else rows
    groups: list[tuple[Any, pd.DataFrame]] = [((), rows)]
    if over and len(rows):
        groups = list(rows.groupby(over, sort=True, dropna=False))
    return [_cell(rule, part, cell_name(over if values else (), values)) for values, part in groups]


def cell_name(columns: Sequence[str], values: Iterable[Any]) -> str:
    """Which cell of a study: names of data, architecture or optimizer speak for themselves, an option needs its key.

    >>> cell_name(["data", "config.arch.internal_norm"], ["cifar10", "none"])
    'cifar10, internal_norm none'
    """
    keys = (
        column.rsplit(".", 1)[1] if column.startswith("config.") and not column.endswith((".name", ".root")) else ""
        for column in columns
    )
    return ", ".join(f"{key} {value}".strip() for key, value in zip(keys, values, strict=True))


def _cell(rule: Rule, runs: pd.DataFrame, place: str) -> Cell:
    nothing = Cell(place, Interval(math.nan, math.nan, math.nan, 0), math.nan, math.nan, math.nan, "untested")
    if isinstance(rule, Within):
        rows = _values(rule, runs)
        values, lost = rows.dropna().to_numpy(), int(rows.isna().sum())
        name = _bounded(place, rule)
        if not len(rows):
            return replace(nothing, name=name)
        if lost:
            return replace(nothing, name=name, lost=lost, result="inconclusive")
        inside = (values >= rule.low) & (values <= rule.high)
        result: Result = "supported" if inside.all() else "conditional" if inside.any() else "contradicted"
        spread = Interval(float(values.mean()), float(values.min()), float(values.max()), len(values))
        return Cell(name, spread, math.nan, math.nan, math.nan, result)
    if isinstance(rule, Estimated):
        return _estimated(rule, runs, place, nothing)
    first, second, lost = effects(rule, runs) if isinstance(rule, Interaction) else paired(rule, runs)
    name = _joined(place, _compared(rule))
    if len(first) < 2:
        return replace(nothing, name=name, lost=lost)
    interval = paired_difference(first, second)
    if isinstance(rule, Between) and rule.ratio:
        ends = [math.exp(value) for value in (interval.estimate, interval.low, interval.high)]
        interval = Interval(ends[0], ends[1], ends[2], interval.n)
    at_least = [_at_least(rule, _where(runs, where)) for where in (rule.first, rule.second)]
    undecided = Cell(name, interval, math.nan, math.nan, math.nan, "inconclusive", lost, sum(at_least))
    # After a divergence the pairs that are left are no fair sample of all; where all diverged nothing was compared.
    if lost or len(first) < FEWEST_PAIRS or _all_diverged(rule, runs):
        return undecided
    if isinstance(rule, Between):
        p_for, p_against = _between(rule, first, second, *map(bool, at_least))
    else:
        p_for, p_against = _p_values(rule, first, second)
    return replace(undecided, p_for=p_for, p_against=p_against)


def _between(
    rule: Between, first: np.ndarray, second: np.ndarray, first_at_least: bool, second_at_least: bool
) -> tuple[float, float]:
    """One-sided p of the rule, by two one-sided tests, and of its opposite.

    A side that is only known from below says nothing of the bound beyond it: a first that may be larger is not shown to
    lie below ``high``, nor below ``low``.
    """
    low, high = (math.log(rule.low), math.log(rule.high)) if rule.ratio else (rule.low, rule.high)
    above_low, below_low = superiority_test(first - low, second), superiority_test(second, first - low)
    above_high, below_high = superiority_test(first - high, second), superiority_test(second, first - high)
    if first_at_least:
        below_low = below_high = 1.0
    if second_at_least:
        above_low = above_high = 1.0
    return max(above_low, below_high), min(below_low, above_high)


def _at_least(rule: Compared | Interaction, runs: pd.DataFrame) -> int:
    """Runs of one side whose value is only known from below: misses of a target, or rates at the grid's end."""
    if rule.metric in runs and rule.horizon is not None:
        return int((runs[rule.metric].astype(float) > rule.horizon).sum())
    end = f"{rule.metric}_at_end"
    return int(runs[end].sum()) if end in runs else 0


def _p_values(
    rule: Superior | NonInferior | Equivalent | Interaction, first: np.ndarray, second: np.ndarray
) -> tuple[float, float]:
    """One-sided p of a rule with one bound or a margin, and of its opposite."""
    if isinstance(rule, Superior | Interaction):
        against = non_inferiority_test(second, first, rule.margin) if rule.margin else superiority_test(second, first)
        return superiority_test(first, second, rule.margin), against
    if isinstance(rule, NonInferior):
        return non_inferiority_test(first, second, rule.margin), superiority_test(second, first, rule.margin)
    outside = min(superiority_test(first, second, rule.margin), superiority_test(second, first, rule.margin))
    return equivalence_test(first, second, rule.margin), outside


def _compared(rule: Compared | Interaction) -> str:
    """The rule in a line."""
    less = f"{_told(rule.first)} - {_told(rule.second)}"
    if isinstance(rule, Superior):
        return f"{less} > {rule.margin:g}"
    if isinstance(rule, NonInferior):
        return f"{less} > -{rule.margin:g}"
    if isinstance(rule, Equivalent):
        return f"|{less}| < {rule.margin:g}"
    if isinstance(rule, Interaction):
        return f"({less} | {_told(rule.under)}) - ({less} | {_told(rule.than)}) > {rule.margin:g}"
    less = f"{_told(rule.first)} / {_told(rule.second)}" if rule.ratio else less
    about = "" if rule.metric == "test_accuracy" else f" of {rule.metric}"
    return f"{rule.low:g} < {less}{about} < {rule.high:g}"


def _estimated(rule: Estimated, rows: pd.DataFrame, place: str, nothing: Cell) -> Cell:
    name = _bounded(place, rule)
    columns = [rule.metric, f"{rule.metric}_low", f"{rule.metric}_high"]
    if not set(columns) <= set(rows) or not len(found := rows[columns].dropna()):
        return replace(nothing, name=name)
    values, lows, highs = found.astype(float).to_numpy().T
    inside = (lows >= rule.low) & (highs <= rule.high)
    outside = (highs < rule.low) | (lows > rule.high)
    results: list[Result] = [
        "supported" if yes else "contradicted" if no else "inconclusive"
        for yes, no in zip(inside, outside, strict=True)
    ]
    # What an estimate rests on are the images that it was made from, if the measurement says so.
    n = int(rows.loc[found.index, "images"].iloc[0]) if len(values) == 1 and "images" in rows else len(values)
    spread = Interval(float(values.mean()), float(lows.min()), float(highs.max()), n)
    return Cell(name, spread, math.nan, math.nan, math.nan, combined(results))


def paired(rule: Compared, runs: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, int]:
    """The metric of both sides at the seeds that both have, and how many such pairs a divergence takes away.

    Of a ratio the logarithm of the metric.
    """
    sides, lost = _aligned([_side(rule, _where(runs, where)) for where in (rule.first, rule.second)])
    if isinstance(rule, Between) and rule.ratio:
        if (sides <= 0).any():
            raise ConfigError(f"{rule.metric}: a ratio wants values above 0")
        sides = np.log(sides)
    return sides[0], sides[1], lost


def effects(rule: Interaction, runs: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, int]:
    """What the first gains over the second under either condition, at the seeds that all four have; the lost ones."""
    parts = [
        _where(_where(runs, condition), side)
        for condition in (rule.under, rule.than)
        for side in (rule.first, rule.second)
    ]
    sides, lost = _aligned([_side(rule, part) for part in parts])
    return sides[0] - sides[1], sides[2] - sides[3], lost


def _side(rule: Rule, runs: pd.DataFrame) -> pd.DataFrame:
    """The metric by seed, and how many runs it is of. Several runs of one seed count as their mean."""
    if not len(runs):  # nothing was measured yet, and there may be no columns
        return pd.DataFrame({"value": pd.Series(dtype=float), "runs": pd.Series(dtype=int)})
    values = _values(rule, runs)
    values.index = pd.Index(runs.seed)
    by_seed = values.groupby(level=0)
    side = pd.DataFrame({"value": by_seed.sum(min_count=1) / by_seed.size(), "runs": by_seed.size()})
    side.loc[by_seed.count() < by_seed.size(), "value"] = math.nan  # none if one of them is lost
    return side


def _aligned(sides: list[pd.DataFrame]) -> tuple[np.ndarray, int]:
    """Values of all sides at the seeds that all have, [sides, seeds], and how many seeds are lost."""
    seeds = sides[0].index
    for side in sides[1:]:
        seeds = seeds.intersection(side.index)
    values = np.stack([side.loc[seeds, "value"].to_numpy(dtype=float) for side in sides])
    counts = np.stack([side.loc[seeds, "runs"].to_numpy() for side in sides])
    whole = np.isfinite(values).all(0) & (counts == counts[0]).all(0)
    return values[:, whole], int((~whole).sum())


def _all_diverged(rule: Compared | Interaction, runs: pd.DataFrame) -> bool:
    if rule.metric in ("diverged", "failed"):  # what is counted
        return False
    sides = [_where(runs, where) for where in (rule.first, rule.second)]
    return all((side.status == "diverged").all() for side in sides)


def _where(runs: pd.DataFrame, where: Where) -> pd.DataFrame:
    for column, value in where.items():
        if column not in runs:
            return runs.iloc[:0]
        runs = runs[runs[column].map(lambda found, value=value: _same(found, value)).astype(bool)]
    return runs


def _same(found: Any, value: Any) -> bool:
    """Whether a cell of a table has a value of a rule, whose numbers are text; a column may hold both."""
    if isinstance(value, str) and isinstance(found, int | float | np.number):
        try:
            return bool(float(value) == found)
        except ValueError:
            return False
    return bool(found == value)


def _values(rule: Rule, runs: pd.DataFrame) -> pd.Series:
    if rule.metric not in runs:
        return pd.Series(math.nan, index=runs.index)
    values = runs[rule.metric].astype(float)
    if rule.diverged_as is not None:
        values = values.mask(runs.status == "diverged", rule.diverged_as)
    if rule.horizon is None and values.abs().eq(math.inf).any():
        raise ConfigError(f"{rule.metric} has misses, which are infinite: the rule wants a horizon")
    return values if rule.horizon is None else values.clip(upper=rule.horizon)


def _told(where: Where) -> str:
    return " ".join(str(value) for value in where.values())


def _bounded(place: str, rule: Within | Estimated) -> str:
    what = " ".join([_told({key: value for key, value in rule.where.items() if key != "call"}), rule.metric]).strip()
    return _joined(place, f"{rule.low:g} <= {what} <= {rule.high:g}")


def _joined(place: str, text: str) -> str:
    return f"{place}: {text}" if place else text
