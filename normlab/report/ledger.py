"""The ledger: every claim with its verdict, or why it has none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

import yaml

from normlab.config import EXPERIMENTS, Section, check, studies
from normlab.files import write_whole
from normlab.report.study import Study, plan
from normlab.report.tables import conditions_of, headline, p_value, render, shown_verdict, tested
from normlab.statistics import ALPHA
from normlab.verdicts import Conclusion, Verdict, join, open_together
from normlab.verdicts.conclusion import CellResult

UNTESTED = "no study yet"


class Entry(Section):
    """A claim of the ledger."""

    id: str
    statement: str
    source: str
    untested: str = ""  # why no study tests it, or what part of it none does


def entries() -> Mapping[str, Entry]:
    """The ledger by id, from ``experiments/claims.yaml``."""
    path = EXPERIMENTS / "claims.yaml"
    return _entries(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=1)
def _entries(path: Path, _changed: int) -> Mapping[str, Entry]:
    checked = [check(Entry, values) for values in yaml.safe_load(path.read_text())]
    return MappingProxyType({entry.id: entry for entry in checked})


def statement(verdict: Verdict) -> str:
    """The claim in words, from the study or from the ledger."""
    known = entries()
    return verdict.claim.statement or (known[verdict.claim.id].statement if verdict.claim.id in known else "")


def judged_by(studies: Sequence[tuple[Study, list[Verdict]]]) -> dict[str, list[tuple[Study, Verdict]]]:
    """For each claim the studies that judge it, with their verdicts, in the order of the claims' ids."""
    by_claim: dict[str, list[tuple[Study, Verdict]]] = {}
    for study, verdicts in studies:
        for verdict in verdicts:
            by_claim.setdefault(verdict.claim.id, []).append((study, verdict))
    return dict(sorted(by_claim.items()))


def verdict_of(judged: Sequence[tuple[Study, Verdict]]) -> Conclusion:
    """The answer to a claim from those of all its studies; see :func:`normlab.verdicts.conclusion.join`.

    A part of the claim that no study tests is named behind it.
    """
    if len(judged) == 1:
        found = judged[0][1].conclusion
    else:
        found = join({study.name: [cell.part for cell in verdict.cells] for study, verdict in judged})
    entry = entries().get(judged[0][1].claim.id)
    if entry is None or not entry.untested or found.result == "not tested":
        return found
    return replace(found, detail="; ".join(filter(None, [found.detail, f"not tested: {entry.untested}"])))


def tally(judged: Sequence[tuple[Study, Verdict]]) -> str:
    """How many parts of a claim came out how: ``3 hold, 1 refuted, 2 undecided``."""
    counts = Counter(cell.result for _, verdict in judged for cell in verdict.cells)
    words: dict[CellResult, str] = {
        "holds": "hold",
        "refuted": "refuted",
        "undecided": "undecided",
        "not tested": "not tested",
    }
    return ", ".join(f"{counts[result]} {word}" for result, word in words.items() if counts[result])


def tallies(judged: Sequence[tuple[Study, Verdict]]) -> str:
    """The :func:`tally` of each study, named where there are several."""
    if len(judged) == 1:
        return tally(judged)
    return "; ".join(f"{study.name}: {tally([(study, verdict)])}" for study, verdict in judged)


