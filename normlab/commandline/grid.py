"""The runs that a study expects, and the study with those that have been made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from normlab.commandline import composing
from normlab.commandline.rates import search
from normlab.commandline.request import read
from normlab.config import Config
from normlab.errors import ConfigError
from normlab.record import Stored

if TYPE_CHECKING:
    from normlab.report.study import Study


def expected(
    study: str, overrides: Sequence[str] = (), stored: Sequence[Mapping[str, list[Stored]]] = ()
) -> list[Config]:
    """The configuration of each run of a study's grid, minus those that are refused.

    Where the study searches its learning rates, they are those that follow from the records: with none, the start of
    the search. The seeds that confirm have the default rate there, which gives way to the chosen ones.

    Args:
        study: in experiments/.
        overrides: changes to the grid, as on the command line.
        stored: where records are looked for; see :func:`normlab.report.study.places`.

    Raises:
        ConfigError: if all are refused, or Hydra does not understand an override.
    """
    request = read(["-m", f"experiment={study}", *overrides])
    jobs, configs = composing.expand(request.hydra_arguments, request.study)
    if request.searches and not request.confirm:
        from normlab.report.study import plan, score  # here, because it brings pandas

        rates = plan(study).rates
        assert rates is not None
        jobs, configs, _ = search(jobs, configs, rates, lambda config: score(study, config, stored))
    valid = [config for config in configs if config is not None]
    if not valid:
        raise ConfigError(f"study {study}: all of its {len(jobs)} jobs are refused, the first is {' '.join(jobs[0])}")
    return valid


def choosing(study: str, runs: Path, results: Path, overrides: Sequence[str] = ()) -> list[Config]:
    """The runs of a study's grid, which choose the learning rates: :func:`expected` by the records that there are.

    Args:
        study: in experiments/.
        runs: folder of runs.
        results: folder of the study's results.
        overrides: changes to the grid.
    """
    from normlab.report import study as report  # here, because it brings pandas

    return expected(study, overrides, report.places(runs, results) if report.plan(study).rates else ())


def load(study: str, runs: Path, results: Path, overrides: Sequence[str] = (), change: str | None = None) -> Study:
    """The study with its records.

    Args:
        study: in experiments/.
        runs: folder of runs.
        results: folder of the study's results.
        overrides: changes to the grid, as they were given to the sweep; with some, nothing is confirmed.
        change: one of the plan's ``sensitivity``, whose runs are loaded in place of the study's own.

    Raises:
        ConfigError: as :func:`expected` does.
        DataError: if there is neither a record nor a measurement.
    """
    from normlab.report import study as report  # here, because it brings pandas

    plan = report.plan(study)
    varied = [f"sensitivity={change}"] if change else []
    grid = choosing(study, runs, results, [*overrides, *varied]) if plan.grid else []
    confirming = expected(study, ["confirm=true", *varied]) if (plan.confirm or change) and not overrides else []
    return report.load(study, runs, results, grid, confirming, overrides, change)
