"""The tables of a study: each scheme at the common learning rate and at its own best, and what sets it off from one."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
from tabulate import tabulate

from normlab.record import SCORES
from normlab.report.study import Study
from normlab.statistics import (
    Interval,
    crossed_interval,
    crossed_test,
    holm,
    mean_interval,
    paired_difference,
    restricted_difference,
    t_test,
    time_to_target,
)
from normlab.verdicts import Cell, Verdict
from normlab.verdicts.judge import crossed
from normlab.verdicts.rules import Superior

RECORDINGS = {"audio", "spoken_digits", "tones"}  # data of waveforms
TEXTS = {"text", "sms", "sms_like"}


def wide(study: Study, runs: pd.DataFrame) -> pd.DataFrame:
    """A row for each scheme in each cell of the study.

    Columns: the cell's factors, norm, lr, at_edge (whether that rate is the grid's lowest or highest), n (runs),
    diverged (share), accuracy with its 95% t interval over the finished runs, and for the target the median epochs and
    steps, their mean with a miss counted as the longest run, and the share that reached it. Where the plan searches the
    rates, at_edge means those that the cell tried, and there are tried (how many), smallest and largest of them.
    """
    tried = _tried(study) if study.plan.rates else {}
    target = f"epochs_to.{study.plan.target:g}"
    horizon = float(study.runs["config.trainer.max_epochs"].max())
    rows = []
    for values, part in runs.groupby([*study.factors, "norm"], sort=False):
        finished = part[part.status == "finished"]
        accuracy = mean_interval(finished[f"test_{study.score}"].to_numpy())
        times, steps = times_to(part, target), times_to(part, f"steps_to.{study.plan.target:g}")
        reached = time_to_target(times.dropna().to_numpy(), horizon)
        lr = part.lr.dropna().astype(float).unique()
        ends = tried[values] if study.plan.rates else study.rates
        rows.append(
            {
                **dict(zip([*study.factors, "norm"], values, strict=True)),
                "lr": lr[0] if len(lr) == 1 else math.nan,
                "at_edge": len(ends) > 1 and len(lr) == 1 and lr[0] in (ends[0], ends[-1]),
                **({"tried": len(ends), "smallest": ends[0], "largest": ends[-1]} if study.plan.rates else {}),
                "n": len(part),
                "diverged": float((part.status == "diverged").mean()),
                "accuracy": accuracy.estimate,
                "accuracy_low": accuracy.low,
                "accuracy_high": accuracy.high,
                "finished": accuracy.n,
                "epochs_median": reached.median,
                "steps_median": float(steps.median()),
                "epochs_mean": reached.restricted_mean,
                "reached": reached.share,
            }
        )
    frame = pd.DataFrame(rows)
    return frame.sort_values(study.factors, kind="stable", ignore_index=True) if study.factors else frame


def _tried(study: Study) -> dict[Any, list[float]]:
    """The learning rates, sorted, that the best one of each scheme in each cell was chosen from."""
    cells = study.runs[~study.confirms].groupby([*study.factors, "norm"], sort=False)
    return {values: sorted(part.lr.dropna().astype(float).unique()) for values, part in cells}


def times_to(runs: pd.DataFrame, column: str) -> pd.Series:
    """When each run reached a target: infinite if never, also by divergence; NaN where it was not asked."""
    times = runs.get(column, pd.Series(math.nan, index=runs.index)).astype(float)
    return times.mask((runs.status == "diverged") & times.isna(), math.inf)


def kind_of(runs: pd.DataFrame) -> str:
    """What the samples of runs on one kind of data are: images, table, series, recordings or texts."""
    data = set(runs.data)
    if data <= RECORDINGS:
        return "recordings"
    if data <= TEXTS:
        return "texts"
    positions = {len(shape) for shape in runs["normalized.shape"].dropna()} if "normalized.shape" in runs else set()
    return {frozenset({1}): "table", frozenset({2}): "series"}.get(frozenset(positions), "images")


def conditions_of(study: Study) -> str:
    """Of a study's runs: network, initialization, optimizer, schedule, images and epochs; empty without runs."""
    if not study.records:
        return ""
    runs = study.runs
    counts = runs["provenance.images.train"] if "provenance.images.train" in runs else pd.Series(dtype=float)
    images = [f"{int(count):,}" for count in sorted(counts.dropna().unique())]
    epochs = [f"{count:g}" for count in sorted(runs["config.trainer.max_epochs"].unique())]
    inits = list(runs["config.arch.init"].dropna().unique()) if "config.arch.init" in runs else []
    kinds = {kind_of(cell) for _, cell in runs.groupby("data")}
    samples = {"table": "rows"}.get(kind := kinds.pop(), kind) if len(kinds) == 1 else "samples"
    parts = [" or ".join(runs.arch.unique())]
    parts += [f"init {' or '.join(inits)}"] * bool(inits)
    parts += [" or ".join(runs.optim.unique()), f"{' or '.join(runs['config.optim.schedule'].unique())} rate"]
    parts += [f"{' or '.join(images)} training {samples}"] * bool(images)
    parts += [f"{' or '.join(epochs)} epochs"]
    return ", ".join(parts)


