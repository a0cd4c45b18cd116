"""Hydra: all of its private calls, and everything that composes a configuration."""

from __future__ import annotations

import copy
import functools
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

import hydra
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import create_config_search_path, get_args_parser
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.core.utils import configure_log, setup_globals
from hydra.errors import HydraException, MissingConfigException
from hydra.plugins.launcher import Launcher
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from normlab.config import CONFIGS, GROUPS, Config, choices, defaults, parse, study_file, unknown_choice
from normlab.errors import ConfigError, NormlabError, first_line

STUDY = "experiment"  # the group of the studies
# Settings of normlab's sweeper that say which runs are made, and nothing of what is in their configurations.
WHICH_RUNS = ("hydra.sweeper.search=", "hydra.sweeper.confirm=", "hydra.sweeper.sensitivity=")


def offer_study(study: str | None) -> None:
    """Let ``+experiment=STUDY`` choose the settings of a study.

    They are kept in Hydra's own store, not on its search path: there every folder is a config group, and a folder of
    the name of a key takes the key's place.
    """
    if study is not None:
        settings = {key: value for key, value in study_file(study).items() if key != "experiment"}
        ConfigStore.instance().store(group=STUDY, name=study, node=settings, package="_global_", provider="normlab")


def split_arguments(arguments: Sequence[str]) -> tuple[list[str], list[str], bool]:
    """Hydra's own flags with their values, the overrides, and whether the flags ask for a sweep."""
    known = get_args_parser().parse_intermixed_args(list(arguments))
    overrides, flags = list(known.overrides), []
    for argument in arguments:
        if argument in overrides:
            overrides.remove(argument)
        else:
            flags.append(argument)
    return flags, list(known.overrides), known.multirun


def run(arguments: list[str], study: str | None, task: Callable[[DictConfig], None]) -> None:
    """Hydra's main function: compose what the arguments say, and call the task with it, or with each job of a sweep.

    Raises:
        ConfigError: if Hydra does not understand the arguments.
    """
    offer_study(study)
    sys.argv[1:] = arguments
    try:
        hydra.main(config_path=str(CONFIGS), config_name="config", version_base="1.3")(task)()
    except (HydraException, OmegaConfBaseException) as error:
        raise _as_mistake(error) from None


def _as_mistake(error: Exception) -> ConfigError:
    """What Hydra says of a mistake, as one line."""
    if isinstance(error, MissingConfigException):
        group, _, name = (error.missing_cfg_file or "").partition("/")
        if group in GROUPS:
            return unknown_choice(group, name, choices(group))
    return ConfigError(_line(error))


def refusal(job: list[str], master: DictConfig, loader: ConfigLoader) -> ConfigError | None:
    """Why Hydra cannot compose a job; None if it can."""
    try:
        loader.load_sweep_config(master, job)
    except (HydraException, OmegaConfBaseException) as error:
        return _as_mistake(error)
    return None


def is_local(launcher: Launcher, master: DictConfig) -> bool:
    """Whether a launcher runs jobs on this machine, and Hydra does nothing around a job that changes it.

    Args:
        launcher: Hydra's.
        master: Hydra's configuration of the sweep.
    """
    settings = master.hydra
    around = settings.callbacks or settings.job.env_set or settings.job.chdir or settings.output_subdir is not None
    return type(launcher).__name__ in ("BasicLauncher", "JoblibLauncher") and not around


def configure_logging(master: DictConfig) -> None:
    """Let the log of a job go where Hydra lets it go."""
    configure_log(master.hydra.job_logging, master.hydra.verbose)


def launch_in_processes(launcher: Any, function: Callable[..., None], arguments: Sequence[tuple[Any, ...]]) -> None:
    """Call a function with each of these arguments in the processes that Hydra's launcher for joblib is set to.

    Args:
        launcher: that one.
        function: that can be pickled.
        arguments: of each call, which can be pickled, too.
    """
    from hydra_plugins.hydra_joblib_launcher._core import process_joblib_cfg
    from joblib import Parallel, delayed

    options = {**launcher.joblib, "backend": "loky"}
    process_joblib_cfg(options)
    Parallel(**options)(delayed(function)(*one) for one in arguments)


def _line(error: Exception) -> str:
    return " ".join(str(error.__cause__ or error).split())


def expand(arguments: Sequence[str], study: str | None) -> tuple[list[list[str]], list[Config | None]]:
    """The jobs of a sweep and the configuration of each; see :func:`configurations`.

    Args:
        arguments: overrides as Hydra needs them, and flags, which say nothing here.
        study: that the arguments choose.

    Raises:
        ConfigError: if Hydra does not understand an override.
    """
    overrides = split_arguments(arguments)[1]
    own = [override for override in overrides if override.lstrip("+").startswith(("hydra.", "hydra/"))]
    settings = tuple(override for override in own if not override.startswith(WHICH_RUNS))
    offer_study(study)
    setup_globals()
    try:
        loader, master = _master(settings)
        parser = OverridesParser.create(config_loader=loader)
        grid = parser.parse_overrides([override for override in overrides if override not in own])
        (jobs,) = BasicSweeper.split_arguments(grid, None)
        return jobs, configurations(jobs, master, loader, _composed(settings, str(study and study_file(study))))
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_line(error)) from None


