"""What was found, in words whose every number is looked up: ``experiments/STUDY/findings.md``.

A section for each claim, headed by its id, is a Jinja template. It is apart from study.yaml, which was written before
the runs. In a template, ``rule`` is a part of the rule as the tables print it, and names of factors choose the cell:

    {{ points("C15", "centered - unit", activation="relu", rate="best") }}    3.8 points (2.0 to 5.5)
    {{ number("A03", "mixed") }}                                              250 (249 to 251)
    {{ result("C15", "centered - unit", activation="tanh") }}                 holds, refuted, undecided
    {{ accuracy("raw", optim="adam") }}, {{ gain("raw") }}, {{ measured("decades", norm="raw") }}
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from jinja2 import Environment, StrictUndefined, TemplateError

from normlab.config import EXPERIMENTS
from normlab.errors import ConfigError
from normlab.report.advice import Numbers
from normlab.report.study import Study
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

    Raises:
        ConfigError: if a template names a claim, a cell or a number that the study does not have.
    """
    texts = sections(study.name, folder)
    unknown = texts.keys() - {verdict.claim.id for verdict in verdicts}
    if unknown:
        raise ConfigError(f"experiments/{study.name}/findings.md: the study has no claim {sorted(unknown)[0]}")
    if not texts:
        return list(verdicts)
    said = (
        {} if study.overrides or study.missing else {id_: render(study, verdicts, text) for id_, text in texts.items()}
    )
    return [
        Verdict(verdict.claim.model_copy(update={"instead": said.get(verdict.claim.id, "")}), verdict.cells)
        if verdict.claim.id in texts
        else verdict
        for verdict in verdicts
    ]


def render(study: Study, verdicts: Sequence[Verdict], text: str) -> str:
    """A template with the numbers of a study.

    Raises:
        ConfigError: if it asks for what is not there, or is no template.
    """
    numbers = Numbers([(study, list(verdicts))])
    look = partial(find, {verdict.claim.id: verdict for verdict in verdicts})
    environment = Environment(undefined=StrictUndefined, autoescape=False)
    environment.globals |= {
        "points": lambda *names, sign=False, **place: points(look(*names, **place), sign),
        "number": lambda *names, digits=2, **place: number(look(*names, **place), digits),
        "result": lambda *names, **place: look(*names, **place).result,
        "pairs": lambda *names, **place: look(*names, **place).interval.n,
        "accuracy": partial(numbers.accuracy, study.name),
        "gain": partial(numbers.gain, study.name),
        "mean": partial(numbers.mean, study.name),
        "measured": partial(numbers.measured, study.name),
    }
    try:
        return environment.from_string(text).render()
    except TemplateError as error:
        raise ConfigError(f"experiments/{study.name}/findings.md: {error}") from None


def find(verdicts: dict[str, Verdict], claim: str, rule: str = "", **place: str) -> Cell:
    """The one cell of a claim whose rule has these words, where the factors have these values.

    Raises:
        ConfigError: if there is none, or several.
    """
    if claim not in verdicts:
        raise ConfigError(f"findings.md: the study has no claim {claim}")
    cells = verdicts[claim].cells
    found = [cell for cell in cells if rule in cell.rule and place.items() <= dict(cell.place).items()]
    if len(found) != 1:
        known = "; ".join(f"{cell.rule} {dict(cell.place) or ''}".strip() for cell in cells)
        raise ConfigError(f"findings.md: {claim} has {len(found)} cells for {rule!r} {place}, expected one of: {known}")
    return found[0]


def points(cell: Cell, sign: bool = False) -> str:
    """A difference of accuracies in points: ``3.8 points (2.0 to 5.5)``."""
    form = "+.1f" if sign else ".1f"
    found = cell.interval
    ends = f" ({100 * found.low:{form}} to {100 * found.high:{form}})" * (found.low < found.high)
    return f"{100 * found.estimate:{form}} points{ends}"


def number(cell: Cell, digits: int = 2) -> str:
    """A value with its ends to so many digits: ``250 (249 to 251)``."""
    found = cell.interval
    ends = f" ({found.low:.{digits}g} to {found.high:.{digits}g})" * (found.low < found.high)
    return f"{found.estimate:.{digits}g}{ends}"