def differences(study: Study, runs: pd.DataFrame, reference: str | None = None) -> pd.DataFrame:
    """Accuracy of each scheme minus that of a reference, at the seeds that both have, and how much later it learns.

    Args:
        study: of the runs.
        runs: at one choice of the learning rates.
        reference: the scheme that the others are compared with; None: the study's own.

    Columns: the cell's factors, norm, n (pairs), lost (pairs that a divergence takes away), difference with its 95% t
    interval, p of the paired t test, p_holm corrected for all rows; later, the epochs to the target less those of the
    reference, with its interval, where a run that never reaches it counts as the longest one; NaN if none reaches it.
    """
    reference = reference or study.reference
    target = f"epochs_to.{study.plan.target:g}"
    horizon = float(study.runs["config.trainer.max_epochs"].max())
    rows = []
    cells: list[tuple[Any, pd.DataFrame]] = [((), runs)]
    if study.factors:
        cells = list(runs.groupby(study.factors, sort=False))
    for values, cell in cells:
        table = cell.pivot_table(index="seed", columns="norm", values=f"test_{study.score}", sort=False, dropna=False)
        if reference not in table:
            continue
        have = {str(norm): set(part.seed) for norm, part in cell.groupby("norm")}
        for norm in [str(name) for name in table if name != reference]:
            seeds = sorted(have[norm] & have[reference])
            both = table.loc[seeds, [norm, reference]].dropna()
            difference = paired_difference(both[norm].to_numpy(), both[reference].to_numpy())
            p = t_test(both[norm].to_numpy(), both[reference].to_numpy())
            images = None
            if len(both) == len(seeds):
                images = crossed(Superior(kind="superior", first={"norm": norm}, second={"norm": reference}), cell)
            if images is not None:
                difference, p = crossed_interval(*images), crossed_test(*images)
            sides = [
                times_to(part, target).groupby(part.seed).mean().reindex(seeds)
                for part in (cell[cell.norm == norm], cell[cell.norm == reference])
            ]
            asked = sides[0].notna() & sides[1].notna()
            later = Interval(math.nan, math.nan, math.nan, 0)
            if any((side[asked] <= horizon).any() for side in sides):  # else it says nothing that both are as late
                later = restricted_difference(sides[0][asked].to_numpy(), sides[1][asked].to_numpy(), horizon)
            rows.append(
                {
                    **dict(zip(study.factors, values, strict=True)),
                    "norm": norm,
                    "n": difference.n,
                    "lost": len(seeds) - len(both),
                    "difference": difference.estimate,
                    "low": difference.low,
                    "high": difference.high,
                    "covers": "seeds" if images is None else "seeds and images",
                    "p": p,
                    "later": later.estimate,
                    "later_low": later.low,
                    "later_high": later.high,
                }
            )
    columns = ["n", "lost", "difference", "low", "high", "covers", "p", "later", "later_low", "later_high"]
    frame = pd.DataFrame(rows, columns=[*study.factors, "norm", *columns])
    return frame.assign(p_holm=holm(frame.p.to_numpy(dtype=float)))


