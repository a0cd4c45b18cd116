"""A copy of the curve and the record in Weights & Biases."""

from __future__ import annotations

import http.client
import itertools
import logging
import operator
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from normlab.config import Config, Wandb
from normlab.errors import first_line
from normlab.record import Measurement
from normlab.training.module import Training

log = logging.getLogger(__name__)

ANSWER_SECONDS = 4  # most for the server to answer
START_SECONDS = 8  # most for W&B to start; it answers within two where there is a network
FINISH_SECONDS = 60  # most for W&B to take what it is given, and to send the rest at the end


class Mirror(Callback):
    """Sends measurements to a run of W&B. After a failure there, one warning, and nothing more is sent.

    Args:
        starting: the start of the run, which takes a second or more; training does not wait for it. None sends nothing.
        failed: called if the run did not start.
    """

    def __init__(self, starting: Call | None = None, failed: Callable[[], None] = lambda: None) -> None:
        self.run: Any = None
        self._starting, self._failed = starting, failed
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
            self._attempt("log", {**values, "epoch": measured[0].epoch}, step=step)

    def finish(self, record: dict[str, Any] | None) -> None:
        """Send the record's metrics and end the run; without a record it ends as failed."""
        if record is not None:
            summary = {"status": record["status"], **record["metrics"]}
            self._attempt("summary.update", summary)
        self._attempt("finish", exit_code=0 if record is not None else 1)

    def _await_start(self) -> None:
        starting, self._starting = self._starting, None
        if starting is None:
            return
        try:
            self.run = starting.result(START_SECONDS + 2)
        except (Exception, SystemExit) as error:  # no account, no network, no space: the record does not depend on it
            log.warning("W&B did not start (%s); the run goes on without it", _reason(error))
            self._failed()

    def _attempt(self, method: str, *arguments: Any, **options: Any) -> None:
        self._await_start()
        if self.run is None:
            return
        try:
            Call(lambda: operator.attrgetter(method)(self.run)(*arguments, **options)).result(FINISH_SECONDS)
        except (Exception, SystemExit) as error:  # a mirror must not break what it mirrors
            log.warning("W&B failed (%s); the run goes on without it", _reason(error))
            self.run = None


@contextmanager
def mirrored(config: Config, folder: Path) -> Iterator[Mirror]:
    """A mirror for one run; an exception ends it as failed."""
    mirror = _mirror(config.logger, config, folder) if isinstance(config.logger, Wandb) else Mirror()
    try:
        yield mirror
    except BaseException:
        mirror.finish(None)
        raise


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


def _mirror(options: Wandb, config: Config, folder: Path) -> Mirror:
    """A mirror whose run starts while the network trains."""
    if options.mode in _unreachable:
        return Mirror()

    def start() -> Any:
        import wandb

        if options.mode == "online":
            _require_answer(wandb.setup().settings.base_url)
        return wandb.init(
            project=options.project,
            entity=options.entity,
            group=config.study,
            name=folder.name,
            config=config.plain(),
            mode=options.mode,
            dir=folder.absolute(),  # absolute, because W&B's service may run in another folder
            # Jobs of a sweep share one process; each is a run of its own.
            reinit="create_new",
            settings=wandb.Settings(
                silent=True, console="off", init_timeout=START_SECONDS, login_timeout=START_SECONDS
            ),
        )

    return Mirror(Call(start), lambda: _unreachable.add(options.mode) if options.mode == "online" else None)
