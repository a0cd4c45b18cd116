"""A sweep: which of its jobs are still to be run, how far it is, and what became of each.

All of it is kept in files below ``runs/sweeps/TIME/``, because jobs may run in other processes, and may be killed.
"""

from __future__ import annotations

import copy
import json
import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import yaml
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from normlab import record
from normlab.config import EXPERIMENTS, GROUPS, Config, choices, defaults, parse
from normlab.errors import ConfigError, NormlabError
from normlab.report.terminal import comparison_table

STUDIES = "experiments/"
SWEEP, OUTCOME, STARTED = "sweep.json", "outcome.json", "started"
WRONG = ("refused", "failed")
STATUSES = ("finished", "diverged", "skipped", *WRONG)


def left_to_run(jobs: list[list[str]], master: DictConfig, loader: ConfigLoader) -> list[list[str]]:
    """The jobs of a grid that have no record yet; what the others are is noted.

    Args:
        jobs: overrides of each job of the grid.
        master: Hydra's configuration of the sweep.
        loader: Hydra's.
    """
    found: list[Path | None] = [None] * len(jobs)
    if _has_records(master):
        contents: dict[str, str | None] = {}
        found = [_record_of(config, contents) for config in configurations(jobs, master, loader)]
    left = [place for place, path in enumerate(found) if path is None]
    folder = Path(master.hydra.sweep.dir)
    record.require_writable(folder)
    skipped = {place: str(path) for place, path in enumerate(found) if path is not None}
    content = {"total": len(jobs), "skipped": skipped, "places": left, "started": time.time()}
    (folder / SWEEP).write_text(json.dumps(content))
    if skipped:
        print(f"{len(skipped)} of {len(jobs)} jobs have a record already", file=sys.stderr)
    return [jobs[place] for place in left]


def at_compared(study: str, jobs: list[list[str]], master: DictConfig, loader: ConfigLoader) -> list[list[str]]:
    """Those of a study's jobs that are at the best learning rate of their scheme, by its runs, or at the common one.

    Raises:
        DataError: if the study has no runs to choose by.
        ConfigError: if runs that choose are missing, or a job cannot be composed.
    """
    from normlab.report.study import expected, load  # here, because they bring pandas

    found = load(study, Path(master.runs), Path("results") / study)
    missing = len(expected(study)) - int((~found.confirms).sum())
    if missing:
        raise ConfigError(f"confirm=true: {missing} runs of {study} are missing, by which the rates are chosen")
    made = configurations(jobs, master, loader)
    if None in made:
        raise ConfigError(f"confirm=true: a job of {study} cannot be composed")
    kept = {id(config) for config in found.at_compared([config for config in made if config is not None])}
    return [job for job, config in zip(jobs, made, strict=True) if id(config) in kept]


def _has_records(master: DictConfig) -> bool:
    """Whether any of the jobs could have a record: not in a folder without any, where nothing needs to be composed.

    That saves loading PyTorch in a process whose workers will load it for themselves.
    """
    return any(Path(master.runs).glob(f"*/{record.RECORD}"))


def configurations(jobs: list[list[str]], master: DictConfig, loader: ConfigLoader) -> list[Config | None]:
    """For each job the configuration that Hydra would compose; None where that fails.

    Hydra takes 50 ms for each, too long for thousands that are done. So choices of groups that a study leaves alone are
    read from their files, and values put in their places, as Hydra would; what is left is composed by Hydra, once for
    each combination.
    """
    parser = OverridesParser.create(config_loader=loader)
    parsed = {text: parser.parse_override(text) for text in {text for job in jobs for text in job}}
    of_study = _groups_of_study([override.key_or_group for override in parsed.values()])
    simple = {text for text, override in parsed.items() if _is_simple(override, of_study)}
    composed: dict[tuple[str, ...], dict[str, Any] | None] = {}
    result: list[Config | None] = []
    for job in jobs:
        ours = [text for text in job if text in simple]
        hydras = tuple(text for text in job if text not in simple)
        if not all(parsed[text].key_or_group.startswith(STUDIES) or _is_choice(parsed[text]) for text in hydras):
            ours, hydras = [], tuple(job)  # something that may depend on the rest
        if hydras not in composed:
            composed[hydras] = _compose(loader, master, hydras)
        result.append(_configuration(composed[hydras], [parsed[text] for text in ours]))
    return result


def _groups_of_study(keys: list[str]) -> set[str]:
    """Groups whose keys the study among these choices sets."""
    found: set[str] = set()
    for key in keys:
        if key.startswith(STUDIES):
            found |= yaml.safe_load((EXPERIMENTS / key.split("/", 1)[1] / "study.yaml").read_text()).keys()
    return found


def _is_simple(override: Override, of_study: set[str]) -> bool:
    """Whether an override chooses a group that no study changes, or gives one key a plain value."""
    key, value = override.key_or_group, override.value()
    parts = value if isinstance(value, list) else [value]
    if not all(isinstance(part, int | float | str | bool | None) for part in parts) or "$" in str(value):
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
        return OmegaConf.to_container(OmegaConf.create(config), resolve=True, throw_on_missing=True)  # type: ignore[return-value]
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


