"""Verdicts: what the runs of a study say of a claim, by rules that stand in the study's file before its runs.

Each rule is tested in every cell that it stands ``for each`` of, by two one-sided tests at one level
(:mod:`normlab.statistics.level`), which Holm's method corrects for all tests of the claim. What follows for the claim
from its cells is said by :mod:`normlab.verdicts.conclusion`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import stats

from normlab.errors import ConfigError
from normlab.record import unpack
from normlab.statistics.crossed import crossed_interval, crossed_mean
from normlab.statistics.intervals import Interval, differences, paired_difference
from normlab.statistics.level import ALPHA, FEWEST_PAIRS, POWER
from normlab.statistics.paired import (
    equivalence_test,
    holm,
    non_inferiority_test,
    outside_test,
    superiority_test,
)
from normlab.statistics.power import pairs_needed, power
from normlab.verdicts.conclusion import CellResult, Conclusion, Part, Place, Result, conclude
from normlab.verdicts.language import key_of
from normlab.verdicts.rules import (
    ACCURACIES,
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

ROOT = "config.data.root"  # of a folder
STORED = 1e-9  # relative rounding of a number in the records, which keep nine digits
COUNTED = ("diverged", "failed")  # shares of runs


@dataclass(frozen=True)
class Strength:
    """What a test could have seen.

    Attributes:
        effect: the true difference that power is said for: of a rule with one bound, beyond it by the study's margin
            (of what is no accuracy, by one deviation of the differences); of one with two bounds, their middle.
        deviation: standard deviation of the paired differences.
        power: the chance to show the rule with these pairs if the effect is true, at the strictest level of Holm's.
        needed: pairs that have 90% power; infinite where no number has. Where there were as many and the test is open,
            those for the estimate as the truth. Of tests over images too, as if more seeds
            narrowed all of the interval: more may be needed, or more images.
    """

    effect: float
    deviation: float
    power: float
    needed: float


@dataclass(frozen=True)
class Cell:
    """A rule in one cell.

    Attributes:
        name: of the cell and the rule.
        interval: the difference of the means with its 95% interval; of ``within``, mean and range of the values.
        p_for: one-sided p of the rule.
        p_against: one-sided p of its opposite.
        p: of the result, or the smaller of both where there is none; corrected for all tests of the claim.
        result: what follows.
        lost: pairs that were left out because a run diverged.
        at_least: runs whose value is only known to be as large or larger: they missed a target, or trained at the
            grid's largest rate. The interval takes them as they stand. A rule with two bounds is not decided by the
            bound that the true value may have crossed.
        place: the cell's factors, by which a condition is named.
        rule: the rule in a line, without its cell.
        covers: what the interval is over: ``seeds``, ``seeds and images``, or ``range`` where it is no interval.
        strength: of a test that was made.
        why: it is undecided or not tested.
        by_construction: the rule is true whatever the data are, so that it says nothing of them.
        deviation: standard deviation of the paired differences; of a ratio, of their logarithms.
    """

    name: str
    interval: Interval
    p_for: float
    p_against: float
    p: float
    result: CellResult
    lost: int = 0
    at_least: int = 0
    place: Place = ()
    rule: str = ""
    covers: Literal["seeds", "seeds and images", "images", "range"] = "seeds"
    strength: Strength | None = None
    why: str = ""
    by_construction: bool = False
    deviation: float = math.nan

    @property
    def part(self) -> Part:
        """The cell as a part of its claim."""
        needed = math.nan if self.strength is None or self.result != "undecided" else self.strength.needed
        return Part(self.place, self.rule or self.name, self.result, self.why, needed)


@dataclass(frozen=True)
class Verdict:
    """A claim and what follows from its cells."""

    claim: Claim
    cells: tuple[Cell, ...]

    @cached_property
    def conclusion(self) -> Conclusion:
        """The answer; where all that holds is true by construction, it says so."""
        found = conclude([cell.part for cell in self.cells])
        if found.result == "holds" and self.cells and all(cell.by_construction for cell in self.cells):
            return Conclusion("holds", "by construction")
        return found

    @property
    def result(self) -> Result:
        """The kind of answer."""
        return self.conclusion.result


def judge(claims: Sequence[Claim], runs: Mapping[Rate, pd.DataFrame], margin: float = 0.01) -> list[Verdict]:
    """The verdict on each claim of a study.

    Args:
        claims: of the study.
        runs: records with ``seed``, at the common rate, at each scheme's best, and all.
        margin: the smallest difference of accuracies that matters, for which power is said.
    """
    verdicts = []
    for claim in claims:
        tested = [(rule, cell) for rule in claim.rules for cell in _cells(claim, rule, runs)]
        # A rule that makes no test (exact numbers, a lost pair) is NaN, and none of the tests that are corrected.
        corrected = holm([min(cell.p_for, cell.p_against) for _, cell in tested]).tolist() if tested else []
        tests = sum(not math.isnan(cell.p_for) for _, cell in tested)
        cells = [
            _decided(rule, replace(cell, p=p), tests, margin) for (rule, cell), p in zip(tested, corrected, strict=True)
        ]
        verdicts.append(Verdict(claim, tuple(cells)))
    return verdicts


def open_together(verdicts: Sequence[Verdict]) -> list[tuple[Verdict, Cell]]:
    """Cells that the tests of their study decide, and the tests of all studies of the claim, corrected as one, do not.

    Args:
        verdicts: on one claim, each from another study.

    Returns:
        Each with the verdict that it is part of; its ``p`` is corrected over all.
    """
    tested = [(verdict, cell) for verdict in verdicts for cell in verdict.cells]
    corrected = holm([min(cell.p_for, cell.p_against) for _, cell in tested]).tolist() if tested else []
    found = []
    for (verdict, cell), p in zip(tested, corrected, strict=True):
        if cell.result in ("holds", "refuted") and not math.isnan(p):
            decisive = _corrected(cell.p_for if cell.result == "holds" else cell.p_against, replace(cell, p=p))
            found += [(verdict, replace(cell, p=decisive))] * (decisive > ALPHA)
    return found


def _decided(rule: Rule, cell: Cell, tests: int, margin: float) -> Cell:
    """What the corrected p says, and what the test could have seen."""
    if isinstance(rule, Within | Estimated) or math.isnan(cell.p):
        return cell
    known = cell.at_least == 0 and cell.deviation > 0
    strength = None if not known else strength_of(rule, cell.deviation, cell.interval.n, tests, margin)
    if cell.p <= ALPHA:
        against = _corrected(cell.p_against, cell)
        if cell.p_for < cell.p_against and _matters(rule) and against <= ALPHA:
            why = "there, and smaller than what matters"
            return replace(cell, strength=strength, result="refuted", p=against, why=why)
        return replace(cell, strength=strength, result="holds" if cell.p_for < cell.p_against else "refuted")
    if strength is not None:
        why, needed = _why_open(rule, strength, tests, cell.interval)
        return replace(cell, strength=replace(strength, needed=needed), why=why)
    why = f"{cell.at_least} runs are only known from below"
    what = "ratios" if isinstance(rule, Between) and rule.ratio else "differences"
    return replace(cell, why=why if cell.at_least else f"all {cell.interval.n} {what} are {cell.interval.estimate:g}")


def _corrected(p: float, cell: Cell) -> float:
    """One of a cell's two p, corrected by the factor that Holm's method has for the cell.

    A gain between a rule's margin and what matters is beyond both bounds, so both tests can reject. The rule is then
    refuted: it asks for a gain that matters.
    """
    smaller = min(cell.p_for, cell.p_against)
    return min(1.0, p * cell.p / smaller) if smaller > 0 else p


def foresee(
    claim: Claim, pilot: Mapping[Rate, pd.DataFrame], n: int, margin: float = 0.01
) -> list[tuple[Cell, Strength | None]]:
    """What each test of a claim will be able to see with n pairs, by the variances of a pilot.

    Args:
        claim: whose rules are to be tested.
        pilot: runs as :func:`judge` takes them, of 2 seeds or more.
        n: pairs that are planned.
        margin: the smallest difference of accuracies that matters.

    Returns:
        Each cell of the rules that compare runs; without a strength where the pilot has no such pairs, or none that
        differ.
    """
    tested = [
        (rule, cell)
        for rule in claim.rules
        if not isinstance(rule, Within | Estimated)
        for cell in _cells(claim, rule, pilot)
    ]
    return [
        (cell, strength_of(rule, cell.deviation, n, len(tested), margin) if cell.deviation > 0 else None)
        for rule, cell in tested
    ]


def strength_of(
    rule: Compared | Interaction, deviation: float, n: int, tests: int = 1, margin: float = 0.01
) -> Strength:
    """What a rule's test can see with n pairs whose differences have this deviation.

    Args:
        rule: that is tested.
        deviation: standard deviation of the paired differences; of a ratio, of their logarithms.
        n: pairs.
        tests: that are corrected together; power is said at the strictest level of Holm's, alpha / tests.
        margin: the smallest difference of accuracies that matters.
    """
    low, high = bounds(rule)
    if math.isfinite(low) and math.isfinite(high):
        effect = (low + high) / 2
    elif isinstance(rule, NonInferior):
        effect = 0.0
    else:
        effect = low + (margin if rule.metric in ACCURACIES else deviation)
    level = ALPHA / tests
    shown = math.exp(effect) if isinstance(rule, Between) and rule.ratio else effect
    return Strength(
        shown,
        deviation,
        power(effect, low, high, deviation, n, level),
        pairs_needed(effect, low, high, deviation, level),
    )


def bounds(rule: Compared | Interaction) -> tuple[float, float]:
    """Between which bounds the mean difference has to lie; of a ratio, its logarithm."""
    if isinstance(rule, Superior | Interaction):
        return rule.margin, math.inf
    if isinstance(rule, NonInferior):
        return -rule.margin, math.inf
    if isinstance(rule, Equivalent):
        return -rule.margin, rule.margin
    high = math.inf if rule.high is None else rule.high
    return (math.log(rule.low), math.log(high)) if rule.ratio else (rule.low, high)


def _why_open(rule: Compared | Interaction, strength: Strength, tests: int, found: Interval) -> tuple[str, float]:
    """What the test could have seen, and the pairs needed; where there were enough, the truth lies near a bound."""
    ratio = isinstance(rule, Between) and rule.ratio
    what = "ratio" if ratio else "difference"
    power_ = f"power {strength.power:.0%} for a true {what} of {strength.effect:.3g}"
    if found.n < strength.needed:
        return f"{power_}, {_pairs(strength.needed)} for {POWER:.0%}", strength.needed
    low, high = bounds(rule)
    truth = math.log(found.estimate) if ratio else found.estimate
    enough = low + _matters(rule)
    if truth <= low or (truth < enough and math.isinf(high)):  # to show the opposite
        low, high = -math.inf, enough
    elif truth >= high:
        low, high = high, math.inf
    needed = pairs_needed(truth, low, high, strength.deviation, ALPHA / tests)
    ends = f"{found.estimate:.3g} [{found.low:.3g}, {found.high:.3g}]"
    text = f"near a bound: {ends}; {power_}; {_pairs(needed)} for {POWER:.0%} if the {what} is {found.estimate:.3g}"
    return text, needed


def _pairs(needed: float) -> str:
    return f"n = {needed:g}" if math.isfinite(needed) else "no n"


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
    call = rule.where.get("call") if isinstance(rule, Within | Estimated) else None
    if call is not None and "call" in rows and call not in set(rows.call):
        rows = rows.iloc[:0]  # its measurement is not made yet, and so its columns are not known
    # A key that only some data sources have, such as a folder's root, makes no cells where none has it.
    over = [column for column in rule.over if column in rows or not column.startswith("config.")]
    if ROOT not in rows and any(ROOT in where for where in wheres):
        rows = rows.iloc[:0]  # sides that differ in it, as in a quick version on data that is no folder
    for column in {rule.metric, *over, *(column for where in wheres for column in where)}:
        if len(rows) and column not in rows:
            raise ConfigError(f"claim {claim.id}: the records have no column {column}")
    if isinstance(rule, Within | Estimated) and len(rows):
        rows = _where(rows, rule.where)  # before the cells are made: those of other functions are none of its own
    for column, values in rule.among.items():
        rows = rows[rows[column].isin(values)] if column in rows else rows
    groups: list[tuple[Any, pd.DataFrame]] = [((), rows)]
    if over and len(rows):
        groups = list(rows.groupby(over, sort=True, dropna=False))
    rate = (("rate", rule.at),) if len(claim.rates) > 1 and rule.at in claim.rates else ()
    cells = []
    for values, part in groups:
        columns = over if values else []
        place = tuple((_factor(column), str(value)) for column, value in zip(columns, values, strict=True))
        cell = _cell(rule, part, cell_name(columns, values))
        cells.append(replace(cell, place=(*place, *rate), by_construction=cell.by_construction or rule.by_construction))
    return cells


def _factor(column: str) -> str:
    """How a condition calls a column: ``internal_norm``, ``data`` for a folder's root."""
    key = key_of(column)
    return "data" if key == "data.root" else key.rsplit(".", 1)[-1]


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
    text = _bounded(rule) if isinstance(rule, Within | Estimated) else _compared(rule)
    nothing = Cell(_joined(place, text), NOTHING, math.nan, math.nan, math.nan, "not tested", rule=text)
    if isinstance(rule, Within):
        return _within(rule, runs, nothing)
    if isinstance(rule, Estimated):
        return _estimated(rule, runs, nothing)
    first, second, lost = effects(rule, runs) if isinstance(rule, Interaction) else paired(rule, runs)
    if len(first) < 2:
        why = f"{lost} pairs lost to divergence" if lost else "fewer than two pairs of runs"
        return replace(nothing, lost=lost, why=why)
    first = _without_rounding(first, second)
    interval = paired_difference(first, second)
    less = differences(first, second)
    if isinstance(rule, Between) and rule.ratio:
        ends = [math.exp(value) for value in (interval.estimate, interval.low, interval.high)]
        interval = Interval(ends[0], ends[1], ends[2], interval.n)
    at_least = [_at_least(rule, _where(runs, where)) for where in (rule.first, rule.second)]
    undecided = replace(
        nothing,
        interval=interval,
        result="undecided",
        lost=lost,
        at_least=sum(at_least),
        deviation=float(less.std(ddof=1)),
        # The same numbers on both sides, seed by seed; of what is counted, such as failures, that is a result.
        by_construction=not less.any() and rule.metric not in COUNTED,
    )
    # After a divergence the pairs that are left are no fair sample of all; where all diverged nothing was compared.
    if lost:
        return replace(undecided, why=f"{lost} pairs lost to divergence")
    if len(first) < FEWEST_PAIRS:
        return replace(undecided, why=f"{len(first)} pairs, a verdict needs {FEWEST_PAIRS}")
    if _all_diverged(rule, runs):
        return replace(undecided, result="not tested", why="all runs diverged")
    images = crossed(rule, runs)
    if images is not None:
        return _over_images(rule, images, undecided)
    if not less.any() and not any(at_least):  # one function twice, which needs no test
        low, high = bounds(rule)
        p_for, p_against = float(not low < 0 < high), float(low + _matters(rule) <= 0 <= high)
    elif isinstance(rule, Between):
        p_for, p_against = _between(rule, first, second, *map(bool, at_least))
    else:
        p_for, p_against = _p_values(rule, first, second)
    return replace(undecided, p_for=p_for, p_against=p_against)


