"""A sweep: which of its jobs are still to be run, how far it is, and what became of each.

All of it is kept in files below ``runs/sweeps/TIME/``, because jobs may run in other processes, and may be killed.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig, OmegaConf

from normlab import record
from normlab.commandline.composing import configurations, refusal
from normlab.commandline.grid import choosing, load
from normlab.commandline.rates import search, tell, with_rate
from normlab.config import Config
from normlab.errors import ConfigError, NormlabError, lack
from normlab.files import write_whole
from normlab.record.identity import versioned_defaults

SWEEP, OUTCOME, STARTED = "sweep.json", "outcome.json", "started"
WRONG = ("refused", "failed")
STATUSES = ("finished", "diverged", "skipped", *WRONG)

AFTER_SOURCE = {"split_seed", "limit", "batch_size", "validation", "test"}  # what is done to data once opened

Job = list[str]  # its overrides


class Rounds:
    """The jobs of a sweep that have no record yet, round by round.

    A grid takes one round. A search for learning rates takes more, because the records of one say what the next one
    runs; a job is launched once, so a failed one ends the search in its cell.

    Args:
        jobs: of the grid.
        confirm: a study; only jobs at the rates that its other runs have chosen are taken.
        search: a study whose plan says where the search for learning rates starts.
        change: with which the study is run, one of its plan's ``sensitivity``.
        master: Hydra's configuration of the sweep.
        loader: Hydra's.

    Attributes:
        folders: of the runs of all known jobs; None for a job that is refused.
        configs: of the jobs of the latest round, where they are known.
    """

    def __init__(
        self,
        jobs: list[Job],
        confirm: str | None,
        search: str | None,
        change: str | None,
        master: DictConfig,
        loader: ConfigLoader,
    ) -> None:
        self._hydra = master, loader
        self._grid = jobs, configurations(jobs, master, loader)
        self.folders: list[Path | None] = []
        self.configs: dict[tuple[str, ...], Config] = {}
        self._confirm, self._search = confirm, search
        self._runs, self._sweep = Path(master.runs), Path(master.hydra.sweep.dir)
        self._contents: dict[str, str | None] = {}
        self._launched: dict[tuple[str, ...], None] = {}  # in the order of their numbers
        self._started: float | None = None
        if confirm:
            self._grid = at_chosen_rates(confirm, change, *self._grid, self._runs, searches=search is not None)

    def next_batch(self) -> list[Job]:
        """The jobs of the next round; none at the end. All jobs that are known so far are written down.

        Raises:
            ConfigError: if two jobs are the same run, the folder of the sweep cannot be written, or the plan has no
                start for the search in a cell.
        """
        again = self._started is not None
        if again and (self._confirm or not self._search):
            return []
        jobs, configs, story = self._known_jobs()
        contents = _contents(configs, self._contents)
        folders = [_folder(config, content) for config, content in zip(configs, contents, strict=True)]
        refuse_same_runs(jobs, folders)
        self.folders = folders
        known = {
            place: found
            for place, (config, folder) in enumerate(zip(configs, folders, strict=True))
            if tuple(jobs[place]) not in self._launched
            and config is not None
            and folder is not None
            and not config.rerun
            and (found := record.existing(config, contents[place])) is not None
        }
        skipped = {place: str(folders[place]) for place in known}
        if not again:
            record.require_writable(self._sweep)
            self._started = time.time()
        refused = self._refused(jobs, configs)
        done = skipped.keys() | refused.keys()
        left = [job for place, job in enumerate(jobs) if place not in done and tuple(job) not in self._launched]
        self._launched |= dict.fromkeys(map(tuple, left))
        self.configs = {tuple(job): config for job, config in zip(jobs, configs, strict=True) if config is not None}
        place_of = {tuple(job): place for place, job in enumerate(jobs)}
        content = {
            "total": len(jobs),
            "skipped": skipped,
            "refused": refused,
            "places": [place_of[job] for job in self._launched],
            "started": self._started,
            "grows": bool(story and left),
        }
        write_whole(self._sweep / SWEEP, json.dumps(content))
        if skipped and not again:
            print(f"{len(skipped)} of {len(jobs)} jobs have a record already", file=sys.stderr)
            for name in own_schemes_of_other_code(known.values()):
                print(
                    f"norm={name}: the code has changed since such a record, or may have; if the scheme has, "
                    f"rerun=true makes the runs again",
                    file=sys.stderr,
                )
        if story and not left:
            print(story, file=sys.stderr)
        return left

    def _refused(self, jobs: list[Job], configs: list[Config | None]) -> dict[int, str]:
        """Why Hydra cannot compose some jobs, by their places; launched, the first of them would end the sweep."""
        reasons = {}
        for place, (job, config) in enumerate(zip(jobs, configs, strict=True)):
            if config is None and tuple(job) not in self._launched and (error := refusal(job, *self._hydra)):
                reasons[place] = f"{' '.join(override.lstrip('+') for override in job)}: {error}"
        return reasons

    def _known_jobs(self) -> tuple[list[Job], list[Config | None], str]:
        """The jobs by what is known now, and how far the search for learning rates is, if there is one."""
        if self._confirm or not self._search:
            return *self._grid, ""
        from normlab.report import study  # here, because it brings pandas

        name, rates = self._search, study.plan(self._search).rates
        assert rates is not None
        stored = study.places(self._runs, Path("results") / name)
        jobs, configs, cells = search(*self._grid, rates, lambda config: study.score(name, config, stored))
        return jobs, configs, tell(cells, rates) if cells else ""


def own_schemes_of_other_code(found: Iterable[dict[str, Any]]) -> list[str]:
    """The schemes of these records that normlab does not bring, and whose code may be another one now, by name.

    A run is known by the name of its scheme, not by its formula.

    Args:
        found: records.
    """
    now = record.provenance()
    return sorted(
        {
            one["config"]["norm"]["name"]
            for one in found
            if one["config"]["norm"]["name"] not in versioned_defaults()["norm"]
            and (
                now["dirty"] is not False or one["provenance"]["dirty"] or one["provenance"]["commit"] != now["commit"]
            )
        }
    )


def at_chosen_rates(
    study: str, change: str | None, jobs: list[Job], configs: list[Config | None], runs: Path, searches: bool
) -> tuple[list[Job], list[Config | None]]:
    """A study's jobs at the best learning rate of their scheme, by its runs, and at the common one.

    Args:
        study: in experiments/.
        change: with which it is run, one of its plan's ``sensitivity``.
        jobs: with the seeds that confirm, at all learning rates of the grid.
        configs: of the jobs.
        runs: folder of runs.
        searches: the jobs have no learning rate, because the study searches its best ones.

    Raises:
        DataError: if the study has no runs to choose by.
        ConfigError: if runs that choose are missing, or a job cannot be composed.
    """
    results = Path("results") / study
    known = load(study, runs, results, change=change)
    grid = choosing(study, runs, results, [f"sensitivity={change}"] if change else [])
    missing = len(grid) - int((~known.confirms).sum())
    if missing:
        raise ConfigError(f"confirm=true: {missing} runs of {study} are missing, by which the rates are chosen")
    valid = [config for config in configs if config is not None]
    if len(valid) < len(configs):
        raise ConfigError(f"confirm=true: a job of {study} cannot be composed")
    found: list[tuple[Job, Config]] = []
    for job, config, compared in zip(jobs, valid, known.compared_rates(valid), strict=True):
        if searches:
            found += [with_rate(job, config, rate) for rate in sorted(compared)]
        elif config.optim.lr in compared:
            found.append((job, config))
    return [job for job, _ in found], [config for _, config in found]


def refuse_same_runs(jobs: list[Job], folders: list[Path | None]) -> None:
    """Refuse two jobs with one identity: the second would be skipped, or would overwrite the record of the first.

    Args:
        jobs: of a sweep.
        folders: of the run of each, whose name holds the fingerprint; None if it is not known.

    Raises:
        ConfigError: naming two such jobs by what they do not share.
    """
    first: dict[Path, int] = {}
    for place, folder in enumerate(folders):
        if folder is None:
            continue
        other = first.setdefault(folder, place)
        if other != place:
            names = [_name(jobs[one], jobs[two]) for one, two in ((other, place), (place, other))]
            raise ConfigError(
                f"job {other} ({names[0]}) and job {place} ({names[1]}) are the same run; leave one of them out"
            )


def _name(job: Job, other: Job) -> str:
    """What one job has and the other has not; all of it if there is no such thing."""
    return " ".join(override.lstrip("+") for override in [text for text in job if text not in other] or job)


def _contents(configs: list[Config | None], known: dict[str, str | None]) -> list[str | None]:
    """The content of each job's data; None for a job that will be refused on its turn.

    Args:
        configs: of the jobs.
        known: the content of each source, which grows: each is hashed once.
    """
    result: list[str | None] = []
    for config in configs:
        if config is None:
            result.append(None)
            continue
        source = config.data.model_dump_json(by_alias=True, exclude=AFTER_SOURCE)
        if source not in known:
            try:
                known[source] = record.open_content(config)
            except NormlabError:
                known[source] = None
        result.append(known[source])
    return result


def _folder(config: Config | None, content: str | None) -> Path | None:
    """The folder of a job's run; None for a job that will be refused on its turn."""
    try:
        return None if config is None or content is None else record.folder(config, content)
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
    content = {"number": number, "overrides": overrides, "status": status, **more}
    try:
        job_folder.mkdir(parents=True, exist_ok=True)
        (job_folder / OUTCOME).write_text(json.dumps(content))  # cut by a kill, it counts as none
    except OSError as error:  # the record of the run counts, where there is one
        print(f"normlab: {job_folder}: not written down: {lack(error) or error}", file=sys.stderr)