@functools.lru_cache(maxsize=8)
def _master(settings: tuple[str, ...]) -> tuple[ConfigLoader, DictConfig]:
    """Hydra's loader and its configuration of a sweep, by overrides of Hydra's own settings; a process asks often."""
    loader = ConfigLoaderImpl(create_config_search_path(str(CONFIGS)))
    return loader, loader.load_configuration("config", list(settings), run_mode=RunMode.MULTIRUN)


@functools.lru_cache(maxsize=256)
def _composed(_settings: tuple[str, ...], _study: str) -> dict[tuple[str, ...], dict[str, Any] | None]:
    """What this process has composed under these settings and this study, by the overrides."""
    return {}


def plain(composed: DictConfig) -> dict[str, Any]:
    """Hydra's configuration as plain dicts, every interpolation resolved.

    Raises:
        ConfigError: for an interpolation that leads nowhere, or a value that is missing.
    """
    try:
        return OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)  # type: ignore[return-value]
    except OmegaConfBaseException as error:
        raise ConfigError(first_line(error)) from None


def quoted(text: str | None) -> str:
    r"""Plain text in Hydra's grammar, so that neither Hydra nor OmegaConf reads anything in it.

    >>> print(quoted("it's"), quoted("${seed}"), quoted(None))
    'it\'s' '\${seed}' null
    """
    if text is None:
        return "null"
    if text == "???":  # what OmegaConf calls missing; the same path
        text = "./???"
    escaped = re.sub(r"(\\*)\$\{", r"\1\1\\${", text)
    return QuotedString(escaped, Quote.single).with_quotes()


def configurations(
    jobs: list[list[str]],
    master: DictConfig,
    loader: ConfigLoader,
    composed: dict[tuple[str, ...], dict[str, Any] | None] | None = None,
) -> list[Config | None]:
    """For each job the configuration that Hydra would compose; None where that fails.

    Hydra takes 50 ms for each, too long for thousands that are done. So choices of groups that a study leaves alone are
    read from their files, and values put in their places, as Hydra would; what is left is composed by Hydra, once for
    each combination.

    Args:
        jobs: the overrides of each.
        master: Hydra's configuration of the sweep.
        loader: Hydra's.
        composed: what Hydra has composed before, by the overrides, to which this is added.
    """
    composed = {} if composed is None else composed
    parser = OverridesParser.create(config_loader=loader)
    parsed = {text: parser.parse_override(text) for text in {text for job in jobs for text in job}}
    of_study = _groups_of_studies(list(parsed.values()))
    simple = {text for text, override in parsed.items() if _is_simple(override, of_study)}
    result: list[Config | None] = []
    for job in jobs:
        ours = [text for text in job if text in simple]
        hydras = tuple(text for text in job if text not in simple)
        if not all(parsed[text].key_or_group == STUDY or _is_choice(parsed[text]) for text in hydras):
            ours, hydras = [], tuple(job)  # something that may depend on the rest
        if hydras not in composed:
            composed[hydras] = _compose(loader, master, hydras)
        result.append(_configuration(composed[hydras], [parsed[text] for text in ours]))
    return result


def _groups_of_studies(overrides: list[Override]) -> set[str]:
    """Groups whose keys the study among these overrides sets."""
    chosen = [str(override.value()) for override in overrides if override.key_or_group == STUDY]
    return {key for study in chosen for key in study_file(study)}


def _is_simple(override: Override, of_study: set[str]) -> bool:
    """Whether an override chooses a group that no study changes, or gives one key a plain value."""
    key, value = override.key_or_group, override.value()
    parts = value if isinstance(value, list) else [value]
    if not all(isinstance(part, int | float | str | bool | None) for part in parts) or "${" in str(value):
        return False
    if key in GROUPS:
        return key not in of_study and _is_choice(override)
    return override.is_force_add() and not override.is_delete() and "/" not in key and "@" not in key


def _is_choice(override: Override) -> bool:
    """Whether an override chooses a group, by a name that it has."""
    return override.key_or_group in GROUPS and override.value() in choices(override.key_or_group)


def _compose(loader: ConfigLoader, master: DictConfig, overrides: tuple[str, ...]) -> dict[str, Any] | None:
    """What Hydra makes of these overrides; None if it cannot, which the job itself will report."""
    try:
        config = OmegaConf.to_container(loader.load_sweep_config(master, list(overrides)), resolve=False)
        assert isinstance(config, dict)
        config.pop("hydra")
        return plain(OmegaConf.create(config))
    except Exception:
        return None


def _configuration(composed: dict[str, Any] | None, overrides: list[Override]) -> Config | None:
    """What is composed with these simple overrides."""
    if composed is None:
        return None
    values = copy.deepcopy(composed)
    for override in sorted(overrides, key=lambda override: override.key_or_group not in GROUPS):  # choices come first
        key, value = override.key_or_group, override.value()
        if key in GROUPS:
            values[key] = defaults(key, str(value))
            continue
        *path, last = key.split(".")
        part: Any = values
        for name in path:
            part = part.setdefault(name, {})
            if not isinstance(part, dict):
                return None
        part[last] = value
    try:
        return parse(values)
    except NormlabError:
        return None
