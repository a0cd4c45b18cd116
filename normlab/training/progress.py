"""The progress that is shown while a network trains."""

from __future__ import annotations

import sys
import time
from contextlib import redirect_stdout
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback, TQDMProgressBar
from pytorch_lightning.callbacks.progress.tqdm_progress import Tqdm

from normlab.display import unescaped
from normlab.training.module import Training


class Bar(TQDMProgressBar):
    """Lightning's progress bar, for a terminal, with the latest evaluation at its end."""

    def __init__(self) -> None:
        super().__init__(refresh_rate=10)

    def init_sanity_tqdm(self) -> Tqdm:
        """The bar of the evaluation before training."""
        with _on_terminal():
            return super().init_sanity_tqdm()

    def init_train_tqdm(self) -> Tqdm:
        """The bar of training."""
        with _on_terminal():
            return super().init_train_tqdm()

    def init_validation_tqdm(self) -> Tqdm:
        """The bar of an evaluation."""
        with _on_terminal():
            return super().init_validation_tqdm()

    def init_test_tqdm(self) -> Tqdm:
        """The bar of the test."""
        with _on_terminal():
            return super().init_test_tqdm()

    def get_metrics(self, trainer: pl.Trainer, module: pl.LightningModule) -> dict[str, int | str | float | dict]:
        """The numbers at the right end of the bar."""
        assert isinstance(module, Training)
        return {f"validation {name}": f"{value:.3g}" for name, value in module.latest.items()}


def _on_terminal() -> redirect_stdout[Any]:
    """Let Lightning, which draws on the standard output, draw on the error stream, and move the cursor there."""
    return redirect_stdout(unescaped(sys.stderr))


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
