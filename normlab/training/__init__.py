"""Training: the LightningModule, the trainer around it, and what both leave behind."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback

from normlab.archs import Network
from normlab.config import Config
from normlab.data import Dataset, Loader
from normlab.errors import ConfigError
from normlab.training.checkpoint import load, start_from
from normlab.training.curve import Curve, Measurement, divergence, summarize
from normlab.training.mirror import mirrored
from normlab.training.module import Training
from normlab.training.progress import Bar, Lines

__all__ = [
    "Curve",
    "Measurement",
    "Outcome",
    "Training",
    "divergence",
    "load",
    "mirrored",
    "start_from",
    "summarize",
    "train",
]

FULL_BATCH_CHUNK = 1024  # images whose gradient is computed at once, in full-batch descent
EVALUATION_BATCH = 256


@dataclass(frozen=True)
class Outcome:
    """What training left.

    Attributes:
        rows: every measurement.
        seconds: of training with its evaluations on validation images.
        first_step_at: when the first step began, by time.perf_counter; NaN if that was in another process.
        device: where it ran.
        is_main_process: the one among several that writes the record.
    """

    rows: list[Measurement]
    seconds: float
    first_step_at: float
    device: str
    is_main_process: bool


def train(config: Config, data: Dataset, network: Network, folder: Path, callbacks: list[Callback]) -> Outcome:
    """Train on the training split, evaluate on validation along the way and on test at the end.

    Args:
        config: of the run.
        data: the three splits.
        network: with its normalization fitted; trained in place.
        folder: of the run; takes ``curve.csv`` and ``checkpoint.ckpt``.
        callbacks: further ones.

    Raises:
        ConfigError: if a batch is larger than the training set, or the machine lacks what was asked for.
    """
    options = config.trainer
    count = len(data.train)
    if not config.optim.full_batch and config.data.batch_size > count:
        raise ConfigError(
            f"data.batch_size={config.data.batch_size}: larger than the training set of {count} images; "
            f"lower it, or take full batches with optim=gd"
        )
    # Full-batch descent sums the gradient over chunks, of equal size within one image.
    batch_size = -(-count // -(-count // FULL_BATCH_CHUNK)) if config.optim.full_batch else config.data.batch_size
    with _quiet():
        trainer = _trainer(config, [*_progress(config), *callbacks])
        world_size = trainer.world_size
        loader = Loader(data.train, batch_size, config.seed, world_size)
        curve = Curve(folder / "curve.csv")
        if trainer.is_global_zero:
            curve.create()
        module = Training(network, config, curve, len(loader), loader.images_per_epoch)
        validation, test = (
            Loader(split, EVALUATION_BATCH, world_size=world_size) for split in (data.validation, data.test)
        )
        started = time.perf_counter()
        try:
            trainer.fit(module, loader, validation)
        except SystemExit:  # how Lightning ends after Ctrl-C
            raise KeyboardInterrupt from None
        seconds = time.perf_counter() - started
        # From the file, because the rows of a spawned process stay there.
        rows = Curve.read(curve.path)
        if divergence(rows) is None:
            module.updates = 1 + max(row.step for row in rows if row.split == "train")
            if not any(row.split == "validation" and row.step == module.updates for row in rows):
                trainer.validate(module, validation, verbose=False)
            trainer.test(module, test, verbose=False)
            if options.checkpoint:
                trainer.save_checkpoint(folder / "checkpoint.ckpt", weights_only=True)
    return Outcome(
        rows=Curve.read(curve.path),
        seconds=seconds,
        first_step_at=module.first_step_at,
        device=str(trainer.strategy.root_device),
        is_main_process=trainer.is_global_zero,
    )


def _trainer(config: Config, callbacks: list[Callback]) -> pl.Trainer:
    options = config.trainer
    accelerator = options.accelerator
    if accelerator == "auto":
        import torch

        # Not Lightning's own choice, which would take an Apple GPU: that has no float64 for the statistics.
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    precision: Any = {"32": "32-true", "64": "64-true"}.get(options.precision, options.precision)
    try:
        return pl.Trainer(
            accelerator=accelerator,
            devices=options.devices,
            strategy=options.strategy,
            precision=precision,
            max_epochs=options.max_epochs,
            max_steps=options.max_steps or -1,
            check_val_every_n_epoch=None if options.eval_every_steps else options.eval_every_epochs,
            val_check_interval=options.eval_every_steps,
            num_sanity_val_steps=0,
            callbacks=callbacks,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=any(isinstance(callback, Bar) for callback in callbacks),
            use_distributed_sampler=False,
        )
    except Exception as error:  # Lightning raises several kinds for hardware that is not there
        asked = f"trainer.accelerator={options.accelerator} trainer.devices={options.devices}"
        raise ConfigError(f"{asked}: {str(error).splitlines()[0]}") from None


def _progress(config: Config) -> list[Callback]:
    kind = config.trainer.progress
    if kind == "auto":
        kind = "bar" if sys.stderr.isatty() else "lines"
    return [Bar()] if kind == "bar" else [Lines()] if kind == "lines" else []


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's advertisements and its advice on loaders to itself; warnings of others pass."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        warnings.filterwarnings("ignore", module="torch.utils.data")
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