def crossed(rule: Compared | Interaction, runs: pd.DataFrame) -> tuple[np.ndarray, np.ndarray] | None:
    """Whether each run is right on each test image, float64 [seeds, images] for both sides of a rule on test accuracy.

    None unless every run of the comparison says it (``correct``), one run a seed, and all were tested on the same
    images (``test_key``, and ``test_images`` their number). Where each seed draws its own, the spread between seeds is
    that of images too.
    """
    if rule.metric != "test_accuracy" or (isinstance(rule, Between) and rule.ratio):
        return None
    if not {"correct", "test_images", "test_key"} <= set(runs):
        return None
    conditions = [rule.under, rule.than] if isinstance(rule, Interaction) else [{}]
    parts = [_where(_where(runs, under), side) for under in conditions for side in (rule.first, rule.second)]
    if any(part.correct.isna().any() or part.seed.duplicated().any() for part in parts):
        return None
    count = {int(images) for part in parts for images in part.test_images}
    tested = {key for part in parts for key in part.test_key}
    if len(count) != 1 or len(tested) != 1 or pd.isna(next(iter(tested))):
        return None
    kept = [dict(zip(part.seed, part.correct, strict=True)) for part in parts]
    seeds = sorted(set.intersection(*map(set, kept)))
    sides = [np.stack([unpack(side[seed], *count) for seed in seeds]).astype(float) for side in kept]
    return (sides[0], sides[1]) if len(sides) == 2 else (sides[0] - sides[1], sides[2] - sides[3])