def begin(job_folder: Path) -> None:
    """Leave word that a job is running, for the count of running jobs."""
    with suppress(OSError):
        job_folder.mkdir(parents=True, exist_ok=True)
        (job_folder / STARTED).touch()


_outcomes: dict[Path, dict[str, Any]] = {}  # that this process has read; they do not change


def outcomes(folder: Path) -> list[dict[str, Any]]:
    """What became of the jobs that were launched, in the order of the grid; a damaged file counts as none."""
    known = []
    for path in folder.glob(f"*/{OUTCOME}"):
        if path not in _outcomes:
            with suppress(OSError, ValueError):
                outcome = json.loads(path.read_text())
                if isinstance(outcome, dict) and {"number", "overrides", "status"} <= outcome.keys():
                    _outcomes[path] = outcome
        if path in _outcomes:
            known.append(_outcomes[path])
    return sorted(known, key=lambda outcome: outcome["number"])


def progress(folder: Path) -> str:
    """How far a sweep is: how many jobs are done, and how; how many run; the time that is left at this pace."""
    sweep = json.loads((folder / SWEEP).read_text())
    done = outcomes(folder)
    counts = Counter(outcome["status"] for outcome in done)
    counts["skipped"] += len(sweep["skipped"])
    counts["refused"] += len(sweep["refused"])
    parts = [f"{counts[status]} {status}" for status in STATUSES if counts[status]]
    running = sum(not (path.parent / OUTCOME).exists() for path in folder.glob(f"*/{STARTED}"))
    if running:
        parts.append(f"{running} running")
    left = sweep["total"] - counts.total()
    if left and done:
        seconds = (time.time() - sweep["started"]) / len(done) * left
        parts.append(f"about {_duration(seconds)} left")
    known = " so far" * sweep.get("grows", False)  # a search for learning rates does not know its end
    return f"{counts.total()} of {sweep['total']}{known} done: {', '.join(parts)}"


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
