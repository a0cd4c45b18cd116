"""Results of studies: ``python -m normlab.tables [STUDY] [OVERRIDE ...] [KEY=VALUE ...]``.

For a study: its records, its page with verdicts, tables and at most two figures, all in results/STUDY/; and all tables
(CSV, LaTeX) and figures (PNG, SVG) in results/STUDY/more/, which is not kept in git. Without one: all studies that have
records, the ledger, the page for practitioners and results/index.html. What git keeps of results/ is enough to make all
of it again, without data and without runs. Keys: runs=FOLDER, results=FOLDER, and figures=false, which makes the same
pages without drawing. Overrides are those of a sweep, for a study that was run with changes: they require ``results=``
elsewhere.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normlab.commandline.arguments import command, parsed
from normlab.config import Section, studies
from normlab.errors import ConfigError, DataError
from normlab.files import replacing_files
from normlab.process import importing

if TYPE_CHECKING:
    import pandas as pd

    from normlab.report.study import Study
    from normlab.verdicts import Rate, Verdict

GENERATED, DRAWN = {".csv", ".tex", ".md", ".json"}, {".png", ".svg"}
DIGITS = 6  # significant ones of a number in verdicts.json


class Options(Section):
    """What the command takes besides studies and their overrides."""

    runs: Path = Path("runs")
    results: Path = Path("results")
    figures: bool = True


def main(arguments: list[str]) -> None:
    """Make what the arguments name; a mistake ends as one line and status 2."""
    with command(arguments, __doc__):
        named = [argument for argument in arguments if "=" not in argument]
        pairs = [argument for argument in arguments if "=" in argument]
        own = [pair for pair in pairs if pair.partition("=")[0] in Options.model_fields]
        options, _ = parsed(own, Options, groups=())
        overrides = [pair for pair in pairs if pair not in own]
        if overrides and len(named) != 1:
            raise ConfigError(f"{overrides[0]}: name the study: python -m normlab.tables STUDY {overrides[0]}")
        if overrides and options.results.resolve() == Path("results").resolve():
            raise ConfigError(f"{overrides[0]}: a study that was run with changes requires results=FOLDER of its own")
        with importing():  # here, so that help and a typing mistake need neither pandas nor PyTorch
            import_module("normlab.report.document")
        if named:
            for name in named:
                make(name, options.runs, options.results, overrides, options.figures)
        else:
            make_all(options)


def make_all(options: Options) -> None:
    """Every study that has records, the ledger, and the pages that rest on all of them."""
    from normlab.report import ledger
    from normlab.report.advice import write_advice
    from normlab.report.effects import write_effects
    from normlab.report.page import write_page
    from normlab.report.speeds import write_speeds

    judged = []
    for name in studies():
        try:
            judged.append(make(name, options.runs, options.results, [], options.figures))
        except DataError as error:  # no records yet; a text or a plan that is wrong ends the command
            print(error)
    options.results.mkdir(parents=True, exist_ok=True)
    print(f"ledger: {ledger.write_ledger(judged, options.results)}")
    if effects := write_effects([study for study, _ in judged], options.results, options.figures):
        print(f"effects: {effects}")
    if speeds := write_speeds([study for study, _ in judged], options.results):
        print(f"speeds: {speeds}")
    advice = write_advice(judged, options.results)
    if advice:
        print(f"for practitioners: {advice}")
    if options.figures:
        print(f"page: {write_page(judged, options.results)}")
    if not judged:
        print("no study has records yet; python -m normlab -m +experiment=NAME makes some")


def make(name: str, runs: Path, results: Path, overrides: list[str], draw: bool = True) -> tuple[Study, list[Verdict]]:
    """Page, tables, figures and verdicts of one study."""
    import pandas as pd

    from normlab.commandline.grid import load
    from normlab.report import findings, sensitivity
    from normlab.report.document import write_document
    from normlab.report.study import keep
    from normlab.verdicts import judge

    out = results / name
    study = load(name, runs, out, overrides)
    by_rate: dict[Rate, pd.DataFrame] = {"measured": study.measurements}
    variants = load_variants(study, runs, out)
    if study.records:
        keep(study, out, [variant for variant in variants.values() if not variant.missing])
        by_rate |= study.at_rates
    elif study.plan.grid:  # measured, but not run yet
        by_rate |= dict.fromkeys(("all", "common", "best", "range"), pd.DataFrame())
    verdicts = findings.with_findings(study, judge(study.plan.claims, by_rate, study.plan.margin))
    sweep = " ".join([f"python -m normlab -m +experiment={name}", *overrides])
    commands = [f"`{sweep}`"] * bool(study.records)
    commands += [f"`python -m normlab.measure {name}`"] * bool(study.measured)
    again = " ".join(["python -m normlab.tables", name, *overrides, *(["results=FOLDER"] if overrides else [])])
    with replacing_files(out) as new:  # nothing of an earlier call is lost until all is written
        write_document(study, by_rate, verdicts, new, commands, again, draw, sensitivity.section(study, variants))
        if verdicts:
            lines = ",\n".join(json.dumps(plain(verdict)) for verdict in verdicts)  # a line each: a change is one line
            (new / "verdicts.json").write_text(f"[\n{lines}\n]\n")
        made = {path.relative_to(new) for path in new.rglob("*")}
    clear(out, made, draw)
    done = [f"{len(study.records)} of {study.expected} runs"] * bool(study.plan.grid)
    done += [f"{len(study.measured)} of {len(study.plan.measure)} measurements"] * bool(study.plan.measure)
    print(f"{name}: {', '.join(done)}, {out}/README.md")
    for verdict in verdicts:
        print(f"  {verdict.claim.id}: {verdict.conclusion.text}")
    return study, verdicts


def load_variants(study: Study, runs: Path, results: Path) -> dict[str, Study]:
    """The study with each of its plan's changes that has runs, by the name of the change."""
    from normlab.commandline.grid import load

    variants = {}
    for change in study.plan.sensitivity.changes if study.plan.sensitivity and not study.overrides else ():
        with suppress(DataError):  # it has no runs yet, which the page says
            variants[change] = load(study.name, runs, results, change=change)
    return variants


def clear(out: Path, made: set[Path], draw: bool) -> None:
    """Delete what an earlier call made and this one did not: it would be taken for this one's."""
    from normlab.record import store
    from normlab.report.document import MORE
    from normlab.report.study import MEASUREMENTS

    records = (store.RECORDS, store.CURVES, MEASUREMENTS)
    for stale in (*out.glob("*"), *(out / MORE).glob("*")):
        generated = stale.suffix in GENERATED | (DRAWN if draw else set()) and stale.name not in records
        if generated and stale.relative_to(out) not in made:
            stale.unlink()


def plain(verdict: Verdict) -> dict[str, Any]:
    """A verdict as JSON types; numbers to the digits that are the same on every processor."""
    from normlab.report import ledger
    from normlab.verdicts.language import write

    return {
        "id": verdict.claim.id,
        "statement": ledger.statement(verdict),
        "instead": verdict.claim.instead,
        "verdict": verdict.result,
        "detail": verdict.conclusion.detail,
        "rules": [write(rule.model_dump()) for rule in verdict.claim.rules],
        "cells": _rounded([asdict(cell) for cell in verdict.cells]),
    }


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(part) for part in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


if __name__ == "__main__":
    main(sys.argv[1:])
