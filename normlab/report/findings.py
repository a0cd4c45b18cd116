"""What was found, in words whose every number is looked up: ``experiments/STUDY/findings.md``.

A section for each claim, headed by its id, is a Jinja template. It is apart from study.yaml, which was written before
the runs. In a template, ``rule`` is a part of the rule as the tables print it, names of factors choose the cell, and
names of columns choose rows of the measurements:

    {{ points("C15", "centered - unit", activation="relu", rate="best") }}    3.8 points (2.0 to 5.5)
    {{ number("A03", "mixed") }}                                              250 (249 to 251)
    {{ result("C15", "centered - unit", activation="tanh") }}                 holds, refuted, undecided
    {{ accuracy("raw", optim="adam") }}, {{ gain("raw") }}                    as the tables print them
    {{ accuracy_at("imagenet", 0.03, data="digits") }}                        40.9% +- 37.9 over 5 seeds
    {{ span("share", scale=100, data=["digits", "photos"]) }}%                21 to 77%
    {{ conditions }}                                                          cnn, init he, sgd at a constant rate, ...
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, StrictUndefined, TemplateError

from normlab.config import EXPERIMENTS
from normlab.errors import ConfigError
from normlab.report.numbers import Numbers
from normlab.report.study import Study
from normlab.statistics import Interval
from normlab.verdicts import Cell, Verdict

HEADING = re.compile(r"^## (\S+)\n", re.MULTILINE)


def sections(name: str, folder: Path = EXPERIMENTS) -> dict[str, str]:
    """The template of each claim of a study; none without a findings.md."""
    path = folder / name / "findings.md"
    if not path.is_file():
        return {}
    parts = HEADING.split(path.read_text())[1:]
    return {id_: " ".join(text.split()) for id_, text in zip(parts[::2], parts[1::2], strict=True)}


def with_findings(study: Study, verdicts: Sequence[Verdict], folder: Path = EXPERIMENTS) -> list[Verdict]:
    """The verdicts, each with what was found in words; of a study that was run with changes nothing is said.

    Where runs are missing, the words say how many; where a number is missing with them, they say only that.

    Raises:
        ConfigError: if a template names a claim, a cell or a number that the study does not have.
    """
    texts = sections(study.name, folder)
    unknown = texts.keys() - {verdict.claim.id for verdict in verdicts}
    if unknown:
        raise ConfigError(f"experiments/{study.name}/findings.md: the study has no claim {sorted(unknown)[0]}")
    if not texts:
        return list(verdicts)
    words = vocabulary(study, verdicts)
    said = {} if study.overrides else {id_: say(study, words, text) for id_, text in texts.items()}
    return [
        Verdict(verdict.claim.model_copy(update={"instead": said.get(verdict.claim.id, "")}), verdict.cells)
        if verdict.claim.id in texts
        else verdict
        for verdict in verdicts
    ]


def say(study: Study, words: Environment, text: str) -> str:
    """A template with the numbers of a study, and how many of its runs they lack.

    Args:
        study: whose numbers they are.
        words: from :func:`vocabulary`.
        text: the template.

    Raises:
        ConfigError: if a study with all its runs does not have a number, or the text is no template.
    """
    if not study.missing:
        return render(study, words, text)
    missing = f"{study.missing} of the grid's {study.expected} runs are missing."
    nothing = f"Nothing is said yet: {missing}"
    if not study.records:
        return nothing
    try:
        return f"{render(study, words, text)} ({missing})"
    except ConfigError:
        return nothing


def vocabulary(study: Study, verdicts: Sequence[Verdict]) -> Environment:
    """The functions by which templates ask for the numbers of a study; what they have looked up once they keep."""
    numbers = Numbers([(study, list(verdicts))])
    look = partial(find, {verdict.claim.id: verdict for verdict in verdicts})
    environment = Environment(undefined=StrictUndefined, autoescape=False)
    environment.globals |= {
        "points": lambda *names, sign=False, **place: points(look(*names, **place), sign),
        "number": lambda *names, digits=2, **place: number(look(*names, **place), digits),
        "result": lambda *names, **place: look(*names, **place).result,
        "pairs": lambda *names, **place: look(*names, **place).interval.n,
        "accuracy": partial(numbers.accuracy, study.name),
        "accuracy_at": partial(accuracy_at, study),
        "gain": partial(numbers.gain, study.name),
        "span": partial(span, study),
        "average": partial(average, study),
        "measured": lambda column, **where: float(_measured(study, column, where).mean()),
        "conditions": numbers.conditions(study.name),
    }
    return environment


def render(study: Study, words: Environment, text: str) -> str:
    """A template with the numbers of a study.

    Raises:
        ConfigError: if it asks for what is not there, or is no template.
    """
    try:
        return words.from_string(text).render()
    except TemplateError as error:
        raise ConfigError(f"experiments/{study.name}/findings.md: {error}") from None


def accuracy_at(study: Study, norm: str, lr: float, **cell: str) -> str:
    """Mean test accuracy of a scheme at one rate, and the standard deviation: ``40.9% +- 37.9 over 5 seeds``.

    Of seeds that diverged there is no accuracy; how many they are is said.

    Raises:
        ConfigError: if the study has no factor of that name, or fewer than two such runs.
    """
    runs = study.runs
    columns = {factor.removesuffix(".name").rsplit(".", 1)[-1]: factor for factor in study.factors}
    chosen = (runs.norm == norm) & np.isclose(runs.lr.astype(float), lr, rtol=1e-9, atol=0)
    for name, value in cell.items():
        if name not in columns:
            raise ConfigError(f"findings.md: {study.name} has no factor {name}, but {', '.join(columns)}")
        chosen &= runs[columns[name]] == value
    values = 100 * runs[chosen].test_accuracy.dropna()
    diverged = int(chosen.sum()) - len(values)
    if len(values) < 2:
        raise ConfigError(f"findings.md: {study.name} has {len(values)} runs of {norm} at {lr:g} {cell}")
    about = f", {diverged} more diverged" * bool(diverged)
    return f"{values.mean():.1f}% +- {values.std():.1f} over {len(values)} seeds{about}"


def average(study: Study, column: str, *, digits: int = 2, scale: float = 1, **where: Any) -> str:
    """The mean of a column of measurements: ``9.4``; arguments and errors are those of :func:`span`."""
    return _plain(scale * _measured(study, column, where).mean(), digits)


def span(study: Study, column: str, *, digits: int = 2, scale: float = 1, **where: Any) -> str:
    """The least and the greatest value of a column of measurements: ``0.27 to 0.51``; once if they are equal.

    Args:
        study: with measurements.
        column: of numbers.
        digits: significant ones.
        scale: factor on the values, as 100 for percent.
        where: columns with the value, or a list of the values, that the rows have.

    Raises:
        ConfigError: if there is no such column, or no such row.
    """
    values = _measured(study, column, where)
    low, high = (_plain(scale * value, digits) for value in (values.min(), values.max()))
    return low if low == high else f"{low} to {high}"


def _measured(study: Study, column: str, where: dict[str, Any]) -> pd.Series:
    rows = study.measurements
    unknown = ({column} | where.keys()) - set(rows.columns)
    if unknown:
        raise ConfigError(f"findings.md: the measurements of {study.name} have no column {sorted(unknown)[0]}")
    for name, value in where.items():
        rows = rows[rows[name].isin(value if isinstance(value, list) else [value])]
    values = rows[column].dropna()
    if values.empty:
        raise ConfigError(f"findings.md: {study.name} has no measured {column} for {where}")
    return values


def find(verdicts: dict[str, Verdict], claim: str, rule: str = "", part: int = 0, **place: str) -> Cell:
    """The one cell of a claim whose rule has these words, where the factors have these values.

    ``part`` numbers, from 1, the cells that the words do not tell apart: rules on several metrics that read alike.

    Raises:
        ConfigError: if there is none, or several.
    """
    if claim not in verdicts:
        raise ConfigError(f"findings.md: the study has no claim {claim}")
    cells = verdicts[claim].cells
    fitting = [cell for cell in cells if rule in cell.rule and place.items() <= dict(cell.place).items()]
    if 0 <= part - 1 < len(fitting):
        return fitting[part - 1]
    if part or len(fitting) != 1:
        known = "; ".join(f"{cell.rule} {dict(cell.place) or ''}".strip() for cell in cells)
        raise ConfigError(f"findings.md: {claim} has {len(fitting)} cells for {rule!r} {place}, among: {known}")
    return fitting[0]


def points(cell: Cell, sign: bool = False) -> str:
    """A difference of accuracies in points: ``3.8 points (2.0 to 5.5)``.

    Raises:
        ConfigError: if the cell has no value.
    """
    form = "+.1f" if sign else ".1f"
    interval = _known(cell)
    ends = f" ({100 * interval.low:{form}} to {100 * interval.high:{form}})" * (interval.low < interval.high)
    return f"{100 * interval.estimate:{form}} points{ends}"


def number(cell: Cell, digits: int = 2) -> str:
    """A value with its ends to so many significant digits: ``250 (249 to 251)``; of a range its ends: ``1 to 3``.

    Raises:
        ConfigError: if the cell has no value.
    """
    interval = _known(cell)
    low, high = _plain(interval.low, digits), _plain(interval.high, digits)
    if cell.covers == "range" and low != high:
        return f"{low} to {high}"
    return _plain(interval.estimate, digits) + f" ({low} to {high})" * (low != high)


def _known(cell: Cell) -> Interval:
    if math.isnan(cell.interval.estimate):
        raise ConfigError(f"findings.md: {cell.name} has no value")
    return cell.interval


def _plain(value: float, digits: int) -> str:
    """To significant digits, without an exponent where a reader can do without: 250, 0.031, 16,094, 1.4e7, 1e-15."""
    rounded = float(f"{value:.{digits}g}")
    if rounded and not 1e-4 <= abs(rounded) < 1e6:
        factor, exponent = f"{rounded:.{digits - 1}e}".split("e")
        return f"{float(factor):g}e{int(exponent)}"
    return f"{rounded:,.12g}"
