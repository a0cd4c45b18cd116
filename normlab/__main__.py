"""The command: ``python -m normlab +norm=NAME [GROUP=CHOICE ...] [KEY=VALUE ...]``."""

from __future__ import annotations

import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from normlab import STARTED
from normlab.config import CONFIGS, EXPERIMENTS, GROUPS, choices, parse, unknown_choice
from normlab.errors import ConfigError, NormlabError, RunningError, fail


def main() -> None:
    """Run the command line; a mistake of the user ends as one line and status 2."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # exceptions reach this function instead of ending in Hydra's own report
    try:
        sys.argv[1:] = rewritten(sys.argv[1:])
        hydra.main(config_path=str(CONFIGS), config_name="config", version_base="1.3")(job)()
    except NormlabError as error:
        fail(str(error))
    except MissingConfigException as error:
        fail(missing_choice(error))
    except (HydraException, OmegaConfBaseException) as error:
        fail(" ".join(str(error.__cause__ or error).split()))
    except OSError as error:  # of Hydra's own folders
        fail(str(error))
    except KeyboardInterrupt:
        print("interrupted; a run in progress leaves no record", file=sys.stderr)
        sys.exit(130)


def rewritten(arguments: list[str]) -> list[str]:
    """The arguments as Hydra needs them.

    ``norm=x`` becomes ``+norm=x``, because ``norm`` is in no defaults list; ``key=value`` becomes ``++key=value``, so
    that our schema judges unknown keys and says what was expected, where Hydra would only say that it knows none.

    >>> rewritten(["norm=zca", "arch=vit", "optim.lr=0.1", "hydra/launcher=basic"])
    ['+norm=zca', 'arch=vit', '++optim.lr=0.1', 'hydra/launcher=basic']
    >>> rewritten(["-m", "+experiment=input_ranges", "seed=0,1"])[2:]
    ['+experiments/input_ranges@_global_=study', '++seed=0,1', '+norm=raw,unit,centered,dataset']

    Raises:
        ConfigError: for a study that does not exist.
    """
    result = []
    for argument in [*arguments, *missing_grid(arguments)]:
        if argument in ("quick=true", "quick=false", "confirm=false"):
            continue
        key, equals, value = argument.partition("=")
        bare = key.lstrip("+")
        if argument == "confirm=true":
            study = next(value for key, _, value in (a.partition("=") for a in arguments) if key == "+experiment")
            result.append(f"++confirm={study}")
            continue
        group, _, option = bare.partition(".")
        if equals and group in GROUPS and option in ("name", "_target_"):
            raise ConfigError(f"{bare}={value}: choose it by {group}=NAME, one of {', '.join(choices(group))}")
        if not value.isascii() and not set(value) & set("'\"[{,("):
            value = f"'{value}'"  # Hydra's grammar takes other letters only in quotes
            argument = f"{key}={value}"
        if bare == "norm" and equals:
            argument = f"+norm={value}"
        elif equals and bare in GROUPS:
            argument = f"{bare}={value}"
        elif bare == "experiment":
            studies = sorted(path.parent.name for path in EXPERIMENTS.glob("*/study.yaml"))
            if value not in studies:
                raise unknown_choice("experiment", value, studies)
            result.append(f"hydra.searchpath=['file://{EXPERIMENTS.parent}']")
            argument = f"+experiments/{value}@_global_=study"
        elif equals and key[:1] not in "+~-" and not key.startswith("hydra"):
            argument = f"++{argument}"
        result.append(argument)
    return result


def experiment_of(study: str) -> dict[str, Any]:
    """The part ``experiment:`` of a study's file; empty if there is no such study."""
    file = EXPERIMENTS / study / "study.yaml"
    return yaml.safe_load(file.read_text()).get("experiment", {}) if study and file.is_file() else {}