def _over_images(rule: Compared | Interaction, sides: tuple[np.ndarray, np.ndarray], cell: Cell) -> Cell:
    """A cell whose interval and whose two one-sided tests cover seeds and images."""
    mean, error, degrees = crossed_mean(*sides)
    low, high = bounds(rule)

    def above(value: float) -> float:
        return float(stats.t.sf(value / error, degrees)) if error else float(value <= 0)

    p_for = max(above(mean - low), above(high - mean))
    if math.isinf(high):
        p_against = above(low + _matters(rule) - mean)
    else:  # as in outside_test
        beyond, half = abs(mean - (low + high) / 2), (high - low) / 2
        p_against = min(1.0, above(beyond - half) + above(beyond + half))
    return replace(
        cell,
        interval=crossed_interval(*sides),
        covers="seeds and images",
        p_for=p_for,
        p_against=p_against,
        deviation=error * math.sqrt(cell.interval.n),  # what seeds alone would have to vary by, for the same error
    )


def _matters(rule: Compared | Interaction) -> float:
    return rule.matters if isinstance(rule, Superior | Interaction) else 0.0


NOTHING = Interval(math.nan, math.nan, math.nan, 0)


def _within(rule: Within, runs: pd.DataFrame, nothing: Cell) -> Cell:
    rows = _values(rule, runs)
    values, lost = rows.dropna().to_numpy(), int(rows.isna().sum())
    if not len(rows):
        return replace(nothing, why="nothing was measured")
    if lost:
        return replace(nothing, lost=lost, result="undecided", why=f"{lost} of {len(rows)} rows have no value")
    outside = int(((values < rule.low) | (values > rule.high)).sum())
    spread = Interval(float(values.mean()), float(values.min()), float(values.max()), len(values))
    result: CellResult = "refuted" if outside else "holds"
    why = f"{outside} of {len(values)} outside" if outside else ""
    return replace(nothing, interval=spread, covers="range", result=result, why=why)


