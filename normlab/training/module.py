"""The training of one network, as a LightningModule."""

from __future__ import annotations

import math
import multiprocessing
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor, nn

from normlab.archs import Network
from normlab.archs.layers import first_layer
from normlab.archs.losses import loss_of
from normlab.augment import Augment
from normlab.config import Config, ShiftName
from normlab.data import Batch
from normlab.display import protect
from normlab.norms import Masked
from normlab.record import Curve
from normlab.shifts import shifted
from normlab.training.checkpoint import KEY, description
from normlab.training.meters import Accuracy, Deviation, Meter
from normlab.training.optimizers import build_optimizer, schedule
from normlab.training.quiet import hush
from normlab.training.resume import KEY as RESUME
from normlab.training.resume import Resumption

READ_LOSSES_EVERY = 50  # steps; at most this many follow a divergence, and none of them is recorded


class Training(pl.LightningModule):
    """Trains a network and writes every measurement into a curve.

    Optimization is manual, so that full-batch descent can sum the gradient over the batches of an epoch.

    Args:
        network: with its normalization fitted.
        config: of the run.
        curve: takes the measurements, on the first process.
        steps_per_epoch: batches that each process sees in an epoch.
        images_per_epoch: images that each process sees in an epoch.
        resumption: keeps the state after epochs, if that is asked for.
    """

    def __init__(
        self,
        network: Network,
        config: Config,
        curve: Curve,
        steps_per_epoch: int,
        images_per_epoch: int,
        resumption: Resumption | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.network, self.config, self.curve, self.resumption = network, config, curve, resumption
        self.loss = loss_of(config.arch.loss, network.target)
        norm = network.norm
        black = norm.black.item() if norm.has_range else 0.0
        self.augment = Augment(config.augment, config.seed, math.nan if isinstance(norm, Masked) else black)
        self.steps_per_epoch, self.images_per_epoch = steps_per_epoch, images_per_epoch
        self.full_batch = config.optim.full_batch
        self.updates_per_epoch = 1 if self.full_batch else steps_per_epoch
        self.updates = 0  # made so far, as of the last evaluation
        self.first_step_at = math.nan  # by time.perf_counter
        self.latest: dict[str, float] = {}  # loss and accuracy, or R2, of the last evaluation, for a progress display
        self.shift: tuple[ShiftName, int] | None = None  # light that test images are put under, and its severity
        self._compiled = not config.trainer.compile
        self._unread: list[tuple[int, Tensor]] = []  # steps and losses that may still be on a GPU
        self._epoch_loss = torch.zeros(())  # of full-batch descent
        self.meter = self._new_meter()  # of the last evaluation

    # Optimization

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Unpickle; in a process that Lightning spawned, also silence Lightning there."""
        if multiprocessing.parent_process() is not None:
            hush()
            protect()
        super().__setstate__(state)

    def configure_optimizers(self) -> Any:
        """Optimizer and schedule; the schedule steps with every update."""
        optimizer = build_optimizer(self.config.optim, self.network)
        total = self.config.trainer.max_epochs * self.updates_per_epoch
        if self.config.trainer.max_steps:
            total = min(total, self.config.trainer.max_steps)
        if self.config.optim.schedule == "constant" and not self.config.optim.warmup_epochs:
            return optimizer
        factor = schedule(self.config.optim, self.updates_per_epoch, total)
        return [optimizer], [torch.optim.lr_scheduler.LambdaLR(optimizer, factor)]

    def on_train_epoch_start(self) -> None:
        """Draw a new order and new augmentations in every epoch."""
        loader: Any = self.trainer.train_dataloader
        loader.epoch = self.current_epoch
        self.augment.start_epoch(self.current_epoch, self.global_rank)
        if self.resumption:
            self.resumption.start_epoch()

    def training_step(self, given: Batch | Iterator[Batch], index: int) -> None:
        """One batch, or the batches of a bundle, up to a loss that is not finite."""
        if isinstance(given, tuple | list):
            self._train_on(given, index, self.manual_backward)
            return
        for batch in given:  # neither these nor their gradients are changed by Lightning, see normlab.training.trainer
            here = batch if self.device.type == "cpu" else self.trainer.strategy.batch_to_device(batch)
            self._train_on(here, index, Tensor.backward)
            if self.trainer.should_stop:
                break

    def _train_on(self, batch: Batch, batch_index: int, backward: Callable[[Tensor], None]) -> None:
        """One batch: its gradient and, unless the whole epoch makes one, an update."""
        images, labels = batch
        optimizer: Any = self.optimizers()
        step = self.global_step
        if step == 0:
            self._watch_first_layer(batch_index)
        elif not self._compiled:  # after the first update, which watches the first layer from outside
            self.network.norm.compile()
            self.network.body.compile()
            self._compiled = True
        loss = self.loss(self.network.scores(self.augment(self._as_stored(images))), labels)
        if self.full_batch:
            loss = loss * (len(labels) / self.images_per_epoch)
            self._epoch_loss = loss.detach() + (self._epoch_loss if batch_index else 0)
        if batch_index == 0 or not self.full_batch:
            optimizer.zero_grad()
        backward(loss)
        if self.full_batch and batch_index < self.steps_per_epoch - 1:
            return
        if step == 0:
            self._measure_start()
        if self.config.optim.clip_norm:
            self.clip_gradients(optimizer, self.config.optim.clip_norm, "norm")
        self._update(optimizer)
        scheduler: Any = self.lr_schedulers()
        if scheduler is not None:
            scheduler.step()
        self._record_loss(step, self._epoch_loss if self.full_batch else loss.detach())

    def on_train_epoch_end(self) -> None:
        """Write the losses of the epoch."""
        self.read_losses()
        if self.trainer.is_global_zero:
            self.curve.flush()
        if self.resumption and not self.trainer.should_stop:
            self.resumption.keep(self.trainer)

    def _update(self, optimizer: Any) -> None:
        """Make one update; by a rate that is infinite in the precision of the weights, they become NaN."""
        try:
            optimizer.step()
        except RuntimeError as error:
            if "without overflow" not in str(error):
                raise
            with torch.no_grad():
                for parameter in self.network.parameters():
                    parameter.fill_(math.nan)

    def _record_loss(self, step: int, loss: Tensor) -> None:
        if self.trainer.world_size > 1:
            loss = self.trainer.strategy.reduce(loss, reduce_op="mean")
        self._unread.append((step, loss))
        # Reading a loss waits for the GPU, so the losses of many steps are read at once.
        if len(self._unread) >= READ_LOSSES_EVERY:
            self.read_losses()

    def read_losses(self) -> None:
        """Add the losses of the last steps to the curve, and stop at the first that is not finite."""
        if not self._unread:
            return
        steps, losses = zip(*self._unread, strict=True)
        self._unread = []
        for step, loss in zip(steps, torch.stack(losses).tolist(), strict=True):
            self.curve.add(step, step / self.updates_per_epoch, "train", "loss", loss)
            if not math.isfinite(loss):
                self.trainer.should_stop = True
                return

    # What the normalization does to the first layer at the start

    def _watch_first_layer(self, batch_index: int) -> None:
        """Gather the square of the first layer's output in the first step, over all its batches."""
        if batch_index > 0:
            return
        self.first_step_at = time.perf_counter()
        layer = first_layer(self.network.body)
        squares: list[float] = [0.0, 0.0]

        def gather(_: nn.Module, __: Any, output: Tensor) -> None:
            squares[0] += output.detach().double().square().sum().item()
            squares[1] += output.numel()

        self._first_layer = layer, squares, layer.register_forward_hook(gather)

    def _measure_start(self) -> None:
        """Record activations and gradients of the first step, without the parameters of the normalization."""
        layer, squares, hook = self._first_layer
        hook.remove()
        gradients = [p.grad.norm() for p in self.network.body.parameters() if p.grad is not None]
        assert isinstance(layer.weight.grad, Tensor)
        start = {
            "first_layer_activation_rms": math.sqrt(squares[0] / squares[1]),
            "first_layer_gradient_norm": layer.weight.grad.norm().item(),
            "gradient_norm": torch.stack(gradients).norm().item(),
        }
        for metric, value in start.items():
            self.curve.add(0, 0.0, "start", metric, value)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the description from which the network is built."""
        checkpoint[KEY] = description(self.config, self.network)
        if self.resumption and self.trainer.state.fn == TrainerFn.FITTING:
            checkpoint[RESUME] = self.resumption.state(self.current_epoch + 1, len(self.curve.rows))

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on from a kept state."""
        if self.resumption:
            self.resumption.load(checkpoint[RESUME])

    # Evaluation

    def on_validation_epoch_start(self) -> None:
        """Start counting."""
        self.meter = self._new_meter()

    def _new_meter(self) -> Meter:
        target = self.network.target
        return Accuracy(self.device) if target is None else Deviation(target, self.device)

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Add a batch's loss and correct answers, or errors."""
        images, labels = batch
        scores = self.network.scores(self._as_stored(images))
        self.meter.add(self.loss(scores, labels), scores, labels)

    def _as_stored(self, inputs: Tensor) -> Tensor:
        """The inputs in their own type, without loss: under precision 64 Lightning turns float32 into float64."""
        return inputs.to(self.network.input_type) if inputs.is_floating_point() else inputs

    def on_validation_epoch_end(self) -> None:
        """Record loss and accuracy (or R2) over the split; stop at a target or a loss that is not finite."""
        self.read_losses()
        if self.trainer.state.fn == TrainerFn.FITTING:
            self.updates = self.global_step
        measured = self._evaluated("validation")
        targets = self.config.trainer.targets if self.config.trainer.stop_at_target else ()
        if not math.isfinite(measured["loss"]) or (targets and measured[self.meter.score] >= max(targets)):
            self.trainer.should_stop = True
        if self.trainer.is_global_zero and (
            self.trainer.state.fn != TrainerFn.FITTING or not math.isfinite(measured["loss"])
        ):
            self.curve.flush()

    on_test_epoch_start = on_validation_epoch_start

    def test_step(self, batch: Batch, batch_index: int) -> None:
        """Add a batch's loss and correct answers (or errors), under a shift of the light if one is chosen."""
        images, labels = batch
        self.validation_step((images if self.shift is None else shifted(images, *self.shift), labels), batch_index)

    def on_test_epoch_end(self) -> None:
        """Record loss and accuracy (or R2) over the test split; under another light the accuracy alone."""
        if self.shift is None:
            self._evaluated("test")
        else:
            name, severity = self.shift
            epoch = self.updates / self.updates_per_epoch
            accuracy = self._measured()["accuracy"]
            self.curve.add(self.updates, epoch, "test", f"accuracy_under.{name}.{severity}", accuracy)
        if self.trainer.is_global_zero:
            self.curve.flush()

    def _measured(self) -> dict[str, float]:
        """What the meter says of the samples of all processes."""
        sums = self.meter.sums
        if self.trainer.world_size > 1:
            sums = self.trainer.strategy.reduce(sums, reduce_op="sum")
        return self.meter.values(sums)

    def _evaluated(self, split: str) -> dict[str, float]:
        self.latest = self._measured()
        for metric, value in self.latest.items():
            self.curve.add(self.updates, self.updates / self.updates_per_epoch, split, metric, value)
        return self.latest
