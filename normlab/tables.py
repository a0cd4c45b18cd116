"""Results of studies: ``python -m normlab.tables [STUDY] [OVERRIDE ...] [runs=FOLDER] [results=FOLDER]``.

For a study: its records beside its tables (CSV, Markdown, LaTeX), figures and verdicts, in results/STUDY/. Without one:
all studies that have records, the ledger, the page for practitioners and results/index.html. What lies in results/ is
enough to make all of it again. Overrides are those of a sweep, for a study that was run with changes: they require
``results=`` elsewhere.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from normlab.commandline.arguments import answer_help, parsed
from normlab.commandline.grid import load
from normlab.config import Section
from normlab.errors import ConfigError, NormlabError, fail
from normlab.record import store
from normlab.report import anchors, figures, findings, ledger, study, tables
from normlab.report.study import Study
from normlab.verdicts import Rate, Verdict, cell_name, judge
from normlab.verdicts.language import write

GENERATED = {".csv", ".tex", ".png", ".svg", ".md", ".json"}
RATES: dict[Rate, str] = {"common": "at the common learning rate", "best": "at each scheme's best learning rate"}


class Options(Section):
    """What the command takes besides studies and their overrides."""

    runs: Path = Path("runs")
    results: Path = Path("results")


def main(arguments: list[str]) -> None:
    """Make what the arguments name; a mistake ends as one line and status 2."""
    answer_help(arguments, __doc__)
    try:
        named = [argument for argument in arguments if "=" not in argument]
        pairs = [argument for argument in arguments if "=" in argument]
        own = [pair for pair in pairs if pair.partition("=")[0] in Options.model_fields]
        options, _ = parsed(own, Options, groups=())
        overrides = [pair for pair in pairs if pair not in own]
        if overrides and len(named) != 1:
            raise ConfigError(f"{overrides[0]}: name the study: python -m normlab.tables STUDY {overrides[0]}")
        if overrides and options.results.resolve() == Path("results").resolve():
            raise ConfigError(f"{overrides[0]}: a study that was run with changes requires results=FOLDER of its own")
        made = [make(name, options.runs, options.results, overrides) for name in named]
        if not named:
            made = list(all_of_them(options.runs, options.results))
            from normlab.report.advice import write_advice
            from normlab.report.page import write_page

            options.results.mkdir(parents=True, exist_ok=True)
            print(f"ledger: {ledger.write_ledger(made, options.results)}")
            advice = write_advice(made, options.results)
            if advice:
                print(f"for practitioners: {advice}")
            print(f"page: {write_page(made, options.results)}")
        if not made:
            print("no study has records yet; python -m normlab -m +experiment=NAME makes some")
    except NormlabError as error:
        fail(str(error))


def all_of_them(runs: Path, results: Path) -> list[tuple[Study, list[Verdict]]]:
    """Every study that has records."""
    made = []
    for name in study.names():
        try:
            made.append(make(name, runs, results, []))
        except NormlabError as error:
            print(error)
    return made


def make(name: str, runs: Path, results: Path, overrides: list[str]) -> tuple[Study, list[Verdict]]:
    """Tables, figures and verdicts of one study."""
    found = load(name, runs, results / name, overrides)
    out = results / name
    for stale in out.glob("*"):  # what this call does not make again would be taken for its own
        if stale.suffix in GENERATED and stale.name not in (store.RECORDS, store.CURVES, study.MEASUREMENTS):
            stale.unlink()
    by_rate: dict[Rate, pd.DataFrame] = {"measured": found.measurements}
    if found.records:
        study.keep(found, out)
        by_rate |= tables.at_rates(found)
    elif found.plan.grid:  # measured, but not run yet
        by_rate |= dict.fromkeys(("all", "common", "best", "range"), pd.DataFrame())
    verdicts = findings.with_findings(found, judge(found.plan.claims, by_rate, found.plan.margin))
    text = [f"# {name}", "", found.plan.question, "", *about(found, by_rate), ""]
    if found.records:
        shown: dict[Rate, str] = RATES if found.sweeps_rates else {"best": ""}
        for rate, label in shown.items():
            if len(by_rate[rate]):
                text += section(found, by_rate[rate], rate, label, out)
    text += anchors.section(found, verdicts)
    text += measured(found, out)
    if verdicts:
        text += ["## Verdicts", "", told(verdicts, "github"), "", *note(verdicts)]
        (out / "verdicts.json").write_text(json.dumps([plain(verdict) for verdict in verdicts], indent=1) + "\n")
    sweep = " ".join([f"python -m normlab -m +experiment={name}", *overrides])
    commands = [f"`{sweep}`"] * bool(found.records)
    commands += [f"`python -m normlab.measure {name}`"] * bool(found.measured)
    again = " ".join(["python -m normlab.tables", name, *overrides, *(["results=FOLDER"] if overrides else [])])
    text += [f"Made by {' and '.join(commands)}, {study.provenance(found)}."]
    text += [f"This page by `{again}` from what lies beside it."]
    (out / "README.md").write_text("\n".join(text) + "\n")
    done = [f"{len(found.records)} of {found.expected} runs"] * bool(found.plan.grid)
    done += [f"{len(found.measured)} of {len(found.plan.measure)} measurements"] * bool(found.plan.measure)
    print(f"{name}: {', '.join(done)}, {out}/README.md")
    for verdict in verdicts:
        print(f"  {verdict.claim.id}: {verdict.conclusion.text}")
    return found, verdicts


def about(found: Study, by_rate: dict[Rate, pd.DataFrame]) -> list[str]:
    """How many runs there are, which of them decide, and what is missing."""
    lines = []
    if found.records:
        diverged = int((found.runs.status == "diverged").sum())
        lines = [f"{len(found.records)} runs" + f", {diverged} of them diverged" * bool(diverged) + "."]
        deciding = set(by_rate["best"].seed)
        if found.plan.confirm and deciding <= set(range(*found.plan.confirm)):
            lines.append(
                f"The tables and the verdicts rest on the seeds {min(deciding)} to {max(deciding)}, which had no part "
                "in the choice of rates; what is said of all rates rests on the others."
            )
    if found.missing:
        lines.append(f"{found.missing} of the grid's {found.expected} runs are missing.")
    return lines


def section(found: Study, runs: pd.DataFrame, rate: Rate, label: str, out: Path) -> list[str]:
    """Tables and figures of the runs at one choice of learning rates."""
    suffix = f"_{rate}" if label else ""
    wide, differences = tables.wide(found, runs), tables.differences(found, runs)
    both = {"accuracy": (wide, tables.shown_wide(found, wide))}
    if len(differences):
        both["differences"] = (differences, tables.shown_differences(found, differences))
    lines = [f"## Accuracy {label}".rstrip(), ""]
    for kind, (frame, shown) in both.items():
        frame.to_csv(out / f"{kind}{suffix}.csv", index=False)
        (out / f"{kind}{suffix}.tex").write_text(tables.render(shown, "latex_booktabs") + "\n")
        lines += [tables.render(shown, "github"), "", NOTES[kind], ""]
    for kind, caption in draw(found, runs, differences, rate, label, out).items():
        lines += [f"![{caption}]({kind}{suffix}.png)", ""]
    return lines


def measured(found: Study, out: Path) -> list[str]:
    """A table for each measuring function, its rows from all calls together."""
    lines = []
    calls = dict(list(found.measurements.groupby("call", sort=False))) if found.measured else {}
    for name, rows in ((str(call), part) for call, part in calls.items()):
        frame = rows.drop(columns=["call", "status", *["seed"] * bool((rows.seed == 0).all())]).dropna(
            axis=1, how="all"
        )
        frame.to_csv(out / f"{name}.csv", index=False)
        shown = with_intervals({str(column): [_number(value) for value in frame[column]] for column in frame})
        lines += [f"## {name.replace('_', ' ').capitalize()}", ""]
        for spec in [spec for spec in found.plan.pictures if spec.call == name]:
            drawn = frame
            for column, value in spec.where.items():
                drawn = drawn[drawn[column] == value]
            if len(drawn):
                figures.picture(out / spec.name, drawn, spec)
                lines += [f"![{spec.caption}]({spec.name}.png)", ""]
        lines += [tables.render(shown, "github"), ""]
    return lines


def with_intervals(columns: dict[str, list[str]]) -> dict[str, list[str]]:
    """Columns of numbers whose ends have columns of their own, in one.

    >>> with_intervals({"a": ["5", "0"], "a_low": ["4", "-"], "a_high": ["6", "-"], "n": ["7", "7"]})
    {'a': ['5 [4, 6]', '0'], 'n': ['7', '7']}
    """
    ends = {name: (f"{name}_low", f"{name}_high") for name in columns}
    ends = {name: both for name, both in ends.items() if set(both) <= set(columns)}
    shown = {
        name: [
            value + f" [{low}, {high}]" * (low != "-" and low != high)
            for value, low, high in zip(values, *(columns[end] for end in ends[name]), strict=True)
        ]
        if name in ends
        else values
        for name, values in columns.items()
    }
    return {name: values for name, values in shown.items() if not any(name in both for both in ends.values())}


def _number(value: Any) -> str:
    if isinstance(value, float):
        return "-" if np.isnan(value) else f"{value:.4g}"
    return str(value)


NOTES = {
    "accuracy": "Mean over the runs that finished, with its 95% interval (Student's t). A run that never reached the "
    "target counts as infinite in the median. Seeds draw the initial weights and the order of the images; the images "
    "are the same in all runs, so the intervals say nothing of other images.",
    "differences": "Paired by seed, with 95% intervals (Student's t; over the test images too, by a crossed model, if "
    "it says so). p of the same, two-sided, and corrected for all rows by Holm's method. Epochs later than the "
    "reference at the target: a run that never reached it counts as the longest one, so there it may be later than "
    "that.",
}


def draw(
    found: Study, runs: pd.DataFrame, differences: pd.DataFrame, rate: Rate, label: str, out: Path
) -> dict[str, str]:
    """The figures, with their captions by name."""
    suffix = f"_{rate}" if label else ""
    captions = {}
    cells = cells_of(found, runs)
    target = f"epochs_to.{found.plan.target:g}"
    validation = found.curves[(found.curves.split == "validation") & (found.curves.metric == "accuracy")]
    curves = [(name, validation[validation.fingerprint.isin(part.fingerprint)]) for name, part in cells]
    figures.convergence(out / f"convergence{suffix}", curves, label)
    captions["convergence"] = f"Validation accuracy along training {label}".rstrip()
    if (runs.status == "diverged").any():
        captions["convergence"] += "; after a divergence the mean is over the runs that are left"
    if target in runs:
        horizon = float(found.runs["config.trainer.max_epochs"].max())
        times = [(name, part.assign(epochs=part[target].fillna(np.inf), horizon=horizon)) for name, part in cells]
        figures.reached(out / f"time{suffix}", times, found.plan.target)
        captions["time"] = f"Share of runs that reached {found.plan.target:g} validation accuracy {label}".rstrip()
    if len(differences):
        columns = [*found.factors, "norm"]
        names = [cell_name(columns, row) for row in differences[columns].itertuples(index=False)]
        figures.forest(out / f"differences{suffix}", differences, names, found.reference, found.plan.margin)
        captions["differences"] = f"Test accuracy minus that of {found.reference} {label}".rstrip()
    probed = found.curves[(found.curves.split == "probe") & (found.curves.metric == "lambda_max")]
    if len(probed):
        along = [(name, probed[probed.fingerprint.isin(part.fingerprint)]) for name, part in cells]
        figures.probes(out / f"curvature{suffix}", along, "largest eigenvalue of the Hessian")
        captions["curvature"] = f"Largest eigenvalue of the loss's Hessian along training {label}".rstrip()
    if found.sweeps_rates and rate == "best":
        predicted = limits(found)
        figures.rates(out / f"rates{suffix}", cells_of(found, found.runs), predicted)
        captions["rates"] = "Test accuracy against learning rate; crosses mark runs that diverged" + (
            ", vertical lines the predicted largest stable rate" if predicted else ""
        )
    return captions


def limits(found: Study) -> dict[tuple[str, str], float]:
    """The predicted largest stable rate of each cell and scheme, where the runs carry one, or it was measured.

    Rows of :func:`normlab.measurements.start_curvature.start_curvature` belong to a cell by columns of the same name
    as its factors, minus their prefix.
    """
    limits = {}
    measured = found.measurements
    if "stable_rate" in measured:
        measured = measured[measured.call == "start_curvature"].rename(
            columns={_short(factor): factor for factor in found.factors}
        )
    for frame in (measured, found.runs):
        if "stable_rate" not in frame or not {"norm", *found.factors} <= set(frame):
            continue
        for name, part in cells_of(found, frame[frame.stable_rate.notna()]):
            for norm, rows in part.groupby("norm"):
                limits[name, str(norm)] = float(rows.stable_rate.median())
    return limits


def _short(factor: str) -> str:
    return factor.rsplit(".", 1)[1] if factor.count(".") == 2 else factor.removeprefix("config.")


def cells_of(found: Study, runs: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The runs by the factors of the study."""
    if not found.factors:
        return [("", runs)]
    return [(cell_name(found.factors, values), part) for values, part in runs.groupby(found.factors, sort=False)]