def shown_wide(study: Study, frame: pd.DataFrame) -> dict[str, list[str]]:
    """The wide table as people read it."""
    target = f"{study.plan.target:g}"
    whole = "what was tried" if study.plan.rates else "the grid"
    return {
        **{heading(factor): list(map(str, frame[factor])) for factor in study.factors},
        "scheme": list(frame.norm),
        "lr": [
            "auto" if math.isnan(lr) else f"{lr:g}{f' (edge of {whole})' * bool(edge)}"
            for lr, edge in zip(frame.lr, frame.at_edge, strict=True)
        ],
        **(
            {
                "rates tried": [
                    f"{tried}, {smallest:g} to {largest:g}"
                    for tried, smallest, largest in zip(frame.tried, frame.smallest, frame.largest, strict=True)
                ]
            }
            if "tried" in frame
            else {}
        ),
        "n": list(map(str, frame.n)),
        "diverged": [f"{share:.0%}" for share in frame.diverged],
        f"test {SCORES[study.score]}": [
            percent(a, low, high)
            for a, low, high in zip(frame.accuracy, frame.accuracy_low, frame.accuracy_high, strict=True)
        ],
        f"median epochs to {target}": [
            _epochs(epochs) + f" ({steps:,.0f} steps)" * (math.isfinite(steps) and steps != epochs)
            for epochs, steps in zip(frame.epochs_median, frame.steps_median, strict=True)
        ],
        f"reached {target}": [f"{share:.0%}" if not math.isnan(share) else "-" for share in frame.reached],
    }


def shown_differences(study: Study, frame: pd.DataFrame) -> dict[str, list[str]]:
    """The differences as people read them."""
    return {
        **{heading(factor): list(map(str, frame[factor])) for factor in study.factors},
        "scheme": list(frame.norm),
        f"minus {study.reference}, points": [
            percent(d, low, high, sign=True)
            for d, low, high in zip(frame.difference, frame.low, frame.high, strict=True)
        ],
        "pairs": list(map(pairs_shown, frame.n, frame.lost, frame.covers)),
        "p": [p_value(value) for value in frame.p],
        "p, Holm": [p_value(value) for value in frame.p_holm],
        f"epochs later to {study.plan.target:g}": [
            "-" if math.isnan(later) else f"{later:+.1f}" + f" [{low:+.1f}, {high:+.1f}]" * (low < high)
            for later, low, high in zip(frame.later, frame.later_low, frame.later_high, strict=True)
        ],
    }


def pairs_shown(n: int, lost: int, covers: str) -> str:
    """How many pairs a difference rests on, how many a divergence took away, and whether images count too.

    >>> pairs_shown(5, 0, "seeds"), pairs_shown(5, 0, "seeds and images"), pairs_shown(2, 3, "seeds")
    ('5', '5 (and images)', '2 (3 lost to divergence)')
    """
    return f"{n} ({lost} lost to divergence)" if lost else f"{n} (and images)" if covers != "seeds" else str(n)


def percent(value: float, low: float, high: float, sign: bool = False) -> str:
    """A share with its interval, in percent; with a sign a difference of shares, in points, which its column names.

    >>> percent(0.5, 0.4, 0.61), percent(0.5, float("nan"), float("nan")), percent(float("nan"), 0, 0)
    ('50.0% [40.0, 61.0]', '50.0%', '-')
    >>> percent(-0.123, -0.2, -0.05, sign=True)
    '-12.3 [-20.0, -5.0]'
    """
    if math.isnan(value):
        return "-"
    form = "+.1f" if sign else ".1f"
    ends = f" [{100 * low:{form}}, {100 * high:{form}}]" * (low < high)  # none of one value, or of equal ones
    return f"{100 * value:{form}}{'' if sign else '%'}{ends}"


def interval(found: Interval) -> str:
    """An estimate with its interval; without, where it has none, or all values are the same.

    >>> interval(Interval(1.0, 0.5, 1.5, 3)), interval(Interval(math.nan, math.nan, math.nan, 0))
    ('1 [0.5, 1.5]', '-')
    >>> interval(Interval(1.0, 1.0, 1.0, 3))
    '1'
    """
    if math.isnan(found.estimate):
        return "-"
    return f"{found.estimate:.4g}" + f" [{found.low:.4g}, {found.high:.4g}]" * (found.low < found.high)


def shown_verdict(verdict: Verdict) -> dict[str, list[str]]:
    """What decides a claim as people read it, a row for each cell."""
    cells = verdict.cells
    return {
        "tested": [tested(cell) for cell in cells],
        "effect": [effect(cell) for cell in cells],
        "n": [pairs(cell) for cell in cells],
        "p, Holm": [p_value(cell.p) for cell in cells],
        "result": [answer(cell) for cell in cells],
    }


