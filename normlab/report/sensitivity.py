"""What would overturn it: the effects of a study once more, with one thing changed."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from normlab.report import tables
from normlab.report.study import Study
from normlab.verdicts import Rate, judge

ABOVE, BELOW, WITHIN, OPEN = "higher", "lower", "equal", "open"


def conclude(low: float, high: float, margin: float) -> str:
    """What an interval of a difference says about a margin.

    >>> [conclude(low, high, 0.02) for low, high in ((0.03, 0.05), (-0.01, 0.01), (-0.09, -0.03), (0.01, 0.03))]
    ['higher', 'equal', 'lower', 'open']
    """
    if low > margin:
        return ABOVE
    if high < -margin:
        return BELOW
    return WITHIN if low > -margin and high < margin else OPEN


def outcome(before: str, after: str) -> str:
    """What became of a conclusion: ``stays``, ``changes``, or ``open`` where one of the two is.

    >>> outcome(BELOW, BELOW), outcome(BELOW, WITHIN), outcome(OPEN, BELOW), outcome(BELOW, OPEN)
    ('stays', 'changes', 'open', 'open')
    """
    return OPEN if OPEN in (before, after) else "stays" if before == after else "changes"


def compare(study: Study, variants: Mapping[str, Study]) -> pd.DataFrame:
    """The differences from the reference as the study has them, and with each change.

    Columns: change, the study's factors, norm; difference, low and high of the study; changed, changed_low,
    changed_high, n and lost with the change; and conclusion: ``stays``, ``changes``, or ``open`` where one of both
    intervals contains the margin, or lacks pairs that a divergence takes away: those that are left are no fair sample.
    """
    keys = [*study.factors, "norm"]
    numbers = ["difference", "low", "high", "n", "lost"]
    own = tables.differences(study, study.at_rates["best"])[[*keys, *numbers[:3], "lost"]]
    own = own.rename(columns={"lost": "own_lost"})
    parts = []
    for change, variant in variants.items():
        best = variant.at_rates["best"]
        found = tables.differences(variant, best, study.reference) if len(best) else pd.DataFrame()
        if not len(found):
            continue
        fixed = {factor: variant.runs[factor].iloc[0] for factor in study.factors if factor not in variant.factors}
        found = found.assign(change=change, **fixed)[["change", *keys, *numbers]]
        renamed = {"difference": "changed", "low": "changed_low", "high": "changed_high"}
        parts.append(found.rename(columns=renamed).merge(own, on=keys, how="left"))
    if not parts:
        return pd.DataFrame()
    frame = pd.concat(parts, ignore_index=True)
    margin = study.plan.margin
    before = [conclude(low, high, margin) for low, high in zip(frame.low, frame.high, strict=True)]
    after = [conclude(low, high, margin) for low, high in zip(frame.changed_low, frame.changed_high, strict=True)]
    conclusions = [
        OPEN if lost or own_lost else outcome(*both)
        for lost, own_lost, *both in zip(frame.lost, frame.own_lost, before, after, strict=True)
    ]
    return frame.drop(columns="own_lost").assign(conclusion=conclusions)


def judge_changed(study: Study, variants: Mapping[str, Study]) -> dict[str, dict[str, str]]:
    """What the study's claims come to, by the rules as they stand: answers by change, of each claim about runs.

    The study's own answer has the empty name. A claim that no change has runs for is left out.
    """
    claims = [claim for claim in study.plan.claims if all(rule.at != "measured" for rule in claim.rules)]
    answers: dict[str, dict[str, str]] = {claim.id: {} for claim in claims}
    asked = dict.fromkeys(answers, False)
    for change, one in {"": study, **variants}.items():
        by_rate: dict[Rate, pd.DataFrame] = {"measured": pd.DataFrame(), **one.at_rates}
        for verdict in judge(claims, by_rate, study.plan.margin):
            answers[verdict.claim.id][change] = verdict.conclusion.text
            asked[verdict.claim.id] |= change != "" and verdict.result != "not tested"
    return {id_: found for id_, found in answers.items() if asked[id_]}


def section(study: Study, variants: Mapping[str, Study]) -> list[str]:
    """The part of a study's page; nothing where its plan changes nothing."""
    asked = study.plan.sensitivity
    if asked is None or study.overrides:
        return []
    complete = {change: variant for change, variant in variants.items() if not variant.missing}
    frame = compare(study, complete)
    words = {
        change: ", ".join(f"{key}={value}" for key, value in changes.items())
        for change, changes in asked.changes.items()
    }
    searches = study.plan.rates is not None or study.sweeps_rates
    lines = ["## What would overturn it", ""]
    if len(frame):
        lines += [
            f"Each row changes one thing{' and searches its rates anew' * searches}: test {tables.SCORES[study.score]} "
            f"minus that of {study.reference}{', each at its best rate' * searches}. A conclusion is on which side of "
            f"the margin of {100 * study.plan.margin:g} points an interval lies; it is open where one of the two "
            "contains a margin.",
            "",
            tables.render(
                {
                    "changed": [words[change] for change in frame.change],
                    **{tables.heading(factor): list(map(str, frame[factor])) for factor in study.factors},
                    "scheme": list(frame.norm),
                    "as studied, points": [
                        tables.percent(*row, sign=True)
                        for row in zip(frame.difference, frame.low, frame.high, strict=True)
                    ],
                    "changed to, points": [
                        tables.percent(*row, sign=True)
                        for row in zip(frame.changed, frame.changed_low, frame.changed_high, strict=True)
                    ],
                    "n": [tables.pairs_shown(n, lost, "seeds") for n, lost in zip(frame.n, frame.lost, strict=True)],
                    "conclusion": list(frame.conclusion),
                },
                "github",
            ),
            "",
        ]
    if judged := complete and judge_changed(study, complete):
        lines += ["What the claims come to by the same rules:", ""]
        columns = {"": "as studied"} | {change: words[change] for change in complete}
        shown = {name: [judged[id_][change] for id_ in judged] for change, name in columns.items()}
        lines += [tables.render({"claim": list(judged), **shown}, "github"), ""]
        others = [claim.id for claim in study.plan.claims if claim.id not in judged]
        lines += [f"Not asked by these changes: {', '.join(others)}.", ""] * bool(others)
    for change in [name for name in asked.changes if name not in complete]:
        found = variants.get(change)
        count = f"{found.missing} of {found.expected} runs are missing" if found else "not run"
        lines += [f"{words[change]}: {count}.", ""]
    return lines