def _between(
    rule: Between, first: np.ndarray, second: np.ndarray, first_at_least: bool, second_at_least: bool
) -> tuple[float, float]:
    """One-sided p of the rule, by two one-sided tests, and of its opposite.

    A side that is only known from below says nothing of the bound beyond it: a first that may be larger is not shown to
    lie below ``high``, nor below ``low``.
    """
    low, high = bounds(rule)
    above_low, below_low = superiority_test(first - low, second), superiority_test(second, first - low)
    if math.isinf(high):
        return 1.0 if second_at_least else above_low, 1.0 if first_at_least else below_low
    above_high, below_high = superiority_test(first - high, second), superiority_test(second, first - high)
    if not first_at_least and not second_at_least:
        return max(above_low, below_high), outside_test(first, second, low, high)
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
        enough = rule.margin + rule.matters
        against = non_inferiority_test(second, first, enough) if enough else superiority_test(second, first)
        return superiority_test(first, second, rule.margin), against
    if isinstance(rule, NonInferior):
        return non_inferiority_test(first, second, rule.margin), superiority_test(second, first, rule.margin)
    return equivalence_test(first, second, rule.margin), outside_test(first, second, -rule.margin, rule.margin)


def _compared(rule: Compared | Interaction) -> str:
    """The rule in a line; what is compared is named at its end, unless it is the accuracy."""
    about = "" if rule.metric == "test_accuracy" else f" in {rule.metric}"
    less = f"{_told(rule.first)} - {_told(rule.second)}"
    if isinstance(rule, Superior):
        return f"{less} > {rule.margin:g}{about}{_mattering(rule)}"
    if isinstance(rule, NonInferior):
        return f"{less} > -{rule.margin:g}{about}"
    if isinstance(rule, Equivalent):
        return f"|{less}| < {rule.margin:g}{about}"
    if isinstance(rule, Interaction):
        gain = f"({less} | {_told(rule.under)}) - ({less} | {_told(rule.than)})"
        return f"{gain} > {rule.margin:g}{about}{_mattering(rule)}"
    less = f"{_told(rule.first)} / {_told(rule.second)}" if rule.ratio else less
    return f"{less} > {rule.low:g}{about}" if rule.high is None else f"{rule.low:g} < {less} < {rule.high:g}{about}"