def told(verdicts: list[Verdict], form: str) -> str:
    """The verdicts as a table, a line for each cell."""
    rows: dict[str, list[str]] = {
        key: [] for key in ("claim", "statement", "tested", "found", "n", "p, Holm", "result", "verdict")
    }
    for verdict in verdicts:
        for place, cell in enumerate(verdict.cells):
            rows["claim"].append(verdict.claim.id if place == 0 else "")
            rows["statement"].append(statement(verdict) if place == 0 else "")
            rows["tested"].append(cell.name)
            rows["found"].append(tables.effect(cell))
            rows["n"].append(tables.pairs(cell))
            rows["p, Holm"].append(tables.p_value(cell.p))
            rows["result"].append(tables.answer(cell))
            rows["verdict"].append(verdict.conclusion.text if place == 0 else "")
    return tables.render(rows, form)


def note(verdicts: list[Verdict]) -> list[str]:
    """What "at least" means, where it is said."""
    if not any(cell.at_least for verdict in verdicts for cell in verdict.cells):
        return []
    return [
        "At least: runs that missed a target, or that trained at the grid's largest rate. They count as the last epoch "
        "or that rate, and leave undecided what their true value might change.",
        "",
    ]


def statement(verdict: Verdict) -> str:
    """The claim in words, from the study or from the ledger."""
    known = ledger.entries()
    return verdict.claim.statement or (known[verdict.claim.id].statement if verdict.claim.id in known else "")


def plain(verdict: Verdict) -> dict[str, Any]:
    """A verdict as JSON types."""
    return {
        "id": verdict.claim.id,
        "statement": statement(verdict),
        "instead": verdict.claim.instead,
        "verdict": verdict.result,
        "detail": verdict.conclusion.detail,
        "rules": [write(rule.model_dump()) for rule in verdict.claim.rules],
        "cells": [asdict(cell) for cell in verdict.cells],
    }


if __name__ == "__main__":
    main(sys.argv[1:])
