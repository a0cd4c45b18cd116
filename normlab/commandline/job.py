"""One run, or one job of a sweep: what Hydra calls with each configuration that it has composed."""

from __future__ import annotations

import logging
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from normlab import STARTED
from normlab.commandline import sweep
from normlab.commandline.composing import plain
from normlab.config import Config, parse
from normlab.display import printable
from normlab.errors import NormlabError, RunningError, fail, lack
from normlab.process import import_lightning, importing, prepare


def job(composed: DictConfig) -> None:
    """Make a run. Exceptions end here: beyond, Hydra would add its own lines to them."""
    prepare()  # a launcher may have started this process
    hydra_config = HydraConfig.get()
    if hydra_config.mode == RunMode.MULTIRUN:
        about = SweepJob(
            Path(hydra_config.sweep.dir),
            hydra_config.job.num,
            tuple(hydra_config.overrides.task),
            sweep.threads_for_each_job(hydra_config.launcher),
        )
        sweep_job(about, lambda: parse(plain(composed)))
        return
    try:
        with importing():
            config = parse(plain(composed))
            import_lightning()
            from normlab.report.terminal import run_table
            from normlab.run import run

        print(run_table(run(config, imports_seconds=time.perf_counter() - STARTED)))
    except NormlabError as error:
        fail(str(error), error.status)
    except Exception as error:
        if line := lack(error):
            fail(line, status=1)
        traceback.print_exc()
        sys.exit(1)


@dataclass(frozen=True)
class SweepJob:
    """A job of a sweep.

    Attributes:
        sweep: folder of the sweep.
        number: of the job among those that are launched.
        overrides: what the job is composed of.
        threads: of PyTorch for each job, unless its configuration says; None leaves it to PyTorch.
    """

    sweep: Path
    number: int
    overrides: tuple[str, ...]
    threads: int | None


_told: dict[Path, set[str]] = {}  # of each sweep, what this process has said of its data


@contextmanager
def told_once(sweep: Path) -> Iterator[None]:
    """Leave out lines about data that an earlier job of the sweep has printed in this process."""
    told = _told.setdefault(sweep, set())

    def is_new(line: logging.LogRecord) -> bool:
        text = line.getMessage()
        known = text in told
        if text.startswith("data: "):
            told.add(text)
        return not known

    log = logging.getLogger("normlab.data.datasets")
    log.addFilter(is_new)
    try:
        yield
    finally:
        log.removeFilter(is_new)


def sweep_job(job: SweepJob, configure: Callable[[], Config]) -> None:
    """Run a job of a sweep, unless it has a record, and write down what became of it.

    Args:
        job: of the sweep.
        configure: returns the configuration, or raises what is wrong with it.
    """
    prepare()  # a launcher may have started this process
    with told_once(job.sweep):
        _sweep_job(job, configure)


def _sweep_job(job: SweepJob, configure: Callable[[], Config]) -> None:
    overrides = [override.lstrip("+") for override in job.overrides]
    job_folder = job.sweep / str(job.number)
    word: dict[str, Any] = {"job_folder": job_folder, "number": job.number, "overrides": overrides}
    name = " ".join(overrides)
    sweep.begin(job_folder)
    try:
        with importing():
            config = configure()
            from normlab import record
            from normlab.data import open_source

        source = open_source(config.data)
        folder = record.folder(config, source.content)
        name = folder.name
        if not config.rerun and record.existing(config, source.content):
            status = "skipped"
        else:
            with importing():
                import_lightning()
                from normlab.run import run

            threads = config.trainer.threads or job.threads
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
        status = "failed"
        if line := lack(error):
            sweep.note(**word, status=status, error=line)
        else:
            file = job_folder / "traceback.txt"
            with suppress(OSError):
                file.write_text(traceback.format_exc())
            sweep.note(**word, status=status, error=f"{type(error).__name__}: {error}", traceback=str(file))
    print(f"{printable(name)}: {status}\n  {sweep.progress(job.sweep)}", file=sys.stderr, flush=True)