def missing_grid(arguments: list[str]) -> list[str]:
    """The grid of the study that the arguments name, where it is swept, less what they choose themselves.

    With ``quick=true`` the part ``quick`` of the study's file takes the place of what the grid says; null leaves a key
    out. With ``confirm=true`` the seeds are those that confirm; the sweeper leaves out all but the best rates.

    Raises:
        ConfigError: for ``quick=true`` or ``confirm=true`` without a study that has such a part.
    """
    given = {key.lstrip("+"): value for key, _, value in (argument.partition("=") for argument in arguments)}
    plan = experiment_of(given.get("experiment", "")) if {"-m", "--multirun"} & set(arguments) else {}
    grid = plan.get("grid", {})
    if given.get("quick") == "true":
        if "quick" not in plan:
            raise ConfigError("quick=true: for a study with a quick version, as -m +experiment=NAME quick=true")
        grid = {**grid, **plan["quick"]}
    if given.get("confirm") == "true":
        if not plan.get("confirm") or "quick" in given or "seed" in given:
            raise ConfigError("confirm=true: for a study with seeds for it, as -m +experiment=NAME confirm=true, alone")
        first, end = plan["confirm"]
        grid = {**grid, "seed": f"range({first},{end})"}
    return [f"{key}={values}" for key, values in grid.items() if key not in given and values is not None]


def job(composed: DictConfig) -> None:
    """One run, or one job of a sweep. Exceptions end here: beyond, Hydra would add its own lines to them."""
    hydra_config = HydraConfig.get()
    if hydra_config.mode == RunMode.MULTIRUN:
        sweep_job(composed, hydra_config)
        return
    try:
        config = parse(plain(composed))
        from normlab.report.terminal import run_table
        from normlab.run import run

        print(run_table(run(config, imports_seconds=time.perf_counter() - STARTED)))
    except NormlabError as error:
        fail(str(error))
    except Exception:
        traceback.print_exc()
        sys.exit(1)


def plain(composed: DictConfig) -> dict[str, Any]:
    """Hydra's configuration as plain dicts, every interpolation resolved.

    Raises:
        ConfigError: for an interpolation that leads nowhere, or a value that is missing.
    """
    try:
        return OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)  # type: ignore[return-value]
    except OmegaConfBaseException as error:
        raise ConfigError(str(error).splitlines()[0]) from None


def sweep_job(composed: DictConfig, hydra_config: Any) -> None:
    """Run a job of a sweep, unless it has a record, and leave word of what became of it."""
    from normlab import sweep

    overrides = [override.lstrip("+") for override in hydra_config.overrides.task]
    number = hydra_config.job.num
    job_folder = Path(hydra_config.sweep.dir) / str(number)
    word: dict[str, Any] = {"job_folder": job_folder, "number": number, "overrides": overrides}
    name = " ".join(overrides)
    sweep.begin(job_folder)
    try:
        config = parse(plain(composed))
        from normlab import record
        from normlab.data import open_source

        source = open_source(config.data)
        folder = record.folder(config, source.content)
        name = folder.name
        if not config.rerun and record.existing(config, source.content):
            status = "skipped"
        else:
            from normlab.run import run

            threads = config.trainer.threads or sweep.threads_for_each_job(hydra_config.launcher)
            # One line a job says enough.
            status = run(config.with_threads(threads), progress="none", again=config.rerun, source=source)["status"]
        sweep.note(**word, status=status, folder=str(folder))
    except RunningError:  # another sweep was faster, or still is at it
        status = "skipped" if record.existing(config, source.content) else "refused"
        sweep.note(**word, status=status, folder=str(folder), error="another process is making this run")
    except NormlabError as error:
        status = "refused"
        sweep.note(**word, status=status, error=str(error))
    except Exception as error:
        status, file = "failed", job_folder / "traceback.txt"
        file.write_text(traceback.format_exc())
        sweep.note(**word, status=status, error=f"{type(error).__name__}: {error}", traceback=str(file))
    print(f"{name}: {status}\n  {sweep.progress(job_folder.parent)}", file=sys.stderr, flush=True)


def missing_choice(error: MissingConfigException) -> str:
    """One line for a choice that a config group does not have."""
    group, _, name = (error.missing_cfg_file or "").partition("/")
    if group in GROUPS:
        return str(unknown_choice(group, name, choices(group)))
    return " ".join(str(error).split())


if __name__ == "__main__":
    main()
