"""Which runs the rules of a study compare: those at the rates that other seeds chose; and which of them failed.

``cells`` are the columns of a study's factors, and the scheme; ``choice`` is the column of the score on validation
samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from normlab.record import SAME_SCORE
from normlab.verdicts.rules import Rate


def with_failures(runs: pd.DataFrame, cells: Sequence[str], choice: str, tested: str, learns: float) -> pd.DataFrame:
    """The runs with ``diverged``, 0 or 1; ``failed``, 1 if it diverged or ended below ``learns``; ``seed_deviation``.

    The last is the distance of the score ``tested`` from its median over the seeds of a cell at one learning rate.
    """
    score = runs.groupby([*cells, "lr"])[tested]
    return runs.assign(
        diverged=(runs.status == "diverged").astype(float),
        failed=(~(runs[choice] >= learns)).astype(float),
        seed_deviation=(runs[tested] - score.transform("median")).abs(),
    )


def best_rates(runs: pd.DataFrame, cells: Sequence[str], choice: str) -> pd.DataFrame:
    """The best learning rate in each cell: its columns, and lr.

    It has the highest mean of the final score over the seeds, in which a run that diverged counts 0; a rate with fewer
    seeds than another does not take part. Of rates with the same score it is the lowest.

    Args:
        runs: none that is there to confirm the choice.
        cells: see above.
        choice: see above.
    """
    score = runs[choice].where(runs.status == "finished", 0.0)
    scored = runs.assign(score=score).groupby([*cells, "lr"]).score
    means = pd.DataFrame({"score": scored.mean(), "seeds": scored.size()}).reset_index()
    # A rate that few seeds have tried yet must not win by their luck.
    means = means[means.seeds == means.groupby([*cells]).seeds.transform("max")]
    best = means[means.score >= means.groupby([*cells]).score.transform("max") - SAME_SCORE]
    return best.loc[best.groupby([*cells]).lr.idxmin(), [*cells, "lr"]]


def at_chosen_rates(
    runs: pd.DataFrame, confirms: pd.Series, cells: Sequence[str], best: pd.DataFrame, common: float | None
) -> dict[Rate, pd.DataFrame]:
    """The runs at the common learning rate, at the best of each cell, and all of them.

    Where there are seeds to confirm, and all cells have some, their runs stand there and at the common rate, and those
    that chose do not.

    Args:
        runs: of a study.
        confirms: which of them are there to confirm, a row each.
        cells: see above.
        best: from :func:`best_rates`.
        common: the common rate; None if there is none.
    """
    chosen, confirming = runs[~confirms], runs[confirms]
    at_best, confirmed = (part.merge(best, on=[*cells, "lr"]) for part in (chosen, confirming))
    at_common, common_confirmed = (_at(part, common) for part in (chosen, confirming))
    if len(confirmed[[*cells]].drop_duplicates()) == len(best):
        at_best = confirmed
    if len(common_confirmed[[*cells]].drop_duplicates()) == len(best):
        at_common = common_confirmed
    order = list(runs.norm.unique())
    at_best = at_best.sort_values("norm", key=lambda s: s.map(order.index), kind="stable")
    return {"all": chosen, "common": at_common, "best": at_best}


def _at(runs: pd.DataFrame, rate: float | None) -> pd.DataFrame:
    """The runs at one learning rate; none at None."""
    return runs[np.isclose(runs.lr.astype(float), rate, rtol=1e-9, atol=0)] if rate else runs.iloc[:0]


def ranges(runs: pd.DataFrame, cells: Sequence[str], choice: str) -> pd.DataFrame:
    """The learning rates at which each scheme trains, a row for each seed in each cell.

    Columns: those of the cell, seed, rates (in the grid), trained (share of them at which the run did not fail);
    smallest_rate and largest_rate of those, largest_rate_at_end (whether it is the grid's largest), and decades between
    them; best_rate, of the highest final score. NaN where none trained. The grid's own ends bound them.

    Args:
        runs: with ``failed``, none that is there to confirm.
        cells: see above.
        choice: see above.
    """
    rows = []
    for values, part in runs.groupby([*cells, "seed"], sort=False):
        trained = part[part.failed == 0]
        rates = trained.lr.astype(float)
        best = float(rates.to_numpy()[trained[choice].to_numpy().argmax()]) if len(trained) else math.nan
        rows.append(
            {
                **dict(zip([*cells, "seed"], values, strict=True)),
                "status": "finished",
                "rates": len(part),
                "trained": len(trained) / len(part),
                "smallest_rate": rates.min(),
                "largest_rate": rates.max(),
                "largest_rate_at_end": bool(rates.max() == part.lr.astype(float).max()),
                "decades": math.log10(rates.max() / rates.min()) if len(trained) else math.nan,
                "best_rate": best,
            }
        )
    return pd.DataFrame(rows)
