"""The ledger: every claim with its verdict, or why it has none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import yaml

from normlab.config import EXPERIMENTS, Section, check
from normlab.report.study import Study, names, plan
from normlab.report.tables import interval, p_value, pairs, render
from normlab.verdicts import Result, Verdict, combined

UNTESTED = "no study yet"


class Entry(Section):
    """A claim of the ledger."""

    id: str
    statement: str
    source: str


def entries() -> dict[str, Entry]:
    """The ledger by id, from ``experiments/claims.yaml``."""
    found = [check(Entry, values) for values in yaml.safe_load((EXPERIMENTS / "claims.yaml").read_text())]
    return {entry.id: entry for entry in found}


def judged_by(studies: Sequence[tuple[Study, list[Verdict]]]) -> dict[str, list[tuple[Study, Verdict]]]:
    """For each claim the studies that judge it, with their verdicts, in the order of the claims' ids."""
    by_claim: dict[str, list[tuple[Study, Verdict]]] = {}
    for study, verdicts in studies:
        for verdict in verdicts:
            by_claim.setdefault(verdict.claim.id, []).append((study, verdict))
    return dict(sorted(by_claim.items()))


def verdict_of(judged: Sequence[tuple[Study, Verdict]]) -> Result:
    """The verdict on a claim from those of all its studies."""
    return combined([verdict.result for _, verdict in judged])


def tally(judged: Sequence[tuple[Study, Verdict]]) -> str:
    """How many parts of a claim came out how: ``3 supported, 1 contradicted, 2 open``."""
    counts = Counter(cell.result for _, verdict in judged for cell in verdict.cells)
    told = {result: counts[result] for result in ("supported", "contradicted", "conditional")}
    told |= {"open": counts.total() - sum(told.values())}
    return ", ".join(f"{count} {result}" for result, count in told.items() if count)


def tallies(judged: Sequence[tuple[Study, Verdict]]) -> str:
    """The :func:`tally` of each study, named where there are several."""
    if len(judged) == 1:
        return tally(judged)
    return "; ".join(f"{study.name}: {tally([(study, verdict)])}" for study, verdict in judged)


def write_ledger(studies: Sequence[tuple[Study, list[Verdict]]], results: Path) -> Path:
    """Write ``claims.md``: statement, source's value, verdict, numbers, study and command of every claim."""
    judged = judged_by(studies)
    ledger = entries()
    waiting = {claim.id: name for name in names() for claim in plan(name).claims}
    of_claims: dict[str, Result] = {id_: verdict_of(judged[id_]) if id_ in judged else "untested" for id_ in ledger}
    counts: Counter[Result] = Counter(of_claims.values())
    lines = [
        "# Claims",
        "",
        f"{len(ledger)} statements about input normalization, each with the rule that decides it: "
        f"{', '.join(f'{count} {result}' for result, count in counts.most_common())}. Where a rule was written or "
        "changed after a number had been seen, the README of its study says so. `supported`: every "
        "part of the rule holds; `contradicted`: none does; `conditional`: some do and some do not; `inconclusive`: "
        "the interval of a part spans the decision, and the parts that are decided do not disagree. A study has "
        "the numbers behind each, its study.yaml the rule.",
        "",
        render(
            {
                "id": list(ledger),
                "statement": [entry.statement for entry in ledger.values()],
                "the source's value": [entry.source for entry in ledger.values()],
                "verdict": list(of_claims.values()),
                "parts": [tallies(judged.get(id_, [])) for id_ in ledger],
                "study": [
                    ", ".join(f"[{study.name}]({study.name}/README.md)" for study, _ in judged.get(id_, []))
                    or (f"{waiting[id_]}, not run yet" if id_ in waiting else UNTESTED)
                    for id_ in ledger
                ],
            },
            "github",
        ),
        "",
    ]
    for id_, entry in ledger.items():
        if id_ in judged:
            lines += told(entry, judged[id_])
    path = results / "claims.md"
    path.write_text("\n".join(lines).rstrip() + "\n")
    return path


def told(entry: Entry, judged: Sequence[tuple[Study, Verdict]]) -> list[str]:
    """One claim at length: what was tested, what was found, what is true instead, and how to repeat it."""
    lines = [f"## {entry.id}: {verdict_of(judged)}", "", entry.statement, "", f"The source says: {entry.source}.", ""]
    for study, verdict in judged:
        if len(judged) > 1:
            lines += [f"### {study.name}: {tally([(study, verdict)])}", "", study.plan.question, ""]
        lines += _told_by(study, verdict)
    return lines


def _told_by(study: Study, verdict: Verdict) -> list[str]:
    rows: dict[str, list[str]] = {"tested": [], "result": [], "found": [], "n": [], "p, Holm": []}
    for cell in verdict.cells:
        rows["tested"].append(cell.name)
        rows["result"].append(cell.result)
        rows["found"].append(interval(cell.interval))
        rows["n"].append(pairs(cell))
        rows["p, Holm"].append(p_value(cell.p))
    lines = [render(rows, "github"), ""]
    if verdict.claim.instead:
        lines += [f"Instead: {verdict.claim.instead}", ""]
    commands = [f"`python -m normlab.measure {study.name}`"] * bool(study.measured)
    commands += [f"`python -m normlab -m +experiment={study.name}`"] * bool(study.records)
    lines += [
        f"Study [{study.name}](../experiments/{study.name}/README.md), rule in its "
        f"[study.yaml](../experiments/{study.name}/study.yaml), numbers in [its results]({study.name}/README.md). "
        f"Repeat: {', '.join(commands)}, then `python -m normlab.tables`.",
        "",
    ]
    return lines