def _record_of(config: Config | None, contents: dict[str, str | None]) -> Path | None:
    """The folder of the finished record of this configuration; ``contents`` remembers those of data sets."""
    if config is None or config.rerun:
        return None
    try:
        data = config.data.model_dump_json(by_alias=True, exclude={"split_seed", "limit", "batch_size", "image_size"})
        if data not in contents:
            contents[data] = record.open_content(config)
        content = contents[data]
        return record.folder(config, content) if record.existing(config, content) else None
    except NormlabError:
        return None


def note(job_folder: Path, number: int, overrides: list[str], status: str, **more: Any) -> None:
    """Leave word of one job.

    Args:
        job_folder: Hydra's folder of the job.
        number: of the job among those that were launched.
        overrides: what distinguishes it.
        status: finished, diverged, skipped (it has got a record meanwhile), refused (a user's mistake) or failed.
        more: ``folder`` of the run, ``error``, ``traceback`` (a file).
    """
    job_folder.mkdir(parents=True, exist_ok=True)
    content = {"number": number, "overrides": overrides, "status": status, **more}
    temporary = job_folder / f"{OUTCOME}.tmp"
    temporary.write_text(json.dumps(content))
    temporary.replace(job_folder / OUTCOME)


def begin(job_folder: Path) -> None:
    """Leave word that a job is running."""
    job_folder.mkdir(parents=True, exist_ok=True)
    (job_folder / STARTED).touch()


def outcomes(folder: Path) -> list[dict[str, Any]]:
    """What became of the jobs that were launched, in the order of the grid."""
    found = [json.loads(path.read_text()) for path in folder.glob(f"*/{OUTCOME}")]
    return sorted(found, key=lambda outcome: outcome["number"])


def progress(folder: Path) -> str:
    """How far a sweep is: how many jobs are done, and how; how many run; the time that is left at this pace."""
    sweep = json.loads((folder / SWEEP).read_text())
    done = outcomes(folder)
    counts = Counter(outcome["status"] for outcome in done)
    counts["skipped"] += len(sweep["skipped"])
    parts = [f"{counts[status]} {status}" for status in STATUSES if counts[status]]
    running = sum(not (path.parent / OUTCOME).exists() for path in folder.glob(f"*/{STARTED}"))
    if running:
        parts.append(f"{running} running")
    left = sweep["total"] - counts.total()
    if left and done:
        seconds = (time.time() - sweep["started"]) / len(done) * left
        parts.append(f"about {_duration(seconds)} left")
    return f"{counts.total()} of {sweep['total']} done: {', '.join(parts)}"


def _duration(seconds: float) -> str:
    """The time in the two units that matter.

    >>> _duration(42), _duration(3599), _duration(9000)
    ('42 s', '60 min', '2 h 30 min')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def threads_for_each_job(launcher: DictConfig) -> int | None:
    """Threads that keep jobs at once from taking more than the machine's cores; None for one job at a time.

    Two jobs with two threads each on two cores run 5 to 20 times slower than with one thread each.

    Args:
        launcher: Hydra's configuration of it.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if "n_jobs" in launcher:  # joblib
        jobs = launcher.n_jobs or 1
        jobs = max(1, cores + 1 + jobs) if jobs < 0 else jobs
        return max(1, cores // jobs)
    if "cpus_per_task" in launcher:  # submitit
        return launcher.cpus_per_task or 1
    cpus = OmegaConf.select(launcher, "ray.remote.num_cpus")
    if cpus is None and "ray" in launcher:
        return 1  # ray gives each job one core unless told otherwise
    return None if cpus is None else max(1, int(cpus))


class Summary(Callback):
    """Prints the comparison of all jobs at the end of a sweep, and sets its exit status."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Print the table and what went wrong; a sweep with a failed or a missing job ends with status 1."""
        folder = Path(config.hydra.sweep.dir)
        if not (folder / SWEEP).exists():  # it ended before its jobs were known, and has said why
            return
        sweep, done = json.loads((folder / SWEEP).read_text()), outcomes(folder)
        places = {int(place): Path(path) for place, path in sweep["skipped"].items()}
        for outcome in done:
            if outcome["status"] not in WRONG:
                places[sweep["places"][outcome["number"]]] = Path(outcome["folder"])
        if places:
            print(comparison_table([record.read(places[place]) for place in sorted(places)]))
        counts = Counter(outcome["status"] for outcome in done)
        counts["skipped"] += len(sweep["skipped"])
        missing = sweep["total"] - counts.total()
        parts = [f"{counts[status]} {status}" for status in STATUSES if counts[status]]
        parts += [f"{missing} without an outcome"] * bool(missing)
        print(f"{sweep['total']} job{'s' * (sweep['total'] != 1)}: {', '.join(parts)}")
        wrong = [outcome for outcome in done if outcome["status"] in WRONG]
        for outcome in wrong:
            where = f" (traceback in {outcome['traceback']})" if "traceback" in outcome else ""
            what = " ".join(outcome["overrides"])
            print(f"job {outcome['number']} {what}: {outcome['error']}{where}", file=sys.stderr)
        if missing:
            print("the same command runs what is missing", file=sys.stderr)
        if wrong or missing:
            sys.exit(1)
