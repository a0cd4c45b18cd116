"""The power of a study's rules: ``python -m normlab.power STUDY [from=STUDY] [n=SEEDS] [results=FOLDER]``.

For every rule that compares runs: the chance that the planned number of seeds shows it, and the number of seeds for a
chance of 90%. The variances are those of the seeds that chose the learning rates, or of an earlier study (``from=``).
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd

from normlab.commandline.arguments import command
from normlab.commandline.grid import expected, load
from normlab.errors import ConfigError
from normlab.report import study, tables
from normlab.verdicts import Rate, foresee

OPTIONS = ("from", "n", "results")


def main(arguments: list[str]) -> None:
    """Print the power of each rule; a mistake ends as one line and status 2."""
    with command(arguments, __doc__):
        options = dict(word.split("=", 1) for word in arguments if "=" in word)
        names = [word for word in arguments if "=" not in word]
        if len(names) != 1 or not set(options) <= set(OPTIONS):
            raise ConfigError(
                f"name one study and, if needed, options ({', '.join(OPTIONS)}): python -m normlab.power NAME KEY=VALUE"
            )
        if not options.get("n", "2").isdigit() or int(options.get("n", "2")) < 2:
            raise ConfigError(f"n={options['n']}: expected a number of seeds, 2 or more")
        plan = study.plan(names[0])
        pilot = options.get("from", names[0])
        n = int(options["n"]) if "n" in options else planned_seeds(names[0])
        print(tables.render(rows(plan, pilot_runs(pilot, Path(options.get("results", "results"))), n), "github"))
        print(f"Planned: {n} seeds; variances of {pilot}; one-sided 5% of each test, corrected within a claim.")


def planned_seeds(name: str) -> int:
    """The number of seeds on which the verdicts of a study rest, by its plan."""
    confirm = study.plan(name).confirm
    return len(range(*confirm)) if confirm else len({config.seed for config in expected(name)})


def pilot_runs(name: str, results: Path) -> dict[Rate, pd.DataFrame]:
    """The runs of a study by choice of rate, without those that confirm, whose variances are to be predicted.

    Raises:
        ConfigError: if the study has no such runs.
    """
    loaded = load(name, Path("runs"), results / name)
    held_out = range(*loaded.plan.confirm) if loaded.plan.confirm else range(0)
    pilots = tuple(one for one in loaded.stored if one.record["seed"] not in held_out)
    if not pilots:
        raise ConfigError(f"{name} has no records to estimate variances from: name an earlier study with from=STUDY")
    chosen = replace(loaded, plan=loaded.plan.model_copy(update={"confirm": None}), stored=pilots)
    return {"measured": loaded.measurements, **chosen.at_rates}


def rows(plan: study.Plan, pilot: dict[Rate, pd.DataFrame], n: int) -> dict[str, list[str]]:
    """A row for each rule in each cell."""
    shown: dict[str, list[str]] = {
        key: [] for key in ("claim", "rule", "deviation", "true effect", f"power, n = {n}", "n for 90%")
    }
    for claim in plan.claims:
        for cell, strength in foresee(claim, pilot, n, plan.margin):
            values = ["-"] * 4
            if strength is not None:
                values = [f"{strength.deviation:.4g}", f"{strength.effect:.3g}", f"{strength.power:.0%}"]
                values.append(f"{strength.needed:g}")
            at = ", ".join(value for key, value in cell.place if key == "rate")
            name = f"{cell.name} ({at})" if at else cell.name
            for key, value in zip(shown, [claim.id, name, *values], strict=True):
                shown[key].append(value)
    return shown


if __name__ == "__main__":
    main(sys.argv[1:])
