"""Lightning's trainer around the module: training, evaluation and the final test."""

from __future__ import annotations

import itertools
import logging
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor, nn

from normlab.archs import Network
from normlab.config import Config
from normlab.data import Bundles, Dataset, Loader, MemorySplit, Split
from normlab.errors import ConfigError, MachineError, first_line, lack
from normlab.record import CHECKPOINT, STATE, Curve, Measurement, divergence
from normlab.shifts import SEVERITIES
from normlab.training.module import Training
from normlab.training.probe import Probe
from normlab.training.progress import Bar, Lines
from normlab.training.quiet import hushed
from normlab.training.resume import Resumption, WholeFiles

log = logging.getLogger(__name__)

FULL_BATCH_CHUNK = 1024  # images whose gradient is computed at once, in full-batch descent
EVALUATION_BATCH = 256
BUNDLE = 32  # batches that Lightning hands over at once, where nothing is done between them


@dataclass(frozen=True)
class Outcome:
    """The result of training.

    Attributes:
        rows: every measurement.
        seconds: of training with its evaluations on validation images.
        first_step_at: when the first step began, by time.perf_counter; NaN if that was in another process.
        device: where it ran.
        answers: whether each test image was classified correctly at the end, bool [N] in the order of the test split;
            None if several processes shared the images, nothing was tested, or the task is a regression.
    """

    rows: list[Measurement]
    seconds: float
    first_step_at: float
    device: str
    answers: Tensor | None = None


@hushed()
def train(
    config: Config, data: Dataset, network: Network, folder: Path, callbacks: list[Callback], progress: str = "auto"
) -> Outcome:
    """Train on the training split, evaluate on validation along the way and on test at the end.

    Args:
        config: of the run.
        data: the three splits.
        network: with its normalization fitted; trained in place.
        folder: of the run, where ``curve.csv`` and ``checkpoint.ckpt`` are written.
        callbacks: to add to normlab's own.
        progress: the value of ``trainer.progress`` to take if the configuration has ``auto``.

    Raises:
        ConfigError: if a batch is larger than the training set, the machine lacks the accelerator or the devices, or
            the network cannot be compiled.
        MachineError: if the checkpoint cannot be written.
    """
    options, world_size = config.trainer, config.trainer.devices
    if world_size > 1 and not has_loopback():  # without it the processes would wait for each other for half an hour
        raise ConfigError(
            f"trainer.devices={world_size}: the processes need the address 127.0.0.1, which cannot be reached here"
        )
    batch_size = _batch_size(config, len(data.train), network)
    loader = Loader(data.train, batch_size, config.seed, world_size)
    validation, test = (
        Loader(split, EVALUATION_BATCH, world_size=world_size) for split in (data.validation, data.test)
    )
    curve = Curve(folder / "curve.csv")
    resumption = Resumption(folder / STATE) if options.resume else None
    goes_on = resumption is not None and resumption.exists
    before = 0.0
    if resumption is not None and goes_on:
        before, loader.epoch = resumption.seconds, resumption.epoch  # Lightning asks for the first batch early
        curve.restore(resumption.rows)
        log.warning("going on after epoch %d of %d", resumption.epoch, options.max_epochs)
    else:
        curve.create()
    module = Training(network, config, curve, len(loader), loader.images_per_epoch, resumption)
    shown = options.progress if options.progress != "auto" else progress
    bundled = _is_bundled(config, data.train, shown)
    probe = [Probe(options.probe_steps, data.train, options.probe_images)] if options.probe_steps else []
    batches = Bundles(loader, BUNDLE) if bundled else loader
    trainer = _trainer(config, [*_progress(shown), *probe, *callbacks], len(batches), sanity=not goes_on)
    if world_size == 1:
        for one in (loader, validation, test):
            if isinstance(one.split, MemorySplit):
                one.split = one.split.on(trainer.strategy.root_device)
    answers = None
    try:
        started = time.perf_counter()
        trainer.fit(module, batches, validation, ckpt_path=folder / STATE if goes_on else None)
        seconds = before + time.perf_counter() - started
        # From the file, because a spawned process does not return its rows.
        rows = Curve.read(curve.path)
        if divergence(rows) is None:
            module.updates = 1 + max(row.step for row in rows if row.split == "train")
            if not any(row.split == "validation" and row.step == module.updates for row in rows):
                trainer.validate(module, validation, verbose=False)
                rows = Curve.read(curve.path)
        if divergence(rows) is None:
            trainer.test(module, test, verbose=False)
            answers = torch.cat(module.meter.answers).cpu() if world_size == 1 and module.meter.answers else None
            for module.shift in itertools.product(options.shifts, SEVERITIES):
                trainer.test(module, test, verbose=False)
            if options.checkpoint:
                _save(trainer, folder / CHECKPOINT)
        (folder / STATE).unlink(missing_ok=True)
    except SystemExit:  # how Lightning ends after Ctrl-C
        raise KeyboardInterrupt from None
    except Exception as error:
        if options.compile and type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            reason = first_line(getattr(error, "inner_exception", error))
            raise ConfigError(f"trainer.compile=true: the network is not compiled here: {reason}") from error
        raise
    return Outcome(Curve.read(curve.path), seconds, module.first_step_at, str(trainer.strategy.root_device), answers)