def tested(cell: Cell) -> str:
    """The rule with its cell, and the choice of the learning rate where the claim stands for several.

    >>> tested(Cell("cnn: a - b > 0", Interval(0, 0, 0, 1), 0, 0, 0, "holds", place=(("rate", "best"),)))
    'cnn: a - b > 0, best rate'
    """
    rates = {"common": "common rate", "best": "best rate", "all": "all rates", "range": "range of rates"}
    rate = dict(cell.place).get("rate")
    return f"{cell.name}, {rates.get(rate, rate)}" if rate else cell.name


def effect(cell: Cell) -> str:
    """What was found in a cell: brackets are for intervals alone, a range of exact values stands in words.

    >>> effect(Cell("", Interval(0.5, 0.0, 1.0, 3), 0.1, 0.9, 0.2, "holds", covers="range"))
    '0 to 1'
    """
    found = cell.interval
    if cell.covers == "range" and found.low < found.high:
        return f"{found.low:.4g} to {found.high:.4g}"
    return interval(found)


def headline(verdict: Verdict) -> str:
    """What was found by the first rule of a claim that has a value: its effect, or the least and the largest of cells.

    >>> from normlab.verdicts import Claim
    >>> cells = [Cell("", Interval(e, e - 1, e + 1, 5), 0, 1, 0, "holds", rule="a - b > 0") for e in (3.0, 1.0, 2.0)]
    >>> headline(Verdict(Claim(id="X", rules=("a > b",)), tuple(cells)))
    'a - b > 0: 1 [0, 2] to 3 [2, 4] in 3 cells, n = 5'
    """
    known = [cell for cell in verdict.cells if not math.isnan(cell.interval.estimate)]
    same = sorted((cell for cell in known if cell.rule == known[0].rule), key=lambda cell: cell.interval.estimate)
    if not same:
        return ""
    n = " or ".join(dict.fromkeys(pairs(cell) for cell in same))
    ends = list(dict.fromkeys([effect(same[0]), effect(same[-1])]))
    if all(cell.covers == "range" for cell in same):
        low, high = min(cell.interval.low for cell in same), max(cell.interval.high for cell in same)
        ends = list(dict.fromkeys([f"{low:.4g}", f"{high:.4g}"]))
    return f"{same[0].rule}: {' to '.join(ends)}{f' in {len(same)} cells' * (len(same) > 1)}, n = {n}"


def answer(cell: Cell) -> str:
    """The result of a cell with what stands beside it: why it is undecided, that it is true by construction."""
    about = [cell.why] * bool(cell.why) + ["by construction"] * cell.by_construction
    return cell.result + f" ({'; '.join(about)})" * bool(about)


def pairs(cell: Cell) -> str:
    """How many pairs a cell rests on, and what is known of them.

    >>> pairs(Cell("", Interval(1.0, 0.5, 1.5, 8), 0.1, 0.9, 0.2, "undecided", lost=2, at_least=3))
    '8 (2 lost, 3 at least)'
    """
    about = [f"{cell.lost} lost"] * bool(cell.lost) + [f"{cell.at_least} at least"] * bool(cell.at_least)
    about += ["seeds and images"] * (cell.covers == "seeds and images")
    return str(cell.interval.n) + f" ({', '.join(about)})" * bool(about)


def _epochs(value: float) -> str:
    return "-" if math.isnan(value) else "never" if math.isinf(value) else f"{value:g}"


def p_value(value: float) -> str:
    """A p-value with three digits.

    >>> p_value(0.0312), p_value(1e-9), p_value(float("nan"))
    ('0.031', '< 0.001', '-')
    """
    return "-" if math.isnan(value) else f"{value:.3f}" if value >= 0.001 else "< 0.001"


def heading(factor: str) -> str:
    """The name of a column of records as a heading."""
    return factor.removeprefix("config.")


def render(columns: dict[str, list[str]], form: str) -> str:
    """A table as ``github`` (Markdown, without padding, which is a third of a page) or ``latex_booktabs``."""
    if form != "github":
        return tabulate(columns, headers="keys", tablefmt=form, disable_numparse=True)
    cells = [[value.replace("|", "\\|") for value in values] for values in columns.values()]
    lines = [list(columns), ["---"] * len(columns), *zip(*cells, strict=True)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