def _mattering(rule: Superior | Interaction) -> str:
    return f" where {rule.matters:g} matters" if rule.matters else ""


def _estimated(rule: Estimated, rows: pd.DataFrame, nothing: Cell) -> Cell:
    columns = [rule.metric, f"{rule.metric}_low", f"{rule.metric}_high"]
    if not set(columns) <= set(rows) or not len(found := rows[columns].dropna()):
        return replace(nothing, why="nothing was measured")
    if lost := len(rows) - len(found):  # the rule is of every row
        return replace(nothing, lost=lost, result="undecided", why=f"{lost} of {len(rows)} rows have no value")
    values, lows, highs = found.astype(float).to_numpy().T
    inside = int(((lows >= rule.low) & (highs <= rule.high)).sum())
    outside = int(((highs < rule.low) | (lows > rule.high)).sum())
    across = len(values) - inside - outside
    # What an estimate rests on are the samples that it was made from, if the measurement says how many: those tested
    # before those trained on; or the seeds, ``n``.
    counted = [
        name
        for name in ("test_images", "images", "samples", "n")
        if name in rows and rows.loc[found.index, name].notna().all()
    ]
    n = int(rows.loc[found.index, counted[0]].iloc[0]) if len(values) == 1 and counted else len(values)
    spread = Interval(float(values.mean()), float(lows.min()), float(highs.max()), n)
    result: CellResult = "refuted" if outside else "undecided" if across else "holds"
    why = f"{outside} of {len(values)} outside" if outside else ""
    if not outside and across:
        why = f"the interval of {across} of {len(values)} spans a bound"
    covers: Literal["seeds", "images", "range"] = "range"
    if len(values) == 1:
        covers = "seeds" if counted[:1] == ["n"] else "images"
    return replace(nothing, interval=spread, covers=covers, result=result, why=why)


