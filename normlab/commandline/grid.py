"""The runs that a study expects, and the study with those that have been made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from normlab.commandline import composing
from normlab.commandline.request import read
from normlab.config import Config
from normlab.errors import ConfigError

if TYPE_CHECKING:
    from normlab.report.study import Study


def expected(study: str, overrides: Sequence[str] = ()) -> list[Config]:
    """The configuration of each run of a study's grid, minus those that are refused.

    Args:
        study: in experiments/.
        overrides: changes to the grid, as on the command line.

    Raises:
        ConfigError: if all are refused, or Hydra does not understand an override.
    """
    request = read(["-m", f"experiment={study}", *overrides])
    jobs, configs = composing.expand(request.hydra_arguments, request.study)
    valid = [config for config in configs if config is not None]
    if not valid:
        raise ConfigError(f"study {study}: all of its {len(jobs)} jobs are refused, the first is {' '.join(jobs[0])}")
    return valid


def load(study: str, runs: Path, results: Path, overrides: Sequence[str] = ()) -> Study:
    """The study with its records.

    Args:
        study: in experiments/.
        runs: folder of runs.
        results: folder of the study's results.
        overrides: changes to the grid, as they were given to the sweep; with some, nothing is confirmed.

    Raises:
        ConfigError: as :func:`expected` does.
        DataError: if there is neither a record nor a measurement.
    """
    from normlab.report import study as report  # here, because it brings pandas

    plan = report.plan(study)
    grid = expected(study, overrides) if plan.grid else []
    confirming = expected(study, ["confirm=true"]) if plan.confirm and not overrides else []
    return report.load(study, runs, results, grid, confirming, overrides)
