"""A copy of the curve and the record in Weights & Biases, and of the table of a sweep."""

from __future__ import annotations

import http.client
import itertools
import logging
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from normlab.config import Config, Wandb
from normlab.errors import first_line
from normlab.record import CHECKPOINT, PARTIAL, Measurement
from normlab.training.module import Training

log = logging.getLogger(__name__)

ANSWER_SECONDS = 4  # most for the server to answer
START_SECONDS = 8  # most for W&B to start; it answers within two where there is a network
FINISH_SECONDS = 60  # most for W&B to take what it is given, and to send the rest at the end
BY_EPOCH = ("validation/*", "test/*")  # drawn over epochs; everything else over steps
BINS = 64  # of a histogram


class Mirror(Callback):
    """Sends measurements to a run of W&B. After a failure there, one warning, and nothing more is sent.

    Args:
        starting: the start of the run, which takes a second or more; training does not wait for it. None sends nothing.
        failed: called if the run did not start.
        model: a checkpoint to send at the end; a run that diverged has none.
    """

    def __init__(
        self, starting: Call | None = None, failed: Callable[[], None] = lambda: None, model: Path | None = None
    ) -> None:
        self.run: Any = None
        self.model = model
        self._starting, self._failed = starting, failed
        self._waiting: list[Callable[[Any], Any]] = []  # for the start
        self._sent = 0

    @property
    def sends(self) -> bool:
        """Whether there is a run to send to, as far as is known."""
        return self.run is not None or self._starting is not None

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Send the new measurements, unless W&B is still starting."""
        assert isinstance(module, Training)
        if self._starting is None or self._starting.done:
            self.send(module.curve.rows)

    def send(self, rows: list[Measurement]) -> None:
        """Send the rows that were not sent before, grouped by step."""
        new, self._sent = rows[self._sent :], max(self._sent, len(rows))
        for step, group in itertools.groupby(new, lambda row: row.step):
            measured = list(group)
            values = {f"{row.split}/{row.metric}": row.value for row in measured}
            self._attempt(lambda run: run.log({**values, "epoch": measured[0].epoch}, step=step))  # noqa: B023

    def show_inputs(self, inputs: Tensor) -> None:
        """Send a histogram of what the network sees at the start, once W&B has started: inputs of any shape."""
        histogram = np.histogram(inputs.numpy(), BINS)

        def log_histogram(run: Any) -> None:
            from wandb import Histogram

            run.log({"normalized_inputs": Histogram(np_histogram=histogram)}, step=0)

        self._waiting.append(log_histogram)

    def show_table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Send a table."""

        def log_table(run: Any) -> None:
            from wandb import Table

            run.log({name: Table(columns=list(columns), data=[list(row) for row in rows])})

        self._attempt(log_table)

    def finish(self, record: dict[str, Any] | None) -> None:
        """Send the record's metrics and the model, and end the run; without a record it ends as failed."""
        if record is not None:
            self._attempt(lambda run: run.summary.update({"status": record["status"], **record["metrics"]}))
            if (model := self.model) and model.is_file():
                name = model.parent.name.removesuffix(PARTIAL)
                self._attempt(lambda run: run.log_artifact(str(model), name=name, type="model"))
        self.end(exit_code=0 if record is not None else 1)

    def end(self, exit_code: int = 0) -> None:
        """End the run, with the status of a process."""
        self._attempt(lambda run: run.finish(exit_code=exit_code))

    def _await_start(self) -> None:
        starting, self._starting = self._starting, None
        if starting is not None:
            try:
                self.run = starting.result(START_SECONDS + 2)
            except (Exception, SystemExit) as error:  # no account, no network, no space: the record does not need it
                log.warning("W&B did not start (%s); the run goes on without it", _reason(error))
                self._failed()
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            self._attempt(call)

    def _attempt(self, call: Callable[[Any], Any]) -> None:
        self._await_start()
        if self.run is None:
            return
        try:
            Call(lambda: call(self.run)).result(FINISH_SECONDS)
        except (Exception, SystemExit) as error:  # a mirror must not break what it mirrors
            log.warning("W&B failed (%s); the run goes on without it", _reason(error))
            self.run = None