def _save(trainer: pl.Trainer, path: Path) -> None:
    """Write the checkpoint.

    Raises:
        MachineError: if it cannot be written.
    """
    try:
        trainer.save_checkpoint(path, weights_only=True)
    except OSError as error:
        raise MachineError(f"the checkpoint cannot be written: {lack(error) or first_line(error)}") from None


def _batch_size(config: Config, count: int, network: Network) -> int:
    """Images in a batch; for full-batch descent, in a chunk (the gradients of all chunks are summed)."""
    if config.optim.full_batch:
        chunks = -(-count // FULL_BATCH_CHUNK)
        # The last chunk is smaller by fewer images than there are chunks, so that no image is left alone.
        return -(-count // chunks)
    size, devices = config.data.batch_size, config.trainer.devices
    if size > count:
        raise ConfigError(
            f"data.batch_size={size}: larger than the training set of {count} images; lower it, or use "
            f"full batches with optim=gd"
        )
    if size < devices:
        raise ConfigError(f"data.batch_size={size}: too few images for trainer.devices={devices}")
    batch_norm = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in network.modules())
    if size // devices == 1 and batch_norm:
        raise ConfigError(f"data.batch_size={size}: batch normalization needs at least two images for each device")
    return size


def _is_bundled(config: Config, split: Split, shown: str) -> bool:
    """Whether all that happens between two batches is the step of this module itself.

    Not if something is to be done after some steps, which may lie inside a bundle; if Lightning changes batches or
    gradients (other precisions, several devices); or if the batches are slow, or counted by a progress bar.
    """
    options = config.trainer
    at_steps = options.max_steps or options.eval_every_steps or options.probe_steps or options.resume
    by_lightning = options.precision != "32" or options.devices > 1 or config.optim.full_batch
    return not (at_steps or by_lightning or shown == "bar") and isinstance(split, MemorySplit)


def _trainer(config: Config, callbacks: list[Callback], batches_per_epoch: int, sanity: bool) -> pl.Trainer:
    options = config.trainer
    precision: Any = {"32": "32-true", "64": "64-true"}.get(options.precision, options.precision)
    # A step is an update; full-batch descent makes one update an epoch, from all its batches.
    batches_per_step = batches_per_epoch if config.optim.full_batch else 1
    try:
        return pl.Trainer(
            # Not Lightning's own "auto", which would choose an Apple GPU, which has no float64 for the statistics.
            accelerator=("gpu" if torch.cuda.is_available() else "cpu")
            if options.accelerator == "auto"
            else options.accelerator,
            devices=options.devices,
            # Not "ddp", which would start the whole command again for each device.
            strategy="ddp_spawn" if options.devices > 1 else "auto",
            precision=precision,
            max_epochs=options.max_epochs,
            max_steps=options.max_steps or -1,
            check_val_every_n_epoch=None if options.eval_every_steps else options.eval_every_epochs,
            val_check_interval=options.eval_every_steps and options.eval_every_steps * batches_per_step,
            # Evaluate the untrained network first, so that the curve begins at step 0.
            num_sanity_val_steps=-1 if sanity else 0,
            callbacks=callbacks,
            logger=False,
            enable_checkpointing=False,
            plugins=[WholeFiles()],
            enable_model_summary=False,
            enable_progress_bar=any(isinstance(callback, Bar) for callback in callbacks),
            use_distributed_sampler=False,
        )
    except Exception as error:  # Lightning raises several types for missing hardware
        request = f"trainer.accelerator={options.accelerator} trainer.devices={options.devices}"
        raise ConfigError(f"{request}: {first_line(error)}") from None


def has_loopback() -> bool:
    """Whether processes of this machine reach each other over 127.0.0.1, as DDP has them do."""
    with socket.socket() as server:
        try:
            server.bind(("127.0.0.1", 0))
            server.listen()
            socket.create_connection(server.getsockname(), timeout=1).close()
        except OSError:
            return False
    return True


def _progress(kind: str) -> list[Callback]:
    if kind == "auto":
        kind = "bar" if sys.stderr.isatty() else "lines"
    return [Bar()] if kind == "bar" else [Lines()] if kind == "lines" else []
