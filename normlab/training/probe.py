"""Measures curvature and layers while a network trains."""

from __future__ import annotations

import math

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from normlab.data import Loader, Split
from normlab.errors import DataError
from normlab.theory.activations import layer_statistics
from normlab.theory.curvature import Curvature
from normlab.training.module import Training

# Of each layer; see normlab.theory.activations.LayerStatistics.
MEASURED = ("activation_rms", "activation_offset", "gradient_norm", "gradient_spread", "zero_gradients")


class Probe(Callback):
    """Records, before chosen updates, the largest eigenvalue of the loss's Hessian and the statistics of each layer.

    In the curve their split is ``probe``; the metrics are ``lambda_max`` and, for each layer, ``activation_rms.LAYER``
    and so on, see ``MEASURED``. All are measured on the same training images, without augmentation, at every step and
    under every seed. ``lambda_max`` is NaN if the network's scores are not finite.

    Args:
        steps: numbers of updates after which to measure.
        split: training images.
        count: number of these images to measure on.
    """

    def __init__(self, steps: tuple[int, ...], split: Split, count: int) -> None:
        self._remaining = set(steps)
        self._split, self._count = split, min(count, len(split))

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, batch: object, index: int) -> None:
        """Measure, if this is before a chosen update."""
        self._record(trainer, module)

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Measure, if the last update is a chosen one."""
        self._record(trainer, module)

    def _record(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        step = trainer.global_step
        if step not in self._remaining or not trainer.is_global_zero:
            return
        self._remaining.remove(step)
        assert isinstance(module, Training)
        module.read_losses()  # before these rows, so that the curve stays in the order of steps
        for metric, value in self._measure(module).items():
            module.curve.add(step, step / module.updates_per_epoch, "probe", metric, value)
        module.curve.flush()

    def _measure(self, module: Training) -> dict[str, float]:
        images, labels = next(iter(Loader(self._split, self._count, shuffle_seed=0)))
        images, labels = images.to(module.device), labels.to(module.device)
        body = module.network.body
        with torch.no_grad():
            inputs = module.network.norm(images)
        with torch.enable_grad(), torch.autocast(module.device.type, enabled=False):
            layers = layer_statistics(body, module.loss, inputs, labels)
            try:
                lambda_max = Curvature(body, module.loss, inputs, labels).lambda_max()
            except DataError:
                lambda_max = math.nan
        measured = {"lambda_max": lambda_max}
        for layer in layers:
            for metric in MEASURED:
                measured[f"{metric}.{layer.name}"] = getattr(layer, metric)
        return measured
