"""The page of a study, results/STUDY/README.md: question, verdicts, two figures, tables, and what made them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from normlab.files import to_csv
from normlab.record import SCORES
from normlab.report import anchors, figures, ledger, tables
from normlab.report.origin import origin
from normlab.report.study import Study
from normlab.verdicts import Rate, Verdict, cell_name

RATES: dict[Rate, str] = {"common": "at the common learning rate", "best": "at each scheme's best learning rate"}
MORE = "more"  # folder beside the page, of all that is made again from the records and not kept in git
FIGURES = 2  # of a page
# Figures of runs in the order in which a page chooses them; pictures of measurements follow.
KINDS = ("differences", "rates", "curvature", "convergence", "time")
NOTES = {
    "accuracy": "Mean over the runs that finished, with its 95% interval (Student's t). A run that never reached the "
    "target counts as infinite in the median. ",  # and what seeds draw
    "differences": "Paired by seed, with 95% intervals (Student's t; over the test images too, by a crossed model, if "
    "it says so). p of the same, two-sided, and corrected for all rows by Holm's method. Epochs later than the "
    "reference at the target: a run that never reached it counts as the longest one, so there it may be later than "
    "that.",
}
ONE_SPLIT = (
    "Seeds draw the initial weights and the order of the images; the images are the same in all runs, so these "
    "intervals say nothing of other images."
)
OWN_SPLITS = (
    "Each seed draws the initial weights, the order of the images and its own split of them; so these intervals cover "
    "the choice of training images. Those of differences cover test images too, where they say so."
)
OWN_TESTS = (
    "Each seed draws the initial weights, the order of the images, and its own images for training and for testing; so "
    "these intervals cover the choice of both."
)
DRAWN = SPLIT, TESTED = ("config.data.split_seed", "test_key")
AT_LEAST = (
    "At least: runs that missed a target, or that trained at the grid's largest rate. They count as the last epoch "
    "or that rate, and leave undecided what their true value might change."
)


@dataclass(frozen=True)
class Drawing:
    """A figure that can be drawn.

    Attributes:
        name: of its files, without ending.
        caption: in words.
        draw: draws it into the path that it is given, which has no ending.
        rank: those with the lowest stand on the page.
    """

    name: str
    caption: str
    draw: Callable[[Path], None]
    rank: int


def write_document(
    study: Study,
    by_rate: dict[Rate, pd.DataFrame],
    verdicts: Sequence[Verdict],
    out: Path,
    commands: Sequence[str],
    again: str,
    draw: bool = True,
    overturn: Sequence[str] = (),
) -> None:
    """Write a study's page with its figures, and all of its tables and figures into the folder ``more`` beside it.

    Args:
        study: with its records.
        by_rate: its runs at the choices of the learning rate.
        verdicts: on its claims.
        out: folder of its results.
        commands: that made its records and measurements.
        again: command that makes the page.
        draw: whether figures are drawn; the page is the same without.
        overturn: lines on what its conclusions depend on.
    """
    more = out / MORE
    more.mkdir(parents=True, exist_ok=True)
    lines: list[str] = []
    drawings: list[Drawing] = []
    if study.records:
        shown: dict[Rate, str] = RATES if study.sweeps_rates else {"best": ""}
        for rate, label in shown.items():
            if len(by_rate[rate]):
                differences = tables.differences(study, by_rate[rate])
                lines += tables_of_runs(study, by_rate[rate], differences, rate, label, more, notes=not lines)
                drawings += drawings_of_runs(study, by_rate[rate], differences, rate, label)
    lines += tables_of_measurements(study, more)
    drawings += drawings_of_measurements(study)
    chosen = sorted(drawings, key=lambda one: one.rank)[:FIGURES]
    if draw:
        for one in drawings:
            one.draw(more / one.name)
        for one in chosen:
            (out / f"{one.name}.png").write_bytes((more / f"{one.name}.png").read_bytes())
    about = describe(study, by_rate)
    text = [f"# {study.name}", "", study.plan.question, "", *about, *[""] * bool(about)]
    text += anchors.section(study, verdicts)
    text += [*verdicts_at_length(verdicts), *overturn]
    text += ["## Figures", ""] * bool(chosen)
    for one in chosen:
        text += [f"![{one.caption}]({one.name}.png)", ""]
    text += lines
    text += ["## How it was made", "", f"{' and '.join(commands)}: {origin(study)}.", ""]
    text += [f"`{again}` makes this page from the records beside it, and in `{MORE}/`, which is not kept in git,"]
    text += ["its tables as CSV and LaTeX" + " and its figures as PNG and SVG" * bool(drawings)]
    left = [one for one in drawings if one not in chosen]
    text[-1] += ", besides those above:" if left else "."
    text += ["", *(f"- {one.name}: {one.caption}" for one in left)] if left else []
    (out / "README.md").write_text("\n".join(text) + "\n")


def describe(study: Study, by_rate: dict[Rate, pd.DataFrame]) -> list[str]:
    """How many runs there are, which of them decide, and what is missing."""
    lines = []
    if study.records:
        diverged = int((study.runs.status == "diverged").sum())
        lines = [f"{len(study.records)} runs" + f", {diverged} of them diverged" * bool(diverged) + "."]
        deciding = set(by_rate["best"].seed)
        if study.plan.confirm and deciding <= set(range(*study.plan.confirm)):
            lines.append(
                f"The tables and the verdicts rest on the seeds {min(deciding)} to {max(deciding)}, which had no part "
                "in the choice of rates; what is said of all rates rests on the others."
            )
    if study.missing:
        lines.append(f"{study.missing} of the grid's {study.expected} runs are missing.")
    return lines


def verdicts_at_length(verdicts: Sequence[Verdict]) -> list[str]:
    """Each claim with its answer, what is true instead, and the effect in every cell."""
    lines = ["## Verdicts", ""] * bool(verdicts)
    for verdict in verdicts:
        lines += [f"### {verdict.claim.id}: {verdict.conclusion.text}", "", ledger.statement(verdict), ""]
        lines += [f"Instead: {verdict.claim.instead}", ""] * bool(verdict.claim.instead)
        lines += [tables.render(tables.shown_verdict(verdict), "github"), ""]
    if any(cell.at_least for verdict in verdicts for cell in verdict.cells):
        lines += [AT_LEAST, ""]
    return lines


def tables_of_runs(
    study: Study,
    runs: pd.DataFrame,
    differences: pd.DataFrame,
    rate: Rate,
    label: str,
    more: Path,
    notes: bool = True,
) -> list[str]:
    """Accuracy and differences at one choice of learning rates; as CSV and LaTeX in a folder.

    Args:
        study: with its records.
        runs: at that choice.
        differences: of these runs, as :func:`normlab.report.tables.differences` gives them.
        rate: the choice.
        label: its name in words; empty where there is no other.
        more: folder of the files.
        notes: whether the lines below the tables, which are the same at all rates, are written.
    """
    suffix = f"_{rate}" if label else ""
    wide = tables.wide(study, runs)
    both = {"accuracy": (wide, tables.shown_wide(study, wide))}
    if len(differences):
        both["differences"] = (differences, tables.shown_differences(study, differences))
    lines = [f"## {SCORES[study.score].capitalize()} {label}".rstrip(), ""]
    for kind, (frame, shown) in both.items():
        (more / f"{kind}{suffix}.csv").write_text(to_csv(frame))
        (more / f"{kind}{suffix}.tex").write_text(tables.render(shown, "latex_booktabs") + "\n")
        note = NOTES[kind] + seeds_draw(runs) * (kind == "accuracy")
        lines += [tables.render(shown, "github"), "", *[note, ""] * notes]
    return lines


def seeds_draw(runs: pd.DataFrame) -> str:
    """What differs from seed to seed in these runs, and so what intervals over seeds cover."""
    own = {column: len(runs) and (runs.groupby(column).seed.nunique() == 1).all() for column in DRAWN if column in runs}
    if not own.get(SPLIT) or runs[SPLIT].nunique() < 2:
        return ONE_SPLIT
    return OWN_TESTS if own.get(TESTED) and runs[TESTED].notna().all() else OWN_SPLITS


def drawings_of_runs(
    study: Study, runs: pd.DataFrame, differences: pd.DataFrame, rate: Rate, label: str
) -> list[Drawing]:
    """The figures of the runs at one choice of learning rates."""
    cells, scored = cells_of(study, runs), SCORES[study.score]
    target = f"epochs_to.{study.plan.target:g}"
    drawings = []

    def add(kind: str, caption: str, draw: Callable[[Path], None]) -> None:
        rank = KINDS.index(kind) + 2 * len(KINDS) * (rate == "common")
        name, words = f"{kind}_{rate}" if label else kind, caption.format(label).rstrip()
        drawings.append(Drawing(name, words, draw, rank))

    def curves(split: str, metric: str) -> list[tuple[str, pd.DataFrame]]:
        rows = study.curves[(study.curves.split == split) & (study.curves.metric == metric)]
        return [(name, rows[rows.fingerprint.isin(part.fingerprint)]) for name, part in cells]

    lost = "; after a divergence the mean is over the runs that are left" * bool((runs.status == "diverged").any())
    add(
        "convergence",
        f"Validation {scored} along training {{}}" + lost,
        lambda path: figures.convergence(path, curves("validation", study.score), label, scored),
    )
    if target in runs:
        horizon = float(study.runs["config.trainer.max_epochs"].max())
        times = [(name, part.assign(epochs=part[target].fillna(np.inf), horizon=horizon)) for name, part in cells]
        caption = f"Share of runs that reached {study.plan.target:g} validation {scored} {{}}"
        add("time", caption, lambda path: figures.reached(path, times, study.plan.target))
    if len(differences):
        columns = [*study.factors, "norm"]
        names = [cell_name(columns, row) for row in differences[columns].itertuples(index=False)]
        add(
            "differences",
            f"Test {scored} minus that of {study.reference} {{}}",
            lambda path: figures.forest(path, differences, names, study.reference, study.plan.margin, scored),
        )
    if any(one["config"]["trainer"]["probe_steps"] for one in study.records):
        add(
            "curvature",
            "Largest eigenvalue of the loss's Hessian along training {}",
            lambda path: figures.probes(path, curves("probe", "lambda_max"), "largest eigenvalue of the Hessian"),
        )
    if study.sweeps_rates and rate == "best":
        predicted = limits(study)
        lines = ", vertical lines the predicted largest stable rate" * bool(predicted)
        add(
            "rates",
            f"Test {scored} against learning rate; crosses mark runs that diverged{lines}",
            lambda path: figures.rates(path, cells_of(study, study.runs), predicted, study.score),
        )
    return drawings


def measured_rows(study: Study) -> dict[str, pd.DataFrame]:
    """The rows of each measuring function, from all calls together, without columns that say nothing."""
    if not study.measured:
        return {}
    return {
        str(name): rows.drop(columns=["call", "status", *["seed"] * bool((rows.seed == 0).all())]).dropna(
            axis=1, how="all"
        )
        for name, rows in study.measurements.groupby("call", sort=False)
    }


def tables_of_measurements(study: Study, more: Path) -> list[str]:
    """A table for each measuring function; as CSV in a folder."""
    lines = []
    for name, frame in measured_rows(study).items():
        (more / f"{name}.csv").write_text(to_csv(frame))
        shown = with_intervals({str(column): [_number(value) for value in frame[column]] for column in frame})
        lines += [f"## {name.replace('_', ' ').capitalize()}", "", tables.render(shown, "github"), ""]
    return lines


def drawings_of_measurements(study: Study) -> list[Drawing]:
    """The pictures that the study's file describes, of rows that there are."""
    rows = measured_rows(study)
    drawings = []
    for spec in study.plan.pictures:
        frame = rows.get(spec.call, pd.DataFrame())
        for column, value in spec.where.items():
            frame = frame[frame[column] == value] if len(frame) else frame
        if len(frame):
            draw = lambda path, frame=frame, spec=spec: figures.picture(path, frame, spec)  # noqa: E731
            drawings.append(Drawing(spec.name, spec.caption, draw, len(KINDS)))
    return drawings


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


def limits(study: Study) -> dict[tuple[str, str], float]:
    """The predicted largest stable rate of each cell and scheme, where the runs carry one, or it was measured.

    Rows of :func:`normlab.measurements.start_curvature.start_curvature` belong to a cell by columns of the same name
    as its factors, minus their prefix.
    """
    limits = {}
    measured = study.measurements
    if "stable_rate" in measured:
        measured = measured[measured.call == "start_curvature"].rename(
            columns={_short(factor): factor for factor in study.factors}
        )
    for frame in (measured, study.runs):
        if "stable_rate" not in frame or not {"norm", *study.factors} <= set(frame):
            continue
        for name, part in cells_of(study, frame[frame.stable_rate.notna()]):
            for norm, rows in part.groupby("norm"):
                limits[name, str(norm)] = float(rows.stable_rate.median())
    return limits


def _short(factor: str) -> str:
    return factor.rsplit(".", 1)[1] if factor.count(".") == 2 else factor.removeprefix("config.")


def cells_of(study: Study, runs: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The runs by the factors of the study."""
    if not study.factors:
        return [("", runs)]
    return [(cell_name(study.factors, values), part) for values, part in runs.groupby(study.factors, sort=False)]
