"""Launches the jobs of a sweep in this process, or in the processes of joblib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig

from normlab.commandline.composing import configure_logging, is_local, launch_in_processes
from normlab.commandline.job import SweepJob, sweep_job
from normlab.commandline.sweep import Rounds, threads_for_each_job
from normlab.config import Config


class KnownJobs(Launcher):
    """Launches jobs whose configurations the sweep knows.

    Hydra's own launchers compose each job once more, which takes as long as a short run. They get what they alone can
    do: jobs on other machines, or with settings for Hydra.

    Args:
        hydras: the launcher that the command chose.
        rounds: of the sweep.
        master: Hydra's configuration of the sweep.
    """

    def __init__(self, hydras: Launcher, rounds: Rounds, master: DictConfig) -> None:
        self._hydras, self._rounds, self._master = hydras, rounds, master

    def setup(self, **_: Any) -> None:
        """Nothing: the launcher that this one stands for is set up."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run these jobs, the first of which has this number."""
        configs = [self._rounds.configs.get(tuple(overrides)) for overrides in job_overrides]
        known = [config for config in configs if config is not None]
        if len(known) < len(configs) or not is_local(self._hydras, self._master):
            return self._hydras.launch(job_overrides, initial_job_idx=initial_job_idx)
        folder, threads = Path(self._master.hydra.sweep.dir), threads_for_each_job(self._master.hydra.launcher)
        jobs = [
            SweepJob(folder, number, tuple(overrides), threads)
            for number, overrides in enumerate(job_overrides, initial_job_idx)
        ]
        arguments = [(job, config, self._master) for job, config in zip(jobs, known, strict=True)]
        if "n_jobs" in self._master.hydra.launcher:
            launch_in_processes(self._hydras, work, arguments)
        else:
            for one in arguments:
                work(*one)
        return []


def work(job: SweepJob, config: Config, master: DictConfig) -> None:
    """Run one job, in whatever process."""
    configure_logging(master)
    sweep_job(job, lambda: config)
