"""How many times as many epochs inputs without centring take to a target as standardized ones, in every cell: C05."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from normlab.files import write_whole
from normlab.report.effects import REFERENCE, SAME, conditions, once, place
from normlab.report.study import Study
from normlab.report.tables import render, times_to
from normlab.statistics import paired_difference

SCHEMES = {"raw": "Raw pixels", "unit": "[0, 1]"}  # which C05 compares with standardized inputs
RATIOS, GAINS = (2.0, 10.0), (1.0, 5.0)  # times as fast, and points of accuracy, by C05

INTRODUCTION = """\
How many times as many epochs raw pixels and [0, 1] take to an accuracy on the validation images as standardized
inputs, each scheme at its best learning rate; 95% t intervals over seeds, of the logarithms. A run that never gets
there counts as all of its epochs, so there the ratio is a lower bound. Cells in which standardized inputs themselves
missed the accuracy are left out. Each study fixed its accuracy before its runs. This is C05 (2 to 10 times as fast, 1
to 5 points better) as a distribution; its verdict is in [the ledger](claims.md). The cells are those that were studied,
no sample of all trainings; some studies have the same training with other seeds, or in part the same runs.
"""


def speeds(studies: Sequence[Study]) -> pd.DataFrame:
    """A row for each of ``SCHEMES`` in each cell of each study in which it and ``dataset`` have rates of their own.

    Columns: study (names, of all that share the runs); those of :func:`normlab.report.effects.conditions`; scheme;
    target, an accuracy; ratio, low and high: the geometric mean over seeds of the epochs to it, over those of
    ``dataset``, with a t interval of the logarithms; n (seeds); missed (runs of the scheme that never reached it, which
    count as all their epochs, so that the ratio is a lower bound); gain, the points of accuracy by which ``dataset`` is
    ahead, NaN if a run diverged. A cell in which ``dataset`` itself missed the target with any seed has no row.
    """
    rows = []
    for study in studies:
        if not study.records or study.score != "accuracy" or not study.sweeps_rates:
            continue
        reference = next((name for name in SAME if name in set(study.runs.norm)), None)
        runs = study.at_rates["best"]
        for values, cell in runs.groupby(study.factors, sort=False) if study.factors else [((), runs)]:
            about = conditions(cell, dict(zip(study.factors, map(str, values), strict=True)))
            for name, row in _of_cell(study, cell, reference):
                rows.append({"study": study.name, **about, "scheme": name, **row})
    return once(pd.DataFrame(rows))


def _of_cell(study: Study, cell: pd.DataFrame, reference: str | None) -> Iterator[tuple[str, dict[str, float]]]:
    horizon = float(cell["config.trainer.max_epochs"].max())
    parts = {str(name): part.set_index("seed") for name, part in cell.groupby("norm")}
    for name in SCHEMES:
        if name not in parts or reference not in parts:
            continue
        seeds = sorted(set(parts[name].index) & set(parts[reference].index))
        target = f"epochs_to.{study.plan.target:g}"
        slow, fast = (times_to(parts[one].loc[seeds], target) for one in (name, reference))
        if len(seeds) < 2 or slow.isna().any() or not fast.between(0, horizon, inclusive="right").all():
            continue
        logs = (np.log(np.minimum(times.to_numpy(), horizon)) for times in (slow, fast))
        ratio = paired_difference(*logs)
        accuracy = [parts[one].loc[seeds, "test_accuracy"].mean(skipna=False) for one in (reference, name)]
        yield (
            name,
            {
                "target": study.plan.target,
                "ratio": float(np.exp(ratio.estimate)),
                "low": float(np.exp(ratio.low)),
                "high": float(np.exp(ratio.high)),
                "n": ratio.n,
                "missed": int((slow > horizon).sum()),
                "gain": 100 * float(accuracy[0] - accuracy[1]),
            },
        )


def summary(frame: pd.DataFrame) -> list[str]:
    """A sentence for each scheme: the distribution of the ratios over cells, and how many lie where C05 says."""
    sentences = []
    for scheme, words in SCHEMES.items():
        cells = frame[frame.scheme == scheme]
        if cells.empty:
            continue
        lowest, middle, highest = np.quantile(cells.ratio, [0.25, 0.5, 0.75])
        is_faster, is_better = cells.ratio.between(*RATIOS), cells.gain.between(*GAINS)
        sentences.append(
            f"- {words}, {len(cells)} cells: half of them take {middle:.2g} times as many epochs or more, "
            f"a quarter {lowest:.2g} or less, a quarter {highest:.2g} or more. Between {RATIOS[0]:g} and {RATIOS[1]:g} "
            f"times in {is_faster.sum()} cells, {GAINS[0]:g} to {GAINS[1]:g} points behind in {is_better.sum()}, "
            f"both in {(is_faster & is_better).sum()}."
        )
    return sentences


def write_speeds(studies: Sequence[Study], results: Path) -> Path | None:
    """Write ``speeds.md`` into the folder of all results.

    Returns:
        The path; None if no study has two schemes to compare.
    """
    frame = speeds(studies)
    if frame.empty:
        return None
    columns: dict[str, Any] = {
        **place(frame),
        "accuracy to reach": [f"{target:g}" for target in frame.target],
        f"epochs, over those of {REFERENCE}": [
            f"{'at least ' * bool(row.missed)}{row.ratio:.2f} [{row.low:.2f}, {row.high:.2f}]"
            for row in frame.itertuples()
        ],
        "missed": [f"{row.missed} of {row.n}" for row in frame.itertuples()],
        f"{REFERENCE} ahead by, points": ["-" if math.isnan(gain) else f"{gain:+.1f}" for gain in frame.gain],
        "study": [", ".join(f"[{name}]({name}/README.md)" for name in names) for names in frame.study],
    }
    rendered = {name: [str(value) for value in values] for name, values in columns.items()}
    text = ["# Speeds", "", INTRODUCTION, *summary(frame), "", render(rendered, "github"), ""]
    path = results / "speeds.md"
    write_whole(path, "\n".join(text))
    return path
