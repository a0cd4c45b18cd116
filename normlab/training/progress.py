"""The progress that is shown while a network trains."""

from __future__ import annotations

import sys
import time

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, TQDMProgressBar

from normlab.training.module import Training


class Bar(TQDMProgressBar):
    """Lightning's progress bar, for a terminal, with the latest evaluation at its end."""

    def __init__(self) -> None:
        super().__init__(refresh_rate=10)

    def get_metrics(self, trainer: pl.Trainer, module: pl.LightningModule) -> dict[str, int | str | float | dict]:
        """The numbers at the right end of the bar."""
        assert isinstance(module, Training)
        return {f"validation {name}": f"{value:.3g}" for name, value in module.latest.items()}


class Lines(Callback):
    """One short line after an evaluation, at most about 20 in a run, for log files and pipes."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._next = 0.0

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Print the line, if it is time for one."""
        assert isinstance(module, Training)
        epochs = trainer.max_epochs or 1
        done = trainer.global_step / module.updates_per_epoch
        if not trainer.is_global_zero or done == 0 or done < min(self._next, epochs):
            return
        self._next = done + epochs / 20 * 0.999
        loss, score = module.latest["loss"], module.meter.score
        seconds = time.perf_counter() - self._started
        print(
            f"epoch {done:g}/{epochs}  validation loss {loss:.4g}  {score} {module.latest[score]:.4f}  {seconds:.1f} s",
            file=sys.stderr,
            flush=True,
        )