def paired(rule: Compared, runs: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, int]:
    """The metric of both sides at the seeds that both have, and how many such pairs a divergence takes away.

    Of a ratio the logarithm of the metric.
    """
    sides, lost = _aligned([_side(rule, _where(runs, where)) for where in (rule.first, rule.second)])
    if isinstance(rule, Between) and rule.ratio:
        if (sides <= 0).any():
            raise ConfigError(f"{rule.metric}: a ratio requires values above 0")
        sides = np.log(sides)
    return sides[0], sides[1], lost


def _without_rounding(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The first side, with one difference from the second where all are equal but for the digits that records keep."""
    gaps = first - second
    rounding = STORED * max(np.abs(first).max(), np.abs(second).max())
    if np.ptp(gaps) > 2 * rounding:
        return first
    return second + (0.0 if np.abs(gaps).max() <= rounding else float(np.median(gaps)))


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
    if rule.metric in COUNTED:
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
        raise ConfigError(f"{rule.metric} has misses, which are infinite: the rule requires a horizon")
    return values if rule.horizon is None else values.clip(upper=rule.horizon)


def _told(where: Where) -> str:
    return " ".join(str(value) for value in where.values())


def _bounded(rule: Within | Estimated) -> str:
    what = " ".join([_told({key: value for key, value in rule.where.items() if key != "call"}), rule.metric]).strip()
    return f"{rule.low:g} <= {what} <= {rule.high:g}"


def _joined(place: str, text: str) -> str:
    return f"{place}: {text}" if place else text