@contextmanager
def mirrored(config: Config, folder: Path) -> Iterator[Mirror]:
    """A mirror for one run; an exception ends it as failed."""
    mirror = Mirror()
    if isinstance(options := config.logger, Wandb):
        mirror = _start(
            options,
            folder,
            folder / CHECKPOINT if options.log_model else None,
            group=config.study,
            job_type="train",
            name=folder.name.removesuffix(PARTIAL),
            tags=[config.norm.name, config.data.name, config.arch.name, config.optim.name],
            config=config.plain(),
        )
    try:
        yield mirror
    except BaseException:
        mirror.finish(None)
        raise


def mirror_table(
    options: Wandb, folder: Path, study: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]
) -> None:
    """Send the table of a sweep, as a run of the type ``sweep`` in the group of its study.

    Args:
        options: of the logger.
        folder: of the sweep.
        study: of its runs.
        columns: headers of the table.
        rows: its cells.
    """
    mirror = _start(options, folder, group=study, job_type="sweep", name=f"sweep-{folder.name}")
    mirror.show_table("comparison", columns, rows)
    mirror.end()


class Call:
    """A call that runs in a thread of its own from now on."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._outcome: list[Any] = []
        self._raised: list[BaseException] = []
        self._call, self._began = call, time.monotonic()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            self._outcome.append(self._call())
        except BaseException as error:
            self._raised.append(error)

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return not self._thread.is_alive()

    def result(self, seconds: float) -> Any:
        """What the call returned.

        Raises:
            TimeoutError: so many seconds after its begin; the call goes on, but this process does not wait for it.
            BaseException: that the call raised.
        """
        self._thread.join(max(0.0, self._began + seconds - time.monotonic()))
        if self._raised:
            raise self._raised[0]
        if not self._outcome:
            raise TimeoutError(f"no answer in {seconds:g} s")
        return self._outcome[0]


def _reason(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"it called sys.exit({error.code})"
    return f"{type(error).__name__}: {first_line(error)}"


def _require_answer(address: str) -> None:
    """Refuse a server that does not answer: W&B tries again and again, and waits once more when the process ends.

    Raises:
        OSError: if there is no answer within a few seconds; any answer will do.
    """
    try:
        urllib.request.urlopen(address, timeout=ANSWER_SECONDS).close()
    except urllib.error.HTTPError:
        pass
    except (OSError, http.client.HTTPException) as error:
        raise OSError(f"{address} does not answer: {first_line(error)}") from None


_unreachable: set[str] = set()  # modes that failed in this process, so that a sweep waits once


def _start(options: Wandb, folder: Path, model: Path | None = None, **about: Any) -> Mirror:
    """A mirror whose run, with its files in a folder, starts from now on, while the network trains."""
    if options.mode in _unreachable:
        return Mirror()
    # W&B imports it, too; while it is imported it ignores a warning, which works in the main thread alone.
    with suppress(ImportError):
        import_module("requests")

    def start() -> Any:
        import wandb

        if options.mode == "online":
            _require_answer(wandb.setup().settings.base_url)
        run = wandb.init(
            project=options.project,
            entity=options.entity,
            mode=options.mode,
            dir=folder.absolute(),  # absolute, because W&B's service may run in another folder
            # Jobs of a sweep share one process; each is a run of its own.
            reinit="create_new",
            settings=wandb.Settings(
                silent=True, console="off", init_timeout=START_SECONDS, login_timeout=START_SECONDS
            ),
            **about,
        )
        for metric in BY_EPOCH:
            run.define_metric(metric, step_metric="epoch")
        return run

    failed = (lambda: _unreachable.add(options.mode)) if options.mode == "online" else (lambda: None)
    return Mirror(Call(start), failed, model)