def write_ledger(verdicts: Sequence[tuple[Study, list[Verdict]]], results: Path) -> Path:
    """Write ``claims.md``: statement, source's value, verdict, numbers, study and command of every claim."""
    judged = judged_by(verdicts)
    ledger = entries()
    planned: dict[str, list[str]] = {}
    for name in studies():
        for claim in plan(name).claims:
            planned.setdefault(claim.id, []).append(name)
    waiting = {
        id_: [name for name in planned.get(id_, []) if name not in {study.name for study, _ in judged.get(id_, [])}]
        for id_ in ledger
    }
    of_claims = {id_: answer_to(entry, judged.get(id_, []), waiting[id_]) for id_, entry in ledger.items()}
    counts = Counter(found.result for found in of_claims.values())
    lines = [
        "# Claims",
        "",
        f"{len(ledger)} statements about input normalization, each with the rules that decide it: "
        f"{', '.join(f'{count} {result}' for result, count in counts.most_common())}. The numbers stand in the page of "
        "the study, the rules in its study.yaml, the days on which they were written in experiments/PLANS.md.",
        "",
        "- **holds**: every rule of the claim holds, in every cell: each combination of study, network, data and rate.",
        "- **holds if** CONDITION: in these cells all of its rules hold; where it is refuted and where it is undecided "
        "stands behind it. Each study is a place of its own, with rules of its own: studies differ in many things.",
        "- **refuted**: one of its rules is refuted, or a gain is shown to be smaller than what matters, and in no "
        "cell do all rules hold; the refuted rules stand in brackets.",
        "- **undecided**: in no cell do all rules hold, and none is refuted. Power is the chance that the runs had to "
        "show the rule if the named effect were true; n, the seeds that give a chance of 90%, if they vary as these "
        "did.",
        "- **not tested**: the reason stands in brackets. Studies that were not run stand in the last column.",
        "",
        f"All tests of runs are one-sided at {ALPHA:.0%}, for a rule and for its opposite, and corrected by Holm's "
        "method within a claim and a study. What would be open if the tests of all studies of a claim were corrected "
        "as one is named with the claim. Rules on an interval that was measured go by that interval, uncorrected; "
        "rules on exact numbers make no test (p: -). Margins differ between studies: the rules in the tables name "
        "them. Intervals are of 95% and uncorrected; they are over seeds, and over images where it is said. Effects "
        "are those of a claim's first rule that has a value; of several cells the least and the largest, of "
        "accuracies as shares of one: 0.02 is two points.",
        "",
        render(
            {
                "id": list(ledger),
                "statement": [entry.statement for entry in ledger.values()],
                "the source's value": [entry.source for entry in ledger.values()],
                "effect [interval], n": ["<br>".join(effects_found(judged.get(id_, []))) or "-" for id_ in ledger],
                "verdict": [
                    f"**{found.result}**{found.text.removeprefix(found.result)}" for found in of_claims.values()
                ],
                "tests": [tallies(judged.get(id_, [])) for id_ in ledger],
                "study": [
                    "<br>".join(
                        [
                            *(_study(study) for study, _ in judged.get(id_, [])),
                            *(f"{name}, not run yet" for name in waiting[id_]),
                        ]
                    )
                    or "-"
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
    write_whole(path, "\n".join(lines).rstrip() + "\n")
    return path


def effects_found(judged: Sequence[tuple[Study, Verdict]]) -> list[str]:
    """The effect that each study found, those that have one."""
    found = [(study.name, headline(verdict)) for study, verdict in judged]
    return [f"{name}: " * (len(judged) > 1) + text for name, text in found if text]


def _study(study: Study) -> str:
    about = conditions_of(study)
    return f"[{study.name}]({study.name}/README.md)" + f" ({about})" * bool(about)


def answer_to(entry: Entry, judged: Sequence[tuple[Study, Verdict]], waiting: Sequence[str] = ()) -> Conclusion:
    """The answer to a claim of the ledger, and why it has none."""
    if judged:
        return verdict_of(judged)
    return Conclusion("not tested", entry.untested or (f"{' and '.join(waiting)} was not run" if waiting else UNTESTED))


def told(entry: Entry, judged: Sequence[tuple[Study, Verdict]]) -> list[str]:
    """One claim at length: what was tested, what was found, what is true instead, and how to repeat it."""
    lines = [
        f"## {entry.id}: {verdict_of(judged).text}",
        "",
        entry.statement,
        "",
        f"The source says: {entry.source}.",
        "",
    ]
    named = {id(verdict): study.name for study, verdict in judged}
    lost = open_together([verdict for _, verdict in judged])
    if len(judged) > 1 and lost:
        cells = "; ".join(f"{named[id(verdict)]}: {tested(cell)} (p {p_value(cell.p)})" for verdict, cell in lost)
        lines += [f"Open if the tests of all its studies were corrected as one: {cells}.", ""]
    for study, verdict in judged:
        if len(judged) > 1:
            lines += [f"### {study.name}: {tally([(study, verdict)])}", "", study.plan.question, ""]
        lines += _told_by(study, verdict)
    return lines


def _told_by(study: Study, verdict: Verdict) -> list[str]:
    lines = [render(shown_verdict(verdict), "github"), ""]
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
