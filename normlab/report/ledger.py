"""The ledger: every claim with its verdict, or why it has none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import yaml

from normlab.config import EXPERIMENTS, Section, check
from normlab.errors import ConfigError
from normlab.report.study import Study
from normlab.report.tables import interval, p_value, render
from normlab.statistics.verdicts import Result, Verdict

UNTESTED = "its study does not exist yet"


class Entry(Section):
    """A claim of the ledger."""

    id: str
    statement: str
    source: str


def entries() -> dict[str, Entry]:
    """The ledger by id, from ``experiments/claims.yaml``."""
    found = [check(Entry, values) for values in yaml.safe_load((EXPERIMENTS / "claims.yaml").read_text())]
    return {entry.id: entry for entry in found}


def write_ledger(studies: Sequence[tuple[Study, list[Verdict]]], results: Path) -> Path:
    """Write ``claims.md``: statement, source's value, verdict, numbers, study and command of every claim.

    Raises:
        ConfigError: if two studies judge one claim.
    """
    judged: dict[str, tuple[Study, Verdict]] = {}
    for study, verdicts in studies:
        for verdict in verdicts:
            if verdict.claim.id in judged:
                other = judged[verdict.claim.id][0].name
                raise ConfigError(f"claim {verdict.claim.id} is judged by both {other} and {study.name}")
            judged[verdict.claim.id] = study, verdict
    ledger = entries()
    counts: Counter[Result] = Counter(judged[id_][1].result if id_ in judged else "untested" for id_ in ledger)
    lines = [
        "# Claims",
        "",
        f"{len(ledger)} statements about input normalization, each with the rule that decides it: "
        f"{', '.join(f'{count} {result}' for result, count in counts.most_common())}. Where a rule was written or "
        "changed after a number had been seen, the README of its study says so. `supported`: every "
        "part of the rule holds; `contradicted`: none does; `conditional`: some do and some do not; `inconclusive`: an "
        "interval spans the decision. The study's page has the numbers behind each, its study.yaml the rule.",
        "",
        render(
            {
                "id": list(ledger),
                "statement": [entry.statement for entry in ledger.values()],
                "the source's value": [entry.source for entry in ledger.values()],
                "verdict": [judged[id_][1].result if id_ in judged else "untested" for id_ in ledger],
                "study": [
                    f"[{judged[id_][0].name}]({judged[id_][0].name}/README.md)" if id_ in judged else UNTESTED
                    for id_ in ledger
                ],
            },
            "github",
        ),
        "",
    ]
    for id_, entry in ledger.items():
        if id_ in judged:
            lines += told(entry, *judged[id_])
    path = results / "claims.md"
    path.write_text("\n".join(lines).rstrip() + "\n")
    return path


def told(entry: Entry, study: Study, verdict: Verdict) -> list[str]:
    """One claim at length: what was tested, what was found, what is true instead, and how to repeat it."""
    lines = [f"## {entry.id}: {verdict.result}", "", entry.statement, ""]
    lines += [f"The source says: {entry.source}.", ""]
    rows: dict[str, list[str]] = {"tested": [], "result": [], "found": [], "n": [], "p, Holm": []}
    for cell in verdict.cells:
        rows["tested"].append(cell.name)
        rows["result"].append(cell.result)
        rows["found"].append(interval(cell.interval))
        rows["n"].append(str(cell.interval.n))
        rows["p, Holm"].append(p_value(cell.p))
    lines += [render(rows, "github"), ""]
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
