"""The table of anchors: what was published, what is measured here, and whether it lies within the bounds.

``experiments/STUDY/published.yaml`` has for each claim what was ``published``, its ``spread`` and its ``source``, and
``ours``, a template of :mod:`normlab.report.findings`. The answer is the verdict on the
claim, whose rules are in the plan.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import yaml

from normlab.config import EXPERIMENTS, Section, check
from normlab.errors import ConfigError
from normlab.report.findings import render, vocabulary
from normlab.report.study import Study
from normlab.report.tables import render as markdown
from normlab.verdicts import Verdict

WITHIN_BOUNDS = "within the bounds set beforehand?"
WITHIN = {"holds": "yes", "refuted": "no", "not tested": "not measured yet"}


class Anchor(Section):
    """What others printed, for one claim."""

    published: str
    spread: str
    source: str
    ours: str  # a template, see normlab.report.findings


def anchors(name: str, folder: Path = EXPERIMENTS) -> dict[str, Anchor]:
    """What was published, by the claim that it is compared in; nothing for a study without anchors.

    Raises:
        ConfigError: for an unknown or missing key.
    """
    path = folder / name / "published.yaml"
    if not path.is_file():
        return {}
    content = yaml.safe_load(path.read_text())
    return {
        claim: check(Anchor, values, f"experiments/{name}/published.yaml: {claim}.")
        for claim, values in content.items()
    }


def table(study: Study, verdicts: Sequence[Verdict], folder: Path = EXPERIMENTS, *, short: bool = False) -> str:
    """Published, ours, within: a line for each anchor, as Markdown; empty for a study without anchors.

    The bounds are those of the rules, which stood before the measurement; where a spread was published, they are it.

    Args:
        study: with its measurements.
        verdicts: on its claims.
        folder: of all studies.
        short: without the spread and the source, for the front page.

    Raises:
        ConfigError: if an anchor is of no claim of the study, or asks for a number that is not there.
    """
    known, judged = anchors(study.name, folder), {verdict.claim.id: verdict for verdict in verdicts}
    if unknown := known.keys() - judged.keys():
        raise ConfigError(f"experiments/{study.name}/published.yaml: the study has no claim {sorted(unknown)[0]}")
    if not known:
        return ""
    words = vocabulary(study, verdicts)
    columns = ("anchor", "published", "ours", WITHIN_BOUNDS)
    rows: dict[str, list[str]] = {key: [] for key in columns + (() if short else ("bounds", "source"))}
    for claim, anchor in known.items():
        verdict = judged[claim]
        tested = all(cell.result != "not tested" for cell in verdict.cells)
        answer = verdict.result if tested else "not tested"
        rows["anchor"].append(claim)
        rows["published"].append(anchor.published)
        rows["ours"].append(render(study, words, anchor.ours) if tested else "-")
        rows[WITHIN_BOUNDS].append(WITHIN.get(answer, verdict.conclusion.text))
        if not short:
            rows["bounds"].append(anchor.spread)
            rows["source"].append(anchor.source)
    return f"{count(known, rows[WITHIN_BOUNDS])}\n\n{markdown(rows, 'github')}"


def count(names: Iterable[str], answers: Sequence[str]) -> str:
    """How many are within the bounds, and which are not.

    >>> count(["I1", "I2", "F1"], ["no", "yes", "undecided (power 5%)"])
    'Within the bounds: 1 of 3. Not: I1. Open: F1.'
    """
    by_answer: dict[str, list[str]] = {}
    for name, answer in zip(names, answers, strict=True):
        by_answer.setdefault(answer if answer in ("yes", "no") else "open", []).append(name)
    text = f"Within the bounds: {len(by_answer.get('yes', []))} of {len(answers)}."
    text += f" Not: {', '.join(by_answer['no'])}." if "no" in by_answer else ""
    return text + (f" Open: {', '.join(by_answer['open'])}." if "open" in by_answer else "")


def section(study: Study, verdicts: Sequence[Verdict]) -> list[str]:
    """The table under its heading, for the page of the study."""
    text = table(study, verdicts)
    return ["## Published and ours", "", text, ""] if text else []
