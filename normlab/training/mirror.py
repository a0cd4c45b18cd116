"""A copy of the curve and the record in Weights & Biases."""

from __future__ import annotations

import itertools
import logging
import operator
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from normlab.config import Config, Wandb
from normlab.record import Measurement
from normlab.training.module import Training

log = logging.getLogger(__name__)


class Mirror(Callback):
    """Sends measurements to a run of W&B. After a failure there, one warning, and nothing more is sent."""

    def __init__(self, run: Any = None) -> None:
        self.run = run
        self._sent = 0

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Send the new measurements."""
        assert isinstance(module, Training)
        if trainer.world_size == 1:  # with several processes, everything is sent at the end
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

    def _attempt(self, method: str, *arguments: Any, **options: Any) -> None:
        if self.run is None:
            return
        try:
            operator.attrgetter(method)(self.run)(*arguments, **options)
        except Exception as error:  # a mirror must not break what it mirrors
            log.warning("W&B failed (%s: %s); the run goes on without it", type(error).__name__, error)
            self.run = None


@contextmanager
def mirrored(config: Config, folder: Path) -> Iterator[Mirror]:
    """A mirror for one run; an exception ends it as failed."""
    mirror = Mirror(_start(config, folder) if isinstance(config.logger, Wandb) else None)
    try:
        yield mirror
    except BaseException:
        mirror.finish(None)
        raise


def _start(config: Config, folder: Path) -> Any:
    options = config.logger
    assert isinstance(options, Wandb)
    try:
        import wandb

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
            settings=wandb.Settings(silent=True, console="off"),
        )
    except Exception as error:  # no account, no network, no space: the record does not depend on it
        log.warning("W&B did not start (%s: %s); the run goes on without it", type(error).__name__, error)
        return None
